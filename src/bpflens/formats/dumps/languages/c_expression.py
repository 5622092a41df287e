"""The value of an integer expression in C, Go or Rust: what stands in the fields of an instruction.

    BPF_LD | BPF_H + BPF_ABS      (u_int)-1      sizeof(struct ethhdr)      offsetof(struct iphdr, protocol)      (libc::BPF_LD) as u16
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bpflens.errors import InputError
from bpflens.formats.dumps.languages.c_constants import constant, size_of
from bpflens.formats.dumps.languages.c_preprocess import Token, text_at

__all__ = ("NotAnItem", "arguments_of", "evaluate")

_CASTS = {
    **dict.fromkeys(("char", "u_char", "uchar", "uint8_t", "u_int8_t", "__u8", "u8", "uint8"), 8),
    **dict.fromkeys(("short", "u_short", "ushort", "uint16_t", "u_int16_t", "__u16", "u16", "__be16", "uint16"), 16),
    **dict.fromkeys(("int", "u_int", "uint", "uint32_t", "u_int32_t", "__u32", "u32", "__be32", "bpf_u_int32", "uint32", "in_addr_t"), 32),
    **dict.fromkeys(("long", "u_long", "ulong", "uint64_t", "u_int64_t", "__u64", "u64", "size_t", "usize", "uint64", "uintptr_t"), 64),
    **dict.fromkeys(("int8_t", "__s8", "s8", "i8", "int16_t", "__s16", "s16", "i16", "int32_t", "__s32", "s32", "i32", "int64_t"), 0),
    **dict.fromkeys(("__s64", "s64", "i64", "ssize_t", "int8", "int16", "int32", "int64"), 0),
}
"""Integer types: bits that an unsigned one keeps; 0 for signed ones, whose values here fit."""
_SWAPS = {
    **dict.fromkeys(("htons", "ntohs", "bpf_htons", "bpf_ntohs", "__constant_htons", "htobe16", "be16toh", "cpu_to_be16"), 2),
    **dict.fromkeys(("htonl", "ntohl", "bpf_htonl", "bpf_ntohl", "__constant_htonl", "htobe32", "be32toh", "cpu_to_be32"), 4),
}
_GO_PACKAGES = frozenset(("unix", "syscall"))
_QUALIFIERS = frozenset(("unsigned", "signed", "const", "volatile"))
_LEVELS = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"), ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
_DEPTH = 40


class NotAnItem(Exception):
    """The tokens here are not an instruction: the text says why."""


def evaluate(tokens: Sequence[Token], values: Mapping[str, int] | None = None, arch: str | None = None, logical: bool = False) -> int:
    """The value of an integer expression; NotAnItem where it is none. `arch` decides what `__NR_read` and htons() are; `logical`: "!" is
    C's and not Rust's."""
    expression = _Expression(tokens, {} if values is None else values, arch, logical)
    try:
        value = expression.level()
    except InputError as error:
        raise NotAnItem(error.reason) from None
    if expression.at != len(tokens):
        raise NotAnItem(f"{tokens[expression.at].text[:20]!r} is not part of an integer expression")
    return value


def arguments_of(tokens: Sequence[Token], at: int, close: str) -> tuple[list[list[Token]], int]:
    """Comma-separated arguments from token `at` to the matching `close`, and the index behind it; NotAnItem where it is missing."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        if depth == 0 and token.text == close:
            if not arguments[-1]:
                arguments.pop()  # no arguments, or a trailing comma
            return arguments, at + 1
        if token.text in "{};":
            break
        depth += (token.text in "([") - (token.text in ")]")
        if depth == 0 and token.text == ",":
            arguments.append([])
        else:
            arguments[-1].append(token)
        at += 1
    raise NotAnItem(f"no closing {close}")


class _Expression:
    """Recursive descent over C's integer operators, casts, sizeof and offsetof; depth is bounded."""

    def __init__(self, tokens: Sequence[Token], values: Mapping[str, int], arch: str | None, logical: bool) -> None:
        self.tokens, self.values, self.arch, self.logical = tokens, values, arch, logical
        self.at = 0
        self.depth = 0

    def level(self, number: int = 0) -> int:
        if number == len(_LEVELS):
            return self.postfix()
        value = self.level(number + 1)
        while (op := text_at(self.tokens, self.at)) in _LEVELS[number]:
            self.at += 1
            value = _apply(op, value, self.level(number + 1))
        return value

    def postfix(self) -> int:
        """A Rust cast stands behind its operand."""
        value = self.unary()
        while text_at(self.tokens, self.at) == "as" and (bits := _CASTS.get(text_at(self.tokens, self.at + 1))) is not None:
            self.at += 2
            value = _cast(value, bits)
        return value

    def unary(self) -> int:
        self.depth += 1
        if self.depth > _DEPTH or self.at >= len(self.tokens):
            raise NotAnItem("not an integer expression")
        token = self.tokens[self.at]
        self.at += 1
        if token.text in ("-", "~", "+", "!"):
            operand = self.unary()
            if token.text == "!" and self.logical:
                value = int(not operand)
            else:
                value = -operand if token.text == "-" else operand if token.text == "+" else ~operand
        elif token.text == "(":
            value = self.in_brackets()
        elif token.kind == "number":
            value = _integer(token.text)
        elif token.kind == "word":
            value = self.name(token.text)
        else:
            raise NotAnItem(f"{token.text[:20]!r} is not part of an integer expression")
        self.depth -= 1
        return value

    def in_brackets(self) -> int:
        bits = self.cast()
        if bits is not None:
            return _cast(self.unary(), bits)
        value = self.level()
        if text_at(self.tokens, self.at) != ")":
            raise NotAnItem("no closing )")
        self.at += 1
        return value

    def cast(self) -> int | None:
        """The bits of a C cast whose "(" has been read, which is taken; None where an expression stands there."""
        at, bits, words = self.at, 0, 0
        while (text := text_at(self.tokens, at)) in _QUALIFIERS or text in _CASTS:
            bits = _CASTS.get(text, 32 if text == "unsigned" and not bits else bits)
            at, words = at + 1, words + 1
        if not words or text != ")":
            return None
        unsigned = "unsigned" in (token.text for token in self.tokens[self.at : at])
        if not unsigned and self.tokens[at - 1].text in ("char", "short", "int", "long"):
            bits = 0
        self.at = at + 1
        return bits

    def name(self, name: str) -> int:
        qualifier = ""
        while text_at(self.tokens, self.at) in ("::", ".") and self.at + 1 < len(self.tokens):  # libc::BPF_LD, unix.BPF_LD
            qualifier, name = name, self.tokens[self.at + 1].text
            self.at += 2
        if name == "MAX" and _CASTS.get(qualifier):
            return (1 << _CASTS[qualifier]) - 1
        if qualifier in _GO_PACKAGES and name.startswith("SYS_"):
            name = name.lower().replace("sys_", "SYS_", 1)
        if name in self.values:
            return self.values[name]
        arguments: tuple[str, ...] = ()
        if text_at(self.tokens, self.at) == "(":
            if name in ("uint8", "uint16", "uint32", "uint64", "u8", "u16", "u32", "u64", "int", "int32"):  # a cast in Go
                self.at += 1
                return _cast(self.in_brackets(), _CASTS[name])
            pieces, self.at = arguments_of(self.tokens, self.at + 1, ")")
            if name in _SWAPS and len(pieces) == 1:
                return self.swapped(name, pieces[0])
            arguments = tuple(" ".join(token.text for token in piece) for piece in pieces)
        value = size_of(arguments[0]) if name == "sizeof" and len(arguments) == 1 else constant(name, arguments, self.arch)
        if value is None:
            shown = f"{name[:40]}({', '.join(arguments)[:40]})" if arguments else name[:40]
            raise NotAnItem(f"the value of {shown} is not known here")
        return value

    def swapped(self, name: str, argument: Sequence[Token]) -> int:
        """htons() and its like, which do nothing on a big-endian machine."""
        from bpflens.isa.classic.syscalls import find_arch

        if self.arch is None:
            raise NotAnItem(f"{name}() depends on the machine's byte order")
        size = _SWAPS[name]
        value = evaluate(argument, self.values, self.arch) & ((1 << 8 * size) - 1)
        return value if find_arch(self.arch).big_endian else int.from_bytes(value.to_bytes(size, "little"), "big")


def _cast(value: int, bits: int) -> int:
    return value & ((1 << bits) - 1) if bits else value


def _apply(op: str, left: int, right: int) -> int:
    match op:
        case "|":
            return left | right
        case "^":
            return left ^ right
        case "&":
            return left & right
        case "<<" | ">>":
            if not 0 <= right < 64:
                raise NotAnItem(f"shift by {right}")
            return (left << right if op == "<<" else left >> right) & 0xFFFFFFFFFFFFFFFF
        case "||" | "&&":
            return int(bool(left) or bool(right)) if op == "||" else int(bool(left) and bool(right))
        case "==" | "!=":
            return int((left == right) is (op == "=="))
        case "<" | ">":
            return int(left < right if op == "<" else left > right)
        case "<=" | ">=":
            return int(left <= right if op == "<=" else left >= right)
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return (left * right) & 0xFFFFFFFFFFFFFFFF
    if right == 0:
        raise NotAnItem("division by 0")
    if left < 0 or right < 0:  # C rounds signed numbers towards 0, and has none of these among unsigned ones
        raise NotAnItem("division of a negative number")
    return left // right if op == "/" else left % right


def _integer(text: str) -> int:
    if len(text) > 24:
        raise NotAnItem("number is too long")
    text = text.replace("_", "")
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8) if len(text) > 1 and text[0] == "0" and set(text) <= set("01234567") else int(text)

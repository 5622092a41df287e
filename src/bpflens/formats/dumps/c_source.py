"""Programs in C source: arrays of struct sock_filter and struct bpf_insn, and what tcpdump -dd prints.

    { 0x28, 0, 0, 0x0000000c },                        { 0xb7, 0, 0, 0, 2 },
    { .code = 0x28, .k = 12 },                         { .code = 0xb7, .dst_reg = BPF_REG_0, .imm = 2 },
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),            BPF_MOV64_IMM(BPF_REG_0, 2),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x800, 0, 1),  BPF_EXIT_INSN(),

Items that follow each other are one program. Four or five numbers in braces alone are one only where the text names these structures,
or where they end as a program must. A name in front (`name[] = {`) is the program's. Values are integer expressions over the
headers' constants (c_constants.py) and over integers that the text itself defines (`#define PORT 68`); any other name, and any other macro
among instructions, is an error that says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from bpflens.errors import InputError
from bpflens.formats.dumps.c_constants import constant
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import encode
from bpflens.program import Isa, Program

__all__ = ("read",)

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*+", re.MULTILINE)  # with its continuation lines
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+([^\n\\]+)$", re.MULTILINE)
_TOKEN = re.compile(
    r"(?P<blank>\s+)|(?P<number>0[xX][0-9a-fA-F]+|[0-9]+)(?:[uUlL]{0,3})(?![A-Za-z0-9_])|(?P<word>[A-Za-z_]\w*)|(?P<string>\"[^\"\n]*\")"
    r"|(?P<op><<|>>|->|[^\sA-Za-z0-9_])|(?P<other>.)",
    re.DOTALL,
)
_CLASSIC_FIELDS = ("code", "jt", "jf", "k")
_EXTENDED_FIELDS = ("code", "dst_reg", "src_reg", "off", "imm")


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Item(NamedTuple):
    isa: Isa
    code: bytes
    end: int  # index of the token behind it


class _NotAnItem(Exception):
    """The tokens here are not an instruction: `reason` says why."""


def read(text: SourceText) -> list[Program]:
    """Every run of instructions in C; InputError where a run breaks off in something that cannot be evaluated."""
    body = _COMMENT.sub(_blank, text.body)
    defined = _defines(body)
    body = _DIRECTIVE.sub(_blank, body)
    tokens = _tokenize(body)
    declared = "sock_filter" in body or "bpf_insn" in body or "BPF_" in body
    programs: list[Program] = []
    taken = []
    at = 0
    name = ""
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "word" and at + 1 < len(tokens) and tokens[at + 1].text in ("[", "="):
            name = token.text
        if not (token.text == "{" or (token.text in _MACROS and _text_at(tokens, at + 1) == "(")):
            at += 1
            continue
        run, stop = _run(text, tokens, at, defined)
        if not run or not (declared or token.text != "{" or _ends(run[-1])):
            at += 1
            continue
        _check_neighbours(text, tokens, at, stop)
        first, last = tokens[at].at, tokens[stop - 1].at + len(tokens[stop - 1].text)
        isa = run[0].isa
        source = "c-classic" if isa is Isa.CLASSIC else "c-extended"
        programs.append(Program(isa, b"".join(item.code for item in run), text.origin(source, first, last), name=name))
        taken.append((first, last))
        name = ""
        at = stop
    text.take(taken)
    return programs


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _defines(body: str) -> dict[str, int]:
    """The integers that `#define NAME EXPRESSION` lines define, in terms of those before them."""
    defined: dict[str, int] = {}
    for match in _DEFINE.finditer(body):
        try:
            defined[match[1]] = _evaluate(_tokenize(match[2]), defined)
        except _NotAnItem:
            pass  # a macro of another kind; where it is used, its name is unknown
    return defined


def _check_neighbours(text: SourceText, tokens: Sequence[_Token], start: int, stop: int) -> None:
    """A macro that is not known, before or behind instructions in one initialiser, hides instructions: an error."""
    stop += _text_at(tokens, stop) == ","
    before, behind = (tokens[start - 1].text if start else ""), (tokens[stop] if stop < len(tokens) else None)
    if before == "," and start > 1:
        text.fail(tokens[start].at, f"{tokens[start - 2].text[:40]!r} before this instruction is not one that is known here")
    if behind is not None and behind.kind == "word" and before == "{":
        text.fail(behind.at, f"{behind.text[:40]!r} behind instructions is not one that is known here")


def _ends(item: _Item) -> bool:
    """A ret, an exit or a jump: what a program can end in. Arrays of other things rarely do."""
    return item.code[0] & 7 == 6 if item.isa is Isa.CLASSIC else item.code[0] in (0x95, 0x05, 0x06)


def _tokenize(body: str) -> list[_Token]:
    return [
        _Token(match.lastgroup or "", match[match.lastgroup or 0], match.start())
        for match in _TOKEN.finditer(body)
        if match.lastgroup != "blank"
    ]


def _text_at(tokens: Sequence[_Token], at: int) -> str:
    return tokens[at].text if at < len(tokens) else ""


def _run(text: SourceText, tokens: list[_Token], at: int, defined: dict[str, int]) -> tuple[list[_Item], int]:
    """Items from token `at` on, separated by commas, and the token behind the last; no items where the first is none."""
    run: list[_Item] = []
    stop = at
    while at < len(tokens):
        is_macro = tokens[at].text in _MACROS and _text_at(tokens, at + 1) == "("
        if not is_macro and tokens[at].text != "{":
            break
        try:
            item = _macro(tokens, at, defined) if is_macro else _braces(tokens, at, defined)
        except _NotAnItem as error:
            if run or is_macro:
                text.fail(tokens[at].at, str(error))
            break
        if run and item.isa is not run[0].isa:
            text.fail(tokens[at].at, f"{item.isa.value} instruction among {run[0].isa.value} ones")
        run.append(item)
        stop = at = item.end
        if _text_at(tokens, at) in (",", ";"):
            at += 1
        if at < len(tokens) and tokens[at].text.isdigit() and tokens[at].text != "0" and _text_at(tokens, at + 1) == ":":
            at += 2  # slot number, as bpflens dis --dialect raw prints; 0 begins another program
    return run, stop


def _arguments(tokens: Sequence[_Token], at: int, close: str) -> tuple[list[list[_Token]], int]:
    """Comma-separated arguments from token `at` to the matching `close`, and the index behind it."""
    arguments: list[list[_Token]] = [[]]
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
    raise _NotAnItem(f"no closing {close}")


def _braces(tokens: Sequence[_Token], at: int, defined: dict[str, int]) -> _Item:
    arguments, end = _arguments(tokens, at + 1, "}")
    if arguments and all(len(argument) > 2 and argument[0].text == "." for argument in arguments):
        return _designated(arguments, end, defined)
    if len(arguments) not in (4, 5):
        raise _NotAnItem(f"{len(arguments)} values in braces; struct sock_filter has 4, struct bpf_insn has 5")
    values = [_evaluate(argument, defined) for argument in arguments]
    return _Item(*(_classic(*values) if len(values) == 4 else _extended(*values)), end)


def _designated(arguments: list[list[_Token]], end: int, defined: dict[str, int]) -> _Item:
    values: dict[str, int] = {}
    for argument in arguments:
        if argument[2].text != "=":
            raise _NotAnItem("not .field = value")
        values[argument[1].text] = _evaluate(argument[3:], defined)
    if "code" not in values:
        raise _NotAnItem("no .code")
    names = values.keys()
    if names <= set(_CLASSIC_FIELDS) and (names & {"jt", "jf", "k"} or values["code"] & 7 in (0, 1, 2, 3, 6)):
        return _Item(*_classic(*(values.get(field, 0) for field in _CLASSIC_FIELDS)), end)
    if names <= set(_EXTENDED_FIELDS):
        return _Item(*_extended(*(values.get(field, 0) for field in _EXTENDED_FIELDS)), end)
    raise _NotAnItem(f"fields {', '.join(values)} are neither struct sock_filter's nor struct bpf_insn's")


def _classic(code: int, jt: int, jf: int, k: int) -> tuple[Isa, bytes]:
    if not (0 <= code < 1 << 16 and 0 <= jt < 256 and 0 <= jf < 256 and -(1 << 31) <= k < 1 << 32):
        raise _NotAnItem(f"{{{code}, {jt}, {jf}, {k}}} does not fit struct sock_filter")
    return Isa.CLASSIC, encode([(code, jt, jf, k & 0xFFFFFFFF)])


def _extended(code: int, dst: int, src: int, off: int, imm: int) -> tuple[Isa, bytes]:
    from bpflens.isa.extended.insn import Insn

    if not (0 <= code < 256 and 0 <= dst < 16 and 0 <= src < 16 and -(1 << 15) <= off < 1 << 16 and -(1 << 31) <= imm < 1 << 32):
        raise _NotAnItem(f"{{{code}, {dst}, {src}, {off}, {imm}}} does not fit struct bpf_insn")
    return Isa.EXTENDED, Insn.make(code, dst, src, off, imm).word.to_bytes(8, "little")


class _Macro(NamedTuple):
    """`fields` are expressions over the parameters for code, dst, src, off and imm, or for code, jt, jf and k of classic ones."""

    parameters: str
    fields: tuple[str, ...]
    isa: Isa = Isa.EXTENDED
    wide: bool = False


def _rows() -> dict[str, _Macro]:
    """The macros of include/uapi/linux/filter.h (classic) and include/linux/filter.h (extended), as data."""
    rows = {
        "BPF_STMT": _Macro("c k", ("c", "0", "0", "k"), Isa.CLASSIC),
        "BPF_JUMP": _Macro("c k t f", ("c", "t", "f", "k"), Isa.CLASSIC),
        "BPF_ENDIAN": _Macro("type d len", ("BPF_ALU | BPF_END | type", "d", "0", "0", "len")),
        "BPF_BSWAP": _Macro("d len", ("BPF_ALU64 | BPF_END", "d", "0", "0", "len")),
        "BPF_LD_ABS": _Macro("size imm", ("BPF_LD | size | BPF_ABS", "0", "0", "0", "imm")),
        "BPF_LD_IND": _Macro("size s imm", ("BPF_LD | size | BPF_IND", "0", "s", "0", "imm")),
        "BPF_LDX_MEM": _Macro("size d s off", ("BPF_LDX | size | BPF_MEM", "d", "s", "off", "0")),
        "BPF_LDX_MEMSX": _Macro("size d s off", ("BPF_LDX | size | BPF_MEMSX", "d", "s", "off", "0")),
        "BPF_STX_MEM": _Macro("size d s off", ("BPF_STX | size | BPF_MEM", "d", "s", "off", "0")),
        "BPF_ST_MEM": _Macro("size d off imm", ("BPF_ST | size | BPF_MEM", "d", "0", "off", "imm")),
        "BPF_ATOMIC_OP": _Macro("size op d s off", ("BPF_STX | size | BPF_ATOMIC", "d", "s", "off", "op")),
        "BPF_STX_XADD": _Macro("size d s off", ("BPF_STX | size | BPF_ATOMIC", "d", "s", "off", "0")),
        "BPF_JMP_REG": _Macro("op d s off", ("BPF_JMP | op | BPF_X", "d", "s", "off", "0")),
        "BPF_JMP_IMM": _Macro("op d imm off", ("BPF_JMP | op | BPF_K", "d", "0", "off", "imm")),
        "BPF_JMP32_REG": _Macro("op d s off", ("BPF_JMP32 | op | BPF_X", "d", "s", "off", "0")),
        "BPF_JMP32_IMM": _Macro("op d imm off", ("BPF_JMP32 | op | BPF_K", "d", "0", "off", "imm")),
        "BPF_JMP_A": _Macro("off", ("BPF_JMP | BPF_JA", "0", "0", "off", "0")),
        "BPF_JMP32_A": _Macro("imm", ("BPF_JMP32 | BPF_JA", "0", "0", "0", "imm")),
        "BPF_CALL_REL": _Macro("imm", ("BPF_JMP | BPF_CALL", "0", "BPF_PSEUDO_CALL", "0", "imm")),
        "BPF_EMIT_CALL": _Macro("func", ("BPF_JMP | BPF_CALL", "0", "0", "0", "func")),
        "BPF_CALL_HELPER": _Macro("func", ("BPF_JMP | BPF_CALL", "0", "0", "0", "func")),
        "BPF_CALL_KFUNC": _Macro("off imm", ("BPF_JMP | BPF_CALL", "0", "BPF_PSEUDO_KFUNC_CALL", "off", "imm")),
        "BPF_EXIT_INSN": _Macro("", ("BPF_JMP | BPF_EXIT", "0", "0", "0", "0")),
        "BPF_RAW_INSN": _Macro("c d s off imm", ("c", "d", "s", "off", "imm")),
        "BPF_LD_IMM64": _Macro("d imm", ("BPF_LD | BPF_DW | BPF_IMM", "d", "0", "0", "imm"), wide=True),
        "BPF_LD_IMM64_RAW": _Macro("d s imm", ("BPF_LD | BPF_DW | BPF_IMM", "d", "s", "0", "imm"), wide=True),
        "BPF_LD_MAP_FD": _Macro("d imm", ("BPF_LD | BPF_DW | BPF_IMM", "d", "BPF_PSEUDO_MAP_FD", "0", "imm"), wide=True),
    }
    for alu in ("ALU64", "ALU32"):
        cls = "BPF_ALU64" if alu == "ALU64" else "BPF_ALU"
        rows[f"BPF_{alu}_REG"] = _Macro("op d s", (f"{cls} | op | BPF_X", "d", "s", "0", "0"))
        rows[f"BPF_{alu}_IMM"] = _Macro("op d imm", (f"{cls} | op | BPF_K", "d", "0", "0", "imm"))
        rows[f"BPF_{alu}_REG_OFF"] = _Macro("op d s off", (f"{cls} | op | BPF_X", "d", "s", "off", "0"))
        rows[f"BPF_{alu}_IMM_OFF"] = _Macro("op d imm off", (f"{cls} | op | BPF_K", "d", "0", "off", "imm"))
        mov = "MOV64" if alu == "ALU64" else "MOV32"
        rows[f"BPF_{mov}_REG"] = _Macro("d s", (f"{cls} | BPF_MOV | BPF_X", "d", "s", "0", "0"))
        rows[f"BPF_{mov}_IMM"] = _Macro("d imm", (f"{cls} | BPF_MOV | BPF_K", "d", "0", "0", "imm"))
        rows[f"BPF_{mov}_RAW"] = _Macro("type d s imm", (f"{cls} | BPF_MOV | type", "d", "s", "0", "imm"))
        rows[f"BPF_{mov.replace('MOV', 'MOVSX')}_REG"] = _Macro("d s off", (f"{cls} | BPF_MOV | BPF_X", "d", "s", "off", "0"))
    return rows


_MACROS = _rows()


def _macro(tokens: Sequence[_Token], at: int, defined: dict[str, int]) -> _Item:
    name = tokens[at].text
    macro = _MACROS[name]
    arguments, end = _arguments(tokens, at + 2, ")")
    parameters = macro.parameters.split()
    if len(arguments) != len(parameters):
        raise _NotAnItem(f"{name} has {len(parameters)} arguments, not {len(arguments)}")
    values = {parameter: _evaluate(argument, defined) for parameter, argument in zip(parameters, arguments, strict=True)}
    fields = [_evaluate(_tokenize(expression), values) for expression in macro.fields]
    if macro.isa is Isa.CLASSIC:
        return _Item(*_classic(*fields), end)
    if not macro.wide:
        return _Item(*_extended(*fields), end)
    imm = fields[4] & 0xFFFFFFFFFFFFFFFF
    code, dst, src, off = fields[:4]
    isa, low = _extended(code, dst, src, off, imm & 0xFFFFFFFF)
    return _Item(isa, low + _extended(0, 0, 0, 0, imm >> 32)[1], end)


class _Expression:
    """Recursive descent over C's integer operators | ^ & << >> + - * / ~ and casts-free parentheses; depth is bounded."""

    _LEVELS = (("|",), ("^",), ("&",), ("<<", ">>"), ("+", "-"), ("*", "/"))
    _DEPTH = 40

    def __init__(self, tokens: Sequence[_Token], values: dict[str, int]) -> None:
        self.tokens = tokens
        self.values = values
        self.at = 0
        self.depth = 0

    def level(self, number: int = 0) -> int:
        if number == len(self._LEVELS):
            return self.unary()
        value = self.level(number + 1)
        while (op := _text_at(self.tokens, self.at)) in self._LEVELS[number]:
            self.at += 1
            value = _apply(op, value, self.level(number + 1))
        return value

    def unary(self) -> int:
        self.depth += 1
        if self.depth > self._DEPTH or self.at >= len(self.tokens):
            raise _NotAnItem("not an integer expression")
        token = self.tokens[self.at]
        self.at += 1
        if token.text in ("-", "~", "+"):
            operand = self.unary()
            value = -operand if token.text == "-" else ~operand if token.text == "~" else operand
        elif token.text == "(":
            value = self.level()
            if _text_at(self.tokens, self.at) != ")":
                raise _NotAnItem("no closing )")
            self.at += 1
        elif token.kind == "number":
            value = _integer(token.text)
        elif token.kind == "word":
            value = self.name(token.text)
        else:
            raise _NotAnItem(f"{token.text[:20]!r} is not part of an integer expression")
        self.depth -= 1
        return value

    def name(self, name: str) -> int:
        if name in self.values:
            return self.values[name]
        arguments: tuple[str, ...] = ()
        if _text_at(self.tokens, self.at) == "(":
            pieces, self.at = _arguments(self.tokens, self.at + 1, ")")
            if name in ("htons", "htonl", "ntohs", "ntohl", "bpf_htons", "bpf_htonl", "__constant_htons", "__constant_htonl"):
                raise _NotAnItem(f"{name}() depends on the machine's byte order")
            arguments = tuple("".join(token.text for token in piece) for piece in pieces)
        value = constant(name, arguments)
        if value is None:
            raise _NotAnItem(f"the value of {name[:40]} is not known here")
        return value


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
                raise _NotAnItem(f"shift by {right}")
            return (left << right if op == "<<" else left >> right) & 0xFFFFFFFFFFFFFFFF
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return (left * right) & 0xFFFFFFFFFFFFFFFF
    if right == 0:
        raise _NotAnItem("division by 0")
    return left // right


def _integer(text: str) -> int:
    if len(text) > 24:
        raise _NotAnItem("number is too long")
    if text[:2].lower() == "0x":
        return int(text, 16)
    return int(text, 8) if len(text) > 1 and text[0] == "0" and set(text) <= set("01234567") else int(text)


def _evaluate(tokens: Sequence[_Token], values: dict[str, int] | None = None) -> int:
    """The value of an integer expression; _NotAnItem where it is none."""
    expression = _Expression(tokens, values or {})
    try:
        value = expression.level()
    except InputError as error:
        raise _NotAnItem(error.reason) from None
    if expression.at != len(tokens):
        raise _NotAnItem(f"{tokens[expression.at].text[:20]!r} is not part of an integer expression")
    return value

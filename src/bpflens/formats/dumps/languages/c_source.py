"""Programs in C source, and in the same shape in Rust and Go: arrays of struct sock_filter and struct bpf_insn, what tcpdump -dd prints.

    { 0x28, 0, 0, 0x0000000c },                        { 0xb7, 0, 0, 0, 2 },
    { .code = 0x28, .k = 12 },                         { .code = 0xb7, .dst_reg = BPF_REG_0, .imm = 2 },
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),            BPF_MOV64_IMM(BPF_REG_0, 2),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x800, 0, 1),  BPF_EXIT_INSN(),
    filter.push(sock_filter { code: 0x28, jt: 0, jf: 0, k: 12 });      unix.SockFilter{Code: 0x28, K: 12},

Items that follow each other are one program. Four or five numbers in braces alone are one only where the text names these structures,
or where they end as a program must. A name in front (`name[] = {`) is the program's. Values are integer expressions over the
headers' constants (c_constants.py); the text's own macros are expanded (c_preprocess.py). Any other name, and any other macro among
instructions, is an error that says so; a list that somebody has shortened ("...", strace) is told of as cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bpflens.formats.dumps.languages.c_conditions import kept
from bpflens.formats.dumps.languages.c_constants import constant
from bpflens.formats.dumps.languages.c_expression import NotAnItem, arguments_of, evaluate
from bpflens.formats.dumps.languages.c_macros import MACROS
from bpflens.formats.dumps.languages.c_preprocess import Token, preprocess, text_at, tokenize, without_comments
from bpflens.formats.dumps.languages.definitions import Definitions, makers, without_other_architectures
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.insn import encode
from bpflens.isa.classic.syscalls import ARCHES
from bpflens.program import Isa, Program

__all__ = ("read",)

_CLASSIC_FIELDS = ("code", "jt", "jf", "k")
_EXTENDED_FIELDS = ("code", "dst_reg", "src_reg", "off", "imm")
_STRUCTS = frozenset(("sock_filter", "SockFilter", "RawInstruction", "bpf_insn", "sock_filter_t"))
_FUNCTIONS = {"bpf_stmt": "BPF_STMT", "bpf_jump": "BPF_JUMP"}  # functions of Rust and Go with the macros' names
_NR = re.compile(r"\b(?:__NR_|SYS_|SCMP_SYS)")
_AUDIT = re.compile(r"\bAUDIT_ARCH_\w+")
_OWN_ARCH = re.compile(r"\b(?:SECCOMP_AUDIT_ARCH|AUDIT_ARCH_(?:CURRENT|NATIVE)|ARCH_NR)\b")
_SWAP = re.compile(r"\b(?:hton|ntoh|htobe|cpu_to_be)")
_DEFAULT_ARCH = "x86_64"


class _Item(NamedTuple):
    isa: Isa
    code: bytes
    end: int  # index of the token behind it


@dataclass(frozen=True, slots=True)
class _Source:
    """What the items of a text are read in: its tokens, and the architecture whose system call numbers it means."""

    text: SourceText
    tokens: list[Token]
    arch: str
    values: Mapping[str, int]


def read(text: SourceText) -> list[Program]:
    """Every run of instructions; InputError where one is cut short, or breaks off in something that cannot be evaluated."""
    plain = without_comments(text.body)
    arch = _arch(plain)
    known = arch or _DEFAULT_ARCH
    chosen = kept(without_other_architectures(plain, known), known)
    values = Definitions(chosen.body, known)
    body, tokens = preprocess(chosen.body, makers(chosen.body))
    source = _Source(text, tokens, known, values)
    declared = any(sign in body for sign in ("sock_filter", "bpf_insn", "BPF_", "SockFilter", "RawInstruction"))
    assumed = tuple(_assumed(plain, body, arch, chosen.assumed))
    programs: list[Program] = []
    taken: list[tuple[int, int]] = []
    at, name = 0, ""
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "word" and text_at(tokens, at + 1) in ("[", "=") and token.text not in _CLASSIC_FIELDS:
            name = token.text
        run, stop = _run(source, at) if _begins(tokens, at) else ([], at)
        if not run or not (declared or token.text != "{" or _ends(run[-1])):
            at += 1
            continue
        _check_whole(source, at, stop, len(run))
        first, last = _extent(source, at, stop, taken)
        isa = run[0].isa
        origin = text.origin("c-classic" if isa is Isa.CLASSIC else "c-extended", first, last, warnings=assumed)
        programs.append(Program(isa, b"".join(item.code for item in run), origin, name=name))
        taken.append((first, last))
        at, name = stop, ""
    text.take(taken)
    return programs


def _arch(body: str) -> str | None:
    """The architecture that the text names by its AUDIT_ARCH constant, where it is one only."""
    audits = {constant(word) for word in _AUDIT.findall(body)} - {None}
    names = [next((arch.name for arch in ARCHES if arch.audit == audit), None) for audit in audits]
    return names[0] if len(names) == 1 else None


def _assumed(plain: str, body: str, arch: str | None, undefined: Sequence[str]) -> Iterator[str]:
    """What the reading of a text rests on that the text does not say."""
    if arch is None and (_NR.search(body) or _OWN_ARCH.search(body)):
        yield f"the source names no architecture: system call numbers are those of {_DEFAULT_ARCH}"
    elif arch is None and _SWAP.search(body):
        yield "htons() and its like are read as on a little-endian machine"
    if undefined:
        yield f"taken as not defined: {', '.join(undefined)}"


def _extent(source: _Source, at: int, stop: int, taken: list[tuple[int, int]]) -> tuple[int, int]:
    """(start, end) of a run in the text; tokens out of a macro stand where the macro is used, so runs may touch but not overlap."""
    last, body = source.tokens[stop - 1], source.text.body
    first = max(source.tokens[at].at, taken[-1][1] if taken else 0)
    return first, max(first, last.at + len(last.text) if body.startswith(last.text, last.at) else _end_of_use(body, last.at))


def _end_of_use(body: str, at: int) -> int:
    """Where the use of a macro ends that begins at `at`: its name, and the brackets behind it."""
    while at < len(body) and (body[at].isalnum() or body[at] == "_"):
        at += 1
    depth, end = 0, at
    while end < len(body) and (depth or body[end] in "( \t"):
        depth += (body[end] == "(") - (body[end] == ")")
        end += 1
        if not depth and body[end - 1] == ")":
            return end
    return at


def _begins(tokens: Sequence[Token], at: int) -> bool:
    """An item may begin here: braces, or one of the macros."""
    return tokens[at].text == "{" or _macro_name(tokens, at) is not None


def _macro_name(tokens: Sequence[Token], at: int) -> str | None:
    """The macro that is used at token `at`: `BPF_STMT(`, in Rust `BPF_STMT!(` or `bpf_stmt(`."""
    name = _FUNCTIONS.get(tokens[at].text, tokens[at].text)
    after = at + 1 + (text_at(tokens, at + 1) == "!")
    return name if name in MACROS and text_at(tokens, after) == "(" else None


def _check_whole(source: _Source, start: int, stop: int, items: int) -> None:
    """What stands around a run may say that instructions are missing: dots, a length, a macro that nobody knows."""
    text, tokens = source.text, source.tokens
    stop += text_at(tokens, stop) == ","
    before, behind = (tokens[start - 1].text if start else ""), (tokens[stop] if stop < len(tokens) else None)
    length = next((int(tokens[at + 2].text) for at in range(max(0, start - 8), max(0, start - 2)) if _is_length(tokens, at)), None)
    if (behind is not None and behind.text in ("...", "…")) or before in ("...", "…"):
        of = f" of {length}" if length is not None else ""
        text.fail(tokens[start].at, f"cut: {items}{of} instructions", "strace prints them all with -v" if length is not None else None)
    if length is not None and length != items and length < 1 << 16:
        what = f"cut: {items} of {length} instructions" if items < length else f"says {length} instructions, but {items} follow"
        text.fail(tokens[start].at, what)
    if before == "," and start > 1 and tokens[start - 2].text != ";":
        text.fail(tokens[start].at, f"{tokens[start - 2].text[:40]!r} before this instruction is not one that is known here")
    if behind is not None and behind.kind == "word" and before == "{":
        text.fail(behind.at, f"{behind.text[:40]!r} behind instructions is not one that is known here")


def _is_length(tokens: Sequence[Token], at: int) -> bool:
    """`len=4`, as strace writes struct sock_fprog."""
    number = tokens[at + 2].text
    return tokens[at].text == "len" and tokens[at + 1].text in ("=", ":") and number.isdigit() and len(number) < 10


def _ends(item: _Item) -> bool:
    """A ret, an exit or a jump: what a program can end in. Arrays of other things rarely do."""
    return item.code[0] & 7 == 6 if item.isa is Isa.CLASSIC else item.code[0] in (0x95, 0x05, 0x06)


def _run(source: _Source, at: int) -> tuple[list[_Item], int]:
    """Items from token `at` on, and the token behind the last; no items where the first is none."""
    text, tokens = source.text, source.tokens
    run: list[_Item] = []
    stop = at
    while at < len(tokens) and _begins(tokens, at):
        is_macro = tokens[at].text != "{"
        try:
            item = _macro(source, at) if is_macro else _braces(source, at)
        except NotAnItem as error:
            if run or is_macro:
                text.fail(tokens[at].at, str(error))
            break
        if run and item.isa is not run[0].isa:
            text.fail(tokens[at].at, f"{item.isa.value} instruction among {run[0].isa.value} ones")
        run.append(item)
        stop = item.end
        at = _next_item(tokens, stop)
    return run, stop


def _next_item(tokens: Sequence[Token], at: int) -> int:
    """The token where the next item of a list may begin: behind a comma, a slot number, or `); filter.push(`, and a structure's name."""
    if text_at(tokens, at) == ")" and text_at(tokens, at + 1) == ";":  # the end of a call that appends one
        at += 2
        ahead = at
        while ahead < len(tokens) and (tokens[ahead].kind == "word" or tokens[ahead].text in (".", "->", "::")):
            ahead += 1
        if text_at(tokens, ahead) == "(" and ahead > at:
            at = ahead + 1
    elif text_at(tokens, at) in (",", ";"):
        at += 1
    if at < len(tokens) and tokens[at].text.isdigit() and tokens[at].text != "0" and text_at(tokens, at + 1) == ":":
        at += 2  # slot number, as bpflens dis --dialect raw prints; 0 begins another program
    ahead = at
    while ahead < len(tokens) and (tokens[ahead].kind == "word" or tokens[ahead].text in (".", "::", "(", ")")):
        if tokens[ahead].text in _STRUCTS:
            ahead += 1 + (text_at(tokens, ahead + 1) == ")")
            return ahead if text_at(tokens, ahead) == "{" else at
        ahead += 1
    return at


def _braces(source: _Source, at: int) -> _Item:
    arguments, end = arguments_of(source.tokens, at + 1, "}")
    if arguments and all(len(argument) > 2 and (argument[0].text == "." or argument[1].text == ":") for argument in arguments):
        return _designated(source, arguments, end)
    if len(arguments) not in (4, 5):
        raise NotAnItem(f"{len(arguments)} values in braces; struct sock_filter has 4, struct bpf_insn has 5")
    values = [evaluate(argument, source.values, source.arch) for argument in arguments]
    return _Item(*(_classic(*values) if len(values) == 4 else _extended(*values)), end)


def _designated(source: _Source, arguments: list[list[Token]], end: int) -> _Item:
    """`.code = 6` in C, `code: 6` in Rust, `Code: 6` or `Op: 6` in Go."""
    values: dict[str, int] = {}
    for argument in arguments:
        dotted = argument[0].text == "."
        if dotted and argument[2].text != "=":
            raise NotAnItem("not .field = value")
        name = (argument[1] if dotted else argument[0]).text.lower()
        values["code" if name == "op" else name] = evaluate(argument[3 if dotted else 2 :], source.values, source.arch)
    if "code" not in values:
        raise NotAnItem("no .code")
    names = values.keys()
    if names <= set(_CLASSIC_FIELDS) and (names & {"jt", "jf", "k"} or values["code"] & 7 in (0, 1, 2, 3, 6)):
        return _Item(*_classic(*(values.get(field, 0) for field in _CLASSIC_FIELDS)), end)
    if names <= set(_EXTENDED_FIELDS):
        return _Item(*_extended(*(values.get(field, 0) for field in _EXTENDED_FIELDS)), end)
    raise NotAnItem(f"fields {', '.join(values)} are neither struct sock_filter's nor struct bpf_insn's")


def _classic(code: int, jt: int, jf: int, k: int) -> tuple[Isa, bytes]:
    if not (0 <= code < 1 << 16 and 0 <= jt < 256 and 0 <= jf < 256 and -(1 << 31) <= k < 1 << 32):
        raise NotAnItem(f"{{{code}, {jt}, {jf}, {k}}} does not fit struct sock_filter")
    return Isa.CLASSIC, encode([(code, jt, jf, k & 0xFFFFFFFF)])


def _extended(code: int, dst: int, src: int, off: int, imm: int) -> tuple[Isa, bytes]:
    from bpflens.isa.extended.insn import Insn

    if not (0 <= code < 256 and 0 <= dst < 16 and 0 <= src < 16 and -(1 << 15) <= off < 1 << 16 and -(1 << 31) <= imm < 1 << 32):
        raise NotAnItem(f"{{{code}, {dst}, {src}, {off}, {imm}}} does not fit struct bpf_insn")
    return Isa.EXTENDED, Insn.make(code, dst, src, off, imm).word.to_bytes(8, "little")


def _macro(source: _Source, at: int) -> _Item:
    name = _macro_name(source.tokens, at) or ""
    macro = MACROS[name]
    arguments, end = arguments_of(source.tokens, at + 2 + (text_at(source.tokens, at + 1) == "!"), ")")
    parameters = macro.parameters.split()
    if len(arguments) != len(parameters):
        raise NotAnItem(f"{name} has {len(parameters)} arguments, not {len(arguments)}")
    values: Mapping[str, int] = {
        parameter: evaluate(argument, source.values, source.arch) for parameter, argument in zip(parameters, arguments, strict=True)
    }
    fields = [evaluate(tokenize(expression), values) for expression in macro.fields]
    if macro.isa is Isa.CLASSIC:
        return _Item(*_classic(*fields), end)
    if not macro.wide:
        return _Item(*_extended(*fields), end)
    imm = fields[4] & 0xFFFFFFFFFFFFFFFF
    code, dst, src, off = fields[:4]
    isa, low = _extended(code, dst, src, off, imm & 0xFFFFFFFF)
    return _Item(isa, low + _extended(0, 0, 0, 0, imm >> 32)[1], end)

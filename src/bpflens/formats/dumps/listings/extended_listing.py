"""Listings of extended code in the kernel's words: `bpftool prog dump xlated`, verifier logs; and assembler.

    int prog(struct xdp_md * ctx):
    ; return XDP_PASS;
       0: (b7) r0 = 2
       1: (95) exit

Where a listing has raw bytes they are the program; without them its text is assembled, line by line, and what the tool left out of
its text is lost (bpftool 7.1 prints movsx as mov, for one): Origin.note says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bpflens.errors import InputError
from bpflens.formats.dumps.source_text import SourceText
from bpflens.program import Function, Isa, Program, Relocation, SourceLine

__all__ = (
    "assemble_line",
    "called_name",
    "jited_calls",
    "looks_like_assembler",
    "read_assembler",
    "read_bpftool",
    "source_line",
)

_KERNEL_LINE = re.compile(
    r"^[ \t]*(?:"
    r"(?P<slot>\d{1,8}):[ \t]+(?:[.0-9]{10,12}[ \t]+)?\((?P<code>[0-9a-f]{2})\)[ \t]*(?P<text>\S[^\n]*)"
    r"|(?P<bytes>(?:[0-9a-f]{2}[ \t]+){7}(?:[0-9a-f]{2}[ \t]+){0,8}[0-9a-f]{2})[ \t]*"
    r"|;(?P<source>[^\n]*)"
    r"|(?P<proto>[A-Za-z_][^\n;{}=]*\)):[ \t]*"
    r")$",
    re.MULTILINE,
)
_PROTO_NAME = re.compile(r"([A-Za-z_][\w.]*)\(")
_LOG = re.compile(
    r"^(?:func#\d+ @\d+|processed \d+ insns)|^\d+: (?:[.0-9]{10,12} )?\([0-9a-f]{2}\)[^\n]*;[ \t]*(?:frame\d+: )?R\d", re.MULTILINE
)
_LINUM = re.compile(r"\[file:([^\n]*?) line_num:(\d{1,9}) line_col:(\d{1,9})\][ \t]*$")
_AT = re.compile(r"[ \t]@ (\S+):(\d{1,9})[ \t]*$")

_CALL = re.compile(r"call (?:kfunc )?(?!(?:unknown|kernel-function)#)([A-Za-z_$.][\w$.]*)#(-?\d{1,10})(?!\S)")
_SUBPROG_NAME = re.compile(r"(call pc([+-]\d{1,5}))#(\S+)")
_TEXT_NOTE = "assembled from the listing's text; a dump with opcodes is exact"


@dataclass
class _Listing:
    """One program as it is collected. `entries`: slot -> (line, its raw bytes where the listing has them)."""

    start: int
    end: int = 0
    entries: dict[int, tuple[re.Match[str], bytes | None]] = field(default_factory=dict)
    next_slot: int = 0
    functions: list[Function] = field(default_factory=list)
    lines: list[SourceLine] = field(default_factory=list)


def read_bpftool(text: SourceText) -> list[Program]:
    """Every xlated dump (with or without opcodes, linum, source lines) and verifier log; a new program begins at each slot 0."""
    listings: list[_Listing] = []
    pending: list[re.Match[str]] = []
    taken = []
    is_log = _LOG.search(text.body) is not None
    slot = -1  # of the line above, -1 where that was no instruction
    for match in _KERNEL_LINE.finditer(text.body):
        if match["slot"] is not None:
            slot = int(match["slot"])
            if not (is_log and listings and _same_load(text.body, listings[-1], match)) and (slot == 0 or (is_log and not listings)):
                listings.append(_Listing((pending[0] if pending else match).start()))
            if not listings:
                text.fail(match.start(), f"the listing begins at slot {slot}; slot 0 is missing")
            entries = listings[-1].entries
            if slot not in entries:
                entries[slot] = (match, None)
                _add_context(listings[-1], slot, pending)
            elif _bare(entries[slot][0]["text"]) != _bare(match["text"]):
                text.fail(match.start(), f"slot {slot} is here something else than above")
            pending = []
        elif match["bytes"] is not None:
            if slot < 0:
                continue
            line = listings[-1].entries[slot][0]
            listings[-1].entries[slot] = (line, bytes.fromhex(match["bytes"]))
            slot = -1
        else:
            slot = -1
            pending.append(match)
            continue
        listings[-1].end = match.end()
        taken.append(match.span())
    text.take(taken)
    if is_log:
        for listing, after in zip(listings, [*listings[1:], None], strict=True):
            listing.end = _end_of_log(text.body, listing.end, after.start if after else len(text.body))
    known: dict[str, bytes] = {}
    return [_kernel_program(text, listing, is_log, known) for listing in listings]


def _same_load(body: str, listing: _Listing, match: re.Match[str]) -> bool:
    """Is this line of the load whose log began above? Newer kernels list all instructions before they walk, so that slot 0 comes twice."""
    first = listing.entries.get(0)
    between = body[max((line.end() for line, _ in listing.entries.values()), default=match.start()) : match.start()]
    return first is not None and _bare(first[0]["text"]) == _bare(match["text"]) and not _ANOTHER_LOAD.search(between)


_ANOTHER_LOAD = re.compile(r"^processed \d+ insn|BEGIN PROG LOAD LOG|^func#0 @0", re.MULTILINE)


def _end_of_log(body: str, at: int, limit: int) -> int:
    """Where the log of a load ends: behind its statistics, or before the next one."""
    found = re.compile(r"^processed \d+ insns?[^\n]*", re.MULTILINE).search(body, at, limit)
    return found.end() if found else len(body[:limit].rstrip())


def _bare(line: str) -> str:
    """An instruction's text without the verifier's comment."""
    return line.partition(";")[0].strip()


def assemble_line(line: str, opcode: int | None = None, dialect: str = "kernel") -> bytes:
    """One instruction, checked against its opcode; InputError where the text is not one."""
    from bpflens.isa.extended.asm import assemble

    prefix = "" if opcode is None else f"({opcode:02x}) "
    subprog = _SUBPROG_NAME.match(line)  # "call pc+2#bpf_prog_715e0f2e5866e0b2_sub": the name is bpftool's addition
    code = assemble(prefix + (subprog[1] if subprog else line), dialect)
    if opcode is not None and code[:1] != bytes((opcode,)):
        raise InputError("", f"{_bare(line)[:80]!r} does not have the opcode ({opcode:02x})")
    if len(code) not in (8, 16):
        raise InputError("", f"{line[:80]!r} is not one instruction")
    return code


def called_name(line: str) -> str:
    """The subprogram, kfunc or inner function of the kernel that a listing names in its call; "" where the number says it alone."""
    from bpflens.isa.extended.helpers import helper_name

    found = _SUBPROG_NAME.match(line)
    if found:
        return found[3]
    found = _CALL.match(line)
    return found[1] if found and helper_name(int(found[2])) != found[1] else ""


def _is_kfunc(line: str) -> bool:
    """Is this line of a verifier log the call of a kfunc? The verifier prints helpers and kfuncs alike, as name#number."""
    return _SUBPROG_NAME.match(line) is None and called_name(line) != ""


def _add_context(listing: _Listing, slot: int, pending: list[re.Match[str]]) -> None:
    """Function headers and source lines that stand before slot `slot`."""
    for match in pending:
        if match["proto"] is not None:
            name = _PROTO_NAME.search(match["proto"])
            if name:
                listing.functions.append(Function(slot, name[1], match["proto"].strip()))
        elif match["source"].strip():
            listing.lines.append(source_line(slot, match["source"].strip()))


def source_line(slot: int, text: str) -> SourceLine:
    """The source line of a comment, with bpftool's `linum` or the verifier's ` @ file:line` at its end."""
    linum = _LINUM.search(text)
    if linum:
        return SourceLine(slot, linum[1], int(linum[2]), int(linum[3]), text[: linum.start()].strip())
    at = _AT.search(text)
    if at:
        return SourceLine(slot, at[1], int(at[2]), 0, text[: at.start()].strip())
    return SourceLine(slot, "", 0, 0, text)


def _kernel_program(text: SourceText, listing: _Listing, is_log: bool, known: dict[str, bytes]) -> Program:
    pieces = []
    expected = 0
    from_text = False
    missing: list[str] = []
    calls = jited_calls({slot: match["text"] for slot, (match, _) in listing.entries.items()}, listing.functions)
    for slot, (match, code) in sorted(listing.entries.items()):
        if slot != expected and not (is_log and slot > expected):
            text.fail(match.start(), f"slot {slot} where slot {expected} is expected")
        if slot > expected:  # a log tells of what was walked; nobody prints the rest
            missing.append(str(expected) if slot == expected + 1 else f"{expected} to {slot - 1}")
            pieces.append(bytes(8 * (slot - expected)))
            expected = slot
        if code is None:
            from_text = True
            code = known.get(match["text"])
            if code is None:
                code = known[match["text"]] = _assemble_match(text, match)
            code = calls.get(slot, code)
            if is_log and _is_kfunc(match["text"]):
                code = bytes((code[0], code[1] & 0x0F | 0x20, *code[2:]))
        elif code[0] != int(match["code"], 16) or len(code) % 8:
            text.fail(match.start(), f"the bytes below are not an instruction with opcode ({match['code']})")
        pieces.append(code)
        expected += len(code) // 8
    note = _TEXT_NOTE if from_text else None
    warnings: tuple[str, ...] = ()
    if is_log:
        note = "assembled from a verifier log; maps are addresses there"
        if missing:
            warnings = (f"slots {', '.join(missing)} are not in the log: they are shown as unknown",)
    origin = text.origin("verifier-log" if is_log else "bpftool", listing.start, listing.end, note=note, warnings=warnings)
    return Program(
        Isa.EXTENDED,
        b"".join(pieces),
        origin,
        relocations=_refused(origin.line or "") if is_log else (),
        name=listing.functions[0].name if listing.functions else "",
        xlated=not is_log,
        functions=tuple(listing.functions),
        lines=tuple(listing.lines),
        symbols=_names(listing),
    )


def _refused(log: str) -> tuple[Relocation, ...]:
    """The verifier's refusal beside the instruction that it refused."""
    from bpflens.formats.dumps.listings.verifier_log import parse_log

    parsed = parse_log(log)
    if parsed.at is None:
        return ()
    return (Relocation(parsed.at, "refusal", "", text=f"refused: {parsed.refusal[0]}"),)


def _names(listing: _Listing) -> dict[int, str]:
    names = ((slot, called_name(match["text"])) for slot, (match, _) in listing.entries.items())
    return {slot: name for slot, name in names if name}


def jited_calls(texts: Mapping[int, str], functions: Sequence[Function]) -> dict[int, bytes]:
    """The calls of subprograms that bpftool prints with a name, as jit_subprogs (kernel/bpf/verifier.c) leaves them.

    off is the distance, imm the subprogram's index, which the text does not have: it follows from where subprograms begin.
    """
    from bpflens.isa.extended.insn import Insn
    from bpflens.isa.extended.opcodes import CALL_CODE, PSEUDO_CALL

    calls = {slot: int(call[2]) for slot, text in texts.items() if (call := _SUBPROG_NAME.match(text))}
    if not calls:
        return {}
    starts = sorted({0, *(function.start for function in functions), *(slot + 1 + off for slot, off in calls.items())})
    index = {start: number for number, start in enumerate(starts)}
    words = {slot: Insn.make(CALL_CODE, src=PSEUDO_CALL, off=off, imm=index[slot + 1 + off]).word for slot, off in calls.items()}
    return {slot: word.to_bytes(8, "little") for slot, word in words.items()}


def _assemble_match(text: SourceText, match: re.Match[str]) -> bytes:
    try:
        return assemble_line(match["text"], int(match["code"], 16))
    except InputError as error:
        text.fail(match.start(), error.reason, error.hint)


_ASSEMBLER = re.compile(
    r"^[ \t]*(?:\d+:[ \t]*)?(?:[rw](?:10|[0-9])[ \t]*[-+*/%&|^s<>]*=[ \t]*\S|\*\((?:u8|u16|u32|u64)|exit\b|goto[ \t]"
    r"|if[ \t]+[rw]\d|call[ \t]|lock[ \t]|\.quad[ \t]|may_goto\b|gotol\b|nospec\b)",
    re.MULTILINE,
)


def looks_like_assembler(body: str) -> bool:
    """Some line is an instruction of extended assembler."""
    return _ASSEMBLER.search(body) is not None


def read_assembler(text: SourceText) -> list[Program]:
    """The whole text as one program of extended assembler, kernel or llvm dialect; InputError where it goes wrong."""
    from bpflens.isa.extended.asm import assemble

    code = assemble(text.body, where=text.where)
    if not code:
        return []
    start = len(text.body) - len(text.body.lstrip())
    program = Program(Isa.EXTENDED, code, text.origin("assembler", start, len(text.body.rstrip())))
    text.take([(0, len(text.body))])
    return [program]

"""`llvm-objdump -d` of every LLVM from 9 on, with -r, -S, -l, --no-show-raw-insn, --no-leading-addr, of either byte order.

    0000000000000000 <prog>:
    ; return XDP_PASS;
           0:	b7 00 00 00 02 00 00 00	r0 = 2
           1:	95 00 00 00 00 00 00 00	exit

Bytes are the program where the listing has them, in the object's byte order, which only the text beside them tells. Without bytes the text
is assembled, and what it leaves out is not claimed: `call 0x6` is helper 6, or the function 7 slots on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bpflens.errors import InputError
from bpflens.formats.dumps.listings.extended_listing import assemble_line
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.extended.opcodes import CALL, CALL_CODE, EXIT, GOTOL, JA, JMP, JMP32, PSEUDO_CALL
from bpflens.program import Declared, Function, Isa, Program, Relocation, SourceLine

__all__ = ("read",)

_OBJDUMP = re.compile(r"^(?:Disassembly of section |[^\n]*file format elf64-bpf|[0-9a-f]{16} <[^>\n]+>:)", re.MULTILINE)
_NO_ADDRESSES = re.compile(r"^<[^>\n]+>:[ \t]*\n(?:;[^\n]*\n)*\t", re.MULTILINE)
_LINE = r"""^(?:{address}
(?:(?P<bytes>(?:[0-9a-f]{{2}}[ ]){{7}}(?:[0-9a-f]{{2}}[ ]){{0,8}}[0-9a-f]{{2}})(?:[ \t]+(?P<beside>[^\n]*))?(?<!:)$|(?P<text>[^\s;R][^\n]*))
|Disassembly[ ]of[ ]section[ ](?P<section>[^\n]+):[ \t]*
|{label}<(?P<label>[^>\n]+)>:[ \t]*
|;(?P<source>[^\n]*)
|[ \t]+{reloc}(?P<reloc>R_BPF_\w+)[ \t]+(?P<symbol>\S+)[ \t]*)$"""
_WITH_ADDRESSES = re.compile(
    _LINE.format(address=r"[ \t]*(?P<slot>\d{1,8}):[ \t]+", label="[0-9a-f]{8,16}[ ]", reloc="[0-9a-f]{8,16}:[ \t]+"),
    re.MULTILINE | re.VERBOSE,
)
_WITHOUT_ADDRESSES = re.compile(_LINE.format(address=r"\t(?P<slot>)", label="", reloc=""), re.MULTILINE | re.VERBOSE)
_BLOCK_LABEL = re.compile(r"\.?L(?:BB)?\d+(?:_\d+)?\Z")
_BARE_CALL = re.compile(r"call[ \t]+-?(?:0x[0-9a-f]+|\d+)[ \t]*\Z")
_PLACE = re.compile(r"(\S+):(\d{1,9})\Z")  # of -l, above the source line
_FUNCTION = re.compile(r"[\w.$:~<>]+\(\):\Z")  # of -l too
_NO_CODE = re.compile(
    r"\.?(?:strtab|symtab|shstrtab|rel\b.*|rela\b.*|rodata.*|data.*|bss.*|debug.*|BTF.*|maps|license|version|comment|llvm.*|note.*"
    r"|eh_frame|gnu.*|jumptables|kconfig|ksyms)\Z"
)  # sections that only -D lists
_TEXT_NOTE = "assembled from the listing's text; a dump with opcodes is exact"
_UNKNOWN = "<unknown>"
_KINDS = {"R_BPF_64_32": "call", "R_BPF_64_64": "map"}
_UNKNOWN_CALL = 15  # no src of a call: what is called is not known
_LOOKED_AT = 64  # lines that are asked for the byte order


@dataclass
class _Listing:
    """One section as it is collected. `entries`: slot -> (line, its bytes)."""

    start: int
    section: str | None
    end: int = 0
    entries: dict[int, tuple[re.Match[str], bytes]] = field(default_factory=dict)
    next_slot: int = 0
    functions: list[Function] = field(default_factory=list)
    lines: list[SourceLine] = field(default_factory=list)
    relocations: list[Relocation] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)


def read(text: SourceText) -> list[Program]:
    """Every section with code, as one program each; InputError where slots are missing or a text is no instruction."""
    listings = list(_listings(text))
    big = _is_big_endian(listings)
    for listing in listings:
        _tell_unknown_calls(listing)
    return [_program(text, listing, big) for listing in listings]


def _listings(text: SourceText) -> Iterator[_Listing]:
    is_objdump = _OBJDUMP.search(text.body) is not None
    plain = is_objdump and _NO_ADDRESSES.search(text.body) is not None
    listing: _Listing | None = None
    section: str | None = None
    above: list[re.Match[str]] = []
    taken: list[tuple[int, int]] = []
    skipped = False
    for match in (_WITHOUT_ADDRESSES if plain else _WITH_ADDRESSES).finditer(text.body):
        if match["section"] is not None:
            if listing is not None:
                yield listing
            section, above, listing = match["section"], [], None
            skipped = _NO_CODE.match(section) is not None
        elif skipped:
            pass
        elif match["label"] is not None or match["source"] is not None:
            above.append(match)
            if match["label"] is None:
                continue  # a comment is taken with the instruction that it belongs to
        elif match["slot"] is not None:
            if match["text"] is not None and not is_objdump:
                continue  # other listings have numbers in front too
            slot = int(match["slot"]) if match["slot"] else listing.next_slot if listing is not None else 0
            if slot == 0 and not plain:
                if listing is not None:
                    yield listing
                listing = None
            if listing is None and slot == 0:
                listing = _Listing((above[0] if above else match).start(), section)
            if listing is None or slot != listing.next_slot:
                expected = listing.next_slot if listing is not None else 0
                text.fail(match.start(), f"slot {slot} where slot {expected} is expected")
            _add(text, listing, slot, match, above)
            taken += [line.span() for line in above if line["source"] is not None]
            above = []
        elif listing is not None and listing.entries:
            _add_relocation(listing, match["reloc"], match["symbol"])
        taken.append(match.span())
    if listing is not None:
        yield listing
    if listing is not None or skipped:
        text.take(sorted(taken))


def _add(text: SourceText, listing: _Listing, slot: int, match: re.Match[str], above: list[re.Match[str]]) -> None:
    """An instruction, with the labels and source lines above it."""
    if match["bytes"] is not None:
        code = bytes.fromhex(match["bytes"])
    elif match["text"].strip() == _UNKNOWN:
        code = bytes(8)
        listing.unknown.append(slot)
    else:
        code = _assemble(text, match)
    if len(code) % 8:
        text.fail(match.start(), f"{len(code)} bytes are not a whole number of slots")
    listing.entries[slot] = (match, code)
    listing.next_slot = slot + len(code) // 8
    listing.end = match.end()
    labels = (line["label"] for line in above if line["label"] is not None)
    listing.functions += [Function(slot, label) for label in labels if not _BLOCK_LABEL.match(label)]
    file, number = "", 0
    for line in above:
        said = (line["source"] or "").strip()
        place = _PLACE.match(said)
        if place:
            file, number = place[1], int(place[2])
        elif said and not _FUNCTION.match(said):
            listing.lines.append(SourceLine(slot, file, number, 0, said))
            file, number = "", 0
    if number:
        listing.lines.append(SourceLine(slot, file, number, 0, ""))


def _assemble(text: SourceText, match: re.Match[str]) -> bytes:
    try:
        return assemble_line(match["text"], None, "llvm")
    except InputError as error:
        text.fail(match.start(), error.reason, error.hint)


def _is_big_endian(listings: list[_Listing]) -> bool:
    """What the text says of the byte order of the bytes beside it: the header of llvm-objdump does not tell it."""
    from bpflens.formats.elf.programs import little_endian

    both = ((match["beside"], code) for listing in listings for match, code in listing.entries.values() if match["beside"])
    for (beside, code), _ in zip(both, range(_LOOKED_AT), strict=False):
        swapped = little_endian(code)
        if swapped == code:
            continue
        try:
            said = assemble_line(beside, None, "llvm")
        except InputError:
            continue
        if said in (code, swapped):
            return said == swapped
    return False


# --- what the text alone does not tell ---


def _add_relocation(listing: _Listing, kind: str, symbol: str) -> None:
    slot = next(reversed(listing.entries))
    listing.relocations.append(Relocation(slot, _KINDS.get(kind, "extern"), symbol, text=f"{kind} {symbol}"))
    if kind == "R_BPF_64_32":  # of a function, whatever the text before looks like
        _set_call(listing, slot, PSEUDO_CALL)


def _set_call(listing: _Listing, slot: int, src: int) -> None:
    """Where the text alone made a call: what is called is in the source register's field."""
    match, code = listing.entries[slot]
    if match["text"] is not None and code and code[0] == CALL_CODE:
        listing.entries[slot] = (match, bytes((code[0], src << 4, *code[2:])))


def _tell_unknown_calls(listing: _Listing) -> None:
    """`call 0x6` is a function where it is negative, a helper where no function can begin 7 slots on; else neither may be said."""
    told = {relocation.off_insns for relocation in listing.relocations}
    may_start = _function_starts(listing)
    for slot, (match, code) in listing.entries.items():
        if match["text"] is None or not code or code[0] != CALL_CODE or slot in told or not _BARE_CALL.match(match["text"]):
            continue
        imm = int.from_bytes(code[4:8], "little", signed=True)
        if imm < 0:
            _set_call(listing, slot, PSEUDO_CALL)
        elif may_start(slot + 1 + imm):
            _set_call(listing, slot, _UNKNOWN_CALL)
            what = f"call {imm:#x}: a helper or a function, which this text does not tell"
            listing.relocations.append(Relocation(slot, "extern", "", text=what))
    listing.relocations.sort(key=lambda relocation: relocation.off_insns)


def _function_starts(listing: _Listing) -> Callable[[int], bool]:
    """Whether a function may begin at a slot. A function of an object has a symbol, and the listing a label for each symbol, unless local
    symbols were stripped: then one may begin behind code that does not go on, where no jump leads. Behind the end of the listing there may
    be more, unless it is that of a whole section.
    """
    starts = {function.start for function in listing.functions}
    behind, reached = set(), set()
    ends = False
    for slot, (_, code) in listing.entries.items():
        if ends:
            behind.add(slot)
        kind, operation = (code[0] & 7, code[0] & 0xF0) if code else (0, 0)
        jump = kind in (JMP, JMP32)
        ends = jump and operation in (JA, EXIT)
        if jump and operation not in (CALL, EXIT):
            far = code[0] == GOTOL
            reached.add(slot + 1 + int.from_bytes(code[4:8] if far else code[2:4], "little", signed=True))
    whole = listing.section is not None and ends and bool(starts)

    def may_start(slot: int) -> bool:
        return not starts or slot in starts or slot in behind - reached or (slot >= listing.next_slot and not whole)

    return may_start


def _program(text: SourceText, listing: _Listing, big_endian: bool) -> Program:
    from bpflens.formats.elf.programs import little_endian

    from_text = any(match["bytes"] is None for match, _ in listing.entries.values())
    warnings: tuple[str, ...] = ()
    if listing.unknown:
        count = len(listing.unknown)
        warnings = (f"{count} instruction{'s are' if count > 1 else ' is'} {_UNKNOWN} in the listing, without bytes: shown as unknown",)
    pieces = (little_endian(code) if big_endian and match["bytes"] else code for match, code in listing.entries.values())
    return Program(
        Isa.EXTENDED,
        b"".join(pieces),
        text.origin("llvm-objdump", listing.start, listing.end, note=_TEXT_NOTE if from_text else None, warnings=warnings),
        name=listing.functions[0].name if listing.functions else "",
        declared=Declared(section=listing.section, byte_order="big" if big_endian else None),
        functions=tuple(listing.functions),
        lines=tuple(listing.lines),
        relocations=tuple(listing.relocations),
    )

"""Code without a container: raw struct sock_filter or struct bpf_insn bytes, and the same as hex text.

    28 00 00 00 0c 00 00 00 ...    2800000c...    "\\x28\\x00..."    0x28, 0x00, ...    xxd and hexdump -C dumps

Which instruction set and byte order the bytes are is decided by what they would mean: a program of known instructions that ends
properly is better than one of known instructions, which is better than anything else. The choice is said in Origin.note. Classic and
extended code cannot both be proper: extended code has an `exit` (0x95), which is no classic code. Extended code can be proper in both
byte orders (`r0 = 2` or `r0 = 33554432`): then the order with the smaller immediates is taken.
A few unknown instructions among known ones (of a newer kernel, or damaged) are shown as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from bpflens.errors import InputError
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.check import check
from bpflens.isa.classic.insn import decode
from bpflens.isa.classic.table import BY_CODE
from bpflens.isa.extended.opcodes import EXIT_CODE, GOTO, GOTOL, LD_IMM64
from bpflens.program import Isa, Origin, Program

__all__ = ("from_bytes", "read_hex")

_XXD = re.compile(r"^[ \t]*[0-9a-fA-F]{4,16}:[ \t]+((?:[0-9a-fA-F]{2,4}[ \t])+)[ \t]?[^\n]*$", re.MULTILINE)
_HEXDUMP = re.compile(r"^[0-9a-fA-F]{8}[ \t]+((?:[0-9a-fA-F]{2}[ \t]+){1,16})\|[^\n]*$", re.MULTILINE)
_HEX_TEXT = re.compile(r"[0-9a-fA-FxX\\\s,;\"'{}]+\Z")
_BYTE = re.compile(r"(?:0[xX]|\\x)?([0-9a-fA-F]+)")


_SAMPLE_SLOTS = 8192  # of a long program only these and the last slot are judged


_MOSTLY = 10  # where at most one slot in so many is unknown, the bytes are code with unknown instructions

PROPER, KNOWN, MOSTLY_KNOWN, ANYTHING = 3, 2, 1, 0


class _Reading(NamedTuple):
    score: int
    isa: Isa
    big_endian: bool


def from_bytes(data: bytes, origin: Origin, isa: Isa | None = None) -> Program:
    """The program that the bytes are; `isa` where the caller knows it. InputError for a ragged length or neither instruction set."""
    if len(data) % 8 or not data:
        raise InputError(origin.where, f"{len(data)} bytes are not a whole number of 8-byte instructions")
    readings = [reading for kind in Isa if isa in (None, kind) for reading in _readings(data, kind)]
    best = max(readings, key=lambda reading: reading.score)  # the first of equals
    if best.score == ANYTHING and isa is None:
        raise InputError(origin.where, f"{len(data)} bytes are neither classic nor extended BPF code in either byte order")
    struct = "struct sock_filter" if best.isa is Isa.CLASSIC else "struct bpf_insn"
    order = ", big-endian" if best.big_endian else ""
    doubt = {PROPER: "", KNOWN: ", not a complete program"}.get(best.score, ", with unknown instructions")
    code = _SWAP[best.isa](data) if best.big_endian else data
    note = f"raw {struct}{order}{doubt}"
    return Program(best.isa, code, Origin(origin.source, origin.where, origin.line, origin.lineno, note=note))


def _readings(data: bytes, isa: Isa) -> list[_Reading]:
    """Both byte orders of one instruction set, the likelier first."""
    if isa is Isa.CLASSIC:
        return [_Reading(_classic_score(data), isa, False), _Reading(_classic_score(_swap_classic(data)), isa, True)]
    sample = data if len(data) <= _SAMPLE_SLOTS * 8 else data[: _SAMPLE_SLOTS * 8 - 8] + data[-8:]
    other = _swap_extended(sample)
    readings = [_Reading(_extended_score(sample), isa, False), _Reading(_extended_score(other), isa, True)]
    if readings[0].score == readings[1].score >= KNOWN and _immediate_bits(other) < _immediate_bits(sample):
        readings.reverse()
    return readings


def _classic_score(code: bytes) -> int:
    if any(code[1::8]) or not _CLASSIC_CODES.issuperset(code[0::8]):
        return ANYTHING
    insns = decode(code)
    return PROPER if not check(insns, "socket") or not check(insns, "libpcap") else KNOWN


_CLASSIC_CODES = frozenset(BY_CODE)


def _extended_score(code: bytes) -> int:
    from bpflens.isa.extended.insn import words
    from bpflens.isa.extended.table import lookup

    slots = words(code)
    distinct = set(slots)
    unknown = [word for word in distinct if lookup(word) is None]
    pairs = any(word & 0xFF == LD_IMM64 for word in distinct)
    odd = any(word & 0xFFFFFFFF or not pairs for word in unknown)  # the second slot of ld_imm64 has only an immediate
    if odd or (pairs and _odd_pair(slots)):
        return _score_with_unknown(slots)
    return PROPER if _ends(slots) and any(word & 0xFF == EXIT_CODE for word in distinct) else KNOWN


def _ends(slots: Sequence[int]) -> bool:
    return slots[-1] & 0xFF in (EXIT_CODE, GOTO, GOTOL)  # exit, or a jump back


def _odd_pair(slots: Sequence[int]) -> bool:
    """A ld_imm64 whose second slot has more than an immediate. One that is missing is a program that was cut."""
    second = -1
    for at, word in enumerate(slots):
        if at == second:
            if word & 0xFFFFFFFF:
                return True
        elif word & 0xFF == LD_IMM64:
            second = at + 1
    return False


def _score_with_unknown(slots: Sequence[int]) -> int:
    """Code of a newer kernel, or with one damaged instruction, is code still. The second half of a ld_imm64 is judged with the first.

    Where all instructions are known and only such a half is odd, the code need not end properly."""
    from bpflens.isa.extended.table import lookup

    unknown, at = 0, 0
    while at < len(slots):
        unknown += lookup(slots[at]) is None
        at += 2 if slots[at] & 0xFF == LD_IMM64 else 1
    return MOSTLY_KNOWN if unknown * _MOSTLY <= len(slots) and (not unknown or _ends(slots)) else ANYTHING


def _immediate_bits(code: bytes) -> int:
    """The length in bits of all imm fields together, negative ones by their complement."""
    from bpflens.isa.extended.insn import words

    return sum(((~word if word >> 63 else word) >> 32 & 0xFFFFFFFF).bit_length() for word in words(code))


def _swap_classic(data: bytes) -> bytes:
    """struct sock_filter of the other byte order: code (2 bytes) and k (4 bytes) reversed."""
    out = bytearray(data)
    out[0::8], out[1::8] = data[1::8], data[0::8]
    out[4::8], out[5::8], out[6::8], out[7::8] = data[7::8], data[6::8], data[5::8], data[4::8]
    return bytes(out)


def _swap_extended(data: bytes) -> bytes:
    """struct bpf_insn of the other byte order: register nibbles exchanged, off (2 bytes) and imm (4 bytes) reversed."""
    out = bytearray(data)
    out[1::8] = data[1::8].translate(_NIBBLES)
    out[2::8], out[3::8] = data[3::8], data[2::8]
    out[4::8], out[5::8], out[6::8], out[7::8] = data[7::8], data[6::8], data[5::8], data[4::8]
    return bytes(out)


_NIBBLES = bytes((byte & 15) << 4 | byte >> 4 for byte in range(256))
_SWAP = {Isa.CLASSIC: _swap_classic, Isa.EXTENDED: _swap_extended}


def read_hex(text: SourceText, isa: Isa | None = None) -> list[Program]:
    """The whole text as one program in hex: plain, escaped, as C bytes, or a dump of xxd or hexdump -C. [] where it is not hex."""
    dump = "".join(match[1] for match in _XXD.finditer(text.body)) or "".join(match[1] for match in _HEXDUMP.finditer(text.body))
    body = dump or text.body
    if not _HEX_TEXT.match(body):
        return []
    digits = []
    for match in _BYTE.finditer(body):
        piece = match[1]
        if len(piece) % 2:
            if match[0] == piece or len(piece) > 1:
                return []
            piece = "0" + piece  # 0x5
        digits.append(piece)
    data = bytes.fromhex("".join(digits))
    if len(data) < 8:
        return []
    start = len(text.body) - len(text.body.lstrip())
    program = from_bytes(data, text.origin("hex", start, len(text.body.rstrip())), isa)
    text.take([(0, len(text.body))])
    return [program]

"""Accesses to contexts and sockets, as learnt rows and as patterns.

    Row("R", 16, 4, False, (r2 = *(u16*)(r1+176),))   ──►   image "rD = *(u16*)(rS+176)", original "rD = *(u32*)(rS+16)"

A sign-extending load is the plain load followed by a sign extension of the destination (convert_ctx_accesses, v6.6), so it is derived.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.contexts import access_name
from bpflens.isa.extended.insn import Insn
from bpflens.lean import NamedTuple
from bpflens.original.rewrites.pattern import Slot, slot_of

__all__ = ("PROBE_IMM", "Access", "Row", "patterns")

PROBE_IMM = 0x5D  # the number stored by rows of form I; their images hold it where the number goes


class Row(NamedTuple):
    """What an access became. `form`: R load, W store of a register, I store of a number (PROBE_IMM); `same`: the load's destination
    is its base; `image`: words with base r1, value r2, scratch r9.
    """

    form: str
    offset: int
    size: int
    same: bool
    image: tuple[int, ...]


class Access(NamedTuple):
    """A row as patterns. `odd`: 0 for the natural access to a field (4 or 8 bytes at its start), more for what compilers seldom make."""

    name: str
    image: tuple[Slot, ...]
    original: tuple[Slot, ...]
    odd: int


def patterns(struct_name: str, row: Row) -> Iterator[Access]:
    """The patterns of a row: placeholders S base, D value, T scratch register, I stored number."""
    width = op.SIZE_CODE[row.size]
    name = access_name(struct_name, row.offset, row.size)
    odd = (0 if row.size >= 4 and row.offset % 4 == 0 else 2) + (8 - row.size) // 2
    value: str = "S" if row.same else "D"
    image = tuple(_slot(Insn(word), row) for word in row.image)
    if row.form == "R":
        yield Access(name, image, (slot_of(op.LDX | op.MEM | width, value, "S", row.offset),), odd)
        if row.size < 8:
            extend = slot_of(op.ALU64 | op.MOV | op.X, value, value, 8 * row.size)
            yield Access(name, (*image, extend), (slot_of(op.LDX | op.MEMSX | width, value, "S", row.offset),), odd + 8)
    elif row.form == "W":
        yield Access(name, image, (slot_of(op.STX | op.MEM | width, "S", "D", row.offset),), odd)
    else:
        yield Access(name, image, (slot_of(op.ST | op.MEM | width, "S", 0, row.offset, "I"),), odd)


def _slot(insn: Insn, row: Row) -> Slot:
    names: dict[int, int | str] = {1: "S", 2: "D", 9: "T"}
    dst = names.get(insn.dst, insn.dst)
    uses_src = insn.code & 7 in (op.LDX, op.STX) or insn.code & op.X
    src = names.get(insn.src, insn.src) if uses_src else insn.src
    if insn.code & 7 in (op.JMP, op.JMP32) and insn.code & 0xF0 == op.JA:
        dst = insn.dst
    stored = row.form == "I" and insn.code & 7 == op.ST and insn.imm == PROBE_IMM
    return slot_of(insn.code, dst, src, insn.off, "I" if stored else insn.imm)

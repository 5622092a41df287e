"""Instructions put into a program or exchanged, with every distance mended.

    edit(subject, before={2: [...3 slots]}, instead={})    ──►  jumps over slot 2 get 3 longer; jumps to slot 2 arrive at the new code

A piece is a list of (word, map name): the name says that the word is an ld_imm64 of that map. Cost: linear in the code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bpflens.analysis.cfg import jump_target, reference
from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.program import Map

__all__ = ("Piece", "edit", "load_map", "piece")

Piece = Sequence[tuple[int, str]]


def piece(*insns: Insn) -> list[tuple[int, str]]:
    """Instructions that refer to no map."""
    return [(insn.word, "") for insn in insns]


def load_map(register: int, name: str, offset: int | None = None) -> list[tuple[int, str]]:
    """ld_imm64 of a map, or of the address of a byte of its first value."""
    source = op.PSEUDO_MAP_FD if offset is None else op.PSEUDO_MAP_VALUE
    return [(Insn.make(op.LD_IMM64, register, source).word, name), ((offset or 0) << 32, "")]


def edit(subject: Subject, before: Mapping[int, Piece], instead: Mapping[int, Piece], maps: Mapping[str, Map]) -> Subject | None:
    """The program with pieces before slots and instead of instructions, and with `maps` beside its own; None where a jump gets too long.

    Slots are those of first halves. A piece before an instruction is run on every way to it.
    """
    words = subject.words
    count = len(words)
    starts, places = [0] * (count + 1), [-1] * count
    out: list[int] = []
    map_at: dict[int, str] = {}
    slot = 0
    while slot < count:
        wide = words[slot] & 0xFF == op.LD_IMM64 and slot + 1 < count
        starts[slot] = len(out)
        _append(out, map_at, before.get(slot, ()))
        if slot in instead:
            _append(out, map_at, instead[slot])
        else:
            places[slot] = len(out)
            if slot in subject.map_at:
                map_at[len(out)] = subject.map_at[slot]
            out.append(words[slot])
        if wide:
            if slot not in instead:
                out.append(words[slot + 1])
            starts[slot + 1] = starts[slot]
            slot += 1
        slot += 1
    starts[count] = len(out)
    for old, new in enumerate(places):
        if new >= 0 and not _mend(out, Insn(words[old]), old, new, starts):
            return None
    info = tuple((starts[at], type_id) for at, type_id in subject.func_info)
    return replace(subject, words=tuple(out), map_at=map_at, maps={**subject.maps, **maps}, func_info=info)


def _append(out: list[int], map_at: dict[int, str], what: Piece) -> None:
    for word, name in what:
        if name:
            map_at[len(out)] = name
        out.append(word)


def _mend(out: list[int], insn: Insn, old: int, new: int, starts: Sequence[int]) -> bool:
    """Give a jump, call or function address its new distance; False where it does not fit."""
    target = jump_target(insn, old)
    called = reference(insn, old, False) if target is None else None
    if target is None and called is None:
        return True
    to = target if target is not None else called
    assert to is not None
    if not 0 <= to < len(starts):
        return False
    distance = starts[to] - new - 1
    if called is not None or insn.code == op.GOTOL:
        out[new] = Insn.make(insn.code, insn.dst, insn.src, insn.off, distance).word
        return True
    if not -32768 <= distance <= 32767:
        return False
    out[new] = Insn.make(insn.code, insn.dst, insn.src, distance, insn.imm).word
    return True

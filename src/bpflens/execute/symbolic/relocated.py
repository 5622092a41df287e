"""CO-RE numbers of two programs made comparable: what names the same field gets one value in both.

    task_struct.pid   a: 1232 (its own types)   b: 0 (a struct with this member alone)   ──►   1232 in both

Fields of two names may lie at one offset for the compiler and apart in the kernel: what is proved is proved a second time with such names
apart. What is no offset (whether a field is there, its size) may be anything.

The loader replaces each of these numbers by what the running kernel's types say of the *names* (bpf_core_apply, kernel/bpf/btf.c; libbpf's
relo_core.c), so the offsets that a compiler wrote have no meaning of their own. A suffix ___flavor of a type's name has none, either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bpflens.execute.symbolic.machine.regions import Refused
from bpflens.isa.extended import opcodes as op
from bpflens.program import Program

__all__ = ("answers", "same_offsets")

_FLAVOR = re.compile(r"___\w+")
_OFFSET = 0  # BPF_CORE_FIELD_BYTE_OFFSET
# Bits of what the other kinds say (enum bpf_core_relo_kind, include/uapi/linux/bpf.h): whether it is there or signed, shifts, sizes.
_BITS = {1: 31, 2: 1, 3: 1, 4: 6, 5: 6, 6: 31, 7: 31, 8: 1, 9: 31, 10: 1, 11: 64, 12: 1}
_APART = 1024  # bytes between fields that are told apart


def same_offsets(a: Sequence[Program], b: Sequence[Program], apart: str | None = None) -> tuple[list[Program], list[Program]]:
    """Both with the first value that `a` has for each name. Refused where `b` names what `a` does not.

    `apart`: two names that have one offset get two offsets that are far apart, but for fields of the structure of this name.
    """
    values: dict[str, int] = {}
    offsets: set[str] = set()
    for program in a:
        for name, slot, kind in _named(program):
            values.setdefault(name, _number(program.code, slot))
            if kind == _OFFSET:
                offsets.add(name)
    if apart is not None:
        _spread(values, offsets, f"struct {apart} ")
    return [_with(program, values) for program in a], [_with(program, values) for program in b]


def answers(program: Program) -> dict[int, tuple[str, int]]:
    """(what is asked, bits of the answer) of each slot whose number is none of an offset: it is another one on another kernel."""
    return {slot: (name, _BITS[kind]) for name, slot, kind in _named(program) if kind in _BITS}


def _spread(values: dict[str, int], names: set[str], kept: str) -> None:
    """Give each name an offset of its own; one that has no room keeps what it has."""
    taken: set[int] = set()
    for name in sorted(names, key=lambda name: (kept not in name, name)):
        number = values[name]
        while kept not in name and number in taken and number + _APART < 1 << 15:
            number += _APART
        taken.add(number)
        values[name] = number


def _named(program: Program) -> Iterator[tuple[str, int, int]]:
    """(what a relocation names, its slot, its kind)."""
    for relocation in program.relocations:
        if relocation.kind == "core":
            yield _FLAVOR.sub("", relocation.text), relocation.off_insns, relocation.value


def _with(program: Program, values: dict[str, int]) -> Program:
    code = bytearray(program.code)
    for name, slot, _ in _named(program):
        if name not in values:
            raise Refused(f"core: only one program refers to {name}")
        _put(code, slot, values[name])
    return replace(program, code=bytes(code)) if code != program.code else program


def _number(code: bytes, slot: int) -> int:
    """The number that the loader replaces: an offset of a load or store, else the constant."""
    at = 8 * slot
    if code[at] & 7 in (op.LDX, op.ST, op.STX):
        return int.from_bytes(code[at + 2 : at + 4], "little", signed=True)
    number = int.from_bytes(code[at + 4 : at + 8], "little")
    if code[at] == op.LD_IMM64:
        return number | int.from_bytes(code[at + 12 : at + 16], "little") << 32
    return number - (1 << 32) if number >> 31 else number


def _put(code: bytearray, slot: int, number: int) -> None:
    at = 8 * slot
    if code[at] & 7 in (op.LDX, op.ST, op.STX):
        if not -(1 << 15) <= number < 1 << 15:
            raise Refused("core: an offset that a load cannot hold")
        code[at + 2 : at + 4] = (number & 0xFFFF).to_bytes(2, "little")
    elif code[at] == op.LD_IMM64:
        code[at + 4 : at + 8] = (number & 0xFFFFFFFF).to_bytes(4, "little")
        code[at + 12 : at + 16] = (number >> 32 & 0xFFFFFFFF).to_bytes(4, "little")
    else:
        code[at + 4 : at + 8] = (number & 0xFFFFFFFF).to_bytes(4, "little")

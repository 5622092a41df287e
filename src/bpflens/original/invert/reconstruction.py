"""Layout: the chosen readings put one after the other as a program, with jumps, calls and function addresses related again.

    slots 0, 1-3, 4 of the image   ──►   instructions 0, 1, 2

`Layout.starts` maps the first slot of every group to its original instruction; what lies inside a group maps to none. Cost: linear.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping

from bpflens.isa.extended import opcodes as op
from bpflens.lean import NamedTuple
from bpflens.original.image.image import Image
from bpflens.original.invert.segment import Segmentation
from bpflens.original.rewrites.template import Group

__all__ = ("Layout", "Misfit", "code_of", "lay_out", "refer")

_BY_IMM = frozenset((op.GOTOL, op.CALL_CODE, op.LD_IMM64))


class Misfit(Exception):
    """The readings do not make a program: a jump leads into the middle of one original instruction, or too far."""


class Layout(NamedTuple):
    """A reconstruction. `words`: 64-bit words of the original, map references with the image's map ids; `starts`: per image slot the
    original slot of the group that starts there, -1 inside groups (one entry more: the end). `groups`: (image slot, original slot,
    reading) of every group that is no untouched instruction. `references`: (instruction, instruction that it refers to).
    """

    words: array[int]
    starts: list[int]
    groups: tuple[tuple[int, int, Group], ...]
    references: tuple[tuple[int, int], ...] = ()

    def code(self) -> bytes:
        """Little-endian struct bpf_insn bytes."""
        return code_of(self.words)

    def origins(self) -> list[int]:
        """Per image slot the instruction that it was made of; -1 for what the kernel added at the entry of a function or at the end."""
        size = len(self.words)  # where the part of the image ends that is the program's
        out = [start if start < size else -1 for start in self.starts[:-1]]
        for slot, start, group in self.groups:
            made = start if group.items else -1
            out[slot : slot + group.length] = [made] * group.length
        return out


def code_of(words: array[int]) -> bytes:
    """Words as little-endian struct bpf_insn bytes."""
    if sys.byteorder == "big":
        words = array("Q", words)
        words.byteswap()
    return words.tobytes()


def lay_out(image: Image, segmentation: Segmentation, choice: Mapping[int, int] | None = None) -> Layout:
    """The program of the first readings, except at the slots in `choice` (slot -> index of the reading). Misfit where that is none."""
    words, targets, readings = image.words, image.targets, segmentation.readings
    out: list[int] = []
    append = out.append
    starts = [-1] * (len(words) + 1)
    fixes: list[tuple[int, int]] = []
    groups = []
    slot, end = 0, segmentation.end
    while slot < end:
        starts[slot] = len(out)
        reading = readings[slot]
        if reading is None:
            target = targets[slot]
            if target >= 0:
                fixes.append((len(out), target))
            append(words[slot])
            slot += 1
            continue
        group = reading[choice.get(slot, 0)] if choice else reading[0]
        groups.append((slot, len(out), group))
        for word, target in group.items:
            if target >= 0:
                fixes.append((len(out), target))
            append(word)
        slot += group.length
    starts[end] = len(out)
    references = []
    for index, target in fixes:
        to = starts[target] if target <= end else -1
        if to < 0:
            raise Misfit(f"instruction {index} refers to slot {target} of the image, inside of another instruction")
        out[index] = refer(out[index], to - index - 1)
        references.append((index, to))
    return Layout(array("Q", out), starts, tuple(groups), tuple(references))


def refer(word: int, distance: int) -> int:
    """The word with its relative target replaced: imm for gotol, calls and PSEUDO_FUNC, off for other jumps."""
    if word & 0xFF in _BY_IMM:
        return word & 0xFFFFFFFF | (distance & 0xFFFFFFFF) << 32
    if not -0x8000 <= distance < 0x8000:
        raise Misfit(f"a jump over {distance} instructions does not fit in 16 bits")
    return word & ~0xFFFF0000 | (distance & 0xFFFF) << 16

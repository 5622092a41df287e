"""Originals that a snapshot has, with the grade that they had when it was taken: nothing is recovered again."""

from __future__ import annotations

import os

from bpflens.errors import InputError
from bpflens.formats.snapshot.magic import is_snapshot
from bpflens.formats.snapshot.programs import read_snapshot
from bpflens.original.image.image import of_program
from bpflens.original.result import Grade, Original
from bpflens.program import Isa

__all__ = ("saved_originals",)


def saved_originals(target: str) -> list[Original] | None:
    """The originals of `x.bpfsnap`, `x.bpfsnap#12`, `x.bpfsnap#NAME`; None where the target is no snapshot."""
    path, part = target, ""
    if not os.path.exists(target) and "#" in target:
        path, _, part = target.rpartition("#")
    if not is_snapshot(path):
        return None
    found = []
    for program in read_snapshot(path, part):
        if program.isa is not Isa.EXTENDED:
            continue
        number = program.origin.where.rpartition("#")[2]
        (image,) = read_snapshot(path, f"{number}/xlated")
        word, _, reason = (program.origin.note or "").partition(": ")
        try:
            grade = Grade(word)
        except ValueError:
            grade, reason = Grade.UNPROVEN, "the snapshot has no original of it"
        where = f"{reason} (when it was saved)"
        functions = tuple((function.start, function.type_id) for function in program.functions if function.type_id)
        found.append(
            Original(of_program(image), grade, where, program.code, None, func_info=functions, source=f"{path} (snapshot)", program=program)
        )
    if not found:
        raise InputError(target, "has no extended programs")
    return found

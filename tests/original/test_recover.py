"""`recover` as a library function: what it takes, what the result says without being printed."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

import needs
from bpflens.errors import KernelError
from bpflens.original.image.image import of_id
from bpflens.original.recover import recover
from bpflens.targets.open import open_target
from original.load import loaded
from original.matrix import ROWS

pytestmark = pytest.mark.live

GUARD = next(row for row in ROWS if row.name == "division by a register")
PROLOGUE = next(row for row in ROWS if row.name == "prologue")


def test_an_id_a_program_and_an_image_have_one_original():
    with loaded(GUARD) as one:
        results = [recover(one.id), recover(open_target(f"id:{one.id}")[0]), recover(of_id(one.id))]

    assert {result.grade for result in results} == {"exact"}
    assert {result.code for result in results} == {one.code}
    assert [insn.word.to_bytes(8, "little") for insn in results[0].insns] == [
        one.code[at : at + 8] for at in range(0, len(one.code), 8)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.row} {row.name}")
def test_every_slot_has_an_origin_or_is_the_kernels(row):
    with contextlib.ExitStack() as stack:
        try:
            one = stack.enter_context(loaded(row))
        except KernelError as error:
            needs.kernel_feature(False, f"what this row needs: {error}")
        original = recover(one.id)
    origins = original.origins
    assert len(origins) == len(original.image)
    known = [origin for origin in origins if origin >= 0]
    assert known == sorted(known)
    assert set(known) <= set(range(len(original.insns)))


def test_slots_that_the_kernel_added_have_no_origin():
    with loaded(PROLOGUE) as one:
        original = recover(one.id)

    assert original.origins[:10] == [-1] * 10
    assert original.origins[10] == 0


def test_a_result_is_frozen():
    with loaded(GUARD) as one:
        original = recover(one.id)

    with pytest.raises(dataclasses.FrozenInstanceError):
        original.grade = "equivalent"


def test_steps_decide_not_the_clock():
    with loaded(GUARD) as one:
        tried = {recover(one.id, steps=steps).tags_tried for steps in (0, 10, 1 << 20)}

    assert len(tried) == 1  # the first reading is always tried, and fits

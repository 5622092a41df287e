"""`recover` as a library function: what it takes, what the result says without being printed."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

import needs
from bpflens.errors import KernelError
from bpflens.original.image.image import of_id
from bpflens.original.invert.tag_search import Budget
from bpflens.original.kernels.running import LiveKernel
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


@pytest.mark.parametrize("name", ("branch never taken", "load into the base register", "cast_to_kern_ctx", "spilled context"))
def test_the_answer_is_the_same_with_nothing_learnt_and_with_all(name, tmp_path, monkeypatch):
    """Reading and learning cost the search nothing: a cold cache gives the grade, the instructions and the number of tags of a warm one."""
    row = next(row for row in ROWS if row.name == name)
    with contextlib.ExitStack() as stack:
        try:
            one = stack.enter_context(loaded(row))
        except KernelError as error:
            needs.kernel_feature(False, f"what this row needs: {error}")
        found = []
        for home in ("first", "first", "second"):
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
            kernel = LiveKernel()
            result = recover(one.id, kernel)
            kernel.save()
            found.append((result.grade, result.code, result.tags_tried, result.reason))

    assert len(set(found)) == 1


def test_a_budget_is_used_up_by_steps_alone():
    budget = Budget(steps=10)

    assert [budget.hash(100) for _ in range(11)] == [True] * 10 + [False]
    assert Budget(steps=10).hash(5_000) is True  # 1 + 5000 // 512 steps
    assert Budget(steps=9).hash(5_000) is False
    assert Budget(steps=100).lay_out(3_200) is False

"""Programs, maps and types that go away while their original is looked for; and traps where the kernel left no code."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from bpflens.errors import NotFound
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.maps.maps import map_ids
from bpflens.kernel.programs.prog_info import prog_ids
from bpflens.original.image.image import of_code, of_id
from bpflens.original.kernels.running import live_kernel
from bpflens.original.recover import recover
from original.load import loaded
from original.matrix import ROWS

TRAP = bytes.fromhex("0500ffff00000000")  # goto -1: sanitize_dead_code() of loads without privilege


@pytest.mark.live
@pytest.mark.parametrize("name", ("branch never taken", "array look-up", "callback of for_each", "timer callback"))
def test_what_is_gone_proves_nothing_by_reload(name):
    row = next(row for row in ROWS if row.name == name)
    with loaded(row) as one:
        image = of_id(one.id)
    while set(image.map_ids) & set(map_ids()):
        time.sleep(0.01)
    original = recover(image, live_kernel())

    if row.grade == "exact":
        assert original.grade == "exact"  # the tag needs no program
        assert original.code[:4] == one.code[:4]
    elif image.map_ids or image.btf_id:
        assert original.grade == "unproven"
    assert original.reason


@pytest.mark.live
def test_a_program_that_is_gone_is_not_found():
    with loaded(ROWS[0]) as one:
        id = one.id
    while id in prog_ids():
        pass
    with pytest.raises(NotFound):
        recover(id)


@pytest.mark.live
def test_maps_that_are_gone_are_said():
    """Code was removed, so that only a reload can prove it; and its map is no more."""
    row = next(row for row in ROWS if row.name == "array look-up")
    dead = replace(row, text="r7 = 0\nif r7 != 0 goto dead\n" + row.text + "\ndead:\nr0 = 9\nexit\n")
    with loaded(dead) as one:
        assert recover(one.id).grade == "equivalent"
        image = of_id(one.id)
    while set(image.map_ids) & set(map_ids()):  # the kernel frees them a moment later
        time.sleep(0.01)
    original = recover(image, live_kernel())

    assert original.grade == "unproven"
    assert "cannot be loaded again" in original.reason


@pytest.mark.live
def test_traps_in_dead_code_are_said_and_never_proved():
    code = assemble("r0 = 0\nif r0 == 0 goto +2\n", "kernel") + 2 * TRAP + assemble("exit\n", "kernel")
    original = recover(of_code(code, 1, tag="0123456789abcdef"), live_kernel())

    assert original.grade == "unproven"
    assert original.reason.startswith("2 dead instructions are traps")
    assert original.code.count(TRAP) == 2

"""Every row of the catalogue of rewrites, loaded into the running kernel and inverted."""

from __future__ import annotations

import contextlib

import pytest

import needs
from bpflens.errors import KernelError
from bpflens.original.image.tag import tags
from bpflens.original.recover import recover
from original.load import loaded
from original.matrix import ROWS

pytestmark = pytest.mark.live


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.row} {row.name}")
def test_row_gets_its_grade(row):
    with contextlib.ExitStack() as stack:
        try:
            program = stack.enter_context(loaded(row))
        except KernelError as error:
            needs.kernel_feature(False, f"what this row needs: {error}")
        assert program.tag in tags(_words(program.code)), "the tag is not what the kernel hashes"

        original = recover(program.id)

        assert original.grade == row.grade, original.reason
        if row.grade == "exact":
            assert _blank(original.code) == _blank(program.code)


def _words(code):
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]


def _blank(code):
    from bpflens.original.image.tag import blanked

    return list(blanked(_words(code)))


def test_a_kernel_with_arenas_takes_every_row():
    """A row that is refused is skipped above: that must not happen on a kernel that is new enough for all of them."""
    arena = next(row for row in ROWS if row.name == "arena")
    try:
        with loaded(arena):
            pass
    except KernelError:
        needs.kernel_feature(False, "arenas")
    refused = []
    for row in ROWS:
        try:
            with loaded(row):
                pass
        except KernelError as error:
            refused.append(f"{row.row} {row.name}: {error}")
    assert not refused

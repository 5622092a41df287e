"""Notes of listings: context fields, kernel structures, inlined helpers, added checks."""

from __future__ import annotations

import pytest

from bpflens.analysis.access_notes import annotate
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.programs.progs import read_program
from bpflens.original.image.image_notes import image_notes
from bpflens.program import Isa, Origin, Program
from original.load import loaded
from original.matrix import ROWS


def notes(text, prog_type):
    program = Program(Isa.EXTENDED, assemble(text, "kernel"), Origin("text", "t"), type=prog_type)
    return annotate(program)


def test_context_fields_through_moves_and_the_stack():
    text = "r6 = r1\n*(u64 *)(r10 -8) = r6\nr7 = *(u64 *)(r10 -8)\nr2 = *(u32 *)(r7 +16)\nr3 = *(u8 *)(r6 +18)\nexit\n"

    assert notes(text, 3) == {3: ["skb->protocol"], 4: ["skb->protocol+2"]}


def test_sockets_and_what_overwrites_them():
    text = "r1 = *(u64 *)(r1 +168)\nif r1 == 0 goto out\nr2 = *(u32 *)(r1 +4)\nr1 = r2\nr3 = *(u32 *)(r1 +4)\nout:\nexit\n"

    assert notes(text, 3) == {0: ["skb->sk"], 2: ["sk->family"]}


def test_a_function_gets_the_types_of_its_arguments():
    assert notes("r2 = r1\ncall f\nexit\nf:\nr0 = *(u32 *)(r2 +0)\nexit\n", 6) == {3: ["xdp->data"]}


def test_two_kinds_that_meet_get_no_name():
    text = "r2 = *(u64 *)(r1 +168)\nif r2 == 0 goto on\nr1 = r2\non:\nr0 = *(u32 *)(r1 +4)\nexit\n"

    assert 3 not in notes(text, 3)


@pytest.mark.parametrize("code", (b"", b"\x18" + bytes(7), b"\x85\x10" + bytes(6), bytes(range(256)), b"\x05\x00\xff\xff" + bytes(4)))
def test_any_bytes_get_notes_or_none(code):
    assert isinstance(annotate(Program(Isa.EXTENDED, code, Origin("text", "t"), type=3)), dict)


@pytest.mark.live
def test_an_image_names_its_rewrites_and_kernel_fields():
    with loaded(next(row for row in ROWS if row.name == "calls across grown code")) as one:
        said = image_notes(read_program(one.id))
    with loaded(next(row for row in ROWS if row.name == "array look-up")) as one:
        looked_up = image_notes(read_program(one.id))

    texts = [note for found in said.values() for note in found]
    assert "skb->ifindex (2 insns)" in texts
    assert "net_device->ifindex" in texts
    assert "division guard, added (4 insns)" in texts
    assert ["inlined map_lookup_elem (array) (7 insns)"] in looked_up.values()


@pytest.mark.live
def test_kernel_structures_of_a_typed_tracepoint():
    with loaded(next(row for row in ROWS if row.name == "fields of kernel structures")) as one:
        said = annotate(read_program(one.id))

    assert ["task_struct->pid"] in said.values()

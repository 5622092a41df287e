"""Notes beside extended instructions, and the strings that reach calls."""

from __future__ import annotations

import pytest

from bpflens.analysis.call_strings import pointed_by
from bpflens.analysis.references import References
from bpflens.analysis.slot_notes import slot_notes
from bpflens.isa.extended.asm import assemble
from bpflens.program import Function, Isa, Map, Origin, Program

RODATA = Map("x.rodata", 2, 4, 32, 1, id=9, data=b"first %d\0second\0\xff\xfe\0\1\0", datasec={})

ON_STACK = """
    r1 = 0x6425206f6c6c6568
    *(u64 *)(r10 -16) = r1
    w2 = 0
    *(u8 *)(r10 -8) = r2
    r1 = r10
    r1 += -16
    r2 = 9
"""


def program(text: str, **fields) -> Program:
    return Program(Isa.EXTENDED, assemble(text), Origin("raw", "test"), **fields)


def call_note(text: str, **fields) -> list[str]:
    """The notes of the last call."""
    shown = program(text, **fields)
    slots = [slot for slot in range(shown.insn_count) if shown.code[slot * 8] == 0x85]
    return slot_notes(shown).get(slots[-1], [])


def test_string_on_the_stack() -> None:
    assert call_note(f"{ON_STACK} call bpf_trace_printk\nexit") == ['fmt "hello %d"']


def test_immediate_stores() -> None:
    text = "*(u32 *)(r10 -8) = 0x6369746b\n*(u32 *)(r10 -4) = 0\nr1 = r10\nr1 += -8\ncall bpf_trace_printk\nexit"

    assert call_note(text) == ['fmt "ktic"']


@pytest.mark.parametrize(
    "between",
    [
        "call bpf_get_prandom_u32\nr1 = r10\nr1 += -16",  # a call may write the stack
        "*(u64 *)(r6 +0) = r2",  # a store to anywhere
        "*(u8 *)(r10 -15) = r6",  # an unknown byte
        "lock *(u64 *)(r10 -16) += r6",
        "r1 += r6",
        "r1 = *(u64 *)(r10 -24)",
        ".quad 0xff",
    ],
)
def test_what_is_not_known_is_not_said(between: str) -> None:
    assert call_note(f"{ON_STACK} {between}\ncall bpf_trace_printk\nexit") in ([], ['fmt "h"'])


def test_a_jump_to_between_ends_what_is_known() -> None:
    """Another path may bring another string."""
    assert call_note(f"if r1 == 0x0 goto there\n{ON_STACK} there: call bpf_trace_printk\nexit") == []
    assert call_note(f"if r1 == 0x0 goto there\n{ON_STACK} call bpf_trace_printk\nthere: exit") == ['fmt "hello %d"']


def test_a_function_begins_anew() -> None:
    text = f"{ON_STACK} f: call bpf_trace_printk\nexit"

    assert call_note(text, functions=(Function(8, "f"),)) == []


def test_constants_of_the_program() -> None:
    text = "r1 = map[id:9][0]+0\nr1 += 9\nr2 = 7\ncall unknown#-61360\nexit"
    named = {4: "bpf_trace_printk"}

    assert call_note(text, xlated=True, maps=(RODATA,), symbols=named) == ['fmt "second"']
    assert call_note(text.replace("+= 9", "+= 16"), xlated=True, maps=(RODATA,), symbols=named) == []
    assert call_note(text.replace("+= 9", "+= 1000"), xlated=True, maps=(RODATA,), symbols=named) == []


def test_every_argument_is_looked_at() -> None:
    text = "r1 = r10\nr3 = map[id:9][0]+0\nr2 = 8\nr4 = 0\nr5 = 0\ncall bpf_snprintf\nexit"

    assert call_note(text, xlated=True, maps=(RODATA,)) == ['fmt "first %d"']


def test_a_pointer_into_no_map() -> None:
    shown = program("r1 = map[id:5][0]+0\ncall bpf_trace_printk\nexit", xlated=True, maps=(RODATA,))

    assert pointed_by(References(shown), 2, 1) is None
    assert slot_notes(shown) == {}

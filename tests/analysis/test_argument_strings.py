"""Text that calls are given in memory: built on the stack, or cut into constants by the compiler."""

from __future__ import annotations

from bpflens.analysis.argument_strings import argument_strings
from bpflens.analysis.data_places import Places, quoted_constant
from bpflens.isa.extended.asm import assemble
from bpflens.program import Isa, Map, Origin, Program


def test_text_on_the_stack() -> None:
    code = assemble(
        "r1 = 6584179\n*(u64 *)(r10 -72) = r1\nr1 = 0x7361702f6374652f ll\n*(u64 *)(r10 -80) = r1\nr2 = r10\nr2 += -80\n"
        "r1 = map[id:3]\ncall bpf_map_lookup_elem#1\nr1 = r10\nr1 += -80\nr2 = 7\ncall pc+1\nexit\nr0 = 0\nexit\n"
    )
    program = Program(Isa.EXTENDED, code, Origin("test", "-"))
    assert list(argument_strings(program).values()) == [['key "/etc/passwd"']]  # the second call may find the stack changed


def test_constants_that_no_zero_ends() -> None:
    data = b"the longest word" + b"short\0\0\0\0\0\0\0\0\0\0\0" + bytes(range(16))
    places = Places(Map(".rodata.cst16", 2, 4, len(data), 1, data=data))
    assert [places.string(at) for at in (0, 4, 16, 32)] == ['"the longest word"', '"longest word"', '"short"', None]
    assert quoted_constant(b"ab\0\0") is None

"""The plain fragment: what the check lets pass, and that the diagrams are exact in it, proved with z3 and by trying every value."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.symbolic import KERNEL, run_in
from bpflens.classic.proof import z3_check
from bpflens.classic.proof.fragment import outside
from bpflens.formats.pcap import libpcap
from diagram_reader import Reader
from plain_machine import execute

RETURNS = [(0x06, 0, 0, 1), (0x06, 0, 0, 0)]
JUMPS = (0x15, 0x25, 0x35, 0x45)
EDGES = (0, 1, 2, 127, 128, 254, 255, 256, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
MASKS = (None, 0x01, 0x80, 0xF0, 0x1FFF, 0xFF00FF, 0xFFFFFF00, 0x80000001, 0xFFFFFFFF)
SHIFTS = (0, 1, 4, 8, 17, 31)


def exact(program: list[tuple[int, int, int, int]], bounds: bool = True) -> str:
    """"unsat" where z3 proves that the diagram is the program."""
    store = Store()
    node = run_in(store, program, KERNEL, bounds=bounds)
    question = z3_check.Question(program, program, KERNEL, None, True, bounds, 60.0)
    return z3_check.program_differs(question, store, node).found


@pytest.mark.parametrize("load", [(0x20, 0, 0, 4), (0x28, 0, 0, 4), (0x30, 0, 0, 4), (0x80, 0, 0, 0), (0x20, 0, 0, 0xFFF00004)])
@pytest.mark.parametrize("jump", JUMPS)
def test_every_comparison_of_a_field_is_exact(load: tuple[int, int, int, int], jump: int) -> None:
    """Each size, mask, shift and comparison, for the constants at which something changes."""
    pytest.importorskip("z3")
    generator = random.Random(str((load, jump)))
    cases = [(mask, shift, value) for mask in MASKS for shift in SHIFTS for value in EDGES]
    chosen = cases if load[0] == 0x30 and jump == 0x15 else generator.sample(cases, 12)
    for mask, shift, value in chosen[:40]:
        alu = [] if load[0] == 0x80 else [*([(0x54, 0, 0, mask)] if mask is not None else []), *([(0x74, 0, 0, shift)] if shift else [])]
        program = [load, *alu, (jump, 0, 1, value), *RETURNS]

        assert outside(program) is None
        assert exact(program) == "unsat", program


@pytest.mark.parametrize("size", [0x40, 0x48, 0x50])
def test_loads_behind_a_header_are_exact(size: int) -> None:
    pytest.importorskip("z3")
    for k in (0, 14, 0x7FFFFF00):
        program = [(0xB1, 0, 0, 14), (size, 0, 0, k), (0x15, 0, 1, 80), *RETURNS]

        assert outside(program) is None
        assert exact(program) == "unsat"


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xA4, 0x84)),
            st.one_of(st.integers(1, 31), st.sampled_from(EDGES[1:])),
        ),
        min_size=1, max_size=5,
    ),
    st.sampled_from(JUMPS),
    st.sampled_from(EDGES),
)  # fmt: skip
def test_what_is_computed_from_one_byte_is_right_for_every_value(steps: list[tuple[int, int]], jump: int, value: int) -> None:
    alu = [(code, 0, 0, k & 31 if code in (0x64, 0x74) else k) for code, k in steps]
    program = [(0x30, 0, 0, 0), *alu, (jump, 0, 1, value), *RETURNS]
    store = Store()
    node = run_in(store, program, KERNEL)

    assert outside(program) is None
    for byte in range(256):
        packet = bytes([byte])
        assert Reader(packet).value(store, node) == execute(program, packet)


@pytest.mark.parametrize(
    ("insns", "why"),
    [
        ([(0x20, 0, 0, 0), (0x07, 0, 0, 0), (0x48, 0, 0, 2)], "may wrap"),
        ([(0xB1, 0, 0, 0), (0x48, 0, 0, 0x7FFFFFF0)], "may wrap"),
        ([(0x80, 0, 0, 0), (0x14, 0, 0, 4), (0x07, 0, 0, 0), (0x40, 0, 0, 0)], "may wrap"),
        ([(0x28, 0, 0, 0), (0x07, 0, 0, 0), (0x28, 0, 0, 2), (0x1D, 0, 1, 0)], "compares with X"),
        ([(0x28, 0, 0, 0), (0x04, 0, 0, 2), (0x15, 0, 0, 7), (0x15, 0, 1, 7)], "compares a computed value"),
        ([(0x20, 0, 0, 0xFFFFF038)], "random numbers"),
        ([(0x20, 0, 0, 0xFFFFF00C)], "netlink attributes"),
        ([(0xB1, 0, 0, 0), (0x3C, 0, 0, 0)], "divides by X"),
    ],
)
def test_what_is_not_plain(insns: list[tuple[int, int, int, int]], why: str) -> None:
    assert why in str(outside([*insns, *RETURNS]))


@pytest.mark.parametrize(
    "expression",
    [
        "tcp port 80", "host 10.0.0.1 and not port 22", "vlan 100 and udp", "ip6 and udp", "portrange 1000-2000", "ether host 1:2:3:4:5:6",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[((tcp[12]&0xf0)>>2):4] = 0x47455420", "less 100", "mpls 5 and ip", "net 10.0.0.0/8",
        "icmp[icmptype] = 8", "ip[0] & 0xf > 5", "inbound",
    ],
)  # fmt: skip
def test_everyday_filters_are_plain(expression: str) -> None:
    """So they need no z3, and explaining them is as fast as it was."""
    assert outside(libpcap.compile(expression, 1)) is None


def test_without_z3_the_grade_is_lower_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from bpflens.classic.proof.equal import compare

    monkeypatch.setitem(sys.modules, "z3", None)
    one = libpcap.compile("ip[2:2] - ip[4:2] = 0", 1)
    two = libpcap.compile("0 = ip[2:2] - ip[4:2]", 1)
    verdict = compare(one, two)
    plain = compare(libpcap.compile("tcp port 80", 1), libpcap.compile("tcp port 80", 1, False))

    assert verdict.grade == "none" and "z3 is not installed" in verdict.reason
    assert plain.grade != "none" and plain.method == "diagrams"

"""The interpreter against the running kernel, and against itself step by step."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bpflens.classic.machine.interpreter import SKF_AD_OFF, SKF_LL_OFF, SKF_NET_OFF, nlattr, run, trace
from bpflens.errors import InputError
from classic_oracles import kernel_filter, programs

PACKET = bytes(range(0x10, 0x50))
RET_A = (0x16, 0, 0, 0)


def delivered(result: int, packet: bytes) -> int | None:
    return min(result, len(packet)) if result else None


@pytest.mark.live
@settings(max_examples=400)
@given(programs(), st.lists(st.binary(min_size=1, max_size=48), min_size=1, max_size=4))
@example([(0x01, 0, 0, 0xFFFFFFFF), (0x40, 0, 0, 1), RET_A], [b"\0\0\0\3abcdef"])  # [x + k] wraps
@example([(0x00, 0, 0, 7), (0x01, 0, 0, 33), (0x6C, 0, 0, 0), RET_A], [bytes(40)])  # shift by X & 31
@example([(0x00, 0, 0, 7), (0x01, 0, 0, 0), (0x3C, 0, 0, 0), RET_A], [bytes(40)])  # division by X = 0
@example([(0x20, 0, 0, 37), RET_A], [bytes(40), bytes(41)])  # a word whose last byte is not there
def test_the_kernel_agrees(insns, packets):
    """What the kernel delivers is what the returned value says."""
    with kernel_filter(insns) as kernel:
        for packet in packets:
            expected = delivered(run(insns, packet), packet)

            assert kernel.delivered(packet) == expected


@pytest.mark.live
def test_return_values_are_exact():
    """All 32 bits of A, seen through a comparison in the kernel."""
    for prefix in ([(0x20, 0, 0, 4)], [(0x20, 0, 0, 4), (0x84, 0, 0, 0)], [(0x20, 0, 0, 4), (0x24, 0, 0, 0x12345677)]):
        value = run([*prefix, RET_A], PACKET)
        with kernel_filter([*prefix, (0x15, 0, 1, value), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]) as kernel:
            assert kernel.delivered(PACKET) == 1


@given(programs(), st.binary(max_size=48), st.sampled_from(("kernel", "libpcap")))
def test_a_trace_ends_in_what_run_returns(insns, packet, model):
    states = trace(insns, packet, model=model)

    assert states[-1].result == run(insns, packet, model=model)
    assert all(state.result is None for state in states[:-1])
    assert [state.pc for state in states[:-1]] == sorted(state.pc for state in states[:-1])  # only forward


@given(
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFFFFFF)), max_size=20),
    st.binary(max_size=40),
    st.sampled_from(("kernel", "libpcap")),
)
def test_anything_either_returns_or_is_named(insns, packet, model):
    try:
        result = run(insns, packet, model=model)
    except InputError as error:
        assert error.object.startswith("insn ")
    else:
        assert 0 <= result <= 0xFFFFFFFF


@pytest.mark.parametrize(
    ("insns", "kernel", "libpcap"),
    [
        ([(0x30, 0, 0, 64), RET_A], 0, 0),
        ([(0x01, 0, 0, 0xFFFFFFFF), (0x50, 0, 0, 1), RET_A], 0x10, 0),
        ([(0x01, 0, 0, 33), (0x00, 0, 0, 1), (0x6C, 0, 0, 0), RET_A], 2, 0),
        ([(0x30, 0, 0, SKF_AD_OFF + 4), RET_A], 3, 0),
        ([(0x20, 0, 0, SKF_AD_OFF + 8), RET_A], 0, 0),
        ([(0x30, 0, 0, SKF_AD_OFF + 48), RET_A], 1, 1),
        ([(0x28, 0, 0, SKF_AD_OFF + 48), RET_A], 1, 0),
        ([(0x30, 0, 0, SKF_NET_OFF + 1), RET_A], 0x1F, 0),
        ([(0x30, 0, 0, SKF_LL_OFF + 1), RET_A], 0x11, 0),
        ([(0x30, 0, 0, SKF_LL_OFF - 1), RET_A], 0, 0),
        ([(0x01, 0, 0, 2), (0x50, 0, 0, SKF_NET_OFF), RET_A], 0x20, 0),
        ([(0x00, 0, 0, 6), (0x01, 0, 0, 3), (0x30, 0, 0, SKF_AD_OFF + 40), RET_A], 5, 0),
        ([(0x80, 0, 0, 0), RET_A], 100, 100),
        ([(0x81, 0, 0, 0), (0x87, 0, 0, 0), RET_A], 100, 100),
    ],
)
def test_the_models_differ_as_the_table_says(insns, kernel, libpcap):
    aux = {"pkttype": 3, "ifindex": None, "vlan_tag_present": 1}

    assert run(insns, PACKET, 100, "kernel", aux) == kernel
    assert run(insns, PACKET, 100, "libpcap", aux) == libpcap


def test_protochain_loops_in_libpcap_only():
    """X += 1 until the byte at X is 0; backwards by a jump."""
    insns = [(0x50, 0, 0, 0), (0x15, 4, 0, 0), (0x87, 0, 0, 0), (0x04, 0, 0, 1), (0x07, 0, 0, 0)]
    insns += [(0x05, 0, 0, 0xFFFFFFFA), (0x87, 0, 0, 0), RET_A]

    assert run(insns, b"abc\0d", model="libpcap") == 3
    with pytest.raises(InputError, match="no such instruction"):
        run(insns, b"abc\0d")


@pytest.mark.parametrize(
    ("insns", "reason"),
    [
        ([], "no such instruction"),
        ([(0x34, 0, 0, 0)], "division by the constant 0"),
        ([(0x0E, 0, 0, 0)], "unknown opcode 0xe"),
        ([(0x60, 0, 0, 16)], r"there is no M\[16\]"),
        ([(0x30, 0, 0, SKF_AD_OFF + 2)], "no ancillary data"),
        ([(0x05, 0, 0, 0xFFFFFFFF)], "not returned after|no such instruction"),
    ],
)
def test_invalid_programs_are_named(insns, reason):
    for model in ("kernel", "libpcap"):
        if "ancillary" in reason and model == "libpcap":
            continue
        with pytest.raises(InputError, match=reason):
            run(insns, PACKET, model=model)


def test_a_trace_shows_the_registers():
    states = trace([(0x28, 0, 0, 12), (0x02, 0, 0, 3), (0xB1, 0, 0, 1), (0x06, 0, 0, 9)], PACKET)

    assert [(s.pc, s.a, s.x, s.m[3], s.read, s.result) for s in states] == [
        (0, 0, 0, 0, None, None),
        (1, 0x1C1D, 0, 0, (12, 2), None),
        (2, 0x1C1D, 0, 0x1C1D, None, None),
        (3, 0x1C1D, 4, 0x1C1D, (1, 1), None),
        (3, 0x1C1D, 4, 0x1C1D, None, 9),
    ]


def test_netlink_attributes():
    packet = bytes(4) + b"\x05\0\x01\0A\0\0\0" + b"\x0c\0\x02\x80" + b"\x08\0\x07\0BBBB"

    assert nlattr(packet, 4, 1) == 4
    assert nlattr(packet, 4, 2) == 12
    assert nlattr(packet, 4, 7) == 0
    assert nlattr(packet, 12, 7, nested=True) == 16
    assert nlattr(packet, 14, 7, nested=True) == 0
    assert nlattr(packet, 0xFFFFFFFF, 7) == 0


@pytest.mark.live
@given(st.binary(min_size=1, max_size=40), st.integers(0, 44), st.integers(0, 8), st.booleans())
@example(b"\x05\0\x01\0A\0\0\0\x0c\0\x02\x80\x08\0\x07\0BBBB", 8, 7, True)
@example(b"\x05\0\x01\0A\0\0\0\x0c\0\x02\x80\x08\0\x07\0BBBB", 0, 2, False)
def test_netlink_attributes_as_in_the_kernel(packet, offset, type, nested):
    insns = [(0x00, 0, 0, offset), (0x01, 0, 0, type), (0x20, 0, 0, SKF_AD_OFF + (16 if nested else 12)), RET_A]
    with kernel_filter(insns) as kernel:
        assert kernel.delivered(packet) == delivered(nlattr(packet, offset, type, nested), packet)

"""Generated code computes what the interpreter computes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.classic.machine.interpreter import SKF_AD_OFF, SKF_LL_OFF, SKF_NET_OFF, run, trace
from bpflens.classic.machine.to_python import compile_filter
from bpflens.errors import InputError
from bpflens.isa.classic.insn import SockFilter
from classic_oracles import programs

MODELS = st.sampled_from(("kernel", "libpcap"))
AUX = {"pkttype": 3, "ifindex": None, "vlan_tag": 0xFFFF_0001_0002, "vlan_tag_present": 1, "network_offset": 3, "link_offset": -2}


@settings(max_examples=300)
@given(programs(net_relative=True), st.lists(st.binary(max_size=48), min_size=1, max_size=4), MODELS)
def test_values_and_hits(insns, packets, model):
    insns = [SockFilter(*insn) for insn in insns]
    compiled = compile_filter(insns, model, AUX)
    profiled = compile_filter(insns, model, AUX, profile=True)
    hits = [0] * len(insns)
    for packet in packets:
        expected = run(insns, packet, 60, model, AUX)

        assert compiled.verdict(packet, 60) == expected
        assert profiled.verdict(packet, 60) == expected
        for state in trace(insns, packet, 60, model, AUX)[:-1]:
            hits[state.pc] += 1
    assert profiled.hits() == tuple(hits)
    assert compiled.source


@pytest.mark.parametrize("model", ["kernel", "libpcap"])
@pytest.mark.parametrize("code", [0x20, 0x28, 0x30, 0xB1])
@pytest.mark.parametrize(
    "k", [SKF_AD_OFF + n for n in range(0, 64, 4)] + [SKF_NET_OFF, SKF_NET_OFF + 1, SKF_LL_OFF, SKF_LL_OFF + 3, 0x80000000]
)
def test_loads_outside_the_plain_bytes(code, k, model):
    packet = bytes(range(1, 41))
    insns = [SockFilter(0x00, 0, 0, 4), SockFilter(0x01, 0, 0, 9), SockFilter(code, 0, 0, k)]
    for end in ([SockFilter(0x16, 0, 0, 0)], [SockFilter(0x87, 0, 0, 0), SockFilter(0x16, 0, 0, 0)]):
        assert compile_filter(insns + end, model, AUX).verdict(packet, 99) == run(insns + end, packet, 99, model, AUX)


def test_deep_nesting_and_joins():
    """More branches than Python may nest, all leading to one block."""
    count = 250
    insns = [SockFilter(0x20, 0, 0, 0)]
    insns += [SockFilter(0x15, count - i - 1, 0, i) for i in range(count)]
    insns += [SockFilter(0x06, 0, 0, 0), SockFilter(0x80, 0, 0, 0), SockFilter(0x16, 0, 0, 0)]
    compiled = compile_filter(insns)
    for value in (0, 100, count - 1, count, 9999):
        packet = value.to_bytes(4, "big")
        assert compiled.verdict(packet, 4) == run(insns, packet)


def test_what_is_not_plain_is_interpreted():
    loop = [SockFilter(0x50, 0, 0, 0), SockFilter(0x15, 4, 0, 0), SockFilter(0x87, 0, 0, 0), SockFilter(0x04, 0, 0, 1)]
    loop += [SockFilter(0x07, 0, 0, 0), SockFilter(0x05, 0, 0, 0xFFFFFFFA), SockFilter(0x87, 0, 0, 0), SockFilter(0x16, 0, 0, 0)]
    compiled = compile_filter(loop, "libpcap", profile=True)

    assert compiled.source == ""
    assert compiled.verdict(b"abc\0", 4) == 3
    assert compiled.hits() == (4, 4, 3, 3, 3, 3, 1, 1)
    with pytest.raises(InputError, match="unknown opcode"):
        compile_filter([SockFilter(0xFF, 0, 0, 0)]).verdict(b"", 0)

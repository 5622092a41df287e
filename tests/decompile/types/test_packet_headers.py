"""Accesses of a packet as fields of headers: only on the paths where the tests say so."""

from __future__ import annotations

import pytest

from bpflens.decompile.fold import fold
from bpflens.decompile.ir import Load, Var, Zext
from bpflens.decompile.lift.blocks import split_blocks
from bpflens.decompile.lift.lift import lift
from bpflens.decompile.lift.regions import analyse_regions
from bpflens.decompile.lift.webs import find_webs
from bpflens.decompile.types.header_fields import HEADERS
from bpflens.decompile.types.packet_headers import find_packet_fields, meaning_of
from bpflens.decompile.types.pointers import is_packet_load
from bpflens.isa.extended.contexts import context_struct
from decompile.plain_ir import code_of

XDP, SOCKET_FILTER, SCHED_CLS = 6, 1, 3
BOUNDS = """
    r2 = *(u32 *)(r1 + 4)
    r6 = *(u32 *)(r1 + 0)
    r3 = r6
    r3 += 64
    if r3 > r2 goto out
"""
END = """
out:
    r0 = 2
    exit
"""


def fields(body, prog_type=XDP, inline=True):
    """(loads, stores, what variables mean) of a program with the packet in r6: members by the offset that is read there."""
    code = code_of(BOUNDS + body + END, prog_type)
    blocks = split_blocks(code)
    regions = analyse_regions(code, blocks, 0, {id: block.end_slots for id, block in blocks.items()}, 1, {})
    function = lift(code, 1, {}, regions.places)
    webs = find_webs(function)
    context = context_struct(prog_type)
    fold(function, webs, lambda call: 64, lambda expr: is_packet_load(expr, context), inline)
    found = find_packet_fields(function, webs, prog_type, context)
    at = {slot: insn.off for slot, insn in enumerate(code.insns)}
    loads = {(at[slot], f"{field.struct}.{field.member}") for slot, field in found.loads.items()}
    stores = {(at[slots[-1]], f"{field.struct}.{field.member}") for slots, field in found.stores.items()}
    return loads, stores, set(found.webs.values())


IP = "r4 = *(u16 *)(r6 + 12)\nif r4 != 8 goto out\n"
TCP = IP + "r4 = *(u8 *)(r6 + 23)\nif r4 != 6 goto out\n"


def test_the_ethernet_header_is_at_the_start():
    body = "r4 = *(u16 *)(r6 + 12)\nr0 = *(u8 *)(r6 + 0)\n*(u64 *)(r10 - 8) = r4\n*(u64 *)(r10 - 16) = r0"
    loads, _, meanings = fields(body, inline=False)
    assert loads == {(12, "ethhdr.h_proto"), (0, "ethhdr.h_dest[0]")}
    assert meanings == {"ethertype"}


def test_behind_an_ethertype_is_the_header_that_it_names():
    loads, stores, _ = fields(IP + "r4 = *(u8 *)(r6 + 22)\n*(u8 *)(r6 + 15) = r4")
    assert loads == {(12, "ethhdr.h_proto"), (22, "iphdr.ttl")}
    assert stores == {(15, "iphdr.tos")}


def test_without_the_test_there_is_no_header():
    assert fields("r4 = *(u8 *)(r6 + 22)\n*(u8 *)(r6 + 15) = r4")[:2] == (set(), set())


def test_the_other_way_of_the_test_has_no_header():
    loads, _, _ = fields("r4 = *(u16 *)(r6 + 12)\nif r4 == 8 goto out\nr4 = *(u8 *)(r6 + 22)\n*(u64 *)(r10 - 8) = r4")
    assert loads == {(12, "ethhdr.h_proto")}


def test_a_swapped_ethertype_is_compared_in_the_order_of_the_host():
    loads, _, _ = fields("r4 = *(u16 *)(r6 + 12)\nr4 = be16 r4\nif r4 != 0x86dd goto out\nr4 = *(u8 *)(r6 + 20)\n*(u64 *)(r10 - 8) = r4")
    assert loads == {(12, "ethhdr.h_proto"), (20, "ipv6hdr.nexthdr")}


def test_the_protocol_names_what_follows():
    loads, _, _ = fields(TCP + "r4 = *(u16 *)(r6 + 36)\n*(u64 *)(r10 - 8) = r4")
    assert (36, "tcphdr.dest") in loads


def test_behind_the_options_too():
    body = TCP + """
        r5 = r6
        r5 += 14
        r4 = *(u8 *)(r6 + 14)
        r4 &= 15
        r4 <<= 2
        r5 += r4
        r7 = r5
        r7 += 20
        if r7 > r2 goto out
        r7 = *(u16 *)(r5 + 2)
        *(u64 *)(r10 - 8) = r7
    """
    assert (2, "tcphdr.dest") in fields(body)[0]
    assert (2, "tcphdr.dest") not in fields(body.replace("r4 &= 15", "r4 &= 7"))[0]


def test_where_paths_meet_only_what_all_know():
    body = """
        r4 = *(u16 *)(r6 + 12)
        if r4 == 8 goto +1
        if r1 == 0 goto out
        r4 = *(u8 *)(r6 + 22)
        *(u64 *)(r10 - 8) = r4
    """
    assert fields(body)[0] == {(12, "ethhdr.h_proto")}


@pytest.mark.parametrize("helper", [43, 44, 18])
def test_after_the_packet_may_begin_elsewhere_nothing_is_said(helper):
    call = f"r7 = r1\nr2 = 0\ncall {helper}\nr1 = r7\n"
    assert fields("*(u64 *)(r10 - 8) = r1\n" + call + BOUNDS.replace("(r1", "(r7") + IP + "r0 = r4")[0] == set()


def test_programs_whose_packets_begin_elsewhere():
    assert fields(IP, SOCKET_FILTER)[0] == set()


def test_the_members_of_a_header_do_not_overlap_at_one_size():
    for header in HEADERS.values():
        assert all(field.offset == offset and field.size == size for (offset, size), field in header.items())


def test_the_meaning_of_a_field_of_the_context():
    from bpflens.decompile.ir import Place
    from bpflens.decompile.types.packet_headers import PacketFields

    protocol = Load(4, False, Var(0), Place("ctx", "", 16), 3)
    assert meaning_of(Zext(16, protocol), PacketFields("__sk_buff")) == "ethertype"
    assert meaning_of(protocol, PacketFields("xdp_md")) == ""
    assert meaning_of(Var(4), PacketFields("", webs={4: "be16"})) == "be16"

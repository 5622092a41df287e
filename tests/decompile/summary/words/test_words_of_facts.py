"""The words for contexts, packets, helpers, occasions and conditions."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.decompile.summary.walk.bits import Bit, Source
from bpflens.decompile.summary.walk.claims import Gives, HasEntry, Relation
from bpflens.decompile.summary.walk.conditions import SHORT, Condition, Kind
from bpflens.decompile.summary.words.context_words import word_of
from bpflens.decompile.summary.words.effects import EFFECTS, KFUNCS, MAP_WRITES
from bpflens.decompile.summary.words.layers import field_of, fields_of, network_offset, value_text
from bpflens.decompile.summary.words.naming import ASSUMED, NO_LAYERS, PLAIN, Layers, Named, Namer
from bpflens.decompile.summary.words.occasions import occasion
from bpflens.decompile.summary.words.phrases import capital, listed, noted_once, slots_of, way_of
from bpflens.decompile.summary.words.said import follows, is_absent, sentences
from bpflens.decompile.unit import Unit
from bpflens.isa.extended.contexts import context_struct, field_at
from bpflens.isa.extended.helpers import helper_id, helper_prototype
from bpflens.isa.extended.names import PROG_TYPES
from bpflens.program import Map

SOCKET_FILTER, KPROBE, TC, TRACEPOINT, XDP, CGROUP_SKB, DEVICE, SOCK_ADDR, TRACING = 1, 2, 3, 5, 6, 8, 15, 18, 26
BUILD = BtfBuilder()
INT = BUILD.add_int("int", 4, 1)
COUNTER = BUILD.add_struct("counter", 8, [("packets", INT, 0), ("bytes", INT, 32)])
BTF = Btf.parse(BUILD.build())
MAPS = {
    "m": Map("m", 1, 4, 8, 16, value_type_id=COUNTER), "plain": Map("plain", 1, 4, 8, 16),
    ".rodata": Map(".rodata", 2, 4, 8, 1, datasec={0: ("limit", 4, "int")}),
}  # fmt: skip


def namer(prog_type=XDP, section=""):
    return Namer(Unit("test", {}, MAPS, BTF, "GPL"), prog_type, section)


def equality(kind, byte, number, size=1, big=False, negated=False, what=""):
    source = Source(kind, what)
    order = range(byte + size - 1, byte - 1, -1) if big else range(byte, byte + size)
    bits = tuple((Bit(source, at, bit), number >> 8 * n + bit & 1) for n, at in enumerate(order) for bit in range(8))
    return Condition(Kind.TELLING, bits=bits, negated=negated)


IPV4 = equality("packet", 12, 0x0800, 2, big=True)
TCP = equality("packet", 23, 6)

# --- layers ---


@pytest.mark.parametrize(
    ("format", "value", "size", "text"),
    [
        ("ethertype", 0x800, 2, "IPv4"),
        ("ethertype", 0x9999, 2, "0x9999"),
        ("ethertype", 100, 2, "100 (an 802.3 length)"),
        ("protocol", 17, 1, "UDP"),
        ("port", 22, 2, "22 (ssh)"),
        ("port", 23456, 2, "23456"),
        ("ipv4", 0xC0000201, 4, "192.0.2.1"),
        ("ipv6", 1, 16, "::1"),
        ("mac", (1 << 48) - 1, 6, "ff:ff:ff:ff:ff:ff (broadcast)"),
        ("tcpflags", 0x12, 1, "SYN+ACK"),
        ("tcpflags", 0, 1, "none"),
        ("result", 0xFFFFFFFF, 4, "-1 (-EPERM)"),
        ("result", 5, 4, "5"),
        ("family", 10, 4, "IPv6"),
        ("sockop", 4, 4, "ACTIVE_ESTABLISHED"),
        ("devaccess", 6, 2, "read+write"),
        ("hex", 255, 1, "0xff"),
        ("number", 70000, 4, "70000 (0x11170)"),
    ],
)
def test_values_as_people_write_them(format, value, size, text):
    assert value_text(format, value, size) == text


def test_fields_by_layer_and_place():
    assert field_of("TCP", 2, 2).name == "TCP destination port"
    assert field_of("TCP", 2, 4) is None and field_of("nothing", 0, 1) is None
    assert [network_offset(type) for type in (XDP, CGROUP_SKB, TRACING)] == [14, 0, None]
    for layer in ("Ethernet", "IPv4", "IPv6", "ARP", "TCP", "UDP"):
        ends = [(field.offset, field.offset + field.size) for field in fields_of(layer)]
        assert all(end <= start for (_, end), (start, _) in pairwise(ends)), layer


# --- contexts, helpers, occasions ---


def test_fields_of_contexts():
    assert word_of("__sk_buff", "protocol").text == "EtherType"
    assert word_of("bpf_sock_addr", "protocol") == ("IP protocol", "protocol", 0)
    assert word_of("bpf_sock_addr", "user_ip6[3]").text == "bytes 12 to 15 of the IPv6 address"
    assert word_of("bpf_sock_ops", "local_ip6[0]").text == "bytes 0 to 3 of the local IPv6 address"
    assert word_of("xdp_md", "data") is None


def test_every_helper_with_words_exists_and_has_the_arguments_that_are_named():
    for name, effect in EFFECTS.items():
        prototype = helper_prototype(helper_id(name) or 0)
        assert prototype is not None, name
        count = prototype.count(",") + 1
        assert all(int(field) < count for _, field, _, _ in string.Formatter().parse(effect.text) if field), name
    assert all(helper_id(name) for name in MAP_WRITES)
    assert all(words and words[0].islower() for words, _ in KFUNCS.values())


@pytest.mark.parametrize(
    ("prog_type", "section", "text"),
    [
        (XDP, "", "for every packet that the interface receives, before the network stack"),
        (KPROBE, "kprobe/do_exit", "whenever do_exit of the kernel begins"),
        (KPROBE, "uprobe/usr/bin/bash:readline", "whenever readline of a program begins"),
        (TRACING, "fentry.s/vfs_read", "whenever vfs_read of the kernel begins"),
        (TRACEPOINT, "tracepoint/syscalls/sys_enter_openat", "when a process makes the system call openat"),
        (TRACEPOINT, "tp/syscalls/sys_exit_openat", "when a process is back from the system call openat"),
        (TRACEPOINT, "tp/sched/sched_switch", "at the kernel's tracepoint sched:sched_switch"),
        (SOCK_ADDR, "cgroup/connect4", "when a process of the cgroup connects to an IPv4 address"),
        (CGROUP_SKB, "?cgroup_skb/egress", "for every packet that sockets of the cgroup send"),
        (99, "", ""),
    ],
)
def test_occasions(prog_type, section, text):
    assert occasion(prog_type, section) == text


def test_every_type_has_an_occasion():
    assert {type for type in PROG_TYPES if type and not occasion(type)} == set()


# --- names ---


@pytest.mark.parametrize(
    ("prog_type", "section", "source", "byte", "size", "text"),
    [
        (XDP, "", Source("packet"), 12, 2, "EtherType"),
        (XDP, "", Source("packet"), 26, 4, "source address"),
        (XDP, "", Source("packet"), 36, 2, f"TCP destination port{ASSUMED}"),
        (XDP, "", Source("packet", "", "transport"), 2, 2, "TCP destination port"),
        (XDP, "", Source("packet"), 100, 2, "bytes 100 to 101 of the packet"),
        (XDP, "", Source("packet", before=True), 12, 2, "earlier EtherType"),
        (CGROUP_SKB, "", Source("packet"), 9, 1, "IP protocol"),
        (XDP, "", Source("ctx"), 16, 4, "receive queue"),
        (XDP, "", Source("ctx"), 16, 1, "byte 0 of the receive queue"),
        (DEVICE, "", Source("ctx"), 2, 2, "access"),
        (KPROBE, "", Source("ctx"), 112, 8, "argument 1 of the function"),
        (TRACING, "", Source("ctx"), 8, 8, "argument 2"),
        (TRACEPOINT, "tp/syscalls/sys_enter_x", Source("ctx"), 24, 8, "argument 2 of the system call"),
        (TRACEPOINT, "tp/a/b", Source("ctx"), 8, 4, "bytes 8 to 11 of the tracepoint's record"),
        (XDP, "", Source("value", "m"), 4, 4, "bytes of the entry of m"),
        (XDP, "", Source("value", "m"), 5, 1, "byte 1 of the bytes of the entry of m"),
        (XDP, "", Source("value", "plain"), 0, 8, "value of the entry of plain"),
        (XDP, "", Source("value", "plain"), 0, 4, "bytes 0 to 3 of the entry of plain"),
        (XDP, "", Source("data", ".rodata"), 0, 4, "setting limit"),
        (XDP, "", Source("data", ".rodata"), 4, 4, "bytes 4 to 7 of .rodata"),
        (XDP, "", Source("call", "bpf_get_current_pid_tgid"), 4, 4, "process id"),
        (XDP, "", Source("call", "bpf_fib_lookup"), 0, 8, "result of bpf_fib_lookup"),
        (XDP, "", Source("kernel", "pid", "task_struct\x003"), 0, 4, "pid of the task_struct"),
        (XDP, "", Source("parameter", "n"), 0, 8, "parameter n"),
        (XDP, "", Source("buffer", "bpf_get_current_comm"), 0, 4, "process name"),
    ],
)
def test_names_of_bytes(prog_type, section, source, byte, size, text):
    assert namer(prog_type, section).name_bytes(source, byte, size, Layers("IPv4", "TCP")).text == text


def test_numbers_of_the_packet_are_in_network_order():
    assert namer().name_bytes(Source("packet"), 36, 2, Layers("IPv6", "")) == Named("bytes 36 to 37 of the packet", "hex", True)
    assert namer(TC).name_bytes(Source("ctx"), 16, 2, NO_LAYERS) == Named("EtherType", "ethertype", True)
    assert namer().name_bytes(Source("call", "bpf_redirect"), 0, 8, NO_LAYERS).format == "result"


def phrases(condition, prog_type=XDP, layers=NO_LAYERS, negated=False):
    return list(namer(prog_type).phrases(dict(condition.bits), layers, negated))


def test_phrases_of_what_bits_are():
    assert phrases(IPV4) == ["the EtherType is IPv4"]
    assert phrases(IPV4, negated=True) == ["the EtherType is not IPv4"]
    assert phrases(TCP) == ["the byte 23 of the packet is 6"]
    assert phrases(TCP, layers=Layers("IPv4")) == ["the IP protocol is TCP"]
    assert phrases(equality("ctx", 16, 7, 4)) == ["the receive queue is 7"]
    evil = equality("buffer", 0, int.from_bytes(b"evil\0", "little"), 5, what="bpf_get_current_comm")
    assert phrases(evil) == ['the process is named "evil"'] and phrases(evil, negated=True) == ['the process is not named "evil"']


def test_phrases_of_parts_of_numbers():
    net = Condition(Kind.TELLING, bits=equality("packet", 26, 0xC00002, 3, big=True).bits)
    assert phrases(net, layers=Layers("IPv4")) == ["the source address is in 192.0.2.0/24"]
    flag = Condition(Kind.TELLING, bits=((Bit(Source("value", "plain"), 3, 2), 1),))
    assert phrases(flag) == ["the byte 3 of the entry of plain has bit 0x4 set"]
    assert phrases(flag, negated=True) == ["the byte 3 of the entry of plain has bit 0x4 clear"]


# --- conditions ---

ENTRY = Condition(Kind.TELLING, "map m has an entry for 5", claim=HasEntry("m", 4, (), True, (3,)))
NO_ENTRY = Condition(Kind.PRESENT, "map m has no entry for 5", claim=HasEntry("m", 4, (), False, (3,)))
GIVES = Condition(Kind.PRESENT, "bpf_ringbuf_reserve gives nothing", claim=Gives("bpf_ringbuf_reserve", (3,), "==", 0))
UNKNOWN = Condition(Kind.UNKNOWN, "a computed value compares so")


def test_what_is_always_there_is_said_only_where_it_is_absent():
    long, short = Condition(Kind.BOUND, ""), Condition(Kind.BOUND, SHORT)
    assert [is_absent(each) for each in (long, short, ENTRY, NO_ENTRY, GIVES)] == [False, True, False, True, True]
    assert sentences((long, IPV4, TCP, ENTRY), namer()) == ["the EtherType is IPv4", "the IP protocol is TCP", "map m has an entry for 5"]
    assert sentences((short, ENTRY, ENTRY), namer()) == [SHORT, "map m has an entry for 5"]


def test_what_follows_from_an_equality_is_not_said():
    known = dict(IPV4.bits)
    assert follows(equality("packet", 12, 0x86DD, 2, big=True, negated=True), known)
    assert not follows(TCP, known)
    bits = tuple(bit for bit, _ in IPV4.bits)
    assert follows(Condition(Kind.TELLING, "x", claim=Relation(bits, "<", (0,) * 64, False, 8)), known)


def test_alternatives():
    udp = equality("packet", 23, 17)
    either = Condition(Kind.TELLING, alternatives=((TCP,), (udp,)))
    assert sentences((IPV4, either), namer()) == ["the EtherType is IPv4", "(the IP protocol is TCP or the IP protocol is UDP)"]
    three = Condition(Kind.TELLING, alternatives=((TCP,), (udp,), (equality("packet", 23, 1),)))
    assert sentences((IPV4, three), namer())[1] == "the IP protocol is TCP, UDP or ICMP"
    assert sentences((IPV4, TCP, either), namer()) == ["the EtherType is IPv4", "the IP protocol is TCP"]
    vague = Condition(Kind.TELLING, alternatives=((ENTRY,), (UNKNOWN,)))
    assert sentences((vague,), namer()) == ["(map m has an entry for 5 or another condition holds)"]


def test_a_way_in_words():
    way = way_of((IPV4, TCP, ENTRY), False, namer())
    assert (way.said, way.noun, way.unsure, way.never, way.cut) == ("map m has an entry for 5", "IPv4 TCP packets", False, False, False)
    way = way_of((UNKNOWN, NO_ENTRY), False, namer())
    assert (way.said, way.unsure, way.never) == ("map m has no entry for 5", True, True)
    assert way_of((), True, namer()).unsure and not way_of((), False, namer()).unsure
    many = [Condition(Kind.TELLING, f"c{n}") for n in range(6)]
    way = way_of(many, False, namer())
    assert way.said == "c2, c3, c4 and c5" and way.whole == "c0, c1, c2, c3, c4 and c5" and way.cut


def test_an_assumption_is_noted_once_and_not_where_it_is_a_condition():
    port = Condition(Kind.TELLING, f"the TCP destination port{ASSUMED} is 80")
    plain = Condition(Kind.TELLING, PLAIN)
    assert way_of((port, Condition(Kind.TELLING, f"x{ASSUMED}")), False, namer()).said.count(ASSUMED) == 1
    way = way_of((plain, port), False, namer())
    assert way.stated and ASSUMED not in way.said
    assert noted_once(f"a{ASSUMED} b{ASSUMED}") == f"a{ASSUMED} b"


def test_small_words():
    assert [listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert (capital("xdp"), capital("")) == ("Xdp", "")
    assert slots_of([(3, 1), (1, 2)]) == (1, 2, 3)


def test_extents_of_fields_of_the_context():
    assert namer(TC).field_extent(17) == (16, 2, 4)
    assert namer(TC).field_extent(19) == (16, 4, 4)
    struct = context_struct(TC)
    assert field_at(struct, 17, 1).offset == 16 and namer(TRACING).field_extent(0) is None

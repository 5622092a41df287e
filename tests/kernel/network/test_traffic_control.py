"""Filters and actions from hand-made answers of the kernel. What it answers itself: attachments/test_attach_netlink.py."""

from __future__ import annotations

import struct

import pytest

from bpflens.kernel.network import traffic_control
from bpflens.kernel.network.traffic_control import BLOCK, Action, Filter, actions, filters
from bpflens.kernel.sys.netlink import attribute
from kernel.network.netlink_answers import Answers

GETQDISC, GETTCLASS, GETTFILTER, GETACTION = 38, 42, 46, 50
KIND, OPTIONS, CHAIN, INGRESS_BLOCK, EGRESS_BLOCK = 1, 2, 11, 13, 14


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def message(ifindex: int, handle: int, parent: int, info: int, *attributes: bytes) -> bytes:
    """struct tcmsg and its attributes."""
    return struct.pack("<BxHiIII", 0, 0, ifindex, handle, parent, info) + b"".join(attributes)


def kind(name: bytes) -> bytes:
    return attribute(KIND, name + b"\0")


class Filters(Answers):
    """Answers by the parent that a dump of filters is for."""

    def __init__(self, by_type: dict[int, list[bytes]], by_parent: dict[tuple[int, int], list[bytes]]) -> None:
        super().__init__(by_type)
        self.by_parent = by_parent

    def dump(self, type: int, payload: bytes) -> list[tuple[int, bytes]]:
        if type != GETTFILTER:
            return super().dump(type, payload)
        ifindex, _, parent = struct.unpack_from("<iII", payload, 4)
        self.asked.append((type, payload))
        if (ifindex, parent) not in self.by_parent:
            raise OSError(22, "no filters there")
        return [(44, body) for body in self.by_parent[ifindex, parent]]


def bpf_action(index: int) -> bytes:
    return attribute(1, kind(b"bpf") + attribute(OPTIONS, attribute(2, struct.pack("<IIIii", index, 0, 0, 1, 1))))


def test_everything_that_may_have_filters_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both hooks of clsact, ingress, a classful qdisc with its classes, a shared block once; not a qdisc without a handle."""
    clsact = message(2, 0xFFFF0000, 0xFFFFFFF1, 1, kind(b"clsact"), attribute(INGRESS_BLOCK, u32(33)))
    htb = message(4, 0x10000, 0xFFFFFFFF, 1, kind(b"htb"))
    qdiscs = [
        message(1, 0, 0xFFFFFFFF, 2, kind(b"noqueue")), clsact, message(3, 0xFFFF0000, 0xFFFFFFF1, 1, kind(b"ingress")), htb,
        message(5, 0xFFFF0000, 0xFFFFFFF1, 1, kind(b"clsact"), attribute(INGRESS_BLOCK, u32(33)), attribute(EGRESS_BLOCK, u32(34))),
    ]  # fmt: skip
    answers = Filters({GETQDISC: qdiscs, GETTCLASS: [message(4, 0x10010, 0x10000, 0)]}, {})
    monkeypatch.setattr(traffic_control, "Netlink", answers)

    found, blocks = filters()

    assert found == []
    assert blocks == {33: [(2, "ingress"), (5, "ingress")], 34: [(5, "egress")]}
    asked = [struct.unpack_from("<iII", payload, 4) for type, payload in answers.asked if type == GETTFILTER]
    assert [(ifindex, parent) for ifindex, _, parent in asked] == [
        (2, 0xFFFFFFF2), (2, 0xFFFFFFF3), (3, 0xFFFF0000), (4, 0x10000), (5, 0xFFFFFFF2), (5, 0xFFFFFFF3),
        (4, 0x10010), (BLOCK, 33), (BLOCK, 34),
    ]  # fmt: skip


def test_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each, without the heads of chains and priorities, those of a shared block at the block; actions of filters of another kind."""
    parent, info = 0xFFFFFFF2, 5 << 16 | 0x0008  # priority 5, IPv4 in network order
    classic = attribute(OPTIONS, attribute(5, b"code") + attribute(3, u32(0x10002)) + attribute(7, b"one\0"))
    extended = attribute(OPTIONS, attribute(11, u32(12)) + attribute(8, u32(1)) + attribute(7, b"two\0"))
    u32_filter = attribute(OPTIONS, attribute(7, bpf_action(101) + attribute(2, kind(b"gact"))))
    here = [
        message(2, 0, parent, info, kind(b"bpf")),
        message(2, 1, parent, info, kind(b"bpf"), classic),
        message(2, 1, parent, info, kind(b"bpf"), classic),
        message(2, 1, parent, info, kind(b"bpf"), attribute(CHAIN, u32(9)), extended),
        message(2, 0x800, parent, info, kind(b"u32"), u32_filter),
        message(BLOCK, 1, 33, info, kind(b"bpf"), classic),
        b"short",
    ]
    block = [message(BLOCK, 1, 33, info, kind(b"bpf"), extended)]
    qdisc = message(2, 0xFFFF0000, 0xFFFFFFF1, 1, kind(b"clsact"), attribute(INGRESS_BLOCK, u32(33)))
    monkeypatch.setattr(traffic_control, "Netlink", Filters({GETQDISC: [qdisc]}, {(2, parent): here, (BLOCK, 33): block}))

    assert filters()[0] == [
        Filter("bpf", 2, parent, "ingress", 0, 5, 0x0800, 1, (), None, b"code", "one", 0x10002, False),
        Filter("bpf", 2, parent, "ingress", 9, 5, 0x0800, 1, (), 12, None, "two", None, True),
        Filter("u32", 2, parent, "ingress", 0, 5, 0x0800, 0x800, (101,), None, None, None, None, False),
        Filter("bpf", BLOCK, 33, "block 33", 0, 5, 0x0800, 1, (), 12, None, "two", None, True),
    ]


def test_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a dump's tables those of kind bpf; a count beside them is none."""
    parms = attribute(2, struct.pack("<IIIii", 7, 0, 2, 1, 3))
    one = attribute(1, kind(b"bpf") + attribute(OPTIONS, parms + attribute(4, b"code") + attribute(6, b"drop\0")))
    unspecified = attribute(2, struct.pack("<IIIii", 8, 0, 0xFFFFFFFF, 1, 0))
    two = attribute(2, kind(b"bpf") + attribute(OPTIONS, unspecified + attribute(9, u32(12))))
    other = attribute(3, kind(b"gact") + attribute(OPTIONS, parms))
    body = bytes(4) + attribute(1, one + two + other) + attribute(3, u32(2))
    monkeypatch.setattr(traffic_control, "Netlink", Answers({GETACTION: [body]}))
    assert actions() == [Action(7, 2, 3, None, b"code", "drop"), Action(8, 0xFFFFFFFF, 0, 12, None, None)]
    monkeypatch.setattr(traffic_control, "Netlink", Answers({GETACTION: OSError(2, "no act_bpf")}))
    assert actions() == []

"""Tun and tap devices in memory."""

from __future__ import annotations

import pytest

from bpflens.attachment import Holder
from bpflens.inventory.facts.records import NetNamespace
from bpflens.inventory.memory.structures import tun
from inventory.memory.plain_memory import Memory, context

CLASSIC = bytes(range(8))


class Devices:
    """A namespace with devices in the kernel's list."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.net = memory.net = memory.new()
        self.last = self.head = self.net + memory.offset("net", "dev_base_head")
        memory.write(self.head, self.head)

    def add(self, name: str, kind: str | None) -> int:
        """The address of a device at the end of the list."""
        memory = self.memory
        device = memory.new("net_device", name=name)
        if kind is not None:
            text = memory.new()
            memory.write(text, kind)
            memory.put(device, "net_device", "rtnl_link_ops", memory.new("rtnl_link_ops", kind=text))
        node = device + memory.offset("net_device", "dev_list")
        memory.write(self.last, node)
        memory.write(node, self.head)
        self.last = node
        return device


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_devices(memory: Memory) -> None:
    """In their order, those of no kind too; a list that does not come back to its head ends."""
    devices = Devices(memory)
    lo, veth = devices.add("lo", None), devices.add("eth0", "veth")
    assert list(tun.devices(memory)) == [(lo, "lo", ""), (veth, "eth0", "veth")]
    memory.write(devices.last, 0)
    assert [name for _, name, _ in tun.devices(memory)] == ["lo", "eth0"]
    memory.write(devices.last, 0x1234)
    assert [name for _, name, _ in tun.devices(memory)] == ["lo", "eth0"], "what cannot be read ends it"
    memory.net = 0
    assert list(tun.devices(memory)) == []


def test_programs(memory: Memory) -> None:
    """Filter and steering of a tun device with who holds it; of a tap device each queue's filter, once."""
    devices = Devices(memory)
    ctx = context((7, 3, "/dev/net/tun"), (8, 4, "/dev/net/tun"), (9, 5, "/dev/null"))
    ctx.netns = NetNamespace(17, (), None, True)
    one = devices.add("tun0", "tun") + memory.offset("net_device", "priv")
    memory.put(one, "tun_struct", "filter_prog", memory.new("tun_prog", prog=memory.program(id=12)))
    memory.put(one, "tun_struct", "steering_prog", memory.new("tun_prog", prog=memory.program(id=13)))
    for pid, fd, device in ((7, 3, one), (8, 4, 0xDEAD), (9, 5, one)):
        memory.file(pid, fd, private=memory.new("tun_file", tun=device))
    two = devices.add("tap0", "tun") + memory.offset("net_device", "priv")
    memory.put(two, "tun_struct", "flags", 0x1002)
    memory.put(two, "tun_struct", "numqueues", 2)
    for number in range(2):
        queue = memory.new()
        filter = memory.new("sk_filter", prog=memory.program(classic=CLASSIC))
        memory.write(queue + memory.offset("tun_file", "sk") + memory.offset("sock", "sk_filter"), filter)
        memory.write(two + memory.offset("tun_struct", "tfiles") + 8 * number, queue)

    rows = list(tun.find(ctx, memory))

    assert [(row.kind, row.object, row.netns, row.prog_id, row.classic) for row in rows] == [
        ("tun/filter", "dev:tun0", 17, 12, None), ("tun/steering", "dev:tun0", 17, 13, None), ("tap/filter", "dev:tap0", 17, None, CLASSIC),
    ]  # fmt: skip
    assert rows[0].holders == (Holder(7, "proc7", 3),), "a descriptor of another device, and one that is of none, are no holders"
    assert rows[2].details["linktype"] == "EN10MB"


def test_where_there_is_nothing_to_ask(memory: Memory) -> None:
    """Before Linux 6.10 the private part is behind struct net_device; a kernel without tun devices has no rows."""
    devices = Devices(memory)
    memory.lacking.add(("net_device", "priv"))
    one = devices.add("tun0", "tun") + memory.size("net_device")
    memory.put(one, "tun_struct", "filter_prog", memory.new("tun_prog", prog=memory.program(id=12)))
    assert [row.prog_id for row in tun.find(context(), memory)] == [12]
    memory.lacking.add(("tun_struct", "steering_prog"))
    assert list(tun.find(context(), memory)) == []

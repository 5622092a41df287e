"""Lightweight tunnels in memory: IPv6 routes, the tries of IPv4, nexthop objects."""

from __future__ import annotations

import ipaddress

import pytest

from bpflens.inventory.facts.records import NetNamespace
from bpflens.inventory.memory.structures import routes
from inventory.memory.plain_memory import Memory, context

MAIN, LOCAL = 254, 255


@pytest.fixture
def memory() -> Memory:
    made = Memory()
    made.net = made.new()
    return made


def tunnel(memory: Memory, type: int = 6, **hooks: int) -> int:
    """A struct lwtunnel_state: hook -> program id."""
    state = memory.new("lwtunnel_state", type=type)
    for hook, id in hooks.items():
        place = state + memory.offset("lwtunnel_state", "data") + memory.offset("bpf_lwt", f"{hook.strip('_')}.prog")
        memory.write(place, memory.program(id=id))
    return state


def nexthop(memory: Memory, address: int, struct: str, state: int, device: str = "eth0") -> None:
    """Its common part, written to a place."""
    memory.put(address, struct, "nh_common.nhc_lwtstate", state)
    memory.put(address, struct, "nh_common.nhc_dev", memory.new("net_device", name=device))


def ipv6(memory: Memory, prefix: str, state: int, table: int = MAIN, object: int = 0) -> int:
    network = ipaddress.IPv6Network(prefix)
    route = memory.new("fib6_info", nh=object, fib6_table=memory.new("fib6_table", tb6_id=table))
    memory.put(route, "fib6_info", "fib6_dst.addr", network.network_address.packed)
    memory.put(route, "fib6_info", "fib6_dst.plen", network.prefixlen)
    nexthop(memory, route + memory.offset("fib6_info", "fib6_nh"), "fib6_nh", state)
    return route


def alias(memory: Memory, bits: int, table: int, states: list[int], following: int = 0) -> int:
    """A struct fib_alias; the address of its list node."""
    info = memory.new("fib_info", fib_nhs=len(states))
    for number, state in enumerate(states):
        nexthop(memory, info + memory.offset("fib_info", "fib_nh") + number * memory.size("fib_nh"), "fib_nh", state)
    made = memory.new("fib_alias", fa_slen=32 - bits, tb_id=table, fa_info=info)
    node = made + memory.offset("fib_alias", "fa_list")
    memory.write(node, following)
    return node


def leaf(memory: Memory, address: str, aliases: int) -> int:
    return memory.new("key_vector", bits=0, key=int(ipaddress.IPv4Address(address)), leaf=aliases)


def table(memory: Memory, id: int, *children: int, trie: int = 0) -> int:
    """A struct fib_table; the address of its hash node. The root of the trie has one child at least."""
    if not trie:
        trie = memory.new()
        root = trie + memory.offset("trie", "kv")
        assert len(children) in (1, 2, 4)
        memory.write(root + memory.offset("key_vector", "bits"), (len(children) - 1).bit_length())
        for number, child in enumerate(children):
            memory.write(root + memory.offset("key_vector", "leaf") + 8 * number, child)
    made = memory.new("fib_table", tb_id=id, tb_data=trie)
    return made + memory.offset("fib_table", "tb_hlist")


def tables(memory: Memory, *nodes: int) -> None:
    """The buckets of the namespace's tables."""
    heads = memory.new()
    for number, node in enumerate(nodes):
        memory.write(heads + 8 * number, node)
    memory.put(memory.net, "net", "ipv4.fib_table_hash", heads)


def found(memory: Memory) -> list[tuple[str, str, int | None, object, object]]:
    ctx = context()
    ctx.netns = NetNamespace(17, (), None, True)
    rows = list(routes.find(ctx, memory))
    assert {row.netns for row in rows} <= {17}
    return [(row.kind, row.object, row.prog_id, row.details.get("dev"), row.details.get("table")) for row in rows]


def test_ipv6(memory: Memory) -> None:
    """A tunnel with two programs, a route without one, a tunnel of another type, a nexthop object's."""
    memory.lists["ipv6_route"] = [
        ipv6(memory, "fd00::/64", tunnel(memory, in_=12, xmit=13), table=100), ipv6(memory, "fd01::/64", 0),
        ipv6(memory, "fd02::/64", tunnel(memory, type=1, out=14)), ipv6(memory, "fd03::/64", tunnel(memory, out=15), object=0xDEAD),
        0xBAD, ipv6(memory, "::/0", tunnel(memory, out=16)),
    ]  # fmt: skip
    assert found(memory) == [
        ("lwt/in", "route:fd00::/64", 12, "eth0", 100), ("lwt/xmit", "route:fd00::/64", 13, "eth0", 100),
        ("lwt/out", "route:::/0", 16, "eth0", MAIN),
    ]  # fmt: skip


def test_ipv4(memory: Memory) -> None:
    """Inner nodes and leaves, several aliases of a leaf, several nexthops of one; a trie that two tables share is walked once."""
    shared = memory.new()
    inner = memory.new("key_vector", bits=1)
    memory.put(inner, "key_vector", "leaf", leaf(memory, "10.1.0.0", alias(memory, 16, 0, [0, tunnel(memory, out=12)])))
    more = alias(memory, 24, 7, [tunnel(memory, xmit=14)])
    root = shared + memory.offset("trie", "kv")
    memory.write(root + memory.offset("key_vector", "bits"), 1)
    memory.write(root + memory.offset("key_vector", "leaf"), inner)
    both = leaf(memory, "10.2.3.0", alias(memory, 32, 0, [tunnel(memory, in_=13)], more))
    memory.write(root + memory.offset("key_vector", "leaf") + 8, both)
    tables(memory, table(memory, LOCAL, trie=shared), table(memory, MAIN, trie=shared))
    assert sorted(found(memory)) == [
        ("lwt/in", "route:10.2.3.0/32", 13, "eth0", LOCAL), ("lwt/out", "route:10.1.0.0/16", 12, "eth0", LOCAL),
        ("lwt/xmit", "route:10.2.3.0/24", 14, "eth0", 7),
    ]  # fmt: skip


def test_tables_in_one_bucket(memory: Memory) -> None:
    first, second = (table(memory, id, leaf(memory, "10.0.0.0", alias(memory, 8, 0, [tunnel(memory, out=id)]))) for id in (12, 13))
    memory.write(first, second)
    tables(memory, 0, first)
    assert [(object, id, number) for _, object, id, _, number in found(memory)] == [("route:10.0.0.0/8", id, id) for id in (12, 13)]


def test_a_list_that_goes_round(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory changes while it is read: every walk has an end, and a state is a row once."""
    monkeypatch.setattr(routes, "_MOST_NODES", 50)
    node = alias(memory, 8, 0, [tunnel(memory, out=12)])
    memory.write(node, node)
    ring = table(memory, MAIN, leaf(memory, "10.0.0.0", node))
    memory.write(ring, ring)
    tables(memory, ring)
    assert [id for _, _, id, _, _ in found(memory)] == [12]


def test_nexthop_objects(memory: Memory) -> None:
    """A tree; a group has no tunnel of its own."""
    def add(id: int, state: int, left: int = 0, right: int = 0, group: int = 0) -> int:
        info = memory.new()
        common = info + memory.offset("nh_info", "fib_nhc")
        memory.put(common, "fib_nh_common", "nhc_lwtstate", state)
        memory.put(common, "fib_nh_common", "nhc_dev", memory.new("net_device", name="eth1"))
        made = memory.new("nexthop", id=id, nh_info=info, is_group=group)
        node = made + memory.offset("nexthop", "rb_node")
        memory.put(node, "rb_node", "rb_left", left)
        memory.put(node, "rb_node", "rb_right", right)
        return node

    root = add(2, 0, add(1, tunnel(memory, out=12)), add(3, tunnel(memory, out=13), right=add(4, tunnel(memory, out=14), group=1)))
    memory.put(memory.net, "net", "nexthop.rb_root", root)
    assert sorted(found(memory)) == [("lwt/out", "nexthop:1", 12, "eth1", None), ("lwt/out", "nexthop:3", 13, "eth1", None)]
    memory.lacking.add(("net", "nexthop.rb_root"))  # before Linux 5.3
    assert found(memory) == []

"""Programs of lightweight tunnels, from kernel memory (row 19): IPv6 routes by an iterator, IPv4 routes by a walk of the fib tries,
nexthop objects by a walk of their tree.

The trie of the main and the local table can be one and the same (CONFIG_IP_MULTIPLE_TABLES, net/ipv4/fib_trie.c): it is walked once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpflens.errors import BpflensError
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.network.routes import LWT_TYPES
from bpflens.inventory.memory.images import Image, image_at
from bpflens.inventory.memory.structures.sockets import row
from bpflens.kernel.memory.reader import Reader
from bpflens.kernel.network.routes import LWT_HOOKS, address

__all__ = ("find",)

_ENCAP_BPF = 6
_MOST_NODES, _MOST_BITS = 1 << 20, 24
_TABLES = 256


def find(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Routes of the thread's namespace with LWT programs."""
    if not reader.can_read_memory or not ctx.may_have(*LWT_TYPES) or not reader.has("bpf_lwt", "in.prog"):
        return
    namespace = ctx.netns.inode if ctx.netns else None
    seen: set[tuple[str, int]] = set()
    for object, table, device, state in (*_ipv6(reader), *_ipv4(reader), *_nexthops(reader)):
        try:
            for hook, image in _lwt(reader, state):
                if (hook, state) not in seen:
                    seen.add((hook, state))
                    found = row(f"lwt/{hook}", object, namespace, image, dev=device)
                    yield found._replace(details={**found.details, "table": table}) if table else found
        except OSError:
            continue


def _lwt(reader: Reader, state: int) -> Iterator[tuple[str, Image]]:
    if reader.u16(state + reader.offset("lwtunnel_state", "type")) != _ENCAP_BPF:
        return
    data = state + reader.offset("lwtunnel_state", "data")
    for hook in LWT_HOOKS.values():
        image = image_at(reader, reader.u64(data + reader.offset("bpf_lwt", f"{hook}.prog")), code=False)
        if image is not None:
            yield hook, image


def _common(reader: Reader, nexthop: int, struct: str) -> tuple[int, str | None]:
    """(struct lwtunnel_state pointer, device name) of a struct fib_nh or fib6_nh."""
    state = reader.u64(nexthop + reader.offset(struct, "nh_common.nhc_lwtstate"))
    device = reader.u64(nexthop + reader.offset(struct, "nh_common.nhc_dev")) if state else 0
    return state, reader.text(device + reader.offset("net_device", "name")) if device else None


def _ipv6(reader: Reader) -> Iterator[tuple[str, int, str | None, int]]:
    offset = reader.offset
    try:
        routes = reader.pointers("ipv6_route", "rt")
    except BpflensError:
        return
    for route in routes:
        try:
            if reader.has("fib6_info", "nh") and reader.u64(route + offset("fib6_info", "nh")):
                continue  # a nexthop object's, listed as that
            state, device = _common(reader, route + offset("fib6_info", "fib6_nh"), "fib6_nh")
            if not state:
                continue
            raw = reader.read(route + offset("fib6_info", "fib6_dst.addr"), 16)
            bits = reader.u32(route + offset("fib6_info", "fib6_dst.plen"))
            table = reader.u64(route + offset("fib6_info", "fib6_table"))
            id = reader.u32(table + offset("fib6_table", "tb6_id")) if table else 0
            yield f"route:{address(10, raw)}/{bits}", id, device, state
        except OSError:
            continue


def _ipv4(reader: Reader) -> Iterator[tuple[str, int, str | None, int]]:
    offset = reader.offset
    net = reader.current_net()
    if not net:
        return
    seen: set[int] = set()
    try:
        heads = reader.u64(net + offset("net", "ipv4.fib_table_hash"))
        count = _TABLES if reader.u64(net + offset("net", "ipv4.rules_ops")) or reader.has("net", "ipv4.rules_ops") else 2
        buckets = reader.read(heads, 8 * count)
    except OSError:
        return
    for index in range(count):
        node = int.from_bytes(buckets[8 * index : 8 * index + 8], "little")
        for _ in range(_TABLES):
            if not node:
                break
            try:
                table = node - offset("fib_table", "tb_hlist")
                id = reader.u32(table + offset("fib_table", "tb_id"))
                trie = reader.u64(table + offset("fib_table", "tb_data"))
                if trie not in seen:
                    seen.add(trie)
                    yield from _trie(reader, trie + offset("trie", "kv"), id)
                node = reader.u64(node)
            except OSError:
                break


def _nexthops(reader: Reader) -> Iterator[tuple[str, int, str | None, int]]:
    """Nexthop objects (Linux 5.3): the red-black tree net.nexthop.rb_root of struct nexthop."""
    offset = reader.offset
    if not reader.has("net", "nexthop.rb_root") or not reader.has("nh_info", "fib_nhc"):
        return
    net = reader.current_net()
    try:
        pending = [reader.u64(net + offset("net", "nexthop.rb_root"))] if net else []
    except OSError:
        return
    steps = 0
    while pending and steps < _MOST_NODES:
        steps += 1
        node = pending.pop()
        if not node:
            continue
        try:
            pending += [reader.u64(node + offset("rb_node", "rb_left")), reader.u64(node + offset("rb_node", "rb_right"))]
            nexthop = node - offset("nexthop", "rb_node")
            if reader.read(nexthop + offset("nexthop", "is_group"), 1)[0]:
                continue
            common = reader.u64(nexthop + offset("nexthop", "nh_info")) + offset("nh_info", "fib_nhc")
            state = reader.u64(common + offset("fib_nh_common", "nhc_lwtstate"))
            device = reader.u64(common + offset("fib_nh_common", "nhc_dev"))
            if state:
                name = reader.text(device + offset("net_device", "name")) if device else None
                yield f"nexthop:{reader.u32(nexthop + offset('nexthop', 'id'))}", 0, name, state
        except OSError:
            continue


def _trie(reader: Reader, root: int, table: int) -> Iterator[tuple[str, int, str | None, int]]:
    """struct key_vector: inner nodes have 1 << bits children, a leaf (bits 0) a list of struct fib_alias."""
    offset = reader.offset
    bits_at, key_at, union_at = (offset("key_vector", name) for name in ("bits", "key", "leaf"))
    pending, steps = [root], 0
    while pending and steps < _MOST_NODES:
        steps += 1
        node = pending.pop()
        try:
            bits = reader.read(node + bits_at, 1)[0]
            if (bits and bits <= _MOST_BITS) or node == root:
                children = reader.read(node + union_at, 8 << bits)
                pending += [child for at in range(0, len(children), 8) if (child := int.from_bytes(children[at : at + 8], "little"))]
                continue
            key = reader.u32(node + key_at)
            alias = reader.u64(node + union_at)
            while alias and steps < _MOST_NODES:
                steps += 1
                base = alias - offset("fib_alias", "fa_list")
                bits = 32 - reader.read(base + offset("fib_alias", "fa_slen"), 1)[0]
                own = reader.u32(base + offset("fib_alias", "tb_id"))
                info = reader.u64(base + offset("fib_alias", "fa_info"))
                object = f"route:{address(2, key.to_bytes(4, 'big'))}/{bits}"
                for number in range(min(reader.u32(info + offset("fib_info", "fib_nhs")), 256)):
                    nexthop = info + offset("fib_info", "fib_nh") + number * reader.size("fib_nh")
                    state, device = _common(reader, nexthop, "fib_nh")
                    if state:
                        yield object, own or table, device, state
                alias = reader.u64(alias)
        except OSError:
            continue

"""Traffic control (rows 12-14): cls_bpf on qdiscs, classes, chains and shared blocks, act_bpf anywhere; classic and extended.

A dump of filters is for one parent, so the parents are gathered first: qdiscs (RTM_GETQDISC), their classes (RTM_GETTCLASS), the two
hooks of clsact, and shared blocks. Actions are dumped for the whole namespace (RTM_GETACTION) and matched with the filters that use them.
No privilege is needed. Layout: include/uapi/linux/pkt_cls.h, rtnetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.network.sockets import LINKTYPES, interfaces
from bpflens.kernel.sys.netlink import ROUTE, Netlink, attribute, attribute_list, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("find",)

_GETQDISC, _GETTCLASS, _GETTFILTER, _GETACTION = 38, 42, 46, 50
_TCMSG = struct.Struct("<BxHiIII")
_KIND, _OPTIONS, _CHAIN, _INGRESS_BLOCK, _EGRESS_BLOCK = 1, 2, 11, 13, 14
_INGRESS, _CLSACT_INGRESS, _CLSACT_EGRESS = 0xFFFF0000, 0xFFFFFFF2, 0xFFFFFFF3
_BLOCK_IFINDEX = -1
_BPF_CLASSID, _BPF_OPS, _BPF_NAME, _BPF_FLAGS, _BPF_ID = 3, 5, 7, 8, 11
_ACT_BPF_PARMS, _ACT_BPF_OPS, _ACT_BPF_NAME, _ACT_BPF_ID = 2, 4, 6, 9
_ACTIONS_OF = {b"bpf": 1, b"u32": 7, b"flower": 3, b"matchall": 2, b"basic": 3, b"fw": 4, b"cgroup": 1, b"flow": 9, b"route": 6}
_VERDICTS = {0: "ok", 1: "reclassify", 2: "shot", 3: "pipe", 4: "stolen", 0xFFFFFFFF: "unspec"}


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Classifiers and actions of the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    with Netlink(ROUTE) as route:
        users: dict[int, list[str]] = {}
        found = list(_filters(route, namespace, users))
        found += _actions(route, namespace, users)
    return found


def _parents(route: Netlink, blocks: dict[int, list[tuple[int, str]]]) -> Iterator[tuple[int, int, str]]:
    """(ifindex, parent, word for it) of everything that may have filters; ifindex -1 for a shared block.

    `blocks` receives the hooks that share a block: block -> [(ifindex, "ingress" or "egress")].
    """
    classful: dict[int, None] = {}
    for _, body in route.dump(_GETQDISC, _TCMSG.pack(0, 0, 0, 0, 0, 0)):
        _, _, ifindex, handle, _, _ = _TCMSG.unpack_from(body)
        attrs = attributes(body, 20)
        kind = attrs.get(_KIND, b"").rstrip(b"\0")
        for number, hook in ((_INGRESS_BLOCK, "ingress"), (_EGRESS_BLOCK, "egress")):
            if number in attrs:
                blocks.setdefault(int.from_bytes(attrs[number][:4], "little"), []).append((ifindex, hook))
        if kind == b"clsact":
            yield ifindex, _CLSACT_INGRESS, "ingress"
            yield ifindex, _CLSACT_EGRESS, "egress"
        elif kind == b"ingress":
            yield ifindex, _INGRESS, "ingress"
        elif handle:
            yield ifindex, handle, f"{kind.decode(errors='replace')} {handle >> 16:x}:"
            classful[ifindex] = None
    for ifindex in classful:
        try:
            classes = route.dump(_GETTCLASS, _TCMSG.pack(0, 0, ifindex, 0, 0, 0))
        except OSError:
            continue
        for _, body in classes:
            handle = _TCMSG.unpack_from(body)[3]
            yield ifindex, handle, f"class {handle >> 16:x}:{handle & 0xFFFF:x}"
    for block in blocks:
        yield _BLOCK_IFINDEX, block, f"block {block}"


def _filters(route: Netlink, namespace: int | None, users: dict[int, list[str]]) -> Iterator[InventoryRow]:
    links: dict[int, tuple[str, int]] | None = None
    seen = set()
    blocks: dict[int, list[tuple[int, str]]] = {}
    for ifindex, parent, word in _parents(route, blocks):
        try:
            answers = route.dump(_GETTFILTER, _TCMSG.pack(0, 0, ifindex, 0, parent, 0))
        except OSError:
            continue  # the qdisc has no filters, or has gone
        for _, body in answers:
            if len(body) < 20:
                continue
            _, _, place_ifindex, handle, _, info = _TCMSG.unpack_from(body)
            if place_ifindex == _BLOCK_IFINDEX != ifindex:
                continue  # the filter of a shared block, which is listed there
            attrs = attributes(body, 20)
            kind = attrs.get(_KIND, b"").rstrip(b"\0")
            options = attributes(attrs.get(_OPTIONS, b""))
            chain = int.from_bytes(attrs.get(_CHAIN, b"")[:4], "little")
            key = (ifindex, parent, chain, info, handle, kind)
            if not handle or key in seen:
                continue  # the head of a chain or a priority, or a class that shares its qdisc's filters
            seen.add(key)
            if links is None:
                links = interfaces()
            device, hardware = links.get(ifindex, (f"ifindex {ifindex}", 0))
            object = f"block:{parent}" if ifindex == _BLOCK_IFINDEX else f"dev:{device}"
            place = f"{object} {word} chain {chain} prio {info >> 16} handle {handle:#x}"
            for index in _action_indexes(kind, options):
                users.setdefault(index, []).append(place)
            if kind != b"bpf":
                continue
            details: dict[str, Any] = {"parent": word, "chain": chain, "prio": info >> 16, "handle": handle}
            if ifindex == _BLOCK_IFINDEX:
                shared = [(links.get(index, (f"ifindex {index}", 0)), hook) for index, hook in blocks.get(parent, ())]
                details["devices"] = [name for (name, _), _ in shared]
                details["hooks"] = sorted({hook for _, hook in shared})
                hardware = shared[0][0][1] if shared else 0
            protocol = int.from_bytes((info & 0xFFFF).to_bytes(2, "little"), "big")
            if protocol not in (0, 3):
                details["protocol"] = f"{protocol:#06x}"
                given = {0x0800: "ip", 0x86DD: "ip6", 0x0806: "arp"}.get(protocol)
                if given:
                    details["given"] = (given,)
            if int.from_bytes(options.get(_BPF_FLAGS, b"")[:4], "little") & 1:
                details["direct_action"] = True
            if _BPF_CLASSID in options:
                classid = int.from_bytes(options[_BPF_CLASSID][:4], "little")
                details["classid"] = f"{classid >> 16:x}:{classid & 0xFFFF:x}"
            if _BPF_NAME in options:
                details["name"] = options[_BPF_NAME].rstrip(b"\0").decode(errors="replace")
            if LINKTYPES.get(hardware):
                details["linktype"] = LINKTYPES[hardware]
            hook = word if word in ("ingress", "egress") else "cls"
            yield _row(f"tc/{hook}", object, namespace, options, _BPF_ID, _BPF_OPS, details)


def _row(
    kind: str, object: str, namespace: int | None, options: dict[int, bytes], id: int, ops: int, details: dict[str, Any]
) -> InventoryRow:
    if id in options:
        details.pop("linktype", None)
        details.pop("given", None)
        return InventoryRow(kind, object, namespace, prog_id=int.from_bytes(options[id][:4], "little"), details=details)
    if ops in options:
        return InventoryRow(kind, object, namespace, classic=options[ops], details=details)
    return InventoryRow(kind, object, namespace, details={**details, "unknown": "the kernel gives neither code nor id"})


def _action_indexes(kind: bytes, options: dict[int, bytes]) -> Iterator[int]:
    """Indexes of the act_bpf actions of a filter of any kind."""
    for _, action in attribute_list(options.get(_ACTIONS_OF.get(kind, 0), b"")):
        attrs = attributes(action)
        if attrs.get(_KIND, b"").rstrip(b"\0") == b"bpf":
            parms = attributes(attrs.get(_OPTIONS, b"")).get(_ACT_BPF_PARMS, b"")
            if len(parms) >= 4:
                yield int.from_bytes(parms[:4], "little")


def _actions(route: Netlink, namespace: int | None, users: dict[int, list[str]]) -> Iterator[InventoryRow]:
    request = bytes(4) + attribute(1, attribute(1, attribute(1, b"bpf\0")))
    try:
        answers = route.dump(_GETACTION, request)
    except OSError:
        return  # no act_bpf in this kernel
    for _, body in answers:
        for type, table in attribute_list(body, 4):
            if type != 1:
                continue  # TCA_ROOT_COUNT and the like
            for _, action in attribute_list(table):
                attrs = attributes(action)
                if attrs.get(_KIND, b"").rstrip(b"\0") != b"bpf":
                    continue
                options = attributes(attrs.get(_OPTIONS, b""))
                index, _, verdict, _, binds = struct.unpack_from("<IIIii", options.get(_ACT_BPF_PARMS, b"").ljust(20, b"\0"))
                details: dict[str, Any] = {"index": index, "verdict": _VERDICTS.get(verdict, str(verdict)), "bound": binds}
                if _ACT_BPF_NAME in options:
                    details["name"] = options[_ACT_BPF_NAME].rstrip(b"\0").decode(errors="replace")
                if users.get(index):
                    details["used_by"] = users[index]
                yield _row("tc/action", f"action:bpf/{index}", namespace, options, _ACT_BPF_ID, _ACT_BPF_OPS, details)

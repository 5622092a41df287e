"""Filters and actions of traffic control in the namespace that the calling thread is in.

A dump of filters is for one parent, so the parents are gathered first: qdiscs (RTM_GETQDISC), their classes (RTM_GETTCLASS), the two
hooks of clsact, and shared blocks. Actions are dumped for the whole namespace (RTM_GETACTION). No privilege is needed.
Layout: include/uapi/linux/pkt_cls.h, rtnetlink.h, tc_act/tc_bpf.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpflens.kernel.sys.netlink import ROUTE, Netlink, attribute, attribute_list, attributes
from bpflens.lean import NamedTuple

__all__ = ("BLOCK", "Action", "Blocks", "Filter", "actions", "filters")

_GETQDISC, _GETTCLASS, _GETTFILTER, _GETACTION = 38, 42, 46, 50
_TCMSG = struct.Struct("<BxHiIII")
_KIND, _OPTIONS, _CHAIN, _INGRESS_BLOCK, _EGRESS_BLOCK = 1, 2, 11, 13, 14
_INGRESS, _CLSACT_INGRESS, _CLSACT_EGRESS = 0xFFFF0000, 0xFFFFFFF2, 0xFFFFFFF3
BLOCK = -1
"""The ifindex of a filter of a shared block; its parent is the block."""
_BPF_CLASSID, _BPF_OPS, _BPF_NAME, _BPF_FLAGS, _BPF_ID = 3, 5, 7, 8, 11
_ACT_BPF_PARMS, _ACT_BPF_OPS, _ACT_BPF_NAME, _ACT_BPF_ID = 2, 4, 6, 9
_ACTIONS_OF = {b"bpf": 1, b"u32": 7, b"flower": 3, b"matchall": 2, b"basic": 3, b"fw": 4, b"cgroup": 1, b"flow": 9, b"route": 6}
_DIRECT_ACTION = 1  # TCA_BPF_FLAG_ACT_DIRECT

Blocks = dict[int, list[tuple[int, str]]]
"""Shared block -> the hooks that share it: (ifindex, "ingress" or "egress")."""


class Filter(NamedTuple):
    """A filter of any `kind`; `word` names its parent. `actions`: indexes of the act_bpf actions that it uses.

    Of kind "bpf" (cls_bpf): `prog_id`, or classic `code`, None where the kernel gives none; `name`, `classid`, `direct_action`.
    """

    kind: str
    ifindex: int
    parent: int
    word: str
    chain: int
    priority: int
    protocol: int
    handle: int
    actions: tuple[int, ...]
    prog_id: int | None
    code: bytes | None
    name: str | None
    classid: int | None
    direct_action: bool


class Action(NamedTuple):
    """An act_bpf action: what it says where the program does not (`verdict`), and how many filters use it (`bound`)."""

    number: int
    verdict: int
    bound: int
    prog_id: int | None
    code: bytes | None
    name: str | None


def filters() -> tuple[list[Filter], Blocks]:
    """All filters, each once, and the shared blocks."""
    blocks: Blocks = {}
    with Netlink(ROUTE) as route:
        return list(_filters(route, blocks)), blocks


def actions() -> list[Action]:
    """All act_bpf actions; none where the kernel has no act_bpf."""
    try:
        with Netlink(ROUTE) as route:
            answers = route.dump(_GETACTION, bytes(4) + attribute(1, attribute(1, attribute(1, b"bpf\0"))))
    except OSError:
        return []
    found = []
    for _, body in answers:
        for type, table in attribute_list(body, 4):
            if type != 1:
                continue  # TCA_ROOT_COUNT and the like
            for _, action in attribute_list(table):
                attrs = attributes(action)
                if attrs.get(_KIND, b"").rstrip(b"\0") != b"bpf":
                    continue
                options = attributes(attrs.get(_OPTIONS, b""))
                index, _, verdict, _, bound = struct.unpack_from("<IIIii", options.get(_ACT_BPF_PARMS, b"").ljust(20, b"\0"))
                found.append(Action(index, verdict, bound, *_program(options, _ACT_BPF_ID, _ACT_BPF_OPS, _ACT_BPF_NAME)))
    return found


def _program(options: dict[int, bytes], id: int, ops: int, name: int) -> tuple[int | None, bytes | None, str | None]:
    """(program id, classic code, name) as far as given; the attribute numbers differ between filters and actions."""
    return (
        int.from_bytes(options[id][:4], "little") if id in options else None,
        options.get(ops),
        options[name].rstrip(b"\0").decode(errors="replace") if name in options else None,
    )


def _parents(route: Netlink, blocks: Blocks) -> Iterator[tuple[int, int, str]]:
    """(ifindex, parent, word for it) of everything that may have filters; ifindex -1 for a shared block. `blocks` receives these."""
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
        yield BLOCK, block, f"block {block}"


def _filters(route: Netlink, blocks: Blocks) -> Iterator[Filter]:
    seen = set()
    for ifindex, parent, word in _parents(route, blocks):
        try:
            answers = route.dump(_GETTFILTER, _TCMSG.pack(0, 0, ifindex, 0, parent, 0))
        except OSError:
            continue  # the qdisc has no filters, or has gone
        for _, body in answers:
            if len(body) < 20:
                continue
            _, _, place_ifindex, handle, _, info = _TCMSG.unpack_from(body)
            if place_ifindex == BLOCK != ifindex:
                continue  # the filter of a shared block, which is listed there
            attrs = attributes(body, 20)
            kind = attrs.get(_KIND, b"").rstrip(b"\0")
            chain = int.from_bytes(attrs.get(_CHAIN, b"")[:4], "little")
            key = (ifindex, parent, chain, info, handle, kind)
            if not handle or key in seen:
                continue  # the head of a chain or a priority, or a class that shares its qdisc's filters
            seen.add(key)
            options = attributes(attrs.get(_OPTIONS, b""))
            used = tuple(_action_indexes(kind, options))
            if kind != b"bpf":
                options = {}
            classid = int.from_bytes(options[_BPF_CLASSID][:4], "little") if _BPF_CLASSID in options else None
            yield Filter(
                kind.decode(errors="replace"), ifindex, parent, word, chain, info >> 16,
                int.from_bytes((info & 0xFFFF).to_bytes(2, "little"), "big"), handle, used,
                *_program(options, _BPF_ID, _BPF_OPS, _BPF_NAME), classid,
                bool(int.from_bytes(options.get(_BPF_FLAGS, b"")[:4], "little") & _DIRECT_ACTION),
            )  # fmt: skip


def _action_indexes(kind: bytes, options: dict[int, bytes]) -> Iterator[int]:
    """Indexes of the act_bpf actions of a filter of any kind."""
    for _, action in attribute_list(options.get(_ACTIONS_OF.get(kind, 0), b"")):
        attrs = attributes(action)
        if attrs.get(_KIND, b"").rstrip(b"\0") == b"bpf":
            parms = attributes(attrs.get(_OPTIONS, b"")).get(_ACT_BPF_PARMS, b"")
            if len(parms) >= 4:
                yield int.from_bytes(parms[:4], "little")

"""Traffic control (rows 12-14): cls_bpf on qdiscs, classes, chains and shared blocks, act_bpf anywhere; classic and extended.

Actions are matched with the filters that use them, of whatever kind these are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.network.sockets import LINKTYPES, interfaces
from bpflens.kernel.network.traffic_control import BLOCK, Action, Blocks, Filter, actions, filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("find",)

_VERDICTS = {0: "ok", 1: "reclassify", 2: "shot", 3: "pipe", 4: "stolen", 0xFFFFFFFF: "unspec"}
_GIVEN = {0x0800: "ip", 0x86DD: "ip6", 0x0806: "arp"}
_ANY = (0, 3)  # no protocol, ETH_P_ALL


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Classifiers and actions of the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    users: dict[int, list[str]] = {}
    return [*_filters(ctx, namespace, users), *_actions(namespace, users)]


def _filters(ctx: Context, namespace: int | None, users: dict[int, list[str]]) -> Iterator[InventoryRow]:
    """Rows of cls_bpf; `users` receives where each action is used."""
    found, blocks = filters()
    links = interfaces(ctx) if found else {}
    for filter in found:
        device, hardware = links.get(filter.ifindex, (f"ifindex {filter.ifindex}", 0))
        object = f"block:{filter.parent}" if filter.ifindex == BLOCK else f"dev:{device}"
        for index in filter.actions:
            place = f"{object} {filter.word} chain {filter.chain} prio {filter.priority} handle {filter.handle:#x}"
            users.setdefault(index, []).append(place)
        if filter.kind != "bpf":
            continue
        details: dict[str, Any] = {"parent": filter.word, "chain": filter.chain, "prio": filter.priority, "handle": filter.handle}
        if filter.ifindex == BLOCK:
            hardware = _add_sharers(details, filter, blocks, links)
        if filter.protocol not in _ANY:
            details["protocol"] = f"{filter.protocol:#06x}"
            if filter.protocol in _GIVEN:
                details["given"] = (_GIVEN[filter.protocol],)
        if filter.direct_action:
            details["direct_action"] = True
        if filter.classid is not None:
            details["classid"] = f"{filter.classid >> 16:x}:{filter.classid & 0xFFFF:x}"
        if filter.name is not None:
            details["name"] = filter.name
        if LINKTYPES.get(hardware):
            details["linktype"] = LINKTYPES[hardware]
        hook = filter.word if filter.word in ("ingress", "egress") else "cls"
        yield _row(f"tc/{hook}", object, namespace, filter, details)


def _add_sharers(details: dict[str, Any], filter: Filter, blocks: Blocks, links: dict[int, tuple[str, int]]) -> int:
    """Note the devices that share a block; returns the kind of hardware of the first."""
    shared = [(links.get(index, (f"ifindex {index}", 0)), hook) for index, hook in blocks.get(filter.parent, ())]
    details["devices"] = [name for (name, _), _ in shared]
    details["hooks"] = sorted({hook for _, hook in shared})
    return shared[0][0][1] if shared else 0


def _row(kind: str, object: str, namespace: int | None, found: Filter | Action, details: dict[str, Any]) -> InventoryRow:
    if found.prog_id is not None:
        details.pop("linktype", None)
        details.pop("given", None)
        return InventoryRow(kind, object, namespace, prog_id=found.prog_id, details=details)
    if found.code is not None:
        return InventoryRow(kind, object, namespace, classic=found.code, details=details)
    return InventoryRow(kind, object, namespace, details={**details, "unknown": "the kernel gives neither code nor id"})


def _actions(namespace: int | None, users: dict[int, list[str]]) -> Iterator[InventoryRow]:
    for action in actions():
        verdict = _VERDICTS.get(action.verdict, str(action.verdict))
        details: dict[str, Any] = {"index": action.number, "verdict": verdict, "bound": action.bound}
        if action.name is not None:
            details["name"] = action.name
        if users.get(action.number):
            details["used_by"] = users[action.number]
        yield _row("tc/action", f"action:bpf/{action.number}", namespace, action, details)

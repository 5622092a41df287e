"""Rows in the order in which the programs of one hook run, and rows that can only be one program.

    tcx/ingress dev:eth0  12 a     order (1, 2)
    tcx/ingress dev:eth0  13 b     order (2, 2)         b sees only what a lets on

Every family yields the rows of a hook in the order of the kernel; here that is made sure of, and said in `details["order"]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bpflens.attachment import ProgInfo
from bpflens.inventory.facts.records import InventoryRow

__all__ = ("by_elimination", "in_order")

_ORDERED = ("tcx/", "netkit/", "tc/ingress", "tc/egress", "cgroup/", "netfilter", "sk_lookup", "lirc_mode2", "seccomp")
_PRIORITIES = {"tc/": ("chain", "prio", "handle"), "netfilter": ("priority",), "seccomp": ("filter",)}
# Kinds of rows that may lack the program -> the program types that fit there.
_TYPES = {"lwt/in": 10, "lwt/out": 11, "lwt/xmit": 12, "socket/": 1, "fanout": 1}


def in_order(rows: Iterable[InventoryRow]) -> list[InventoryRow]:
    """The rows, those of one hook in their order of execution with (place, number of them) in `details["order"]`.

    seccomp runs the newest filter of a task first (kernel/seccomp.c, seccomp_run_filters()); the strictest answer counts.
    """
    hooks: dict[tuple[str, str, int | None], list[InventoryRow]] = {}
    for row in rows:
        hooks.setdefault((row.kind, row.object, row.netns), []).append(row)
    result: list[InventoryRow] = []
    for (kind, object, _), on_hook in hooks.items():
        if len(on_hook) < 2 or not kind.startswith(_ORDERED) or object.startswith("("):  # "(its device has gone)" is no hook
            result += on_hook
            continue
        keys = next((keys for prefix, keys in _PRIORITIES.items() if kind.startswith(prefix)), ("position",))
        on_hook.sort(key=lambda row: [row.details.get(key) or 0 for key in keys], reverse=kind == "seccomp")
        for place, row in enumerate(on_hook, 1):
            result.append(row._replace(details={**row.details, "order": (place, len(on_hook))}))
    return result


def by_elimination(rows: list[InventoryRow], programs: Mapping[int, ProgInfo] | None) -> list[InventoryRow]:
    """Rows whose program no interface tells, with the only loaded program that can be it; `details["by_elimination"]` says so."""
    result = []
    for row in rows:
        type = next((type for prefix, type in _TYPES.items() if row.kind.startswith(prefix)), None)
        if programs is not None and type is not None and _lacks_program(row):
            fitting = [info.id for info in programs.values() if info.type == type]
            if len(fitting) == 1:
                details = {key: value for key, value in row.details.items() if key not in ("unknown", "linktype", "given")}
                row = row._replace(prog_id=fitting[0], details={**details, "by_elimination": True})
        result.append(row)
    return result


def _lacks_program(row: InventoryRow) -> bool:
    return row.prog_id is None and row.classic is None and row.image is None and "unknown" in row.details and not row.details.get("classic")

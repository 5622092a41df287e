"""What the kernel-side reader found completes the official rows: same kind, object and namespace is the same attachment.

    official: socket/udp sock:71 "an extended program"       official: socket/packet sock:72 classic 0xabc
    deep:     socket/udp sock:71 id 12                        deep:     the same
    ->        socket/udp sock:71 id 12                        ->        the official row, with the program's address
"""

from __future__ import annotations

from bpflens.inventory.facts.records import InventoryRow

__all__ = ("merge", "placed")


def merge(rows: list[InventoryRow], deep: list[InventoryRow]) -> list[InventoryRow]:
    """Official rows completed, then what only the reader saw."""
    waiting: dict[tuple[str, str, int | None], list[InventoryRow]] = {}
    seen: set[tuple[str, str, int | None, object]] = set()
    for row in deep:
        key = (row.kind, row.object, row.netns, row.details.get("address"))
        if row.details.get("address") is None or key not in seen:  # a socket in flight may be in the kernel's lists too
            seen.add(key)
            waiting.setdefault((row.kind, row.object, row.netns), []).append(row)
    merged = []
    for row in rows:
        partners = waiting.get((row.kind, row.object, row.netns), [])
        partner = next((other for other in partners if _same(row, other)), None)
        if partner is None:
            merged.append(row)
            continue
        partners.remove(partner)
        details = {**partner.details, **{key: value for key, value in row.details.items() if key not in ("unknown", "classic")}}
        holders = tuple(dict.fromkeys((*row.holders, *partner.holders)))
        merged.append(partner._replace(details=details, holders=holders))
    merged += [row for left in waiting.values() for row in left]
    return merged


def _same(row: InventoryRow, other: InventoryRow) -> bool:
    if row.details.get("unknown"):
        return row.details.get("table") == other.details.get("table")  # routes: the one other thing that tells two apart
    return row.prog_id == other.prog_id and row.classic == other.classic


def placed(rows: list[InventoryRow], places: dict[int, tuple[int, str | None]]) -> list[InventoryRow]:
    """Rows of links with their namespace and device."""
    result = []
    for row in rows:
        link = row.details.get("link")
        if row.netns is None and link in places:
            netns, device = places[link]
            details = {key: value for key, value in row.details.items() if key != "why"}
            object = f"dev:{device}" if device and row.object.startswith("ifindex:") else row.object
            if row.kind == "netfilter" and device:
                object = f"(detached from {row.object})"
            row = row._replace(netns=netns, object=object, details=details)
        result.append(row)
    return result

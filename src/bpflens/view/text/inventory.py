"""The inventory as a table and as JSON Lines (schema "ls/1", see docs/inventory.md).

    KIND            OBJECT     NETNS  PROGRAM                                     HOLDERS
    xdp/native      dev:eth0   own    12 xdp_main  xdp  2 h                        lb[812] fd 7
    socket/packet   sock:8812  own    classic 6 insns: ip and udp dst port 68      dhclient[402] fd 6
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bpflens.attachment import Holder, ProgInfo
from bpflens.inventory.facts.records import Inventory, InventoryRow, NetNamespace
from bpflens.isa.extended.names import PROG_TYPES, type_name

__all__ = ("age", "holder_text", "json_rows", "netns_name", "program_text", "record", "table")

_HEAD = ("KIND", "OBJECT", "NETNS", "PROGRAM", "HOLDERS")
_HOLDERS_SHOWN, _WIDEST, _MOST_WORDS = 3, 64, 120
Summary = Callable[[InventoryRow], "str | None"]


def table(inventory: Inventory, rows: Iterable[InventoryRow], summary: Summary, now_ns: int, color: bool = False) -> Iterator[str]:
    """Lines of text. `summary` gives a classic program's expression or words; `now_ns` is CLOCK_BOOTTIME, for ages."""
    cells = [_HEAD]
    for row in rows:
        object = row.object + (f" {row.details['parent']}" if row.kind == "tc/cls" and row.object.startswith("dev:") else "")
        place = "?" if row.netns is None and "why" in row.details else netns_name(inventory.namespaces, row.netns)
        cells.append((row.kind, object, place, program_text(inventory, row, summary, now_ns), _held_by(row)))
    if len(cells) == 1:
        return
    widths = [min(max(len(line[column]) for line in cells), _WIDEST) for column in range(4)]
    for number, line in enumerate(cells):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        text = f"{text}  {line[4]}".rstrip()
        yield f"\033[1m{text}\033[0m" if color and number == 0 else text


def netns_name(namespaces: dict[int, NetNamespace], inode: int | None) -> str:
    """What to call a namespace: "own", its name, or its inode; "-" where an object has none."""
    if inode is None:
        return "-"
    namespace = namespaces.get(inode)
    if namespace is None:
        return str(inode)
    return "own" if namespace.own else namespace.name or str(inode)


def program_text(inventory: Inventory, row: InventoryRow, summary: Summary, now_ns: int) -> str:
    """One line of what the program is."""
    if row.classic is not None:
        words = shortened(summary(row) or "")
        count = len(row.classic) // 8
        return f"classic {count} insn{'s' * (count != 1)}" + (f": {words}" if words else "")
    if row.image is not None:
        return f"classic, kept as {len(row.image) // 8} extended insns only"
    if row.prog_id is None:
        name = row.details.get("name") or row.details.get("path") or ""
        guess = f"probably {row.details['probably']}: " if "probably" in row.details else ""
        return f"? {name} ({guess}{row.details.get('unknown', 'unknown')})".replace("?  ", "? ")
    head = (inventory.programs or {}).get(row.prog_id)
    if head is None:
        return f"id {row.prog_id}"
    parts = [f"{head.id} {head.name}".rstrip(), type_name(PROG_TYPES, head.type), head.tag, age(now_ns - head.load_time)]
    if head.run_cnt:
        parts.append(f"{head.run_cnt} runs, {head.run_time_ns / head.run_cnt:.0f} ns each")
    return "  ".join(parts)


def shortened(words: str) -> str:
    """Words for a line of a table, cut off where they are too many."""
    return words if len(words) <= _MOST_WORDS else words[: _MOST_WORDS - 3].rstrip() + "..."


def age(nanoseconds: int) -> str:
    """A duration in its largest whole unit: "12 s", "3 min", "5 h", "40 d"."""
    seconds = max(nanoseconds // 1_000_000_000, 0)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _held_by(row: InventoryRow) -> str:
    """Processes; where there is none, a pin."""
    pins = row.details.get("pins", ())
    if row.holders or not pins or row.object == f"pin:{pins[0]}":
        return holder_text(row.holders)
    return f"pin {pins[0]}" + (f" and {len(pins) - 1} more" if len(pins) > 1 else "")


def holder_text(holders: Iterable[Holder]) -> str:
    """ "comm[pid] fd 3,4": processes with their descriptors or threads, at most three of them."""
    processes: dict[tuple[int, str], list[Holder]] = {}
    for holder in holders:
        processes.setdefault((holder.pid, holder.comm), []).append(holder)
    words = []
    for (pid, comm), held in list(processes.items())[:_HOLDERS_SHOWN]:
        fds = [str(holder.fd) for holder in held if holder.fd is not None]
        tids = [str(holder.tid) for holder in held if holder.tid not in (None, pid)]
        place = (f" fd {','.join(fds)}" if fds else "") + (f" tid {','.join(tids)}" if tids else "")
        words.append(f"{comm}[{pid}]{place}")
    if len(processes) > _HOLDERS_SHOWN:
        words.append(f"and {len(processes) - _HOLDERS_SHOWN} more")
    return ", ".join(words)


def record(inventory: Inventory, row: InventoryRow, expression: str | None) -> dict[str, Any]:
    """One object of schema ls/1."""
    namespace = inventory.namespaces.get(row.netns or 0)
    return {
        "schema": "ls/1",
        "kind": row.kind,
        "object": row.object,
        "netns": row.netns,
        "netns_name": namespace.name if namespace else None,
        "classic": row.classic is not None or row.image is not None or bool(row.details.get("classic")),
        "program": _program(inventory.programs, row.prog_id),
        "insns": row.classic.hex() if row.classic is not None else None,
        "image": row.image.hex() if row.image is not None else None,
        "expression": expression,
        "holders": [{"pid": h.pid, "comm": h.comm, "fd": h.fd, "tid": h.tid} for h in row.holders],
        "details": dict(row.details),
    }


def _program(programs: dict[int, ProgInfo] | None, id: int | None) -> dict[str, Any] | None:
    if id is None:
        return None
    head = (programs or {}).get(id)
    if head is None:
        return {"id": id, "type": None, "name": None, "tag": None}
    return {
        "id": id, "type": type_name(PROG_TYPES, head.type), "name": head.name, "tag": head.tag, "load_time": head.load_time,
        "uid": head.uid, "run_cnt": head.run_cnt, "run_time_ns": head.run_time_ns, "xlated_len": head.xlated_len,
    }  # fmt: skip


def json_rows(inventory: Inventory, rows: Iterable[InventoryRow], expression: Summary) -> Iterator[str]:
    """Lines of JSON."""
    import json

    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
    for row in rows:
        yield encode(record(inventory, row, expression(row)))

"""`ls --watch`: programs as they come and go.

Polls the list of program ids, which costs a few microseconds for each; only what is new is looked at further. A program that comes and goes
between two polls leaves a gap in the ids, which are given out in order: then the line says how many were missed.
"""

from __future__ import annotations

import time
from typing import Any

from bpflens.cli.settings import Settings
from bpflens.errors import UsageError
from bpflens.kernel.inventory.select import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.inventory.found import Inventory

__all__ = ("watch",)

_SHORTEST_SECONDS = 0.05


def watch(selection: Selection, seconds: float, count: int | None, settings: Settings) -> int:
    """Poll every `seconds`, `count` times or until interrupted. Exit code 0; KernelError where programs may not be listed."""
    from bpflens.kernel.inventory.collect import collect
    from bpflens.kernel.prog_info import prog_ids

    if not seconds >= _SHORTEST_SECONDS:
        raise UsageError("--watch", f"polls at most every {_SHORTEST_SECONDS} seconds")
    emit = _json if settings.json else _text
    known: dict[int, dict[str, Any]] = {}
    inventory = collect()
    for id in prog_ids():
        known[id] = _describe(id, inventory, selection)
    highest = max(known, default=0)
    polls = 0
    while count is None or polls < count:
        polls += 1
        time.sleep(seconds)
        now = prog_ids()
        new = [id for id in now if id not in known]
        present = set(now)
        for id in [id for id in known if id not in present]:
            gone = known.pop(id)
            if gone["wanted"]:
                emit("-", gone, None)
        if new:
            inventory = collect()
        for id in new:
            known[id] = _describe(id, inventory, selection)
            missed = max(id - highest - 1 - sum(1 for other in new if highest < other < id), 0)
            if known[id]["wanted"]:
                emit("+", known[id], missed)
        highest = max(highest, max(now, default=0))
    return 0


def _describe(id: int, inventory: Inventory, selection: Selection) -> dict[str, Any]:
    from bpflens.view.inventory import record

    rows = [row for row in inventory.rows if row.prog_id == id]
    wanted = any(selection.matches(row, inventory) for row in rows)
    if not rows:  # gone before it could be looked at
        return {"id": id, "wanted": True, "attachments": []}
    return {"id": id, "wanted": wanted, "attachments": [record(inventory, row, None) for row in rows]}


def _words(program: dict[str, Any]) -> str:
    if not program["attachments"]:
        return f"{program['id']}  (gone before it could be looked at)"
    facts = program["attachments"][0]["program"]
    places = ", ".join(f"{one['kind']} {one['object']}" for one in program["attachments"])
    holders = ", ".join(f"{one['comm']}[{one['pid']}]" for one in program["attachments"][0]["holders"][:3])
    return f"{facts['id']} {facts['name'] or ''}  {facts['type'] or ''}  {places}" + (f"  held by {holders}" if holders else "")


def _text(sign: str, program: dict[str, Any], missed: int | None) -> None:
    missing = f"  ({missed} came and went unseen)" if missed else ""
    print(f"{time.strftime('%H:%M:%S')} {sign} {_words(program)}{missing}", flush=True)


def _json(sign: str, program: dict[str, Any], missed: int | None) -> None:
    import json

    event = "loaded" if sign == "+" else "unloaded"
    attachments = program["attachments"]
    record = {"schema": "watch/1", "time": time.time(), "event": event, "id": program["id"], "missed": missed, "attachments": attachments}
    print(json.dumps(record, ensure_ascii=False), flush=True)



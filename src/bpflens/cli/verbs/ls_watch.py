"""`ls --watch`: programs as they come and go, are attached and detached.

Polls the lists of program and link ids, which costs a few microseconds for each; the machine is walked when one of them has changed, and
every ten seconds. A program is mostly attached a moment after it was loaded, so what is new is looked at once more at the next poll, and
reported again where it then hangs on something else. A program that comes and goes between two polls leaves a gap in the ids, which are
given out in order: then the line says how many were missed. Classic programs have no ids: they are not seen. Kernel memory is not read,
which would take programs with ids of our own. Interrupting it (Ctrl-C) is its normal end.
"""

from __future__ import annotations

import time
from typing import Any

from bpflens.cli.settings import Settings
from bpflens.errors import KernelError, UsageError
from bpflens.inventory.select import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.inventory.facts.records import Inventory

__all__ = ("watch",)

_SHORTEST_SECONDS, _WALK_SECONDS = 0.05, 10.0
_EVENTS = {"+": "loaded", "-": "unloaded", "~": "changed"}
_Program = dict[str, Any]


def watch(selection: Selection, seconds: float, count: int | None, settings: Settings) -> int:
    """Poll every `seconds`, `count` times or until interrupted. Exit code 0; KernelError where programs may not be listed."""
    try:
        return _watch(selection, seconds, count, settings)
    except KeyboardInterrupt:
        return 0


def _watch(selection: Selection, seconds: float, count: int | None, settings: Settings) -> int:
    from bpflens.inventory.walk import collect
    from bpflens.kernel.programs.prog_info import prog_ids

    if not seconds >= _SHORTEST_SECONDS:
        raise UsageError("--watch", f"polls at most every {_SHORTEST_SECONDS} seconds")
    emit = _json if settings.json else _text
    inventory, walked = collect(deep=False), time.monotonic()
    links = _link_ids()
    known = {id: _describe(id, inventory, selection) for id in prog_ids()}
    highest = max(known, default=0)
    fresh = polls = 0
    while count is None or polls < count:
        polls += 1
        time.sleep(seconds)
        now, links_now = prog_ids(), _link_ids()
        new = [id for id in now if id not in known]
        present = set(now)
        for id in [id for id in known if id not in present]:
            gone = known.pop(id)
            if gone["wanted"]:
                emit("-", gone, None)
        look_again = bool(fresh) or links_now != links or time.monotonic() - walked > _WALK_SECONDS
        if new or look_again:
            inventory, walked = collect(deep=False), time.monotonic()
        if look_again:
            for id, before in known.items():
                after = _describe(id, inventory, selection)
                if not after["attachments"] or _on_its_way_out(after):
                    continue
                known[id] = after
                if _places(after) != _places(before) and (after["wanted"] or before["wanted"]):
                    emit("~", after, None)
        for id in new:
            known[id] = _describe(id, inventory, selection)
            missed = max(id - highest - 1 - sum(1 for other in new if highest < other < id), 0)
            highest = max(highest, id)
            if known[id]["wanted"]:
                emit("+", known[id], missed)
        links, fresh = links_now, len(new)
    return 0


def _link_ids() -> list[int]:
    from bpflens.kernel.attachments.links import link_ids

    try:
        return link_ids()
    except KernelError:
        return []  # before Linux 5.8


def _describe(id: int, inventory: Inventory, selection: Selection) -> _Program:
    from bpflens.records.ls import record

    rows = [row for row in inventory.rows if row.prog_id == id]
    wanted = any(selection.matches(row, inventory) for row in rows)
    if not rows:  # gone before it could be looked at
        return {"id": id, "wanted": not selection.words, "attachments": []}
    return {"id": id, "wanted": wanted, "attachments": [record(inventory, row, None) for row in rows]}


def _on_its_way_out(program: _Program) -> bool:
    """Nothing holds it any more: it is gone after an RCU grace period."""
    return all(one["kind"] == "held" for one in program["attachments"])


def _places(program: _Program) -> set[tuple[str, str, int | None]]:
    """What it hangs on: not who holds it, which changes all the time."""
    return {(one["kind"], "" if one["kind"] == "fd" else one["object"], one["netns"]) for one in program["attachments"]}


def _words(program: _Program) -> str:
    if not program["attachments"]:
        return f"{program['id']}  (gone before it could be looked at)"
    facts = program["attachments"][0]["program"]
    places = ", ".join(f"{one['kind']} {one['object']}{_namespace(one)}" for one in program["attachments"])
    holders = ", ".join(dict.fromkeys(f"{one['comm']}[{one['pid']}]" for one in program["attachments"][0]["holders"][:3]))
    return f"{facts['id']} {facts['name'] or ''}  {facts['type'] or ''}  {places}" + (f"  held by {holders}" if holders else "")


def _namespace(attachment: dict[str, Any]) -> str:
    return f" in netns {attachment['netns_name'] or attachment['netns']}" if attachment["netns_name"] else ""


def _text(sign: str, program: _Program, missed: int | None) -> None:
    missing = f"  ({missed} came and went unseen)" if missed else ""
    print(f"{time.strftime('%H:%M:%S')} {sign} {_words(program)}{missing}", flush=True)


def _json(sign: str, program: _Program, missed: int | None) -> None:
    import json

    from bpflens.records.watch import record

    line = record(time.time(), _EVENTS[sign], program["id"], program["attachments"], missed)
    print(json.dumps(line, ensure_ascii=False), flush=True)

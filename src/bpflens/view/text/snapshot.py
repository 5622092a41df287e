"""Snapshots as text: what was saved, the plan of a restore and its proofs, what differs; and the counts as OpenMetrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from bpflens.snapshot.compare import Change
from bpflens.snapshot.restore import Restored
from bpflens.snapshot.restoring.proof import Check
from bpflens.snapshot.restoring.steps import Plan
from bpflens.snapshot.save import Saved
from bpflens.view.style.printable import printable

__all__ = ("changes_lines", "open_metrics", "plan_end", "plan_lines", "restored_lines", "saved_lines")

_GREEN, _RED, _YELLOW, _OFF = "\033[32m", "\033[31m", "\033[33m", "\033[0m"
_HELPS = {
    "--reuse-maps": "--reuse-maps uses it with its data", "--replace": "--replace puts the restored object in its place",
    "--pin-prefix": "--pin-prefix DIR pins elsewhere", "--no-attach": "--no-attach leaves the attachment out",
}  # fmt: skip
_STATUS_COLORS = {"same": _GREEN, "changed": _YELLOW, "missing": _RED, "new": _YELLOW}


def saved_lines(saved: Saved) -> Iterator[str]:
    """A line for each object, then the file and its digest."""
    manifest = saved.manifest
    for program in manifest.programs:
        yield f"program {program.id} {printable(program.name)} ({program.type_name}, {program.insns} insns): {program.grade}"
    for map in manifest.maps:
        if map.data is None:
            what = f"no contents: {map.why_no_data}" if map.why_no_data else "no contents"
        else:
            parts = f", {map.data.cpus} CPUs" if map.data.cpus else ""
            what = f"{map.data.entries} {_words(map.data.layout, map.data.entries)}{parts}, {map.data.consistency}"
        frozen = ", frozen" if map.frozen else ""
        yield f"map {map.id} {printable(map.name)} ({map.type_name}{frozen}): {what}"
    for attachment in manifest.attachments:
        user = f"program {attachment.program}" if attachment.program is not None else "its program"
        link = f", link {attachment.link}" if attachment.link is not None else ""
        yield f"{attachment.kind} {printable(attachment.object)}: {user}{link}"
    if manifest.audit:
        yield manifest.audit
    yield f"{printable(saved.path)}: {_count(manifest.programs, 'program')}, {_count(manifest.maps, 'map')}, " + (
        f"{_count(manifest.attachments, 'attachment')}, {_size(saved.size)}, SHA-256 of the manifest {saved.digest}"
    )


def _words(layout: str, count: int) -> str:
    word = {"records": "entries", "values": "values", "pages": "pages", "value": "value"}[layout]
    if count != 1:
        return word
    return {"entries": "entry", "values": "value", "pages": "page"}.get(word, word)


def _count(items: Sequence[object], word: str) -> str:
    return f"{len(items)} {word}{'s' * (len(items) != 1)}"


def _size(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 10_000:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"


def plan_lines(plan: Plan, color: bool = False) -> Iterator[str]:
    """The steps in order, what is left out, what is in the way or gives way, what cannot be made, what is not known."""
    width = len(str(len(plan.steps)))
    for number, step in enumerate(plan.steps, 1):
        yield f"{number:{width}}  {printable(step.text)}"
    if plan.left_out:
        yield "not restored:"
        for item in plan.left_out:
            yield f"  {printable(item.object)}: {printable(item.why)}"
    if plan.conflicts:
        yield _paint("in the way:", _RED, color)
        for conflict in plan.conflicts:
            there = f" ({conflict.there})" if conflict.there else ""
            yield f"  {printable(conflict.path)} exists{there}: {_or([_HELPS[option] for option in conflict.helps])}"
    if plan.replaced:
        yield _paint("will be replaced:", _YELLOW, color)
        for conflict in plan.replaced:
            yield f"  {conflict.there or 'something'}{', pinned at' if conflict.path.startswith('/') else ','} {printable(conflict.path)}"
    for item in plan.impossible:
        yield f"{_paint('cannot be made', _RED, color)}: {printable(item.object)}: {printable(item.why)}"
    for text in plan.unseen:
        yield f"{_paint('not looked at', _YELLOW, color)}: {printable(text)}"
    for name, why in plan.needs:
        yield f"{_paint('missing', _YELLOW, color)}: {name}: {printable(why)}"


def plan_end(plan: Plan) -> str:
    """What --apply would do with the plan."""
    refused = []
    if plan.conflicts:
        for_all = [option for option in _HELPS if all(option in conflict.helps for conflict in plan.conflicts)]
        for_some = any("--reuse-maps" in conflict.helps for conflict in plan.conflicts) and "--reuse-maps" not in for_all
        verb = "is" if len(plan.conflicts) == 1 else "are"
        more = "; --reuse-maps for the maps alone" if for_some else ""
        refused.append(f"{_count(plan.conflicts, 'thing')} {verb} in the way ({_or(for_all)} helps{more})")
    if plan.impossible:
        refused.append(f"{_count(plan.impossible, 'thing')} cannot be made")
    if refused:
        return f"nothing was changed; --apply will refuse: {' and '.join(refused)}"
    if plan.needs:
        return f"nothing was changed; --apply needs {', '.join(dict.fromkeys(name for name, _ in plan.needs))}"
    if plan.unseen:
        return "nothing was changed; --apply may be refused: not everything could be looked at"
    return f"nothing was changed; --apply does it ({_count(plan.steps, 'step')})"


def _or(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " or " * (len(words) > 1) + words[-1]


def restored_lines(restored: Restored, color: bool = False) -> Iterator[str]:
    """What was proved, then new ids and notes."""
    for check in restored.checks:
        yield _check(check, color)
    for kind, table in (("program", restored.programs), ("map", restored.maps), ("link", restored.links)):
        if table:
            yield f"{kind}s: " + ", ".join(f"{old} is now {new}" for old, new in table.items())
    for note in restored.notes:
        yield f"note: {printable(note)}"


def _check(check: Check, color: bool) -> str:
    text, paint = {True: ("same", _GREEN), False: ("DIFFERENT", _RED), None: ("not known", _YELLOW)}[check.same]
    mark = _paint(text, paint, color)
    detail = f" ({printable(check.detail)})" if check.detail else ""
    return f"{mark}: {printable(check.object)}: {check.what}{detail}"


def changes_lines(changes: Iterable[Change], everything: bool, color: bool = False) -> Iterator[str]:
    """Differences first; what is the same only where `everything` is wanted; the counts in the end."""
    changes = list(changes)
    for change in changes:
        if change.status == "same" and not everything and not change.unknown:
            continue
        mark = _paint(change.status, _STATUS_COLORS[change.status], color)
        yield f"{mark}: {change.kind} {printable(change.object)}"
        for difference in change.differences:
            yield f"  {printable(difference)}"
        for text in change.unknown:
            yield f"  not compared: {printable(text)}"
    counts = Counter(change.status for change in changes)
    yield ", ".join(f"{counts[status]} {status}" for status in ("same", "changed", "missing", "new") if counts[status] or status == "same")


def open_metrics(changes: Iterable[Change], digest: str, taken: float, now: float) -> Iterator[str]:
    """OpenMetrics for node_exporter's textfile collector (https://openmetrics.io): counts by kind and status, and the time."""
    counts = Counter((change.kind, change.status) for change in changes)
    yield "# TYPE bpflens_snapshot_objects gauge"
    yield "# HELP bpflens_snapshot_objects Objects of a snapshot compared with the running machine."
    for kind in ("program", "map", "attachment"):
        for status in ("same", "changed", "missing", "new"):
            yield f'bpflens_snapshot_objects{{digest="{digest}",kind="{kind}",status="{status}"}} {counts[kind, status]}'
    yield "# TYPE bpflens_snapshot_taken_seconds gauge"
    yield "# HELP bpflens_snapshot_taken_seconds When the snapshot was taken, in seconds since 1970."
    yield f'bpflens_snapshot_taken_seconds{{digest="{digest}"}} {taken:.0f}'
    yield "# TYPE bpflens_snapshot_verified_seconds gauge"
    yield "# HELP bpflens_snapshot_verified_seconds When it was compared, in seconds since 1970."
    yield f'bpflens_snapshot_verified_seconds{{digest="{digest}"}} {now:.0f}'
    yield "# EOF"


def _paint(text: str, code: str, color: bool) -> str:
    return f"{code}{text}{_OFF}" if color else text

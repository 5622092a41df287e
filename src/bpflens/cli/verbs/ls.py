"""Every BPF program of this machine, classic and extended, with what it is attached to and who holds it.

WHAT picks rows: kinds (socket, xdp, tc, tcx, cgroup, seccomp, ...; several are alternatives), objects (dev:eth0, pid:N, sock:INODE,
cgroup:PATH, netns:NAME, map:N, link:N, pin:PATH) and programs (id:N, name:S, tag:HEX, type=xdp), which must all hold.

What could not be looked at is listed at the end, on stderr, with the capability that would show it; the exit code is then 5.
"""

from __future__ import annotations

import argparse
import sys
import time

from bpflens.cli.settings import Settings
from bpflens.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.inventory.facts.records import Inventory, InventoryRow
    from bpflens.inventory.select import Selection

EXAMPLES = (
    "bpflens ls",
    "bpflens ls socket",
    "bpflens ls dev:lo",
    "bpflens ls pid:self",
    "bpflens ls type=xdp",
    "bpflens --json ls",
)

_CHOICES = {"reuseport": "the index of a socket", "fanout": "the index of a socket", "team/hash": "a hash"}  # neither accept nor reject
_EXPLAIN_SECONDS = 2.0  # for all classic programs of one table together
_EXPLAIN_SECONDS_JSON = 0.2  # a script that polls must stay as cheap as the tools that it replaces; --explain asks for more
_PROGRAM_SECONDS = 0.5  # for each: a hard one does not take the others' time


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("what", nargs="*", metavar="WHAT", help="kinds, objects, programs; default: everything")
    parser.add_argument("--deep", action="store_true", help="read kernel memory too: finds what no interface tells")
    parser.add_argument("--audit", action="store_true", help="compare with the kernel's count of programs; implies --deep")
    parser.add_argument("--effective", action="store_true", help="with cgroup:PATH: also the programs that it inherits")
    parser.add_argument(
        "--explain", type=float, metavar="SECONDS", dest="budget",
        help=f"for the expressions of all classic filters (default {_EXPLAIN_SECONDS:g}, with --json {_EXPLAIN_SECONDS_JSON:g})",
    )  # fmt: skip
    parser.add_argument("--watch", nargs="?", type=float, const=1.0, metavar="SECONDS", help="print programs as they come and go")
    parser.add_argument("--count", type=int, metavar="N", help="with --watch: stop after N polls")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List, or watch."""
    from bpflens.inventory.select import Selection

    selection = Selection(args.what)
    if args.watch is not None:
        from bpflens.cli.verbs.ls_watch import watch

        return watch(selection, args.watch, args.count, settings)
    from bpflens.inventory.walk import collect

    if args.audit:
        from bpflens.inventory.audit import audit

        inventory, verdict = audit()
    else:
        inventory, verdict = collect(selection.families, deep=args.deep), None
    rows = [row for row in inventory.rows if selection.matches(row, inventory)]
    if args.effective:
        from bpflens.inventory.finders.cgroups import inherited

        if selection.cgroup is None:
            raise UsageError("--effective", "goes with cgroup:PATH")
        rows += inherited(inventory, selection.cgroup)
    show(inventory, rows, settings, args.budget)
    if verdict is not None:
        print(verdict.json() if settings.json else verdict.text())
    code = report_denials(inventory, rows, selection)
    if verdict is not None and not verdict.complete:
        return 1 if verdict.established else 5
    return code


def show(inventory: Inventory, rows: list[InventoryRow], settings: Settings, budget: float | None = None) -> None:
    """Print rows; `budget` in seconds for all expressions together, None for the default."""
    from bpflens.view.text import inventory as view

    summary = Summaries(settings.json, budget)
    write = sys.stdout.write
    if settings.json:
        for line in view.json_rows(inventory, rows, summary):
            write(line + "\n")
    else:
        for line in view.table(inventory, rows, summary, time.clock_gettime_ns(time.CLOCK_BOOTTIME), settings.color):
            write(line + "\n")
    if summary.late:
        sys.stdout.flush()
        which = f"{summary.late} classic filter{'s' * (summary.late > 1)}"
        print(f"bpflens: note: no time left to explain {which}: --explain SECONDS gives more", file=sys.stderr)


def report_denials(inventory: Inventory, rows: list[InventoryRow], selection: Selection) -> int:
    """What was left out, and what would show more, on stderr; the exit code that follows from it."""
    sys.stdout.flush()
    notes = list(inventory.notes)
    unnamed = sum("unknown" in row.details or row.kind == "held" for row in rows)
    if unnamed and not inventory.deep:
        which = f"{unnamed} row{'s' * (unnamed > 1)}"
        notes.append(f"--deep asks kernel memory about {which} for which no interface has the whole answer")
    if selection.words and not rows:
        notes.append(f"nothing that could be looked at fits {' '.join(selection.words)}")
    for note in notes:
        print(f"bpflens: note: {note}", file=sys.stderr)
    for denial in inventory.denied:
        print(f"bpflens: not shown: {denial.what}: needs {denial.needs}", file=sys.stderr)
    return 5 if inventory.denied else 0


class Summaries:
    """A classic program's expression or words, each distinct program once, all within one time budget.

    An expression only where it is known what the packets begin with: for the wrong link type it would be wrong. In a table the reason
    stands in its place, in parentheses.
    """

    def __init__(self, expressions_only: bool, budget: float | None = None) -> None:
        default = _EXPLAIN_SECONDS_JSON if expressions_only else _EXPLAIN_SECONDS
        self._until = time.monotonic() + (default if budget is None else budget)
        self.late = 0
        self._known: dict[tuple[bytes | None, str, tuple[str, ...]], str | None] = {}
        self._expressions_only = expressions_only

    def __call__(self, row: InventoryRow) -> str | None:
        if row.classic is None:
            return None
        linktype, starts_at = row.details.get("linktype"), row.details.get("starts_at")
        if row.kind in _CHOICES:
            return None if self._expressions_only else f"(returns {_CHOICES[row.kind]}: no expression)"
        if row.kind == "seccomp":
            if self._expressions_only:
                return None  # it has a policy, not an expression
        elif linktype is None and starts_at != "network header" and len(row.classic) > 8:  # one instruction returns, whatever comes
            return None if self._expressions_only else f"(begins with {starts_at or 'what its device gives'}: no expression)"
        key = (row.classic, linktype or row.kind, tuple(row.details.get("given", ())))
        if key not in self._known:
            left = self._until - time.monotonic()
            late = None if self._expressions_only else "(no time left to explain it)"
            self.late += left <= 0.01
            self._known[key] = self._summary(row, min(left, _PROGRAM_SECONDS)) if left > 0.01 else late
        return self._known[key]

    def _summary(self, row: InventoryRow, seconds: float) -> str | None:
        from bpflens.errors import BpflensError
        from bpflens.inventory.rows import classic_program

        program = classic_program(row)
        if not self._expressions_only:
            from bpflens.classic.diagrams.linktypes import PAYLOADS
            from bpflens.classic.summary import one_line

            header = PAYLOADS.get(row.details.get("linktype", ""))
            words = one_line(program, seconds)
            return words.replace("link[", f"{header}[") if header else words
        try:
            from bpflens.classic.explain import explain

            return explain(program, deadline=seconds).expression
        except BpflensError:
            return None

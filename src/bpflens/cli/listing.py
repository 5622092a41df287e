"""What the verbs that list the machine share (ls, tree, watch): summaries of classic filters, and what is said of what was not seen."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.classic.summary import Summary
    from bpflens.inventory.facts.records import Inventory, InventoryRow
    from bpflens.inventory.select import Selection

__all__ = ("Summariser", "report")

EXPLAIN_SECONDS = 2.0  # for all classic programs of one table together
EXPLAIN_SECONDS_JSON = 0.2  # a script that polls must stay as cheap as the tools that it replaces; --explain asks for more


class Summariser:
    """The summary of a row's classic filter; None for other rows. Nothing is imported before there is such a row."""

    def __init__(self, as_json: bool, budget: float | None = None) -> None:
        default = EXPLAIN_SECONDS_JSON if as_json else EXPLAIN_SECONDS
        self._seconds = default if budget is None else budget
        self._summaries: object = None

    def __call__(self, row: InventoryRow) -> Summary | None:
        if row.classic is None:
            return None
        from bpflens.classic.summary import Summaries
        from bpflens.inventory.rows import classic_program

        if not isinstance(self._summaries, Summaries):
            self._summaries = Summaries(self._seconds)
        return self._summaries(classic_program(row))

    def say_what_is_late(self) -> None:
        """A note on stderr where the budget was too short."""
        late = getattr(self._summaries, "late", 0)
        if late:
            sys.stdout.flush()
            which = f"{late} classic filter{'s' * (late > 1)}"
            print(f"bpflens: note: no time left to explain {which}: --explain SECONDS gives more", file=sys.stderr)


def report(inventory: Inventory, rows: list[InventoryRow], selection: Selection) -> int:
    """What was left out, and what would show more, on stderr; the exit code that follows from it."""
    sys.stdout.flush()
    notes = list(inventory.notes)
    unnamed = sum("unknown" in row.details or row.kind == "held" for row in rows)
    if unnamed and not inventory.deep:
        which = f"{unnamed} row{'s' * (unnamed > 1)}"
        notes.append(f"--deep asks kernel memory about {which} for which no interface has the whole answer")
    if not rows:
        notes.append(f"nothing that could be looked at fits {' '.join(selection.words)}" if selection.words else "no BPF program was found")
    for note in notes:
        print(f"bpflens: note: {note}", file=sys.stderr)
    for denial in inventory.denied:
        print(f"bpflens: not shown: {denial.what}: needs {denial.needs}", file=sys.stderr)
    return 5 if inventory.denied else 0

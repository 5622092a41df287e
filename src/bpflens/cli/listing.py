"""What the verbs that list the machine share (ls, tree, watch): summaries of classic filters, and what is said of what was not seen."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bpflens.classic.summary import Summary
    from bpflens.inventory.facts.records import Inventory, InventoryRow
    from bpflens.inventory.select import Selection

__all__ = ("EXPLAIN_SECONDS", "EXPLAIN_SECONDS_JSON", "Summariser", "add_deep", "report")

EXPLAIN_SECONDS = 2.0  # for all classic programs of one table together
EXPLAIN_SECONDS_JSON = 0.2  # a script that polls must stay as cheap as the tools that it replaces; --explain asks for more


def add_deep(parser: argparse.ArgumentParser) -> None:
    """--deep and --no-deep."""
    from argparse import BooleanOptionalAction

    parser.add_argument(
        "--deep", action=BooleanOptionalAction, default=None,
        help="read kernel memory by BPF programs of our own: all that there is, or never; else only for what no interface tells",
    )  # fmt: skip


class Summariser:
    """The summary of a row's classic filter; None for other rows. Nothing is imported before there is such a row."""

    def __init__(self, as_json: bool, budget: float | None = None) -> None:
        default = EXPLAIN_SECONDS_JSON if as_json else EXPLAIN_SECONDS
        self._seconds = default if budget is None else budget
        self._as_json = as_json
        self._summaries: object = None

    def __call__(self, row: InventoryRow) -> Summary | None:
        if row.classic is None:
            return None
        from bpflens.classic.summary import Summaries, Summary

        if self._as_json and row.kind == "seccomp":
            return Summary("", reason="policy")  # it has no expression, and the policy stands in text only
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
        notes.append(f"kernel memory tells more about {which}: needs CAP_BPF and CAP_PERFMON, and no --no-deep")
    if any("order" in row.details for row in rows):
        notes.append("[1/2]: it runs first of two on its hook; the rows of a hook are in their order of execution")
    if any(row.details.get("by_elimination") for row in rows):
        notes.append("(the only one): no interface says which program it is, and only this loaded one can be it")
    missing = [denial for denial in inventory.denied if selection.concerns(denial)] + selection.unopened(inventory)
    if not rows:
        words = f"fits {' '.join(selection.words)}" if selection.words else "was found"
        notes.append(f"no BPF program {words}" if not missing else f"nothing that could be looked at {words}")
    for note in notes:
        print(f"bpflens: note: {note}", file=sys.stderr)
    for denial in missing:
        print(f"bpflens: not shown: {denial.what}: needs {denial.needs}", file=sys.stderr)
    return 5 if missing else 0

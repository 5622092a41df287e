"""Every BPF program of this machine, classic and extended, with what it is attached to and who holds it.

WHAT picks rows. Several kinds are alternatives; all other words must hold:
  kinds      socket, xdp, tc, tcx, cgroup, seccomp ...
  objects    dev:eth0, sock:INODE, cgroup:PATH, netns:NAME, map:N, link:N, pin:PATH or a directory of pins
  holders    pid:N, comm:NAME, exe:PATH, unit:NAME
  programs   id:N, name:S, tag:HEX, type=xdp
Names may have wildcards (name:xdp_*). A name of which there is none is an error.

WHAT may be a snapshot (x.bpfsnap): then its rows are picked from.

What cannot be shown is listed at the end, on stderr, with the capability that would show it. The exit code is then 5.

In Python: bpflens.ls("xdp", "dev:eth0") gives rows, and what was not shown.
"""

from __future__ import annotations

import argparse
import sys
import time

from bpflens.cli.listing import EXPLAIN_SECONDS, EXPLAIN_SECONDS_JSON, Summariser, add_deep, report
from bpflens.cli.settings import Settings
from bpflens.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.inventory.audit import Verdict
    from bpflens.inventory.baseline import Comparison
    from bpflens.inventory.facts.records import Inventory, InventoryRow

SORT_KEYS = ("kind", "object", "netns", "id", "name", "type", "age", "runs", "time", "holder")  # inventory/select.py has what they mean
EXAMPLES = (
    "bpflens ls",
    "bpflens ls socket",
    "bpflens ls dev:lo",
    "bpflens ls pid:self",
    "bpflens ls type=xdp",
    "bpflens ls comm:systemd* --sort age --limit 5",
    "bpflens --json ls",
)



def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("what", nargs="*", metavar="WHAT", help="kinds, objects, programs; default: everything")
    add_deep(parser)
    parser.add_argument("--audit", action="store_true", help="judge each program image in the kernel: was it found? implies --deep")
    parser.add_argument("--baseline", metavar="FILE", help="with --audit: compare with the images in FILE; written if it is not there")
    parser.add_argument("--effective", action="store_true", help="with cgroup:PATH: also the programs that it inherits")
    parser.add_argument(
        "--explain", type=float, metavar="SECONDS", dest="budget",
        help=f"for the expressions of all classic filters (default {EXPLAIN_SECONDS:g}, with --json {EXPLAIN_SECONDS_JSON:g})",
    )  # fmt: skip
    parser.add_argument("--how-to-detach", action="store_true", help="the command that takes each one away (nothing is run)")
    parser.add_argument("--all", action="store_true", dest="every", help="a line for each row; else many equal ones become one line")
    parser.add_argument("--wide", action="store_true", help="whole cells and expressions, whatever the width of the terminal")
    keys = f"order of the rows: {', '.join(SORT_KEYS)} (the newest or busiest first)"
    parser.add_argument("--sort", choices=SORT_KEYS, metavar="KEY", help=keys)
    parser.add_argument("--limit", type=int, metavar="N", help="the first N rows only")
    parser.add_argument("--watch", nargs="?", type=float, const=1.0, metavar="SECONDS", help="print programs as they come and go")
    parser.add_argument("--count", type=int, metavar="N", help="with --watch: stop after N polls")


def paged(args: argparse.Namespace) -> bool:
    """Whether the output is for a pager."""
    return args.watch is None


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List, or watch."""
    from bpflens.cli.snapshot_words import snapshot_of
    from bpflens.inventory.select import Selection, sorted_rows

    file, words = snapshot_of(args.what)
    selection = Selection(words)
    if args.limit is not None and args.limit < 0:
        raise UsageError("--limit", "is a number from 0")
    if args.baseline is not None and not args.audit:
        raise UsageError("--baseline", "goes with --audit")
    if args.watch is not None:
        from bpflens.cli.verbs.ls_watch import watch

        return watch(selection, args.watch, args.count, settings)
    from bpflens.inventory.walk import collect

    if file is not None:
        from bpflens.formats.snapshot.archive import Archive
        from bpflens.snapshot.as_inventory import inventory_of

        with Archive(file) as archive:
            inventory, verdict = inventory_of(archive), None
    elif args.audit:
        from bpflens.inventory.audit import audit

        inventory, verdict = audit()
    else:
        inventory, verdict = collect(selection.families, deep=args.deep, maps=selection.maps), None
    rows = selection.rows(inventory) if file is None else [row for row in inventory.rows if selection.matches(row, inventory)]
    if args.effective:
        from bpflens.inventory.finders.cgroups import inherited

        if selection.cgroup is None:
            raise UsageError("--effective", "goes with cgroup:PATH")
        rows += inherited(inventory, selection.cgroup)
    if args.sort:
        rows = sorted_rows(rows, inventory, args.sort)
    left = 0 if args.limit is None else max(len(rows) - args.limit, 0)
    show(inventory, rows[: len(rows) - left], settings, args)
    compared = _print_audit(verdict, args.baseline, settings) if verdict is not None else None
    code = report(inventory, rows, selection)
    if left:
        print(f"bpflens: note: {left} more row{'s' * (left > 1)} (--limit)", file=sys.stderr)
    if verdict is not None and not verdict.complete and not (compared is not None and compared.unchanged and not compared.written):
        return 1 if verdict.established else 5
    return code


def _print_audit(verdict: Verdict, baseline: str | None, settings: Settings) -> Comparison | None:
    """The verdict, beside a baseline where one is given and the audit could be made."""
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    compared = None
    if baseline is not None and verdict.established:
        from bpflens.inventory.baseline import compare

        compared = compare(baseline, verdict.unexplained)
    if settings.json:
        import json

        from bpflens.records.audit import audit_record

        print(json.dumps(audit_record(verdict, compared, now)))
    else:
        from bpflens.view.text.audit import audit_lines

        for line in audit_lines(verdict, compared, now, settings.color):
            print(line)
    return compared


def show(inventory: Inventory, rows: list[InventoryRow], settings: Settings, args: argparse.Namespace) -> None:
    """Print rows."""
    summarise = Summariser(settings.json, args.budget)
    write = sys.stdout.write
    if settings.json:
        from bpflens.records.ls import json_rows

        for line in json_rows(inventory, rows, summarise, detach=args.how_to_detach):
            write(line + "\n")
    else:
        from bpflens.view.style.columns import terminal_width
        from bpflens.view.text.inventory import Layout, table

        width = None if args.wide else terminal_width()
        left_out: list[str] = []
        layout = Layout(width, settings.color, args.wide, args.every, args.how_to_detach, cut_mark(), left_out)
        for line in table(inventory, rows, summarise, time.clock_gettime_ns(time.CLOCK_BOOTTIME), layout):
            write(line + "\n")
        if left_out:
            sys.stdout.flush()
            what = f"column{'s' * (len(left_out) > 1)} left out: {', '.join(left_out)}"
            print(f"bpflens: note: {what} (--wide shows all)", file=sys.stderr)
    summarise.say_what_is_late()


def cut_mark() -> str:
    """What stands for the part of a cell that was cut off, as far as the output's encoding has it."""
    return "…" if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" else "~"

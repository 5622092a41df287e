"""All that is known of a program and its maps: type, attachment, age, who holds it, run counts, functions, types, flags.

A map as TARGET (map:N or map:NAME) is shown itself, then the programs that use it.

In Python: bpflens.show("id:12") gives programs, maps and what was found around them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from bpflens.cli.listing import add_deep
from bpflens.cli.settings import Settings
from bpflens.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.overview import Overview

EXAMPLES = (
    "bpflens show x.o",
    "bpflens show id:12",
    "bpflens show name:handle --values --limit 5",
    "bpflens show map:7 --values",
    "bpflens --json show 'pcap:tcp port 80'",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    parser.add_argument("--values", action="store_true", help="the contents of maps too, decoded by their types")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="elements of each map with --values (default 10)")
    parser.add_argument("--no-attachments", action="store_true", help="do not search the machine for what the program hangs on")
    add_deep(parser)
    parser.add_argument("--linktype", metavar="NAME", help="what a classic filter's packets begin with (a DLT name)")


def paged(args: argparse.Namespace) -> bool:
    """Whether the output is for a pager."""
    return True


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Show every target in turn; 5 where something could not be looked at."""
    from bpflens.overview import overview
    from bpflens.targets.open import Options, open_with_maps

    if args.limit < 0:
        raise UsageError("--limit", "is a number from 0")
    options = Options(linktype=args.linktype)
    elements = args.limit if args.values else None
    denied: dict[tuple[str, str], None] = {}
    for number, target in enumerate(args.targets):
        maps, programs = open_with_maps(target, options)
        found = overview(programs, maps, attachments=not args.no_attachments, deep=args.deep, elements=elements)
        denied.update(dict.fromkeys(found.denied))
        if number and not settings.json:
            print()
        for line in _lines(found, settings):
            print(line)
    for what, needs in denied:
        print(f"bpflens: not shown: {what}: needs {needs}", file=sys.stderr)
    return 5 if denied else 0


def _lines(found: Overview, settings: Settings) -> Iterator[str]:
    if settings.json:
        import json

        from bpflens.records.show import plain, show_records

        return (json.dumps(record, default=plain) for record in show_records(found))
    from bpflens.view.style.columns import folded, terminal_width
    from bpflens.view.text.show import LABEL_COLUMN, overview_lines

    width = terminal_width()
    return (piece for line in overview_lines(found, settings.color) for piece in folded(line, width, LABEL_COLUMN))

"""Objects with the programs that hang on them, the maps of these, and the programs that their tail calls lead to.

WHAT picks rows as in "bpflens ls". What could not be looked at is listed on stderr; the exit code is then 5.
"""

from __future__ import annotations

import argparse
import sys
import time

from bpflens.cli.listing import Summariser, add_deep, report
from bpflens.cli.settings import Settings

EXAMPLES = ("bpflens tree", "bpflens tree xdp tc", "bpflens tree dev:lo", "bpflens --json tree")


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("what", nargs="*", metavar="WHAT", help="kinds, objects, programs; default: everything")
    add_deep(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the tree."""
    from bpflens.inventory.graph import program_tree
    from bpflens.inventory.select import Selection
    from bpflens.inventory.walk import collect

    selection = Selection(args.what)
    inventory = collect(selection.families, deep=args.deep, maps=True)
    rows = selection.rows(inventory)
    below = program_tree(inventory.maps.heads).below
    holders = inventory.maps.holders
    summarise = Summariser(settings.json)
    if settings.json:
        from bpflens.records.tree import json_tree

        lines = json_tree(inventory, rows, below, holders, summarise)
    else:
        from bpflens.view.text.tree import text_tree

        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        lines = text_tree(inventory, rows, below, holders, summarise, now, settings.color)
    for line in lines:
        sys.stdout.write(line + "\n")
    summarise.say_what_is_late()
    return report(inventory, rows, selection)

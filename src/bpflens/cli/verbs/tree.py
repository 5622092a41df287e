"""Objects with their programs, the maps of these, and the programs that tail calls lead to.

WHAT picks rows as in "bpflens ls". What cannot be shown is listed on stderr; the exit code is then 5.

In Python: bpflens.tree("dev:eth0") gives the text.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack

from bpflens.cli.listing import Summariser, add_deep, report
from bpflens.cli.settings import Settings

EXAMPLES = ("bpflens tree", "bpflens tree xdp tc", "bpflens tree dev:lo", "bpflens --json tree")


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("what", nargs="*", metavar="WHAT", help="kinds, objects, programs; default: everything")
    add_deep(parser)


def paged(args: argparse.Namespace) -> bool:
    """Whether the output is for a pager."""
    return True


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the tree."""
    from bpflens.cli.snapshot_words import snapshot_of
    from bpflens.inventory.graph import program_tree
    from bpflens.inventory.select import Selection
    from bpflens.inventory.walk import collect

    file, words = snapshot_of(args.what)
    selection = Selection(words)
    with ExitStack() as stack:
        if file is not None:
            from bpflens.formats.snapshot.archive import Archive
            from bpflens.snapshot.as_inventory import inventory_of, tree_of

            archive = stack.enter_context(Archive(file))  # read while lines are printed
            inventory, below = inventory_of(archive), tree_of(archive)
        else:
            inventory = collect(selection.families, deep=args.deep, maps=True)
            below = program_tree(inventory.maps.heads).below
        rows = selection.rows(inventory) if file is None else [row for row in inventory.rows if selection.matches(row, inventory)]
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

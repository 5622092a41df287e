"""All that is known of a program and its maps: type, attachment, age, who holds it, run counts, functions, types, flags.

A TARGET that is a map (map:N or map:NAME) shows the map itself, then the programs that use it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bpflens.cli.settings import Settings
from bpflens.errors import KernelError, NotFound, UsageError
from bpflens.program import Map, Program

EXAMPLES = (
    "bpflens show x.o",
    "bpflens show id:12",
    "bpflens show name:handle --values --limit 5",
    "bpflens show map:7 --values",
    "bpflens --json show 'pcap:tcp port 80'",
)


_Denied = dict[tuple[str, str], None]  # what was not looked at, with what it needs; each once


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    parser.add_argument("--values", action="store_true", help="the contents of maps too, decoded by their types")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="elements of each map with --values (default 10)")
    parser.add_argument("--no-attachments", action="store_true", help="do not search the machine for what the program hangs on")
    parser.add_argument("--linktype", metavar="NAME", help="what a classic filter's packets begin with (a DLT name)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Show every target in turn."""
    from bpflens.targets import Options, open_target

    if args.limit < 0:
        raise UsageError("--limit", "is a number from 0")
    options = Options(linktype=args.linktype)
    denied: _Denied = {}
    for number, target in enumerate(args.targets):
        if number and not settings.json:
            print()
        maps = _maps_of_target(target)
        try:
            programs = open_target(target, options)
        except NotFound:
            if not maps:
                raise
            programs = []  # a map that no program uses
        if maps:
            _show(None, maps, args, settings, denied)
        for program in programs:
            _show(program, program.maps, args, settings, denied)
    for what, needs in denied:
        print(f"bpflens: not looked at: {what} (needs {needs})", file=sys.stderr)
    return 5 if denied else 0


def _show(program: Program | None, maps: Iterable[Map], args: argparse.Namespace, settings: Settings, denied: _Denied) -> None:
    from bpflens.view import show as view

    program, facts, shown = _gather(program, tuple(maps), args, denied)
    if settings.json:
        record = {
            "schema": "show/1",
            "program": view.program_record(program, facts) if program else None,
            "maps": [view.map_record(map, about) for map, about in shown],
            "attachments": [view.attachment_record(item) for item in program.attachments] if program else [],
        }
        print(json.dumps(record, default=list))
        return
    if program:
        for line in view.program_lines(program, facts, settings.color):
            print(line)
    for map, about in shown:
        for line in view.map_lines(map, about, settings.color, indent="  " if program else ""):
            print(line)


def _gather(
    program: Program | None, maps: tuple[Map, ...], args: argparse.Namespace, denied: _Denied
) -> tuple[Program | None, dict[str, Any], list[tuple[Map, dict[str, Any]]]]:
    """What is to be said beside the records themselves: (the program with its attachments, facts of it, (map, facts) of each map)."""
    facts: dict[str, Any] = {}
    about: dict[int, dict[str, Any]] = {number: {} for number in range(len(maps))}
    map_ids = [map.id for map in maps if map.id is not None]
    if (program and program.id is not None) or map_ids:
        from bpflens.kernel.surroundings import attach_target, stats_enabled, surroundings

        prog_ids = [program.id] if program and program.id is not None else []
        around = surroundings(prog_ids, map_ids, attachments=not args.no_attachments)
        denied.update(dict.fromkeys(around.denied))
        if program and program.id is not None:
            id = program.id
            known = around.attachments.get(id, ())
            program = replace(program, attachments=known or program.attachments)
            facts = {
                "attach_target": attach_target(program),
                "pins": around.prog_pins.get(id, ()),
                "holders": around.prog_holders.get(id, ()),
                "stats_enabled": stats_enabled(),
                "attachments_known": not args.no_attachments,
            }
        for number, map in enumerate(maps):
            if map.id is not None:
                about[number] = {
                    "pins": around.map_pins.get(map.id, ()),
                    "holders": around.map_holders.get(map.id, ()),
                    "users": around.map_users.get(map.id, ()),
                    **_struct_ops(map),
                }
    elif program:
        facts = {"holders": program.holders}
    if args.values:
        from bpflens.analysis.map_contents import contents

        for number, map in enumerate(maps):
            about[number]["contents"] = contents(map, args.limit, program.btf if program else None)
    return program, facts, [(map, about[number]) for number, map in enumerate(maps)]


def _struct_ops(map: Map) -> dict[str, Any]:
    from bpflens.kernel.struct_ops import MAP_TYPE, STATES, struct_ops

    if map.type != MAP_TYPE or map.id is None:
        return {}
    try:
        found = struct_ops(map.id)
    except KernelError:
        return {}
    programs = {name: id for name, (_, id) in found.programs.items()}
    return {"struct_ops": {"struct": found.struct, "state": STATES.get(found.state, str(found.state)), "programs": programs}}


def _maps_of_target(target: str) -> list[Map]:
    """The maps that `map:N` or `map:NAME` names; empty for any other target."""
    kind, colon, name = target.partition(":")
    if kind != "map" or not colon:
        return []
    from bpflens.kernel.targets import maps_named

    return maps_named(name)

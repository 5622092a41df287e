"""All that is known of a program and its maps: type, attachment, age, who holds it, run counts, functions, types, flags.

A TARGET that is a map (map:N or map:NAME) shows the map itself, then the programs that use it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace

from bpflens.cli.listing import add_deep
from bpflens.cli.settings import Settings
from bpflens.errors import KernelError, NoCode, NotFound, UsageError
from bpflens.program import Map, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.inventory.around import Surroundings
    from bpflens.records.show import MapFacts, ProgramFacts, StructOpsFacts

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


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Show every target in turn; 5 where something could not be looked at."""
    from bpflens.formats.elf.programs import by_function
    from bpflens.targets.open import Options, open_maps, open_target

    if args.limit < 0:
        raise UsageError("--limit", "is a number from 0")
    options = Options(linktype=args.linktype)
    denied: dict[tuple[str, str], None] = {}
    for number, target in enumerate(args.targets):
        maps = _maps_of_target(target)
        try:
            programs = [part for program in open_target(target, options) for part in by_function(program)]
        except (NotFound, NoCode):
            maps = maps or open_maps(target)
            if not maps:
                raise
            programs = []  # maps that no program uses
        around = _surroundings(programs, maps, args)
        if around is not None:
            denied.update(dict.fromkeys(around.denied))
            programs = [replace(p, attachments=around.attachments.get(p.id or 0, ()) or p.attachments) for p in programs]
        if settings.json:
            _print_json(programs, maps, around, args)
        else:
            if number:
                print()
            _print_text(programs, maps, around, args, settings.color)
    for what, needs in denied:
        print(f"bpflens: not shown: {what}: needs {needs}", file=sys.stderr)
    return 5 if denied else 0


def _print_json(programs: list[Program], maps: list[Map], around: Surroundings | None, args: argparse.Namespace) -> None:
    from bpflens.records.show import plain, show_record

    groups: list[tuple[Program | None, Iterable[Map]]] = [(None, maps)] if maps else []
    groups += [(program, program.maps) for program in programs]
    for program, of_group in groups:
        facts = _program_facts(program, around, args.deep)
        record = show_record(program, facts, [(map, _map_facts(map, program, around, args)) for map in of_group])
        print(json.dumps(record, default=plain))


def _print_text(
    programs: list[Program], maps: list[Map], around: Surroundings | None, args: argparse.Namespace, color: bool
) -> None:
    """The maps of the target, its programs, then the maps of those: each map once, whoever shares it."""
    from bpflens.view.text import show as view

    shown: list[Map] = []
    blocks = [view.map_lines(map, _map_facts(map, None, around, args), color) for map in maps]
    blocks += [view.program_lines(program, _program_facts(program, around, args.deep), color) for program in programs]
    for program in programs:
        for map in program.maps:
            known = any(map is other or (map.id is not None and map.id == other.id) for other in (*shown, *maps))
            if not known:
                shown.append(map)
                blocks.append(view.map_lines(map, _map_facts(map, program, around, args), color))
    for number, block in enumerate(blocks):
        if number:
            print()
        for line in block:
            print(line)


def _surroundings(programs: list[Program], maps: list[Map], args: argparse.Namespace) -> Surroundings | None:
    """What hangs around all of them, in one walk; None where nothing of them is loaded."""
    prog_ids = {program.id for program in programs if program.id is not None}
    map_ids = {map.id for map in (*maps, *(map for program in programs for map in program.maps)) if map.id is not None}
    if not prog_ids and not map_ids:
        return None
    from bpflens.inventory.around import surroundings

    return surroundings(prog_ids, map_ids, attachments=not args.no_attachments, deep=args.deep)


def _program_facts(program: Program | None, around: Surroundings | None, deep: bool | None) -> ProgramFacts:
    from bpflens.records.show import ProgramFacts

    if program is None or around is None or program.id is None:
        return ProgramFacts(holders=program.holders if program else ())
    from bpflens.inventory.around import attach_target, stats_enabled

    return ProgramFacts(
        attach_target=attach_target(program),
        pins=around.prog_pins.get(program.id, ()),
        holders=around.prog_holders.get(program.id, ()),
        stats_enabled=stats_enabled(),
        deep=deep is not False,
    )


def _map_facts(map: Map, program: Program | None, around: Surroundings | None, args: argparse.Namespace) -> MapFacts:
    from bpflens.records.show import MapFacts

    found = None
    if args.values:
        from bpflens.maps.contents import contents

        found = contents(map, args.limit, program.btf if program else None)
    if around is None or map.id is None:
        return MapFacts(contents=found)
    return MapFacts(
        pins=around.map_pins.get(map.id, ()),
        holders=around.map_holders.get(map.id, ()),
        users=around.map_users.get(map.id, ()),
        struct_ops=_struct_ops(map),
        contents=found,
    )


def _struct_ops(map: Map) -> StructOpsFacts | None:
    from bpflens.kernel.struct_ops import MAP_TYPE, STATES, struct_ops
    from bpflens.records.show import StructOpsFacts

    if map.type != MAP_TYPE or map.id is None:
        return None
    try:
        found = struct_ops(map.id)
    except KernelError:
        return None
    programs = {name: id for name, (_, id) in found.programs.items()}
    return StructOpsFacts(found.struct, STATES.get(found.state, str(found.state)), programs)


def _maps_of_target(target: str) -> list[Map]:
    """The maps that `map:N` or `map:NAME` names; empty for any other target."""
    kind, colon, name = target.partition(":")
    if kind != "map" or not colon:
        return []
    from bpflens.targets.kernel_object import maps_named

    return maps_named(name)

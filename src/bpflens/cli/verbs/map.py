"""Maps: list, look into, change, compare and watch them.

  ls               every map with memory, programs, pins and what else holds it; what nothing holds is marked
  show MAP         one map
  dump MAP         its elements, decoded by their types
  get MAP KEY      one element
  set MAP KEY VALUE, delete MAP KEY    print what would change; --apply does it
  diff MAP MAP     elements that differ; exit code 1 where some do
  watch MAP        changes, as they are seen

A MAP is a number, a name, map:N or pin:PATH. Keys and values are JSON (numbers, "10.0.0.0/8", {"saddr": "10.0.0.1"}) or 0x and all bytes.
In Python: bpflens.map("map:7", where="value > 100") gives the elements."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator

from bpflens.cli.settings import Settings
from bpflens.errors import InputError, NotFound, UsageError
from bpflens.program import Map

EXAMPLES = (
    "bpflens map ls",
    "bpflens map ls --count --json",
    "bpflens map ls --sort memory --reverse --limit 10",
    "bpflens map dump map:7 --where 'value > 100' --sort value --reverse --limit 10",
    "bpflens map get map:7 1",
    "bpflens map set map:7 1 42",
    "bpflens map delete map:7 1",
    "bpflens map watch map:7 --rounds 1 --interval 0.1",
)

_ARGUMENTS = {
    "ls": (0, 99), "show": (1, 99), "dump": (1, 1), "get": (2, 2), "set": (3, 3), "delete": (2, 2), "diff": (2, 2), "watch": (1, 1),
}  # fmt: skip
_OPTIONS = {
    "--count": {"ls"}, "--where": {"dump"}, "--sort": {"ls", "dump"}, "--reverse": {"ls", "dump"}, "--limit": {"ls", "dump"},
    "--apply": {"set", "delete"}, "--interval": {"watch"}, "--rounds": {"watch"},
}  # fmt: skip
"""Option -> the actions that it has an effect on."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("what", choices=tuple(_ARGUMENTS), help="what to do")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="maps, then key and value")
    parser.add_argument("--count", action="store_true", help="ls: count the elements of each map")
    parser.add_argument("--where", metavar="CONDITION", help="dump: only elements for which this holds, such as 'key.saddr in 10.0.0.0/8'")
    by = "dump: by a part, such as value or key.port; ls: by id, name, type, memory or elements"
    parser.add_argument("--sort", metavar="PART", default="", help=by)
    parser.add_argument("--reverse", action="store_true", help="ls, dump: the greatest first")
    parser.add_argument("--limit", type=int, metavar="N", help="ls, dump: at most so many")
    parser.add_argument("--apply", action="store_true", help="set, delete: do it")
    parser.add_argument("--interval", type=float, metavar="SECONDS", help="watch: time between two looks (default 1)")
    parser.add_argument("--rounds", type=int, metavar="N", help="watch: end after so many looks")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what is asked."""
    least, most = _ARGUMENTS[args.what]
    if not least <= len(args.arguments) <= most:
        many = str(least) if least == most else f"{least} or more"
        raise UsageError(f"map {args.what}", f"takes {many} arguments", 'see "bpflens map --help"')
    for option, actions in _OPTIONS.items():
        if args.what not in actions and getattr(args, option[2:]) not in (None, False, ""):
            raise UsageError(option, f"has no effect on map {args.what}; it is for {' and '.join(sorted(actions))}")
    if args.limit is not None and args.limit < 0:
        raise UsageError("--limit", "is a number from 0")
    return _ACTIONS[args.what](args, settings)


def _maps(name: str) -> list[Map]:
    from bpflens.targets.kernel_object import maps_named

    if name.startswith("pin:"):
        from bpflens.kernel.maps.maps import map_by_fd
        from bpflens.kernel.pins import fd_kind, opened_pin

        with opened_pin(name[4:]) as fd:
            if fd_kind(fd) != "map":
                raise InputError(name, f"is a {fd_kind(fd)}, not a map")
            return [map_by_fd(fd, name)]
    file = name.partition("#")[0]
    if "/" in file or "." in file:
        from bpflens.formats.snapshot.magic import is_snapshot

        if is_snapshot(file):
            hint = f'"bpflens export {file}#map:NAME" writes its elements, "bpflens ls {file}" says what it has'
            raise UsageError(name, "is of a snapshot; this verb is for maps of the running kernel", hint)
    return maps_named(name.removeprefix("map:"))


def _map(name: str) -> Map:
    found = _maps(name)
    if len(found) > 1:
        ids = ", ".join(str(map.id) for map in found)
        raise InputError(name, f"{len(found)} maps have this name", f"name one by its number: {ids}")
    return found[0]


def _ls(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.inventory.map_overview import ORDERS, overview

    maps = [map for name in args.arguments for map in _maps(name)] if args.arguments else None
    if args.sort and args.sort not in ORDERS:
        raise UsageError("--sort", f'"{args.sort}" is none of {", ".join(ORDERS)}')
    rows, denied = overview(maps, count=args.count or args.sort == "elements")
    if args.sort or args.reverse:
        rows.sort(key=ORDERS[args.sort or "id"], reverse=args.reverse)
    del rows[args.limit if args.limit is not None else len(rows) :]
    if settings.json:
        from bpflens.records.map import row_record

        for row in rows:
            print(json.dumps(row_record(row)))
    elif rows:
        from bpflens.view.text.map import row_lines

        for line in row_lines(rows):
            print(line)
    else:
        print("bpflens: no maps are loaded", file=sys.stderr)
    for what, needs in denied:
        print(f"bpflens: not shown: {what}: needs {needs}", file=sys.stderr)
    return 5 if denied else 0


def _show(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.cli.main import run as run_command

    color = "always" if settings.color else "never"
    targets = [f"map:{map.id}" for name in args.arguments for map in _maps(name)]
    return run_command([*(["--json"] if settings.json else []), "--color", color, "show", *targets])


def _dump(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.maps.conditions import Where
    from bpflens.maps.elements import batches, elements
    from bpflens.records.map import element_record
    from bpflens.view.text.element_rows import rows_of
    from bpflens.view.text.map import element_line

    map = _map(args.arguments[0])
    where = Where(args.where) if args.where is not None else None
    some = False
    if where is None and not args.sort and args.limit is None and (rows := rows_of(map, settings.json)) and (found := batches(map)):
        for keys, values in found:
            some = some or bool(keys)
            sys.stdout.writelines(rows.json(keys, values) if settings.json else rows.text(keys, values))
        if some:
            return 0
    for element in elements(map, where, args.sort, args.limit, args.reverse):
        some = True
        print(json.dumps(element_record(map, element)) if settings.json else element_line(element))
    if where is not None:
        _say(where.notes)
    if not some:
        print(f"bpflens: map {map.id} has no element{' for which that holds' if where else ''}", file=sys.stderr)
    return 0


def _get(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.btf.values import to_text
    from bpflens.maps.change import value_of
    from bpflens.maps.encode import parse

    map = _map(args.arguments[0])
    notes: dict[str, None] = {}
    element = value_of(map, parse(args.arguments[1]), notes)
    _say(notes)
    if element is None:
        raise NotFound(f"map {map.id}", f"no element {args.arguments[1]}")
    if settings.json:
        from bpflens.records.map import element_record

        print(json.dumps(element_record(map, element)))
    else:
        value = element.total if element.total is not None else element.value
        print(value if isinstance(value, str) else to_text(value))
    return 0


def _change(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.maps.change import plan_delete, plan_set
    from bpflens.maps.encode import parse
    from bpflens.records.map import change_record
    from bpflens.view.text.map import change_line

    map = _map(args.arguments[0])
    key = parse(args.arguments[1])
    change = plan_set(map, key, parse(args.arguments[2])) if args.what == "set" else plan_delete(map, key)
    _say(change.notes)
    if args.apply:
        change.apply()
    print(json.dumps(change_record(change, args.apply)) if settings.json else change_line(change, args.apply))
    if not args.apply and not settings.json:
        print("bpflens: nothing was changed; --apply does it", file=sys.stderr)
    return 0


def _say(notes: Iterable[str]) -> None:
    """How operands were understood, on stderr."""
    for note in notes:
        print(f"bpflens: note: {note}", file=sys.stderr)


def _diff(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.maps.differences import differences

    a, b = (_map(name) for name in args.arguments)
    return int(_print_differences(b, differences(a, b), settings))


def _watch(args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.maps.differences import watch

    map = _map(args.arguments[0])
    try:
        _print_differences(map, watch(map, max(1.0 if args.interval is None else args.interval, 0.01), args.rounds), settings)
    except KeyboardInterrupt:
        return 0
    return 0


def _print_differences(map: Map, found: Iterator[object], settings: Settings) -> bool:
    from bpflens.maps.differences import Difference
    from bpflens.records.map import difference_record
    from bpflens.view.text.map import difference_line

    some = False
    for difference in found:
        assert isinstance(difference, Difference)
        some = True
        print(json.dumps(difference_record(map, difference)) if settings.json else difference_line(difference), flush=True)
    return some


_ACTIONS = {
    "ls": _ls, "show": _show, "dump": _dump, "get": _get, "set": _change, "delete": _change, "diff": _diff, "watch": _watch,
}  # fmt: skip

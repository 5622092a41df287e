"""What is in a snapshot, for other tools: maps as CSV, JSON Lines, bpftool's JSON or Parquet, programs as ELF objects.

FILE#map:NAME is a map (id or name), FILE#ID or FILE#NAME a program. Keys and values are decoded by the types that were saved.
Code and contents are also plain members of the zip archive: unzip -l FILE.
In Python: bpflens.snapshot.export.elements_of(Archive("x.bpfsnap"), map)."""

from __future__ import annotations

import argparse
import io
import sys

from bpflens.cli.settings import Settings
from bpflens.errors import InputError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.formats.snapshot.archive import Archive

EXAMPLES = (
    "bpflens export x.bpfsnap#map:counters",
    "bpflens export x.bpfsnap#map:counters --format csv",
    "bpflens export x.bpfsnap#map:counters --format bpftool -o counters.json",
    "bpflens export x.bpfsnap#handle --format elf -o handle.o",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("target", metavar="FILE#WHAT", help="a map or a program of a snapshot")
    parser.add_argument("--format", choices=("csv", "jsonl", "bpftool", "parquet", "elf"), help="default: jsonl for maps, elf for programs")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: standard output, where the format is text")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Write the map or the program."""
    from bpflens.formats.snapshot.archive import Archive

    path, mark, part = args.target.rpartition("#")
    if not mark:
        raise UsageError(args.target, "names no map and no program", "write FILE#map:NAME or FILE#ID")
    with Archive(path) as archive:
        if part.startswith("map:"):
            if args.format == "elf":
                raise UsageError("--format", "elf is for programs")
            return _map(archive, part[4:], args.format or "jsonl", args.output)
        if args.format not in (None, "elf"):
            raise UsageError("--format", f"{args.format} is for maps: FILE#map:NAME")
        return _programs(archive, part, args.output)


def _map(archive: Archive, name: str, format: str, output: str | None) -> int:
    from bpflens.formats.snapshot.programs import select_maps
    from bpflens.formats.whole_file import whole_file
    from bpflens.snapshot.export import write_map

    maps = select_maps(archive, name)
    if len(maps) > 1:
        ids = ", ".join(str(map.id) for map in maps)
        raise InputError(f"{archive.path}#map:{name}", f"names {len(maps)} maps", f"by id: {ids}")
    if output is None or format == "parquet":
        write_map(archive, maps[0], format, sys.stdout, output)
        return 0
    with whole_file(output, _PRIVATE) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        write_map(archive, maps[0], format, text, output)
        text.flush()
        text.detach()
    return 0


def _programs(archive: Archive, name: str, output: str | None) -> int:
    from bpflens.formats.whole_file import write_whole
    from bpflens.snapshot.export import object_of

    programs = [item for item in archive.manifest.programs if name in (str(item.id), item.name, item.full_name, "")]
    if not programs:
        raise InputError(f"{archive.path}#{name}", "no such program", "bpflens show lists them")
    if output is None:
        raise UsageError("-o", "an object is written to a file: -o FILE")
    write_whole(output, object_of(archive, programs), _PRIVATE)
    return 0


_PRIVATE = 0o600  # contents of maps may be secrets: a new file is the owner's only

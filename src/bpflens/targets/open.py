"""A target of the command line -> the programs that it names.

    "id:12"  "dev:eth0"  "x.o#xdp"  "-"  "pcap:tcp port 80"   ──►   list[Program]

Prefixes are looked up in a table; everything else is a file whose content says what it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from bpflens.errors import InputError, NoCode, NotFound, NothingThere, UsageError
from bpflens.lean import frozen
from bpflens.program import Map, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ("PREFIXES", "WRITTEN", "Opened", "Options", "open_maps", "open_target", "open_with_maps", "read_input", "read_target")

_TABLES = ("ss", "tc", "iptables", "iptables-save", "nft")  # sources whose programs are rows of something larger
WRITTEN = {
    "id": "id:N", "name": "name:NAME", "tag": "tag:HEX", "pin": "pin:PATH", "map": "map:N or map:NAME", "link": "link:N", "fd": "fd:PID/FD",
    "pid": "pid:N or pid:self", "sock": "sock:INODE", "dev": "dev:INTERFACE", "cgroup": "cgroup:PATH (the root is cgroup:/)",
    "netns": "netns:NAME",
}  # fmt: skip
_HEAD_BYTES = 1 << 16
"""Bytes that tell what an input is: its kind has a limit, because /dev/zero never ends and a sparse file is as long as one likes."""


@frozen
class Options:
    """What the command line says about reading: `linktype` (DLT name without "DLT_"), `given` assumptions, machine code
    wanted, an `isa` ("classic", "extended") for code that could be either."""

    linktype: str | None = None
    given: tuple[str, ...] = ()
    jited: bool = False
    optimize: bool = True
    isa: str | None = None


@frozen
class Opened:
    """What a target names. `text`: the whole input, where it is a table of which each program is a row, so that rows may be printed again.
    `nothing`: why there is no program in a table that may have some.
    """

    programs: list[Program]
    text: str | None = None
    nothing: NothingThere | None = None


def open_target(target: str, options: Options | None = None) -> list[Program]:
    """Every program that `target` names, at least one; InputError or KernelError where there is none."""
    opened = read_target(target, options)
    if opened.nothing is not None:
        raise opened.nothing
    return opened.programs


def read_target(target: str, options: Options | None = None) -> Opened:
    """The programs that `target` names, with the text they came in; InputError or KernelError where it cannot be read."""
    options = options or Options()
    prefix, colon, rest = target.partition(":")
    reader = PREFIXES.get(prefix) if colon else None
    _require_name(target)
    if reader is not None:
        return Opened(reader(rest, options))
    return _file(target, options)


def open_maps(target: str) -> list[Map]:
    """The maps of an object file that may have no code; empty for any other target."""
    if (target.partition(":")[0] in PREFIXES and ":" in target) or target == "-":
        return []
    from bpflens.formats.elf.programs import read_maps_of

    return list(read_maps_of(read_input(target), target)[0])


def open_with_maps(target: str, options: Options | None = None) -> tuple[list[Map], list[Program]]:
    """The maps that a target names itself (map:N, an object file without code), and its programs, of an object file by function.

    InputError or KernelError where there is neither.
    """
    from bpflens.formats.elf.parts import by_function

    kind, colon, name = target.partition(":")
    maps: list[Map] = []
    _require_name(target)
    if kind == "map" and colon:
        from bpflens.targets.kernel_object import maps_named

        maps = maps_named(name)
    try:
        return maps, [part for program in open_target(target, options) for part in by_function(program)]
    except (NotFound, NoCode):
        maps = maps or open_maps(target)
        if not maps:
            raise
        return maps, []  # maps that no program uses


def _require_name(target: str) -> None:
    prefix, colon, rest = target.partition(":")
    if colon and not rest and prefix in WRITTEN:
        raise UsageError("", f'"{target}" names nothing', f"it is written {WRITTEN[prefix]}")


def _meant(path: str) -> str | None:
    """What a name that is no file's may stand for: an expression, a number, or a slip of the pen in a target's prefix."""
    prefix, colon, rest = path.partition(":")
    if path.isascii() and path.isdigit():
        return f'did you mean "id:{path}"?'
    if colon and prefix.isalpha():
        import difflib

        close = difflib.get_close_matches(prefix.lower(), list(PREFIXES), 1)
        if close:
            return f'did you mean "{close[0]}:{rest}"?'
    return 'an expression is written "pcap:EXPRESSION"' if " " in path else None


def read_input(path: str) -> bytes:
    """The bytes of a file, or of standard input for "-"; InputError where it cannot be read, or does not end."""
    if path == "-":
        if sys.stdin is None:
            raise InputError("standard input", "is closed")
        return _bounded(sys.stdin.buffer, path)
    if not path:
        raise InputError('""', "is no name of a file")
    try:
        with open(path, "rb") as stream:
            return _bounded(stream, path)
    except OSError as error:
        raise InputError(path, error.strerror or str(error), _meant(path) if isinstance(error, FileNotFoundError) else None) from None
    except ValueError as error:
        raise InputError(repr(path), str(error)) from None


def _bounded(stream: BinaryIO, path: str) -> bytes:
    """All that a source can need: up to the limit of what the first bytes say it is."""
    from bpflens.formats.dumps.detect import limit_of

    head = stream.read(_HEAD_BYTES)
    kind, limit = limit_of(head)
    pieces, size = [head], len(head)
    while size <= limit and (piece := stream.read(1 << 20)):
        pieces.append(piece)
        size += len(piece)
    if size > limit:
        raise InputError(path, f"is longer than the {limit >> 20} MiB that are read of {kind}")
    return b"".join(pieces)


def _file(target: str, options: Options) -> Opened:
    import os

    from bpflens.formats.dumps.detect import read_programs
    from bpflens.formats.snapshot.magic import is_snapshot

    path, part = target, ""
    if not os.path.exists(target) and "#" in target:
        path, _, part = target.rpartition("#")
    if is_snapshot(path):
        from bpflens.formats.snapshot.programs import read_snapshot

        return Opened(read_snapshot(path, part))
    data = read_input(path)
    try:
        programs = read_programs(data, path, part=part, linktype=options.linktype, isa=options.isa)
    except NothingThere as nothing:
        return Opened([], data.decode("utf-8", "replace"), nothing)
    is_table = bool(programs) and all(p.origin.source in _TABLES and p.origin.lineno and p.origin.line is not None for p in programs)
    return Opened(programs, data.decode("utf-8", "replace") if is_table else None)


def _pcap(expression: str, options: Options) -> list[Program]:
    from bpflens.formats.pcap.libpcap import compile_program

    return [compile_program(expression, options.linktype or "EN10MB", optimize=options.optimize)]


def _live(kind: str) -> Callable[[str, Options], list[Program]]:
    def read(name: str, options: Options) -> list[Program]:
        from bpflens.targets.kernel_object import open_live

        return open_live(kind, name, jited=options.jited)

    return read


PREFIXES: dict[str, Callable[[str, Options], list[Program]]] = {
    "pcap": _pcap,
    **{
        kind: _live(kind)
        for kind in ("id", "name", "tag", "pin", "map", "link", "fd", "pid", "sock", "dev", "cgroup", "netns")
    },
}

"""A target of the command line -> the programs that it names.

    "id:12"  "dev:eth0"  "x.o#xdp"  "-"  "pcap:tcp port 80"   ──►   list[Program]

Prefixes are looked up in a table; everything else is a file whose content says what it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from bpflens.errors import InputError
from bpflens.program import Map, Program

__all__ = ("PREFIXES", "Options", "open_maps", "open_target", "read_input")

_HEAD_BYTES = 1 << 16
"""Bytes that tell what an input is: its kind has a limit, because /dev/zero never ends and a sparse file is as long as one likes."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about reading: `linktype` (DLT name without "DLT_"), `given` assumptions, machine code
    wanted, an `isa` ("classic", "extended") for code that could be either."""

    linktype: str | None = None
    given: tuple[str, ...] = ()
    jited: bool = False
    optimize: bool = True
    isa: str | None = None


def open_target(target: str, options: Options | None = None) -> list[Program]:
    """Every program that `target` names, at least one; InputError or KernelError where there is none."""
    options = options or Options()
    prefix, colon, rest = target.partition(":")
    reader = PREFIXES.get(prefix) if colon else None
    if reader is not None:
        return reader(rest, options)
    return _file(target, options)


def open_maps(target: str) -> list[Map]:
    """The maps of an object file that may have no code; empty for any other target."""
    if (target.partition(":")[0] in PREFIXES and ":" in target) or target == "-":
        return []
    from bpflens.formats.elf.programs import read_maps_of

    return list(read_maps_of(read_input(target), target)[0])


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
        hint = 'an expression is written "pcap:EXPRESSION"' if " " in path else None
        raise InputError(path, error.strerror or str(error), hint) from None
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


def _file(target: str, options: Options) -> list[Program]:
    import os

    from bpflens.formats.dumps.detect import read_programs
    from bpflens.formats.snapshot.magic import is_snapshot

    path, part = target, ""
    if not os.path.exists(target) and "#" in target:
        path, _, part = target.rpartition("#")
    if is_snapshot(path):
        from bpflens.formats.snapshot.programs import read_snapshot

        return read_snapshot(path, part)
    return read_programs(read_input(path), path, part=part, linktype=options.linktype, isa=options.isa)


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

"""What a program reads: whole fields by name, however they were put together."""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.bits import byte_run
from bpflens.decompile.summary.walk.sources import Scope
from bpflens.decompile.summary.words.naming import Namer

__all__ = ("note_reads",)

_PLACES = frozenset(("ctx", "packet", "data", "kernel"))


def note_reads(expr: ir.Expr, slots: ir.Slots, scope: Scope, namer: Namer, read: dict[str, ir.Slots]) -> None:
    """The named things that an expression reads: whole fields, however they were put together."""
    pending = [expr]
    while pending:
        node = pending.pop()
        if not any(load.place.kind in _PLACES or load.place.kind == "" for load in _loads(node)):
            continue
        bits = scope.bits(node)
        run = byte_run(bits) if bits is not None else None
        if run is None:
            pending.extend(ir.children(node))
        elif run[0].kind in _PLACES and not scope.is_packet_start(node) and not scope.is_packet_end(node):
            name = namer.name_bytes(run[0], run[1], run[2], namer.layers).text
            read[name] = ir.join_slots(read.get(name, ()), slots)


def _loads(expr: ir.Expr) -> Iterator[ir.Load]:
    pending = [expr]
    while pending:
        node = pending.pop()
        if isinstance(node, ir.Load):
            yield node
        pending.extend(ir.children(node))

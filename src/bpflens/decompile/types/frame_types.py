"""What the objects in the stack frame are in C: a number, a struct of BTF, a struct made of what is accessed, or bytes.

    u64 at 0 and u32 at 8 of 16 bytes      ──►   struct { __u64 at_0; __u32 at_8; __u8 at_12[4]; }
    passed as the key of a map with BTF    ──►   the key's type

Members that are inferred are called by their offset. Where accesses of different widths overlap, the one that is used most is a member
and the others stay raw accesses, which may alias everything. Cost: linear in the accesses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bpflens.btf.btf import Btf, Kind
from bpflens.decompile import ir
from bpflens.decompile.function import Function, StackObject
from bpflens.decompile.ir import Atomic, Call, Const, Expr, Load, MapRef, StackRef, Store
from bpflens.decompile.types.source_names import struct_named
from bpflens.errors import BpflensError
from bpflens.formats.elf.dwarf.variables import LocalVariable
from bpflens.program import Map

__all__ = ("type_objects",)

_KEY_HELPERS = {1: 1, 2: 1, 3: 1, 52: 1, 195: 1}  # helper -> argument that is a key
_VALUE_HELPERS = {2: 2, 87: 1, 88: 1, 89: 1}


def type_objects(function: Function, maps: Mapping[str, Map], btf: Btf | None, source: Mapping[int, LocalVariable] | None = None) -> None:
    """Give the objects of a function's frame their types. `source`: the variables that the source has there."""
    if not function.objects:
        return
    accesses: dict[int, dict[tuple[int, int], int]] = {start: {} for start in function.objects}
    types: dict[int, set[int]] = {start: set() for start in function.objects}
    for block in function.blocks.values():
        for statement in block.statements:
            if isinstance(statement, Store | Atomic) and isinstance(statement.address, StackRef):
                _count(accesses, statement.address, statement.size, 1 if _is_zero(statement) else 4)
            if isinstance(statement, Call) and statement.kind == "helper" and btf is not None:
                _passed(statement, maps, types)
            for expr in ir.inputs(statement):
                for load in _loads(expr):
                    assert isinstance(load.address, StackRef)
                    _count(accesses, load.address, load.size, 4)
        for end in (block.condition, block.result):
            if end is not None:
                for load in _loads(end):
                    assert isinstance(load.address, StackRef)
                    _count(accesses, load.address, load.size, 4)
    for start, found in list(function.objects.items()):
        known = source.get(start) if source else None
        known = known if known is not None and known.size == found.size else None
        if known is not None and btf is not None and (type_id := struct_named(btf, known.type, known.size)):
            types[start] = {type_id}
        made = _typed(found, accesses[start], types[start], btf)
        if known is not None:
            chars = known.type.startswith("char[")
            members = () if chars else made.members
            if known.members and not made.type_id and all(name[-1] == "]" or at % size == 0 for at, size, name in known.members):
                members = known.members
            made = replace(made, name=known.name, read=True, chars=chars, members=members)
        function.objects[start] = made


def _is_zero(statement: Store | Atomic) -> bool:
    return isinstance(statement, Store) and statement.value == Const(0)


def _count(accesses: dict[int, dict[tuple[int, int], int]], ref: StackRef, size: int, weight: int) -> None:
    spans = accesses[ref.start]
    spans[ref.offset, size] = spans.get((ref.offset, size), 0) + weight


def _loads(expr: Expr) -> Iterator[Load]:
    """Loads straight from the frame."""
    pending = [expr]
    while pending:
        node = pending.pop()
        if isinstance(node, Load) and isinstance(node.address, StackRef):
            yield node
        pending.extend(ir.children(node))


def _passed(call: Call, maps: Mapping[str, Map], types: dict[int, set[int]]) -> None:
    """Keys and values of maps with BTF."""
    of = call.args[0] if call.args else None
    m = maps.get(of.name) if isinstance(of, MapRef) else None
    if m is None:
        return
    for helpers, type_id in ((_KEY_HELPERS, m.key_type_id), (_VALUE_HELPERS, m.value_type_id)):
        index = helpers.get(call.number)
        if index is not None and type_id and index < len(call.args):
            arg = call.args[index]
            if isinstance(arg, StackRef) and arg.offset == 0:
                types[arg.start].add(type_id)


def _typed(found: StackObject, spans: Mapping[tuple[int, int], int], types: set[int], btf: Btf | None) -> StackObject:
    if btf is not None and len(types) == 1:
        (type_id,) = types
        try:
            if btf.size(type_id) == found.size and btf.kind(btf.skip_modifiers(type_id)) in (Kind.STRUCT, Kind.INT, Kind.ENUM):
                return replace(found, type_id=type_id)
        except BpflensError:
            pass
    if any(offset < 0 or offset + size > found.size for offset, size in spans):
        return found
    members = _members(spans)
    if not members or any(offset % size for offset, size in members):
        return found
    if members == [(0, found.size)]:
        return replace(found, members=((0, found.size, ""),))
    return replace(found, members=tuple((offset, size, f"at_{offset}") for offset, size in members))


def _members(spans: Mapping[tuple[int, int], int]) -> list[tuple[int, int]]:
    """Spans that do not overlap: those that are used most, the wider one of equals."""
    chosen: list[tuple[int, int]] = []
    taken: set[int] = set()
    for (offset, size), _ in sorted(spans.items(), key=lambda item: (-item[1], -item[0][1], item[0][0])):
        if taken.isdisjoint(range(offset, offset + size)):
            taken.update(range(offset, offset + size))
            chosen.append((offset, size))
    return sorted(chosen)

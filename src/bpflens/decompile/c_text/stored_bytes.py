"""Constants that are stored into the stack one word at a time, as what they were: strings, and zeros.

    stack_16.at_0 = 0x6f77206f6c6c6568; stack_16.at_8 = 0x646c72;    ──►   char stack_16[16] = "hello world";
    event.at_0 = 0; event.at_8 = 0; event.at_16 = 0;                 ──►   struct event event = {};

An initialiser is written where the stores come before anything else of the function can see the object, and write all of it; elsewhere
__builtin_memcpy and __builtin_memset of just the bytes that are stored. Cost: linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bpflens.btf.btf import Btf, Kind
from bpflens.decompile import ir
from bpflens.decompile.function import Function, StackObject
from bpflens.decompile.ir import Const, StackRef, Store
from bpflens.decompile.tree import Node, Simple, Tree

__all__ = ("Initial", "Run", "initial_values", "literal", "run_at")

_SHORTEST_TEXT = 4
_SHORTEST_ZEROS = 16
_ESCAPES = {10: "\\n", 9: "\\t", 13: "\\r", 34: '\\"', 92: "\\\\"}


class Run(NamedTuple):
    """Stores that follow each other in the text: `length` nodes, the bytes `data` from `offset` of object `start` on."""

    length: int
    start: int
    offset: int
    data: bytes
    slots: ir.Slots


@dataclass(frozen=True, slots=True)
class Initial:
    """What an object begins as: C after its declarator, and the instructions of the stores."""

    text: str
    slots: ir.Slots
    is_text: bool


def literal(data: bytes, shortest: int = _SHORTEST_TEXT) -> str | None:
    """The string literal of bytes that are a text, then zeros to the end (or none); None where they are not, or are short."""
    text = data.rstrip(b"\0")
    if len(text) < shortest or not all(byte in _ESCAPES or 32 <= byte < 127 for byte in text):
        return None
    return '"' + "".join(_ESCAPES.get(byte, chr(byte)) for byte in text) + '"'


def _constant_store(node: Node) -> tuple[StackRef, bytes] | None:
    """(where, what) of a store of a constant to the stack."""
    if type(node) is not Simple or type(node.statement) is not Store:
        return None
    store = node.statement
    if type(store.address) is not StackRef or type(store.value) is not Const:
        return None
    return store.address, (store.value.value & ((1 << 8 * store.size) - 1)).to_bytes(store.size, "little")


def run_at(nodes: Tree, index: int) -> Run | None:
    """The strings or zeros that are stored from a node on; None where there are none."""
    found: dict[int, int] = {}
    slots: ir.Slots = ()
    start, at, best = 0, index, None
    while at < len(nodes):
        store = _constant_store(nodes[at])
        if store is None or (at > index and store[0].start != start):
            break
        ref, data = store
        start = ref.start
        span = range(ref.offset, ref.offset + len(data))
        if any(byte in found for byte in span):
            break
        found.update(zip(span, data, strict=True))
        slots = ir.join_slots(slots, nodes[at].slots)
        at += 1
        low, high = min(found), max(found) + 1
        if high - low != len(found):
            continue
        whole = bytes(found[byte] for byte in range(low, high))
        zeros = not any(whole) and len(whole) >= _SHORTEST_ZEROS and at - index >= 2
        if zeros or (low >= 0 and literal(whole) is not None and 0 not in whole.rstrip(b"\0")):
            best = Run(at - index, start, low, whole, slots)
    return best


def initial_values(tree: Tree, function: Function, btf: Btf | None) -> tuple[dict[int, Initial], Tree]:
    """(object -> what it begins as, the tree without the stores that say so)."""
    written: dict[int, dict[int, int]] = {}
    nodes: dict[int, list[int]] = {}
    closed: set[int] = set()
    for index, node in enumerate(tree):
        if type(node) is not Simple:
            break
        store = _constant_store(node)
        if store is not None and store[0].start not in closed:
            ref, data = store
            known = written.setdefault(ref.start, {})
            span = range(ref.offset, ref.offset + len(data))
            if any(byte in known for byte in span) or (len(known) == function.objects[ref.start].size):
                closed.add(ref.start)
                continue
            known.update(zip(span, data, strict=True))
            nodes.setdefault(ref.start, []).append(index)
            continue
        closed |= _objects_of(node.statement)
    out: dict[int, Initial] = {}
    gone: set[int] = set()
    for start, known in written.items():
        found = function.objects[start]
        data = bytes(known.get(byte, 0) for byte in range(found.size))
        text = _initial(found, data, btf) if len(known) == found.size and min(known) == 0 else None
        if text is not None:
            slots: ir.Slots = ()
            for index in nodes[start]:
                slots = ir.join_slots(slots, tree[index].slots)
            out[start] = Initial(text, slots, text.startswith('"'))
            gone.update(nodes[start])
    return out, tuple(node for index, node in enumerate(tree) if index not in gone)


def _initial(found: StackObject, data: bytes, btf: Btf | None) -> str | None:
    """What an object of a type is initialised with."""
    of_type = btf.kind(btf.skip_modifiers(found.type_id)) if btf is not None and found.type_id else None
    if (len(found.members) == 1 and not found.members[0][2]) or of_type in (Kind.INT, Kind.ENUM, Kind.ENUM64, Kind.PTR):
        return None  # a plain number: an assignment does, and `= {}` is no C before C23
    if not any(data):
        return "{}" if btf is None or not found.type_id or _without_gaps(btf, found.type_id, found.size) else None
    return literal(data, 1 if found.chars else _SHORTEST_TEXT) if not found.type_id and 0 not in data.rstrip(b"\0") else None


def _without_gaps(btf: Btf, type_id: int, size: int) -> bool:
    """Has a struct no padding? C need not set that."""
    id = btf.skip_modifiers(type_id)
    if btf.kind(id) is not Kind.STRUCT:
        return btf.kind(id) in (Kind.INT, Kind.ENUM, Kind.ENUM64, Kind.PTR)
    end = 0
    for member in btf.members(id):
        if member.bit_size or member.bit_off != 8 * end:
            return False
        inner = btf.skip_modifiers(member.type_id)
        length = btf.size(inner)
        if btf.kind(inner) in (Kind.STRUCT, Kind.UNION) and not _without_gaps(btf, inner, length):
            return False
        if btf.kind(inner) is Kind.ARRAY and not _without_gaps(btf, btf.array(inner)[0], 0):
            return False
        end += length
    return not size or end == size


def _objects_of(statement: ir.Statement) -> set[int]:
    """The objects that a statement names."""
    out = set()
    pending = list(ir.inputs(statement))
    while pending:
        node = pending.pop()
        if type(node) is StackRef:
            out.add(node.start)
        pending.extend(ir.children(node))
    return out

"""Which places may hold something else than before the program ran.

    *(u16 *)(pkt + 36) = 80       ──►   bytes 36 and 37 of the packet are no longer what came in
    bpf_xdp_adjust_head(ctx, 20)  ──►   no byte of the packet is where it was

A value that is read from such a place has no name. One that was read before keeps its name, with "before it was changed".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from bpflens.decompile import ir
from bpflens.decompile.tree import For, Simple, Tree, walk

__all__ = ("EVERYTHING", "Writes", "Written", "writes_of")

Writes: TypeAlias = frozenset[tuple[str, str]]
"""(kind, what) of places: ("packet", ""), ("value", map), ("data", section), ("ctx", ""), ("entries", map)."""

EVERYTHING: Writes = frozenset({("packet", ""), ("ctx", ""), ("value", "*"), ("data", "*"), ("entries", "*"), ("kernel", "*")})
_KNOWN = frozenset(("packet", "ctx", "value", "data"))
_LOOKUPS = ("bpf_map_lookup_elem", "bpf_map_lookup_percpu_elem")
_APART = frozenset(("frame", "mem", "packet_meta"))  # the stack is followed elsewhere; memory that helpers gave
_MOVES_PACKET = (
    "bpf_skb_store_bytes", "bpf_skb_change_", "bpf_skb_adjust_room", "bpf_skb_vlan_", "bpf_xdp_adjust_", "bpf_xdp_store_bytes",
    "bpf_l3_csum_replace", "bpf_l4_csum_replace", "bpf_lwt_", "bpf_msg_p", "bpf_msg_apply", "bpf_msg_cork", "bpf_skb_pull_data",
)  # fmt: skip
_PULLS = ("bpf_skb_pull_data", "bpf_msg_pull_data")  # the same bytes, maybe elsewhere in memory
_CHANGES_CONTEXT = (
    "bpf_skb_change_", "bpf_skb_vlan_", "bpf_skb_adjust_room", "bpf_set_hash", "bpf_skb_set_tunnel", "bpf_sock_ops_cb_flags_set",
)  # fmt: skip
_CHANGES_ENTRIES = ("bpf_map_update_elem", "bpf_map_delete_elem", "bpf_map_push_elem", "bpf_map_pop_elem",
                    "bpf_sock_map_update", "bpf_sock_hash_update")  # fmt: skip


def writes_of(trees: Mapping[str, Tree]) -> dict[str, Writes]:
    """What each function writes, with all that it calls. A function that is not in `trees` writes everything."""
    own = {name: frozenset[tuple[str, str]]().union(*map(_written_by, _statements(tree))) for name, tree in trees.items()}
    calls = {name: set(_called(tree)) for name, tree in trees.items()}
    changed = True
    while changed:
        changed = False
        for name, callees in calls.items():
            more = own[name].union(*(own.get(callee, EVERYTHING) for callee in callees))
            changed |= more != own[name]
            own[name] = more
    return own


def _statements(tree: Tree) -> Iterable[ir.Statement]:
    for node in walk(tree):
        if isinstance(node, Simple):
            yield node.statement
        elif isinstance(node, For):
            yield from (each for each in (node.first, node.step) if each is not None)


def _called(tree: Tree) -> Iterable[str]:
    for statement in _statements(tree):
        if isinstance(statement, ir.Call):
            yield from _callees(statement)


def _callees(call: ir.Call) -> Iterable[str]:
    """The functions that a call runs: its own, and callbacks."""
    if call.kind == "function":
        yield call.name
    yield from (arg.name for arg in call.args if isinstance(arg, ir.FuncRef))


def _written_by(statement: ir.Statement) -> Writes:
    """What a statement writes beside the stack, without what the functions that it calls write."""
    if isinstance(statement, ir.Store | ir.Atomic):
        place = statement.place
        if place.kind in _APART:
            return frozenset()
        if not place.kind and _names_field(statement.address):
            return frozenset({("kernel", "*")})
        return frozenset({(place.kind, place.what or "*" * (place.kind == "value"))}) if place.kind in _KNOWN else EVERYTHING
    if isinstance(statement, ir.Asm):
        return EVERYTHING
    if not isinstance(statement, ir.Call):
        return frozenset()
    found: set[tuple[str, str]] = set()
    if statement.name.startswith(_MOVES_PACKET) and statement.name not in _PULLS:
        found.add(("packet", ""))
    if statement.name.startswith(_CHANGES_CONTEXT):
        found.add(("ctx", ""))
    if statement.name in _CHANGES_ENTRIES:
        first = statement.args[0] if statement.args else None
        what = first.name if isinstance(first, ir.MapRef) else "*"
        found |= {("entries", what), ("value", what)}
    if statement.kind == "kfunc":
        found |= EVERYTHING
    return frozenset(found)


def _names_field(address: ir.Expr) -> bool:
    """A CO-RE record says that the address is in a structure of the kernel."""
    return isinstance(address, ir.CoreRef) or any(map(_names_field, ir.children(address)))


@dataclass(slots=True)
class Written:
    """(kind, what) -> the (offset, size) that may have been written, None for all. `functions`: what each function of the unit writes."""

    functions: Mapping[str, Writes] = field(default_factory=dict)
    places: dict[tuple[str, str], frozenset[tuple[int, int]] | None] = field(default_factory=dict)
    looked_up: dict[str, frozenset[int]] = field(default_factory=dict)  # map -> first instructions of the look-ups that may have been made

    def copy(self) -> Written:
        """The same, to go on with alone."""
        return Written(self.functions, dict(self.places), dict(self.looked_up))

    def join(self, other: Written) -> None:
        """What one way or the other has written."""
        for key, spans in other.places.items():
            mine = self.places.get(key, frozenset())
            self.places[key] = None if mine is None or spans is None else mine | spans
        for name, calls in other.looked_up.items():
            self.looked_up[name] = self.looked_up.get(name, frozenset()) | calls

    def note(self, statement: ir.Statement) -> None:
        """A statement has run."""
        span: tuple[int, int] | None = None
        if isinstance(statement, ir.Store | ir.Atomic) and statement.place.kind in _KNOWN and statement.place.offset is not None:
            span = statement.place.offset, statement.size
        writes = _written_by(statement)
        if isinstance(statement, ir.Call) and statement.name in _LOOKUPS and isinstance(statement.args[0], ir.MapRef):
            name = statement.args[0].name
            self.looked_up[name] = self.looked_up.get(name, frozenset()) | {statement.slots[0] if statement.slots else 0}
        if isinstance(statement, ir.Call):
            writes = writes.union(*(self.functions.get(name, EVERYTHING) for name in _callees(statement)))
        for key in writes:
            spans = self.places.get(key, frozenset())
            self.places[key] = spans | {span} if span is not None and spans is not None else None

    def note_all(self, tree: Tree) -> None:
        """Any of a tree's statements may have run, any number of times."""
        for statement in _statements(tree):
            self.note(statement)

    def is_one_entry(self, map: str) -> bool:
        """At most one look-up in a map may have been made: a value of it is of one certain entry."""
        return len(self.looked_up.get(map, ())) < 2

    def covers(self, kind: str, what: str, at: int = 0, size: int = 1) -> bool:
        """These bytes may have been written."""
        for name in (what, "*"):
            spans = self.places.get((kind, name), frozenset())
            if spans is None or any(at < start + length and start < at + size for start, length in spans):
                return True
        return what == "*" and any(key[0] == kind for key in self.places)

"""Which accesses of a packet are fields of protocol headers: what the tests on the way to them say.

    if (*(u16 *)(data + 12) == 8)          an Ethernet frame with IPv4: data + 14 is an IP header
        if (*(u8 *)(data + 23) == 6)       with TCP: data + 34 is a TCP header, and so is data + 14 + 4 * ihl
            *(u16 *)(data + 36)       ──►  destination port

Packets of XDP and tc programs begin with an Ethernet header. Further headers follow from comparisons of EtherType,
protocol or next header that hold on every path to the access. What is changed later in the packet does not change where headers are. An
access is named only where it is exactly a field: the same offset and size. So names cannot change what the program does.

After calls that move the start of the packet nothing is said of it.

Algorithm: forward analysis over blocks in reverse postorder; facts of blocks that meet are those that all have. Cost: two linear rounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Block, Expr
from bpflens.decompile.lift.regions import postorder
from bpflens.decompile.lift.webs import Webs
from bpflens.decompile.types.header_fields import ETHERTYPES, HEADERS, LENGTHS, MOVES, PROTOCOLS, Field
from bpflens.isa.extended.contexts import field_at
from bpflens.isa.extended.uapi import ProgType

__all__ = ("PacketFields", "find_packet_fields", "meaning_of")

_AT_ETHERNET = frozenset((ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.XDP))
# fields of contexts whose numbers are not plain: (struct, field) -> meaning
_CONTEXT = {
    ("__sk_buff", "protocol"): "ethertype", ("__sk_buff", "remote_ip4"): "be32", ("__sk_buff", "local_ip4"): "be32",
    ("bpf_sock_addr", "user_ip4"): "be32", ("bpf_sock_addr", "user_port"): "be16", ("bpf_sock_addr", "protocol"): "protocol",
}  # fmt: skip

Fact: TypeAlias = tuple[int, int, str]
"""(pointer variable, bytes behind it, what is known of that place)."""
Facts: TypeAlias = frozenset[Fact]
_MAX_FACTS = 200
_ROUNDS = 4


@dataclass(slots=True)
class PacketFields:
    """`loads` by the slot of the load, `stores` by the slots of the statement; `webs`: what variables that hold one mean. `context`: the
    struct of the context, whose fields may have a meaning, too.
    """

    context: str = ""
    loads: dict[int, Field] = field(default_factory=dict)
    stores: dict[ir.Slots, Field] = field(default_factory=dict)
    webs: dict[int, str] = field(default_factory=dict)


def find_packet_fields(function: Function, webs: Webs, prog_type: int, context: str) -> PacketFields:
    """The fields that accesses of an entry function are."""
    found = PacketFields(context)
    finder = _Finder(function, webs, context)
    if prog_type in _AT_ETHERNET and finder.starts:
        finder.run()
        finder.name(found)
    for _ in range(_ROUNDS):
        before = len(found.webs)
        found.webs = _meanings(function, found)
        if len(found.webs) == before:
            break
    return found


def _meanings(function: Function, fields: PacketFields) -> dict[int, str]:
    """What variables mean: what all that they are ever given means."""
    meanings: dict[int, set[str]] = {}
    for block in function.blocks.values():
        for statement in block.statements:
            if isinstance(statement, Assign):
                meanings.setdefault(statement.var, set()).add(meaning_of(statement.value, fields))
            elif not isinstance(statement, ir.Store) and statement.var is not None:
                meanings.setdefault(statement.var, set()).add("")
    for web in (*function.arguments.values(),):
        meanings.setdefault(web, set()).add("")
    return {web: known.pop() for web, known in meanings.items() if len(known) == 1 and known != {""}}


def meaning_of(expr: Expr, fields: PacketFields) -> str:
    """What a number means: the meaning of the field that it is, "" where it is none."""
    while isinstance(expr, ir.Zext):
        expr = expr.operand
    if isinstance(expr, ir.Load):
        known = fields.loads.get(expr.slot)
        return known.meaning if known is not None else _CONTEXT.get((fields.context, _context_field(expr, fields.context)), "")
    return fields.webs.get(expr.id, "") if isinstance(expr, ir.Var) else ""


def _context_field(load: ir.Load, context: str) -> str:
    if load.place.kind != "ctx" or load.place.offset is None:
        return ""
    known = field_at(context, load.place.offset, load.size)
    return known.name if known is not None and known.size == load.size else ""


class _Finder:
    """Facts at the start of each block. What a fact says of the place `offset` bytes behind a pointer variable:

    ip              there is an IP header (any key of HEADERS)
    ihl tcp         there is an IP header, and TCP follows it, behind its options
    type 4          variable 4 holds the EtherType of what is there; "swapped 4": with its bytes swapped
    proto 4         variable 4 holds the protocol of the header that is there
    = 2             the variable is variable 2 plus the offset
    behind 2 14     the variable is behind the IP header, with its options, that is at variable 2 plus 14
    """

    def __init__(self, function: Function, webs: Webs, context: str) -> None:
        self.function, self.webs, self.context = function, webs, context
        self.values: dict[int, Expr] = {}
        for block in function.blocks.values():
            for statement in block.statements:
                if isinstance(statement, Assign) and webs.single(statement.var):
                    self.values[statement.var] = statement.value
        moved = _moved(function)
        self.starts = {
            statement.var for id, block in function.blocks.items() if id not in moved for statement in block.statements
            if isinstance(statement, Assign) and statement.var in self.values and _is_data(statement.value, context)
        }  # fmt: skip
        self.facts: dict[int, Facts] = {}

    def place(self, address: Expr) -> tuple[int, int] | None:
        """The pointer that an address is counted from, and how many bytes behind it. A variable with several definitions is followed no
        further than to itself.
        """
        found: tuple[int, int] | None = None
        offset = 0
        for _ in range(32):
            if isinstance(address, ir.Binary) and address.op == "+" and address.width == 64 and isinstance(address.right, ir.Const):
                offset += _signed(address.right.value)
                address = address.left
            elif isinstance(address, ir.Var):
                if self.webs.single(address.id) or found is None:
                    found = address.id, offset
                value = self.values.get(address.id)
                if address.id in self.starts or value is None or not isinstance(value, (ir.Binary, ir.Var)):
                    return found
                address = value
            else:
                return found
        return found

    def run(self) -> None:
        """Two rounds: loops begin with nothing."""
        function = self.function
        order = postorder(function.blocks, function.entry)
        out: dict[tuple[int, int], Facts] = {}
        seen: set[int] = set()
        for _ in range(2):
            for id in order:
                block = function.blocks[id]
                known = [facts for source in block.predecessors if (facts := out.get((source, id))) is not None]
                loops = any(source not in seen for source in block.predecessors)
                facts = frozenset.intersection(*known) if known and not loops else frozenset()
                self.facts[id] = facts
                seen.add(id)
                for statement in block.statements:
                    facts = self.after(statement, facts)
                for which, target in enumerate(block.successors):
                    told = self.told(block.condition, bool(which), facts) if len(block.successors) == 2 and block.condition else frozenset()
                    out[id, target] = self.closed(facts | told)

    def after(self, statement: ir.Statement, facts: Facts) -> Facts:
        """The facts after a statement."""
        if not isinstance(statement, Assign):
            var = None if isinstance(statement, ir.Store) else statement.var
            return facts if var is None else _without(facts, var)
        var, value = statement.var, statement.value
        facts = _without(facts, var)
        if var in self.starts:
            return facts | {(var, 0, "eth")}
        while isinstance(value, ir.Zext):
            value = value.operand
        learnt = frozenset(self.learnt(var, value, facts))
        return self.closed(facts | learnt) if learnt else facts

    def learnt(self, var: int, value: Expr, facts: Facts) -> Iterator[Fact]:
        """What is known of a variable that gets a value."""
        swapped = isinstance(value, ir.Swap) and value.bits == 16
        load = value.operand if isinstance(value, ir.Swap) and swapped else value
        if isinstance(load, ir.Load):
            for anchor, offset, header, known in self.at(load.address, load.size, facts):
                if known.meaning == "ethertype" and header in LENGTHS:
                    yield anchor, offset + LENGTHS[header], f"{'swapped' if swapped else 'type'} {var}"
                elif known.meaning == "protocol":
                    yield anchor, offset, f"proto {var}"
            return
        if isinstance(value, ir.Var):
            yield from ((anchor, offset, f"{what.split()[0]} {var}") for anchor, offset, what in facts if _of(what, value.id))
        at = self.place(value)
        if at is not None and at[0] != var:
            yield var, at[1], f"= {at[0]}"
        if isinstance(value, ir.Binary) and value.op == "+" and value.width == 64 and not isinstance(value.right, ir.Const):
            for base, length in ((value.left, value.right), (value.right, value.left)):
                at = self.place(base)
                if at is not None and self.is_length(length, at):
                    yield var, 0, f"behind {at[0]} {at[1]}"

    def at(self, address: Expr, size: int, facts: Facts) -> Iterator[tuple[int, int, str, Field]]:
        """(variable, offset of the header, header, field) that an access may be."""
        place = self.place(address)
        if place is None:
            return
        pointer, behind = place
        for anchor, offset, header in facts:
            if anchor == pointer and header in HEADERS:
                known = HEADERS[header].get((behind - offset, size))
                if known is not None:
                    yield anchor, offset, header, known

    def told(self, condition: Expr, holds: bool, facts: Facts) -> Facts:
        """What is known where a condition holds or does not."""
        if isinstance(condition, ir.Not):
            return self.told(condition.operand, not holds, facts)
        if isinstance(condition, (ir.And, ir.Or)):
            left, right = self.told(condition.left, holds, facts), self.told(condition.right, holds, facts)
            return left | right if holds == isinstance(condition, ir.And) else left & right
        if isinstance(condition, ir.Compare) and condition.op == ("==" if holds else "!=") and isinstance(condition.right, ir.Const):
            return frozenset(self.equal(condition.left, condition.right.value, facts))
        return frozenset()

    def equal(self, left: Expr, value: int, facts: Facts) -> Iterator[Fact]:
        """A field is just this number."""
        while isinstance(left, ir.Zext):
            left = left.operand
        if isinstance(left, ir.Var):
            for anchor, offset, what in facts:
                if _of(what, left.id):
                    of = [header for a, o, header in facts if (a, o) == (anchor, offset) and header in ("ip", "ipv6")]
                    yield from _next(anchor, offset, what.split()[0], value, *of[:1])
            left = self.values.get(left.id, left)
            if isinstance(left, ir.Load) and left.place.kind != "ctx":
                return  # facts say it, as far as it is known
        kind = "type"
        if isinstance(left, ir.Swap) and left.bits == 16:
            left, kind = left.operand, "swapped"
        if not isinstance(left, ir.Load):
            return
        if (self.context, _context_field(left, self.context)) == ("__sk_buff", "protocol"):
            for start in self.starts:
                yield from _next(start, 14, kind, value)
        for anchor, offset, header, known in self.at(left.address, left.size, facts):
            if known.meaning == "ethertype" and header in LENGTHS:
                yield from _next(anchor, offset + LENGTHS[header], kind, value)
            elif known.meaning == "protocol":
                yield from _next(anchor, offset, "proto", value, header)

    def closed(self, facts: Facts) -> Facts:
        """With what is known of the same place by another variable, and of what is behind IP options."""
        while True:
            more: set[Fact] = set()
            for var, offset, what in facts:
                kind, _, rest = what.partition(" ")
                if kind == "=":
                    more |= {(var, at - offset, said) for anchor, at, said in facts if anchor == int(rest) and said[0] != "="}
                    more |= {(int(rest), at + offset, said) for anchor, at, said in facts if anchor == var and said[0] != "="}
                elif kind == "behind":
                    anchor_, at_ = map(int, rest.split())
                    more |= {(var, 0, said.split()[1]) for anchor, at, said in facts
                             if (anchor, at) == (anchor_, at_) and said.startswith("ihl ")}
            if more <= facts or len(facts) > _MAX_FACTS:
                return facts
            facts = facts | more

    def is_length(self, expr: Expr, at: tuple[int, int]) -> bool:
        """4 * (the low four bits of the byte there)."""
        expr = self.looked_through(expr)
        if not isinstance(expr, ir.Binary) or not isinstance(expr.right, ir.Const):
            return False
        inner = self.looked_through(expr.left)
        if not isinstance(inner, ir.Binary) or not isinstance(inner.right, ir.Const):
            return False
        shape = expr.op, expr.right.value, inner.op, inner.right.value
        byte = self.looked_through(inner.left)
        fits = shape in (("<<", 2, "&", 15), ("*", 4, "&", 15), ("&", 60, "<<", 2), ("&", 60, "*", 4))
        return fits and isinstance(byte, ir.Load) and byte.size == 1 and self.place(byte.address) == at

    def looked_through(self, expr: Expr) -> Expr:
        """The value behind extensions and variables with one definition."""
        for _ in range(16):
            if isinstance(expr, ir.Zext):
                expr = expr.operand
            elif isinstance(expr, ir.Var) and expr.id in self.values:
                expr = self.values[expr.id]
            else:
                break
        return expr

    # --- names ---

    def name(self, found: PacketFields) -> None:
        """Give accesses their fields; one that is two things on two paths has no name."""
        spoiled: set[int] = set()
        for id, block in self.function.blocks.items():
            facts = self.facts.get(id, frozenset())
            for statement in block.statements:
                for expr in ir.inputs(statement):
                    self.loads(expr, facts, found, spoiled)
                if isinstance(statement, ir.Store):
                    known = self.field(statement.address, statement.size, facts)
                    if known is not None and found.stores.setdefault(statement.slots, known) != known:
                        del found.stores[statement.slots]
                facts = self.after(statement, facts)
            self.ends(block, facts, found, spoiled)

    def ends(self, block: Block, facts: Facts, found: PacketFields, spoiled: set[int]) -> None:
        """What the left side of a condition says holds for its right side."""
        pending: list[tuple[Expr, Facts]] = [(e, facts) for e in (block.condition, block.result) if e is not None]
        while pending:
            expr, known = pending.pop()
            if isinstance(expr, (ir.And, ir.Or)):
                pending.append((expr.left, known))
                pending.append((expr.right, self.closed(known | self.told(expr.left, isinstance(expr, ir.And), known))))
            else:
                self.loads(expr, known, found, spoiled)

    def loads(self, expr: Expr, facts: Facts, found: PacketFields, spoiled: set[int]) -> None:
        """Name the loads of an expression."""
        pending = [expr]
        while pending:
            node = pending.pop()
            pending.extend(ir.children(node))
            if isinstance(node, ir.Load) and node.slot not in spoiled:
                known = self.field(node.address, node.size, facts)
                old = found.loads.get(node.slot)
                if known is None or (old is not None and old != known):
                    spoiled.add(node.slot)
                    found.loads.pop(node.slot, None)
                else:
                    found.loads[node.slot] = known

    def field(self, address: Expr, size: int, facts: Facts) -> Field | None:
        """The field that an access is; None where it is none or more than one."""
        known = {made for _, _, _, made in self.at(address, size, facts)}
        return known.pop() if len(known) == 1 else None


def _without(facts: Facts, var: int) -> Facts:
    """The facts that survive an assignment to a variable."""
    word = str(var)
    return frozenset(fact for fact in facts if fact[0] != var and (" " not in fact[2] or fact[2].split()[1] != word))


def _of(what: str, var: int) -> bool:
    """Does a fact say what a variable holds?"""
    kind, _, rest = what.partition(" ")
    return kind in ("type", "swapped", "proto") and rest == str(var)


def _next(anchor: int, offset: int, kind: str, value: int, header: str = "") -> Iterator[Fact]:
    """What is there, when the EtherType of it, or the protocol of the header there, is a number."""
    if kind == "proto":
        known = PROTOCOLS.get(value)
        if known is not None and header in ("ip", "ipv6"):
            yield anchor, offset + LENGTHS[header], known
        if known is not None and header == "ip":
            yield anchor, offset, f"ihl {known}"
        return
    number = value & 0xFFFF
    known = ETHERTYPES.get(number if kind == "swapped" else int.from_bytes(number.to_bytes(2, "little"), "big"))
    if known is not None:
        yield anchor, offset, known


def _moved(function: Function) -> set[int]:
    """Blocks that may run after the start of the packet moved."""
    pending = [
        id for id, block in function.blocks.items()
        if any(isinstance(s, ir.Call) and (s.kind in ("function", "kfunc") or s.number in MOVES) for s in block.statements)
    ]  # fmt: skip
    moved: set[int] = set()
    while pending:
        id = pending.pop()
        if id not in moved:
            moved.add(id)
            pending += function.blocks[id].successors
    return moved


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _is_data(expr: Expr, context: str) -> bool:
    """The start of the packet."""
    if not isinstance(expr, ir.Load) or expr.place.kind != "ctx" or expr.place.offset is None:
        return False
    known = field_at(context, expr.place.offset, expr.size)
    return known is not None and known.points_to == "packet"

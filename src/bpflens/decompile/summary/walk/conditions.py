"""Conditions of a path: what each says, and which of them an administrator wants to hear.

*(u16 *)(v2 + 12) != 8 is false         ──►  Condition: bits of EtherType are 0x0800
v2 + 34 > v1 is false                   ──►  a bounds check: kind BOUND
v3 == 0 is false, v3 = lookup(&h4blk)   ──►  Condition: "map h4blk has an entry for the TCP destination port"
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.bits import WIDTH, Bit, Bits, Source, byte_run, constrained
from bpflens.decompile.summary.walk.claims import Between, Claim, Gives, HasEntry, Length, Relation
from bpflens.decompile.summary.walk.keys import key_phrase
from bpflens.decompile.summary.walk.sources import Scope
from bpflens.decompile.summary.words.layers import ETHERTYPES, IP_PROTOCOLS, value_text
from bpflens.decompile.summary.words.naming import Layers, Namer
from bpflens.isa.extended.helpers import helper_prototype
from bpflens.isa.extended.uapi import MapType, ProgType

__all__ = ("LOOKUPS", "NEGATED", "SHORT", "Condition", "Kind", "condition_of", "layers_of")

_ARRAYS = frozenset((MapType.ARRAY, MapType.PERCPU_ARRAY))  # an entry is there for every key below max_entries
_WITH_SKB = frozenset((
    ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.CGROUP_SKB, ProgType.LWT_IN, ProgType.LWT_OUT,
    ProgType.LWT_XMIT,
))  # fmt: skip  # the context is struct __sk_buff
LOOKUPS = frozenset(("bpf_map_lookup_elem", "bpf_map_lookup_percpu_elem"))
_POINTERS = (
    "bpf_ringbuf_reserve", "bpf_sk_storage_get", "bpf_task_storage_get", "bpf_inode_storage_get", "bpf_cgrp_storage_get",
    "bpf_sk_lookup_tcp", "bpf_sk_lookup_udp", "bpf_skc_lookup_tcp", "bpf_get_listener_sock", "bpf_sk_fullsock", "bpf_tcp_sock",
)  # fmt: skip
# helpers whose result that is not 0 is no error
_ANSWERS = (
    "_get_", "strncmp", "strtol", "redirect", "csum", "loop", "for_each", "probe_read", "current_task", "cgroup", "snprintf", "check_mtu",
    "fib_lookup", "query", "read_branch", "ecn_set", "sys_", "ima_", "d_path", "btf_find", "load_hdr", "syncookie", "drain",
)  # fmt: skip
_OF_SIGN = {("<", 0): "negative", ("<=", -1): "negative", (">=", 0): "not negative", (">", -1): "not negative"}
_ORDERED = ("port", "ipv4", "ipv6", "hex", "mac")  # values are written the same where only their order counts
LONG, SHORT = "", "the packet is too short for what the program reads"
_RELATIONS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least", "==": "equal to", "!=": "different from"}
NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


class Kind(enum.Enum):
    """What a condition is for."""

    TELLING = "telling"
    BOUND = "bound"  # is the packet long enough
    PRESENT = "present"  # is an entry there that always is, was memory to be had
    UNKNOWN = "unknown"  # compares what has no name


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that holds on a path. `bits` are what an equality says of single bits, `negated` that it is not so; else `text` says it.

    `alternatives` are conditions of which one holds. `claim`: what `text` says, for runs to be held against.
    """

    kind: Kind
    text: str = ""
    bits: tuple[tuple[Bit, int], ...] = ()
    negated: bool = False
    alternatives: tuple[tuple[Condition, ...], ...] = ()
    claim: Claim | None = field(default=None, compare=False)
    slots: ir.Slots = field(default=(), compare=False)

    @property
    def is_equality(self) -> bool:
        """Says positively what bits are."""
        return bool(self.bits) and not self.negated


def condition_of(expr: ir.Expr, holds: bool, scope: Scope, namer: Namer, slots: ir.Slots) -> tuple[Condition, ...]:
    """The conditions, all of which hold where `expr` is true (or, not `holds`, false)."""
    while isinstance(expr, ir.Not):
        expr, holds = expr.operand, not holds
    if isinstance(expr, ir.And | ir.Or):
        both = isinstance(expr, ir.And) == holds
        left, right = (condition_of(side, holds, scope, namer, slots) for side in (expr.left, expr.right))
        if both:
            return left + right
        kind = Kind.UNKNOWN if Kind.UNKNOWN in (each.kind for each in left + right) else Kind.TELLING
        if all(each.kind in (Kind.BOUND, Kind.PRESENT) for each in left + right):
            kind = Kind.BOUND
        return (Condition(kind, alternatives=(left, right), slots=slots),)
    if isinstance(expr, ir.Compare):
        return (replace(_comparison(expr, holds, scope, namer), slots=slots),)
    compared = ir.Compare("!=", expr, ir.Const(0), False, 64)
    return (replace(_comparison(compared, holds, scope, namer), slots=slots),)


def _comparison(expr: ir.Compare, holds: bool, scope: Scope, namer: Namer) -> Condition:
    if scope.is_packet_end(expr.left) or scope.is_packet_end(expr.right):
        exceeds = expr.op in ((">", ">=") if scope.is_packet_end(expr.right) else ("<", "<="))
        return Condition(Kind.BOUND, SHORT if exceeds == holds else LONG, claim=_length(expr, holds, scope))
    left, right, op = expr.left, expr.right, expr.op
    if scope.constant(left) is not None and scope.constant(right) is None:
        left, right = right, left
        op = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(op, op)
    constant = scope.constant(right)
    call = scope.call_of(left)
    if call is not None and constant is not None and (said := _of_call(call, op, constant, expr, holds, scope, namer)) is not None:
        return said
    bits = scope.bits(left)
    if bits is None:
        return _range(left, op, constant, expr, holds, scope, namer) or Condition(Kind.UNKNOWN, "a computed value compares so")
    if expr.width == 32:
        bits = (*bits[:32], *[0] * 32)
        constant = None if constant is None else constant & 0xFFFFFFFF
    if constant is None:
        return _of_two(bits, right, op, expr, holds, scope, namer)
    if op in ("==", "!=") and call is not None and call.kind == "helper" and constant >> 31 in (1, (1 << 33) - 1):
        there = (op == "==") == holds
        number = (constant & 0xFFFFFFFF) - (1 << 32)
        text = f"{call.name} {'gives' if there else 'does not give'} {_error(number)}"
        return Condition(Kind.TELLING, text, claim=Gives(call.name, call.slots, "==" if there else "!=", number))
    if op in ("==", "!="):
        known = constrained(bits, constant)
        if known:
            return Condition(Kind.TELLING, bits=tuple(sorted(known.items())), negated=(op == "!=") == holds)
        return Condition(Kind.UNKNOWN, "a value compares so")
    if op == "&":
        tested = {bit: 1 for n, bit in enumerate(bits) if constant >> n & 1 and isinstance(bit, Bit)}
        if len(tested) == 1:
            return Condition(Kind.TELLING, bits=tuple((bit, 1 if holds else 0) for bit in tested))
        if tested and not holds:
            return Condition(Kind.TELLING, bits=tuple((bit, 0) for bit in sorted(tested)))
        if tested:
            return Condition(Kind.TELLING, bits=tuple((bit, 0) for bit in sorted(tested)), negated=True)
        return Condition(Kind.UNKNOWN, "bits of a value are tested")
    return _of_order(bits, op, constant, expr, holds, namer)


def _range(
    left: ir.Expr, op: str, constant: int | None, expr: ir.Compare, holds: bool, scope: Scope, namer: Namer
) -> Condition | None:
    """x - 6000 < 64, unsigned: x is 6000 to 6063."""
    if constant is None or expr.signed or op not in ("<", "<=", ">", ">="):
        return None
    width = expr.width
    node = scope.resolved(left)
    while isinstance(node, ir.Zext):
        width, node = min(width, node.bits), scope.resolved(node.operand)
    if not isinstance(node, ir.Binary) or node.op not in ("+", "-") or (shift := scope.constant(node.right)) is None:
        return None
    bits = scope.bits(node.left)
    run = byte_run(bits) if bits is not None else None
    if bits is None or run is None or run[2] * 8 > min(width, node.width):
        return None
    inside = op in ("<", "<=")
    count = constant + (op in ("<=", ">"))
    low = (shift if node.op == "-" else -shift) % (1 << min(width, node.width))
    high = low + count - 1
    named = namer.name_bytes(run[0], run[1], run[2], namer.layers)
    if not count or high >= 1 << 8 * run[2] or (run[2] > 1 and named.big_endian != (run[3] == "big")):
        return None
    inside = inside == holds
    ends = [value_text(named.format, end, run[2]) if named.format in _ORDERED else str(end) for end in (low, high)]
    if count == 2:
        ends = [value_text(named.format, end, run[2]) for end in (low, high)]
    shown = (" or " if count == 2 else " to ").join(ends)
    return Condition(Kind.TELLING, f"the {named.text} is {'not ' * (not inside)}{shown}", claim=Between(bits, low, high, inside))


def _error(value: int) -> str:
    """A negative number that a helper gives is an error's."""
    return f"the error {errno.errorcode[-value]}" if -value in errno.errorcode else str(value)


def _of_order(bits: Sequence[Bit | int], op: str, constant: int, expr: ir.Compare, holds: bool, namer: Namer) -> Condition:
    run = byte_run(tuple(bits))
    if run is None:
        return Condition(Kind.UNKNOWN, "a computed value compares so")
    source, byte, size, order = run
    named = namer.name_bytes(source, byte, size, namer.layers)
    relation = op if holds else NEGATED[op]
    claim = Relation(tuple(bits), relation, _number_bits(constant), expr.signed, expr.width // 8)
    if size > 1 and named.big_endian != (order == "big"):
        text = f"the {named.text}, with its bytes reversed, is {_RELATIONS[relation]} {constant}"
        return Condition(Kind.TELLING, text, claim=claim if not expr.signed or size < expr.width // 8 else None)
    if expr.signed and constant >> (expr.width - 1):
        constant -= 1 << expr.width
    if expr.signed and size < expr.width // 8:
        claim = claim._replace(signed=False)
    signed = ", as a signed number," * (claim.signed and constant >= 0 and source.kind != "call")
    if expr.signed and (relation, constant) in _OF_SIGN:
        return Condition(Kind.TELLING, f"the {named.text} is {_OF_SIGN[relation, constant]}", claim=claim)
    shown = value_text(named.format, constant, size) if constant >= 0 and named.format in _ORDERED else str(constant)
    return Condition(Kind.TELLING, f"the {named.text}{signed} is {_RELATIONS[relation]} {shown}", claim=claim)


def _of_two(bits: Bits, right: ir.Expr, op: str, expr: ir.Compare, holds: bool, scope: Scope, namer: Namer) -> Condition:
    other = scope.bits(right)
    if expr.width == 32 and other is not None:
        other = (*other[:32], *[0] * 32)
    runs = [byte_run(tuple(each)) if each is not None else None for each in (bits, other)]
    if None in runs or op not in _RELATIONS or runs[0] == runs[1]:
        return Condition(Kind.UNKNOWN, "two values compare so")
    left_name, right_name = (_with_order(run, namer) for run in runs if run is not None)
    relation = op if holds else NEGATED[op]
    claim = Relation(tuple(bits), relation, other, expr.signed, expr.width // 8) if other is not None else None
    return Condition(Kind.TELLING, f"the {left_name} is {_RELATIONS[relation]} the {right_name}", claim=claim)


def _with_order(run: tuple[Source, int, int, str], namer: Namer) -> str:
    source, byte, size, order = run
    named = namer.name_bytes(source, byte, size, namer.layers)
    return named.text + ", with its bytes reversed," * (size > 1 and named.big_endian != (order == "big"))


def _of_call(call: ir.Call, op: str, constant: int, expr: ir.Compare, holds: bool, scope: Scope, namer: Namer) -> Condition | None:
    """A look-up that found, a call that failed."""
    if call.name == "bpf_skb_load_bytes" and not constant and (read := scope.loaded_bytes(call)) is not None:
        fails = {"<": True, ">=": False, "==": False, "!=": True}.get(op)
        if fails is not None and (expr.signed or op in ("==", "!=")):
            return Condition(Kind.BOUND, SHORT if fails == holds else LONG, claim=Length(sum(read), fails == holds))
    if op not in ("==", "!=") or constant:
        signed = (constant & (1 << expr.width) - 1 ^ 1 << expr.width - 1) - (1 << expr.width - 1)
        if expr.signed and (op, signed) in _OF_SIGN and call.kind == "helper":
            fails = (op in ("<", "<=")) == holds
            claim = Gives(call.name, call.slots, "<" if fails else ">=", 0)
            return Condition(Kind.TELLING, f"{call.name} {'fails' if fails else 'succeeds'}", claim=claim)
        return None
    there = (op == "!=") == holds
    if call.name in LOOKUPS and call.args and isinstance(map_ref := scope.resolved(call.args[0]), ir.MapRef):
        if scope.written.covers("entries", map_ref.name):
            return Condition(Kind.UNKNOWN, "a value compares so")
        map = scope.unit.maps.get(map_ref.name)
        key = scope.keys.get(call.slots) or key_phrase(call, scope, namer)
        kind = Kind.PRESENT if map is not None and map.type in _ARRAYS and key.isdigit() and int(key) < map.max_entries else Kind.TELLING
        parts = scope.key_parts.get(call.slots, ())
        entry = HasEntry(map_ref.name, map.key_size if map is not None else 0, parts, there, call.slots)
        text = f"map {map_ref.name} has {'an' if there else 'no'} entry for {'the ' * (not key[:1].isdigit())}{key}"
        return Condition(kind, text, claim=entry)
    claim = Gives(call.name, call.slots, "!=" if there else "==", 0)
    if call.name == "bpf_strncmp" and (compared := scope.keys.get(call.slots)):
        return Condition(Kind.TELLING, compared.format("not " if there else ""), claim=claim)
    if call.name in _POINTERS:
        return Condition(Kind.PRESENT, f"{call.name} {'gives something' if there else 'gives nothing'}", claim=claim)
    if call.kind == "helper" and scope.bits(expr.left) is not None and call.name.startswith("bpf_get_"):
        return None  # a number to compare
    if call.kind == "helper" and (helper_prototype(call.number) or "").startswith("long") and _tells_errors(call.name):
        return Condition(Kind.TELLING, f"{call.name} {'fails' if there else 'succeeds'}", claim=claim)
    return Condition(Kind.TELLING, f"{call.name} {'gives another value than' if there else 'gives'} 0", claim=claim)


def _tells_errors(helper: str) -> bool:
    """A result of a helper that is not 0 is an error."""
    return helper == "bpf_clone_redirect" or not any(part in helper for part in _ANSWERS)


def _number_bits(value: int) -> Bits:
    return tuple(value >> n & 1 for n in range(WIDTH))


def _length(expr: ir.Compare, holds: bool, scope: Scope) -> Length | None:
    """What a comparison with the packet's end says of its length; None where what is compared varies."""
    left, right, op = expr.left, expr.right, expr.op
    if scope.is_packet_end(left):
        left, right, op = right, left, {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(op, op)
    (start, start_terms), (end, end_terms) = scope.linear(left), scope.linear(right)
    if len(start_terms) != 1 or len(end_terms) != 1 or not scope.is_packet_start(start_terms[0]) or not scope.is_packet_end(end_terms[0]):
        return None
    size = start - end
    claims = {">": Length(size, True), ">=": Length(size + 1, True), "<=": Length(size, False), "<": Length(size + 1, False)}
    claim = claims.get(op)
    return claim._replace(shorter=claim.shorter == holds) if claim is not None else None


def layers_of(conditions: Sequence[Condition], namer: Namer) -> Layers:
    """The layers that equalities on a path establish."""
    known: dict[Bit, int] = {}
    for condition in conditions:
        if condition.is_equality:
            known.update((Bit(bit.source._replace(before=False), bit.byte, bit.bit), value) for bit, value in condition.bits)
    network = transport = ""
    if namer.network == 14:
        network = {"IPv4": "IPv4", "IPv6": "IPv6", "ARP": "ARP"}.get(ETHERTYPES.get(_number(known, 12, 2) or 0, ""), "")
    if not network:
        network = _by_context(known, namer)
    if namer.network is not None and network in ("IPv4", "IPv6"):
        protocol = _number(known, namer.network + (9 if network == "IPv4" else 6), 1)
        transport = IP_PROTOCOLS.get(protocol, "") if protocol else ""
    return Layers(network, transport if transport in ("TCP", "UDP", "ICMP", "ICMPv6") else "")


def _by_context(known: dict[Bit, int], namer: Namer) -> str:
    """__sk_buff's protocol: the EtherType in network order, at byte 16."""
    value = 0
    for at in (16, 17):
        for bit in range(8):
            found = known.get(Bit(Source("ctx"), at, bit))
            if found is None or namer.prog_type not in _WITH_SKB:
                return ""
            value |= found << (bit + (8 if at == 16 else 0))
    return {"IPv4": "IPv4", "IPv6": "IPv6", "ARP": "ARP"}.get(ETHERTYPES.get(value, ""), "")


def _number(known: dict[Bit, int], byte: int, size: int) -> int | None:
    """The number in network order at bytes of the packet, where all its bits are known."""
    value = 0
    for at in range(byte, byte + size):
        for bit in range(7, -1, -1):
            found = known.get(Bit(Source("packet"), at, bit))
            if found is None:
                return None
            value = value << 1 | found
    return value

"""Where the numbers of a program come from, and what those places are called.

    *(u16 *)(data + 36) of an XDP program     ──►  Source("packet"), byte 36
    result of bpf_get_current_pid_tgid() >> 32  ──►  bytes 4 to 7 of Source("call", "bpf_get_current_pid_tgid"): "the process id"

Variables that are assigned once stand for what they are assigned; what the stack holds is followed along the path (`Frame`). What places
are called is in naming.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from bpflens.decompile import ir
from bpflens.decompile.c_expression.core import core_path
from bpflens.decompile.summary.walk.bits import Bit, Bits, Source, bits_of, byte_run, read_bits
from bpflens.decompile.summary.walk.claims import KeyPart
from bpflens.decompile.summary.walk.written import Written
from bpflens.decompile.tree import For, Simple, Tree, walk
from bpflens.decompile.unit import Unit
from bpflens.isa.extended.contexts import context_struct, field_at

__all__ = ("COMM", "Content", "Definition", "Definitions", "Filled", "Frame", "Scope", "call_base", "definitions_of")

Definition: TypeAlias = ir.Assign | ir.Call | ir.Atomic | ir.Asm
COMM = "bpf_get_current_comm"
_MOST_SUBSTITUTED = 64
_MOST_NODES = 4000  # of expressions behind variables, followed for one number
_PACKET_ENDS = frozenset(("data_end", "skb_data_end"))
_PACKET_STARTS = frozenset(("data", "skb_data"))
WRITABLE = frozenset(("packet", "ctx", "value", "data"))
"""Places outside of the stack that a program may write."""


class Definitions(dict[int, Definition]):
    """Variable -> the one statement that assigns it. Those with several are in `several`: what they stand for depends on the path."""

    several: frozenset[int] = frozenset()


def definitions_of(tree: Tree, parameters: Collection[int] = ()) -> Definitions:
    """The variables of a tree that are assigned once. One of the `parameters` has a value before its first assignment."""
    found, several = Definitions(), set()
    statements: list[ir.Statement] = []
    for node in walk(tree):
        if isinstance(node, Simple):
            statements.append(node.statement)
        elif isinstance(node, For):
            statements += [each for each in (node.first, node.step) if each is not None]
    for statement in statements:
        var = getattr(statement, "var", None)
        if var is None or isinstance(statement, ir.Store):
            continue
        if var in found or var in parameters:
            several.add(var)
        found[var] = statement
    for var in several:
        del found[var]
    found.several = frozenset(several)
    return found


def call_base(call: ir.Call) -> str:
    """The instructions of a call, as the base of what comes from it."""
    return " ".join(map(str, call.slots))


class Filled(NamedTuple):
    """A buffer that a helper filled: from byte `byte` of a source on."""

    source: Source
    byte: int = 0


Content: TypeAlias = ir.Expr | Filled


@dataclass(slots=True)
class Frame:
    """What the stack holds at a point: (offset in the frame, size) -> the value stored there, or the source that filled it."""

    cells: dict[tuple[int, int], Content] = field(default_factory=dict)

    def copy(self) -> Frame:
        """The same contents, to go on with alone."""
        return Frame(dict(self.cells))

    def join(self, other: Frame) -> None:
        """Keep what is the same on two ways."""
        self.cells = {cell: value for cell, value in self.cells.items() if other.cells.get(cell) == value}

    def store(self, at: int, size: int, value: Content) -> None:
        """`size` bytes from `at` on are now `value`."""
        self.drop(at, size)
        self.cells[at, size] = value

    def drop(self, at: int, size: int) -> None:
        """`size` bytes from `at` on are not known any more."""
        for cell in [cell for cell in self.cells if cell[0] < at + size and at < cell[0] + cell[1]]:
            del self.cells[cell]

    def forget(self) -> None:
        """Nothing is known any more."""
        self.cells.clear()


@dataclass(slots=True)
class Scope:
    """What the numbers of a function mean at one point of it."""

    unit: Unit
    prog_type: int
    section: str
    definitions: Definitions
    frame: Frame = field(default_factory=Frame)
    written: Written = field(default_factory=Written)
    bindings: dict[int, ir.Expr] = field(default_factory=dict)  # variable with several assignments -> what it stands for here
    keys: dict[ir.Slots, str] = field(default_factory=dict)  # call -> what its key was when it was made
    key_parts: dict[ir.Slots, tuple[KeyPart, ...]] = field(default_factory=dict)
    parameters: Mapping[int, str] = field(default_factory=dict)  # variable -> name, of a function that the program calls
    name: Callable[[Source, int, int], str] | None = None
    _kept_bits: dict[int, Bits | None] = field(default_factory=dict)  # variable of our own -> what was loaded from the frame
    _fresh: int = -1

    def fresh(self, made: Definition | None = None) -> ir.Var:
        """A name of our own for a value: the result of a call, or something unknown."""
        self._fresh -= 1
        if made is not None:
            self.definitions[self._fresh] = made
        return ir.Var(self._fresh)

    def now(self, expr: ir.Expr) -> ir.Expr:
        """The same number in terms that later assignments do not change."""
        several = self.definitions.several
        if not several or not any(var in several for var in ir.variables_of(expr)):
            return expr
        return self._now(expr, 0) if ir.size_of(expr) < _MOST_SUBSTITUTED else self.fresh()

    def _now(self, expr: ir.Expr, depth: int) -> ir.Expr:
        if depth > 60:
            return self.fresh()
        if isinstance(expr, ir.Var):
            return self.bindings.setdefault(expr.id, self.fresh()) if expr.id in self.definitions.several else expr
        parts = ir.children(expr)
        return ir.rebuild(expr, tuple(self._now(part, depth + 1) for part in parts)) if parts else expr

    def kept(self, expr: ir.Expr, depth: int = 0) -> ir.Expr:
        """The same number in terms that later stores do not change."""
        if depth > 60:
            return self.fresh()
        if isinstance(expr, ir.Load) and expr.place.kind == "frame":
            return self._kept_load(expr)
        if isinstance(expr, ir.Load) and (expr.place.kind in WRITABLE or not expr.place.kind) and not self._is_pointer(expr):
            var = self.fresh()
            self._kept_bits[var.id] = self._load(expr, [_MOST_NODES])
            return var
        parts = ir.children(expr)
        changed = tuple(self.kept(part, depth + 1) for part in parts)
        return expr if all(a is b for a, b in zip(parts, changed, strict=True)) else ir.rebuild(expr, changed)

    def _kept_load(self, load: ir.Load) -> ir.Expr:
        at = load.place.offset
        content = None if at is None or load.signed else self.frame.cells.get((at, load.size))
        if content is not None and not isinstance(content, Filled) and ir.size_of(content) < _MOST_SUBSTITUTED:
            return content if load.size == 8 else ir.Zext(8 * load.size, content)
        var = self.fresh()
        self._kept_bits[var.id] = None if at is None else self._from_frame(at, load, [_MOST_NODES])
        return var

    def kernel_source(self, address: ir.Expr, slots: str = "") -> Source | None:
        """A field of a kernel structure, by the CO-RE record of its offset: "real_parent->pid" of "current task". `slots`: of the call that
        reads it.
        """
        btf = self.unit.btf
        total, terms = self.linear(address)
        refs = [term for term in terms if isinstance(term, ir.CoreRef)]
        bases = [term for term in terms if not isinstance(term, ir.CoreRef)]
        if btf is None or total or len(refs) != 1 or len(bases) != 1 or (found := core_path(btf, refs[0])) is None:
            return None
        path, root = found[0], btf.name(refs[0].type_id).partition("___")[0] or "a structure"
        bits = self.bits(bases[0])
        run = byte_run(bits) if bits is not None else None
        if run is not None and run[0].kind == "kernel":
            path, root = f"{run[0].what}->{path}", run[0].base.partition("\0")[0]
        elif run is not None and run[2] == 8 and self.name is not None:
            root = f"{self.name(*run[:3])} ({root})"
        return Source("kernel", path, f"{root}\0{slots}")

    def loaded_bytes(self, call: ir.Call) -> tuple[int, int] | None:
        """(first byte, size) of what bpf_skb_load_bytes reads, where it is always the same."""
        if call.name != "bpf_skb_load_bytes" or len(call.args) < 4:
            return None
        at, size = self.constant(call.args[1]), self.constant(call.args[3])
        return None if at is None or size is None or at >= 1 << 16 or size > 512 else (at, size)

    def keep_old(self, statement: ir.Atomic) -> ir.Atomic:
        """An atomic operation that fetches: its variable is what was in the place before."""
        place = statement.place
        if statement.var is not None and place.offset is not None:
            known = place.kind in ("value", "data") and not self.written.covers(place.kind, place.what, place.offset, statement.size)
            source = Source(place.kind, place.what, before=True)
            self._kept_bits[statement.var] = read_bits(source, place.offset, statement.size) if known else None
        return statement

    def _is_pointer(self, load: ir.Load) -> bool:
        """A pointer of the context, which stays what it is."""
        if load.place.kind != "ctx" or load.place.offset is None:
            return False
        struct = context_struct(self.prog_type)
        found = field_at(struct, load.place.offset, load.size) if struct else None
        return found is not None and bool(found.points_to)

    def as_of_now(self, bits: Bits) -> Bits:
        """The same bits; of places that the program may have written since they were read, as what was there before."""
        if not self.written.places:
            return bits
        return tuple(bit if isinstance(bit, int) else self._marked(bit) for bit in bits)

    def _marked(self, bit: Bit) -> Bit:
        source = bit.source
        if source.before or (source.kind not in WRITABLE and source.kind != "kernel"):
            return bit
        if not self.written.covers(source.kind, "*" if source.base or source.kind == "kernel" else source.what, bit.byte):
            return bit
        return Bit(source._replace(before=True), bit.byte, bit.bit)

    def bind(self, var: int, made: Definition) -> None:
        """An assignment, whose inputs are in terms of now."""
        if var in self.definitions.several:
            value = made.value if isinstance(made, ir.Assign) else self.fresh(made)
            self.bindings[var] = value if ir.size_of(value) < _MOST_SUBSTITUTED else self.fresh()
        elif isinstance(made, ir.Assign):
            self.definitions[var] = made

    def bits(self, expr: ir.Expr) -> Bits | None:
        """The bits of a number by where they come from; None where it is computed."""
        budget = [_MOST_NODES]
        found = bits_of(expr, lambda leaf: self._read(leaf, budget))
        return None if found is None else self.as_of_now(found)

    def _read(self, expr: ir.Expr, budget: list[int]) -> Bits | None:
        budget[0] -= 1
        if budget[0] < 0:
            return None
        if isinstance(expr, ir.Load):
            return self._load(expr, budget)
        if isinstance(expr, ir.Var):
            if expr.id in self._kept_bits:
                return self._kept_bits[expr.id]
            if expr.id in self.parameters:
                return read_bits(Source("parameter", self.parameters[expr.id]), 0, 8)
            made = self.definitions.get(expr.id)
            if isinstance(made, ir.Assign):
                return bits_of(made.value, lambda leaf: self._read(leaf, budget))
            if isinstance(made, ir.Call):
                if made.kind == "packet":
                    return self._packet_call(made)
                return read_bits(Source("call", made.name, call_base(made)), 0, 8)
        return None

    def _packet_call(self, call: ir.Call) -> Bits | None:
        """LD_ABS and LD_IND give numbers in host order."""
        offset = self.constant(call.args[-1]) if call.args else None
        if offset is None or offset >= 1 << 31 or self.written.covers("packet", "*"):
            return None
        return read_bits(Source("packet"), offset, call.number, big_endian=True)

    def _load(self, load: ir.Load, budget: list[int]) -> Bits | None:
        place = load.place
        if place.kind == "frame" and place.offset is not None:
            return self._from_frame(place.offset, load, budget)
        if place.kind == "packet":
            source, at = self.packet_place(load.address, place)
            spoiled = at is None or self.written.covers("packet", "", at, load.size) or (source.base and self.written.covers("packet", "*"))
            return None if at is None or spoiled else read_bits(source, at, load.size, load.signed)
        if place.kind == "" and not self.written.covers("kernel", "*") and (found := self.kernel_source(load.address)) is not None:
            return read_bits(found, 0, load.size, load.signed)
        if place.kind in ("ctx", "value", "data") and place.offset is not None:
            if self.written.covers(place.kind, place.what, place.offset, load.size):
                return None
            if place.kind == "value" and not self.written.is_one_entry(place.what):
                return None
            return read_bits(Source(place.kind, place.what), place.offset, load.size, load.signed)
        return None

    def _from_frame(self, at: int, load: ir.Load, budget: list[int]) -> Bits | None:
        """What was stored there last, where a single store or helper covers the load."""
        for (start, size), content in self.frame.cells.items():
            if start <= at and at + load.size <= start + size:
                if isinstance(content, Filled):
                    return read_bits(content.source, content.byte + at - start, load.size, load.signed)
                inner = bits_of(content, lambda leaf: self._read(leaf, budget))
                if inner is None or load.signed:
                    return None
                skip = 8 * (at - start)
                return (*inner[skip : skip + 8 * load.size], *[0] * (64 - 8 * load.size))
        return None

    def packet_place(self, address: ir.Expr, place: ir.Place) -> tuple[Source, int | None]:
        """(source, byte): from the start of the data, or from the transport header behind an IPv4 header of any length."""
        if place.offset is not None:
            return Source("packet"), place.offset
        total, rest = self.linear(address)
        varying = [term for term in rest if not self.is_packet_start(term)]
        if len(rest) - len(varying) == 1 and len(varying) == 1 and (start := self.header_length(varying[0])) is not None:
            return Source("packet", "", "transport"), total - start
        return Source("packet", "", "computed"), None

    def linear(self, expr: ir.Expr) -> tuple[int, list[ir.Expr]]:
        """(constant, terms) of a sum, variables replaced by what they stand for."""
        total, terms, pending, steps = 0, [], [expr], 0
        while pending and steps < 200:
            steps += 1
            node = pending.pop()
            if isinstance(node, ir.Const):
                total += (node.value ^ 1 << 63) - (1 << 63)
            elif isinstance(node, ir.Binary) and node.op == "+" and node.width == 64:
                pending += [node.right, node.left]
            elif isinstance(node, ir.Var) and isinstance(made := self.definitions.get(node.id), ir.Assign):
                pending.append(made.value)
            else:
                terms.append(node)
        return total, terms + pending

    def is_packet_start(self, expr: ir.Expr) -> bool:
        """The context's pointer to the packet's data."""
        return self._context_field(expr) in _PACKET_STARTS

    def is_packet_end(self, expr: ir.Expr) -> bool:
        """The context's pointer to the end of the data, or something from it."""
        _, terms = self.linear(expr)
        return any(self._context_field(term) in _PACKET_ENDS for term in terms)

    def _context_field(self, expr: ir.Expr) -> str:
        load = self.resolved(expr)
        if not isinstance(load, ir.Load) or load.place.kind != "ctx" or load.place.offset is None:
            return ""
        found = field_at(context_struct(self.prog_type), load.place.offset, load.size)
        return found.name if found else ""

    def header_length(self, expr: ir.Expr) -> int | None:
        """The byte whose low half, times 4, this is: where the IPv4 header whose length it is begins."""
        bits = self.bits(expr)
        if bits is None or any(bit != 0 for bit in (*bits[:2], *bits[6:])):
            return None
        run = [bit for bit in bits[2:6] if not isinstance(bit, int)]
        if len(run) != 4 or [bit.bit for bit in run] != [0, 1, 2, 3] or len({(bit.source, bit.byte) for bit in run}) != 1:
            return None
        return run[0].byte if run[0].source == Source("packet") else None

    def resolved(self, expr: ir.Expr) -> ir.Expr:
        """A variable's value where it has one only."""
        for _ in range(64):
            if isinstance(expr, ir.Zext) and expr.bits >= 32:
                expr = expr.operand
                continue
            made = self.definitions.get(expr.id) if isinstance(expr, ir.Var) else None
            if not isinstance(made, ir.Assign):
                break
            expr = made.value
        return expr

    def stored(self, expr: ir.Expr) -> ir.Expr:
        """A number that was kept on the stack, as it was stored there."""
        expr = self.resolved(expr)
        if isinstance(expr, ir.Load) and expr.place.kind == "frame" and expr.place.offset is not None:
            content = self.frame.cells.get((expr.place.offset, expr.size))
            if content is not None and not isinstance(content, Filled):
                return self.resolved(content)
        return expr

    def call_of(self, expr: ir.Expr) -> ir.Call | None:
        """The call whose result this is."""
        expr = self.resolved(expr)
        made = self.definitions.get(expr.id) if isinstance(expr, ir.Var) else None
        return made if isinstance(made, ir.Call) else None

    def constant(self, expr: ir.Expr) -> int | None:
        """The number that an expression always is."""
        expr = self.resolved(expr)
        if isinstance(expr, ir.Const):
            return expr.value
        bits = self.bits(expr)
        if bits is None or not all(isinstance(bit, int) for bit in bits):
            return None
        return sum(bit << n for n, bit in enumerate(bits) if isinstance(bit, int))

"""The stack frame as C variables: slots that are only loaded and stored become scalars, what has its address taken becomes an object.

    *(u64 *)(r10 - 8) = r1; r2 = *(u64 *)(r10 - 8)     ──►   s = r1; r2 = s
    *(u32 *)(r10 - 12) = 0; r2 = r10 - 12; call f(r2)  ──►   stack_12[4] = 0; f(stack_12)

How far an object reaches is known from what is done with its address: the key size of the map that it is given to, the length argument
beside it, the size of the type in a prototype. An address that goes where nothing is known of may be used for anything above it, so the
object reaches up to the top of the frame. Where an address was lost, the whole frame is one object. Cost: n log n in what is accessed.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace

from bpflens.decompile import ir
from bpflens.decompile.function import Function, StackObject
from bpflens.decompile.ir import Assign, Call, Const, Expr, FrameRef, Load, Statement, Store, Var, Zext
from bpflens.decompile.lift.blocks import Unsayable
from bpflens.decompile.lift.regions import Region, Regions
from bpflens.decompile.simplify import simplify
from bpflens.decompile.unit import Code, Unit, kernel_types
from bpflens.isa.extended.helpers import helper_prototype

__all__ = ("FIRST_SLOT", "Frame", "lay_out", "place_in_frame")

FIRST_SLOT = 16
"""Variables from this one on are promoted stack slots, before there are webs."""

# helper -> register that points to a key, register that points to a value of the map in r1
_MAP_POINTERS = {
    1: {2: "key"}, 2: {2: "key", 3: "value"}, 3: {2: "key"}, 51: {}, 52: {2: "key"}, 53: {3: "key"}, 69: {3: "key"}, 70: {3: "key"},
    71: {3: "key"}, 72: {3: "key"}, 87: {2: "value"}, 88: {2: "value"}, 89: {2: "value"}, 195: {2: "key"},
}  # fmt: skip
_POINTED = {"long": 8, "unsigned long": 8, "__u64": 8, "__u32": 4, "__s64": 8, "int": 4, "__be16": 2, "__wsum": 4}
_STRUCTS = {
    "bpf_dynptr": 16, "bpf_fib_lookup": 64, "bpf_perf_event_value": 24, "bpf_pidns_info": 8, "iphdr": 20, "ipv6hdr": 40, "tcphdr": 20,
}  # fmt: skip


@dataclass(slots=True)
class Frame:
    """`scalars`: offset -> (size, variable); `objects` by start; `starts` sorted."""

    scalars: dict[int, tuple[int, int]] = field(default_factory=dict)
    objects: dict[int, StackObject] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)

    def object_at(self, offset: int) -> StackObject | None:
        """The object that a byte lies in, or that ends there."""
        index = bisect_right(self.starts, offset) - 1
        if index < 0:
            return None
        found = self.objects[self.starts[index]]
        if offset < found.start + found.size:
            return found
        if offset == found.start + found.size:
            return found
        return None


def lay_out(code: Code, unit: Unit, regions: Regions, promote: bool = True) -> Frame:
    """The objects and scalars of a function's frame."""
    accesses: dict[int, set[int]] = {}
    for at, size in regions.direct:
        accesses.setdefault(at, set()).add(size)
    taken: dict[int, int] = {}
    for at, slot, register in regions.passed:
        extent = _extent(code, unit, slot, register, regions.arguments.get(slot, ()))
        taken[at] = max(taken.get(at, 0), extent if extent else -at)
    for at in regions.loose:
        taken[at] = -at
    for at in regions.atomic:
        taken[at] = max(taken.get(at, 0), max(accesses.get(at, {1})))
    lowest = min([*accesses, *taken], default=0)
    if lowest < -512:
        raise Unsayable(f"the frame reaches {-lowest} bytes down")
    if regions.unknown and lowest < 0:
        return _framed([(lowest, 0)], accesses)
    if any(at >= 0 for at in accesses):
        raise Unsayable("reads above its frame")
    pieces = [(at, min(at + size, 0), True) for at, size in taken.items() if at < 0]
    pieces += [(at, at + size, False) for at, sizes in accesses.items() for size in sizes]
    spans: list[tuple[int, int]] = []
    scalars: list[tuple[int, int]] = []
    for start, end, is_object in _groups(pieces):
        (spans if is_object or not promote else scalars).append((start, end))
    frame = _framed(spans, accesses)
    for number, (at, end) in enumerate(scalars):
        frame.scalars[at] = (end - at, FIRST_SLOT + number)
    return frame


def _groups(pieces: list[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    """Pieces that overlap as one, which is an object if one of them is, or if they are not all the same bytes."""
    out: list[tuple[int, int, bool]] = []
    for at, end, is_object in sorted(pieces):
        if out and at < out[-1][1]:
            start, last, before = out[-1]
            out[-1] = (start, max(last, end), before or is_object or (at, end) != (start, last))
        else:
            out.append((at, end, is_object))
    return out


def _framed(spans: list[tuple[int, int]], accesses: dict[int, set[int]]) -> Frame:
    """Objects for spans, aligned so that every access in them stays aligned."""
    frame = Frame()
    offsets = sorted(accesses)
    for at, end in spans:
        widest = 1
        index = bisect_right(offsets, at - 1)
        while index < len(offsets) and offsets[index] < end:
            widest = max(widest, *accesses[offsets[index]])
            index += 1
        start = at - at % widest
        if end <= start:
            continue
        name = f"stack_{-at}"
        frame.objects[start] = StackObject(start, end - start, name)
        frame.starts.append(start)
    frame.starts.sort()
    return frame


def _extent(code: Code, unit: Unit, slot: int, register: int, arguments: tuple[Region | None, ...]) -> int:
    """Bytes that a call may touch at the address in a register; 0 where nothing is known."""
    insn = code.insns[slot - code.start]
    ref = code.references.get(slot)
    if insn.src == 0:
        return _helper_extent(unit, insn.imm, register, arguments)
    if ref is not None and ref.kind == "kfunc":
        return _kfunc_extent(unit, ref.name, register, arguments)
    return 0


def _helper_extent(unit: Unit, helper: int, register: int, arguments: tuple[Region | None, ...]) -> int:
    wanted = _MAP_POINTERS.get(helper, {}).get(register)
    if wanted is not None:
        of = arguments[0] if arguments else None
        m = unit.maps.get(of.what) if of is not None and of.kind == "map" else None
        if m is not None:
            return m.key_size if wanted == "key" else m.value_size
        return 0
    prototype = helper_prototype(helper)
    if prototype is None:
        return 0
    parts = prototype[prototype.index("(") + 1 : -1].split(",")
    return _by_prototype(parts, register, arguments)


def _by_prototype(parts: list[str], register: int, arguments: tuple[Region | None, ...]) -> int:
    """From a length argument that follows, or from what the parameter points to."""
    if register < len(parts) and "*" not in parts[register] and register < len(arguments):
        name = parts[register].split()[-1]
        after = arguments[register]
        if any(word in name for word in ("len", "size", "sz")) and after is not None and after.kind == "const" and after.offset is not None:
            if 0 < after.offset <= 512:
                return after.offset
            return 0
        if any(word in name for word in ("len", "size", "sz")):
            return 0
    if register - 1 < len(parts):
        words = parts[register - 1].replace("const", "").replace("*", " * ").split()
        if "*" in words:
            base = " ".join(words[: words.index("*")])
            if base.startswith("struct "):
                return _STRUCTS.get(base[7:], 0)
            return _POINTED.get(base, 0)
    return 0


def _kfunc_extent(unit: Unit, name: str, register: int, arguments: tuple[Region | None, ...]) -> int:
    from bpflens.btf.btf import Kind
    from bpflens.errors import BpflensError

    for btf in (unit.btf, kernel_types()):
        if btf is None:
            continue
        id = btf.find(name, Kind.FUNC)
        if id is None:
            continue
        params = btf.params(btf.type(id).ref)
        if register > len(params):
            return 0
        following = params[register].name if register < len(params) else ""
        if following.endswith(("__sz", "__szk", "_sz", "_len")) and register < len(arguments):
            after = arguments[register]
            return after.offset or 0 if after is not None and after.kind == "const" else 0
        target = btf.skip_modifiers(params[register - 1].type_id)
        if btf.kind(target) is Kind.PTR:
            try:
                return btf.size(btf.type(target).ref)
            except BpflensError:
                return 0
    return 0


def place_in_frame(function: Function, frame: Frame, regions: Regions) -> None:
    """Replace frame addresses by scalars and objects."""
    placer = _Placer(frame, regions)
    for block in function.blocks.values():
        block.statements = [placer.statement(s) for s in block.statements]
        if block.condition is not None:
            block.condition = placer.expr(block.condition)
    function.objects = frame.objects


class _Placer:
    def __init__(self, frame: Frame, regions: Regions) -> None:
        self.frame = frame
        self.regions = regions

    def statement(self, s: Statement) -> Statement:
        if isinstance(s, Assign):
            value = self.load(s.value, s.slots[0]) if isinstance(s.value, Load) else self.expr(s.value)
            return Assign(s.var, value, s.slots)
        if isinstance(s, Store):
            return self.store(s)
        if isinstance(s, Call):
            return replace(s, args=self.arguments(s))
        if isinstance(s, ir.Atomic):
            return replace(s, address=self.address(s.address, s.place), value=self.expr(s.value))
        return s

    def arguments(self, call: Call) -> tuple[Expr, ...]:
        """Arguments; addresses in the frame that are known are written as such."""
        known = self.regions.arguments.get(call.slots[0], ())
        out = []
        for index, arg in enumerate(call.args):
            region = known[index] if index < len(known) else None
            if call.kind != "packet" and region is not None and region.kind == "frame" and region.offset is not None and not region.maybe:
                out.append(self.object(region.offset))
            else:
                out.append(self.expr(arg))
        return tuple(out)

    def object(self, offset: int) -> Expr:
        """The address of a byte of an object."""
        found = self.frame.object_at(offset)
        if found is None:
            return FrameRef(offset)
        return ir.StackRef(found.start, offset - found.start)

    def expr(self, expr: Expr) -> Expr:
        if type(expr) is FrameRef:
            return self.object(expr.offset)
        operands = ir.children(expr)
        if not operands:
            return expr
        changed = tuple(self.expr(operand) for operand in operands)
        return simplify(ir.rebuild(expr, changed)) if any(a is not b for a, b in zip(changed, operands, strict=True)) else expr

    def address(self, address: Expr, place: ir.Place) -> Expr:
        if place.kind == "frame" and place.offset is not None:
            return self.object(place.offset)
        return self.expr(address)

    def load(self, load: Load, slot: int) -> Expr:
        if load.place.kind == "frame" and load.place.offset is not None:
            scalar = self.frame.scalars.get(load.place.offset)
            if scalar is not None and scalar[0] == load.size:
                value: Expr = Var(scalar[1])
                return ir.Sext(8 * load.size, value) if load.signed else value
        return replace(load, address=self.address(load.address, load.place))

    def store(self, store: Store) -> Statement:
        if store.place.kind == "frame" and store.place.offset is not None:
            scalar = self.frame.scalars.get(store.place.offset)
            if scalar is not None and scalar[0] == store.size:
                value = self.expr(store.value)
                if store.size < 8 and type(value) is not Const:
                    value = simplify(Zext(8 * store.size, value))
                return Assign(scalar[1], value, store.slots)
        return replace(store, address=self.address(store.address, store.place), value=self.expr(store.value))

"""What the registers of a function point to, instruction by instruction: context, stack frame, packet, map values, numbers.

    0: r6 = r1            r6: ctx+0
    1: r2 = r10           r2: frame+0
    2: r2 += -8           r2: frame-8
    3: *(u32 *)(r2+4)     access of frame-4, 4 bytes

A forward must-analysis: where paths disagree a value becomes what covers both. A pointer into the frame whose offset varies keeps the
addresses that it was made from (`bases`), so that the stack pass knows which objects it may reach. Algorithm: worklist over blocks in
reverse postorder; the lattice has height 4 per register, so that the cost is linear for programs as compilers make them.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bpflens.decompile.ir import Block, Place
from bpflens.decompile.lift.lift import call_arity
from bpflens.decompile.unit import Code
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.contexts import context_struct, field_at
from bpflens.isa.extended.helpers import helper_prototype
from bpflens.isa.extended.insn import Insn

__all__ = ("Region", "Regions", "analyse_regions", "postorder")


class Region(NamedTuple):
    """`kind`: ctx, frame, packet, packet_end, map, value, data, mem, func, const (offset is the number), number, mixed. `maybe`: or 0."""

    kind: str
    what: str = ""
    offset: int | None = None
    bases: frozenset[int] = frozenset()
    maybe: bool = False


NUMBER = Region("number")
MIXED = Region("mixed")
_POINTERS = frozenset(("ctx", "frame", "packet", "packet_meta", "value", "data", "mem"))
_PACKETS = {"packet", "packet_end", "packet_meta"}
State = tuple[list[Region | None], dict[int, Region]]
_MAX_BASES = 16
_LOWEST = -512  # MAX_BPF_STACK


@dataclass(slots=True)
class Regions:
    """Results by slot: `places` of memory accesses, `arguments` of calls (r1 to r5). Frame addresses: `direct` accesses (offset, size,
    atomic), `passed` to calls (offset, slot, register), `loose` ones that may go anywhere; `unknown` where an address was lost.
    """

    places: dict[int, Place] = field(default_factory=dict)
    arguments: dict[int, tuple[Region | None, ...]] = field(default_factory=dict)
    direct: set[tuple[int, int]] = field(default_factory=set)
    atomic: set[int] = field(default_factory=set)
    passed: list[tuple[int, int, int]] = field(default_factory=list)
    loose: set[int] = field(default_factory=set)
    unknown: bool = False
    indexes: set[tuple[int, int]] = field(default_factory=set)  # slot, register of a number that was added to a pointer


def postorder(blocks: Mapping[int, Block], entry: int) -> list[int]:
    """Block ids in reverse postorder."""
    order: list[int] = []
    seen = {entry}
    pending = [(entry, iter(blocks[entry].successors))]
    while pending:
        id, rest = pending[-1]
        for next in rest:
            if next not in seen:
                seen.add(next)
                pending.append((next, iter(blocks[next].successors)))
                break
        else:
            pending.pop()
            order.append(id)
    order.reverse()
    return order


def join(a: Region | None, b: Region | None) -> Region | None:
    """What covers both; None is unset."""
    if a == b:
        return a
    if a is None or b is None:
        return None
    zero_a, zero_b = a.kind == "const" and a.offset == 0, b.kind == "const" and b.offset == 0
    if zero_a and b.kind in _POINTERS:
        return b._replace(maybe=True)
    if zero_b and a.kind in _POINTERS:
        return a._replace(maybe=True)
    if a.kind == b.kind and a.kind in _POINTERS | _PACKETS:
        bases = a.bases | b.bases
        if a.kind == "frame" and len(bases) > _MAX_BASES:
            bases = frozenset((min(bases),))
        return Region(a.kind, a.what if a.what == b.what else "", a.offset if a.offset == b.offset else None, bases, a.maybe or b.maybe)
    if a.kind in ("const", "number") and b.kind in ("const", "number"):
        return NUMBER
    bases = a.bases | b.bases
    return Region("mixed", "", None, bases) if bases else MIXED


def analyse_regions(
    code: Code, blocks: Mapping[int, Block], entry: int, slots: Mapping[int, Sequence[int]], arity: int, arities: Mapping[str, int]
) -> Regions:
    """Run to the fixed point, then once more to record. `slots`: the instructions of each block."""
    flow = _Flow(code, arities)
    order = postorder(blocks, entry)
    position = {id: index for index, id in enumerate(order)}
    first: list[Region | None] = [None] * 11
    for register in range(1, arity + 1):
        first[register] = NUMBER if code.role != "entry" or register > 1 else Region("ctx", "", 0)
    first[10] = Region("frame", "", 0, frozenset((0,)))
    states: dict[int, State] = {entry: (first, {})}
    queue, queued = [0], {0}
    budget = 40 * len(order) + 1000
    while queue:
        index = heapq.heappop(queue)
        queued.discard(index)
        budget -= 1
        if budget < 0:
            flow.result.unknown = True
            break
        id = order[index]
        registers, frame = states[id]
        registers, frame = registers.copy(), frame.copy()
        for slot in slots[id]:
            flow.step(slot, registers, frame)
        for next in blocks[id].successors:
            known = states.get(next)
            if known is None:
                states[next] = (registers.copy(), frame.copy())
                changed = True
            else:
                changed = _merge(known, registers, frame)
            if changed and position[next] not in queued:
                queued.add(position[next])
                heapq.heappush(queue, position[next])
    flow.recording = True
    for id in order:
        registers, frame = states[id]
        for slot in slots[id]:
            flow.step(slot, registers, frame)
    return flow.result


def _merge(known: State, registers: list[Region | None], frame: dict[int, Region]) -> bool:
    """Join into `known`; whether it changed. A stack slot that only one path knows may hold the pointer."""
    changed = False
    old, old_frame = known
    for number in range(11):
        joined = join(old[number], registers[number])
        if joined != old[number]:
            old[number] = joined
            changed = True
    for offset in list(old_frame):
        other = frame.get(offset)
        before = old_frame[offset]
        if other is None:
            _blur(old_frame, offset)
        else:
            joined = join(before, other)
            assert joined is not None
            old_frame[offset] = joined
        changed = changed or old_frame.get(offset) != before
    for offset, region in frame.items():
        if offset not in old_frame and region.bases:
            old_frame[offset] = Region("mixed", "", None, region.bases)
            changed = True
    return changed


def _blur(frame: dict[int, Region], at: int) -> None:
    """A stack slot that may hold something else by now, or still the pointer."""
    if frame[at].bases:
        frame[at] = Region("mixed", "", None, frame[at].bases)
    else:
        del frame[at]


class _Flow:
    """The effect of instructions on a state, and, in the second pass, the record."""

    def __init__(self, code: Code, arities: Mapping[str, int]) -> None:
        self.code = code
        self.arities = arities
        self.context = context_struct(code.prog_type)
        self.result = Regions()
        self.recording = False

    def step(self, slot: int, registers: list[Region | None], frame: dict[int, Region]) -> None:
        insn = self.code.insns[slot - self.code.start]
        kind = insn.code & 7
        if kind == op.LDX:
            self.load(slot, insn, registers, frame)
        elif kind == op.ST or kind == op.STX:
            self.store(slot, insn, registers, frame)
        elif kind == op.ALU64 or kind == op.ALU:
            self.alu(slot, insn, registers)
        elif kind == op.LD:
            self.ld(slot, insn, registers)
        elif insn.code == op.CALL_CODE:
            self.call(slot, insn, registers, frame)
        elif self.recording and kind in (op.JMP, op.JMP32) and insn.code & 0xF0 not in (op.JA, op.EXIT, op.JCOND):
            for number in (insn.dst, insn.src) if insn.code & op.X else (insn.dst,):
                self.taken(registers[number] if number < 11 else None)

    def taken(self, region: Region | None) -> None:
        """A use of a value that may leave the addresses in it anywhere."""
        if region is not None and region.bases:
            if region.kind == "frame" and region.offset is not None:
                self.result.loose.add(region.offset)
            else:
                self.result.loose |= region.bases

    def accessed(self, slot: int, base: Region | None, offset: int, size: int, atomic: bool) -> None:
        if base is None:
            return
        at = None if base.offset is None else base.offset + offset
        if base.kind in ("ctx", "frame", "packet", "packet_meta", "value", "data", "mem"):
            self.result.places[slot] = Place(base.kind, base.what, at)
        if base.kind == "frame" and at is not None:
            self.result.direct.add((at, size))
            if atomic:
                self.result.atomic.add(at)
        elif base.bases:
            self.result.loose |= base.bases

    def forget(self, frame: dict[int, Region], lowest: int) -> None:
        """What lies above `lowest` may be read and written. A pointer that was kept there may go anywhere, and may still be there."""
        for at in [at for at in frame if at + 8 > lowest]:
            if self.recording:
                self.taken(frame[at])
            _blur(frame, at)

    def load(self, slot: int, insn: Insn, registers: list[Region | None], frame: dict[int, Region]) -> None:
        base = registers[insn.src] if insn.src < 11 else None
        size = op.SIZE_BYTES[insn.code & 0x18]
        if self.recording:
            self.accessed(slot, base, insn.off, size, False)
        result = NUMBER
        if base is not None and base.offset is not None:
            at = base.offset + insn.off
            if base.kind == "frame" and size == 8:
                result = frame.get(at, NUMBER)
            elif base.kind == "ctx":
                known = field_at(self.context, at, size)
                if known is not None and known.points_to in _PACKETS:
                    result = Region(known.points_to, "", 0)
        registers[insn.dst] = result

    def store(self, slot: int, insn: Insn, registers: list[Region | None], frame: dict[int, Region]) -> None:
        size = op.SIZE_BYTES[insn.code & 0x18]
        atomic = insn.code & 0xE0 == op.ATOMIC and insn.code & 7 == op.STX
        if atomic and insn.imm == op.LOAD_ACQ:
            if self.recording:
                self.accessed(slot, registers[insn.src], insn.off, size, True)
            registers[insn.dst] = NUMBER
            return
        base = registers[insn.dst] if insn.dst < 11 else None
        value = registers[insn.src] if insn.code & 7 == op.STX else Region("const", "", insn.imm)
        if self.recording:
            self.accessed(slot, base, insn.off, size, atomic)
        in_frame = base is not None and base.kind == "frame" and base.offset is not None
        if in_frame:
            assert base is not None and base.offset is not None
            at = base.offset + insn.off
            for old in [o for o in frame if o < at + size and at < o + 8]:
                if at <= old and old + 8 <= at + size:
                    del frame[old]
                else:
                    _blur(frame, old)
            if value is not None and size == 8 and not atomic:
                frame[at] = value
        elif base is not None and base.bases:
            self.forget(frame, _LOWEST)
        if self.recording and value is not None and value.bases and (atomic or not in_frame or size != 8):
            self.taken(value)
        if atomic and insn.imm & op.FETCH:
            registers[0 if insn.imm == op.CMPXCHG else insn.src] = NUMBER

    def alu(self, slot: int, insn: Insn, registers: list[Region | None]) -> None:
        operation, wide = insn.code & 0xF0, insn.code & 7 == op.ALU64
        other = registers[insn.src] if insn.code & op.X and insn.src < 11 else Region("const", "", insn.imm)
        if operation == op.MOV:
            if wide and not insn.off:
                registers[insn.dst] = other
            elif other is not None and other.kind == "const" and not insn.off and other.offset is not None:
                registers[insn.dst] = Region("const", "", other.offset & 0xFFFFFFFF) if not wide else other
            else:
                if self.recording:
                    self.taken(other)
                registers[insn.dst] = NUMBER
            return
        old = registers[insn.dst]
        if wide and operation in (op.ADD, op.SUB) and old is not None and other is not None:
            registers[insn.dst] = self.added(slot, insn, old, other, operation == op.SUB)
            return
        if self.recording:
            self.taken(old)
            self.taken(other)
        bases = (old.bases if old is not None else frozenset()) | (other.bases if other is not None else frozenset())
        registers[insn.dst] = Region("mixed", "", None, bases) if bases else NUMBER

    def added(self, slot: int, insn: Insn, old: Region, other: Region, minus: bool) -> Region:
        if other.kind in _POINTERS and not minus and old.kind not in _POINTERS:
            old, other = other, old
            index = insn.dst
        else:
            index = insn.src
        if old.kind in _POINTERS and other.kind not in _POINTERS:
            if other.kind == "const" and other.offset is not None and old.offset is not None:
                at = old.offset + (-other.offset if minus else other.offset)
                bases = frozenset((at,)) if old.kind == "frame" else old.bases
                return Region(old.kind, old.what, at, bases, old.maybe)
            if self.recording and other.kind == "number" and insn.code & op.X:
                self.result.indexes.add((slot, index))
            return Region(old.kind, old.what, None, old.bases, old.maybe)
        bases = old.bases | other.bases
        return Region("mixed", "", None, bases) if bases else NUMBER

    def ld(self, slot: int, insn: Insn, registers: list[Region | None]) -> None:
        if insn.code != op.LD_IMM64:
            for number in range(1, 6):
                registers[number] = None
            registers[0] = NUMBER
            return
        ref = self.code.references.get(slot)
        if ref is None or ref.core is not None:
            value = insn.imm & 0xFFFFFFFF | (self.code.insns[slot - self.code.start + 1].imm & 0xFFFFFFFF) << 32
            registers[insn.dst] = Region("const", "", value - (1 << 64) if value >> 63 else value)
        elif ref.kind == "map":
            registers[insn.dst] = Region("map", ref.name)
        elif ref.kind == "data":
            registers[insn.dst] = Region("data", ref.name, ref.offset)
        elif ref.kind == "func":
            registers[insn.dst] = Region("func", ref.name)
        else:
            registers[insn.dst] = Region("mem", "", 0)

    def call(self, slot: int, insn: Insn, registers: list[Region | None], frame: dict[int, Region]) -> None:
        count = call_arity(insn, self.code.references.get(slot), self.arities)
        reached: int | None = None  # a callee gets at what lies above the addresses that it is given, not below
        for number in range(1, count + 1):
            region = registers[number]
            if region is None or not region.bases:
                continue
            lowest = region.offset if region.kind == "frame" and region.offset is not None else _LOWEST
            reached = lowest if reached is None else min(reached, lowest)
            if self.recording:
                if region.kind == "frame" and region.offset is not None:
                    self.result.passed.append((region.offset, slot, number))
                else:
                    self.result.loose |= region.bases
        if self.recording:
            self.result.arguments[slot] = tuple(registers[1:6])
        if reached is not None:
            self.forget(frame, reached)
        result = NUMBER
        if insn.src == 0:
            prototype = helper_prototype(insn.imm) or ""
            if insn.imm == 1:
                of = registers[1]
                result = Region("value", of.what if of is not None and of.kind == "map" else "", 0, frozenset(), True)
            elif prototype[: prototype.find("(")].count("*"):
                result = Region("mem", "", 0, frozenset(), True)
        for number in range(1, 6):
            registers[number] = None
        registers[0] = result

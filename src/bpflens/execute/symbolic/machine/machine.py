"""Symbolic execution of a function: a worklist of blocks in the order of code.py, where states that meet are merged into one.

    if (a) x = 1; else x = 2; y = x + z;      ──►   one state with x = ite(a, 1, 2)

Loops unroll while their conditions are decided or become so by what the path implies. Values that enter calls, and the memories there, are
constrained by the condition of the path, so that they do not depend on how code before was arranged.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from bpflens.execute.symbolic.machine.access import Setting, load, region_at, store
from bpflens.execute.symbolic.machine.addresses import addresses
from bpflens.execute.symbolic.machine.code import FunctionCode, Meaning, Place
from bpflens.execute.symbolic.machine.memory import canonical
from bpflens.execute.symbolic.machine.regions import Refused
from bpflens.execute.symbolic.machine.state import State, choose, happens, merge
from bpflens.execute.symbolic.values import bits
from bpflens.execute.symbolic.values.bits import ext, sext, zext
from bpflens.execute.symbolic.values.comparisons import any_bits, divide, equal, less, signed_less
from bpflens.execute.symbolic.values.diagrams import both, constrain, negate
from bpflens.execute.symbolic.values.shifts import shift, swap
from bpflens.execute.symbolic.values.terms import FALSE, WORLD, Term, const, count, make, symbol
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn

__all__ = ("Machine",)

MAX_DEPTH = 8
CallHandler = Callable[["Machine", State, FunctionCode, int, int], "list[State]"]
Outcome = tuple[int | None, State]
"""(first slot of the block that follows, None for the end of the function; state)."""

_JUMPS: dict[int, Callable[[Term, Term], Term]] = {
    op.JEQ: equal,
    op.JNE: lambda a, b: negate(equal(a, b)),
    op.JSET: any_bits,
    op.JGT: lambda a, b: less(b, a),
    op.JGE: lambda a, b: negate(less(a, b)),
    op.JLT: less,
    op.JLE: lambda a, b: negate(less(b, a)),
    op.JSGT: lambda a, b: signed_less(b, a),
    op.JSGE: lambda a, b: negate(signed_less(a, b)),
    op.JSLT: signed_less,
    op.JSLE: lambda a, b: negate(signed_less(b, a)),
}
_ARITHMETIC: dict[int, Callable[[Term, Term], Term]] = {
    op.ADD: bits.plus,
    op.SUB: bits.minus,
    op.MUL: bits.multiply,
    op.OR: lambda a, b: bits.bitwise("or", a, b),
    op.AND: lambda a, b: bits.bitwise("and", a, b),
    op.XOR: lambda a, b: bits.bitwise("xor", a, b),
    op.LSH: lambda a, b: shift("shl", a, b),
    op.RSH: lambda a, b: shift("lshr", a, b),
    op.ARSH: lambda a, b: shift("ashr", a, b),
}
_DIVISIONS = {(op.DIV, 0): "udiv", (op.DIV, 1): "sdiv", (op.MOD, 0): "urem", (op.MOD, 1): "srem"}
_FETCHED: dict[int, Callable[[Term, Term], Term]] = {
    0x00: bits.plus,
    0x40: lambda a, b: bits.bitwise("or", a, b),
    0x50: lambda a, b: bits.bitwise("and", a, b),
    0xA0: lambda a, b: bits.bitwise("xor", a, b),
    0xE0: lambda a, b: b,
}


class Machine:
    """Executes the functions of one program; `call` handles the call at an instruction (calls.py)."""

    def __init__(self, setting: Setting, call: CallHandler) -> None:
        self.setting = setting
        self.call = call
        self._frames = 0

    def new_frame(self) -> int:
        """The number of a frame; each call has its own, so that what an earlier one left on the stack is nobody's value."""
        self._frames += 1
        return self._frames

    def run(self, place: Place, state: State, depth: int) -> State | None:
        """The merged state at the ends of a function; None where none is reached. `state` is used up."""
        if depth > MAX_DEPTH:
            raise Refused("calls: too deep")
        function = self.setting.code.function(place)
        self.setting.functions[function.name] = None
        pending: dict[int, list[State]] = {0: [state]}
        queue = [(0, 0)]
        out: State | None = None
        while queue:
            _, head = heapq.heappop(queue)
            states = pending.pop(head, None)
            if states is None:
                continue
            now = states[0]
            for other in states[1:]:
                now = merge(now, other, self.setting.garbage)
            for to, then in self._block(function, head, now, depth):
                if to is None:
                    out = then if out is None else merge(out, then, self.setting.garbage)
                elif to not in function.order:
                    raise Refused("input: a jump out of the function")
                else:
                    if to not in pending:
                        pending[to] = []
                        heapq.heappush(queue, (function.order[to], to))
                    pending[to].append(then)
        return out

    def _block(self, function: FunctionCode, slot: int, state: State, depth: int) -> Iterator[Outcome]:
        end = function.ends[slot]
        while slot < end:
            insn = function.insns[slot]
            count("instructions")
            kind = insn.code & 7
            if kind in (op.ALU, op.ALU64):
                _arithmetic(state, insn, _operand(state, insn, function.meanings.get(slot)))
            elif insn.code == op.EXIT_CODE:
                yield None, state
                return
            elif insn.code == op.CALL_CODE:
                left = self.call(self, state, function, slot, depth)
                yield from ((None, other) for other in left)
                if state.guard is FALSE:
                    return
            elif kind in (op.JMP, op.JMP32):
                yield from _jump(state, insn, slot)
                return
            elif insn.code == op.LD_IMM64:
                state.registers[insn.dst] = self._wide(function, slot)
                slot += 1
            elif kind == op.LD:
                yield None, _packet_load(self.setting, state, insn)
            else:
                _access(self.setting, state, insn)
            slot += 1
        yield end, state

    def _wide(self, function: FunctionCode, slot: int) -> Term | None:
        meaning = function.meanings.get(slot)
        if meaning is None:
            raise Refused("input: a reference that is not known")
        if meaning.kind == "number":
            return const(64, meaning.value)
        if meaning.kind == "core":
            return _answer(meaning)
        if meaning.kind in ("map", "ksym"):
            return symbol(64, meaning.kind, meaning.name)
        if meaning.kind in ("data", "constant", "kconfig"):
            own = (self.setting.side,) if meaning.name in self.setting.apart else ()
            return bits.offset_by(symbol(64, meaning.kind, meaning.name, *own), meaning.value)
        if meaning.kind == "function" and meaning.place is not None:
            return symbol(64, "function", self.setting.side, *meaning.place)
        raise Refused(f"input: a reference of the kind {meaning.kind}")


def _register(state: State, number: int) -> Term:
    value = state.registers[number] if number < len(state.registers) else None
    if value is None:
        raise Refused("input: a register that was not set is read")
    return value


def _answer(meaning: Meaning) -> Term:
    """What CO-RE says: any number of so many bits, the same wherever it is asked for."""
    return zext(symbol(meaning.value, "core", meaning.name), 64)


def _operand(state: State, insn: Insn, meaning: Meaning | None = None) -> Term:
    if insn.code & 0xF0 in (op.END, op.NEG) and insn.code & 7 in (op.ALU, op.ALU64):
        return const(64, 0)
    if meaning is not None and meaning.kind == "core" and not insn.code & op.X:
        return _answer(meaning)
    return _register(state, insn.src) if insn.code & op.X else const(64, insn.imm)


# --- arithmetic ---


def _arithmetic(state: State, insn: Insn, operand: Term) -> None:
    wide, operation = insn.code & 7 == op.ALU64, insn.code & 0xF0
    if insn.dst >= op.FP:
        raise Refused("input: a store to the frame pointer")
    width = 64 if wide else 32
    if operation == op.END:
        value = _byte_order(state, insn, wide)
    elif operation == op.MOV:
        value = _move(insn, operand, width)
    else:
        a = ext(_register(state, insn.dst), 0, width)
        if operation == op.NEG:
            value = bits.add(width, 0, [(a, -1)])
        else:
            value = _binary(operation, insn.off, a, ext(operand, 0, width))
    state.registers[insn.dst] = zext(value, 64)


def _binary(operation: int, off: int, a: Term, b: Term) -> Term:
    if operation in (op.DIV, op.MOD) and (operation, off) in _DIVISIONS:
        return divide(_DIVISIONS[operation, off], a, b)
    if off or operation not in _ARITHMETIC:
        raise Refused("instruction: arithmetic that is not known")
    return _ARITHMETIC[operation](a, b)


def _move(insn: Insn, value: Term, width: int) -> Term:
    if insn.off in (8, 16, 32) and insn.code & op.X and insn.off < width:
        return sext(ext(value, 0, insn.off), width)
    if insn.off:
        raise Refused("instruction: a cast between address spaces")
    return ext(value, 0, width)


def _byte_order(state: State, insn: Insn, wide: bool) -> Term:
    """To little endian is a truncation, to big endian a swap, on little-endian machines; ALU64 swaps always."""
    if insn.imm not in (16, 32, 64) or (wide and insn.code & op.X):
        raise Refused("instruction: a byte swap that is not known")
    value = ext(_register(state, insn.dst), 0, insn.imm)
    return swap(value) if wide or insn.code & op.X else value


# --- jumps ---


def _jump(state: State, insn: Insn, slot: int) -> Iterator[Outcome]:
    operation, wide = insn.code & 0xF0, insn.code & 7 == op.JMP
    if operation == op.JA:
        if insn.code not in (op.GOTO, op.GOTOL):
            raise Refused("instruction: a jump that is not known")
        yield slot + 1 + (insn.off if wide else insn.imm), state
        return
    rule = _JUMPS.get(operation)
    if rule is None:
        raise Refused("instruction: may_goto" if insn.code == op.MAY_GOTO else "instruction: a jump that is not known")
    width = 64 if wide else 32
    condition = rule(ext(_register(state, insn.dst), 0, width), ext(_operand(state, insn), 0, width))
    condition = constrain(condition, state.guard)
    taken, not_taken = both(state.guard, condition), both(state.guard, negate(condition))
    if not_taken is not FALSE:
        other = state.copy() if taken is not FALSE else state
        other.guard = not_taken
        yield slot + 1, other
    if taken is not FALSE:
        state.guard = taken
        yield slot + 1 + insn.off, state


# --- memory ---


def _access(setting: Setting, state: State, insn: Insn) -> None:
    mode, kind = insn.code & 0xE0, insn.code & 7
    size_bytes = op.SIZE_BYTES[insn.code & 0x18]
    if kind == op.LDX and mode in (op.MEM, op.MEMSX) and insn.dst < op.FP:
        value = load(setting, state, bits.offset_by(_register(state, insn.src), insn.off), size_bytes)
        state.registers[insn.dst] = sext(value, 64) if mode == op.MEMSX else zext(value, 64)
    elif kind in (op.ST, op.STX) and mode == op.MEM:
        value = const(64, insn.imm) if kind == op.ST else _register(state, insn.src)
        store(setting, state, bits.offset_by(_register(state, insn.dst), insn.off), size_bytes, ext(value, 0, 8 * size_bytes))
    elif kind == op.STX and mode == op.ATOMIC:
        _atomic(setting, state, insn, size_bytes)
    else:
        raise Refused("instruction: a load or store that is not known")


def _atomic(setting: Setting, state: State, insn: Insn, size_bytes: int) -> None:
    """Read, change, write; outside of the stack also an event, so that the order and number of atomic operations count."""
    address = bits.offset_by(_register(state, insn.dst), insn.off)
    bits_ = 8 * size_bytes
    if insn.imm == op.LOAD_ACQ or insn.imm == op.STORE_REL:
        _ordered_access(setting, state, insn, size_bytes)
        return
    operation = insn.imm & ~op.FETCH
    if size_bytes < 4 or insn.imm not in (0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, op.XCHG, op.CMPXCHG):
        raise Refused("instruction: an atomic operation that is not known")
    old = load(setting, state, address, size_bytes)
    source = ext(_register(state, insn.src), 0, bits_)
    given = [source]
    if insn.imm == op.CMPXCHG:
        expected = ext(_register(state, 0), 0, bits_)
        new = choose(equal(old, expected), source, old)
        given.append(expected)
    else:
        new = _FETCHED[operation](old, source)
    store(setting, state, address, size_bytes, new)
    _event(setting, state, f"atomic {operation:#x}", size_bytes, address, given)
    if insn.imm == op.CMPXCHG:
        state.registers[0] = zext(old, 64)
    elif insn.imm & op.FETCH:
        state.registers[insn.src] = zext(old, 64)


def _ordered_access(setting: Setting, state: State, insn: Insn, size_bytes: int) -> None:
    """load_acquire and store_release: a load or store, and an event."""
    if insn.imm == op.LOAD_ACQ:
        address = bits.offset_by(_register(state, insn.src), insn.off)
        value = load(setting, state, address, size_bytes)
        state.registers[insn.dst] = zext(value, 64)
        _event(setting, state, "load_acquire", size_bytes, address, [])
    else:
        address = bits.offset_by(_register(state, insn.dst), insn.off)
        value = ext(_register(state, insn.src), 0, 8 * size_bytes)
        store(setting, state, address, size_bytes, value)
        _event(setting, state, "store_release", size_bytes, address, [value])


def _event(setting: Setting, state: State, name: str, size_bytes: int, address: Term, given: list[Term]) -> None:
    if all(isinstance(region_at(setting, leaf), tuple) for _, leaf in addresses(address, state.guard)):
        return
    terms = tuple(constrain(term, state.guard) for term in (address, *given, state.world))
    state.world = make("effect", WORLD, (name, size_bytes, *terms))
    happens(state.world, state.guard)


def _packet_load(setting: Setting, state: State, insn: Insn) -> State:
    """LD_ABS and LD_IND: a big-endian load from the packet. Where the packet is too short the function returns 0: the state that is given
    back (bpf_gen_ld_abs, net/core/filter.c: xor r0, r0; exit). A subprogram returns to its caller.
    """
    mode, size = insn.code & 0xE0, insn.code & 0x18
    if mode not in (op.ABS, op.IND) or size == op.DW:
        raise Refused("instruction: a load that is not known")
    if _register(state, 6) is not symbol(64, "ctx"):
        raise Refused("instruction: a packet load without the context in r6")
    size_bytes = op.SIZE_BYTES[size]
    offset = const(32, insn.imm)
    if mode == op.IND:
        offset = bits.plus(ext(_register(state, insn.src), 0, 32), offset)
    region = "memory" if setting.one else "packet"
    setting.regions.add(region)
    memory = canonical(state.memory(region).freeze())
    key = (*(constrain(term, state.guard) for term in (state.generation, memory, offset)), size_bytes)
    inside = constrain(equal(make("ldok", 1, key), const(1, 1)), state.guard)
    short = state.copy()
    short.guard = both(state.guard, negate(inside))
    short.registers[0] = const(64, 0)
    state.guard = both(state.guard, inside)
    state.registers[1:6] = [None] * 5
    state.registers[0] = zext(make("ldabs", 8 * size_bytes, key), 64)
    return short

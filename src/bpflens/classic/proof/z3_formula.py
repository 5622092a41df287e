"""The same programs as formulas for z3, for what diagrams cannot decide: fields compared with each other, overlapping [x + k].

Packet bytes are 8-bit variables as long as every X is one of few constants (4 * (P & 15) has 16), and an array otherwise. States are merged
per instruction, so the formula is linear in the size of the program. z3 is imported only here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bpflens.classic.diagrams.symbolic import KERNEL, Loop, Machine
from bpflens.classic.machine.interpreter import ANCILLARY, SKF_AD_OFF, SKF_LL_OFF, SKF_NET_OFF
from bpflens.classic.proof.witness import Packet

if TYPE_CHECKING:
    from bpflens.classic.proof.equal import Verdict, Witness

__all__ = ("compare", "formula")

_WORD = 0xFFFFFFFF
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_MAX_CASES = 300
_MAX_LENGTH = 0x80000 + 64  # the largest packet of a kernel: GSO_MAX_SIZE and its headers

Insns = Sequence[tuple[int, int, int, int]]


class _NeedsArray(Exception):
    """X is not one of few constants."""


class World:
    """The packet as z3 variables, shared by the programs that are compared."""

    def __init__(self, z3: Any, arrays: bool, network_offset: int) -> None:
        self.z3 = z3
        self.bytes: dict[int, Any] = {}
        self.ancillary: dict[int, Any] = {}
        self.length = z3.BitVec("length", 32)
        self.array = z3.Array("packet", z3.BitVecSort(32), z3.BitVecSort(8)) if arrays else None
        self.network_offset = network_offset
        self.draws = 0

    def byte(self, offset: int) -> Any:
        if self.array is not None:
            return self.z3.Select(self.array, self.z3.BitVecVal(offset, 32))
        if offset not in self.bytes:
            self.bytes[offset] = self.z3.BitVec(f"p{offset}", 8)
        return self.bytes[offset]

    def load(self, offset: int, size: int) -> Any:
        parts = [self.byte(offset + i) for i in range(size)]
        value = parts[0] if size == 1 else self.z3.Concat(*parts)
        return self.z3.ZeroExt(32 - 8 * size, value) if size < 4 else value

    def load_computed(self, offset: Any, size: int) -> Any:
        if self.array is None:
            raise _NeedsArray
        parts = [self.z3.Select(self.array, offset + i) for i in range(size)]
        value = parts[0] if size == 1 else self.z3.Concat(*parts)
        return self.z3.ZeroExt(32 - 8 * size, value) if size < 4 else value


class _Value:
    """A 32-bit value: its formula, and where known the (condition, constant) cases that it is one of."""

    __slots__ = ("cases", "constant", "formula")

    def __init__(self, formula: Any, constant: int | None = None, cases: list[tuple[Any, int]] | None = None) -> None:
        self.formula = formula
        self.constant = constant
        self.cases = cases


def formula(insns: Insns, world: World, machine: Machine = KERNEL, *, bounds: bool = True, values: bool = False) -> Any:
    """The z3 formula of "accepts" (a Bool), or with `values` of the return value (32 bits)."""
    return _Execution(insns, world, machine, bounds).result(values)


class _Execution:
    def __init__(self, insns: Insns, world: World, machine: Machine, bounds: bool) -> None:
        self.insns = insns
        self.world = world
        self.z3 = world.z3
        self.kernel = machine.name != "libpcap"
        self.machine = machine
        self.bounds = bounds
        self.states: list[list[tuple[Any, _Value, _Value, dict[int, _Value]]]] = [[] for _ in insns]
        self.returns: list[tuple[Any, _Value]] = []

    def constant(self, value: int) -> _Value:
        value &= _WORD
        return _Value(self.z3.BitVecVal(value, 32), value)

    def result(self, values: bool) -> Any:
        z3 = self.z3
        self.states[0].append((z3.BoolVal(True), self.constant(0), self.constant(0), {}))
        for pc in range(len(self.insns)):
            if self.states[pc]:
                self.step(pc, *self.merge(self.states[pc]))
        if values:
            result = z3.BitVecVal(0, 32)
            for condition, value in self.returns:
                result = z3.If(condition, value.formula, result)
            return result
        accepted = [
            condition if value.constant is not None else z3.And(condition, value.formula != 0)
            for condition, value in self.returns
            if value.constant != 0
        ]
        return z3.Or(*accepted) if accepted else z3.BoolVal(False)

    def go(self, pc: int, condition: Any, a: _Value, x: _Value, m: dict[int, _Value]) -> None:
        self.states[pc].append((condition, a, x, m))

    def conjunction(self, a: Any, b: Any) -> Any:
        z3 = self.z3
        return b if z3.is_true(a) else a if z3.is_true(b) else z3.And(a, b)

    def merge(self, states: list[tuple[Any, _Value, _Value, dict[int, _Value]]]) -> tuple[Any, _Value, _Value, dict[int, _Value]]:
        if len(states) == 1:
            return states[0]
        conditions = [state[0] for state in states]
        cells = set().union(*(state[3] for state in states))
        memory = {cell: self.merge_values(conditions, [state[3].get(cell) or self.constant(0) for state in states]) for cell in cells}
        a = self.merge_values(conditions, [state[1] for state in states])
        x = self.merge_values(conditions, [state[2] for state in states])
        return self.z3.Or(*conditions), a, x, memory

    def merge_values(self, conditions: list[Any], values: list[_Value]) -> _Value:
        z3 = self.z3
        first = values[0]
        if all(v is first or (v.constant is not None and v.constant == first.constant) for v in values):
            return first
        if all(v.formula.eq(first.formula) for v in values):
            return first
        result = values[-1].formula
        for condition, value in zip(conditions[-2::-1], values[-2::-1], strict=True):
            result = z3.If(condition, value.formula, result)
        cases: dict[int, list[Any]] = {}
        for condition, value in zip(conditions, values, strict=True):
            if value.constant is not None:
                cases.setdefault(value.constant, []).append(condition)
            elif value.cases is not None:
                for guard, number in value.cases:
                    cases.setdefault(number, []).append(z3.And(condition, guard))
            else:
                return _Value(result)
        merged = None
        if len(cases) <= _MAX_CASES:
            merged = [(guards[0] if len(guards) == 1 else z3.Or(*guards), number) for number, guards in cases.items()]
        return _Value(result, None, merged)

    def reaches(self, end: int) -> Any:
        if not self.bounds:
            return self.z3.BoolVal(True)
        return self.z3.UGE(self.world.length, self.z3.BitVecVal(end, 32))

    def step(self, pc: int, condition: Any, a: _Value, x: _Value, m: dict[int, _Value]) -> None:
        z3 = self.z3
        code, jt, jf, k = self.insns[pc]
        kind = code & 7
        if kind == 6:
            self.returns.append((condition, a if code & 0x18 == 0x10 else self.constant(k)))
        elif kind == 5:
            self.jump(pc, code, jt, jf, k, condition, a, x, m)
        elif kind in (0, 1):
            condition, value = self.load(code, k, condition, a, x, m)
            if value is not None:
                self.go(pc + 1, condition, value if kind == 0 else a, x if kind == 0 else value, m)
        elif kind in (2, 3):
            self.go(pc + 1, condition, a, x, {**m, k: a if kind == 2 else x})
        elif kind == 7:
            self.go(pc + 1, condition, x if code & 0x80 else a, x if code & 0x80 else a, m)
        else:
            operand = x if code & 8 else self.constant(k)
            if code & 0xF0 in (0x30, 0x90):
                if operand.constant == 0:
                    return
                if operand.constant is None:
                    condition = z3.And(condition, operand.formula != 0)
            self.go(pc + 1, condition, self.alu(code, a, operand), x, m)

    def jump(self, pc: int, code: int, jt: int, jf: int, k: int, condition: Any, a: _Value, x: _Value, m: dict[int, _Value]) -> None:
        z3 = self.z3
        if code & 0xF0 == 0:
            if k >= 1 << 31:
                raise Loop(pc)
            self.go(pc + 1 + k, condition, a, x, m)
            return
        if jt == jf:
            self.go(pc + 1 + jt, condition, a, x, m)
            return
        b = x if code & 8 else self.constant(k)
        operation = code & 0xF0
        if a.constant is not None and b.constant is not None:
            taken = {
                0x10: a.constant == b.constant,
                0x20: a.constant > b.constant,
                0x30: a.constant >= b.constant,
                0x40: a.constant & b.constant != 0,
            }[operation]
            self.go(pc + 1 + (jt if taken else jf), condition, a, x, m)
            return
        p, q = a.formula, b.formula
        test = p == q if operation == 0x10 else z3.UGT(p, q) if operation == 0x20 else z3.UGE(p, q) if operation == 0x30 else p & q != 0
        self.go(pc + 1 + jt, self.conjunction(condition, test), a, x, m)
        self.go(pc + 1 + jf, self.conjunction(condition, z3.Not(test)), a, x, m)

    def load(self, code: int, k: int, condition: Any, a: _Value, x: _Value, m: dict[int, _Value]) -> tuple[Any, _Value | None]:
        z3, world = self.z3, self.world
        mode = code & 0xE0
        if mode == 0x00:
            return condition, self.constant(k)
        if mode == 0x80:
            return condition, self.constant(64) if self.machine.name == "seccomp" else _Value(world.length)
        if mode == 0x60:
            return condition, m.get(k) or self.constant(0)
        if mode == 0xA0:
            offset = self.fixed(k)
            if offset is None:
                return condition, None
            nibble = z3.ZeroExt(24, world.byte(offset) & 15)
            cases = [(nibble == i, 4 * i) for i in range(16)]
            return self.conjunction(condition, self.reaches(offset + 1)), _Value(nibble << 2, None, cases)
        size = _SIZES[code & 0x18]
        if self.machine.name == "seccomp":
            return condition, _Value(world.load(k, 4))
        if mode == 0x20 and k >= SKF_AD_OFF and self.kernel:
            return self.ancillary(k - SKF_AD_OFF, condition, a, x)
        if mode == 0x20 or x.constant is not None:
            total = k if mode == 0x20 else k + (x.constant or 0)
            if total > _WORD and not self.kernel:
                return condition, None
            offset = self.fixed(total & _WORD)
            if offset is None or offset + size > _MAX_LENGTH:
                return condition, None
            return self.conjunction(condition, self.reaches(offset + size)), _Value(world.load(offset, size))
        if x.cases is not None:
            value = z3.BitVecVal(0, 32)
            inside = []
            for guard, number in x.cases:
                if number + k > _WORD and not self.kernel:
                    continue
                offset = self.fixed((number + k) & _WORD)
                if offset is None or offset + size > _MAX_LENGTH:
                    continue
                value = z3.If(guard, world.load(offset, size), value)
                inside.append(self.conjunction(guard, self.reaches(offset + size)))
            if not inside:
                return condition, None
            return self.conjunction(condition, z3.Or(*inside)), _Value(value)
        at = x.formula + z3.BitVecVal(k, 32)
        if self.kernel:  # a negative sum counts from the network or link header
            at = z3.If(
                z3.UGE(at, z3.BitVecVal(SKF_NET_OFF, 32)),
                at - z3.BitVecVal(SKF_NET_OFF - world.network_offset & _WORD, 32),
                z3.If(z3.UGE(at, z3.BitVecVal(SKF_LL_OFF, 32)), at - z3.BitVecVal(SKF_LL_OFF, 32), at),
            )
            sound = z3.ULE(at, z3.BitVecVal(_MAX_LENGTH, 32))
        else:
            sound = z3.And(z3.ULE(at, z3.BitVecVal(_MAX_LENGTH, 32)), z3.ULE(x.formula, z3.BitVecVal(_WORD - k, 32)))
        if self.bounds:
            sound = z3.And(sound, z3.UGE(world.length, at + z3.BitVecVal(size, 32)))
        return self.conjunction(condition, sound), _Value(world.load_computed(at, size))

    def fixed(self, k: int) -> int | None:
        """The byte that an offset as in the instruction names."""
        if k < 1 << 31:
            return k
        if not self.kernel or k < SKF_LL_OFF:
            return None
        return k - SKF_NET_OFF + self.world.network_offset if k >= SKF_NET_OFF else k - SKF_LL_OFF

    def ancillary(self, offset: int, condition: Any, a: _Value, x: _Value) -> tuple[Any, _Value]:
        name = ANCILLARY.get(offset)
        if name == "alu_xor_x":
            return condition, _Value(a.formula ^ x.formula)
        variables = self.world.ancillary
        if name == "random":
            self.world.draws += 1
            offset += 1000 * self.world.draws
        elif name in ("nlattr", "nlattr_nest"):
            raise _NeedsArray  # a function of the packet that neither form models
        if offset not in variables:
            variables[offset] = self.z3.BitVec(f"ancillary{offset}", 32)
        return condition, _Value(variables[offset])

    def alu(self, code: int, a: _Value, b: _Value) -> _Value:
        z3 = self.z3
        operation = code & 0xF0
        if operation == 0x80:
            return self.mapped(a, -a.formula, lambda v: -v)
        if operation in (0x60, 0x70):
            if b.constant is not None:
                if b.constant > 31 and not self.kernel and code & 8:
                    return self.constant(0)
                shift = b.constant & 31
                if operation == 0x60:
                    return self.mapped(a, a.formula << shift, lambda v: v << shift)
                return self.mapped(a, z3.LShR(a.formula, shift), lambda v: v >> shift)
            amount = b.formula & 31 if self.kernel else b.formula
            return _Value(a.formula << amount if operation == 0x60 else z3.LShR(a.formula, amount))
        if operation in (0x30, 0x90):
            shown = z3.UDiv(a.formula, b.formula) if operation == 0x30 else z3.URem(a.formula, b.formula)
            if b.constant:
                divisor = b.constant
                return self.mapped(a, shown, (lambda v: v // divisor) if operation == 0x30 else (lambda v: v % divisor))
            return _Value(shown)
        function: Callable[[Any, Any], Any] = {
            0x00: lambda p, q: p + q,
            0x10: lambda p, q: p - q,
            0x20: lambda p, q: p * q,
            0x40: lambda p, q: p | q,
            0x50: lambda p, q: p & q,
            0xA0: lambda p, q: p ^ q,
        }[operation]
        if a.constant is not None and b.constant is not None:
            return self.constant(function(a.constant, b.constant))
        result = _Value(function(a.formula, b.formula))
        if b.constant is not None:
            number = b.constant
            mapped = self.mapped(a, result.formula, lambda v: function(v, number))
            if mapped.cases is None and operation == 0x50 and number.bit_count() <= 5:
                submask = number
                mapped.cases = []
                while True:
                    mapped.cases.append((mapped.formula == z3.BitVecVal(submask, 32), submask))
                    if not submask:
                        break
                    submask = submask - 1 & number
            return mapped
        if a.constant is not None:
            number = a.constant
            return self.mapped(b, result.formula, lambda v: function(number, v))
        if a.cases is not None and b.cases is not None and len(a.cases) * len(b.cases) <= _MAX_CASES:
            cases: dict[int, list[Any]] = {}
            for one, p in a.cases:
                for two, q in b.cases:
                    cases.setdefault(function(p, q) & _WORD, []).append(z3.And(one, two))
            result.cases = [(z3.Or(*guards), number) for number, guards in cases.items()]
        return result

    def mapped(self, a: _Value, shown: Any, function: Callable[[int], int]) -> _Value:
        if a.constant is not None:
            return self.constant(function(a.constant))
        if a.cases is None:
            return _Value(shown)
        cases: dict[int, list[Any]] = {}
        for guard, number in a.cases:
            cases.setdefault(function(number) & _WORD, []).append(guard)
        merged = [(guards[0] if len(guards) == 1 else self.z3.Or(*guards), number) for number, guards in cases.items()]
        return _Value(shown, None, merged)


def compare(
    a: Insns,
    b: Insns,
    machine: Machine,
    *,
    given: Insns | None,
    values: bool,
    timeout: float,
    run: Callable[[Packet], Witness | None],
    short: Witness | None = None,
    reason: str = "",
) -> Verdict:
    """As prove.compare, by z3. `run` confirms a packet; `short` is a packet already known to differ when cut short."""
    from bpflens.classic.proof.equal import Verdict

    try:
        import z3  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return Verdict("none", "", None, reason or "the diagrams differ and z3 is not installed")
    end = time.monotonic() + timeout
    unknown = ""
    for bounds in (True, False):
        if bounds and short is not None:
            continue
        verdict, packet = _check(z3, a, b, machine, bounds, given, values, max(0.1, end - time.monotonic()))
        if verdict == "unsat":
            return Verdict("all-packets" if bounds else "untruncated", "z3", None if bounds else short)
        if verdict == "sat" and packet is not None:
            witness = run(packet)
            if witness is None and not bounds:
                witness = run(Packet(packet.data + bytes(max(0, 2048 - len(packet.data))), packet.aux))
            if witness is None:
                unknown = "z3 found a difference that running the programs does not show"
            elif bounds:
                short = witness
            else:
                return Verdict("none", "z3", witness)
        else:
            unknown = unknown or verdict
    return Verdict("none", "", None, unknown or reason or "neither a proof nor a packet was found")


def find_packet(a: Insns, b: Insns, machine: Machine, given: Insns | None, timeout: float) -> tuple[str, Packet | None]:
    """A packet, long enough for all loads, that a accepts and b does not: ("sat", packet), ("unsat", None) or (why not, None)."""
    try:
        import z3  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return "z3 is not installed", None
    return _check(z3, a, b, machine, False, given, False, timeout, one_sided=True)


def _check(
    z3: Any,
    a: Insns,
    b: Insns,
    machine: Machine,
    bounds: bool,
    given: Insns | None,
    values: bool,
    timeout: float,
    one_sided: bool = False,
) -> tuple[str, Packet | None]:
    for arrays in (False, True):
        world = World(z3, arrays, machine.network_offset or 14)
        try:
            one, two = (formula(insns, world, machine, bounds=bounds, values=values) for insns in (a, b))
            assumed = formula(given, world, machine, bounds=bounds) if given is not None else None
        except _NeedsArray:
            continue
        solver = z3.SolverFor("QF_ABV" if arrays else "QF_BV")
        solver.set("timeout", int(timeout * 1000))
        solver.add(z3.ULE(world.length, _MAX_LENGTH))
        if assumed is not None:
            solver.add(assumed)
        solver.add(z3.And(one, z3.Not(two)) if one_sided else one != two)
        answer = str(solver.check())
        if answer == "unknown":
            return f"z3 gave up: {solver.reason_unknown()}", None
        return answer, _packet(solver.model(), world, bounds) if answer == "sat" else None
    return "the program uses data that is not modelled", None


def _packet(model: Any, world: World, bounds: bool) -> Packet:
    def number(term: Any) -> int:
        return int(model.eval(term, model_completion=True).as_long())

    length = number(world.length)
    size = min(length, _MAX_LENGTH) if bounds else min(max(length, 2048), _MAX_LENGTH)
    data = bytearray(size)
    if world.array is None:
        for offset, variable in world.bytes.items():
            if offset < size:
                data[offset] = number(variable)
    else:
        for offset in range(min(size, 4096)):
            data[offset] = number(world.byte(offset))
    aux = {ANCILLARY[offset]: number(variable) for offset, variable in world.ancillary.items() if offset in ANCILLARY}
    return Packet(bytes(data), {**aux, "network_offset": world.network_offset})

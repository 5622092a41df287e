"""A classic program as a formula for z3: the engine with a model of its own, which knows every load that the machine knows.

Packet bytes are 8-bit variables as long as every X is one of few constants (4 * (P & 15) has 16), and an array otherwise. States are merged
per instruction, so the formula is linear in the size of the program. It shares no code with the diagrams but the table of codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bpflens.classic.diagrams.symbolic import Loop
from bpflens.classic.machine.interpreter import ANCILLARY
from bpflens.classic.proof.verdict import Insns
from bpflens.classic.proof.z3_world import World
from bpflens.isa.classic.table import SKF_AD_OFF, SKF_LL_OFF, SKF_NET_OFF

__all__ = ("formula",)

_WORD = 0xFFFFFFFF
_POSITIVE = 1 << 31
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_MAX_CASES = 300


class _Value:
    """A 32-bit value: its formula, where known the (condition, constant) cases that it is one of, and a `top` that it never exceeds."""

    __slots__ = ("cases", "constant", "formula", "top")

    def __init__(
        self, formula: Any, constant: int | None = None, cases: list[tuple[Any, int]] | None = None, top: int = _WORD
    ) -> None:
        self.formula = formula
        self.constant = constant
        self.cases = cases
        self.top = top if constant is None else constant


def formula(insns: Insns, world: World, *, bounds: bool = True, values: bool = False) -> Any:
    """The z3 formula of "accepts" (a Bool), or with `values` of the return value (32 bits).

    Without `bounds` every load succeeds. NeedsArray where the world has none and an offset is not one of few constants.
    """
    return _Execution(insns, world, bounds).result(values)


class _Execution:
    def __init__(self, insns: Insns, world: World, bounds: bool) -> None:
        self.insns = insns
        self.world = world
        self.z3 = world.z3
        self.kernel = world.kernel
        self.seccomp = world.machine.name == "seccomp"
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
                return _Value(result, top=max(value.top for value in values))
        merged = None
        if len(cases) <= _MAX_CASES:
            merged = [(guards[0] if len(guards) == 1 else z3.Or(*guards), number) for number, guards in cases.items()]
        return _Value(result, None, merged, max(value.top for value in values))

    def reaches(self, region: str, end: int) -> Any:
        if not self.bounds:
            return self.z3.BoolVal(True)
        return self.z3.UGE(self.world.room(region), self.z3.BitVecVal(end, 32))

    def joined(self, parts: list[Any]) -> Any:
        """Bytes, most significant first, as a 32-bit value."""
        z3 = self.z3
        value = parts[0] if len(parts) == 1 else z3.Concat(*parts)
        return z3.ZeroExt(32 - 8 * len(parts), value) if len(parts) < 4 else value

    def step(self, pc: int, condition: Any, a: _Value, x: _Value, m: dict[int, _Value]) -> None:
        z3 = self.z3
        code, jt, jf, k = self.insns[pc]
        kind = code & 7
        if kind == 6:
            self.returns.append((condition, a if code & 0x18 == 0x10 else self.constant(k)))
        elif kind == 5:
            self.jump(pc, code, jt, jf, k, condition, a, x, m)
        elif kind in (0, 1):
            condition, value = self.load(pc, condition, a, x, m)
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

    def load(self, pc: int, condition: Any, a: _Value, x: _Value, m: dict[int, _Value]) -> tuple[Any, _Value | None]:
        """The condition under which the program goes on after a load, and the value; None where it never does."""
        z3, world = self.z3, self.world
        code, _, _, k = self.insns[pc]
        mode = code & 0xE0
        if mode == 0x00:
            return condition, self.constant(k)
        if mode == 0x80:
            return condition, self.constant(64) if self.seccomp else _Value(world.length)
        if mode == 0x60:
            return condition, m.get(k) or self.constant(0)
        if mode == 0xA0:
            place = self.place(k)
            if place is None:
                return condition, None
            nibble = z3.ZeroExt(24, world.byte(*place) & 15)
            cases = [(nibble == i, 4 * i) for i in range(16)]
            return self.conjunction(condition, self.reaches(place[0], place[1] + 1)), _Value(nibble << 2, None, cases, 60)
        size = _SIZES[code & 0x18]
        if self.seccomp:
            return condition, _Value(self.joined([world.byte("data", k + i) for i in range(4)]))
        if mode == 0x20 and k >= SKF_AD_OFF and self.kernel:
            return self.ancillary(pc, condition, a, x)
        if mode == 0x20 or x.constant is not None:
            return self.load_fixed(k if mode == 0x20 else k + (x.constant or 0), size, condition)
        if x.cases is not None:
            return self.load_cases(x.cases, k, size, condition)
        return self.load_computed(x, k, size, condition)

    def load_fixed(self, total: int, size: int, condition: Any) -> tuple[Any, _Value | None]:
        place = None if total > _WORD and not self.kernel else self.place(total & _WORD)
        if place is None:
            return condition, None
        region, offset = place
        value = self.joined([self.world.byte(region, offset + i) for i in range(size)])
        return self.conjunction(condition, self.reaches(region, offset + size)), _Value(value, top=(1 << 8 * size) - 1)

    def load_cases(self, cases: list[tuple[Any, int]], k: int, size: int, condition: Any) -> tuple[Any, _Value | None]:
        value = self.z3.BitVecVal(0, 32)
        inside = []
        for guard, number in cases:
            reached, loaded = self.load_fixed(number + k, size, guard)
            if loaded is not None:
                value = self.z3.If(guard, loaded.formula, value)
                inside.append(reached)
        if not inside:
            return condition, None
        return self.conjunction(condition, self.z3.Or(*inside)), _Value(value, top=(1 << 8 * size) - 1)

    def load_computed(self, x: _Value, k: int, size: int, condition: Any) -> tuple[Any, _Value]:
        """A load at X + k: in the kernel a sum modulo 2^32, which from 2^31 on counts from the link or network header or fails."""
        z3, world = self.z3, self.world
        at = x.formula + z3.BitVecVal(k, 32)
        top = (1 << 8 * size) - 1

        def inside(region: str, offset: Any) -> Any:
            room = world.room(region)
            return z3.And(z3.UGE(room, size), z3.ULE(offset, room - size))

        def loaded(region: str, offset: Any) -> Any:
            return self.joined([world.byte_at(region, offset + i) for i in range(size)])

        if x.top + k + size <= _POSITIVE or not self.kernel:
            good = inside("packet", at)
            if not self.kernel:
                good = z3.And(good, z3.ULE(x.formula, z3.BitVecVal(_WORD - k, 32)))
            return self.conjunction(condition, good) if self.bounds else condition, _Value(loaded("packet", at), top=top)
        net, link = at - SKF_NET_OFF, at - SKF_LL_OFF
        in_net, in_link = z3.UGE(at, SKF_NET_OFF), z3.UGE(at, SKF_LL_OFF)
        value = z3.If(in_net, loaded("net", net), z3.If(in_link, loaded("link", link), loaded("packet", at)))
        near = z3.And(z3.ULT(at, _POSITIVE), inside("packet", at))
        good = z3.If(in_net, inside("net", net), z3.If(in_link, inside("link", link), near))
        return self.conjunction(condition, good) if self.bounds else condition, _Value(value, top=top)

    def place(self, k: int) -> tuple[str, int] | None:
        """(region, offset) of an offset as in the instruction; None where nothing is."""
        if k < _POSITIVE:
            return "packet", k
        if not self.kernel or k < SKF_LL_OFF:
            return None
        return ("net", k - SKF_NET_OFF) if k >= SKF_NET_OFF else ("link", k - SKF_LL_OFF)

    def ancillary(self, pc: int, condition: Any, a: _Value, x: _Value) -> tuple[Any, _Value]:
        number = self.insns[pc][3] - SKF_AD_OFF
        name = ANCILLARY.get(number)
        if name == "alu_xor_x":
            return condition, _Value(a.formula ^ x.formula)
        if name in ("nlattr", "nlattr_nest"):
            return condition, _Value(self.world.attribute(number, a.formula, x.formula))
        if name in ("ifindex", "hatype") and self.bounds:  # a packet without a device: the program ends with what A holds
            self.returns.append((self.conjunction(condition, self.z3.Not(self.world.device)), a))
            condition = self.conjunction(condition, self.world.device)
        return condition, _Value(self.world.ancillary(number, pc if name == "random" else None))

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
                    return self.mapped(a, a.formula << shift, lambda v: v << shift, min(a.top << shift, _WORD))
                return self.mapped(a, z3.LShR(a.formula, shift), lambda v: v >> shift, a.top >> shift)
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
        result = _Value(function(a.formula, b.formula), top=_top(operation, a.top, b.top))
        if b.constant is not None:
            number = b.constant
            mapped = self.mapped(a, result.formula, lambda v: function(v, number), result.top)
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
            return self.mapped(b, result.formula, lambda v: function(number, v), result.top)
        if a.cases is not None and b.cases is not None and len(a.cases) * len(b.cases) <= _MAX_CASES:
            cases: dict[int, list[Any]] = {}
            for one, p in a.cases:
                for two, q in b.cases:
                    cases.setdefault(function(p, q) & _WORD, []).append(z3.And(one, two))
            result.cases = [(z3.Or(*guards), number) for number, guards in cases.items()]
        return result

    def mapped(self, a: _Value, shown: Any, function: Callable[[int], int], top: int = _WORD) -> _Value:
        if a.constant is not None:
            return self.constant(function(a.constant))
        if a.cases is None:
            return _Value(shown, top=top)
        cases: dict[int, list[Any]] = {}
        for guard, number in a.cases:
            cases.setdefault(function(number) & _WORD, []).append(guard)
        merged = [(guards[0] if len(guards) == 1 else self.z3.Or(*guards), number) for number, guards in cases.items()]
        return _Value(shown, None, merged, max(number for _, number in merged))


def _top(operation: int, a: int, b: int) -> int:
    """A bound of a op b, from bounds of both."""
    if operation == 0x50:
        return min(a, b)
    if operation in (0x00, 0x20):
        return min(a + b if operation == 0x00 else a * b, _WORD)
    if operation in (0x40, 0xA0):
        return (1 << max(a, b).bit_length()) - 1
    return _WORD

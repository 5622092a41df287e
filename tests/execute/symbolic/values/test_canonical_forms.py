"""The canonical forms of terms against integer arithmetic: random expressions, random values."""

from __future__ import annotations

import random
from collections.abc import Callable

from bpflens.execute.symbolic.interpretation import Interpretation
from bpflens.execute.symbolic.values import bits
from bpflens.execute.symbolic.values.comparisons import any_bits, divide, divide_numbers, equal, less, signed_less
from bpflens.execute.symbolic.values.diagrams import constrain, either, ite, negate
from bpflens.execute.symbolic.values.shifts import shift, swap
from bpflens.execute.symbolic.values.terms import Term, const, session, symbol

M64 = (1 << 64) - 1
CONSTANTS = (0, 1, 2, 3, 8, 16, 31, 32, 63, 0xFF, 0xFFFF, 0xFFFFFFF0, 0xFFFFFFFF, 1 << 31, 1 << 63, M64, M64 - 3)
Pair = tuple[Term, int]
Env = dict[str, int]


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


COMPARISONS: list[tuple[Callable[[Term, Term], Term], Callable[[int, int, int], bool]]] = [
    (equal, lambda x, y, w: x == y),
    (lambda a, b: negate(equal(a, b)), lambda x, y, w: x != y),
    (any_bits, lambda x, y, w: bool(x & y)),
    (less, lambda x, y, w: x < y),
    (lambda a, b: negate(less(b, a)), lambda x, y, w: x <= y),
    (signed_less, lambda x, y, w: signed(x, w) < signed(y, w)),
    (lambda a, b: negate(signed_less(b, a)), lambda x, y, w: signed(x, w) <= signed(y, w)),
]


class Fixed(Interpretation):
    """Inputs with given values."""

    def __init__(self, env: Env) -> None:
        super().__init__(0)
        self.env = env

    def _symbol(self, name: tuple[object, ...], width: int) -> int:
        return self.env[str(name[0])]


def atom(r: random.Random, env: Env) -> Pair:
    if r.random() < 0.3:
        value = r.choice([*CONSTANTS, r.getrandbits(64), r.getrandbits(8)])
        return const(64, value), value
    name, width = r.choice(list(env)), r.choice([8, 16, 32, 64])
    return bits.zext(bits.ext(symbol(64, name), 0, width), 64), env[name] & ((1 << width) - 1)


def binary(r: random.Random, kind: int, w: int, x: Term, y: Term, vx: int, vy: int) -> Pair:
    if kind < 3:
        return [(bits.plus(x, y), vx + vy), (bits.minus(x, y), vx - vy), (bits.multiply(x, y), vx * vy)][kind]
    if kind < 6:
        name = ("and", "or", "xor")[kind - 3]
        return bits.bitwise(name, x, y), {"and": vx & vy, "or": vx | vy, "xor": vx ^ vy}[name]
    if kind < 9:
        name = ("shl", "lshr", "ashr")[kind - 6]
        if r.random() < 0.7:
            vy = r.choice([1, 2, 3, 4, 8, 16, 24, 31])
            y = const(w, vy)
        by = vy & (w - 1)
        return shift(name, x, y), vx << by if name == "shl" else vx >> by if name == "lshr" else signed(vx, w) >> by
    name = r.choice(["udiv", "urem", "sdiv", "srem"])
    if r.random() < 0.5:
        vy = r.choice([1, 2, 3, 8, 10, 1000, (1 << w) - 1])
        y = const(w, vy)
    return divide(name, x, y), divide_numbers(name, vx, vy, w)


def decision(r: random.Random, depth: int, env: Env, w: int, x: Term, y: Term, vx: int, vy: int, then: Pair) -> Pair:
    m = (1 << w) - 1
    if r.random() < 0.4:
        vy = r.choice([0, 1, 2, 5, 8, 255, 256, m, m - 1, 1 << (w - 1), (1 << (w - 1)) - 1, 0x800])
        y = const(w, vy)
        if r.random() < 0.3:
            x, y, vx, vy = y, x, vy, vx
    rule, on_numbers = r.choice(COMPARISONS)
    condition, holds = rule(x, y), on_numbers(vx, vy, w)
    other = expression(r, depth - 1, env)
    if r.random() < 0.5:
        name = r.choice(list(env))
        extra, also = equal(bits.ext(symbol(64, name), 0, 8), const(8, 1)), env[name] & 0xFF == 1
        if also or holds:
            condition = constrain(condition, either(extra, condition))
    return ite(condition, then[0], other[0]), then[1] if holds else other[1]


def expression(r: random.Random, depth: int, env: Env) -> Pair:
    """A term of 64 bits and its value."""
    if depth == 0 or r.random() < 0.1:
        return atom(r, env)
    (a, va), (b, vb) = expression(r, depth - 1, env), expression(r, depth - 1, env)
    w = r.choice([32, 64])
    m = (1 << w) - 1
    x, y, vx, vy = bits.ext(a, 0, w), bits.ext(b, 0, w), va & m, vb & m
    kind = r.randrange(20)
    if kind == 10:
        n = r.choice([16, 32, 64])
        return bits.zext(swap(bits.ext(a, 0, n)), 64), int.from_bytes((va & ((1 << n) - 1)).to_bytes(n // 8, "little"), "big")
    if kind == 11:
        n = r.choice([1, 8, 16, 32])
        return bits.sext(bits.ext(a, 0, n), 64), signed(va & ((1 << n) - 1), n) & M64
    if kind > 11:
        return decision(r, depth, env, w, x, y, vx, vy, (b, vb))
    term, value = binary(r, kind, w, x, y, vx, vy)
    return bits.zext(term, 64), value & m


def test_terms_have_the_value_of_what_they_were_made_of() -> None:
    """1,500 random expressions, each under its own values."""
    r = random.Random(11)
    interesting = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, M64, 1 << 63)
    for _ in range(10):
        with session(10_000_000):
            for _ in range(150):
                env = {name: r.choice([*interesting, r.getrandbits(64), r.getrandbits(16)]) for name in "xyz"}
                term, value = expression(r, r.choice([2, 3, 4, 5]), env)

                assert Fixed(env)(term) == value, term

"""The value of a term when every input has a number: from a seed, so that two terms can be compared on many random inputs.

A call is a number made of its arguments, of the memories that differ from its generation, and of the history before it; what it gives is
made of that number. Two terms that differ under one interpretation are not the same function.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from bpflens.execute.symbolic.machine.helper_effects import LOOKUPS
from bpflens.execute.symbolic.values.comparisons import divide_numbers
from bpflens.execute.symbolic.values.terms import MEM, Term, count

__all__ = ("Interpretation",)

_FULL = (1 << 64) - 1
_PLACES = {"map": 40, "data": 41, "constant": 41, "kconfig": 41, "ksym": 41, "element": 42, "key": 43, "object": 43, "packet": 45,
           "ctx": 46, "buf": 47, "fp": 47}  # fmt: skip


class Interpretation:
    """One choice of all inputs and of all results of calls; calling it with a term gives a number, or (base, bytes) for a memory."""

    def __init__(self, seed: int) -> None:
        self.seed = str(seed)
        self.known: dict[Term, Any] = {}

    def __call__(self, term: Term) -> Any:
        """The value of a term."""
        if term.width == MEM:
            base, written = self.memory(term)
            return base, tuple(sorted(written.items()))
        known = self.known.get(term)
        if known is None:
            count("interpretation")
            known = self.known[term] = self._value(term)
        return known

    def random(self, bits: int, *key: Any) -> int:
        """A number that the seed and the key decide; often a small one."""
        digest = blake2b(repr((self.seed, key)).encode(), digest_size=16).digest()
        value = int.from_bytes(digest[:8], "little")
        kind = digest[8] % 4
        if kind == 0:
            value = digest[9] % 4
        elif kind == 1 and bits > 16:
            value &= 0xFF
        return value & ((1 << bits) - 1)

    def memory(self, term: Term) -> tuple[Any, dict[int, int]]:
        """A memory as (base, the bytes that differ from the base)."""
        known: tuple[Any, dict[int, int]] | None = self.known.get(term)
        if known is not None:
            return known
        count("interpretation")
        if term.op == "base":
            known = (("base", self(term.args[0]), term.args[1]), {})
        elif term.op in ("ite", "gite"):
            known = self.memory(term.args[1] if self.holds(term) else term.args[2])
        else:
            base, written = self.memory(term.args[0])
            written = dict(written)
            start = self(term.args[1]) if term.args[1] is not None else 0
            for offset, byte in term.args[2]:
                at, value = (start + offset) & _FULL, self(byte)
                if value == self.read(base, at):
                    written.pop(at, None)
                else:
                    written[at] = value
            known = (base, written)
        self.known[term] = known
        return known

    def read(self, base: Any, at: int) -> int:
        """A byte of a memory that the program did not write."""
        return self.random(8, "byte", base, at)

    def holds(self, term: Term) -> bool:
        """Does the condition of a decision hold?"""
        if term.op == "gite":
            return bool(self(term.args[0]))
        atom = term.args[0]
        known = self.known.get(atom)
        if known is None:
            known = self.known[atom] = self._atom(atom)
        return bool(known)

    def _atom(self, atom: Term) -> bool:
        if atom.op == "batom":
            return bool(self(atom.args[0]))
        a, b, width = self(atom.args[0]), self(atom.args[1]), atom.args[0].width
        if atom.op == "slt":
            return _signed(a, width) < _signed(b, width)
        return bool(a == b) if atom.op == "eq" else bool(a < b)

    def _value(self, term: Term) -> Any:
        op, args, width = term.op, term.args, term.width
        full = (1 << width) - 1 if width > 0 else _FULL
        if op in ("k", "bool"):
            return args
        if op == "sym":
            return self._symbol(args, width)
        if op in ("ite", "gite"):
            return self(args[1] if self.holds(term) else args[2])
        if op == "cat":
            result = shift = 0
            for part in args:
                result |= self(part) << shift
                shift += part.width
            return result
        if op == "ext":
            return self(args[0]) >> args[1] & full
        if op == "sext":
            return _signed(self(args[0]), args[0].width) & full
        if op == "add":
            return (args[0] + sum(k * self(x) for x, k in args[1])) & full
        if op in _BINARY:
            return _BINARY[op](self(args[0]), self(args[1])) & full
        if op == "ashr":
            return _signed(self(args[0]), width) >> self(args[1]) & full
        if op in ("udiv", "urem", "sdiv", "srem"):
            return divide_numbers(op, self(args[0]), self(args[1]), width) & full
        if op == "sel":
            base, written = self.memory(args[0])
            at = ((self(args[1]) if args[1] is not None else 0) + args[2]) & _FULL
            return written[at] if at in written else self.read(base, at)
        return self._effect(op, args, width)

    def _symbol(self, name: tuple[Any, ...], width: int) -> int:
        place = _PLACES.get(name[0])
        if place is not None:
            return (1 << place) + (self.random(24, *name) << 13) + (self.random(8, *name) & 0xF8)
        if name[0] == "meta":
            return self._symbol(("packet", *name[1:]), 64) - self.random(5, *name)
        if name[0] == "length":
            return 14 + self.random(7, *name)
        return self.random(width if width > 0 else 64, *name)

    def _effect(self, op: str, args: Any, width: int) -> int:
        if op == "call":
            helper, shape, given, memories, world, generation = args
            start = self(generation)
            changed = tuple(
                (region, value) for region, value in ((r, self(m)) for r, m in memories) if value != (("base", start, region), ())
            )
            return self.random(62, "call", helper, shape, tuple((x.width, self(x)) for x in given), changed, self(world), start) | 1 << 62
        values = tuple(self(x) if isinstance(x, Term) else x for x in args)
        if op == "ret" and args[0].args[0] in LOOKUPS:
            value = self.random(26, op, *values)
            return 0 if value % 3 == 0 else (1 << 42) + (value << 12)
        if op == "pktbase":
            return (1 << 45) + (self.random(24, op, *values) << 13)
        if op == "pktmeta":
            return (1 << 45) + (self.random(24, "pktbase", *values) << 13)
        if op == "pktlen":
            return 14 + self.random(7, op, *values)
        return self.random(width if width > 0 else 62, op, *values) | (1 << 62 if width <= 0 else 0)


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


_BINARY = {
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b,
    "lshr": lambda a, b: a >> b,
}

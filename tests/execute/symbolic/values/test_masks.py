"""Bits that a term may have, and a number that it does not exceed."""

from __future__ import annotations

import random

from bpflens.execute.symbolic.values.bits import ext, plus, zext
from bpflens.execute.symbolic.values.comparisons import equal
from bpflens.execute.symbolic.values.diagrams import ite
from bpflens.execute.symbolic.values.masks import mask, upper
from bpflens.execute.symbolic.values.terms import const, session, symbol
from execute.symbolic.values.test_canonical_forms import expression


def test_masks_and_bounds_hold_for_random_terms() -> None:
    r = random.Random(3)
    with session(10_000_000):
        for _ in range(150):
            env = {name: r.choice([0, 1, 0xFF, 1 << 31, 1 << 63, r.getrandbits(64), r.getrandbits(12)]) for name in "xyz"}
            term, value = expression(r, 3, env)
            assert not value & ~mask(term) and value <= upper(term), term


def test_masks_are_as_narrow_as_they_can_be() -> None:
    with session(10_000):
        byte, half = (zext(symbol(bits, "x", bits), 64) for bits in (8, 16))
        assert (mask(byte), mask(const(64, 0x50)), mask(symbol(64, "y"))) == (0xFF, 0x50, (1 << 64) - 1)
        assert mask(plus(half, byte)) == 0x1FFFF and mask(ext(byte, 4, 16)) == 0xF
        choice = ite(equal(symbol(64, "y"), const(64, 1)), const(64, 0x100), const(64, 3))
        assert (mask(choice), upper(choice)) == (0x103, 0x100)

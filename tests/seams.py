"""Pairs of classic programs aimed at the seams of the proofs, and packets that fall into them.

Each pair does "the same" in two ways, of which some are and some are not: sums that wrap at 2^32 or turn into the kernel's negative
offsets, loads in halves, casts that lose bits, differences told by xor or by subtraction, shifts by 32 and more, division by X, lengths,
terminals that differ only in value, packets without a device.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Program = list[tuple[int, int, int, int]]

WORDS = (0, 1, 2, 3, 4, 5, 15, 16, 31, 32, 60, 63, 64, 0x7FFFFFFC, 0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFE00000, 0xFFDFFFFE,
         0xFFDFFFFF, 0xFFE00004, 0xFFEFFFFC, 0xFFEFFFFE, 0xFFF00000, 0xFFEFFFFF, 0xFFF00003, 0xFFFFEFFF, 0xFFFFF000, 0xFFFFF008, 0xFFFFFFFC,
         0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF, 0x100000, 0x0FFFFE, 0x200000, 0xFFFF, 0x10000, 0x00FFFFFF, 0x01000000)  # fmt: skip
SMALL = (0, 1, 2, 3, 4, 6, 8, 12, 14, 16, 20, 28)
LOAD = {4: 0x20, 2: 0x28, 1: 0x30}
RET, LDI, TAX, TXA, LEN = 0x06, 0x00, 0x07, 0x87, 0x80


def _index(r: random.Random) -> Program:
    """Something in X, of which all, some or few values are addresses."""
    kind = r.randrange(9)
    where = r.choice((0, 4, 8))
    if kind == 0:
        return [(0xB1, 0, 0, where)]
    if kind == 1:
        return [(0x28, 0, 0, where), (TAX, 0, 0, 0)]
    if kind == 2:
        return [(LEN, 0, 0, 0), (r.choice((0x14, 0x04)), 0, 0, r.choice((1, 2, 4, 8, 0x100000))), (TAX, 0, 0, 0)]
    if kind == 3:
        return [(0x20, 0, 0, where), (0x54, 0, 0, r.choice((0xFF, 0x7FFFFFFF, 0xFFFFFFFC, 0x8000000F, 0xFFF0003F))), (TAX, 0, 0, 0)]
    if kind == 4:
        return [(0x30, 0, 0, where), (0x84, 0, 0, 0), (TAX, 0, 0, 0)]
    if kind == 5:
        return [(0x20, 0, 0, where), (0x74, 0, 0, r.choice((1, 8, 20, 31))), (TAX, 0, 0, 0)]
    if kind == 6:
        return [(0x30, 0, 0, where), (0x24, 0, 0, r.choice((4, 3, 0x1000000, 0xFFE00000))), (TAX, 0, 0, 0)]
    return [(0x20, 0, 0, where), (TAX, 0, 0, 0)]


def _offset(r: random.Random) -> int:
    return r.choice(SMALL) if r.random() < 0.6 else r.choice(WORDS)


def _wrapped_halves(r: random.Random) -> tuple[Program, Program, int]:
    """[x+k:2n] masked, or [x+k+n:n]."""
    index, k, size = _index(r), _offset(r), r.choice((1, 2))
    full = (1 << 8 * size) - 1
    wide = [*index, (0x40 if size == 2 else 0x48, 0, 0, k), (0x54, 0, 0, full)]
    narrow = [*index, (0x48 if size == 2 else 0x50, 0, 0, (k + size) & 0xFFFFFFFF)]
    return wide, narrow, full


def _moved_sum(r: random.Random) -> tuple[Program, Program, int]:
    """The constant added to X, or in the load."""
    index, k, size, more = _index(r), _offset(r), r.choice((0x40, 0x48, 0x50)), r.choice((*SMALL, 0xFFFFFFFC, 0xFFF00000, 0x80000000))
    one = [*index, (size, 0, 0, (k + more) & 0xFFFFFFFF)]
    two = [*index, (TXA, 0, 0, 0), (0x04, 0, 0, more), (TAX, 0, 0, 0), (size, 0, 0, k)]
    return one, two, 0xFFFFFFFF


def _negative(r: random.Random) -> tuple[Program, Program, int]:
    """A place from the network header, or the byte that it usually is."""
    k, code = r.choice(SMALL), r.choice((0x20, 0x28, 0x30))
    start, usual = r.choice(((0xFFF00000, 0), (0xFFE00000, 0), (0xFFF00000, 14)))
    if r.random() < 0.5:
        return [(code, 0, 0, start + k)], [(code, 0, 0, usual + k)], 0xFFFFFFFF
    index = _index(r)
    return [*index, (code + 0x20, 0, 0, start + k)], [*index, (code + 0x20, 0, 0, usual + k)], 0xFFFFFFFF


def _xor_or_sub(r: random.Random) -> tuple[Program, Program, int]:
    """Two fields the same: by xor, by subtraction, by comparison with X."""
    first, second, size = r.choice(SMALL), r.choice(SMALL), r.choice((1, 2, 4))
    code = LOAD[size]
    loads = [(code, 0, 0, first), (TAX, 0, 0, 0), (code, 0, 0, second)]
    ways: list[Program] = [[*loads, (0xAC, 0, 0, 0)], [*loads, (0x1C, 0, 0, 0)], [*loads, (0x1C, 0, 0, 0), (0x84, 0, 0, 0)]]
    ways.append([(code, 0, 0, second), (TAX, 0, 0, 0), (code, 0, 0, first), (0x1C, 0, 0, 0)])
    one, two = r.sample(ways, 2)
    return one, two, 0


def _cast(r: random.Random) -> tuple[Program, Program, int]:
    """A mask before or after a shift, a shift there and back."""
    code, k, shift = r.choice((0x20, 0x28, 0x30)), r.choice(SMALL), r.choice((0, 1, 4, 7, 8, 12, 16, 24, 31))
    mask = r.choice((0xFF, 0xF0, 0x0F, 0xFFFF, 0xFF00, 0xFFFFFF00, 0x80000000, 0xFFFFFFFF, 0x10F, 0x7FFF8000))
    load = (code, 0, 0, k)
    ways: list[Program] = [
        [load, (0x74, 0, 0, shift), (0x54, 0, 0, mask)],
        [load, (0x54, 0, 0, mask << shift & 0xFFFFFFFF), (0x74, 0, 0, shift)],
        [load, (0x54, 0, 0, mask), (0x74, 0, 0, shift)],
        [load, (0x64, 0, 0, shift), (0x74, 0, 0, shift), (0x54, 0, 0, mask)],
        [load, (0x34, 0, 0, 1 << shift), (0x54, 0, 0, mask)],
        [load, (0x24, 0, 0, 1 << shift), (0x34, 0, 0, 1 << shift), (0x54, 0, 0, mask)],
        [load, (0x94, 0, 0, min(mask + 1, 0xFFFFFFFF)), (0x54, 0, 0, mask)],
        [load, (0x54, 0, 0, mask)],
        [load, (0x84, 0, 0, 0), (0x84, 0, 0, 0), (0x54, 0, 0, mask)],
    ]
    one, two = r.sample(ways, 2)
    return one, two, mask


def _shift_by_x(r: random.Random) -> tuple[Program, Program, int]:
    """Shifts by X, which one machine takes modulo 32 and the other does not; division by X."""
    k, code = r.choice(SMALL), r.choice((0x6C, 0x7C, 0x3C, 0x9C))
    count = [(0x30, 0, 0, r.choice(SMALL)), *([(0x54, 0, 0, r.choice((0x1F, 0x3F, 0xFF)))] if r.random() < 0.7 else [])]
    one: Program = [*count, (TAX, 0, 0, 0), (0x20, 0, 0, k), (code, 0, 0, 0)]
    other = r.choice(([(0x54, 0, 0, 0x1F)], [(0x94, 0, 0, 32)], []))
    two: Program = [*count, *other, (TAX, 0, 0, 0), (0x20, 0, 0, k), (code, 0, 0, 0)]
    return one, two, 0xFFFFFFFF


def _length(r: random.Random) -> tuple[Program, Program, int]:
    """Whether a byte is there, by loading it or by the length."""
    limit = r.randrange(64)
    size = r.choice((1, 2, 4))
    loaded: Program = [(LOAD[size], 0, 0, limit), (LDI, 0, 0, 7)]
    enough = r.choice((limit + size, limit + size, limit + size - 1, limit))
    told: Program = [(LEN, 0, 0, 0), (0x35, 1, 0, enough), (RET, 0, 0, 0), (LDI, 0, 0, 7)]
    return loaded, told, 7


def _tested_twice(r: random.Random) -> tuple[Program, Program, int]:
    """A field tested whole, or in two halves, or one half by a sum."""
    k, value = r.choice(SMALL), r.choice((0x0800, 0x1234, 0xFFFF, 0x0001, 0xFF00))
    whole: Program = [(0x28, 0, 0, k), (0x15, 1, 0, value), (RET, 0, 0, 0), (LDI, 0, 0, 3)]
    halves: Program = [
        (0x30, 0, 0, k), (0x15, 1, 0, value >> 8), (RET, 0, 0, 0),
        (0x30, 0, 0, k + 1), (0x04, 0, 0, r.choice((0, 0, 1, 0xFFFFFFFF))), (0x15, 1, 0, value & 255), (RET, 0, 0, 0), (LDI, 0, 0, 3),
    ]  # fmt: skip
    return whole, halves, 3


def _device(r: random.Random) -> tuple[Program, Program, int]:
    """What A holds when a packet without a device is asked for it."""
    held = r.choice((0, 0, 1, 5))
    one: Program = [(LDI, 0, 0, held), (0x20, 0, 0, 0xFFFFF000 + r.choice((8, 28))), (0x54, 0, 0, 0), (0x04, 0, 0, 1)]
    two: Program = [(LDI, 0, 0, r.choice((held, 0))), *one[1:]]
    return one, two, 1


TEMPLATES: tuple[Callable[[random.Random], tuple[Program, Program, int]], ...] = (
    _wrapped_halves, _moved_sum, _negative, _xor_or_sub, _cast, _shift_by_x, _length, _tested_twice, _device,
)  # fmt: skip


def _ending(r: random.Random, mask: int, k: int) -> tuple[Program, Program]:
    """A test of A and the returns; the two sometimes differ in a value only, or say the test the other way round."""
    accept, reject = r.choice((1, 40, 65535, 0x40000)), 0
    value = r.choice((0, 1, 0xFF, 0x80, mask, k)) & mask if mask else 0
    code = r.choice((0x15, 0x15, 0x25, 0x35, 0x45))
    one: Program = [(code, 0, 1, value), (RET, 0, 0, accept), (RET, 0, 0, reject)]
    kind = r.randrange(8)
    if kind == 0:
        return one, [(code, 0, 1, value), (RET, 0, 0, r.choice((1, 2, 0x7FFFFFFF, accept))), (RET, 0, 0, reject)]
    if kind == 1:
        return one, [(code, 1, 0, value), (RET, 0, 0, reject), (RET, 0, 0, accept)]
    if kind == 2 and code == 0x25 and value < 0xFFFFFFFF:
        return one, [(0x35, 0, 1, value + 1), (RET, 0, 0, accept), (RET, 0, 0, reject)]
    low = [(0x54, 0, 0, 0x3F)]  # a computed value, of few: each is a terminal of its own
    if kind == 3:
        return [*low, (0x16, 0, 0, 0)], [*low, (0x16, 0, 0, 0)]
    if kind == 4:
        return [*low, (0x16, 0, 0, 0)], [*low, (0x15, 0, 1, 0), (RET, 0, 0, 0), (0x16, 0, 0, 0)]
    return one, one


def pairs(r: random.Random) -> Iterator[tuple[str, Program, Program]]:
    """(template, program, another that does the same, or nearly), without end."""
    while True:
        template = r.choice(TEMPLATES)
        one, two, mask = template(r)
        first, second = _ending(r, mask, r.choice(WORDS))
        if r.random() < 0.15:  # a condition in front, which one of them need not have
            guard = [(0x30, 0, 0, r.choice(SMALL)), (0x15, 1, 0, r.choice((0, 1, 255))), (RET, 0, 0, 0)]
            yield template.__name__[1:], [*guard, *one, *first], [*(guard if r.random() < 0.7 else []), *two, *second]
        else:
            yield template.__name__[1:], [*one, *first], [*two, *second]


def packets(r: random.Random, count: int) -> Iterator[bytes]:
    """Packets of 0 to 64 bytes, of words at which sums wrap."""
    yield b""
    for _ in range(count):
        data = b"".join(r.choice(WORDS).to_bytes(4, "big") for _ in range(r.choice((2, 5, 16))))
        kind = r.randrange(4)
        if kind == 0:
            data = bytes(r.choice((0, 0, 1, 4, 15, 16, 255, r.randrange(256))) for _ in range(len(data)))
        if kind == 1:
            data = data[:4] + bytes(60)
        yield data[: r.randrange(65)] if r.random() < 0.5 else data.ljust(64, b"\0")

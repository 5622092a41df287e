"""An expression as 64 bits, each 0, 1, or a certain bit of something that was read.

    (*(u8 *)(pkt + 13) << 8 | *(u8 *)(pkt + 12)) == 8     ──►   bytes 12 and 13 of the packet are 08 00

Loads, swaps, shifts by constants, masks and unions only move bits about; whatever else an expression does, its bits are not known here
(None). So a condition says the same however the compiler has cut, swapped and put together what it compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from bpflens.decompile import ir

__all__ = ("WIDTH", "Bit", "Bits", "Source", "bits_of", "byte_run", "constrained", "read_bits", "runs_of")

WIDTH = 64


class Source(NamedTuple):
    """Where bits come from: `kind` ctx, packet, value, frame, data, call ...; `what` the map, section or helper; `base` an offset that
    varies, in words ("" for none), of a call its instructions. `before`: what was there before the program wrote there.
    """

    kind: str
    what: str = ""
    base: str = ""
    before: bool = False


class Bit(NamedTuple):
    """Bit `bit` of byte `byte` of a source."""

    source: Source
    byte: int
    bit: int


Bits: TypeAlias = tuple["Bit | int", ...]
"""Least significant first; each entry 0, 1 or a Bit."""

Reader: TypeAlias = "Callable[[ir.Expr], Bits | None]"
"""The bits of what an expression reads; None where it is nothing that has bytes."""


def read_bits(source: Source, byte: int, size: int, signed: bool = False, big_endian: bool = False) -> Bits:
    """The bits of a load of `size` bytes from `byte` on."""
    order = range(size - 1, -1, -1) if big_endian else range(size)
    known: list[Bit | int] = [Bit(source, byte + at, bit) for at in order for bit in range(8)]
    return tuple(known + [known[-1] if signed else 0] * (WIDTH - len(known)))


def bits_of(expr: ir.Expr, reader: Reader) -> Bits | None:
    """The bits of an expression; None where it computes."""
    if isinstance(expr, ir.Const):
        return tuple(expr.value >> n & 1 for n in range(WIDTH))
    found = reader(expr)
    if found is not None:
        return found
    if isinstance(expr, (ir.Zext, ir.Sext, ir.Swap)):
        inner = bits_of(expr.operand, reader)
        return None if inner is None else _cut(inner, type(expr), expr.bits)
    if isinstance(expr, ir.Binary):
        return _binary(expr, reader)
    return None


def _cut(inner: Bits, kind: type, bits: int) -> Bits:
    if kind is ir.Swap:
        size = bits // 8
        swapped = [inner[8 * (size - 1 - n // 8) + n % 8] for n in range(bits)]
        return tuple(swapped + [0] * (WIDTH - bits))
    fill = inner[bits - 1] if kind is ir.Sext else 0
    return tuple([*inner[:bits]] + [fill] * (WIDTH - bits))


def _binary(expr: ir.Binary, reader: Reader) -> Bits | None:
    left = bits_of(expr.left, reader)
    if left is None:
        return None
    if isinstance(expr.right, ir.Const) and expr.op in ("<<", ">>", "s>>"):
        count = expr.right.value % expr.width
        left = left if expr.width == WIDTH else (*left[:32], *[0] * 32)
        if expr.op == "s>>":
            filled = [*left[count : expr.width], *[left[expr.width - 1]] * count]
            return (*filled, *[0] * (WIDTH - expr.width))
        shifted = [*[0] * count, *left][:WIDTH] if expr.op == "<<" else [*left[count:], *[0] * count]
        return tuple(shifted) if expr.width == WIDTH else (*shifted[:32], *[0] * 32)
    right = bits_of(expr.right, reader)
    if right is None or expr.op not in ("&", "|", "^", "+"):
        return None
    out: list[Bit | int] = []
    for a, b in zip(left, right, strict=True):
        combined = _one(expr.op, a, b)
        if combined is None:
            return None
        out.append(combined)
    return tuple(out) if expr.width == WIDTH else (*out[:32], *[0] * 32)


def _one(op: str, a: Bit | int, b: Bit | int) -> Bit | int | None:
    """One bit of a & b, a | b, a ^ b or, where no carry can come, a + b."""
    if isinstance(a, int) and not isinstance(b, int):
        a, b = b, a
    if isinstance(a, int) and isinstance(b, int):
        if op == "+":
            return None if a and b else a | b
        return a & b if op == "&" else a | b if op == "|" else a ^ b
    if isinstance(b, int):
        if op == "&":
            return a if b else 0
        if b == 0:
            return a
        return 1 if op == "|" else None
    return a if op in ("&", "|") and a == b else None


def constrained(bits: Bits, value: int) -> dict[Bit, int] | None:
    """What each bit must be for the number to equal `value`; None where it cannot."""
    out: dict[Bit, int] = {}
    for n, bit in enumerate(bits):
        wanted = value >> n & 1
        if isinstance(bit, int):
            if bit != wanted:
                return None
        elif out.setdefault(bit, wanted) != wanted:
            return None
    return out


def byte_run(bits: Bits) -> tuple[Source, int, int, str] | None:
    """(source, first byte, size, order) where the number is just that many whole bytes: order "little" or "big" ("little" for one)."""
    used = [bit for bit in bits if bit != 0]
    if not used or len(used) % 8 or any(isinstance(bit, int) for bit in bits[: len(used)]) or any(bit != 0 for bit in bits[len(used) :]):
        return None
    run = [bit for bit in bits[: len(used)] if isinstance(bit, Bit)]
    bytes_ = [run[n].byte for n in range(0, len(run), 8)]
    if any(bit.source != run[0].source or bit.byte != bytes_[n // 8] or bit.bit != n % 8 for n, bit in enumerate(run)):
        return None
    size = len(bytes_)
    if bytes_ == list(range(bytes_[0], bytes_[0] + size)):
        return run[0].source, bytes_[0], size, "little"
    if bytes_ == list(range(bytes_[0], bytes_[0] - size, -1)):
        return run[0].source, bytes_[-1], size, "big"
    return None


def runs_of(bits: Sequence[Bit | int]) -> list[tuple[Source, int, int]] | None:
    """(source, first byte, size) of the whole bytes that a number is put together from, lowest first; zeros between them are left out.
    None where it is put together from anything else.
    """
    out: list[tuple[Source, int, int]] = []
    bytes_: list[tuple[Source, int] | None] = []
    for at in range(0, len(bits), 8):
        part = bits[at : at + 8]
        first = part[0]
        if all(bit == 0 for bit in part):
            bytes_.append(None)
        elif isinstance(first, Bit) and all(bit == Bit(first.source, first.byte, n) for n, bit in enumerate(part)):
            bytes_.append((first.source, first.byte))
        else:
            return None
    for each in bytes_:
        if each is None:
            continue
        source, byte = each
        if out and out[-1][0] == source and byte == out[-1][1] + out[-1][2]:
            out[-1] = (source, out[-1][1], out[-1][2] + 1)
        elif out and out[-1][0] == source and byte == out[-1][1] - 1:
            out[-1] = (source, byte, out[-1][2] + 1)
        else:
            out.append((source, byte, 1))
    return out

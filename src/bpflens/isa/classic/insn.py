"""The classic instruction: struct sock_filter (include/uapi/linux/filter.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from bpflens.lean import NamedTuple

__all__ = ("SockFilter", "decode", "encode")

_LAYOUT = struct.Struct("<HBBI")


class SockFilter(NamedTuple):
    """One instruction: `code` 16 bits, `jt`/`jf` 8 bits (instructions to skip), `k` 32 bits unsigned."""

    code: int
    jt: int
    jf: int
    k: int


def decode(code: bytes) -> tuple[SockFilter, ...]:
    """Instructions of little-endian struct sock_filter bytes; a ragged tail (under 8 bytes) is ignored."""
    whole = len(code) & ~7
    return tuple(map(SockFilter._make, _LAYOUT.iter_unpack(code[:whole])))


def encode(insns: Iterable[Sequence[int]]) -> bytes:
    """Little-endian struct sock_filter bytes of (code, jt, jf, k) tuples."""
    return b"".join(_LAYOUT.pack(*insn) for insn in insns)

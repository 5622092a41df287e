"""The extended instruction: one 8-byte slot, struct bpf_insn (RFC 9669 section 3).

A slot is named by its 64-bit little-endian word; `Insn` values are interned by it, so that whatever is derived from an
instruction is derived once per distinct word. A 16-byte instruction (ld_imm64) is two slots; the second has code 0.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, TypeAlias

__all__ = ("Insn", "Words", "decode", "encode", "words", "words_of")

Words: TypeAlias = "memoryview | array[int]"


class Insn:
    """One slot: `word`, `code`, `dst`, `src` (4 bits each), `off` (signed 16), `imm` (signed 32). Immutable, position-free."""

    __slots__ = ("code", "dst", "imm", "off", "src", "word")

    code: int
    dst: int
    imm: int
    off: int
    src: int
    word: int

    _interned: ClassVar[dict[int, Insn]] = {}
    _INTERN_LIMIT = 1 << 16

    def __new__(cls, word: int) -> Insn:
        """The instruction of a 64-bit little-endian word."""
        known = cls._interned.get(word)
        if known is not None:
            return known
        self = object.__new__(cls)
        set_field = object.__setattr__
        set_field(self, "word", word)
        set_field(self, "code", word & 0xFF)
        set_field(self, "dst", word >> 8 & 0xF)
        set_field(self, "src", word >> 12 & 0xF)
        set_field(self, "off", (word >> 16 & 0xFFFF ^ 0x8000) - 0x8000)
        set_field(self, "imm", (word >> 32 ^ 0x80000000) - 0x80000000)
        if len(cls._interned) < cls._INTERN_LIMIT:  # bounded: hostile input has a distinct word per slot
            cls._interned[word] = self
        return self

    @classmethod
    def make(cls, code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> Insn:
        """The instruction with these fields; `off` and `imm` are taken modulo their width."""
        return cls(code & 0xFF | (dst & 0xF) << 8 | (src & 0xF) << 12 | (off & 0xFFFF) << 16 | (imm & 0xFFFFFFFF) << 32)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Insn is immutable: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Insn) and other.word == self.word

    def __hash__(self) -> int:
        return hash(self.word)

    def __repr__(self) -> str:
        return f"Insn.make({self.code:#04x}, dst={self.dst}, src={self.src}, off={self.off}, imm={self.imm})"


def words(code: bytes) -> array[int]:
    """The 64-bit words of little-endian struct bpf_insn bytes; a ragged tail (under 8 bytes) is ignored."""
    out = array("Q")
    out.frombytes(code[: len(code) & ~7])
    if sys.byteorder == "big":
        out.byteswap()
    return out


def words_of(code: bytes) -> Words:
    """As `words`, without a copy where the machine has the same byte order."""
    return memoryview(code)[: len(code) & ~7].cast("Q") if sys.byteorder == "little" else words(code)


def decode(code: bytes) -> tuple[Insn, ...]:
    """One `Insn` per 8-byte slot of little-endian struct bpf_insn bytes."""
    known = Insn._interned.get
    return tuple([known(word) or Insn(word) for word in words(code)])


def encode(insns: Iterable[Insn]) -> bytes:
    """Little-endian struct bpf_insn bytes."""
    return b"".join(insn.word.to_bytes(8, "little") for insn in insns)

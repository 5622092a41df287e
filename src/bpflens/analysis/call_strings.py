"""The constant string that a register holds the address of at a call.

    *(u64 *)(r10 -16) = r1      where r1 = 0x6425206f6c6c6568 ("hello %d")
    *(u8 *)(r10 -8) = 0
    r1 = r10
    r1 += -16
    call bpf_trace_printk       ──►  r1: b"hello %d"

The registers and stores that matter are followed backwards through the straight-line code before the call, to the last slot that is
also reached by a jump: what is known there holds on every path. A call, and a store through a pointer of unknown origin, end all
knowledge of the stack. Going backwards, most calls take a few steps: the address is loaded just before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from bpflens.analysis.references import References
from bpflens.isa.extended.opcodes import LD_IMM64
from bpflens.isa.extended.table import ROWS, lookup, writes
from bpflens.lean import NamedTuple
from bpflens.program import Map

__all__ = ("Pointed", "loads_of_first", "pointed_by")

_LOOKBACK_INSNS = 256
_FRAME = 10
_MAX_BYTES = 512  # MAX_BPF_STACK
_CACHED_WORDS = 1 << 14
_KNOWN, _UNKNOWABLE = 1, 2


def _class(values: Iterable[int]) -> bytes:
    return b"".join(re.escape(bytes([value])) for value in values)


_CODES = sorted({row.value & 0xFF for row in ROWS})
_FIRST = _class(range(1, 256, 16))
_QUIET = _class(code for code in _CODES if code & 7 in (1, 4, 7))
_STORES = _class(code for code in _CODES if code & 0xE6 == 0x62)
_BETWEEN = b"(?:[%b][^%b]|[%b].).{6}|\x18[^%b].{6}\\0.{7}" % (_QUIET, _FIRST, _STORES, _FIRST)
_REACHED = re.compile(b"[\x01\x03]").search

Pointed = tuple[Map, int] | bytes
"""A byte of a data map, or the bytes on the stack from the pointer up to the first one that is zero or not known."""

_Value = tuple[str | Map, int]
"""("constant", value), ("frame", offset from r10), or a byte of a data map."""


def pointed_by(references: References, call: int, register: int) -> Pointed | None:
    """What `register` points to at the call at slot `call`, where that is constant; None otherwise."""
    words, flags = references.words, references.leader_flags
    slot, first = call, max(0, call - _LOOKBACK_INSNS)
    while slot > first and not flags[slot] & 1:  # the usual case: the first instruction found that sets the register loads an address
        word = words[slot - 1]
        if word & 0xFFFFFFFF:
            written = _written[word]
            if written < 0:
                return None
            if written >> register & 1:
                return _pointed_by(references, call, register)
            slot -= 1
        elif slot - 1 > first and not flags[slot - 1] & 1 and words[slot - 2] & 0xFFFFF0FF == LD_IMM64:
            slot -= 2
            if words[slot] >> 8 & 15 == register:
                return references.pointed_at(slot)
        else:
            return _pointed_by(references, call, register)
    return None


def loads_of_first(references: References, helpers: tuple[int, ...]) -> dict[int, int]:
    """Call of one of these helpers -> the slot of the ld_imm64 that sets its first argument, of the calls where one scan of the code
    shows it: instructions without effect on r1 lie between, and none of them is the target of a jump."""
    flags = references.leader_flags
    found = {}
    for match in _loads_and_calls(helpers).finditer(references.code):
        start, end = match.span()
        if not start & 7 and not _REACHED(flags, (start >> 3) + 1, end >> 3):
            found[(end >> 3) - 1] = start >> 3
    return found


@lru_cache(maxsize=4)
def _loads_and_calls(helpers: tuple[int, ...]) -> re.Pattern[bytes]:
    """ld_imm64 of r1; arithmetic, loads and ld_imm64 of other registers, plain stores; the call."""
    numbers = b"|".join(re.escape(number.to_bytes(4, "little")) for number in helpers)
    load = rb"\x18[%b]\0\0.{4}\0{4}.{4}" % _FIRST
    return re.compile(rb"%b(?:%b){0,12}+\x85\0\0\0(?:%b)" % (load, _BETWEEN, numbers), re.DOTALL)


def _pointed_by(references: References, call: int, register: int) -> Pointed | None:
    back = _Backwards(references, call)
    value = back.value(register, call)
    if value is None or value[0] == "constant":
        return None
    if value[0] == "frame":
        return back.stack_from(value[1], call)
    assert isinstance(value[0], Map)
    return value[0], value[1]


class _Written(dict[int, int]):
    """word -> a bit for each register written, -1 where nothing before it is known; bounded."""

    def __init__(self) -> None:
        self.forms: dict[tuple[str, int], int] = {}

    def __missing__(self, word: int) -> int:
        row = lookup(word)
        if row is None or row.control in ("goto", "exit", "switch"):
            written = -1
        else:
            form = (row.name, word & 0xFF00)
            known = self.forms.get(form)
            if known is None:
                known = self.forms[form] = sum(1 << int(name[1:]) for name in set(writes(word)) if name[0] == "r")
            written = known
        if len(self) < _CACHED_WORDS:
            self[word] = written
        return written


_written = _Written()


class _Step(NamedTuple):
    """What an instruction does, as far as this follows it. `kind`: "constant" (dst = imm), "copy" (dst = src), "add" (dst += imm),
    "load" (ld_imm64), "store" (`size` bytes of src, or of imm where src is negative), "clobber" (all the stack), "end" (nothing before
    is known), "" (none of these). `written` has a bit for each register written."""

    kind: str
    written: int = 0
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0
    size: int = 0


class _Steps(dict[int, _Step]):
    """word -> step; bounded."""

    def __missing__(self, word: int) -> _Step:
        step = _decode(word)
        if len(self) < _CACHED_WORDS:
            self[word] = step
        return step


def _decode(word: int) -> _Step:
    row = lookup(word)
    if row is None or row.control in ("goto", "exit", "switch"):
        return _Step("end")
    dst, src = word >> 8 & 15, word >> 12 & 15
    off, imm = _signed(word >> 16 & 0xFFFF, 16), _signed(word >> 32, 32)
    written = _written[word]
    match row.name:
        case "mov64_imm":
            return _Step("constant", written, dst, imm=imm)
        case "mov32_imm":
            return _Step("constant", written, dst, imm=imm & 0xFFFFFFFF)
        case "mov64_reg":
            return _Step("copy", written, dst, src)
        case "add64_imm":
            return _Step("add", written, dst, imm=imm)
        case "st8" | "st16" | "st32" | "st64":
            return _Step("store", 0, dst, -1, off, imm, int(row.name[2:]) // 8)
        case "stx8" | "stx16" | "stx32" | "stx64":
            return _Step("store", 0, dst, src, off, 0, int(row.name[3:]) // 8)
    if row.slots == 2:
        return _Step("load", written, dst)
    return _Step("clobber" if "mem" in row.writes or row.control == "call" else "", written)


_steps = _Steps()


class _Backwards:
    """The straight-line code before a call, read backwards."""

    def __init__(self, references: References, call: int) -> None:
        self.references = references
        self.words, self.flags = references.words, references.leader_flags
        self.first = max(0, call - _LOOKBACK_INSNS)

    def before(self, slot: int) -> tuple[int, _Step] | None:
        """The instruction that always runs just before the one at `slot`; None where there is none."""
        if slot <= self.first or self.flags[slot] & 1:
            return None
        word = self.words[slot - 1]
        if not word & 0xFFFFFFFF and slot - 1 > self.first and self.words[slot - 2] & 0xFF == LD_IMM64:
            if self.flags[slot - 1] & 1:
                return None
            step = _steps[self.words[slot - 2]]
            if step.kind == "load":
                return slot - 2, step
        step = _steps[word]
        return None if step.kind == "end" else (slot - 1, step)

    def value(self, register: int, slot: int) -> _Value | None:
        """The value of a register before the instruction at `slot`."""
        added = 0
        words, flags, first = self.words, self.flags, self.first
        while register != _FRAME:
            if slot <= first or flags[slot] & 1:
                return None
            word = words[slot - 1]
            if word & 0xFFFFFFFF:
                slot -= 1
                step = _steps[word]
                if step.kind == "end":
                    return None
            else:
                found = self.before(slot)
                if found is None:
                    return None
                slot, step = found
            if not step.written >> register & 1:
                continue
            if step.kind == "add":
                added += step.imm
            elif step.kind == "copy":
                register = step.src
            else:
                value = ("constant", step.imm) if step.kind == "constant" else self._loaded(slot) if step.kind == "load" else None
                return None if value is None else (value[0], value[1] + added)
        return ("frame", added)

    def _loaded(self, slot: int) -> _Value | None:
        """What the ld_imm64 at `slot` loads."""
        target = self.references.pointed_at(slot)
        word = self.words[slot]
        if target is not None or word & 0xFF != LD_IMM64:
            return target
        if word >> 12 & 15 or slot + 1 >= self.references.count or slot in self.references.related:
            return None
        return ("constant", self.words[slot + 1] >> 32 << 32 | word >> 32)

    def stack_from(self, offset: int, slot: int) -> bytes:
        """The bytes of the stack from `offset` before the instruction at `slot`."""
        held, state = bytearray(_MAX_BYTES), bytearray(_MAX_BYTES)  # state of each byte: not seen yet, known, cannot be known
        words, flags, first = self.words, self.flags, self.first
        length = 0
        while slot > first and not flags[slot] & 1:
            word = words[slot - 1]
            if word & 0xFFFFFFFF:
                slot -= 1
                step = _steps[word]
            else:
                found = self.before(slot)
                if found is None:
                    break
                slot, step = found
            kind = step.kind
            if kind == "store":
                pointer = ("frame", 0) if step.dst == _FRAME else self.value(step.dst, slot)
                if pointer is None or pointer[0] == "constant":
                    break
                if pointer[0] != "frame":
                    continue
                stored = ("constant", step.imm) if step.src < 0 else self.value(step.src, slot)
                constant = stored is not None and stored[0] == "constant"
                raw = (stored[1] & (1 << 8 * step.size) - 1).to_bytes(step.size, "little") if constant and stored else bytes(step.size)
                start = pointer[1] + step.off - offset
                end = start + step.size
                if start >= 0 and end <= _MAX_BYTES and not any(state[start:end]):
                    held[start:end], state[start:end] = raw, (b"\1" if constant else b"\2") * step.size
                    raw = b""
                for at, byte in enumerate(raw, start):
                    if 0 <= at < _MAX_BYTES and not state[at]:
                        held[at], state[at] = byte, _KNOWN if constant else _UNKNOWABLE
                if state[length] == _KNOWN:
                    length = _MAX_BYTES - len(state.lstrip(b"\1"))
                    end = held.find(0, 0, length)
                    if end >= 0:
                        return bytes(held[: end + 1])
                if length == _MAX_BYTES or state[length]:
                    break
            elif kind == "clobber" or kind == "end":
                break
        return bytes(held[:length])


def _signed(value: int, bits: int) -> int:
    return (value ^ 1 << bits - 1) - (1 << bits - 1)

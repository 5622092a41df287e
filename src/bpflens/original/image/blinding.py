"""Blinded constants: net.core.bpf_jit_harden=2 puts random numbers in place of those of the program, in the image too.

    r11 = 0x5bd1e995; r11 ^= 0x5bd1e99b; r3 += r11    ──►   r3 += 14
    r3 ^= r3                                          ──►   stays: `r3 = 0` or `w3 = 0` or itself (Options.narrow_zeros, opcode_readings.py)

bpf_jit_blind_constants() and bpf_jit_blind_insn(), kernel/bpf/core.c (v4.7); of programs of one function the blinded clone is what the
kernel shows. Addresses of maps come out as numbers, for the kernel no longer finds them: an iterator over the maps tells whose they are.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from bpflens.analysis.cfg import jump_target
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.lean import NamedTuple
from bpflens.original.image.hidden_register import hidden_register

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.programs.prog_info import ProgDump

__all__ = ("Plain", "canonical_zeros", "plain_dump", "unblind")

_MOV = frozenset((op.ALU64 | op.MOV | op.K, op.ALU | op.MOV | op.K))
_XOR_AFTER = {op.ALU64 | op.MOV | op.K: op.ALU64 | op.XOR | op.K, op.ALU | op.MOV | op.K: op.ALU | op.XOR | op.K}
_SHIFT_32 = op.ALU64 | op.LSH | op.K | 32 << 32
_LOW = 0xFFFFFFFF


class Plain(NamedTuple):
    """`words` without blinding; `moved`: new slot of every old one (and of the end), -1 for slots that are gone; `blinded`: whether any
    constant was.
    """

    words: list[int]
    moved: list[int]
    blinded: bool


def unblind(words: Sequence[int]) -> Plain:
    """The image with the program's constants in place again, and its jumps related again. Cost: linear."""
    size = len(words)
    distinct = set(words)
    ax = hidden_register(distinct)
    if not any(word & 0xFFFFFF00 == ax << 8 and word & 0xFF in _MOV for word in distinct):  # nothing is moved into it
        return Plain(list(words), list(range(size + 1)), False)
    out: list[int] = []
    moved = [-1] * (size + 1)
    came_from: list[int] = []  # of every new slot: the old slot whose jump it is
    slot = 0
    while slot < size:
        moved[slot] = len(out)
        made, length = _restored(words, slot, ax)
        came_from += [slot + length - 1] * len(made)
        out += made
        slot += length
    moved[size] = len(out)
    if len(out) == size:
        return Plain(list(words), list(range(size + 1)), False)
    second = False
    for at, word in enumerate(out):
        old = came_from[at]
        if second or word & 0xFF == op.LD_IMM64:
            second = not second
            continue
        target = jump_target(Insn(words[old]), old)
        if target is None or not 0 <= target <= size or moved[target] < 0:
            continue
        distance = moved[target] - at - 1
        if word & 0xFF == op.GOTOL:
            out[at] = word & _LOW | (distance & _LOW) << 32
        else:
            out[at] = word & ~0xFFFF0000 | (distance & 0xFFFF) << 16
    return Plain(out, moved, True)


def _restored(words: Sequence[int], slot: int, ax: int) -> tuple[list[int], int]:
    """(what the slots from `slot` on were, how many they are)."""
    value = _constant(words, slot, ax)
    if value is not None and slot + 2 < len(words):
        if words[slot + 2] == _SHIFT_32 | ax << 8:
            wide = _wide(words, slot, value, ax)
            if wide is not None:
                return wide, 7
        use = Insn(words[slot + 2])
        plain = _with_number(use, value, ax)
        if plain is not None:
            return [plain], 3
    if words[slot] & 0xFF == op.LD_IMM64 and slot + 1 < len(words):
        return [words[slot], words[slot + 1]], 2
    return [words[slot]], 1


def _constant(words: Sequence[int], slot: int, ax: int) -> int | None:
    """The number that `r11 = A; r11 ^= B` makes (`ax`: the hidden register), as an imm; None for all else."""
    first = words[slot]
    if first & 0xFF not in _MOV or first >> 8 & 0xFFFFFF != ax or slot + 1 >= len(words):
        return None
    following = words[slot + 1]
    if following & _LOW != _XOR_AFTER[first & 0xFF] | ax << 8:
        return None
    return (first ^ following) >> 32


def _with_number(use: Insn, value: int, ax: int) -> int | None:
    """The instruction with a number in place of the hidden register; None where it does not use it that way."""
    if use.src != ax or use.dst == ax:
        return None
    kind = use.code & 7
    if kind in (op.ALU, op.ALU64, op.JMP, op.JMP32) and use.code & op.X:
        code = use.code & ~op.X
    elif kind == op.STX and use.code & 0xE0 == op.MEM:
        code = use.code & ~7 | op.ST
    else:
        return None
    return Insn.make(code, use.dst, 0, use.off, value - (1 << 32) if value >> 31 else value).word


def _wide(words: Sequence[int], slot: int, high: int, ax: int) -> list[int] | None:
    """The ld_imm64 whose upper half is made at `slot`."""
    if slot + 6 >= len(words):
        return None
    move, low, both = Insn(words[slot + 3]), _constant(words, slot + 4, ax), Insn(words[slot + 6])
    fits = move.code == op.ALU64 | op.MOV | op.X and both.code == op.ALU64 | op.OR | op.X and move.src == both.src == ax
    if low is None or not fits or move.dst != both.dst:
        return None
    return [op.LD_IMM64 | move.dst << 8 | low << 32, high << 32]


def canonical_zeros(words: Sequence[int]) -> array[int]:
    """Every `rD = 0`, `wD = 0` as `rD ^= rD`: what blinding makes of them."""
    out = array("Q", words)
    for at, word in enumerate(out):
        if word & 0xFF in _MOV and word & ~0xFFF == 0:
            dst = word >> 8 & 0xF
            out[at] = op.ALU64 | op.XOR | op.X | dst << 8 | dst << 12
    return out


def plain_dump(dump: ProgDump) -> tuple[ProgDump, bool]:
    """A dump without blinding, and whether it was blinded."""
    from bpflens.isa.extended.insn import words as words_of

    plain = unblind(words_of(dump.xlated))
    if not plain.blinded:
        return dump, False
    words = array("Q", plain.words)
    if dump.map_ids:
        _refer_to_maps(words, dump.map_ids)
    code = b"".join(word.to_bytes(8, "little") for word in words)
    moved = dict(enumerate(plain.moved))
    lines = tuple((at, file, line, column) for off, file, line, column in dump.line_info if (at := moved.get(off, -1)) >= 0)
    funcs = tuple((at, id) for off, id in dump.func_info if (at := moved.get(off, -1)) >= 0)
    return dump._replace(xlated=code, line_info=lines, func_info=funcs), True


def _refer_to_maps(words: array[int], ids: Sequence[int]) -> None:
    """References to maps in place of their addresses, as the kernel itself shows them (bpf_map_direct_value_meta)."""
    from bpflens.kernel.maps.map_addresses import map_addresses

    places = map_addresses(ids)
    at = 0
    while at + 1 < len(words):
        if words[at] & 0xFF != op.LD_IMM64:
            at += 1
            continue
        value = words[at] >> 32 | words[at + 1] >> 32 << 32
        for id, (address, start, end) in places.items():
            if value == address:
                words[at] = words[at] & 0xFFF | op.PSEUDO_MAP_FD << 12 | id << 32
                words[at + 1] = 0
            elif start <= value < end:
                words[at] = words[at] & 0xFFF | op.PSEUDO_MAP_VALUE << 12 | id << 32
                words[at + 1] = (value - start) << 32
        at += 2

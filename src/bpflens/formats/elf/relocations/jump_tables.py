"""Where `gotox` may go: the section .jumptables, which LLVM 22 writes, holds the slots as byte offsets in the function's section.

    18 r3 = 0 ll   R_BPF_64_64 BPF.JT.0.0    ──►   4: "jump table BPF.JT.0.0"
    0d gotox r2                              ──►   8: "to 9, 42, 27, 34 by BPF.JT.0.0"

A gotox belongs to the last table that was loaded above it without a jump between; where there is none, nothing is said.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from bpflens.formats.elf.file import STT_OBJECT, ElfFile, Section
from bpflens.isa.extended.opcodes import CALL_CODE, JA, JMP, JMP32, LD_IMM64, X
from bpflens.program import Relocation

__all__ = ("JUMP_TABLES", "gotox_targets")

JUMP_TABLES = ".jumptables"
_GOTOX = JMP | JA | X
_MAX_SHOWN = 24


def gotox_targets(elf: ElfFile, section: Section, code: bytes) -> Iterator[Relocation]:
    """A relocation of the kind "jumptable" for each gotox of a section whose table is known; `value` is the number of its targets."""
    tables = elf.section(JUMP_TABLES)
    if tables is None:
        return
    opcodes = code[::8]
    loaded = _loads(elf, section, tables.index)
    slot = opcodes.find(_GOTOX)
    while slot >= 0:
        symbol = _above(opcodes, slot, loaded)
        targets = _targets(elf, tables, symbol, len(opcodes)) if symbol is not None else []
        if symbol is not None and targets:
            name = elf.symbol(symbol).name
            yield Relocation(slot, "jumptable", name, len(targets), f"to {_listed(targets)} by {name}", tables.name)
        slot = opcodes.find(_GOTOX, slot + 1)


def _loads(elf: ElfFile, section: Section, tables: int) -> dict[int, int]:
    """slot of a ld_imm64 -> the symbol of the table that it loads."""
    return {reloc.offset // 8: reloc.symbol for reloc in elf.relocations(section) if elf.section_of_symbol(reloc.symbol) == tables}


def _above(opcodes: bytes, slot: int, loaded: dict[int, int]) -> int | None:
    """The table that is loaded last above a slot, with no jump between."""
    for at in range(slot - 1, -1, -1):
        if at in loaded and opcodes[at] == LD_IMM64:
            return loaded[at]
        if opcodes[at] & 7 in (JMP, JMP32) and opcodes[at] != CALL_CODE:
            return None
    return None


def _targets(elf: ElfFile, tables: Section, symbol: int, slots: int) -> list[int]:
    """The slots of a table, each once, in the table's order; empty where it is damaged."""
    table = elf.symbol(symbol)
    if table.type != STT_OBJECT or table.value + table.size > tables.size or table.size % 8:
        return []
    raw = elf.bytes_of(tables)[table.value : table.value + table.size]
    words = array("Q", raw)
    if elf.big_endian:
        words.byteswap()
    if any(word % 8 or word // 8 >= slots for word in words):
        return []
    return list(dict.fromkeys(word // 8 for word in words))


def _listed(targets: Sequence[int]) -> str:
    shown = ", ".join(map(str, targets[:_MAX_SHOWN]))
    return shown + (f" and {len(targets) - _MAX_SHOWN} more" if len(targets) > _MAX_SHOWN else "")

"""What the ELF relocations of code mean; the instruction decides, as in libbpf, because relocation types changed over time."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import count

from bpflens.formats.elf.file import SHF_EXECINSTR, STT_SECTION, Reloc, Section, Symbol
from bpflens.formats.elf.maps import c_type, is_data
from bpflens.formats.elf.object import Object
from bpflens.formats.elf.parts import MAX_SHOWN
from bpflens.formats.elf.relocations.jump_tables import JUMP_TABLES, gotox_targets
from bpflens.formats.elf.relocations.relocations import Meaning, RelocationTable
from bpflens.isa.extended.insn import words_of
from bpflens.isa.extended.opcodes import CALL_CODE, LD_IMM64
from bpflens.program import Relocation

__all__ = ("relocations_of",)


def relocations_of(object: Object, section: Section, code: bytes, core: list[Relocation]) -> Sequence[Relocation]:
    """The relocations of a section, each with what it means."""
    elf = object.elf
    offsets, infos, addends = elf.relocation_columns(section)
    if not offsets:
        return tuple(core)
    more = [*core, *gotox_targets(elf, section, code)] if 0x0D in code else core
    slots = [at >> 3 for at in offsets]
    last = max(offsets)
    if 8 * sum(slots) != sum(offsets) or last + 8 > len(code) or max(infos) >> 32 >= elf.symbol_count:
        offsets, infos, addends = _sound(object, section, len(code), offsets, infos, addends)
        slots = [at >> 3 for at in offsets]
    words = list(map(words_of(code).__getitem__, slots))
    known: dict[tuple[int, int, int], int] = defaultdict(count().__next__)
    which = list(map(known.__getitem__, zip(infos, words, addends, strict=True)))
    keys = list(known)
    data_sections, section_of, values = object.data_sections, elf.section_of_symbol, elf.symbol_values

    def meaning(number: int, text: bool) -> Meaning:
        info, word, addend = keys[number]
        if not text and word & 0xFF == LD_IMM64 and (name := data_sections.get(section_of(info >> 32))) and name != JUMP_TABLES:
            return "data", "", values[info >> 32] + (addend or (word >> 32 ^ 1 << 31) - (1 << 31)), "", name
        return _meaning(object, word & 0xFF, (word >> 32 ^ 1 << 31) - (1 << 31), Reloc(0, info >> 32, info & 0xFFFFFFFF, addend), text)

    return RelocationTable(slots, which, meaning, more)


def _sound(
    object: Object, section: Section, size: int, offsets: array[int], infos: array[int], addends: array[int]
) -> tuple[array[int], array[int], array[int]]:
    """The relocations that stand at an instruction and name a symbol; the others are told of."""
    kept: list[tuple[int, int, int]] = []
    for offset, info, addend in zip(offsets, infos, addends, strict=True):
        wrong = None
        if offset & 7 or offset + 8 > size:
            wrong = f"a relocation at byte {offset}, where no instruction starts"
        elif info >> 32 >= object.elf.symbol_count:
            wrong = f"a relocation at slot {offset >> 3} refers to symbol {info >> 32}, but there are {object.elf.symbol_count}"
        if wrong is None:
            kept.append((offset, info, addend))
        elif len(object.warnings) < MAX_SHOWN:
            object.warnings.append(f"section {section.name!r}: {wrong}: it is left out")
    columns = list(zip(*kept, strict=True)) or [(), (), ()]
    return array("Q", columns[0]), array("Q", columns[1]), array("q", columns[2])


def _meaning(object: Object, opcode: int, imm: int, reloc: Reloc, text: bool) -> Meaning:
    """(kind, symbol, value, text, section) of a `Relocation`; "data" has its text only where `text` says so."""
    elf = object.elf
    symbol = elf.symbol(reloc.symbol)
    name = elf.name_of(symbol)
    addend = reloc.addend or imm
    if opcode not in (LD_IMM64, CALL_CODE):
        return "extern", name, reloc.addend, f"relocation of type {reloc.type} against {name or 'nothing'}", ""
    if not 0 < symbol.section < len(elf.sections):
        return _external(object, opcode, name)
    target = elf.sections[symbol.section]
    if target.flags & SHF_EXECINSTR:
        in_slots = reloc.addend // 8 if reloc.addend else addend + 1 if opcode == CALL_CODE else addend // 8
        own = name if symbol.type != STT_SECTION and not in_slots else ""
        return _subprogram(object, opcode, target, symbol.value // 8 + in_slots, own)
    map = object.map_at.get((symbol.section, symbol.value + (addend if symbol.type == STT_SECTION else 0)))
    if map and not is_data(target):
        own = name if symbol.type != STT_SECTION and name and name != map.name else ""
        return "map", map.name, 0, f"map {own or map.name}", target.name
    if target.name == JUMP_TABLES:
        return "extern", name, symbol.value + addend, f"jump table {name}", target.name
    if not text:
        return "data", name, symbol.value + addend, "", target.name
    return _data(object, target, symbol, symbol.value + addend)


def _external(object: Object, opcode: int, name: str) -> tuple[str, str, int, str, str]:
    """A symbol that the object does not define."""
    if name in object.kconfig:
        return "extern", name, object.kconfig[name], f"kconfig {name}", ".kconfig"
    declared = object.declared.get(name)
    c = c_type(object.btf, declared, object.steps) if object.btf and declared else name
    if name not in object.kernel_symbols:  # a declaration in .ksyms is what makes libbpf look in the kernel
        what = "function" if opcode == CALL_CODE else "symbol"
        return "extern", name, 0, f"{what} {c}, which the object does not define", ""
    if opcode == CALL_CODE:
        return "kfunc", name, 0, f"kfunc {c}", ""
    return "ksym", name, 0, f"ksym {c}", ""


def _subprogram(object: Object, opcode: int, target: Section, to: int, own: str) -> tuple[str, str, int, str, str]:
    """`own` is the name by which the relocation means the function, which may be an alias."""
    name = own or object.functions(target).get(to)
    shown = name or f"{target.name}+{to}"
    if opcode == CALL_CODE:
        return "call", shown, to, f"call {shown} in {target.name}", target.name
    return "func", shown, to, f"address of {shown} in {target.name}", target.name


def _data(object: Object, target: Section, symbol: Symbol, byte_off: int) -> tuple[str, str, int, str, str]:
    """A global variable: its name and the offset in it."""
    map = object.data_map.get(target.index)
    name, rest = object.elf.name_of(symbol), byte_off - symbol.value
    if map and map.datasec:
        offsets = object.offsets[map.name]
        index = bisect_right(offsets, byte_off) - 1
        if index >= 0:
            known, size, _ = map.datasec[offsets[index]]
            if byte_off < offsets[index] + max(size, 1):
                name, rest = known, byte_off - offsets[index]
    place = f"{name}+{rest}" if rest else name
    return "data", name, byte_off, f"{target.name}: {place}" if place != target.name else place, target.name

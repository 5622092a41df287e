"""Local variables of the source from DWARF: what they are called, of what type, and where they are while which instructions run.

    LocalVariable("pid", "__u32", 4, 12, 40, "register", 7)      from instruction 12 on register 7 is pid
    LocalVariable("key", "struct flow_key", 16, 0, 90, "frame", 16)                     bytes of the stack, counted as the compiler does

Only places that are one register, or one address in the frame, are taken: what clang computes, divides into pieces or has forgotten is not.
Sources: DWARF 5, 2.6 and 7.7; LLVM's BPFFrameLowering for the frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property

from bpflens.errors import InputError
from bpflens.formats.elf.dwarf.bytes import DebugBytes
from bpflens.formats.elf.dwarf.entries import ADDR_BASE, LOCLISTS_BASE, LOW_PC, NAME, Entry, Unit, units
from bpflens.formats.elf.file import SHF_EXECINSTR, ElfFile
from bpflens.lean import NamedTuple

__all__ = ("LocalVariable", "local_variables")

LOCATION, BYTE_SIZE, HIGH_PC, ORIGIN, UPPER, COUNT, TYPE = 0x02, 0x0B, 0x12, 0x31, 0x2F, 0x37, 0x49  # DW_AT_
BIT_SIZE, MEMBER_LOCATION = 0x0D, 0x38
_SUBPROGRAM, _VARIABLE, _PARAMETER = 0x2E, 0x34, 0x05
_TAGS = frozenset((_SUBPROGRAM, _VARIABLE, _PARAMETER))
_POINTER, _ARRAY, _STRUCT, _MEMBER = 0x0F, 0x01, 0x13, 0x0D
_NAMED = {0x13: "struct ", 0x17: "union ", 0x04: "enum ", 0x24: "", 0x16: ""}  # DW_TAG_ of types with a name
_TRANSPARENT = (0x26, 0x35, 0x37, 0x47)  # const, volatile, restrict, atomic
_FBREG, _REG0, _BREG10 = 0x91, 0x50, 0x7A
_DEEPEST = 16
_ADDRX = (0x1B, 0x29, 0x2A, 0x2B, 0x2C)
_MAX_RANGES = 10_000

_Address = tuple[int, int]  # section, byte offset


class LocalVariable(NamedTuple):
    """A variable of the source while instructions `start` to `end` run.

    `type` as C writes it without a name ("struct sock *", "" where it has no short name), `size` in bytes. `place`: "register", and
    `number` is its number; or "frame", and `number` is the offset in the compiler's frame, which LLVM counts from its lowest byte.
    `members` of a struct in the frame: (offset, size, name), an array with its length in brackets behind its name.
    """

    name: str
    type: str
    size: int
    start: int
    end: int
    place: str
    number: int
    members: tuple[tuple[int, int, str], ...] = ()


def local_variables(data: bytes, where: str, section: str, code: bytes) -> list[LocalVariable]:
    """Those of a section of an object file, or of the one part of it that is `code` (little-endian), counted from where that begins."""
    try:
        elf = ElfFile.parse(data, where)
        found = elf.section(section)
        whole = elf.bytes_of(found) if found is not None else b""
        if found is None or elf.big_endian or not code or whole.count(code) != 1 or whole.index(code) % 8:
            return []
        start = whole.index(code) // 8
        end = start + len(code) // 8
        known = DwarfVariables(elf).all.get(found.index, [])
    except (InputError, struct.error):
        return []
    if not start:
        return [v for v in known if v.start < end]
    return [v._replace(start=v.start - start, end=v.end - start) for v in known if start <= v.start < end]


class DwarfVariables:
    """The local variables of one object."""

    def __init__(self, elf: ElfFile) -> None:
        self._elf = elf
        code = [section.index for section in elf.sections if section.flags & SHF_EXECINSTR and section.size]
        self._alone = code[0] if len(code) == 1 else -1
        self._places: dict[str, dict[int, tuple[int, int]]] = {}
        self._structs: dict[int, tuple[tuple[int, int, str], ...]] = {}

    @cached_property
    def all(self) -> dict[int, list[LocalVariable]]:
        """Section index -> its variables."""
        found: dict[int, list[LocalVariable]] = {}
        try:
            for unit in units(self._elf):
                for section, variable in self._of_unit(unit):
                    found.setdefault(section, []).append(variable)
        except (InputError, struct.error, IndexError, KeyError, ValueError):
            pass  # what was read before stays
        return found

    def _of_unit(self, unit: Unit) -> Iterator[tuple[int, LocalVariable]]:
        function: tuple[_Address, int] | None = None
        for entry in unit.entries(_TAGS):
            if entry.tag == _SUBPROGRAM:
                function = self._extent(entry)
                continue
            if function is None or LOCATION not in entry.values:
                continue
            named = entry
            for _ in range(_DEEPEST):
                if ORIGIN not in named.values:
                    break
                named = unit.entry(named.number(ORIGIN))
            name, (type, size) = named.text(NAME), _type(unit, named)
            if not name:
                continue
            for section, start, end, place in self._locations(entry, function):
                found = _place(place)
                if found is not None and start < end:
                    members = self._members(unit, named) if found[0] == "frame" and type.startswith("struct ") and "*" not in type else ()
                    yield section, LocalVariable(name, type, size, start // 8, end // 8, *found, members)

    def _members(self, unit: Unit, entry: Entry) -> tuple[tuple[int, int, str], ...]:
        """The members of the struct that a variable is."""
        while entry.tag != _STRUCT and TYPE in entry.values:
            entry = unit.entry(entry.number(TYPE))
        known = self._structs.get(entry.at)
        if known is None:
            known = self._structs[entry.at] = tuple(_members(unit, entry)) if entry.tag == _STRUCT else ()
        return known

    def _extent(self, entry: Entry) -> tuple[_Address, int] | None:
        """(address, end) of a function; None for one without code of its own."""
        if LOW_PC not in entry.values:
            return None
        section, start = self._address(entry, LOW_PC)
        high = entry.number(HIGH_PC)
        return (section, start), high if entry.values.get(HIGH_PC, (0, 0))[0] == 0x01 else start + high

    def _address(self, entry: Entry, attribute: int) -> _Address:
        form, value = entry.values[attribute]
        assert isinstance(value, int)
        if form in _ADDRX:
            return self._indexed(entry.unit, value)
        # the operand of DW_FORM_addr: its place is found again from the start of the entry
        reader = entry.unit.info.reader(entry.at)
        kind = entry.unit.abbreviations[reader.uleb()]
        for at, form, _ in kind.attributes:
            if at == attribute:
                break
            entry.unit._value(reader, form)
        return self._relocated(entry.unit.info, ".debug_info", reader.at, value)

    def _indexed(self, unit: Unit, index: int) -> _Address:
        table = unit.parts[".debug_addr"]
        if table is None:
            raise InputError("", "no .debug_addr")
        at = unit.head.number(ADDR_BASE, 8) + 8 * index
        return self._relocated(table, ".debug_addr", at, table.reader(at).number(8))

    def _relocated(self, part: DebugBytes, name: str, at: int, value: int) -> _Address:
        places = self._places.get(name)
        if places is None:
            places = self._places[name] = {}
            for reloc in self._elf.relocations(part.section):
                symbol = self._elf.symbol(reloc.symbol)
                places[reloc.offset] = symbol.section, 0 if part.relocated else symbol.value
        section, base = places.get(at, (self._alone, 0))
        return section, base + value

    def _locations(self, entry: Entry, function: tuple[_Address, int]) -> Iterator[tuple[int, int, int, bytes]]:
        """(section, start, end, expression) of where a variable is."""
        form, value = entry.values[LOCATION]
        (section, start), end = function
        unit = entry.unit
        if isinstance(value, bytes):
            yield section, start, end, value
        elif isinstance(value, int) and unit.version == 5:
            table = unit.parts[".debug_loclists"]
            if table is None:
                return
            if form == 0x22:  # loclistx
                base = unit.head.number(LOCLISTS_BASE, 12)
                value = base + table.reader(base + 4 * value).number(4)
            yield from self._list(unit, table.reader(value), (section, start))
        elif isinstance(value, int):
            old = unit.parts[".debug_loc"]
            if old is not None:
                yield from self._old_list(old.reader(value), (section, start))

    def _list(self, unit: Unit, reader: DebugBytes, function: _Address) -> Iterator[tuple[int, int, int, bytes]]:
        base = self._address(unit.head, LOW_PC) if LOW_PC in unit.head.values else function
        for _ in range(_MAX_RANGES):
            kind = reader.number(1)
            if kind == 0:
                return
            if kind == 1:  # base_addressx
                base = self._indexed(unit, reader.uleb())
                continue
            if kind == 4:  # offset_pair
                section, start, end = base[0], base[1] + reader.uleb(), base[1] + reader.uleb()
            elif kind == 3:  # startx_length
                section, start = self._indexed(unit, reader.uleb())
                end = start + reader.uleb()
            else:
                return
            yield section, start, end, reader.take(reader.uleb())

    def _old_list(self, reader: DebugBytes, base: _Address) -> Iterator[tuple[int, int, int, bytes]]:
        for _ in range(_MAX_RANGES):
            at = reader.at
            low, high = reader.number(8), reader.number(8)
            if not low and not high:
                return
            if low == (1 << 64) - 1:
                base = self._relocated(reader, ".debug_loc", at + 8, high)
                continue
            section, start = self._relocated(reader, ".debug_loc", at, low)
            if at in self._places[".debug_loc"]:  # addresses of their own
                yield section, start, start + high - low, reader.take(reader.number(2))
            else:
                yield base[0], base[1] + low, base[1] + high, reader.take(reader.number(2))


def _place(expression: bytes) -> tuple[str, int] | None:
    """("register", its number) or ("frame", offset); None for all else."""
    if len(expression) == 1 and _REG0 <= expression[0] <= _REG0 + 9:
        return "register", expression[0] - _REG0
    if len(expression) > 1 and expression[0] in (_FBREG, _BREG10):
        value = shift = 0
        for at, byte in enumerate(expression[1:], 1):
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                value -= 1 << shift if byte & 0x40 else 0
                return ("frame", value) if at == len(expression) - 1 else None
    return None


def _type(unit: Unit, entry: Entry) -> tuple[str, int]:
    """(the type as C writes it without a name, its size in bytes); ("", 0) where it has none, or one that has no short name."""
    stars = ""
    for _ in range(_DEEPEST):
        if TYPE not in entry.values:
            return (f"void {stars}", 8) if stars else ("", 0)
        entry = unit.entry(entry.number(TYPE))
        if entry.tag == _POINTER:
            stars += "*"
        elif entry.tag == _ARRAY and not stars:
            return _array(unit, entry)
        elif entry.tag in _NAMED and entry.text(NAME):
            name = f"{_NAMED[entry.tag]}{entry.text(NAME)}"
            return (f"{name} {stars}", 8) if stars else (name, _size(unit, entry))
        elif entry.tag not in _TRANSPARENT:
            return (f"void {stars}", 8) if stars else ("", 0)
    return "", 0


def _members(unit: Unit, struct: Entry) -> Iterator[tuple[int, int, str]]:
    """(offset, size, name) of the members of a struct; those without a name, and bit fields, are left out."""
    for entry in unit.children(struct):
        name = entry.text(NAME)
        if entry.tag != _MEMBER or not name or BIT_SIZE in entry.values:
            continue
        type, size = _type(unit, entry)
        scalar = "[" not in type and not type.startswith(("struct ", "union ")) and size in (1, 2, 4, 8)
        if type.endswith("*") or scalar:
            yield entry.number(MEMBER_LOCATION), size, name
        elif type and size:
            yield entry.number(MEMBER_LOCATION), size, f"{name}[{size}]"


def _array(unit: Unit, entry: Entry) -> tuple[str, int]:
    """The type of an array of one dimension."""
    element, size = _type(unit, entry)
    length = next(unit.children(entry), entry)
    count = length.number(COUNT, -1) if COUNT in length.values else length.number(UPPER, -1) + 1
    return (f"{element}[{count}]", size * count) if element and "[" not in element and 0 < count < 4096 else ("", 0)


def _size(unit: Unit, entry: Entry) -> int:
    for _ in range(_DEEPEST):
        if BYTE_SIZE in entry.values:
            return entry.number(BYTE_SIZE)
        if TYPE not in entry.values:
            return 0
        entry = unit.entry(entry.number(TYPE))
        if entry.tag == _POINTER:
            return 8
    return 0

"""What the names in the C of one unit mean, and what of it was used: maps, globals, helpers, macros are declared only where they are.

DataRef(".rodata", 4)   ──►   &limit         (BTF or a symbol names the variable there)
DataRef(".rodata", 0)   ──►   section_rodata (no names: the section as an array of bytes)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from bpflens.decompile.c_expression.types import ADD, OBJECT, POINTER, PRIMARY, UNARY, CText
from bpflens.decompile.unit import Unit, identifier
from bpflens.program import Map

__all__ = ("Global", "UnitScope", "context_field", "context_type")


_ESCAPES = {10: "\\n", 9: "\\t", 13: "\\r", 34: '\\"', 92: "\\\\"}


@dataclass(frozen=True, slots=True)
class Global:
    """A global variable: C declaration type with \1 for the name, "" where its type is not known (then an array of bytes)."""

    name: str
    section: str
    offset: int
    size: int
    type_id: int = 0


@dataclass(slots=True)
class UnitScope:
    """Names of one C file and the uses of them."""

    unit: Unit
    style: str = "plain"
    globals: dict[str, dict[int, Global]] = field(default_factory=dict)
    starts: dict[str, list[int]] = field(default_factory=dict)
    map_names: dict[str, str] = field(default_factory=dict)
    used_maps: dict[str, None] = field(default_factory=dict)
    used_sections: dict[str, None] = field(default_factory=dict)
    used_helpers: dict[int, None] = field(default_factory=dict)
    used_kfuncs: dict[str, None] = field(default_factory=dict)
    used_symbols: dict[str, None] = field(default_factory=dict)
    used_macros: dict[str, None] = field(default_factory=dict)
    used_types: dict[int, None] = field(default_factory=dict)
    pointed_types: dict[int, None] = field(default_factory=dict)  # what variables point to; whole only where they are used by layout
    core_types: dict[int, None] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()  # filled by taken_names()
    core_paths: dict[tuple[int, str], None] = field(default_factory=dict)  # (root type, access) of fields that are relocated by name

    @classmethod
    def of(cls, unit: Unit, style: str = "plain") -> UnitScope:
        """The scope of a unit: its globals by section, and C names for everything. `style`: kernel or plain."""
        scope = cls(unit, style)
        taken = set(unit.codes)
        for m in unit.maps.values():
            if is_data(m):
                scope.globals[m.name] = _globals(m, unit, taken)
                scope.starts[m.name] = list(scope.globals[m.name])
            else:
                scope.map_names[m.name] = _free(m.name, taken)
        return scope

    def taken_names(self) -> frozenset[str]:
        """Names that a local variable must not have, because it would hide what they are outside."""
        if not self.outside:
            from bpflens.btf.btf import Kind
            from bpflens.decompile.c_text.macros import MACROS

            btf = self.unit.btf
            types = {btf.name(id) for id in btf.ids(Kind.TYPEDEF)} if btf is not None else set()
            variables = {g.name for section in self.globals.values() for g in section.values()}
            symbols = {r.name for code in self.unit.codes.values() for r in code.references.values()}
            basic = {f"{stem}{bits}" for stem in ("u", "s", "__u", "__s") for bits in (8, 16, 32, 64)}
            arguments = {f"a{number}" for number in range(1, 6)}
            own = {*self.unit.codes, *self.map_names.values()}
            self.outside = frozenset({*types, *variables, *symbols, *basic, *arguments, *MACROS, *own})
        return self.outside

    def map(self, name: str) -> CText:
        """The address of a map."""
        self.used_maps[name] = None
        return CText(f"&{self.map_names.get(name, identifier(name))}", UNARY, OBJECT)

    def macro(self, name: str) -> str:
        """A macro of the file's head."""
        self.used_macros[name] = None
        return name

    def find(self, section: str, offset: int) -> Global | None:
        """The variable that a byte of global data lies in."""
        starts = self.starts.get(section)
        if not starts:
            return None
        index = bisect_right(starts, offset) - 1
        if index < 0:
            return None
        found = self.globals[section][starts[index]]
        return found if offset < found.offset + max(found.size, 1) else None

    def string(self, section: str, offset: int, size: int | None = None) -> str | None:
        """The string literal that read-only data are, of `size` bytes with its end; None where they are none."""
        m = self.unit.maps.get(section)
        data = m.data if m is not None and m.data is not None else b""
        end = data.find(0, offset) if offset >= 0 else -1
        if end < 0 or (size is not None and size != end + 1 - offset):
            return None
        text = data[offset:end]
        if not all(byte in _ESCAPES or 32 <= byte < 127 for byte in text):
            return None
        return '"' + "".join(_ESCAPES.get(byte, chr(byte)) for byte in text) + '"'

    def data(self, section: str, offset: int) -> CText:
        """The address of a byte of global data."""
        if section.startswith(".rodata.str1"):  # where compilers put literals, and nothing else
            literal = self.string(section, offset)
            if literal is not None:
                return CText(literal, PRIMARY, OBJECT)
        self.used_sections[section] = None
        found = self.find(section, offset)
        if found is None:
            return CText(f"(void *)section{identifier(section)} + {offset}", ADD, POINTER)
        inside = offset - found.offset
        if inside:
            return CText(f"(void *)&{found.name} + {inside}", ADD, POINTER)
        if self.read_only(section):  # the variable is const volatile, which helpers do not take
            return CText(f"(void *)&{found.name}", UNARY, POINTER)
        return CText(f"&{found.name}", UNARY, OBJECT)

    def read_only(self, section: str) -> bool:
        """A section whose variables are const volatile: raw loads from it must be volatile, too."""
        return section.startswith(".rodata")


def context_field(unit: Unit, struct: str, offset: int, size: int) -> tuple[str, bool] | None:
    """(path, signed) of the context's field that an access is exactly: by the object's own types, else as uapi has it."""
    from bpflens.btf.btf import Kind
    from bpflens.btf.fields import field_at as btf_field_at
    from bpflens.isa.extended.contexts import field_at

    own = context_type(unit, struct)
    if own and unit.btf is not None:
        btf = unit.btf
        found = btf_field_at(btf, own, offset, size)
        if found is None or found.bit_size or found.bit_off != 8 * offset:
            return None
        id = btf.skip_modifiers(found.type_id)
        if btf.kind(id) not in (Kind.INT, Kind.ENUM) or btf.size(id) != size:
            return None
        return found.path, btf.kind(id) is Kind.INT and bool(btf.int_encoding(id)[0] & 1)
    known = field_at(struct, offset, size)
    if known is None or known.offset != offset or known.size != size:
        return None
    return known.name, False


def context_type(unit: Unit, struct: str) -> int:
    """The BTF type of a context struct in the object's own types, 0 where it has none with members."""
    from bpflens.btf.btf import Kind

    btf = unit.btf
    if btf is None or not struct:
        return 0
    id = btf.find(struct, Kind.STRUCT)
    return id if id is not None and btf.type(id).vlen else 0


def is_data(m: Map) -> bool:
    """A map of global variables."""
    from bpflens.formats.elf.maps import is_data_name

    return is_data_name(m.name) or m.name == ".kconfig"


def _free(name: str, taken: set[str]) -> str:
    wanted, number = identifier(name), 2
    stem = wanted
    while wanted in taken:
        wanted, number = f"{stem}_{number}", number + 1
    taken.add(wanted)
    return wanted


def _globals(m: Map, unit: Unit, taken: set[str]) -> dict[int, Global]:
    """The variables of a data section, by offset; gaps and sections without names become arrays of bytes."""
    out: dict[int, Global] = {}
    types = _types(m, unit)
    end = 0
    named = dict(m.datasec.items())
    size = m.value_size or len(m.data or b"")
    for offset in sorted(named):
        name, length, _ = named[offset]
        if offset < end or not length or offset + length > size:
            continue
        if offset > end and _matters(m, end, offset):
            out[end] = Global(_free(f"section{m.name}_{end}", taken), m.name, end, offset - end)
        out[offset] = Global(_free(name or f"data_{offset}", taken), m.name, offset, length, types.get(offset, 0))
        end = offset + length
    if end < size and (not named or _matters(m, end, size)):
        out[end] = Global(_free(f"section{m.name}_{end}" if end else f"section{m.name}", taken), m.name, end, size - end)
    return out


def _matters(m: Map, start: int, end: int) -> bool:
    """Is there anything but padding in a gap between variables?"""
    return end - start >= 8 or any((m.data or b"")[start:end])


def _types(m: Map, unit: Unit) -> Mapping[int, int]:
    """offset -> BTF type of the variable there."""
    btf = unit.btf
    if btf is None or not m.value_type_id:
        return {}
    from bpflens.btf.btf import Kind

    id = btf.skip_modifiers(m.value_type_id)
    if btf.kind(id) is not Kind.DATASEC:
        return {}
    return {v.byte_off: btf.type(v.type_id).ref for v in btf.variables(id) if btf.kind(v.type_id) is Kind.VAR}

"""What the sections of one object share while its programs are made: its types, maps, functions, line tables and warnings."""

from __future__ import annotations

from functools import cached_property

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import Steps, declaration
from bpflens.errors import InputError
from bpflens.formats.elf.btf_ext import BtfExt, CoreRelocation, core_text
from bpflens.formats.elf.file import SHF_EXECINSTR, STB_LOCAL, STB_WEAK, STT_FUNC, STT_NOTYPE, ElfFile, Section
from bpflens.formats.elf.linked_btf import linked_btf
from bpflens.formats.elf.maps import is_data, read_maps
from bpflens.formats.elf.parts import some
from bpflens.program import Relocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.formats.elf.dwarf.lines import DwarfLines

__all__ = ("Object", "types_of")

MAX_STEPS = 20_000  # spent on C declarations of one object, and some for each of its types; the largest of libbpf-tools takes 262
STEPS_PER_TYPE = 8
_NAME = "\1"  # stands for the name in a declaration


class Object:
    """What the sections of an object share while its programs are made."""

    def __init__(self, elf: ElfFile, btf: Btf | None, ext: BtfExt | None, warnings: list[str]) -> None:
        self.elf, self.btf, self.ext, self.warnings = elf, btf, ext, warnings
        self.steps = Steps(MAX_STEPS + STEPS_PER_TYPE * (len(btf) if btf else 0))
        places = read_maps(elf, btf, self.steps, warnings)
        self.maps = tuple(place.map for place in places)
        self.map_at = {(place.section, place.byte_off): place.map for place in places}
        self.data_map = {place.section: place.map for place in places if place.section >= 0 and is_data(elf.sections[place.section])}
        self.kconfig = {v[0]: offset for place in places if place.section == -1 for offset, v in place.map.datasec.items()}
        self._starts: dict[int, dict[int, str]] = {}
        self._prototypes: dict[int, str] = {}
        self._core: dict[tuple[int, str, int], str] = {}
        self.data_sections = {s.index: s.name for s in elf.sections if is_data(s) and not s.flags & SHF_EXECINSTR}

    @cached_property
    def offsets(self) -> dict[str, list[int]]:
        """Where the variables of each section of global data start."""
        return {map.name: list(map.datasec) for map in self.data_map.values()}

    @cached_property
    def dwarf(self) -> DwarfLines | None:
        """The line tables of DWARF, for what has none in BTF, such as most of Rust."""
        if self.elf.section(".debug_line") is None:
            return None
        from bpflens.formats.elf.dwarf.lines import DwarfLines

        try:
            return DwarfLines.of(self.elf)
        except InputError as error:
            self.warnings.append(f".debug_line: {error.reason}: source lines are left out")
            return None

    @cached_property
    def declared(self) -> dict[str, int]:
        """Functions and variables of BTF by name."""
        btf = self.btf
        return {btf.name(id): id for kind in (Kind.VAR, Kind.FUNC) for id in btf.ids(kind)} if btf else {}

    @cached_property
    def kernel_symbols(self) -> set[str]:
        """What the object declares in `.ksyms`, to be found in the kernel."""
        btf = self.btf
        if btf is None:
            return set()
        sections = [id for id in btf.ids(Kind.DATASEC) if btf.name(id) == ".ksyms"]
        return {btf.name(variable.type_id) for id in sections for variable in btf.variables(id)}

    def prototype(self, btf: Btf, id: int) -> str:
        """A function in C, on one line; many have the same type."""
        name, ref = btf.name_and_ref(id)
        known = self._prototypes.get(ref)
        if known is None:
            known = self._prototypes[ref] = " ".join(declaration(btf, ref, _NAME, steps=self.steps).split())
        return known.replace(_NAME, name)

    def functions(self, section: Section) -> dict[int, str]:
        """slot -> name of each function of a section."""
        found = self._starts.get(section.index)
        if found is None:
            symbols = [s for s in self.elf.symbols_in(section.index) if s.name and s.value < section.size]
            named = [s for s in symbols if s.type == STT_FUNC] or [s for s in symbols if s.type == STT_NOTYPE and s.bind != STB_LOCAL]
            named.sort(key=lambda s: (s.value, s.bind != STB_WEAK, s.bind))  # of two names for a slot the global one stays, a weak one last
            found = self._starts[section.index] = {s.value // 8: s.name for s in named if not s.value % 8}
            odd = [s.name for s in named if s.value % 8]
            if odd:
                self.warnings.append(f"symbol {some(odd)} starts within an instruction of section {section.name!r}: it is left out")
        return found

    def core(self, section: Section) -> list[Relocation]:
        """The CO-RE relocations of a section."""
        btf, known, found = self.btf, self._core, []
        for off_insns, type_id, access, kind in self.ext.core(section.name) if self.ext and btf else ():
            text = known.get((type_id, access, kind))
            if text is None:
                assert btf is not None
                text = known[type_id, access, kind] = core_text(btf, CoreRelocation(off_insns, type_id, access, kind), self.steps)
            found.append(Relocation(off_insns, "core", self.btf.name(type_id) if self.btf else "", kind, text, f"{type_id} {access}"))
        return found


def types_of(elf: ElfFile, warnings: list[str]) -> tuple[Btf | None, BtfExt | None]:
    """.BTF and .BTF.ext, with the symbol table looked at first; what is damaged is left out, with a warning."""
    sections = {name: section for name in (".BTF", ".BTF.ext") if (section := elf.section(name)) and section.size}
    btf = ext = None
    try:
        elf.symbol_count  # noqa: B018 (read and checked now)
    except InputError as error:
        warnings.append(f"{error.reason}: the symbols are left out")
        elf.without_symbols()
    try:
        if ".BTF" in sections:
            btf = linked_btf(elf, sections[".BTF"], ".BTF")
    except InputError as error:
        warnings.append(f".BTF: {error.reason}: types and what rests on them are left out")
    try:
        if btf and ".BTF.ext" in sections:
            ext = BtfExt.parse(elf.bytes_of(sections[".BTF.ext"]), btf, ".BTF.ext")
    except InputError as error:
        reason = error.reason.removeprefix(".BTF.ext: ")
        warnings.append(f".BTF.ext: {reason}: source lines, prototypes and CO-RE relocations are left out")
    return btf, ext

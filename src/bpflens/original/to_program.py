"""A recovered original as a `Program`, with the names of its maps, functions and source lines: for listings and for object files."""

from __future__ import annotations

from bpflens.errors import BpflensError
from bpflens.isa.extended.opcodes import CALL_CODE, LD_IMM64, PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE
from bpflens.original.image.image import Image
from bpflens.original.result import Original
from bpflens.program import Declared, Function, Isa, Map, Origin, Program, SourceLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("btf_of", "call_names", "notes_of", "to_program")


def to_program(original: Original) -> Program:
    """The program as loaded. Map references hold map ids; `maps` has the maps, whose contents are not read."""
    if original.program is not None:
        return original.program
    image = original.image
    btf = btf_of(original)
    attributes = original.attributes
    name = image.name
    functions = _functions(original, btf)
    if functions and len(name) == 15 and functions[0].name.startswith(name):
        name = functions[0].name
    maps = _maps(image)
    return Program(
        isa=Isa.EXTENDED,
        code=original.code,
        origin=Origin("original", image.where, note=f"{original.grade}: {original.reason}"),
        name=name,
        type=image.prog_type,
        expected_attach_type=attributes.expected_attach_type if attributes else image.expected_attach_type,
        declared=Declared(license="GPL" if image.gpl else "Proprietary"),
        id=image.id or None,
        tag=image.tag or None,
        maps=maps,
        functions=functions,
        lines=_lines(original, btf),
        btf=btf,
    )


def notes_of(original: Original, program: Program) -> dict[int, list[str]]:
    """What a listing of `program` says beside instructions: those that were removed, and which map a reference by index in fd_array
    means, of which the image has the id.
    """
    if original.layout is None or original.program is not None:
        return {index: list(notes) for index, notes in original.notes.items()}
    names = {m.id: m.name for m in program.maps}
    notes = {}
    for index, word in enumerate(original.layout.words):
        source = original.code[8 * index + 1] >> 4
        if original.code[8 * index] == LD_IMM64 and source in (PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE) and word >> 32 in names:
            notes[index] = [f"map {names[word >> 32]}"]
    return notes


def btf_of(original: Original) -> Btf | None:
    """The type information that came with a live program."""
    if not original.image.btf_id:
        return None
    from bpflens.kernel.btf import btf_by_id

    try:
        return btf_by_id(original.image.btf_id)
    except BpflensError:
        return None


def _functions(original: Original, btf: Btf | None) -> tuple[Function, ...]:
    from bpflens.btf.c_text import declaration

    if btf is None:
        return (Function(0, original.image.name),) if original.image.name else ()
    return tuple(
        Function(start, btf.name(type_id), declaration(btf, type_id), type_id) for start, type_id in original.func_info
    )


def _lines(original: Original, btf: Btf | None) -> tuple[SourceLine, ...]:
    if btf is None:
        return ()
    try:
        return tuple(
            SourceLine(at, btf.string(file), line_col >> 10, line_col & 0x3FF, btf.string(text))
            for at, file, text, line_col in original.line_info
        )
    except BpflensError:
        return ()


def _maps(image: Image) -> tuple[Map, ...]:
    """The maps of the image with their C types."""
    from bpflens.kernel.maps.maps import with_types

    return tuple(with_types(image.maps[id]) for id in image.map_ids if id in image.maps)


def call_names(image: Image) -> dict[int, str]:
    """Slot of the image -> name of the kernel function that it calls."""
    from bpflens.kernel.programs.progs import resolve_symbols

    names = resolve_symbols(b"".join(word.to_bytes(8, "little") for word in image.words))
    return {slot: name for slot, name in names.items() if image.insns[slot].code == CALL_CODE}

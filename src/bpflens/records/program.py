"""What a line of JSON says of a program so that it can be read back whole: its code, and what its slots refer to.

`dis --json` has it as "about" in the first line of each program, `show --json` among the keys of "program". The reader is
formats/dumps/tools/own_lines.py.
"""

from __future__ import annotations

from bpflens.isa.extended.names import ATTACH_TYPES, MAP_TYPES, PROG_TYPES, flag_names, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.program import Map, Program, Relocation
    from bpflens.records.schemas import Schema

__all__ = ("about_record", "about_schema", "described_schema", "map_keys", "program_keys", "reference", "reference_schema", "references")


def program_keys(program: Program) -> dict[str, Any]:
    """What a program is, without its code and maps."""
    return {
        "isa": program.isa.value,
        "where": program.origin.where,
        "source": program.origin.source,
        "id": program.id,
        "name": program.name or None,
        "type": type_name(PROG_TYPES, program.type) or None,
        "attach_type": type_name(ATTACH_TYPES, program.expected_attach_type) or None,
        "tag": program.tag,
        "section": program.section,
        "license": program.license,
        "insns": program.insn_count,
        "linktype": program.origin.linktype,
        "given": list(program.origin.given),
        "note": program.origin.note,
        "arch": program.arch,
        "xlated": program.xlated,
        "functions": [{"pc": f.start, "name": f.name, "proto": f.proto} for f in program.functions],
    }


def map_keys(map: Map) -> dict[str, Any]:
    """What a map is; `data`: what an object file fills it with, in hexadecimal."""
    keys = {
        "id": map.id,
        "name": map.name,
        "type": type_name(MAP_TYPES, map.type),
        "key_size": map.key_size,
        "value_size": map.value_size,
        "max_entries": map.max_entries,
        "flags": flag_names(map.flags),
        "key": map.key,
        "value": map.value,
        "variables": [
            {"offset": offset, "name": name, "size": size, "type": ctype} for offset, (name, size, ctype) in sorted(map.datasec.items())
        ],
    }
    return keys if map.data is None else {**keys, "data": map.data.hex()}


def about_record(program: Program) -> dict[str, Any]:
    """A program without its code, and its maps."""
    return {**program_keys(program), "maps": [map_keys(map) for map in program.maps]}


def reference(relocation: Relocation) -> dict[str, Any]:
    """What a slot refers to, which a loader fills in."""
    return {
        "kind": relocation.kind, "symbol": relocation.symbol, "value": relocation.value, "text": relocation.text,
        "section": relocation.section,
    }  # fmt: skip


def references(program: Program) -> list[dict[str, Any]]:
    """Every reference with its slot, in order."""
    return [{"pc": relocation.off_insns, **reference(relocation)} for relocation in program.relocations]


def reference_schema() -> Schema:
    """Of `reference`; that of `references` has `pc` too."""
    from bpflens.records.schemas import INTEGER, TEXT, record

    return record({"kind": TEXT, "symbol": TEXT, "value": INTEGER, "text": TEXT, "section": TEXT}, {"pc": INTEGER})


def described_schema() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """The keys of a program and of a map."""
    from bpflens.records.schemas import BOOLEAN, INTEGER, TEXT, listing, maybe, record

    function = record({"pc": INTEGER, "name": TEXT, "proto": maybe(TEXT)})
    variable = record({"offset": INTEGER, "name": TEXT, "size": INTEGER, "type": TEXT})
    program: dict[str, Schema] = {
        "isa": TEXT, "where": TEXT, "source": TEXT, "id": maybe(INTEGER), "name": maybe(TEXT), "type": maybe(TEXT),
        "attach_type": maybe(TEXT), "tag": maybe(TEXT), "section": maybe(TEXT), "license": maybe(TEXT), "insns": INTEGER,
        "linktype": maybe(TEXT), "given": listing(TEXT), "note": maybe(TEXT), "arch": maybe(TEXT), "xlated": BOOLEAN,
        "functions": listing(function),
    }  # fmt: skip
    map: dict[str, Schema] = {
        "id": maybe(INTEGER), "name": TEXT, "type": TEXT, "key_size": INTEGER, "value_size": INTEGER, "max_entries": INTEGER,
        "flags": listing(TEXT), "key": maybe(TEXT), "value": maybe(TEXT), "variables": listing(variable),
    }  # fmt: skip
    return program, map


def about_schema() -> Schema:
    """Of `about_record`."""
    from bpflens.records.schemas import TEXT, listing, record

    program, map = described_schema()
    return record({**program, "maps": listing(record(map, {"data": TEXT}))})

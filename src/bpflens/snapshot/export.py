"""A snapshot's contents for other tools: maps as CSV, JSON Lines, bpftool's JSON or Parquet; programs as ELF objects.

    key u32, value struct { u64 packets; u64 bytes; }   ──►   key,value.packets,value.bytes / 1,20,1320

Values are decoded by the types that were saved with the map; without types a key or value of 1, 2, 4 or 8 bytes is a number and others are
hexadecimal. Element by element: memory does not grow with the map.
"""

from __future__ import annotations

import csv
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

from bpflens.btf.values import Value, decode
from bpflens.errors import BpflensError, InputError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedMap, SavedProgram
from bpflens.formats.snapshot.programs import maps_of, types_of
from bpflens.isa.extended.uapi import AttachType
from bpflens.kernel.programs.load_attributes import F_SLEEPABLE, F_XDP_HAS_FRAGS
from bpflens.snapshot.restoring.elements import checked_data, records

if TYPE_CHECKING:
    from bpflens.btf.btf import Btf
    from bpflens.program import Map

__all__ = ("FORMATS", "Element", "elements_of", "map_rows", "object_of", "row_of", "write_map")

FORMATS = ("csv", "jsonl", "bpftool", "parquet")
_INODE = struct.Struct("=QQ")  # kernel/maps/inode_storage.py
_BY_TARGET = (
    ("btf_trace_", AttachType.TRACE_RAW_TP, "tp_btf"), ("bpf_iter_", AttachType.TRACE_ITER, "iter"),
    ("bpf_lsm_", AttachType.LSM_MAC, "lsm"),
)  # fmt: skip  # prefix of the function, attach type, libbpf's word
_AT_FUNCTIONS = {AttachType.TRACE_FENTRY: "fentry", AttachType.TRACE_FEXIT: "fexit", AttachType.MODIFY_RETURN: "fmod_ret"}


@dataclass(frozen=True, slots=True)
class Element:
    """One element: raw bytes and decoded values. A per-cpu map's `value` is a list, its `parts` the bytes of each CPU."""

    raw_key: bytes
    raw_value: bytes
    key: Value
    value: Value
    parts: tuple[bytes, ...] = ()


def elements_of(archive: Archive, map: SavedMap) -> Iterator[Element]:
    """The elements in the order of the snapshot. InputError where the map has no contents, or they are damaged."""
    if map.data is None:
        raise InputError(f"{archive.path}#map:{map.name or map.id}", f"has no contents: {map.why_no_data}")
    data = checked_data(archive, map)
    btf = types_of(archive, map.btf)
    if data.layout == "value":
        content = archive.read(data.member)
        yield Element(bytes(4), content, 0, content.hex())
        return
    size = data.value_size + (data.key_size if data.layout != "values" else 0)
    number = 0
    for piece in records(archive, map):
        for at in range(0, len(piece), size):
            if data.layout == "values":
                key = number.to_bytes(map.key_size or 4, "little")
                value = piece[at : at + size]
            else:
                key, value = piece[at : at + data.key_size], piece[at + data.key_size : at + size]
            number += 1
            element = _element(map, btf, key, value, data.cpus)
            yield replace(element, key=inode_name(key)) if data.ids_of == "inodes" and len(key) == _INODE.size else element


def inode_name(key: bytes) -> str:
    """"254:0 inode 1234": a device and an inode of it, as `stat` numbers them."""
    device, inode = _INODE.unpack(key)
    return f"{os.major(device)}:{os.minor(device)} inode {inode}"


def _element(map: SavedMap, btf: Btf | None, key: bytes, value: bytes, cpus: int) -> Element:
    decoded_key = _decoded(btf, map.key_type_id, key)
    if cpus:
        step = len(value) // cpus
        parts = tuple(value[cpu * step : cpu * step + map.value_size] for cpu in range(cpus))
        return Element(key, value, decoded_key, [_decoded(btf, map.value_type_id, part) for part in parts], parts)
    return Element(key, value, decoded_key, _decoded(btf, map.value_type_id, value))


def _decoded(btf: Btf | None, type_id: int, data: bytes) -> Value:
    if btf is not None and type_id:
        try:
            return _section(btf, type_id, data) or decode(btf, type_id, data)
        except BpflensError:
            pass
    return int.from_bytes(data, "little") if len(data) in (1, 2, 4, 8) else data.hex()


def _section(btf: Btf, type_id: int, data: bytes) -> Value:
    """The variables of global data by name; None for other types."""
    from bpflens.btf.btf import Kind

    if btf.kind(type_id) is not Kind.DATASEC:
        return None
    variables = btf.variables(type_id)
    return {
        btf.name(item.type_id): decode(btf, btf.type(item.type_id).ref, data[item.byte_off : item.byte_off + item.size])
        for item in variables
    }


def write_map(archive: Archive, map: SavedMap, format: str, out: TextIO, path: str | None = None) -> int:
    """Write all elements; how many. `path` is where Parquet goes, which cannot be streamed to a terminal."""
    elements = elements_of(archive, map)
    if format == "csv":
        return _csv(elements, out)
    if format == "bpftool":
        return _bpftool(elements, out, typed=bool(map.value_type_id))
    if format == "parquet":
        if path is None:
            raise InputError("parquet", "is written to a file", "-o FILE names it")
        from bpflens.snapshot.parquet import write_parquet

        return write_parquet(lambda: map_rows(archive, map), path)
    count = 0
    for element in elements:
        record = {"schema": "export/1", "map": map.name, "id": map.id, "key": element.key, "value": element.value}
        out.write(json.dumps({**record, "raw_key": element.raw_key.hex(), "raw_value": element.raw_value.hex()}, default=str) + "\n")
        count += 1
    return count


def _flat(prefix: str, value: Value) -> Iterator[tuple[str, Any]]:
    """Members as columns "value.member"; lists as JSON."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{prefix}.{name}", item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield prefix, json.dumps(value, default=str)
    else:
        yield prefix, value


def map_rows(archive: Archive, map: SavedMap) -> Iterator[dict[str, Any]]:
    """Rows of a table, from the beginning."""
    return (row_of(element) for element in elements_of(archive, map))


def row_of(element: Element) -> dict[str, Any]:
    """Columns by name."""
    return dict([*_flat("key", element.key), *_flat("value", element.value)])


def _csv(elements: Iterator[Element], out: TextIO) -> int:
    count = 0
    columns: list[str] = []
    writer = csv.writer(out, lineterminator="\n")
    for element in elements:
        row = row_of(element)
        if not columns:
            columns = list(row)
            writer.writerow(columns)
        writer.writerow([row.get(column, "") for column in columns])
        count += 1
    return count


def _bytes(data: bytes) -> list[str]:
    return [f"{byte:#04x}" for byte in data]


def _bpftool(elements: Iterator[Element], out: TextIO, typed: bool) -> int:
    """As `bpftool -j map dump` prints (tools/bpf/bpftool/map.c, print_entry_json)."""
    count = 0
    out.write("[")
    for element in elements:
        entry: dict[str, Any] = {"key": _bytes(element.raw_key)}
        if element.parts:
            entry["values"] = [{"cpu": cpu, "value": _bytes(part)} for cpu, part in enumerate(element.parts)]
        else:
            entry["value"] = _bytes(element.raw_value)
        if typed and element.parts and isinstance(element.value, Sequence):
            values = [{"cpu": cpu, "value": value} for cpu, value in enumerate(element.value)]
            entry["formatted"] = {"key": element.key, "values": values}
        elif typed:
            entry["formatted"] = {"key": element.key, "value": element.value}
        out.write(("," if count else "") + json.dumps(entry, default=str))
        count += 1
    out.write("]\n")
    return count


def object_of(archive: Archive, programs: Sequence[SavedProgram]) -> bytes:
    """An ELF object with the originals of the programs and their maps. InputError where one has no original, or types of another object."""
    from bpflens.formats.elf.write import write_object
    from bpflens.formats.snapshot.programs import read_snapshot

    if len({program.btf for program in programs}) > 1:
        raise InputError(archive.path, "these programs came from several objects", "export them one by one: FILE#ID")
    made, maps, licenses = [], dict[str, "Map"](), set()
    btf = types_of(archive, programs[0].btf)
    for saved in programs:
        if saved.original is None:
            raise InputError(f"{archive.path}#{saved.id}", f"has no original: {saved.reason}")
        (program,) = read_snapshot(archive.path, str(saved.id))
        names = {map.name: _data_name(map) for map in maps_of(archive, saved, btf).values()}
        relocations = tuple(
            replace(item, symbol=names.get(item.symbol, item.symbol), section=names.get(item.section, item.section))
            for item in program.relocations
        )
        code = bytearray(program.code)
        for item in relocations:
            struct.pack_into("<i", code, 8 * item.off_insns + 4, 0)
            source = 2 if item.kind == "data" else 1
            code[8 * item.off_insns + 1] = code[8 * item.off_insns + 1] & 0xF | source << 4
            if item.kind == "data":
                struct.pack_into("<i", code, 8 * item.off_insns + 12, 0)
        maps.update({names[map.name]: replace(map, name=names[map.name]) for map in program.maps})
        licenses.add(program.license)
        declared = replace(program.declared, section=_section_name(saved))
        functions = program.functions if any(function.type_id for function in program.functions) else program.functions[:1]
        made.append(replace(program, code=bytes(code), relocations=relocations, declared=declared, functions=functions))
    if any(program.symbols for program in programs):
        raise InputError(archive.path, "calls kernel functions by BTF id: restore it, or export it on the machine with bpflens original -o")
    return write_object(made, tuple(maps.values()), btf.data if btf is not None else None, licenses.pop())


def _data_name(map: Map) -> str:
    from bpflens.formats.elf.data_maps import data_section

    return data_section(map.name) or map.name


def _section_name(saved: SavedProgram) -> str:
    """The section by which libbpf gives the program its type, expected attach type and flags."""
    from bpflens.formats.elf.sections import SECTIONS

    target = saved.target.name if saved.target else ""
    attach, flags = saved.expected_attach_type or 0, saved.flags or 0
    sleepable = ".s" if flags & F_SLEEPABLE else ""
    for prefix, number, word in _BY_TARGET:
        if attach == number and target.startswith(prefix):
            return f"{word}{sleepable if number != AttachType.TRACE_RAW_TP else ''}/{target.removeprefix(prefix)}"
    if saved.type_name == "tracing" and attach in _AT_FUNCTIONS:
        return f"{_AT_FUNCTIONS[attach]}{sleepable}/{target}"
    if saved.type_name == "struct_ops":
        return f"struct_ops/{saved.name}"
    if saved.type_name == "ext":
        return f"freplace/{target}"
    wanted = {name for bit, name in ((F_SLEEPABLE, "sleepable"), (F_XDP_HAS_FRAGS, "frags")) if flags & bit}
    rows = [row for row in SECTIONS if row.prog_type == saved.type and set(row.flags) == wanted]
    exact = [row for row in rows if (row.attach_type or 0) == attach] or ([row for row in rows if attach == 0])
    plain = [row for row in exact if row.name in ("xdp", "xdp.frags")]
    if not exact:
        raise InputError(f"program {saved.id} {saved.name}", f"libbpf has no section for {saved.type_name} with attach type {attach}")
    return (plain or exact)[0].name.rstrip("+")

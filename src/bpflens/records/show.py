"""The record of `bpflens --json show`: a program with its maps and attachments, schema "show/1"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bpflens.overview import MapFacts, Overview, ProgramFacts
from bpflens.program import Attachment, Declared, Holder, Loaded, Map, Program
from bpflens.records.program import map_keys, program_keys, references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.records.schemas import Schema

__all__ = ("attachment_record", "holder_record", "map_record", "plain", "program_record", "schemas", "show_records")


def show_records(found: Overview) -> Iterator[dict[str, Any]]:
    """The lines of the verb: the maps that were asked for, then each program with its maps."""
    if found.maps:
        maps = [map_record(map, facts) for map, facts in found.maps]
        yield {"schema": "show/1", "program": None, "maps": maps, "attachments": []}
    for program, facts, of_program in found.programs:
        yield {
            "schema": "show/1",
            "program": program_record(program, facts),
            "maps": [map_record(map, of_map) for map, of_map in of_program],
            "attachments": [attachment_record(item) for item in program.attachments],
        }


def program_record(program: Program, facts: ProgramFacts) -> dict[str, Any]:
    """The program as JSON values."""
    record: dict[str, Any] = {
        **program_keys(program),
        "code": program.code.hex(),
        "references": references(program),
        "symbols": {str(pc): name for pc, name in program.symbols.items()},
        "lines": len(program.lines),
        "attach_target": facts.attach_target,
        "pins": list(facts.pins),
        "holders": [holder_record(holder) for holder in facts.holders],
    }
    record.update(_loaded_record(program.loaded) if program.loaded else _declared_record(program.declared))
    record.update(program.origin.row)
    record["map_ids"] = list(program.loaded.map_ids) if program.loaded else []
    record["notes"] = list(program.loaded.notes) if program.loaded else []
    return record


def _loaded_record(loaded: Loaded) -> dict[str, Any]:
    """What the kernel reports, in the spelling of struct bpf_prog_info."""
    info = loaded.info
    facts: dict[str, Any] = {
        "uid": info.uid,
        "load_time": info.load_time,
        "loaded_at": loaded.at,
        "gpl_compatible": info.gpl_compatible,
        "xlated_len": info.xlated_len,
        "jited_len": info.jited_len,
        "memlock": loaded.memlock,
        "btf_id": info.btf_id,
        "run_time_ns": info.run_time_ns,
        "run_cnt": info.run_cnt,
        "recursion_misses": info.recursion_misses,
        "verified_insns": info.verified_insns,
        "attach_btf_obj_id": info.attach_btf_obj_id,
        "attach_btf_id": info.attach_btf_id,
        "nr_func_info": info.nr_func_info,
        "nr_line_info": info.nr_line_info,
        "nr_jited_funcs": info.nr_jited_func_lens,
    }
    if info.ifindex:
        facts.update(ifindex=info.ifindex, netns_dev=info.netns_dev, netns_ino=info.netns_ino)
    return facts


def _declared_record(declared: Declared) -> dict[str, Any]:
    """What an object file declares; what it leaves out has no key."""
    facts: dict[str, Any] = {}
    if declared.byte_order is not None:
        facts["byte_order"] = declared.byte_order
    if declared.version is not None:
        facts["version"] = declared.version
    if declared.flags:
        facts["flags"] = list(declared.flags)
    if not declared.autoload:
        facts["autoload"] = False
    return facts


def map_record(map: Map, facts: MapFacts) -> dict[str, Any]:
    """The map as JSON values."""
    record: dict[str, Any] = {
        **map_keys(map),
        "pins": list(facts.pins),
        "holders": [holder_record(holder) for holder in facts.holders],
        "users": list(facts.users),
    }
    record.update({key: plain(value) for key, value in map.fields.items()})
    if facts.struct_ops is not None:
        ops = facts.struct_ops
        record["struct_ops"] = {"struct": ops.struct, "state": ops.state, "programs": dict(ops.programs)}
    if facts.contents is not None:
        record["entries"] = [
            {
                "key": entry.key,
                "value": entry.value,
                "key_hex": entry.raw_key.hex(),
                "value_hex": None if entry.raw_value is None else entry.raw_value.hex(),
            }
            for entry in facts.contents.entries
        ]
        record["more"], record["reason"] = facts.contents.more, facts.contents.reason
    return record


def plain(value: Any) -> Any:
    """A value as JSON can hold it: maps as records, bytes in hexadecimal, anything else that is strange as text."""
    if isinstance(value, Map):
        return map_record(value, MapFacts())
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def attachment_record(attachment: Attachment) -> dict[str, Any]:
    """An attachment as JSON values."""
    return {
        "kind": attachment.kind,
        "object": attachment.object,
        "netns": attachment.netns,
        "holders": [holder_record(holder) for holder in attachment.holders],
        "details": plain(attachment.details),
    }


def holder_record(holder: Holder) -> dict[str, Any]:
    """A process that holds something, as JSON values."""
    return {"pid": holder.pid, "comm": holder.comm, "fd": holder.fd, "tid": holder.tid}


def schemas() -> dict[str, Schema]:
    """What stands in the lines. Beside these keys a program has those of struct bpf_prog_info, or what its object file or row says."""
    from bpflens.records.program import described_schema, reference_schema
    from bpflens.records.schemas import ANY, INTEGER, TEXT, line, listing, mapping, maybe, record

    holder = record({"pid": INTEGER, "comm": TEXT, "fd": maybe(INTEGER), "tid": maybe(INTEGER)})
    program_keys, map_keys = described_schema()
    program = record({
        **program_keys, "code": TEXT, "references": listing(reference_schema()), "symbols": mapping(TEXT), "lines": INTEGER,
        "attach_target": maybe(TEXT), "pins": listing(TEXT), "holders": listing(holder), "map_ids": listing(INTEGER),
        "notes": listing(TEXT),
    }, more=True)  # fmt: skip
    map = record({**map_keys, "pins": listing(TEXT), "holders": listing(holder), "users": listing(INTEGER)}, more=True)
    attachment = record({
        "kind": TEXT, "object": TEXT, "netns": maybe(INTEGER), "holders": listing(holder), "details": mapping(ANY),
    })  # fmt: skip
    keys = {"program": maybe(program), "maps": listing(map), "attachments": listing(attachment)}
    return {"show/1": line("show/1", "A program, its maps and what it hangs on; a map alone where program is null.", keys)}

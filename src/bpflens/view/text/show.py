"""Everything known of programs and maps, as text for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from bpflens.btf.values import to_text
from bpflens.isa.extended.names import ATTACH_TYPES, MAP_TYPES, PROG_TYPES, flag_names, type_name
from bpflens.isa.extended.uapi import MapType
from bpflens.maps.contents import Contents, Entry
from bpflens.overview import MapFacts, Overview, ProgramFacts
from bpflens.program import Attachment, Holder, Isa, Loaded, Map, Program
from bpflens.view.style.colours import HEADING, painted
from bpflens.view.style.printable import printable

__all__ = ("LABEL_COLUMN", "map_lines", "overview_lines", "program_lines")

_LABEL = 13  # width of the column of labels
LABEL_COLUMN = 2 + _LABEL
"""Where values begin, and go on where a line is folded."""
_MAPS_OF_PROGRAMS = frozenset({MapType.PROG_ARRAY})
_MAPS_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
# Facts of an attachment that its kind and object say already.
_DETAILS_HIDDEN = frozenset({
    "link", "links", "pins", "netns_ino", "ifindex", "map_id", "cgroup_id", "tp_name", "target_name", "perf_type", "path", "count", "pf",
    "hooknum", "func_name", "file_name", "offset", "addr", "member", "index", "key", "parent",
})  # fmt: skip


def overview_lines(found: Overview, color: bool = False) -> Iterator[str]:
    """The maps that were asked for, the programs, then the maps of those: each map once, whoever shares it."""
    shown = [map for map, _ in found.maps]
    blocks = [map_lines(map, facts, color) for map, facts in found.maps]
    blocks += [program_lines(program, facts, color) for program, facts, _ in found.programs]
    for _, _, maps in found.programs:
        for map, facts in maps:
            if not any(map is other or (map.id is not None and map.id == other.id) for other in shown):
                shown.append(map)
                blocks.append(map_lines(map, facts, color))
    for number, block in enumerate(blocks):
        if number:
            yield ""
        yield from block


def program_lines(program: Program, facts: ProgramFacts, color: bool = False) -> Iterator[str]:
    """A program as lines of text; its maps follow by `map_lines`."""
    yield _heading(program, color)
    loaded = program.loaded
    notes = loaded.notes if loaded else ()
    if program.isa is Isa.CLASSIC:
        yield from _row("code", f"{program.insn_count} instructions ({8 * program.insn_count} bytes)")
    if program.origin.source not in ("kernel", "elf"):
        yield from _row("read from", f"{program.origin.where} ({program.origin.source})")
    if program.origin.note and not notes:
        yield from _row("note", program.origin.note)
    if program.origin.linktype or program.origin.given:
        given = f", given {' '.join(program.origin.given)}" if program.origin.given else ""
        yield from _row("packets", f"{program.origin.linktype or 'unknown link type'}{given}")
    if program.section:
        yield from _row("section", program.section)
    if program.license is not None:
        yield from _row("license", program.license)
    if program.isa is Isa.EXTENDED:
        if loaded:
            yield from _row("loaded", f"{_time(loaded.at)}, {_age(time.time() - loaded.at)} ago, by uid {_user(loaded.info.uid)}")
        yield from _row("code", "; ".join(_code(program)))
        if loaded:
            yield from _kernel_rows(program, loaded, facts)
    if facts.attach_target:
        yield from _row("target", facts.attach_target)
    if program.expected_attach_type is not None:
        yield from _row("attach type", type_name(ATTACH_TYPES, program.expected_attach_type))
    yield from _row("attached", *(attachment_text(item) for item in program.attachments))
    if program.id is not None and not program.attachments:
        yield from _row("attached", "to nothing that was found" + ("" if facts.deep else " (with --no-deep kernel memory was not asked)"))
    yield from _row("held by", *(holder_text(holder) for holder in facts.holders))
    yield from _row("pinned", *facts.pins)
    yield from _row("functions", *_functions(program))
    if program.maps:
        yield from _row("maps", ", ".join(f"{map.id} {map.name}" if map.id is not None else map.name for map in program.maps))
    yield from _row("notes", *notes)


def _kernel_rows(program: Program, loaded: Loaded, facts: ProgramFacts) -> Iterator[str]:
    """What the kernel reports."""
    info = loaded.info
    yield from _row("runs", _runs(loaded, facts.stats_enabled))
    if program.license is None:
        yield from _row("license", "GPL-compatible" if info.gpl_compatible else "not GPL-compatible")
    if info.btf_id:
        yield from _row("types", f"BTF {info.btf_id}" + (f", {len(program.lines)} source lines" if program.lines else ""))
    if info.ifindex:
        yield from _row("device", f"bound to ifindex {info.ifindex} of network namespace {info.netns_ino}")


def map_lines(map: Map, facts: MapFacts, color: bool = False) -> Iterator[str]:
    """A map as lines of text."""
    name = f"map {map.id}" if map.id is not None else "map"
    kind = type_name(MAP_TYPES, map.type)
    yield _bold(f"{name}  {kind}  {map.name or '(no name)'}", color)
    lines: list[str] = []
    lines += _row("key", _typed(map.key, map.key_size)) if map.key_size else []
    if map.datasec:
        variables = (f"{offset:5}  {ctype} {name} ({_bytes(size)})" for offset, (name, size, ctype) in sorted(map.datasec.items()))
        lines += _row("variables", *variables)
    elif map.value_size:
        lines += _row("value", _typed(map.value, map.value_size))
    lines += _row("entries", f"at most {map.max_entries:,}" if map.max_entries else "no fixed number")
    flags = flag_names(map.flags)
    lines += _row("flags", " ".join(flags)) if flags else []
    if map.fields.get("frozen"):
        lines += _row("frozen", "system calls cannot write it any more")
    if map.fields.get("memlock"):
        lines += _row("memory", f"{map.fields['memlock']:,} bytes")
    if map.fields.get("map_extra"):
        lines += _row("map_extra", f"{map.fields['map_extra']:#x}")
    if "owner_prog_type" in map.fields:
        owner = type_name(PROG_TYPES, map.fields["owner_prog_type"])
        lines += _row("owner", f"{owner} programs, {'JITed' if map.fields.get('owner_jited') else 'not JITed'}")
    inner = map.fields.get("inner")
    if isinstance(inner, Map):
        shape = f"key {_typed(inner.key, inner.key_size)}, value {_typed(inner.value, inner.value_size)}"
        lines += _row("inner maps", f"{type_name(MAP_TYPES, inner.type)}, {shape}, at most {inner.max_entries:,}")
    if map.fields.get("values"):
        lines += _row("filled with", *(f"[{slot}] = {name}" for slot, name in map.fields["values"].items()))
    if map.fields.get("pinning"):
        lines += _row("pinning", str(map.fields["pinning"]))
    if facts.struct_ops is not None:
        ops = facts.struct_ops
        lines += _row("struct_ops", f"{ops.struct}, {ops.state}", *(f"{name} = id:{id}" for name, id in ops.programs.items()))
    lines += _row("used by", ", ".join(f"id:{id}" for id in facts.users)) if facts.users else []
    lines += _row("held by", *(holder_text(holder) for holder in facts.holders))
    lines += _row("pinned", *facts.pins)
    if facts.contents is not None:
        lines += _contents(map, facts.contents)
    yield from lines


def attachment_text(attachment: Attachment) -> str:
    """ "tcx/ingress dev:eth0 (link 3, position 0)"."""
    details = attachment.details
    notes = [f"link {details['link']}"] if "link" in details else []
    notes += [f"netns {attachment.netns}"] if attachment.netns else []
    notes += [
        f"{key} {value}"
        for key, value in details.items()
        if key not in _DETAILS_HIDDEN and value not in (None, "", 0) and isinstance(value, (int, str))
    ]
    return f"{attachment.kind} {attachment.object}".rstrip() + (f" ({', '.join(notes)})" if notes else "")


def holder_text(holder: Holder) -> str:
    """ "runqlat[812] fd 7"."""
    return f"{holder.comm}[{holder.pid}]" + (f" fd {holder.fd}" if holder.fd is not None else "")


def _heading(program: Program, color: bool) -> str:
    if program.isa is Isa.CLASSIC:
        words = ["classic program", program.name or program.origin.where]
    else:
        number = f"program {program.id}" if program.id is not None else "program"
        words = [number, type_name(PROG_TYPES, program.type) or "of unknown type", program.name or "(no name)"]
        if program.type is None and program.section:  # its name tells a loader no type: it holds functions that programs call
            words = ["function", words[-1]]
        if program.tag:
            words.append(f"tag {program.tag}")
    return _bold("  ".join(words), color)


def _code(program: Program) -> list[str]:
    loaded = program.loaded
    parts = [f"{program.insn_count} instructions" + (" after the verifier" if program.xlated else "")]
    if loaded:
        size = loaded.info.jited_len
        parts.append(f"{size:,} bytes of {program.arch} machine code" if size else "not JITed, or hidden")
        if loaded.info.verified_insns:
            parts.append(f"verifier walked {loaded.info.verified_insns:,}")
        if loaded.memlock:
            parts.append(f"{loaded.memlock:,} bytes of memory")
    return parts


def _runs(loaded: Loaded, enabled: bool | None) -> str:
    count, total = loaded.info.run_cnt, loaded.info.run_time_ns
    text = f"{count:,}, {total / count:,.0f} ns each" if count else "none counted"
    if loaded.info.recursion_misses:
        text += f", {loaded.info.recursion_misses:,} missed by recursion"
    if enabled is False:
        text += " (counting is off: sysctl kernel.bpf_stats_enabled=1 switches it on)"
    return text


def _functions(program: Program) -> Iterator[str]:
    for function in program.functions:
        if function.proto or len(program.functions) > 1:
            yield f"{function.start:5}  {' '.join((function.proto or function.name or '(no name)').split())}"


def _contents(map: Map, found: Contents) -> list[str]:
    lines = []
    if map.datasec:
        for entry in found.entries:
            if isinstance(entry.value, Mapping):
                lines += [f"{name} = {to_text(value)}" for name, value in entry.value.items()]
    else:
        lines = [_entry(map, entry) for entry in found.entries]
    if found.more:
        lines.append("... (--limit shows more)")
    if found.reason:
        lines.append(f"({found.reason})")
    return list(_row("contents", *(lines or ["empty"])))


def _entry(map: Map, entry: Entry) -> str:
    key = to_text(entry.key) if entry.key is not None else entry.raw_key.hex(" ")
    if entry.raw_value is None:
        return f"[{key}] = (not readable)"
    if map.type in _MAPS_OF_PROGRAMS:
        return f"[{key}] = id:{entry.value}"
    if map.type in _MAPS_OF_MAPS:
        return f"[{key}] = map:{entry.value}"
    if isinstance(entry.value, Sequence) and not isinstance(entry.value, str) and any(item is None for item in entry.value):
        return f"[{key}] = {entry.raw_value.hex(' ')}"
    return f"[{key}] = {to_text(entry.value) if entry.value is not None else entry.raw_value.hex(' ')}"


def _row(label: str, *values: str) -> Iterator[str]:
    """The label before the first value, the others below it; nothing where there is no value."""
    for number, value in enumerate(values):
        yield f"  {label if number == 0 else '':{_LABEL}}{printable(value)}"


def _typed(declaration: str | None, size: int) -> str:
    return f"{declaration} ({_bytes(size)})" if declaration else f"{_bytes(size)}, type unknown"


def _bytes(size: int) -> str:
    return f"{size} byte" + "s" * (size != 1)


def _bold(text: str, color: bool) -> str:
    return painted(printable(text), HEADING, color)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))


def _age(seconds: float) -> str:
    from bpflens.view.text.inventory import age

    return age(int(seconds * 1e9))


def _user(uid: int) -> str:
    import pwd

    try:
        return f"{uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return str(uid)

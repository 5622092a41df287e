"""What the maps of a loaded program hold now, in the words of its explanation: bounded, the largest values first.

    h4blk: { 50 00 } = 3, asked by the TCP destination port, counted where packets are dropped   ──►   "80 (http): 3 packets dropped"

Keys are written as the fields that the program makes them of; where that is not known as BTF has them, else as bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bpflens.btf.values import Value, to_text
from bpflens.decompile import ir
from bpflens.decompile.summary.sentence import Says, Sentence
from bpflens.decompile.summary.summary import Summary
from bpflens.decompile.summary.walk.bits import Bit, Source
from bpflens.decompile.summary.walk.walk import Done
from bpflens.decompile.summary.words.layers import value_text
from bpflens.decompile.summary.words.naming import Namer
from bpflens.decompile.summary.words.verdicts import verdict
from bpflens.decompile.unit import Unit
from bpflens.isa.extended.uapi import MapType
from bpflens.maps.contents import Entry, contents
from bpflens.program import Map

__all__ = ("now_held", "with_contents")

_SHOWN, _MOST = 3, 1024
_LONGEST = 60
# events, stacks, storage with sockets and tasks: nothing to list
_OPAQUE = frozenset((
    MapType.PERF_EVENT_ARRAY, MapType.STACK_TRACE, MapType.SK_STORAGE, MapType.RINGBUF, MapType.INODE_STORAGE,
    MapType.TASK_STORAGE, MapType.USER_RINGBUF, MapType.CGRP_STORAGE,
))  # fmt: skip
_ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
_COUNTED = {"drops the packet": "dropped", "passes the packet on": "passed on", "lets the packet pass": "let through",
            "redirects the packet": "redirected", "refuses (EPERM)": "refusals", "allows": "allowed"}  # fmt: skip


def with_contents(summary: Summary, unit: Unit, shared: Collection[int]) -> Summary:
    """The summary of a loaded program; the sentence of each map says what is in it now. `shared`: maps that other programs use too."""
    code = unit.codes[summary.name]
    namer = Namer(unit, code.prog_type, code.program.declared.section or "", code)
    verdicts = [each.says for each in summary.sentences if each.says is not None and each.says.kind == "returns"]
    out = []
    for each in summary.sentences:
        name = each.says.map if each.says is not None and each.kind == "map" else ""
        map = unit.maps.get(name)
        said = now_held(each, name, map, verdicts, namer, map.id in shared) if map is not None else ""
        out.append(replace(each, text=each.text + said, whole=each.whole and each.whole + said))
    return replace(summary, sentences=tuple(out))


def now_held(sentence: Sentence, name: str, map: Map, verdicts: Sequence[Says], namer: Namer, shared: bool) -> str:
    """ "Now 2 entries: 80 (http): 3 packets dropped, 443 (https): 0."; "" where the map has nothing to tell. `shared`: others use it."""
    if map.type in _OPAQUE or map.id is None or name.startswith("."):
        return ""
    found = contents(map, _MOST)
    if found.reason:
        return f" Its contents can't be read: {found.reason}."
    entries = [entry for entry in found.entries if entry.raw_value is None or entry.raw_value.strip(b"\0") or map.type not in _ARRAYS]
    if not entries:
        return " Now all its values are 0." if map.type in _ARRAYS else " Now it is empty."
    done = [each for each in (sentence.says.done if sentence.says is not None else ()) if each.parts]
    counted = "" if shared else _counted(sentence, map, verdicts, namer)
    ranked = sorted(entries, key=lambda entry: -(_number(entry.value) or 0))
    shown = [f"{_key(entry, done, namer)}: {_value(entry, counted)}" for entry in ranked[:_SHOWN]]
    count = f"more than {_MOST}" if found.more else str(len(entries))
    what = "value that is not 0" if map.type in _ARRAYS else "entry"
    plural = {"entry": "entries", "value that is not 0": "values that are not 0"}[what]
    more = ", ..." if len(entries) > _SHOWN or found.more else ""
    return f" Now {count} {what if count == '1' else plural}: {', '.join(shown)}{more}."


def _key(entry: Entry, done: Sequence[Done], namer: Namer) -> str:
    """A key as the fields that it is made of."""
    for each in done:
        said = _as_fields(entry.raw_key, each, namer)
        if said:
            return said
    return _short(entry.key, entry.raw_key)


def _as_fields(key: bytes, done: Done, namer: Namer) -> str:
    origins: dict[int, tuple[Source, int]] = {}
    for part in done.parts:
        for n in range(part.size):
            bit = part.bits[8 * n] if 8 * n < len(part.bits) else 0
            if isinstance(bit, Bit) and bit.bit == 0:
                origins[part.at + n] = (bit.source, bit.byte)
    if not origins or set(range(len(key))) - origins.keys() - {at for at, byte in enumerate(key) if not byte}:
        return ""
    runs: list[list[int]] = []
    for at in sorted(origins):
        before = runs[-1][-1] if runs else None
        near = before is not None and origins[at][0] == origins[before][0] and abs(origins[at][1] - origins[before][1]) == 1
        if before == at - 1 and near:
            runs[-1].append(at)
        else:
            runs.append([at])
    said = []
    for run in runs:
        placed = sorted((origins[at][1], key[at]) for at in run)
        named = namer.name_bytes(origins[run[0]][0], placed[0][0], len(run), done.layers)
        number = int.from_bytes(bytes(byte for _, byte in placed), "big" if named.big_endian else "little")
        said.append((named.text, value_text(named.format, number, len(run))))
    return said[0][1] if len(said) == 1 else ", ".join(f"{name} {value}" for name, value in said)


def _value(entry: Entry, counted: str) -> str:
    number = _number(entry.value)
    if number is not None:
        return f"{number} {counted}".strip()
    return _short(entry.value, entry.raw_value or b"")


def _number(value: Value) -> int | None:
    """A number; of per-cpu values their sum."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
        return sum(value)
    return None


def _short(value: Value, raw: bytes) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(each, Mapping) for each in value):
        value = next((each for each in value if isinstance(each, Mapping) and any(each.values())), value[0] if value else None)
    text = to_text(value) if value is not None else raw[:16].hex(" ")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _counted(sentence: Sentence, map: Map, verdicts: Sequence[Says], namer: Namer) -> str:
    """ "packets dropped", where the program adds 1 to the whole value, and does nothing else to it, just on the paths to one verdict."""
    done = sentence.says.done if sentence.says is not None else ()
    writes = [each for each in done if isinstance(each.written, ir.Atomic | ir.Store)]
    if len(writes) != 1 or not _adds_one(writes[0].written, map) or any(
        isinstance(each.statement, ir.Call) and each.statement.name in ("bpf_map_update_elem", "bpf_map_delete_elem") for each in done
    ):  # fmt: skip
        return ""
    conditions = set(writes[0].conditions)
    values = {says.value for says in verdicts for path in says.paths if conditions <= set(path.conditions)}
    if len(values) != 1 or (value := values.pop()) is None:
        return ""
    words = _COUNTED.get(verdict(namer.prog_type, value).words, "")
    return f"packets {words}" if words and "packet" in verdict(namer.prog_type, value).words else words


def _adds_one(written: ir.Statement, map: Map) -> bool:
    if not isinstance(written, ir.Atomic | ir.Store) or written.place.offset != 0 or written.size != map.value_size:
        return False
    value = written.value
    if isinstance(written, ir.Atomic):
        return written.op == "+" and value == ir.Const(1)
    return isinstance(value, ir.Binary) and value.op == "+" and value.right == ir.Const(1) and isinstance(value.left, ir.Load)

"""Two snapshots, or a snapshot and the running machine, object by object: same, changed, missing, new.

Who is whose counterpart is decided in this order: the same id in the same boot, a pin at the same path, the same name and tag (programs),
the same place among the maps of programs that belong together (maps), the same name and type.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedAttachment, SavedMap, SavedProgram
from bpflens.snapshot.restoring.elements import checked_data, records
from bpflens.snapshot.restoring.proof import compared_exactly

__all__ = ("Change", "compare")

Item = TypeVar("Item", SavedProgram, SavedMap)
_MASK = (1 << 64) - 1
_NUMBERS = frozenset({
    "ifindex", "link", "links", "position", "cgroup_id", "missed", "netns_ino", "map_id", "target_obj_id", "target_btf_id",
})  # fmt: skip  # details that are another number for the same thing


@dataclass(frozen=True, slots=True)
class Change:
    """`status`: "same", "changed", "missing" (only in the first) or "new" (only in the second). `kind`: program, map, attachment.

    `differences` and `unknown` (what could not be compared) are words for people.
    """

    status: str
    kind: str
    object: str
    differences: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def compare(then: Archive, now: Archive, *, data: bool = True, new: bool = True) -> list[Change]:
    """Every object of both. `data`: contents of maps too. `new`: also what only the second has."""
    programs = _pair_programs(then, now)
    maps = _pair_maps(then, now, programs)
    map_ids = {pair.id: saved.id for saved, pair in maps if pair is not None}
    program_ids = {pair.id: saved.id for saved, pair in programs if pair is not None}
    changes = [_program(saved, pair, map_ids) for saved, pair in programs]
    changes += [_map(then, now, saved, pair, {"maps": map_ids, "programs": program_ids}, data) for saved, pair in maps]
    attachments = _pair_attachments(then, now, program_ids, map_ids)
    changes += [_attachment(then, now, saved, pair) for saved, pair in attachments]
    if new:
        old_programs, old_maps = set(program_ids), set(map_ids)
        old_attachments = {id(pair) for _, pair in attachments if pair is not None}
        changes += [Change("new", "program", _name(item)) for item in now.manifest.programs if item.id not in old_programs]
        changes += [Change("new", "map", _name(item)) for item in now.manifest.maps if item.id not in old_maps]
        changes += [Change("new", "attachment", _where(item)) for item in now.manifest.attachments if id(item) not in old_attachments]
    return changes


def _same_boot(then: Archive, now: Archive) -> bool:
    return bool(then.manifest.kernel.boot_id) and then.manifest.kernel.boot_id == now.manifest.kernel.boot_id


def _pair(items: Iterable[Item], others: Iterable[Item], rules: Iterable[Callable[[Item, Item], bool]]) -> dict[int, Item]:
    """Saved id -> counterpart: each rule in turn over all that are still single."""
    pairs: dict[int, Item] = {}
    free = list(others)
    single = list(items)
    for rule in rules:
        rest = []
        for item in single:
            found = next((other for other in free if rule(item, other)), None)
            if found is None:
                rest.append(item)
            else:
                free.remove(found)
                pairs[item.id] = found
        single = rest
    return pairs


def _pair_programs(then: Archive, now: Archive) -> list[tuple[SavedProgram, SavedProgram | None]]:
    boot = _same_boot(then, now)
    rules: list[Callable[[SavedProgram, SavedProgram], bool]] = [
        lambda a, b: boot and a.id == b.id,
        lambda a, b: a.type == b.type and bool({pin.path for pin in a.pins} & {pin.path for pin in b.pins}),
        lambda a, b: (a.name, a.tag, a.type) == (b.name, b.tag, b.type),
        lambda a, b: bool(a.name) and (a.name, a.type) == (b.name, b.type),
    ]
    pairs = _pair(then.manifest.programs, now.manifest.programs, rules)
    return [(item, pairs.get(item.id)) for item in then.manifest.programs]


def _pair_maps(
    then: Archive, now: Archive, programs: list[tuple[SavedProgram, SavedProgram | None]]
) -> list[tuple[SavedMap, SavedMap | None]]:
    boot = _same_boot(then, now)
    places = {(a, b) for one, two in programs if two is not None for a, b in zip(one.maps, two.maps, strict=False)}
    rules: list[Callable[[SavedMap, SavedMap], bool]] = [
        lambda a, b: boot and a.id == b.id and a.type == b.type,
        lambda a, b: a.type == b.type and bool({pin.path for pin in a.pins} & {pin.path for pin in b.pins}),
        lambda a, b: (a.id, b.id) in places and a.name == b.name,
        lambda a, b: (a.name, a.type, a.key_size, a.value_size) == (b.name, b.type, b.key_size, b.value_size),
    ]
    pairs = _pair(then.manifest.maps, now.manifest.maps, rules)
    return [(item, pairs.get(item.id)) for item in then.manifest.maps]


def _pair_attachments(
    then: Archive, now: Archive, program_ids: Mapping[int, int], map_ids: Mapping[int, int]
) -> list[tuple[SavedAttachment, SavedAttachment | None]]:
    free = list(now.manifest.attachments)
    pairs: list[tuple[SavedAttachment, SavedAttachment | None]] = []
    for item in then.manifest.attachments:
        def fits(other: SavedAttachment, item: SavedAttachment = item) -> bool:
            place = (item.kind, item.device or item.cgroup, item.netns_name)
            if place != (other.kind, other.device or other.cgroup, other.netns_name):
                return False
            if item.program is not None:
                return program_ids.get(other.program or 0) == item.program
            return map_ids.get(other.map or 0) == item.map if item.map is not None else item.object == other.object

        fitting = [other for other in free if fits(other)]
        found = next((other for other in fitting if _known(other) == _known(item)), fitting[0] if fitting else None)
        if found is not None:
            free.remove(found)
        pairs.append((item, found))
    return pairs


def _known(item: SavedAttachment) -> dict[str, Any]:
    """The details that mean the same on every machine: priorities, handles, hooks."""
    return {key: value for key, value in item.details.items() if key not in _NUMBERS}


def _name(item: SavedProgram | SavedMap) -> str:
    return f"{item.id} {item.name} ({item.type_name})" if item.name else f"{item.id} ({item.type_name})"


def _where(item: SavedAttachment) -> str:
    text = f"{item.kind} {item.object}"
    return f"{text} in netns {item.netns_name or item.netns}" if not item.own_netns and item.netns else text


def _fields(then: object, now: object, names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        a, b = getattr(then, name), getattr(now, name)
        if a != b:
            found.append(f"{name.replace('_', ' ')}: {_short(a)}, now {_short(b)}")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _result(kind: str, name: str, differences: list[str], unknown: list[str] | None = None) -> Change:
    return Change("changed" if differences else "same", kind, name, tuple(differences), tuple(unknown or ()))


def _program(then: SavedProgram, now: SavedProgram | None, map_ids: Mapping[int, int]) -> Change:
    if now is None:
        return Change("missing", "program", _name(then))
    names = ["name", "type_name", "tag", "license", "verified_insns"]
    if then.flags is not None and now.flags is not None:
        names += ["expected_attach_type", "flags"]
    differences = _fields(then, now, names)
    if [map_ids.get(id) for id in now.maps] != list(then.maps):
        differences.append("it uses other maps")
    if {pin.path for pin in then.pins} != {pin.path for pin in now.pins}:
        differences.append(f"pins: {_paths(then)}, now {_paths(now)}")
    return _result("program", _name(then), differences)


def _paths(item: SavedProgram | SavedMap) -> str:
    return ", ".join(pin.path for pin in item.pins) or "none"


def _map(
    then: Archive, now: Archive, saved: SavedMap, pair: SavedMap | None, ids: Mapping[str, Mapping[int, int]], data: bool
) -> Change:
    if pair is None:
        return Change("missing", "map", _name(saved))
    names = ("name", "type_name", "key_size", "value_size", "max_entries", "flags", "map_extra", "frozen", "inner", "struct")
    differences = _fields(saved, pair, names)
    unknown: list[str] = []
    if {pin.path for pin in saved.pins} != {pin.path for pin in pair.pins}:
        differences.append(f"pins: {_paths(saved)}, now {_paths(pair)}")
    if data:
        text, compared = _contents(then, now, saved, pair, ids)
        if text:
            (differences if compared else unknown).append(text)
    return _result("map", _name(saved), differences, unknown)


def _contents(then: Archive, now: Archive, saved: SavedMap, pair: SavedMap, ids: Mapping[str, Mapping[int, int]]) -> tuple[str, bool]:
    """(what differs or why it is not known, whether it was compared)."""
    if saved.data is None or pair.data is None:
        why = saved.why_no_data or pair.why_no_data
        return (f"contents: {why}" if why else "", False)
    a, b = checked_data(then, saved), checked_data(now, pair)
    if (a.layout, a.key_size, a.value_size) != (b.layout, b.key_size, b.value_size):
        return "contents: in another form", True
    if a.layout == "value" and saved.struct:
        return "", True  # its functions are programs, which are compared themselves
    if a.layout in ("values", "pages", "value"):
        same = then.manifest.members[a.member] == now.manifest.members[b.member]
        return ("" if same else _changed_values(then, now, saved, pair), True)
    size = a.key_size + a.value_size
    if not compared_exactly(max(a.entries, b.entries), size):
        same = a.entries == b.entries and _sum(records(then, saved), size) == _sum(_mapped(now, pair, ids), size)
        return ("" if same else f"contents: {a.entries} entries, now {b.entries}, and they differ", True)
    old = _dict(records(then, saved), a.key_size, size)
    new = _dict(_mapped(now, pair, ids), a.key_size, size)
    gone, added = len(old.keys() - new.keys()), len(new.keys() - old.keys())
    changed = sum(new[key] != value for key, value in old.items() if key in new)
    parts = [f"{count} {word}" for count, word in ((changed, "changed"), (added, "new"), (gone, "gone")) if count]
    return (f"contents: {', '.join(parts)} of {a.entries} entries" if parts else "", True)


def _changed_values(then: Archive, now: Archive, saved: SavedMap, pair: SavedMap) -> str:
    if saved.data is None or pair.data is None or saved.data.layout != "values":
        return "contents: they differ"
    size = saved.data.value_size
    changed = 0
    layout = struct.Struct(f"{size}s")
    for one, two in zip(records(then, saved), records(now, pair), strict=False):
        changed += sum(a != b for a, b in zip(layout.iter_unpack(one), layout.iter_unpack(two), strict=False))
    return f"contents: {changed} of {saved.data.entries} values changed"


def _dict(pieces: Iterable[bytes], key_size: int, size: int) -> dict[bytes, bytes]:
    layout = struct.Struct(f"{key_size}s{size - key_size}s")
    return dict(chain.from_iterable(layout.iter_unpack(piece) for piece in pieces))


def _sum(pieces: Iterable[bytes], size: int) -> int:
    layout = struct.Struct(f"{size}s")
    return sum(sum(map(hash, layout.iter_unpack(piece))) for piece in pieces) & _MASK


def _mapped(archive: Archive, map: SavedMap, ids: Mapping[str, Mapping[int, int]]) -> Iterator[bytes]:
    """Records with ids of the second snapshot replaced by those of the first."""
    from bpflens.snapshot.restoring.proof import id_mapper

    data = checked_data(archive, map)
    change = id_mapper(data, ids)
    for piece in records(archive, map):
        yield change(piece) if change else piece


def _attachment(then: Archive, now: Archive, saved: SavedAttachment, pair: SavedAttachment | None) -> Change:
    if pair is None:
        return Change("missing", "attachment", _where(saved))
    differences = []
    if then.manifest.members.get(saved.classic or "") != now.manifest.members.get(pair.classic or ""):
        differences.append("another classic filter")
    if (saved.link is None) != (pair.link is None):
        differences.append("by a link" if pair.link is not None else "no longer by a link")
    old, new = _known(saved), _known(pair)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            differences.append(f"{key}: {_short(old.get(key))}, now {_short(new.get(key))}")
    return _result("attachment", _where(saved), differences)

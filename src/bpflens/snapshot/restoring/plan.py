"""The plan: what a restore makes, in which order, and what it cannot make and why. Nothing is changed; the machine is only looked at.

    types ─► maps (inner before outer), contents, freezing ─► programs (targets first) ─► elements that are programs, maps bound
          ─► proofs ─► attachments ─► pins
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from bpflens.errors import UsageError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import Manifest, SavedAttachment, SavedMap, SavedProgram
from bpflens.isa.extended.uapi import MapType
from bpflens.snapshot.restoring.elements import elements
from bpflens.snapshot.restoring.options import BPFFS, RestoreOptions, pin_path
from bpflens.snapshot.restoring.rules import data_is_lost, data_is_written, hook_is_lost, map_is_lost
from bpflens.snapshot.restoring.steps import LeftOut, Plan, Step
from bpflens.snapshot.restoring.targets import check_names, look, same_pin

__all__ = ("LeftOut", "Plan", "Step", "make_plan")

LATE = frozenset((
    MapType.PROG_ARRAY, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS, MapType.DEVMAP, MapType.CPUMAP, MapType.DEVMAP_HASH,
    MapType.STRUCT_OPS,
))  # fmt: skip
"""Their elements are programs or maps: they are filled when these exist."""
_OF_MAPS = frozenset((MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS))
_SHOWN = 8  # names in an error


def make_plan(archive: Archive, options: RestoreOptions) -> Plan:
    """The plan for this machine. InputError where the manifest contradicts itself; UsageError where an option names something that is not
    in the snapshot.
    """
    from bpflens.kernel.maps.map_data import possible_cpus

    manifest = archive.manifest
    check_names(manifest, options)
    planner = _Planner(manifest, options, possible_cpus(), archive.digest)
    planner.elements = {map.id: tuple(id for _, id in elements(archive, map)) for map in manifest.maps if map.type in LATE}
    return look(planner.plan(), manifest, options)


class _Planner:
    def __init__(self, manifest: Manifest, options: RestoreOptions, cpus: int, digest: str) -> None:
        self.options, self.cpus = options, cpus
        self.manifest = manifest
        self.all_maps = {map.id: map for map in manifest.maps}
        self.all_programs = {program.id: program for program in manifest.programs}
        self.keep = options.pin_prefix or f"{BPFFS}/bpflens-{digest[:12]}"
        self.left_out: list[LeftOut] = []
        self.steps: list[Step] = []
        self.reused: dict[int, str] = {}
        self.elements: dict[int, tuple[int, ...]] = {}

    def plan(self) -> Plan:
        wanted_programs, wanted_maps = self._wanted()
        maps = self._possible_maps(wanted_maps)
        programs = self._possible_programs(wanted_programs, maps)
        self._drop_dependents(programs, maps)
        attachments = self._possible_attachments(programs, maps)
        if self.options.reuse_maps:
            self._find_reusable(maps)
        self._types(programs, maps)
        order = _inner_first(maps)
        for map in order:
            self._map(map)
        for program in _targets_first(programs):
            facts = f"{program.type_name}, {program.insns} insns, {program.grade}"
            self._step("program", program.id, f"load program {_name(program)} ({facts})")
        for map in order:
            if map.type in LATE and data_is_written(map) and map.id not in self.reused:
                self._step("elements", map.id, f"put its elements into map {_name(map)}")
        for program in programs.values():
            for bound in program.bound:
                if bound in maps:
                    self._step("bind", program.id, f"bind map {_name(maps[bound])} to program {_name(program)}", kind=str(bound))
        for index in attachments:
            attachment = self.manifest.attachments[index]
            self._step("attach", index, f"attach {_what(attachment, self.all_programs)} to {self._place(attachment)}")
        self._pins(programs, maps, attachments)
        return Plan(
            tuple(self.steps), tuple(self.left_out), tuple(programs), tuple(map.id for map in order), tuple(attachments),
            tuple(self.reused.items()),
        )  # fmt: skip

    def _step(self, action: str, id: int, text: str, path: str = "", kind: str = "") -> None:
        self.steps.append(Step(action, id, text, path, kind))

    # --- what is wanted and possible ---

    def _wanted(self) -> tuple[dict[int, SavedProgram], dict[int, SavedMap]]:
        only = set(self.options.only)
        if not only:
            return dict(self.all_programs), dict(self.all_maps)
        programs = {id: item for id, item in self.all_programs.items() if {str(id), f"id:{id}", item.name, item.full_name} & only}
        maps = {id: item for id, item in self.all_maps.items() if {f"map:{id}", f"map:{item.name}"} & only}
        self._check_only(only, programs, maps)
        pending: list[SavedProgram | SavedMap] = [*programs.values(), *maps.values()]
        while pending:  # what they need
            item = pending.pop()
            if isinstance(item, SavedProgram):
                for id in (*item.maps, *(map for _, map in item.references)):
                    if id in self.all_maps and id not in maps:
                        maps[id] = self.all_maps[id]
                        pending.append(maps[id])
                target = item.target.program if item.target else None
                if target in self.all_programs and target not in programs:
                    programs[target] = self.all_programs[target]
                    pending.append(programs[target])
            else:
                inside = self.elements.get(item.id, ())
                for id in (*item.members.values(), *(() if item.type in _OF_MAPS else inside)):
                    if id in self.all_programs and id not in programs:
                        programs[id] = self.all_programs[id]
                        pending.append(programs[id])
                for id in inside if item.type in _OF_MAPS else ():
                    if id in self.all_maps and id not in maps:
                        maps[id] = self.all_maps[id]
                        pending.append(maps[id])
        return dict(sorted(programs.items())), dict(sorted(maps.items()))

    def _check_only(self, only: set[str], programs: dict[int, SavedProgram], maps: dict[int, SavedMap]) -> None:
        """UsageError for a name that nothing has."""
        known = {name for id, item in programs.items() for name in (str(id), f"id:{id}", item.name, item.full_name)}
        known |= {name for id, map in maps.items() for name in (f"map:{id}", f"map:{map.name}")}
        for name in sorted(only - known):
            if any(name in (str(id), map.name) for id, map in self.all_maps.items()):
                raise UsageError("--only", f'the snapshot has no program "{name}"', f"it has a map of this name: --only map:{name}")
            names = [*(item.name for item in self.all_programs.values()), *(f"map:{map.name}" for map in self.all_maps.values())]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise UsageError("--only", f'names no program or map of the snapshot: "{name}"', f"it has {', '.join(names[:_SHOWN])}{more}")

    def _possible_maps(self, wanted: dict[int, SavedMap]) -> dict[int, SavedMap]:
        possible = {}
        for id, map in wanted.items():
            reason = map_is_lost(map)
            if reason:
                self.left_out.append(LeftOut(f"map {_name(map)} ({map.type_name})", reason))
                continue
            possible[id] = map
            reason = data_is_lost(map, self.cpus)
            if reason and map.type != 34:
                self.left_out.append(LeftOut(f"contents of map {_name(map)} ({map.type_name})", reason))
        return possible

    def _possible_programs(self, wanted: dict[int, SavedProgram], maps: dict[int, SavedMap]) -> dict[int, SavedProgram]:
        possible = {}
        for id, program in wanted.items():
            reason = _program_is_lost(program, maps)
            if reason:
                self.left_out.append(LeftOut(f"program {_name(program)} ({program.type_name})", reason))
            else:
                possible[id] = program
        return possible

    def _drop_dependents(self, programs: dict[int, SavedProgram], maps: dict[int, SavedMap]) -> None:
        """What needs a program that stays away stays away too: programs that were loaded for it, structures that have it as a function."""
        for program in _targets_first(dict(programs)):  # so that what is lost is known before what depends on it
            target = program.target.program if program.target else None
            if target and target not in programs:
                reason = f"program {target}, which it was loaded for, is not restored"
                self.left_out.append(LeftOut(f"program {_name(program)} ({program.type_name})", reason))
                del programs[program.id]
        for map in list(maps.values()):
            missing = [name for name, id in map.members.items() if id not in programs]
            if missing:
                self.left_out.append(LeftOut(f"map {_name(map)} ({map.type_name})", f"its function {missing[0]} is not restored"))
                del maps[map.id]

    def _possible_attachments(self, programs: dict[int, SavedProgram], maps: dict[int, SavedMap]) -> list[int]:
        possible = []
        for index, attachment in enumerate(self.manifest.attachments):
            if self.options.only and attachment.program not in programs and attachment.map not in maps:
                continue
            name = f"{attachment.kind} at {attachment.object}"
            reason = hook_is_lost(attachment)
            if reason is None and attachment.program is not None and attachment.program not in programs:
                reason = "its program is not restored"
            if reason is None and attachment.map is not None and attachment.program is None and attachment.map not in maps:
                reason = "its map is not restored"
            if reason is None and not self.options.attach:
                reason = "left out on request (--no-attach)"
            if reason is None:
                possible.append(index)
            elif reason:
                self.left_out.append(LeftOut(name, reason))
        return possible

    def _find_reusable(self, maps: dict[int, SavedMap]) -> None:
        for id, map in maps.items():
            for pin in map.pins:
                path = pin_path(pin.path, self.options)
                if os.path.lexists(path):
                    self.reused[id] = path
                    break

    # --- steps ---

    def _types(self, programs: dict[int, SavedProgram], maps: dict[int, SavedMap]) -> None:
        used = {program.btf for program in programs.values()} | {map.btf for map in maps.values()}
        for btf in self.manifest.btfs:
            if btf.id in used:
                self._step("types", btf.id, f"load type information {btf.id}")

    def _map(self, map: SavedMap) -> None:
        if map.id in self.reused:
            self._step("map", map.id, f"use the map that is pinned at {self.reused[map.id]}, with its data, as map {_name(map)}")
            return
        self._step("map", map.id, f"create map {_name(map)} ({map.type_name}, {map.max_entries} entries)")
        if data_is_written(map) and map.data is not None and map.type not in LATE and map.data.entries:
            self._step("contents", map.id, f"write its {_count(map)}")
        if map.frozen:
            self._step("freeze", map.id, "freeze it")

    def _pins(self, programs: dict[int, SavedProgram], maps: dict[int, SavedMap], attachments: Sequence[int]) -> None:
        """Pins as they were; and of everything that nothing else would keep, in a directory of their own."""
        planned: set[str] = set()

        def pin(kind: str, id: int, path: str, why: str = "") -> None:
            if path in planned:
                return
            planned.add(path)
            name = {"map": "map", "prog": "program", "link": "the link of attachment"}[kind]
            self._step("pin", id, f"pin {name} {id} at {path}{why}", path, kind)

        held = _held_by_others(self.manifest, programs, maps, attachments, self.elements)
        for map in maps.values():
            for saved in map.pins:
                path = pin_path(saved.path, self.options)
                if map.id not in self.reused or not (self.reused[map.id] == path or same_pin(self.reused[map.id], path)):
                    pin("map", map.id, path)
            if not map.pins and map.id not in held["map"]:
                why = " (a process held it)" if map.holders else " (to keep it)"
                pin("map", map.id, f"{self.keep}/map_{_safe(map.name)}_{map.id}", why)
        for program in programs.values():
            for saved in program.pins:
                pin("prog", program.id, pin_path(saved.path, self.options))
            if not program.pins and program.id not in held["prog"]:
                pin("prog", program.id, f"{self.keep}/prog_{_safe(program.name)}_{program.id}", " (to keep it)")
        for index in attachments:
            attachment = self.manifest.attachments[index]
            if attachment.link is None:
                continue
            for saved in attachment.pins:
                pin("link", index, pin_path(saved.path, self.options))
            if not attachment.pins:
                pin("link", index, f"{self.keep}/link_{attachment.link}", " (a process held it)" if attachment.holders else " (to keep it)")

    def _place(self, attachment: SavedAttachment) -> str:
        text = f"{attachment.kind} {attachment.object}"
        if attachment.device and attachment.device in self.options.devices:
            text = f"{attachment.kind} dev:{self.options.devices[attachment.device]}"
        if attachment.cgroup and attachment.cgroup in self.options.cgroups:
            text = f"{attachment.kind} cgroup:{self.options.cgroups[attachment.cgroup]}"
        if not attachment.own_netns and attachment.netns is not None:
            name = attachment.netns_name or str(attachment.netns)
            text += f" in netns {self.options.netns.get(name, name)}"
        return text


def _program_is_lost(program: SavedProgram, maps: dict[int, SavedMap]) -> str:
    if program.original is None or program.grade == "unproven":
        return f"its original is not known: {program.reason}"
    if program.ifindex:
        return "it is bound to a network device"
    for id in program.maps:
        if id in maps and maps[id].frozen and maps[id].data is None:
            return f"the contents of its read-only map {_name(maps[id])} were not saved, and it depends on them"
    missing = [id for _, id in program.references if id not in maps]
    if missing:
        return f"it uses map {missing[0]}, which is not restored"
    return ""


def _name(item: SavedProgram | SavedMap) -> str:
    return f"{item.id} {item.name}" if item.name else str(item.id)


def _safe(name: str) -> str:
    return "".join(char if char.isalnum() or char in "_-" else "_" for char in name) or "unnamed"


def _count(map: SavedMap) -> str:
    data = map.data
    if data is None:
        return "contents"
    words = {"records": ("entry", "entries"), "values": ("value", "values"), "pages": ("page", "pages")}
    return f"{data.entries} {words.get(data.layout, ('value', 'values'))[data.entries != 1]} ({data.consistency})"


def _what(attachment: SavedAttachment, programs: dict[int, SavedProgram]) -> str:
    if attachment.program is None:
        return f"map {attachment.map}" if attachment.map is not None else "its classic filter"
    program = programs.get(attachment.program)
    return f"program {_name(program)}" if program else f"program {attachment.program}"


def _inner_first(maps: dict[int, SavedMap]) -> list[SavedMap]:
    """Inner maps before the maps of maps: the kernel wants one as a template, and nesting is one deep (kernel/bpf/map_in_map.c)."""
    return sorted(maps.values(), key=lambda map: (map.type in _OF_MAPS, map.id))


def _targets_first(programs: dict[int, SavedProgram]) -> Iterator[SavedProgram]:
    """A program that another was loaded for comes before it; the archive has refused circles."""
    done: set[int] = set()
    for program in programs.values():
        chain = list[SavedProgram]()
        here: SavedProgram | None = program
        while here is not None and here.id not in done:
            done.add(here.id)
            chain.append(here)
            here = programs.get(here.target.program or 0) if here.target else None
        yield from reversed(chain)


def _held_by_others(
    manifest: Manifest, programs: dict[int, SavedProgram], maps: dict[int, SavedMap], attachments: Sequence[int],
    elements: dict[int, tuple[int, ...]],
) -> dict[str, set[int]]:
    """What lives on without a pin of its own: attached programs, maps of programs. A prog array loses its entries with its last user, so
    it is never counted (kernel/bpf/arraymap.c, prog_array_map_clear).
    """
    held_programs = {manifest.attachments[index].program for index in attachments if manifest.attachments[index].program is not None}
    held_maps = {id for program in programs.values() for id in program.maps if id in maps and maps[id].type != 3}
    held_maps |= {manifest.attachments[index].map or 0 for index in attachments if manifest.attachments[index].program is None}
    for map in maps.values():
        held_programs |= set(map.members.values())
        if map.type in _OF_MAPS:
            held_maps |= set(elements.get(map.id, ()))
        else:
            held_programs |= set(elements.get(map.id, ()))
    return {"prog": {id for id in held_programs if id is not None}, "map": held_maps}

"""Everything that is known of programs and maps: their own facts, and what was found around them.

    overview([program], attachments=False)   ──►   Overview(programs=((program, ProgramFacts(pins=("/sys/fs/bpf/x",), ...)),), ...)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bpflens.errors import KernelError
from bpflens.lean import frozen, replace
from bpflens.program import Holder, Map, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.inventory.around import Surroundings
    from bpflens.maps.contents import Contents

__all__ = ("MapFacts", "Overview", "ProgramFacts", "StructOpsFacts", "overview")


@frozen
class ProgramFacts:
    """What was found around a program. `attach_target`: the function that it was verified against; `stats_enabled`: whether runs are
    counted, None where that cannot be read; `deep`: kernel memory was searched for attachments too.
    """

    attach_target: str | None = None
    pins: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    stats_enabled: bool | None = None
    deep: bool = True


@frozen
class StructOpsFacts:
    """A struct_ops map: the kernel's struct, the state of its registration, member -> program id."""

    struct: str
    state: str
    programs: Mapping[str, int]


@frozen
class MapFacts:
    """What was found around a map. `users`: ids of programs; `contents` where they were asked for."""

    pins: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    users: tuple[int, ...] = ()
    struct_ops: StructOpsFacts | None = None
    contents: Contents | None = None


@frozen
class Overview:
    """`maps` were asked for themselves; each program has its maps beside it. `denied`: what was not looked at, with what it needs."""

    maps: tuple[tuple[Map, MapFacts], ...]
    programs: tuple[tuple[Program, ProgramFacts, tuple[tuple[Map, MapFacts], ...]], ...]
    denied: tuple[tuple[str, str], ...] = ()


def overview(
    programs: Iterable[Program], maps: Iterable[Map] = (), *, attachments: bool = True, deep: bool | None = None,
    elements: int | None = None,
) -> Overview:  # fmt: skip
    """One walk of the machine answers for all of them. Without `attachments` it is not searched for what they hang on.

    `elements`: so many of each map's contents. KernelError where the machine cannot be walked.
    """
    programs, maps = list(programs), list(maps)
    around = _around(programs, maps, attachments, deep)
    if around is not None:
        programs = [replace(p, attachments=around.attachments.get(p.id or 0, ()) or p.attachments) for p in programs]
    return Overview(
        maps=tuple((map, _of_map(map, None, around, elements)) for map in maps),
        programs=tuple(
            (program, _of_program(program, around, deep), tuple((map, _of_map(map, program, around, elements)) for map in program.maps))
            for program in programs
        ),
        denied=around.denied if around is not None else (),
    )


def _around(programs: list[Program], maps: list[Map], attachments: bool, deep: bool | None) -> Surroundings | None:
    """What hangs around all of them; None where nothing of them is loaded."""
    prog_ids = {program.id for program in programs if program.id is not None}
    map_ids = {map.id for map in (*maps, *(map for program in programs for map in program.maps)) if map.id is not None}
    if not prog_ids and not map_ids:
        return None
    from bpflens.inventory.around import surroundings

    return surroundings(prog_ids, map_ids, attachments=attachments, deep=deep)


def _of_program(program: Program, around: Surroundings | None, deep: bool | None) -> ProgramFacts:
    if around is None or program.id is None:
        return ProgramFacts(holders=program.holders)
    from bpflens.inventory.around import attach_target, stats_enabled

    return ProgramFacts(
        attach_target=attach_target(program),
        pins=around.prog_pins.get(program.id, ()),
        holders=around.prog_holders.get(program.id, ()),
        stats_enabled=stats_enabled(),
        deep=deep is not False,
    )


def _of_map(map: Map, program: Program | None, around: Surroundings | None, elements: int | None) -> MapFacts:
    found = None
    if elements is not None:
        from bpflens.maps.contents import contents

        found = contents(map, elements, program.btf if program else None)
    if around is None or map.id is None:
        return MapFacts(contents=found)
    return MapFacts(
        pins=around.map_pins.get(map.id, ()),
        holders=around.map_holders.get(map.id, ()),
        users=around.map_users.get(map.id, ()),
        struct_ops=_struct_ops(map),
        contents=found,
    )


def _struct_ops(map: Map) -> StructOpsFacts | None:
    from bpflens.kernel.maps.struct_ops import MAP_TYPE, STATES, struct_ops

    if map.type != MAP_TYPE or map.id is None:
        return None
    try:
        found = struct_ops(map.id)
    except KernelError:
        return None
    programs = {name: id for name, (_, id) in found.programs.items()}
    return StructOpsFacts(found.struct, STATES.get(found.state, str(found.state)), programs)

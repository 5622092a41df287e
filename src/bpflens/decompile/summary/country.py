"""The map of the country: what a large program is made of, before what it does.

    Functions: main (2,310 instructions, calls parse, nat), parse (420), nat (610).
    Maps: 14, of them most used by main: conns (lru_hash), cfg (array) ...
    Goes on by tail calls: jmp at 0 (program parser, id 41), at 1 (nothing there).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from bpflens.decompile import ir
from bpflens.decompile.summary.sentence import Sentence
from bpflens.decompile.summary.summary import Summary
from bpflens.decompile.unit import Code, Unit
from bpflens.errors import BpflensError
from bpflens.isa.extended.names import MAP_TYPES, PROG_TYPES, type_name
from bpflens.isa.extended.uapi import MapType

__all__ = ("LARGE", "country", "tail_calls")

LARGE = 1000  # instructions
_SHOWN, _DEEPEST, _MOST_PROGRAMS = 8, 3, 16
_BY_INDEX = re.compile(r"(\d+)/(\d+)$")  # iproute2: section "MAP/INDEX" is put into that program array


def country(unit: Unit, summary: Summary) -> Iterator[Sentence]:
    """Functions with their sizes and calls, maps by who uses them."""
    codes = _reached(unit, unit.codes[summary.name])
    if len(codes) > 1:
        said = [_function(unit, code) for code in sorted(codes, key=lambda code: -(code.end - code.start))]
        more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
        yield Sentence("country", f"Functions, largest first: {'; '.join(said[:_SHOWN])}{more}.")
    used: dict[str, int] = {}
    for code in codes:
        for reference in code.references.values():
            if reference.kind == "map" and reference.name in unit.maps:
                used[reference.name] = used.get(reference.name, 0) + 1
    if used:
        ranked = sorted(used, key=lambda name: -used[name])
        said = [f"{name} ({type_name(MAP_TYPES, unit.maps[name].type)})" for name in ranked[:_SHOWN]]
        more = f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
        yield Sentence("country", f"Maps, most used first: {', '.join(said)}{more}.")


def _reached(unit: Unit, entry: Code) -> list[Code]:
    """A function and all that it calls."""
    found: dict[str, Code] = {}
    pending = [entry.name]
    while pending:
        name = pending.pop()
        if name not in found and name in unit.codes:
            found[name] = unit.codes[name]
            pending += unit.callees(unit.codes[name])
    return list(found.values())


def _function(unit: Unit, code: Code) -> str:
    called = list(dict.fromkeys(name for name in unit.callees(code) if name in unit.codes))
    shown = f", calls {', '.join(called[:4])}{' ...' * (len(called) > 4)}" if called else ""
    return f"{code.name} ({code.end - code.start} instructions{shown})"


# --- tail calls ---


def tail_calls(unit: Unit, summary: Summary) -> Iterator[Sentence]:
    """The programs behind the indexes of each program array that is called through: of a loaded program what is there now, of an object
    what its section names say.
    """
    arrays: dict[str, dict[str, None]] = {}
    slots: dict[str, ir.Slots] = {}
    for sentence in summary.sentences:
        for done in sentence.says.done if sentence.says is not None else ():
            if isinstance(done.statement, ir.Call) and done.statement.name == "bpf_tail_call" and len(done.texts) > 2:
                arrays.setdefault(done.texts[1], {})[done.texts[2]] = None
                slots[done.texts[1]] = ir.join_slots(slots.get(done.texts[1], ()), done.statement.slots)
    for name, indexes in arrays.items():
        map = unit.maps.get(name)
        if map is None:
            continue
        there = _live(map.id) if map.id is not None else _of_object(unit, map.fields.get("id"))
        if there is None:
            continue
        wanted = [index for index in indexes if index.isdigit()]
        computed = len(wanted) < len(indexes)
        keys = sorted({*map_int(wanted), *(there if computed else ())})
        said = [f"{key} is {there.get(key, 'empty')}" for key in keys[:_SHOWN]]
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        if said:
            yield Sentence("country", f"Behind the indexes of {name}: {'; '.join(said)}{more}.", slots[name])


def map_int(texts: Sequence[str]) -> list[int]:
    """Numbers of their texts."""
    return [int(text) for text in texts]


def _live(id: int, depth: int = 1, seen: frozenset[int] = frozenset()) -> dict[int, str] | None:
    """Index -> the program that is there, with what it goes on to."""
    from bpflens.kernel.maps.map_data import items
    from bpflens.kernel.maps.maps import open_map
    from bpflens.kernel.programs.prog_info import prog_info

    found: dict[int, str] = {}
    try:
        with open_map(id) as fd:
            for key, value in items(fd, _MOST_PROGRAMS):
                if value is None:
                    continue
                program = int.from_bytes(value, "little")
                info = prog_info(program)
                further = "" if program in seen or depth >= _DEEPEST else _goes_on(program, depth, seen | {program})
                words = f"{type_name(PROG_TYPES, info.type)} {info.name or 'program'} (id {program}{further})"
                found[int.from_bytes(key, "little")] = words
    except BpflensError:
        return None
    return found


def _goes_on(program: int, depth: int, seen: frozenset[int]) -> str:
    """ ", goes on through jmp to ..." of a loaded program that has a program array."""
    from bpflens.kernel.maps.maps import read_map_info
    from bpflens.kernel.programs.loaded import prog_map_ids

    said = []
    for id in prog_map_ids(program):
        info = read_map_info(id, types=False)
        if info.type == MapType.PROG_ARRAY:
            there = _live(id, depth + 1, seen)
            if there:
                said.append(f"{info.name} to {', '.join(there.values())}")
    return f", may go on through {'; '.join(said)}" if said else ""


def _of_object(unit: Unit, legacy_id: object) -> Mapping[int, str] | None:
    """Index -> program, by section names of iproute2."""
    found = {}
    for code in unit.codes.values():
        match = _BY_INDEX.match(code.section or code.program.declared.section or "")
        if match and (legacy_id is None or int(match[1]) == legacy_id):
            found[int(match[2])] = f"program {code.name}"
    return found or None

"""bpflens's own JSON Lines come home: what `--json dis`, `--json show` and `--json ls` printed is read back as programs.

Names, types, calls, kinds and titles are as they were; source lines come back from `dis -S`. A row of `ls` has code where the program is
classic; one of an extended program names what is loaded, and has none. The keys are those of docs/schemas/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bpflens.errors import InputError
from bpflens.formats.dumps.tools.raw_code import from_bytes
from bpflens.isa.extended.names import ATTACH_TYPES, MAP_TYPES, PROG_TYPES, flag_number, type_number
from bpflens.lean import replace
from bpflens.program import Declared, Function, Isa, Map, Origin, Program, Relocation, SourceLine

__all__ = ("read_lines",)


def read_lines(values: Sequence[Any], origin: Origin) -> list[Program]:
    """The programs of lines that all have one of the three schemas; [] where they do not. InputError for a line that is damaged."""
    kinds = {str(value.get("schema")) if isinstance(value, dict) else "" for value in values}
    if len(kinds) != 1 or not kinds <= _READERS.keys():
        return []
    [kind] = kinds
    try:
        return list(_READERS[kind](values, origin))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(origin.where, f"is no whole JSON of bpflens: {type(error).__name__} {error}") from None


def _dis(values: Sequence[dict[str, Any]], origin: Origin) -> Iterator[Program]:
    """One line for each instruction, put together by program."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for value in values:
        lines.setdefault(str(value["program"]), []).append(value)
    for of_program in lines.values():
        code = bytes.fromhex("".join(str(line["bytes"]) for line in of_program))
        about = of_program[0].get("about")
        start = int(of_program[0]["pc"])
        if about is None or start or int(about["insns"]) * 8 != len(code):  # an older bpflens, or a part of a program
            yield from_bytes(code, Origin("json", origin.where, None, origin.lineno))
            continue
        refers = [(line["pc"], line["refers"]) for line in of_program if "refers" in line]
        symbols = {int(line["pc"]): str(line["symbol"]) for line in of_program if "symbol" in line}
        source = [(line["pc"], line["source"]) for line in of_program if "source" in line]
        program = _program(about, code, refers, symbols, tuple(_map(keys) for keys in about["maps"]))
        yield replace(program, lines=tuple(
            SourceLine(int(pc), str(at["file"]), int(at["line"]), int(at["col"]), str(at["text"])) for pc, at in source
        ))  # fmt: skip


def _show(values: Sequence[dict[str, Any]], _: Origin) -> Iterator[Program]:
    """One line for each program; a line of maps alone has none."""
    known: dict[str, Map] = {}  # a map that several programs use is one
    for value in values:
        about = value["program"]
        if about is None:
            continue
        maps = tuple(known.setdefault(repr(keys), _map(keys)) for keys in value["maps"])
        refers = [(reference["pc"], reference) for reference in about["references"]]
        symbols = {int(pc): str(name) for pc, name in about["symbols"].items()}
        yield _program(about, bytes.fromhex(about["code"]), refers, symbols, maps)


def _ls(values: Sequence[dict[str, Any]], at: Origin) -> Iterator[Program]:
    """The classic programs, each with what it hangs on: the kind says what its packets begin with."""
    for value in values:
        if isinstance(value["insns"], str):
            said = value.get("details") or {}
            origin = Origin(
                str(value.get("kind") or "json"), str(value.get("object") or at.where),
                linktype=said.get("linktype"), given=tuple(said.get("given", ())), note=said.get("starts_at"), arch=said.get("arch"),
            )  # fmt: skip
            yield Program(Isa.CLASSIC, bytes.fromhex(value["insns"]), origin)


# What `show` says of a map beside what the map is.
_AROUND = {"pins", "holders", "users", "struct_ops", "entries", "more", "reason"}
_KEYS = {"id", "name", "type", "key_size", "value_size", "max_entries", "flags", "key", "value", "variables", "data"}
_READERS = {"dis/1": _dis, "show/1": _show, "ls/1": _ls}


def _program(
    about: Mapping[str, Any], code: bytes, refers: Sequence[tuple[int, Mapping[str, Any]]], symbols: Mapping[int, str],
    maps: tuple[Map, ...],
) -> Program:  # fmt: skip
    given = tuple(str(text) for text in about["given"])
    origin = Origin(
        str(about["source"]), str(about["where"]), None, None, about["linktype"], given, about["note"], (), about["arch"]
    )  # fmt: skip
    return Program(
        Isa(about["isa"]),
        code,
        origin,
        name=str(about["name"] or ""),
        type=type_number(PROG_TYPES, about["type"]),
        expected_attach_type=type_number(ATTACH_TYPES, about["attach_type"]),
        xlated=bool(about["xlated"]),
        id=about["id"],
        tag=about["tag"],
        maps=maps,
        functions=tuple(Function(int(f["pc"]), str(f["name"]), f["proto"]) for f in about["functions"]),
        relocations=tuple(
            Relocation(int(pc), str(r["kind"]), str(r["symbol"]), int(r["value"]), str(r["text"]), str(r["section"])) for pc, r in refers
        ),
        symbols=symbols,
        declared=Declared(about["section"], about["license"]),
    )


def _map(keys: Mapping[str, Any]) -> Map:
    fields: Any = {name: value for name, value in keys.items() if name not in _KEYS | _AROUND}
    if isinstance(fields.get("inner"), dict):
        fields["inner"] = _map(fields["inner"])
    if isinstance(fields.get("values"), dict):
        fields["values"] = {int(index): name for index, name in fields["values"].items()}
    return Map(
        str(keys["name"]),
        type_number(MAP_TYPES, keys["type"]) or 0,
        int(keys["key_size"]),
        int(keys["value_size"]),
        int(keys["max_entries"]),
        sum(flag_number(name) for name in keys["flags"]),
        keys["id"],
        keys["key"],
        keys["value"],
        data=bytes.fromhex(keys["data"]) if "data" in keys else None,
        datasec={int(v["offset"]): (str(v["name"]), int(v["size"]), str(v["type"])) for v in keys["variables"]},
        fields=fields,
    )

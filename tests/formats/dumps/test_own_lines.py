"""bpflens's own JSON Lines are read back whole."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import objects
from bpflens.cli.main import run
from bpflens.errors import InputError
from bpflens.formats.dumps.detect import read_programs
from bpflens.isa.extended.names import MAP_FLAGS, MAP_TYPES, PROG_TYPES, flag_names, flag_number, type_name, type_number
from live.loaded import program_with_map

Run = Callable[..., str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The command in a directory with three objects and a classic filter; gives what it prints."""
    monkeypatch.chdir(tmp_path)
    for name in ("MAPS_AND_CALLS", "CORE", "EXTERNS"):
        Path(f"{name.lower()}.o").write_bytes(objects.compiled(getattr(objects, name), "-mcpu=v3"))

    def command(*argv: str) -> str:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(list(argv))
        assert code == 0, err.getvalue()
        return out.getvalue()

    yield command


def home(command: Run, verb: str, target: str, *options: str) -> tuple[str, str]:
    """(what the verb prints of the target, what it prints of its own JSON lines)."""
    Path("lines.json").write_text(command("--json", verb, *options, target))
    return command(verb, *options, target), command(verb, *options, "lines.json")


@pytest.mark.parametrize("target", ["maps_and_calls.o", "core.o", "externs.o", "maps_and_calls.o#xdp", "pcap:tcp port 80"])
@pytest.mark.parametrize("options", [(), ("-S", "--prototypes"), ("--opcodes", "--no-notes")])
def test_dis_comes_home(here: Run, target: str, options: tuple[str, ...]) -> None:
    """Titles, functions with prototypes, calls by name, maps, variables, strings, relocations, source lines."""
    if target.startswith("pcap:"):
        options = ()
    before, after = home(here, "dis", target, *options)
    assert after == before and before


@pytest.mark.parametrize("target", ["maps_and_calls.o", "core.o", "externs.o"])
def test_show_comes_home(here: Run, target: str) -> None:
    """Programs with their maps, and the code that is in them."""
    before, after = home(here, "show", target)
    assert before.count("\nmap ") and after == before if target == "maps_and_calls.o" else before
    listed = here("dis", f"{target}"), here("dis", "lines.json")
    lines = [
        [" ".join(line.split(":", 1)[-1].split()) for line in text.splitlines() if "map counts" in line or "call bpf_" in line]
        for text in listed
    ]
    assert lines[0] == lines[1] and (lines[0] or target != "maps_and_calls.o")


@pytest.mark.live
def test_a_loaded_program_comes_home(here: Run) -> None:
    """Its helpers by name, its map by id: as if it were loaded here."""
    with program_with_map() as loaded:
        before, after = home(here, "dis", f"id:{loaded.id}")
    assert after == before and "map bpflens_map" in before and f"id:{loaded.id}" in before
    [program] = read_programs(Path("lines.json").read_bytes(), "lines.json")
    assert (program.id, program.xlated, [map.id for map in program.maps]) == (loaded.id, True, [loaded.map_id])


def test_rows_come_home() -> None:
    """A classic row is a program with its kind and object; a row of an extended program has no code."""
    row = {"schema": "ls/1", "kind": "socket/packet", "object": "sock:5", "insns": "0600000000000400", "details": {"linktype": "RAW"}}
    other = {"schema": "ls/1", "kind": "xdp", "object": "dev:lo", "insns": None, "details": {}}
    text = "\n".join(json.dumps(line) for line in (row, other)).encode()
    [program] = read_programs(text, "rows")
    assert (program.origin.source, program.origin.where, program.origin.linktype) == ("socket/packet", "sock:5", "RAW")
    assert program.code == bytes.fromhex("0600000000000400")


def test_a_part_of_a_program_has_its_code_only(here: Run) -> None:
    """`dis --start` does not print the whole: what the first line says of it does not fit."""
    Path("lines.json").write_text(here("--json", "dis", "--start", "2", "maps_and_calls.o#xdp"))
    for program in read_programs(Path("lines.json").read_bytes(), "x"):
        assert program.name == "" and program.code


def test_damaged_lines_are_refused(here: Run) -> None:
    """Each key of the description is taken away, or is of a wrong kind: an error of ours or a program, never another exception."""
    refused = 0
    for verb in ("dis", "show"):
        lines = [json.loads(line) for line in here("--json", verb, "maps_and_calls.o").splitlines()]
        about = "about" if verb == "dis" else "program"
        places: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
            lambda line, about=about: line[about], lambda line: line,
            lambda line, about=about: (line[about].get("maps") or line["maps"])[0],
        )  # fmt: skip
        for place in places:
            for key in list(place(lines[0])):
                for value in (None, [], -1, "x", {}, ...):
                    changed = copy.deepcopy(lines)
                    if value is ...:
                        del place(changed[0])[key]
                    else:
                        place(changed[0])[key] = value
                    try:
                        assert read_programs("\n".join(map(json.dumps, changed)).encode(), "x")
                    except InputError:
                        refused += 1
    assert refused > 50


def test_numbers_of_names() -> None:
    """The names that are printed lead back to the numbers, those of a newer kernel too."""
    for names in (PROG_TYPES, MAP_TYPES):
        for number in (*names, 999):
            assert type_number(names, type_name(names, number)) == number
    assert type_number(PROG_TYPES, None) is None
    with pytest.raises(ValueError):
        type_number(PROG_TYPES, "no such type")
    flags = (1 << len(MAP_FLAGS)) | 5
    assert sum(flag_number(name) for name in flag_names(flags)) == flags

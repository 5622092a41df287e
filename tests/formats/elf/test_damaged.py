"""Objects with a damaged or unusual part: the code is there all the same, and a warning says what is left out."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from bpflens.cli.main import run
from bpflens.errors import NoCode, SourceWarning
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.elf.parts import by_function
from bpflens.formats.elf.programs import read_maps_of
from bpflens.program import Program

OBJECTS = Path(__file__).parents[2] / "corpus/objects"


def opened(name: str) -> tuple[list[Program], list[str]]:
    """The programs of an object of the corpus, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", SourceWarning)
        programs = read_programs((OBJECTS / name).read_bytes(), name)
    return programs, [str(each.message) for each in said]


@pytest.mark.parametrize(
    ("name", "insns", "warning"),
    [
        ("ext_huge.o", 2, ".BTF.ext: 4294967295 records of 8 bytes go past the end: source lines"),
        ("relent_0.o", 4, "section 'xdp': a relocation at slot 0 refers to symbol 999, but there are 3: it is left out"),
        ("empty_maps.o", 4, "section 'maps': the map at byte 0 has 0 of at least 20 bytes: it is left out"),
        ("btf_kind20.o", 10, ".BTF: type 22 has the unknown kind 20: types and what rests on them are left out"),
        ("em_none.o", 4, "names no machine (0)"),
        ("syms.o", 4, "symbol c starts within an instruction of section 'xdp': it is left out"),
    ],
)
def test_code_in_spite_of_damage(name: str, insns: int, warning: str) -> None:
    """Every instruction is read, and the warning names the part and the loss."""
    programs, said = opened(name)
    assert programs[0].insn_count == insns
    assert len(said) == 1 and warning in said[0]
    assert said[0] == f"{name}: {programs[0].origin.warnings[0]}"


def test_no_warning_without_damage() -> None:
    """A header with empty types is no damage."""
    programs, said = opened("btf_header_0.o")
    assert programs[0].insn_count == 2 and not said


def test_the_command_warns_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning is talk: one line on standard error, exit code 0."""
    assert run(["dis", str(OBJECTS / "relent_0.o")]) == 0
    out, err = capsys.readouterr()
    assert "(95) exit" in out
    assert err.startswith("bpflens: warning: ") and err.count("\n") == 1


def test_names_are_those_that_the_relocation_gives() -> None:
    """An alias is called as the code calls it; a function that nobody declares as the kernel's is not called a kfunc."""
    [weak], _ = opened("weak.o")
    assert [r.text for r in weak.relocations] == ["map weakmap"]
    [extern], _ = opened("extern_call.o")
    assert [(r.kind, r.text) for r in extern.relocations] == [
        ("extern", "function ebpf_map_update_element, which the object does not define")
    ]


def test_functions_at_odd_places_are_no_functions() -> None:
    """A symbol within an instruction, or past the end, names nothing; the others become programs of their own."""
    [program], _ = opened("syms.o")
    assert [(f.start, f.name) for f in program.functions] == [(0, "a"), (2, "b")]
    assert [(part.name, part.insn_count) for part in by_function(program)] == [("a", 2), ("b", 2)]


def test_maps_without_code(capsys: pytest.CaptureFixture[str]) -> None:
    """`show` has the maps of an object without code; `dis` says that there is none."""
    data = (OBJECTS / "maps_only.o").read_bytes()
    with pytest.raises(NoCode):
        read_programs(data, "maps_only.o")
    assert [map.name for map in read_maps_of(data, "maps_only.o")[0]] == ["mymap"]
    assert run(["show", str(OBJECTS / "maps_only.o")]) == 0
    assert "mymap" in capsys.readouterr().out
    assert run(["dis", str(OBJECTS / "maps_only.o")]) == 3

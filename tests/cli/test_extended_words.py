"""Extended programs explained: which of them, at which place, as what, and what is said of a log."""

from __future__ import annotations

import argparse
import json

import pytest

from bpflens.cli.extended_words import UNCHECKED, explain_extended
from bpflens.cli.settings import Settings
from bpflens.errors import InputError
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.uapi import ProgType
from bpflens.program import Declared, Function, Isa, Origin, Program

CODE = assemble("r0 = 2\nif r1 != 0 goto pc+1\nr0 = 1\nexit")


def program(name: str, section: str = "xdp", **origin: str) -> Program:
    where = Origin(**{"source": "elf", "where": f"x.o#{name}", **origin})  # type: ignore[arg-type]
    functions = (Function(0, name),)
    return Program(Isa.EXTENDED, CODE, where, name=name, type=ProgType.XDP, functions=functions, declared=Declared(section=section))


def lines(*programs: Program, part: str = "", wrong: list[str] | None = None, as_json: bool = False, **options: object) -> list[str]:
    args = argparse.Namespace(**{"at": None, "check": False, "map": False, "all": False, "why": False, **options})
    return list(explain_extended(programs, args, Settings(json=as_json), wrong if wrong is not None else [], part))


def test_each_program_that_the_kernel_calls() -> None:
    """One answer after the other, or only those of a function or a section."""
    both = (program("first"), program("second", "tc"))
    text = lines(*both)
    assert text.count("") == 1 and sum("first" in line for line in text) and text[-1].strip() == UNCHECKED
    for part, there, missing in (("second", "second", "first"), ("xdp", "first", "second")):
        joined = "\n".join(lines(*both, part=part))
        assert there in joined and missing not in joined
    with pytest.raises(InputError, match="has no function and no section named third") as caught:
        lines(*both, part="third")
    assert caught.value.hint == "there are: first, second"


def test_one_instruction() -> None:
    found = lines(program("first"), at=2)
    assert found[0].startswith("first, instruction 2: r0 = 1")
    with pytest.raises(InputError):
        lines(program("first"), at=99)


def test_as_a_record() -> None:
    (line,) = lines(program("first"), as_json=True)
    record = json.loads(line)
    assert record["name"] == "first" and record["proof"]["grade"] == "none"


def test_with_runs() -> None:
    """What a sentence rests on is said; nothing is wrong with a program that does what it says."""
    wrong: list[str] = []
    text = lines(program("first", source="raw", where="x"), check=True, wrong=wrong)
    assert wrong == [] and UNCHECKED not in text[-1]

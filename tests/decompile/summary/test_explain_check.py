"""Explanations held against runs: the ten programs of the exam, and sentences that were made false on purpose, which must be found."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import needs
import objects
from bpflens.cli.main import run
from bpflens.decompile.summary.check import check
from bpflens.decompile.summary.check.check import Checked, Grade, checked
from bpflens.decompile.summary.sentence import Path as Way
from bpflens.decompile.summary.summary import Summary, entries_of, summarise_function
from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.decompile.summary.walk.written import Written
from bpflens.decompile.unit import make_unit
from bpflens.execute.subject import subject_of
from bpflens.targets.open import open_target

HERE = Path(__file__).parents[1]
EXAM = HERE / "exam"
NAMES = sorted(source.stem for source in EXAM.glob("*.c"))
OTHERS = ("rewriter", "watcher", "keeper")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All programs, compiled."""
    clang = needs.tool("clang")
    out = tmp_path_factory.mktemp("built")
    others = [HERE / "programs" / f"{name}.c" for name in OTHERS]
    for source in [*EXAM.glob("*.c"), *others]:
        command = [clang, "-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c", str(source)]
        subprocess.run([*command, "-o", str(out / f"{source.stem}.o")], check=True)
    return out


@pytest.fixture
def interpreter_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "kernel_runs", lambda subject, runs: ("", []))


def judged(path: Path, change=lambda summary: summary) -> Iterator[tuple[Summary, Checked]]:
    unit = make_unit(open_target(str(path)), str(path))
    for name in entries_of(unit):
        summary = change(summarise_function(unit, name))
        yield summary, checked(summary, unit, subject_of(path.read_bytes(), str(path), unit.codes[name].original_name))


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_nothing_is_contradicted(built: Path, name: str, interpreter_only: None) -> None:
    """What is decided and done was seen in runs; nothing was seen otherwise."""
    for summary, found in judged(built / f"{name}.o"):
        assert not found.contradicted, [(s.text, m.reason) for s, m in zip(summary.sentences, found.marks, strict=True) if m.reason]
        for sentence, mark in zip(summary.sentences, found.marks, strict=True):
            if sentence.kind in ("alarm", "decides") and not sentence.text.startswith(("May ", "Returns a value")):
                assert mark.grade is Grade.HELD and mark.runs, sentence.text


def test_the_kernel_agrees(built: Path) -> None:
    """Where the kernel test-runs the type, the verdicts of its own runs are looked at too."""
    needs.root()
    for _, found in judged(built / "firewall.o"):
        assert found.kernel == "kernel" and found.kernel_runs > 50 and not found.contradicted


# --- false sentences are found ---


def negated(condition: Condition) -> Condition | None:
    """The contrary, where a condition has one that is as simple."""
    opposite = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
    if condition.bits:
        return replace(condition, negated=not condition.negated)
    claim = condition.claim
    if claim is None or condition.kind is not Kind.TELLING:
        return None
    if hasattr(claim, "op"):
        return replace(condition, text=f"not {condition.text}", claim=claim._replace(op=opposite[claim.op]))
    if hasattr(claim, "there"):
        return replace(condition, text=f"not {condition.text}", claim=claim._replace(there=not claim.there))
    return None


def mutants(summary: Summary) -> Iterator[tuple[str, Summary]]:
    """The summary with one condition of one path turned to its contrary, left out of a verdict, or with two verdicts exchanged."""
    for n, sentence in enumerate(summary.sentences):
        says = sentence.says
        if says is None or says.rest or says.kind not in ("returns", "does") or (says.value is None and says.kind == "returns"):
            continue
        for at, way in enumerate(says.paths[:3]):
            for place, condition in enumerate(way.conditions):
                turned = negated(condition)
                if turned is None or way.may:
                    continue
                conditions = (*way.conditions[:place], turned, *way.conditions[place + 1 :])
                paths = (*says.paths[:at], Way(conditions), *says.paths[at + 1 :])
                done = tuple(replace(each, conditions=conditions) if each.conditions == way.conditions else each for each in says.done)
                changed = replace(sentence, says=replace(says, paths=paths, done=done))
                yield f"{sentence.text} [{place}]", replace(
                    summary, sentences=(*summary.sentences[:n], changed, *summary.sentences[n + 1 :])
                )


@pytest.mark.parametrize("name", ["firewall", "detour", "guard"])
def test_turned_conditions_are_found(built: Path, name: str, interpreter_only: None) -> None:
    """A condition that is stated the wrong way round is contradicted by a run: all but a few that no run can tell, as what a later call
    gives when an earlier condition keeps it from being made.
    """
    path = built / f"{name}.o"
    unit = make_unit(open_target(str(path)), str(path))
    missed, tried = [], 0
    for entry in entries_of(unit):
        subject = subject_of(path.read_bytes(), str(path), entry)
        for what, mutant in mutants(summarise_function(unit, entry)):
            tried += 1
            if not checked(mutant, unit, subject).contradicted:
                missed.append(what)
    assert tried and len(missed) <= tried // 5, missed


def test_a_wrong_verdict_is_found(built: Path, interpreter_only: None) -> None:
    """XDP_DROP said as XDP_TX."""

    def change(summary: Summary) -> Summary:
        sentences = tuple(
            replace(each, says=replace(each.says, value=3)) if each.says is not None and each.says.value == 1 else each
            for each in summary.sentences
        )
        return replace(summary, sentences=sentences)

    assert all(found.contradicted for _, found in judged(built / "firewall.o", change))


def test_a_place_that_was_rewritten_is_found(built: Path, interpreter_only: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were stores forgotten, the port that the program itself has written would be taken for the packet's."""
    monkeypatch.setattr(Written, "note", lambda self, statement: None)
    assert any(found.contradicted for _, found in judged(built / "rewriter.o"))


def test_the_command_says_it(built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks behind sentences; exit code 1 and the sentence first where a run contradicts it; marks in JSON."""
    monkeypatch.setattr(check, "kernel_runs", lambda subject, runs: ("", []))
    assert run(["explain", "--check", str(built / "firewall.o")]) == 0
    out = capsys.readouterr().out
    assert "[held in " in out and "conditions turned]" in out and "evidence for those inputs, no proof" in out
    monkeypatch.setattr(Written, "note", lambda self, statement: None)
    assert run(["explain", "--check", str(built / "rewriter.o")]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].strip().startswith("CONTRADICTED: a run") and "fault of bpflens" in shown.err
    assert run(["--json", "explain", "--check", str(built / "rewriter.o")]) == 1
    record = json.loads(capsys.readouterr().out)
    assert any(each["check"]["grade"] == "contradicted" for each in record["sentences"])


def test_a_program_that_the_kernel_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The refusal is said before what runs in the interpreter show."""
    needs.root()
    path = tmp_path / "bad.o"
    path.write_bytes(objects.compiled(objects.REFUSED))
    assert run(["explain", "--check", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].strip().startswith("This kernel refuses to load it: R") and lines[1].endswith("; checked in the interpreter alone.")
    assert run(["--json", "explain", "--check", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["notes"][0].startswith("this kernel refuses to load it: ")


# --- the exam ---


@pytest.mark.parametrize("name", NAMES)
def test_the_explanation_has_the_answers(built: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each answer of the exam is read from words that the explanation has."""
    assert run(["explain", "--all", str(built / f"{name}.o")]) == 0
    said = capsys.readouterr().out
    section = (EXAM / "answers.md").read_text().partition(f"## {name}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\d+\. .* \| (.*)$", section, re.MULTILINE)
    assert len(rows) == 10
    assert [words for words in rows if words not in said] == []
    questions = (EXAM / "questions.md").read_text().partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\d+\. .*\?$", questions, re.MULTILINE)) == 10

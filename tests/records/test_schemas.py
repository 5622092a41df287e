"""The schemas of the lines that verbs print, and the check of a line."""

from __future__ import annotations

import re

import pytest

import import_graph
import printed_lines
from bpflens.records import schemas as module
from bpflens.records import snapshot, watch
from bpflens.records.schemas import BOOLEAN, INTEGER, NUMBER, TEXT, line, listing, mapping, maybe, one_of, problems, record, schemas

# Written to files, never printed: original/kernels/exported.py
FILES = {"templates/1"}


def test_every_schema_that_the_source_names_is_published() -> None:
    """A record that is made somewhere has its schema in records/."""
    named = {
        name
        for path in import_graph.modules().values()
        if "formats/snapshot" not in str(path)
        for name in re.findall(r'"schema": "([a-z-]+/\d+)"', path.read_text(encoding="utf-8"))
    }
    assert named - FILES <= schemas().keys()


def test_every_file_of_records_is_in_the_table() -> None:
    """Nothing that describes lines is left out."""
    files = {name.rpartition(".")[2] for name in import_graph.modules() if name.startswith("bpflens.records.")}
    # summary.py makes explain/1, which explain.py describes; program.py has what dis/1 and show/1 share
    assert files - {"schemas", "summary", "program"} == set(module.FILES)


EXAMPLE = line("x/1", "An example.", {
    "n": INTEGER, "t": maybe(TEXT), "b": BOOLEAN, "f": NUMBER, "w": one_of("a", "b"), "l": listing(record({"k": INTEGER})),
    "m": mapping(INTEGER),
}, {"more": TEXT})  # fmt: skip
GOOD = {"schema": "x/1", "n": 1, "t": None, "b": True, "f": 1.5, "w": "a", "l": [{"k": 1}], "m": {"x": 3}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"t": "text", "f": 2, "more": "x", "l": []}, None),
        ({"n": "1"}, "n: is str, not integer"),
        ({"n": True}, "n: is bool, not integer"),
        ({"t": 1}, "t: is int, not string"),
        ({"w": "c"}, "w: is 'c', none of ['a', 'b']"),
        ({"l": [{"k": 1}, {}]}, "l[1].k: is missing"),
        ({"m": {"x": "y"}}, "m.x: is str, not integer"),
        ({"other": 1}, "other: is not in the schema"),
        ({"schema": "x/2"}, "schema: is 'x/2', not 'x/1'"),
    ],
)
def test_problems(change: dict[str, object], problem: str | None) -> None:
    """A line is as its schema says, or what is wrong is named."""
    found = problems({**GOOD, **change}, EXAMPLE, "x")
    assert found == ([] if problem is None else [f"x.{problem}"])


def test_a_line_without_a_known_schema() -> None:
    """Says so."""
    assert problems({"schema": "nothing/1"}) == ["nothing/1: no such schema"]
    assert problems(3) == ["None: no such schema"]


def test_records_of_single_facts() -> None:
    """Lines that no other test prints are as published, too."""
    change = watch.record(1.5, "loaded", 3, [], None)
    for made in (snapshot.file_record("x.bpfsnap", "00"), snapshot.undone_record("program 3 unloaded"), change):
        assert problems(made, schemas()[made["schema"]], "x") == []
    assert problems({**change, "event": "renamed"}, schemas()["watch/1"], "x") != []


def test_a_line_that_is_not_published_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of all tests' lines does not pass over names that it does not know."""
    monkeypatch.setattr(printed_lines, "_found", [])
    printed_lines._check({"schema": "nothing/1"})
    printed_lines._check({"schema": "templates/1"})
    assert printed_lines._found == ["nothing/1 has no published schema"]

"""Golden case files: tests/cases/NAME.test.

    [case jump_over]
    [in]
    if r1 == 0x5 goto pc+1
    [out]
    15 01 01 00 05 00 00 00

`cases(name)` gives the cases of a file for pytest.mark.parametrize; `check(case, text, request)` compares with [out], and with
`pytest --update` writes it. A line "[#] ..." is a remark. Other sections than [in] and [out] are in `case.sections`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

DIRECTORY = Path(__file__).parent / "cases"
_MARK = re.compile(r"^\[(case (?P<case>[\w.-]+)|(?P<section>\w+))\]$")


class Case(NamedTuple):
    """One case: its file, name and sections by name."""

    path: Path
    name: str
    sections: dict[str, str]

    @property
    def input(self) -> str:
        return self.sections.get("in", "")


def read(path: Path) -> list[Case]:
    """The cases of a file in order."""
    found: list[Case] = []
    section: list[str] | None = None
    texts: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        mark = _MARK.match(line)
        if mark and mark["case"]:
            texts = {}
            found.append(Case(path, mark["case"], texts))  # type: ignore[arg-type]
            section = None
        elif mark:
            section = texts.setdefault(mark["section"], [])
        elif section is not None and not line.startswith("[#]"):
            section.append(line)
    return [Case(c.path, c.name, {k: "\n".join(v).strip("\n") for k, v in c.sections.items()}) for c in found]


def cases(name: str) -> list[object]:
    """Parameters for pytest: one per case of tests/cases/NAME.test."""
    return [pytest.param(case, id=case.name) for case in read(DIRECTORY / f"{name}.test")]


def check(case: Case, text: str, request: pytest.FixtureRequest, section: str = "out") -> None:
    """Compares with the case's section, or rewrites it under --update."""
    text = text.strip("\n")
    if request.config.getoption("--update") and text != case.sections.get(section):
        _rewrite(case, section, text)
        return

    assert text == case.sections.get(section, "")


def _rewrite(case: Case, section: str, text: str) -> None:
    lines = case.path.read_text().splitlines()
    at = lines.index(f"[case {case.name}]")
    end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("[case ")), len(lines))
    try:
        start = lines.index(f"[{section}]", at, end)
        stop = next((i for i in range(start + 1, end) if _MARK.match(lines[i])), end)
        lines[start:stop] = [f"[{section}]", *text.splitlines(), ""]
    except ValueError:
        lines[end:end] = [f"[{section}]", *text.splitlines(), ""]
    case.path.write_text("\n".join(lines).rstrip("\n") + "\n")

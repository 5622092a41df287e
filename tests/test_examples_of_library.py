"""Each file of examples/ runs, and there is one for each verb that the library has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bpflens
from bpflens.cli.verb_table import VERBS

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))
ONLY_COMMAND = {"help", "completion"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path) -> None:
    """As it is written, without a privilege that it does not ask for."""
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_library_has_the_verbs_of_the_command() -> None:
    """Under the same names, with an example that calls each."""
    verbs = {verb.name for verb in VERBS} - ONLY_COMMAND
    assert verbs <= set(bpflens.__all__) <= set(dir(bpflens))
    text = "".join(path.read_text() for path in EXAMPLES)
    assert [verb for verb in sorted(verbs) if f"bpflens.{verb}(" not in text] == []

"""The command as a whole: help of every verb, exit codes, errors in one line, what the front page loads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bpflens.cli.main import run
from bpflens.cli.verb_table import VERBS


def bpflens(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "bpflens", *args], input=stdin, capture_output=True, timeout=60)


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0

    text = capsys.readouterr().out
    assert f"bpflens {verb}" in text
    assert "Examples:" in text


def test_front_page_names_every_verb_and_loads_nothing() -> None:
    code = "import sys; from bpflens.cli.main import run; run(['--help']); print(' '.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    for verb in VERBS:
        assert verb.name in done.stdout
    for heavy in ("argparse", "dataclasses", "ctypes", "json", "z3", "capstone", "numpy"):
        assert heavy not in done.stderr.split()


@pytest.mark.parametrize(
    ("args", "code", "needle"),
    [
        (["diss"], 2, "did you mean"),
        (["--frob"], 2, "--frob"),
        (["dis", "--frob", "x"], 2, "--frob"),
        (["dis", "/nonexistent/x.o"], 3, "/nonexistent/x.o: No such file or directory"),
        (["dis", "pcap:frob frob"], 3, "frob"),
        (["dis", "--color", "pink", "-"], 2, "pink"),
        (["help", "nothing-such"], 2, "nothing-such"),
    ],
)
def test_errors_are_one_line_with_the_right_exit_code(args: list[str], code: int, needle: str) -> None:
    done = bpflens(*args)

    assert done.returncode == code
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("bpflens: error: ")
    assert needle in done.stderr.decode()
    assert all(line.startswith("hint: ") for line in lines[1:])


def test_errors_as_json() -> None:
    done = bpflens("--json", "dis", "/nonexistent/x.o")

    record = json.loads(done.stderr)
    assert record["schema"] == "error/1"
    assert record["exit_code"] == done.returncode == 3


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = f"{sys.executable} -m bpflens help proofs | head -c 1"
    done = subprocess.run(["bash", "-c", code], capture_output=True, timeout=60)

    assert done.stderr == b""

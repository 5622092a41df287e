"""The command as a whole: help of every verb, exit codes, errors in one line, what the front page loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("args", ["explain pcap:arp", "show pcap:arp", "ls dev:lo", "--json ls dev:lo", "dis pcap:arp"])
def test_short_commands_import_nothing_that_costs_more_than_their_work(args: str) -> None:
    code = f"import sys; from bpflens.cli.main import run; run({args.split()}); print('\\n', *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"typing", "dataclasses", "inspect", "hashlib", "tempfile", "subprocess", "locale"} & {*done.stderr.splitlines()[-1].split()}


def test_standard_error_that_is_full_changes_no_exit_code() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "bpflens", "dis", "/nonexistent"], stderr=full, check=False)
    assert done.returncode == 3


def test_a_filter_that_nothing_runs_is_bad_input() -> None:
    done = bpflens("explain", "-", stdin=b"0x28 0 0 12 0x15 0 1 2048\n")
    assert (done.returncode, done.stdout) == (3, b"") and done.stderr.count(b"the program ends at 1") == 1


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


@pytest.mark.parametrize(("args", "hint"), [
    (["dis", "--sourse", "x"], 'did you mean "--source"?'),
    (["--jsn", "ls"], 'did you mean "--json"?'),
    (["map", "dmp", "map:1"], 'did you mean "dump"?'),
    (["dis", "--dialect=kernl", "x"], 'did you mean "kernel"?'),
    (["dis", "--xyzzyx", "x"], 'see "bpflens dis --help"'),
    (["show", "12"], 'did you mean "id:12"?'),
    (["ls", "12"], 'did you mean "id:12"?'),
    (["explain", "ID:5"], 'did you mean "id:5"?'),
    (["ls", "ID:5"], 'did you mean "id:5"?'),
    (["explain", "pim:/sys/fs/bpf/x"], 'did you mean "pin:/sys/fs/bpf/x"?'),
    (["explain", "dev:"], "it is written dev:INTERFACE"),
    (["show", "map:"], "it is written map:N or map:NAME"),
    (["ls", "dev:"], 'see "bpflens ls --help"'),
    (["explain", "-x.o"], 'a file is written "./-x.o"'),
    (["dis", "y.o", "-x.o"], 'a file is written "./-x.o"'),
    (["original", "-oy.o"], 'see "bpflens original --help"'),
    (["tree", "xdp.o"], 'only the running machine and snapshots are listed; "bpflens show xdp.o" shows a file'),
])  # fmt: skip
def test_a_slip_of_the_pen_is_told(args: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(args) in (2, 3)
    assert capsys.readouterr().err.splitlines()[1] == f"hint: {hint}"


def test_help_names_what_a_verb_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """`ls` and `tree` take no files; the page of a verb that does not read them must not list them."""
    for verb, takes_files in (("ls", False), ("tree", False), ("show", True), ("diff", True)):
        assert run([verb, "--help"]) == 0
        assert ("FILE#section" in capsys.readouterr().out) is takes_files


@pytest.mark.parametrize(("args", "said"), [
    (["dis", "--prototypes", "pcap:tcp"], "--prototypes: is for extended programs"),
    (["dis", "--jited", "--function", "f", "FILE"], "--function: has no effect with --jited"),
    (["original", "--side-by-side", "-S", "id:1"], "-S: has no effect with --side-by-side"),
    (["original", "-o", "x.o", "-S", "id:1"], "-S: has no effect with -o"),
    (["explain", "--why", "pcap:tcp"], "--why: is for extended programs"),
    (["explain", "--given", "ip", "FILE"], "--given: is for classic filters"),
])  # fmt: skip
def test_an_option_without_effect_is_an_error(
    args: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tmp_path / "f.bin"
    code.write_bytes(bytes.fromhex("b700000000000000 9500000000000000"))
    named = tmp_path / "f.txt"
    named.write_text("int f(void *ctx):\n; return 0;\n   0: (b7) r0 = 0\n   1: (95) exit\n")
    assert run([{"FILE": str(named if "--jited" in args else code)}.get(arg, arg) for arg in args]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["packets", "debug", "seccomp"])
def test_verbs_of_classic_filters_name_others(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = tmp_path / "f.bin"
    code.write_bytes(bytes.fromhex("b700000000000000 9500000000000000"))
    assert run([verb, str(code)]) == 3
    assert '"bpflens explain"' in capsys.readouterr().err


def test_errors_as_json() -> None:
    done = bpflens("--json", "dis", "/nonexistent/x.o")

    record = json.loads(done.stderr)
    assert record["schema"] == "error/1"
    assert record["exit_code"] == done.returncode == 3


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = f"{sys.executable} -m bpflens help proofs | head -c 1"
    done = subprocess.run(["bash", "-c", code], capture_output=True, timeout=60)

    assert done.stderr == b""

"""What reaches a terminal, and streams that are closed, full or too narrow for the text."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.isa.extended.asm import assemble
from bpflens.program import Declared, Function, Isa, Origin, Program, SourceLine
from bpflens.view.listing.extended import ListingOptions, listing
from bpflens.view.listing.heading import heading
from bpflens.view.style.printable import printable
from bpflens.view.style.terminal import Terminal, safe

HOSTILE = "a\x1b[2J\x9b1mb\n0: r0 = 5\r\u202ec"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A file with code whose name has a control character and a byte that is not UTF-8."""
    path = tmp_path / os.fsdecode(b"x\x1b[31m\xff.bin")
    path.write_bytes(assemble("r0 = 1\nif r0 == 0x1 goto pc+1\nr0 = 2\nexit"))
    return path


def shell(command: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    script = f'bpflens() {{ {sys.executable} -m bpflens "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", script], capture_output=True, timeout=60, env={**os.environ, **env})


@given(st.text())
def test_printable_is_one_line_and_leaves_what_is_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


@given(st.text())
def test_a_terminal_gets_line_feeds_tabs_and_colours_only(text: str) -> None:
    shown = safe(f"\x1b[1m{text}\x1b[0m")

    assert not any(ord(c) < 32 for c in shown.replace("\n", "").replace("\t", "").replace("\x1b[", ""))
    assert not set(shown) & set("\x7f\x85\x9b\u202e\u2028\udcff")


def test_terminal_stream() -> None:
    sink = io.BytesIO()
    stream = Terminal(sink, "utf-8", "backslashreplace")
    print("┌─\x1b[1m b \x1b[0m\x1b]0;title\x07", file=stream, flush=True)

    assert sink.getvalue().decode() == "┌─\x1b[1m b \x1b[0m\\x1b]0;title\\x07\n"


def test_foreign_names_neither_escape_nor_become_instructions() -> None:
    code = assemble("call 1000\nr0 = 1\nexit")
    program = Program(
        Isa.EXTENDED, code, Origin("elf", HOSTILE, note=HOSTILE), name=HOSTILE, declared=Declared(HOSTILE, HOSTILE),
        functions=(Function(0, HOSTILE, HOSTILE), Function(1, HOSTILE, HOSTILE)),
        lines=(SourceLine(0, HOSTILE, 1, 1, HOSTILE),), symbols={0: HOSTILE},
    )  # fmt: skip
    text = "".join(listing(program, ListingOptions(source=True, line_numbers=True))) + heading(program)

    assert all(line.isprintable() for line in text.split("\n"))
    assert sum(line.lstrip()[:2] in ("0:", "1:", "2:") for line in text.split("\n")) == 3


def test_file_names_of_any_bytes(raw: Path) -> None:
    done = shell(f"bpflens dis '{raw}'", LC_ALL="C.UTF-8")

    assert done.returncode == 0
    assert b"x\\x1b[31m\\udcff.bin" in done.stdout.splitlines()[0]
    done = shell(f"bpflens dis '{raw}.not'", LC_ALL="C.UTF-8")
    assert done.returncode == 3 and b"\x1b" not in done.stderr


def test_on_a_terminal(raw: Path) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    done = subprocess.run(
        [sys.executable, "-m", "bpflens", "dis", str(raw)],
        stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment, timeout=60,
    )  # fmt: skip
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)

    assert done.returncode == 0
    assert shown.startswith("\x1b[1m; ") and "\\x1b[31m" in shown and "\x1b[31m" not in shown


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("bpflens dis pcap:ip >&-", 3, b"standard output: is closed"),
        ("bpflens --help >&-", 3, b"standard output: is closed"),
        ("bpflens dis - <&-", 3, b"standard input: is closed"),
        ("bpflens dis pcap:ip >/dev/full", 3, b"No space left on device"),
        ("bpflens dis nothing.o 2>&-", 3, b""),
        ("bpflens dis ''", 3, b'"": is no name of a file'),
        ("bpflens dis .", 3, b".: Is a directory"),
        ("bpflens dis /dev/null", 3, b"/dev/null: is empty"),
    ],
)
def test_streams_and_files_that_do_not_work(command: str, code: int, said: bytes) -> None:
    done = shell(command)

    assert done.returncode == code
    assert done.stdout == b""
    assert said in done.stderr and b"internal" not in done.stderr and b"Traceback" not in done.stderr


def test_an_encoding_without_the_characters(raw: Path) -> None:
    done = shell(f"bpflens dis '{raw}'", PYTHONIOENCODING="ascii")

    assert done.returncode == 0 and b"\\u250c" in done.stdout


def test_an_input_without_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bpflens.cli.main import run
    from bpflens.formats.dumps import detect

    monkeypatch.setitem(detect.LIMITS, "raw code", 1 << 20)

    assert run(["dis", "/dev/zero"]) == 3
    assert "is longer than the 1 MiB that are read of raw code" in capsys.readouterr().err

"""Long output on a terminal goes through a pager; candidates for a word are what is there."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from bpflens.cli import pager
from bpflens.cli.main import run
from bpflens.targets.candidates import candidates


def on_a_terminal(argv: list[str], **environment: str) -> tuple[int, str]:
    """(exit code, output) of the command with a terminal at all three streams."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ.update(environment)
        os.execv(sys.executable, [sys.executable, "-m", "bpflens", *argv])
    pieces = []
    try:
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    except OSError:
        pass  # the other end is closed
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), b"".join(pieces).decode()


def test_pager_of_the_user() -> None:
    """Its end before ours is no error; no pager for --no-pager, cat and JSON."""
    code, out = on_a_terminal(["show", "pcap:tcp port 80"], PAGER="head -1; echo paged")
    assert (code, "paged" in out, out.count("\n")) == (0, True, 2), out
    for argv, environment in ((["--no-pager"], {"PAGER": "echo paged"}), ([], {"PAGER": "cat"}), (["--json"], {"PAGER": "echo paged"})):
        code, out = on_a_terminal([*argv, "show", "pcap:tcp port 80"], **environment)
        assert code == 0 and "paged" not in out and "80" in out, out


def test_which_pager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "more")
    assert pager.pager_command() == "more"
    monkeypatch.setenv("BPFLENS_PAGER", "")
    assert pager.pager_command() is None


def test_candidates(capsys: pytest.CaptureFixture[str]) -> None:
    assert ("dev:lo", "") in candidates("dev:l") and candidates("dev:nonesuch") == [] == candidates("nothing") == candidates("sock:1")
    assert f"pid:{os.getpid()}" in [word for word, _ in candidates(f"pid:{os.getpid()}")]
    assert run(["completion", "targets", "dev:l"]) == 0
    assert "dev:lo" in capsys.readouterr().out.splitlines()

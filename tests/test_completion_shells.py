"""The completion scripts, run by the shells themselves: bash, zsh and fish."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import needs

ROOT = Path(__file__).resolve().parent.parent

# A line up to the cursor -> the line that the only completion makes of it.
ONE = (
    ("bpflens disa", None),  # no verb begins so
    ("bpflens decom", "bpflens decompile "),
    ("bpflens ls --sort na", "bpflens ls --sort name "),
    ("bpflens ls --how", "bpflens ls --how-to-detach "),
    ("bpflens --json ls --so", "bpflens --json ls --sort "),
    ("bpflens --color n", "bpflens --color never "),
    ("bpflens --color never ls socket/p", "bpflens --color never ls socket/packet "),
    ("bpflens help exit", "bpflens help exit-codes "),
    ("bpflens completion z", "bpflens completion zsh "),
    ("bpflens explain --linktype EN", "bpflens explain --linktype EN10MB "),
    ("bpflens ls dev:l", "bpflens ls dev:lo "),
    ("bpflens ls cgro", "bpflens ls cgroup"),  # a kind, and the prefix cgroup:
    ("bpflens dis README.m", "bpflens dis README.md "),
    ("bpflens --j", "bpflens --json "),
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The command on PATH, as an installed one is."""
    place = tmp_path_factory.mktemp("bin")
    (place / "bpflens").write_text(f'#!/bin/sh\nexec {sys.executable} -m bpflens "$@"\n')
    (place / "bpflens").chmod(0o755)
    return {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "TERM": "dumb"}


def test_fish(environment: dict[str, str]) -> None:
    """All lines in one process."""
    asked = "".join(f"complete -C '{line}'; echo ----\n" for line, _ in ONE)
    script = f"source {ROOT}/completions/bpflens.fish\n{asked}"
    done = subprocess.run([needs.tool("fish"), "--no-config", "-c", script], capture_output=True, text=True, env=environment, cwd=ROOT)
    for (line, completed), answer in zip(ONE, done.stdout.split("----\n"), strict=False):
        _judge(line, completed, [word.partition("\t")[0] for word in answer.splitlines()])


def _judge(line: str, completed: str | None, found: list[str]) -> None:
    if completed is None:
        assert found == [], line
    elif completed.endswith(" "):
        assert found == [completed.split()[-1]], line
    else:
        assert len(found) > 1 and all(word.startswith(line.split()[-1]) for word in found), line


def test_fish_shows_no_files_behind_a_prefix(environment: dict[str, str]) -> None:
    """dev:, map: and the like are completed with what is there, not with files."""
    script = f"source {ROOT}/completions/bpflens.fish; complete -C 'bpflens ls dev:'"
    done = subprocess.run([needs.tool("fish"), "--no-config", "-c", script], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert "dev:lo" in done.stdout and "README" not in done.stdout and "tests" not in done.stdout


def test_zsh(environment: dict[str, str], tmp_path: Path) -> None:
    """In one interactive shell on a terminal: each line, a tab, and a key that tells what stands there now."""
    shell = needs.tool("zsh")
    (tmp_path / "_bpflens").symlink_to(ROOT / "completions/_bpflens")
    told = tmp_path / "told"
    (tmp_path / ".zshrc").write_text(f"""
        PS1='ready> '; fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u -d {tmp_path}/dump; setopt no_beep no_auto_menu
        show() {{ print -rn -- "$BUFFER" > {told}.new; mv {told}.new {told}; BUFFER= }}
        zle -N show; bindkey '^X' show; bindkey '^I' expand-or-complete
    """)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(shell, [shell, "-i"], {**environment, "ZDOTDIR": str(tmp_path)})
    try:
        _read_until(terminal, lambda screen: b"ready> " in screen)
        for line, completed in ONE:
            os.write(terminal, line.encode() + b"\t\x18")
            _read_until(terminal, lambda _: told.exists())
            assert told.read_text() == (line if completed is None else completed), line
            told.unlink()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def _read_until(terminal: int, done: object, seconds: float = 60) -> None:
    """Read what a terminal shows until a condition holds; the shell would stand still if nobody read."""
    assert callable(done)
    screen, end = b"", time.monotonic() + seconds
    while not done(screen):
        assert time.monotonic() < end, screen[-500:]
        if select.select([terminal], [], [], 0.02)[0]:
            screen += os.read(terminal, 1 << 16)


def test_bash(environment: dict[str, str]) -> None:
    """As readline calls the function."""
    for line, completed in ONE:
        script = f"""source {ROOT}/completions/bpflens; COMP_LINE="$1"; COMP_POINT=${{#1}}; COMP_WORDBREAKS=' '; _bpflens
                     printf '%s\\n' "${{COMPREPLY[@]}}\""""
        done = subprocess.run(["bash", "-c", script, "_", line], capture_output=True, text=True, env=environment, cwd=ROOT)
        _judge(line, completed, done.stdout.split())

"""What is generated from the command is what the command says now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_man_pages_and_completions_are_fresh() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/make-docs", "--check"], capture_output=True, text=True)

    assert done.returncode in (0, 1), done.stderr
    if sys.version_info[:2] == (3, 11):  # argparse words its help differently in other versions
        assert done.returncode == 0, done.stdout + "run scripts/make-docs"


def test_completion_is_valid_bash() -> None:
    done = subprocess.run(["bash", "-n", ROOT / "completions/bpflens"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    script = f'source {ROOT}/completions/bpflens; COMP_WORDS=(bpflens di); COMP_CWORD=1; _bpflens; echo "${{COMPREPLY[@]}}"'
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout.split() == ["dis", "diff"]

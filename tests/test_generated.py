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
    assert completed("bpflens di") == ["dis", "diff"]
    assert completed("bpflens ls --sort na") == ["name"] and completed("bpflens ls --how") == ["--how-to-detach"]
    assert "exit-codes" in completed("bpflens help ex") and completed("bpflens completion z") == ["zsh"]
    assert "socket/packet" in completed("bpflens --json ls soc") and completed("bpflens --color n") == ["never"]


def completed(line: str) -> list[str]:
    """What the script offers for a line that ends at the cursor."""
    script = f"""source {ROOT}/completions/bpflens; COMP_LINE="$1"; COMP_POINT=${{#1}}; COMP_WORDBREAKS=' :='; _bpflens
                 echo "${{COMPREPLY[@]}}\""""
    return subprocess.run(["bash", "-c", script, "_", line], capture_output=True, text=True).stdout.split()

"""Verbs without z3 and capstone: they answer, or say in one line what is lost and how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SAME = "pcap:tcp[0:2] + tcp[2:2] = 80", "pcap:tcp[2:2] + tcp[0:2] = 80"


def bpflens(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as on a machine without the extras."""
    path = os.pathsep.join(filter(None, (str(HERE / "without_extras_site"), str(HERE), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "bpflens", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("explain", "pcap:tcp port 80"), 0, "Proved equal for all packets"),
        (("diff", "pcap:tcp", "pcap:udp"), 1, "different"),
        (("diff", *SAME), 5, "z3 is not installed"),
        (("dis", "pcap:arp"), 0, "jeq"),
        (("packets", "pcap:arp"), 0, "accepted"),
        (("doctor",), 0, "pip install z3-solver"),
        (("doctor",), 0, "pip install capstone"),
    ],
)
def test_verb(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = bpflens(*arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "internal error" not in done.stderr

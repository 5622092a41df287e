"""Running the command with fewer privileges."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

import pytest

from bpflens.kernel.sys.syscalls import libc

UID = 65534
CAP_SYS_ADMIN, CAP_SYSLOG, CAP_BPF = 21, 34, 39
_PR_CAPBSET_DROP = 24
_SOURCE = Path(__file__).parents[2] / "src"
_CAN = "import sys; sys.exit(sys.version_info < (3, 11))"


def bpflens(*args: str) -> subprocess.CompletedProcess[str]:
    """The command, run by uid 65534 without groups and capabilities."""
    return _run([_python(), "-m", "bpflens", *args])


def without(capability: int, *args: str) -> subprocess.CompletedProcess[str]:
    """The command, run by root without one capability, given by its number."""

    def drop() -> None:
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            raise OSError("cannot drop a capability")

    argv = [sys.executable, "-m", "bpflens", *args]
    return subprocess.run(argv, preexec_fn=drop, capture_output=True, text=True, timeout=60, check=False)


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(_SOURCE), sysconfig.get_path("platlib")))
    environment = {"PYTHONPATH": path, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        argv, user=UID, group=UID, extra_groups=[], env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False
    )


@lru_cache(maxsize=1)
def _python() -> str:
    """This interpreter, or the system's where this one is in a directory of root's."""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            if _run([python, "-c", _CAN]).returncode == 0:
                return python
        except OSError:
            continue
    pytest.skip("needs a Python that other users may run")

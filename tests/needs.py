"""What a test needs of the machine. Each function skips the running test, with the reason, where it is missing.

Under BPFLENS_NO_SKIPS (continuous integration) only `kernel_feature` may skip: everything else can be installed or granted.
"""

from __future__ import annotations

import os
import shutil

import pytest

KERNEL_LACKS = "this kernel lacks "


def root() -> None:
    """Effective uid 0."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def tool(name: str) -> str:
    """A program on PATH (or in the sbin directories); returns its path."""
    path = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"needs the program {name}")
    return path


def module(name: str) -> None:
    """An extra (`pip install bpflens[all]`)."""
    pytest.importorskip(name, reason=f"needs the module {name}")


def kernel_feature(present: bool, name: str) -> None:
    """A feature that was probed for: `present` is what the probe found."""
    if not present:
        pytest.skip(KERNEL_LACKS + name)

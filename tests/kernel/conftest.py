"""A network namespace of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import needs
from bpflens.kernel.sys import syscalls

CLONE_NEWNET = 0x40000000


@pytest.fixture
def own_netns() -> Iterator[None]:
    """The calling thread in a new network namespace, whose only device is lo (ifindex 1); it goes with the test."""
    needs.root()
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(CLONE_NEWNET)
        try:
            yield
        finally:
            syscalls.setns(back, CLONE_NEWNET)
    finally:
        os.close(back)

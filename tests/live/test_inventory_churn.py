"""`ls` while programs are loaded and removed by the hundred: no error, no leaked descriptor, no leaked program."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bpflens.errors import NotFound
from bpflens.inventory.facts.records import Inventory
from bpflens.inventory.walk import collect
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.memory.reader import NAME
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_ids, prog_info

pytestmark = pytest.mark.live


@pytest.fixture
def churn():
    """A process that loads and removes programs, 50 at a time, and opens and closes filtered sockets, until it is stopped."""
    pid = os.fork()
    if pid == 0:
        try:
            _churn()
        finally:
            os._exit(0)
    time.sleep(0.2)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _churn() -> None:
    import socket

    from live.attach_lab import Fprog, classic

    code = assemble("r0 = 0\nexit", "llvm")
    filter = Fprog(classic(7))
    while True:
        fds = [load_program(code, 1, name="bl_churn") for _ in range(50)]
        sockets = []
        for _ in range(10):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(1, 26, filter.bytes)
            sockets.append(sock)
        for fd in fds:
            os.close(fd)
        for sock in sockets:
            sock.close()


def rounds(count: int, deep_every: int) -> None:
    """Walk `count` times."""
    before = sorted(os.listdir("/proc/self/fd"))
    seen = 0
    for number in range(count):
        inventory: Inventory = collect(deep=number % deep_every == 0)
        what = [denial for denial in inventory.denied if "bpflens" in denial.needs or "another answer" in denial.needs]
        assert not what, what
        seen += sum(1 for head in (inventory.programs or {}).values() if head.name == "bl_churn")

    assert seen
    assert sorted(os.listdir("/proc/self/fd")) == before
    until = time.monotonic() + 10  # another bpflens of this machine may be reading meanwhile, but not for long
    while own_programs() and time.monotonic() < until:
        time.sleep(0.1)
    assert not own_programs()


def own_programs() -> list[int]:
    """Ids of loaded programs with the reader's name."""
    found = []
    for id in prog_ids():
        try:
            if prog_info(id).name == NAME:
                found.append(id)
        except NotFound:
            continue
    return found


def test_thirty_walks(churn: int) -> None:
    """In the default run."""
    rounds(30, 5)


@pytest.mark.slow
def test_a_thousand_walks(churn: int) -> None:
    """The long run."""
    rounds(1000, 10)

"""`ls` while programs are loaded and removed by the hundred: no error, no leaked descriptor, no leaked program."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bpflens.isa.extended.asm import assemble
from bpflens.kernel.inventory.collect import collect
from bpflens.kernel.inventory.found import Inventory
from bpflens.kernel.load import load_program
from bpflens.kernel.prog_info import prog_ids, prog_info

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


def own_programs() -> list[str]:
    names = []
    for id in prog_ids():
        try:
            names.append(prog_info(id).name)
        except OSError:
            continue
        except Exception:
            continue
    return [name for name in names if name == "bpflens"]


def test_thirty_walks(churn: int) -> None:
    """In the default run."""
    rounds(30, 5)


@pytest.mark.slow
def test_a_thousand_walks(churn: int) -> None:
    """The long run."""
    rounds(1000, 10)

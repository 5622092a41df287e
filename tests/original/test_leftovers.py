"""Nothing that a command loads stays loaded, also when it is interrupted at any moment or its output is closed.

Others may load programs meanwhile: the command runs as a user of its own (with all capabilities), whose programs are counted. Maps and
types end with the programs and descriptors that hold them, unless they are pinned.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from bpflens.errors import KernelError
from bpflens.kernel.programs.prog_info import prog_ids, prog_info
from original.load import loaded
from original.matrix import ROWS

pytestmark = pytest.mark.live

USER = 54321
DEAD = next(row for row in ROWS if row.name == "branch never taken")


def of_user():
    """Programs that USER loaded."""
    found = []
    for id in prog_ids():
        try:
            if prog_info(id).uid == USER:
                found.append(id)
        except KernelError:
            continue
    return found


def pins():
    return sorted(os.path.join(where, name) for where, _, names in os.walk("/sys/fs/bpf") for name in names if "bpflens" in name)


def gone():
    deadline = time.monotonic() + 3  # the kernel frees programs a moment after their last descriptor is closed
    while (left := of_user()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def start(arguments, cache, stdout=subprocess.DEVNULL):
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "bpflens", *arguments]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=environment, cwd="/", preexec_fn=_become)


def _become():
    os.setresuid(USER, 0, 0)  # programs count as those of the real user; the effective one keeps all capabilities


def test_what_is_left_is_counted():
    """A program that stays is seen, as long as it stays."""
    load = 'load_program(bytes.fromhex("b7000000000000009500000000000000"), 1)'
    command = [sys.executable, "-c", f"from bpflens.kernel.programs.load import load_program; {load}; print(1, flush=True); input()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=_become)
    try:
        assert child.stdout.readline() == b"1\n"
        assert len(of_user()) == 1
    finally:
        child.communicate(b"\n")
    assert gone() == []


@pytest.mark.parametrize("verb", ("original", "ls --deep", "doctor", "show"))
def test_nothing_is_left(verb, tmp_path):
    chance = random.Random(5)
    tmp_path.chmod(0o777)
    with loaded(DEAD) as program:
        pinned = pins()
        arguments = {"original": ["original", f"id:{program.id}"], "show": ["show", f"id:{program.id}"]}.get(verb, verb.split())
        began = time.monotonic()
        assert start(arguments, tmp_path).wait(60) in (0, 5)  # 5: something may not be seen from here
        length = time.monotonic() - began
        assert gone() == []
        for number, sent in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)):
            child = start(arguments, tmp_path / str(number))  # with nothing learnt yet: most is loaded then
            time.sleep(chance.random() * length)
            child.send_signal(sent)
            _, said = child.communicate(timeout=60)
            assert b"Traceback" not in said, said
        reading, writing = os.pipe()
        child = start(arguments, tmp_path, stdout=writing)
        os.close(writing)
        os.close(reading)  # SIGPIPE, or EPIPE
        _, said = child.communicate(timeout=60)
        assert b"Traceback" not in said and b"internal" not in said, said
        assert gone() == []
        assert pins() == pinned

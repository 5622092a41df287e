"""The row that everybody should see: the published trigger of BPFDoor on a socket, held by a process that hides its name."""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout

import pytest

import needs
from bpflens.cli.main import run

pytestmark = pytest.mark.live

# The 30 instructions that public analyses show (PwC 2022, Elastic Security Labs 2022).
TRIGGER = (
    (0x28, 0, 0, 12), (0x15, 0, 27, 0x800), (0x30, 0, 0, 23), (0x15, 0, 5, 17), (0x28, 0, 0, 20), (0x45, 23, 0, 0x1FFF), (0xB1, 0, 0, 14),
    (0x48, 0, 0, 22), (0x15, 19, 20, 0x7255), (0x15, 0, 7, 1), (0x28, 0, 0, 20), (0x45, 17, 0, 0x1FFF), (0xB1, 0, 0, 14), (0x48, 0, 0, 22),
    (0x15, 0, 14, 0x7255), (0x50, 0, 0, 14), (0x15, 11, 12, 8), (0x15, 0, 11, 6), (0x28, 0, 0, 20), (0x45, 9, 0, 0x1FFF), (0xB1, 0, 0, 14),
    (0x50, 0, 0, 26), (0x54, 0, 0, 0xF0), (0x74, 0, 0, 2), (0x0C, 0, 0, 0), (0x07, 0, 0, 0), (0x48, 0, 0, 14), (0x15, 0, 1, 0x5293),
    (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0),
)  # fmt: skip


@pytest.fixture(scope="module")
def door() -> Iterator[int]:
    """The pid of a process with such a socket, bound to no device, that calls itself kdmtmpflush."""
    needs.root()
    code = b"".join(struct.pack("<HBBI", *row) for row in TRIGGER)
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        try:
            sock = socket.socket(17, socket.SOCK_RAW, socket.htons(0x0800))
            buffer = ctypes.create_string_buffer(code, len(code))
            sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", len(TRIGGER), ctypes.addressof(buffer)))
            ctypes.CDLL(None).prctl(15, b"kdmtmpflush", 0, 0, 0)
            os.write(told, b"x")
            time.sleep(600)
        finally:
            os._exit(0)
    os.read(ready, 1)
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready), os.close(told)


def command(*argv: str) -> tuple[int, str]:
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        code = run(list(argv))
    return code, out.getvalue()


def test_the_table_warns(door: int) -> None:
    """First in the cell, with the assumption, and the process for what it is."""
    _, out = command("ls", "socket", f"pid:{door}")
    row = out.splitlines()[1]
    assert "WARNING: a magic-packet backdoor: the trigger values of BPFDoor, if Ethernet (classic 30 insns)" in row
    assert f"kdmtmpflush[{door}] is " in row and "python" in row.partition("kdmtmpflush")[2]


def test_json_says_it_too(door: int) -> None:
    _, out = command("--json", "ls", "socket", f"pid:{door}")
    row = json.loads(out)
    assert "BPFDoor" in row["known"] and row["warning"].startswith("WARNING") and "Ethernet" in row["assumptions"][0]
    assert (row["expression"] is None) == (row["reason"] is not None)
    assert "python" in row["holders"][0]["exe"]


def test_explain_names_the_assumption(door: int) -> None:
    code, out = command("--json", "explain", f"pid:{door}")
    explained = json.loads(out.splitlines()[0])
    assert code == 0 and "BPFDoor" in explained["known"] and any("Ethernet" in text for text in explained["proof"]["assumptions"])


def test_reasons_without_an_expression(door: int) -> None:
    """No packet, no time and no expression are told apart."""
    with socket.socket(17, socket.SOCK_RAW, 0) as nothing, socket.socket(socket.AF_INET, socket.SOCK_RAW, 255) as raw:
        random = ((0x20, 0, 0, 0xFFFFF034), (0x15, 0, 1, 7), (0x06, 0, 0, 9), (0x06, 0, 0, 0))
        for sock, code in ((nothing, ((0x06, 0, 0, 0),)), (raw, random)):
            raw_code = b"".join(struct.pack("<HBBI", *row) for row in code)
            buffer = ctypes.create_string_buffer(raw_code, len(raw_code))
            sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer)))
        _, out = command("--json", "ls", "socket", f"pid:{os.getpid()}", "--explain", "5")
        reasons = {row["kind"]: row["reason"] for row in map(json.loads, out.splitlines())}
        assert (reasons["socket/packet"], reasons["socket/raw"]) == ("no packet", "no expression"), out
        _, out = command("--json", "ls", "socket", f"pid:{door}", "--explain", "0")
        assert json.loads(out)["reason"] == "no time"

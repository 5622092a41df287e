"""Who loaded a program: asked of /proc at once, because most loaders end soon."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from bpflens.inventory.facts.processes import process
from bpflens.kernel.recorder.load import Load

__all__ = ("Loaders", "boot")

_MAX_COMMAND = 300


class Loaders:
    """Remembers the processes of one batch."""

    def __init__(self) -> None:
        self._known: dict[int, Mapping[str, Any]] = {}
        self._clock_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def said(self, load: Load, tag: str) -> dict[str, Any]:
        """What is kept of a load beside its instructions; times in ns since boot and in seconds since 1970."""
        said = {
            "tag": tag, "id": None, "name": load.name, "load_time": load.load_time, "time": (load.load_time + self._clock_ns) // 10**9,
            "insns": load.insn_count, "pid": load.pid, "uid": load.uid, "comm": load.comm, **self._process(load.pid, load.comm),
        }  # fmt: skip
        return {key: value for key, value in said.items() if value is not None or key == "id"}

    def _process(self, pid: int, comm: str) -> Mapping[str, Any]:
        if pid not in self._known:
            facts = process(pid)
            self._known[pid] = {"exe": facts.exe, "cmd": _command(pid), "unit": facts.unit, "container": facts.container}
        return self._known[pid]


def boot() -> dict[str, Any]:
    """What all loads of one boot have in common."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            id = stream.read().strip()
    except OSError:
        id = ""
    return {"boot_id": id, "kernel": os.uname().release}


def _command(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            raw = stream.read(4 * _MAX_COMMAND)
    except OSError:
        return None
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")[:_MAX_COMMAND] or None

"""What was learnt of a kernel, kept on disk: $XDG_CACHE_HOME/bpflens/kernels/IDENTITY/NAME.json.

A wrong or malicious file can't cause a wrong answer: it only changes which reconstructions are tried, and every one is proved.
Addresses are kept as distances from __bpf_call_base, which do not change from boot to boot; jiffies and other data addresses are not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from functools import cache
from typing import Any

__all__ = ("identity", "load", "store")

_FORMAT = "4"  # changes with the format of the files or the plan of probes
# Settings that change what the verifier makes of a program: with the interpreter most helpers are not inlined.
_SETTINGS = ("/proc/sys/net/core/bpf_jit_enable", "/sys/devices/system/cpu/possible")


@cache
def identity() -> str:
    """16 hex digits that name the running kernel: its build id (/sys/kernel/notes), release and version, and the settings that matter."""
    uname = os.uname()
    digest = hashlib.sha256("\0".join((_FORMAT, uname.release, uname.version, uname.machine)).encode())
    for path in ("/sys/kernel/notes", *_SETTINGS):
        digest.update(_read(path) + b"\0")
    if not _read("/sys/kernel/notes"):
        digest.update(hashlib.sha256(_read("/sys/kernel/btf/vmlinux")).digest())
    return digest.hexdigest()[:16]


def load(name: str) -> Any:
    """The value stored under `name` for the running kernel; None where there is none or it is unreadable."""
    try:
        with open(_path(name), "rb") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def store(name: str, value: Any) -> None:
    """Keep a JSON value for the running kernel. A cache that can't be written is no error."""
    path = _path(name)
    temporary = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(temporary, "w", encoding="ascii") as stream:
            json.dump(value, stream, separators=(",", ":"))
        os.replace(temporary, path)


def _path(name: str) -> str:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "bpflens", "kernels", identity(), f"{name}.json")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""

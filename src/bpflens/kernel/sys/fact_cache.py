"""What was learnt of a kernel, kept on disk: $XDG_CACHE_HOME/bpflens/kernels/IDENTITY/NAME.json.

A file is believed only if this user wrote it and nobody else can have: its own, no symbolic link, writable by nobody else, with the hash of
what it says in its first line. Others are overlooked and learnt again. So a damaged or foreign file costs time only; and whatever the
rules say, every reconstruction is proved. Addresses are kept as distances from __bpf_call_base, which do not change from boot to boot;
jiffies and other data addresses are not kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from functools import cache

from bpflens.digest import sha256
from bpflens.kernel.sys import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("identity", "load", "store")

_FORMAT = "5"  # changes with the format of the files or the plan of probes
# Settings that change what the verifier makes of a program: with the interpreter most helpers are not inlined.
_SETTINGS = ("/proc/sys/net/core/bpf_jit_enable", "/proc/sys/net/core/bpf_jit_harden", "/sys/devices/system/cpu/possible")
# What a process without them learns is less, or guarded against speculation.
_CAPABILITIES = ("BPF", "NET_ADMIN", "PERFMON", "SYSLOG", "SYS_ADMIN")
_MAX_FILE_BYTES = 16 << 20


@cache
def identity() -> str:
    """16 hex digits that name the running kernel: its build id (/sys/kernel/notes), release and version, and what else decides about the
    answers: some settings, and what this process may do.
    """
    uname = os.uname()
    able = sorted(capabilities.effective().intersection(_CAPABILITIES))
    digest = sha256("\0".join((_FORMAT, uname.release, uname.version, uname.machine, *able)).encode())
    for path in ("/sys/kernel/notes", *_SETTINGS):
        digest.update(_read(path) + b"\0")
    if not _read("/sys/kernel/notes"):
        digest.update(sha256(_read("/sys/kernel/btf/vmlinux")).digest())
    return digest.hexdigest()[:16]


def load(name: str) -> Any:
    """The value stored under `name` for the running kernel; None where there is none or it can't be believed."""
    try:
        descriptor = os.open(_path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(descriptor, "rb") as stream:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022 or facts.st_size > _MAX_FILE_BYTES:
                return None
            seal, _, body = stream.read().partition(b"\n")
        return json.loads(body) if seal == _seal(name, body) else None
    except (OSError, ValueError):
        return None


def store(name: str, value: Any) -> None:
    """Keep a JSON value for the running kernel. A cache that can't be written is no error."""
    import tempfile

    path = _path(name)
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path))  # a new file of mode 600: never through a link of another's
        try:
            with open(descriptor, "wb") as stream:
                stream.write(_seal(name, body) + b"\n" + body)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _seal(name: str, body: bytes) -> bytes:
    """The first line of a file: damage shows, and that it is another kernel's or another file."""
    return sha256(f"{identity()} {name}\n".encode() + body).hexdigest().encode()


def _path(name: str) -> str:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "bpflens", "kernels", identity(), f"{name}.json")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""

"""Who a process is beside its name, which it chooses itself: its executable, its systemd unit, its container.

    /proc/812/exe -> /tmp/x (deleted), /proc/812/cgroup 0::/system.slice/cron.service
    ──►  Process(exe="/tmp/x", deleted=True, unit="cron.service", container=None)
"""

from __future__ import annotations

import os
import re

from bpflens.kernel.sys import procfs
from bpflens.lean import NamedTuple

__all__ = ("Process", "process")

_DELETED = " (deleted)"
_UNITS = (".service", ".scope", ".socket", ".mount", ".timer", ".path", ".swap")
_RUNTIMES = (
    ("docker", r"docker[-/]([0-9a-f]{64})"),
    ("podman", r"libpod-(?:payload-)?([0-9a-f]{64})"),
    ("cri-o", r"crio-([0-9a-f]{64})"),
    ("containerd", r"(?:cri-containerd-|/kubepods[^:]*[/:])([0-9a-f]{64})"),
    ("lxc", r"/lxc(?:\.payload)?[./]([^/]+)"),
    ("nspawn", r"/machine\.slice/(?:systemd-nspawn@|machine-)([^/]+)\.(?:service|scope)"),
    ("container", r"/([0-9a-f]{64})(?:/|$)"),
)
_SHOWN = 12  # digits of a container's id, as the runtimes print it


class Process(NamedTuple):
    """`exe` is the path of the program that runs, None where it may not be read; `deleted`: its file has no name any more.

    `unit` is the systemd unit, `container` "docker:0123456789ab"; both from the path of its control group.
    """

    exe: str | None = None
    deleted: bool = False
    unit: str | None = None
    container: str | None = None

    def is_other_than(self, comm: str) -> bool:
        """Whether the name that the process shows is not its executable's."""
        if self.exe is None:
            return False
        base = os.path.basename(self.exe)
        return base[:15] != comm and not (comm and base.startswith(comm))


def process(pid: int) -> Process:
    """The facts of a process; all unknown where it has gone."""
    try:
        exe: str | None = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        exe = None  # a kernel thread, or not for us
    deleted = exe is not None and exe.endswith(_DELETED)
    if exe is not None and deleted:
        exe = exe[: -len(_DELETED)]
    try:
        cgroup = procfs.read(f"/proc/{pid}/cgroup").decode(errors="replace")
    except OSError:
        cgroup = ""
    return Process(exe, deleted, *_place(cgroup))


def _place(cgroup: str) -> tuple[str | None, str | None]:
    """(unit, container) from the lines of /proc/PID/cgroup."""
    unit = container = None
    for line in cgroup.splitlines():
        _, _, path = line.partition(":")
        _, _, path = path.partition(":")
        for part in path.split("/"):
            if part.endswith(_UNITS):
                unit = unit or part
        if container is None and len(path) > 1:
            container = next((f"{name}:{found[1][:_SHOWN]}" for name, pattern in _RUNTIMES if (found := re.search(pattern, path))), None)
    return unit, container

"""tap devices by descriptors of those who hold them: TUNGETFILTER (Linux 3.10), TUNGETDEVNETNS (Linux 5.0)."""

from __future__ import annotations

import fcntl
import os

from bpflens.kernel.descriptors import duplicate
from bpflens.kernel.namespaces import namespace_inode

__all__ = ("attached_filter",)

_TUNGETFILTER, _TUNGETDEVNETNS = 0x801054DB, 0x54E3


def attached_filter(pid: int, fd: int) -> tuple[int, int | None]:
    """(instructions of the filter last attached, inode of the device's namespace) of descriptor `fd` of a process.

    PermissionError without ptrace access to it, OSError where one has gone or is a tun device, which has no such filter.
    """
    taken = duplicate(pid, fd)
    try:
        try:
            answer = fcntl.ioctl(taken, _TUNGETFILTER, bytes(16))
        except PermissionError as error:
            raise OSError(22, "refused") from error
        try:
            netns = namespace_inode(taken, _TUNGETDEVNETNS)
        except OSError:
            netns = None
    finally:
        os.close(taken)
    return int.from_bytes(answer[:2], "little"), netns

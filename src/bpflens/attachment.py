"""What a program hangs on, and who holds it: the two records that the inventory makes by the thousand, so they are named tuples.

`bpflens.program` has them too; a listing imports them from here, where nothing else is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ("Attachment", "Holder")


class Holder(NamedTuple):
    """A process that holds an object: `fd` None where it is held without a descriptor; `tid` the thread where that is known."""

    pid: int
    comm: str
    fd: int | None = None
    tid: int | None = None


class Attachment(NamedTuple):
    """What a program hangs on.

    `kind` is a row of the inventory ("xdp", "tcx/ingress", "socket/packet", "seccomp", "cgroup/inet_ingress" ...); `object` names the thing
    as a target of the command line where one exists ("dev:eth0", "cgroup:/user.slice", "sock:1234"); `netns` is the inode number
    of the network namespace, `netns_name` a name or path where it has one. `details` holds the rest (handle, priority, link id ...).
    """

    kind: str
    object: str
    netns: int | None = None
    netns_name: str | None = None
    holders: tuple[Holder, ...] = ()
    details: Mapping[str, Any] = {}

"""What the kernel reports of a program, what that hangs on and who holds it: the records that the inventory makes by the thousand.

They are named tuples: importing them costs nothing.

`bpflens.program` has them too; a listing imports them from here, where nothing else is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("Attachment", "Holder", "ProgInfo")


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
    of the network namespace, `netns_name` a name or path where it has one.

    `details` holds the rest (handle, priority, link id ...) in the kernel's words. It is open because each of the forty kinds has keys of
    its own, which `ls` prints and a snapshot keeps as they are; a reader takes an absent key as not known.
    """

    kind: str
    object: str
    netns: int | None = None
    netns_name: str | None = None
    holders: tuple[Holder, ...] = ()
    details: Mapping[str, Any] = {}


class ProgInfo(NamedTuple):
    """What the kernel reports of a program: struct bpf_prog_info without its arrays (include/uapi/linux/bpf.h).

    Lengths in bytes, `load_time` in ns since boot (CLOCK_BOOTTIME), `run_time_ns` and `run_cnt` since statistics were switched on
    (kernel.bpf_stats_enabled or BPF_ENABLE_STATS). `xlated_len` and `jited_len` are 0 for who may not dump. A member that the running
    kernel does not know is None.
    """

    id: int
    type: int
    tag: str
    name: str
    uid: int
    load_time: int
    gpl_compatible: bool
    xlated_len: int
    jited_len: int
    nr_map_ids: int
    ifindex: int
    netns_dev: int
    netns_ino: int
    btf_id: int
    nr_jited_ksyms: int
    nr_jited_func_lens: int
    nr_func_info: int
    nr_line_info: int
    nr_jited_line_info: int
    nr_prog_tags: int
    run_time_ns: int
    run_cnt: int
    recursion_misses: int | None
    verified_insns: int | None
    attach_btf_obj_id: int | None
    attach_btf_id: int | None

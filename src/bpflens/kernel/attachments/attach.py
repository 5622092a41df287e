"""Attaching: links of every kind, attachments without links, and their undoing. Nothing else in the package attaches programs.

Layouts: union bpf_attr in include/uapi/linux/bpf.h (v6.18), LINK_CREATE, PROG_ATTACH, RAW_TRACEPOINT_OPEN, LINK_UPDATE. Every function
raises KernelError where the kernel refuses; descriptors that are returned belong to the caller.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bpflens.isa.extended.uapi import AttachType
from bpflens.kernel.sys.bpf import Buffer, bpf, cmd

__all__ = (
    "bind_map", "iterator", "link_create", "link_detach", "link_update", "multi_kprobe", "multi_uprobe", "prog_attach", "prog_detach",
    "raw_tracepoint_open",
)  # fmt: skip

F_REPLACE = 1 << 2


def link_create(prog_fd: int, target: int, attach_type: int, *, flags: int = 0, extra: bytes = b"", where: str = "link") -> int:
    """BPF_LINK_CREATE: a descriptor of the link. `target`: descriptor or ifindex; `extra`: the union from byte 16 on."""
    return bpf(cmd.LINK_CREATE, struct.pack("=IIII", prog_fd, target, attach_type, flags) + extra, where, "cannot attach")[0]


def link_update(link_fd: int, prog_fd: int, where: str = "link") -> None:
    """BPF_LINK_UPDATE: another program in the same place, at once (v5.7)."""
    bpf(cmd.LINK_UPDATE, struct.pack("=IIII", link_fd, prog_fd, 0, 0), where, "cannot put another program in its place")


def link_detach(link_fd: int, where: str = "link") -> None:
    """BPF_LINK_DETACH: the link stays and has no program any more (v5.9); at once, which closing a pinned link is not."""
    bpf(cmd.LINK_DETACH, struct.pack("=I", link_fd), where, "cannot detach")


def prog_attach(target_fd: int, prog_fd: int, attach_type: int, *, flags: int = 0, replace_fd: int = 0, where: str = "program") -> None:
    """BPF_PROG_ATTACH to a cgroup, a map of sockets, a network namespace (target 0: the own one)."""
    if replace_fd:
        flags |= F_REPLACE
    bpf(cmd.PROG_ATTACH, struct.pack("=IIIII", target_fd, prog_fd, attach_type, flags, replace_fd), where, "cannot attach")


def prog_detach(target_fd: int, prog_fd: int, attach_type: int, where: str = "program") -> None:
    """BPF_PROG_DETACH."""
    bpf(cmd.PROG_DETACH, struct.pack("=III", target_fd, prog_fd, attach_type), where, "cannot detach")


def raw_tracepoint_open(prog_fd: int, name: str, where: str = "link") -> int:
    """BPF_RAW_TRACEPOINT_OPEN: a descriptor of the link; `name` "" for programs that were loaded for their target."""
    text = Buffer(name.encode() + b"\0")
    return bpf(cmd.RAW_TRACEPOINT_OPEN, struct.pack("=QII", text.address if name else 0, prog_fd, 0), where, "cannot attach")[0]


def multi_kprobe(prog_fd: int, attach_type: int, symbols: Sequence[str], flags: int, where: str = "link") -> int:
    """A kprobe_multi link (v5.18) on functions by name; `flags` bit 0: at their return."""
    texts = [Buffer(name.encode() + b"\0") for name in symbols]
    pointers = Buffer(struct.pack(f"={len(texts)}Q", *(text.address for text in texts)))
    extra = struct.pack("=IIQQQ", flags, len(texts), pointers.address, 0, 0)
    return link_create(prog_fd, 0, attach_type, extra=extra, where=where)


def multi_uprobe(prog_fd: int, attach_type: int, path: str, offsets: Sequence[int], flags: int, pid: int, where: str = "link") -> int:
    """An uprobe_multi link (v6.6) on offsets of a file; `pid` 0 for all processes."""
    name = Buffer(path.encode("utf-8", "surrogateescape") + b"\0")
    places = Buffer(struct.pack(f"={len(offsets)}Q", *offsets))
    extra = struct.pack("=QQQQIII", name.address, places.address, 0, 0, len(offsets), flags, pid)
    return link_create(prog_fd, 0, attach_type, extra=extra, where=where)


def iterator(prog_fd: int, map_fd: int = 0, where: str = "link") -> int:
    """An iterator's link (v5.8), over the elements of a map where one is given."""
    if not map_fd:
        return link_create(prog_fd, 0, AttachType.TRACE_ITER, where=where)
    info = Buffer(struct.pack("=IIII", map_fd, 0, 0, 0))  # union bpf_iter_link_info
    return link_create(prog_fd, 0, AttachType.TRACE_ITER, extra=struct.pack("=QI", info.address, info.size), where=where)


def bind_map(prog_fd: int, map_fd: int, where: str = "program") -> None:
    """BPF_PROG_BIND_MAP (v5.10): the program keeps a map that it does not use."""
    bpf(cmd.PROG_BIND_MAP, struct.pack("=III", prog_fd, map_fd, 0), where, "cannot bind a map")

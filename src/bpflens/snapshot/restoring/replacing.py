"""--replace for attachments: what stands in their places, and how it gives way, at once wherever the kernel can.

A link gets the restored program (BPF_LINK_UPDATE); XDP by netlink, classifiers, and programs on cgroups, network namespaces and maps of
sockets are exchanged. Only an XDP program without a link is taken off before a link takes its place: the kernel has no other way
(dev_xdp_attach, net/core/dev.c 6.18). What gave way is pinned until everything is done, so that it can come back, also after SIGKILL.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from bpflens.errors import BpflensError, KernelError
from bpflens.formats.snapshot.manifest import SavedAttachment
from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.kernel import pins
from bpflens.kernel.attachments.attach import link_update
from bpflens.kernel.attachments.attach_netlink import set_xdp
from bpflens.kernel.attachments.links import LinkInfo, link_by_fd, link_info
from bpflens.kernel.attachments.prog_query import query
from bpflens.kernel.descriptors import link_fd, program_fd
from bpflens.kernel.programs.prog_info import prog_info
from bpflens.snapshot.restoring.journal import Record
from bpflens.snapshot.restoring.maker import Maker
from bpflens.snapshot.restoring.options import BPFFS, pin_path

__all__ = ("Former", "aside", "former_program", "link_there", "make_room", "put_aside", "replace_program", "xdp_there")

MULTI = 2  # BPF_F_ALLOW_MULTI
UPDATABLE = frozenset({LINK.XDP, LINK.TCX, LINK.NETKIT, LINK.CGROUP, LINK.NETNS})


class Former(NamedTuple):
    """A program that gives way: its id, and the flags that it was attached with."""

    id: int
    flags: int


def link_there(maker: Maker, attachment: SavedAttachment, ifindex: int = 0) -> int | None:
    """The id of the link that stands for the attachment: pinned where the saved one was; or the saved one itself, still alive in this boot
    with a program of the same name; or the only one that its device can have (XDP). None where there is none, or where links of the type
    cannot be updated.
    """
    if attachment.link_type not in UPDATABLE:
        return None
    for pin in attachment.pins:
        path = pin_path(pin.path, maker.options)
        if not os.path.lexists(path):
            continue
        with pins.opened_pin(path) as fd:
            if pins.fd_kind(fd) == "link" and _same_place(link := link_by_fd(fd, path), attachment):
                return link.id
    try:
        link = link_info(attachment.link or 0)
        saved = maker.saved_programs.get(attachment.program or 0)
        if _same_place(link, attachment) and saved is not None and prog_info(link.prog_id).name == saved.name:
            return link.id
    except BpflensError:
        pass
    return xdp_there(ifindex)[1] if attachment.link_type == LINK.XDP else None


def _same_place(link: LinkInfo, attachment: SavedAttachment) -> bool:
    numbers = ("ifindex", "cgroup_id", "netns_ino")
    same = all(link.facts.get(name) == attachment.details.get(name) for name in numbers if name in link.facts)
    return link.type == attachment.link_type and link.attach_type in (None, attachment.attach_type) and same


def replace_program(maker: Maker, attachment: SavedAttachment, link: int, where: str) -> None:
    """Put the restored program into the link; the former one is pinned until everything is done, so that it can come back."""
    if attachment.program not in maker.programs:
        raise KernelError(where, "its program is not restored")
    before, keep = link_info(link).prog_id, f"{BPFFS}/bpflens-old-{os.getpid()}-{link}"
    maker.about_to({"do": "link", "link": link, "aside": keep})
    put_aside(maker, before, keep)
    link_update(maker.own(link_fd(link)), maker.programs[attachment.program], where)


def aside(maker: Maker, program: int) -> str:
    """A path for the pin of a program that gives way."""
    return f"{BPFFS}/bpflens-old-{os.getpid()}-prog-{program}-{len(maker.journal.records)}"


def put_aside(maker: Maker, program: int, path: str) -> None:
    """Pin a program that is about to give way."""
    pins.pin(maker.own(program_fd(program)), path)


def former_program(target: int, attach_type: int) -> Former | None:
    """The only program of a hook that BPF_PROG_ATTACH would exchange: cgroups without "multi", namespaces, maps of sockets. `target` is a
    descriptor (0: the thread's network namespace). None for none, for hooks that have many, and where the kernel does not say.
    """
    namespace = -1
    try:
        if not target:
            namespace = target = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        answer = query(target, attach_type)
    except OSError:
        return None
    finally:
        if namespace >= 0:
            os.close(namespace)
    return Former(answer.ids[0], answer.flags) if answer.ids and not answer.flags & MULTI else None


def xdp_there(ifindex: int) -> tuple[int, int | None, str]:
    """(program, its link, its mode) on a device of the thread's network namespace; program 0 where there is none."""
    from bpflens.inventory.facts.context import Context
    from bpflens.inventory.finders.network.xdp import find

    for row in find(Context()):
        if row.details.get("ifindex") == ifindex and row.prog_id:
            return row.prog_id, row.details.get("link"), row.kind.partition("/")[2]
    return 0, None, ""


def make_room(maker: Maker, ifindex: int, record: Record) -> None:
    """Take an XDP program without a link off a device. `record`: the beginning of the journal's record."""
    before, link, mode = xdp_there(ifindex)
    if not before or link is not None:
        return
    path = aside(maker, before)
    maker.about_to({**record, "ifindex": ifindex, "mode": mode, "program": 0, "aside": path})
    put_aside(maker, before, path)
    set_xdp(ifindex, -1, mode)
    maker.notes.append(f"xdp/{mode} of device {ifindex}: program {before} was taken off before the link took its place")

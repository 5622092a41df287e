"""--replace for links: the link that is there gets the restored program at once (BPF_LINK_UPDATE); nothing is detached in between."""

from __future__ import annotations

import os

from bpflens.errors import BpflensError, KernelError
from bpflens.formats.snapshot.manifest import SavedAttachment
from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.kernel import pins
from bpflens.kernel.attachments.attach import link_update
from bpflens.kernel.attachments.links import LinkInfo, link_by_fd, link_info
from bpflens.kernel.descriptors import link_fd, program_fd
from bpflens.kernel.programs.prog_info import prog_info
from bpflens.snapshot.restoring.maker import Maker
from bpflens.snapshot.restoring.options import BPFFS, pin_path

__all__ = ("link_there", "replace_program")

UPDATABLE = frozenset({LINK.XDP, LINK.TCX, LINK.NETKIT, LINK.CGROUP, LINK.NETNS})


def link_there(maker: Maker, attachment: SavedAttachment) -> int | None:
    """The id of the link that stands for the attachment: pinned where the saved one was, or the saved one itself, still alive in this boot
    with a program of the same name. None where there is none, or where links of the type cannot be updated.
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
    return None


def _same_place(link: LinkInfo, attachment: SavedAttachment) -> bool:
    numbers = ("ifindex", "cgroup_id", "netns_ino")
    same = all(link.facts.get(name) == attachment.details.get(name) for name in numbers if name in link.facts)
    return link.type == attachment.link_type and link.attach_type in (None, attachment.attach_type) and same


def replace_program(maker: Maker, attachment: SavedAttachment, link: int, where: str) -> None:
    """Put the restored program into the link; the former one is pinned until everything is done, so that it can come back."""
    if attachment.program not in maker.programs:
        raise KernelError(where, "its program is not restored")
    aside = f"{BPFFS}/bpflens-old-{os.getpid()}-{link}"
    before = maker.own(program_fd(link_info(link).prog_id))
    maker.about_to({"do": "link", "link": link, "aside": aside})
    pins.pin(before, aside)
    link_update(maker.own(link_fd(link)), maker.programs[attachment.program], where)

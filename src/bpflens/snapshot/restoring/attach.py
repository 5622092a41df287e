"""Attachments made again, one function for each kind; each leaves its undoing with the maker.

A link of a device or namespace belongs to the namespace of the thread that makes it, so each is made in a thread of its own there.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from typing import Any

from bpflens.errors import InputError, KernelError
from bpflens.formats.snapshot.manifest import SavedAttachment
from bpflens.isa.extended.uapi import AttachType, ProgType
from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.kernel.attachments import attach as kernel
from bpflens.kernel.attachments.attach_netlink import PARENTS, Standing, TcFilter, add_clsact, add_filter, filter_at, has_clsact, set_xdp
from bpflens.kernel.descriptors import close, device_index, link_fd
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.snapshot.restoring.maker import Maker
from bpflens.snapshot.restoring.namespaces import in_namespace, namespace_path
from bpflens.snapshot.restoring.options import RestoreOptions
from bpflens.snapshot.restoring.replacing import (
    MULTI,
    aside,
    former_program,
    link_there,
    make_room,
    put_aside,
    replace_program,
    xdp_there,
)  # fmt: skip

__all__ = ("attach", "cgroup_path", "occupied", "occupied_hook", "place")

_FAMILIES = {"ip": 2, "ip6": 10, "inet": 1, "arp": 3, "bridge": 7, "netdev": 5}
_CGROUP_FLAGS = {"override": 1, "multi": 2}


def place(options: RestoreOptions, attachment: SavedAttachment) -> str:
    """The attachment's object as it is called now, for messages."""
    if attachment.device is not None:
        return f"dev:{options.devices.get(attachment.device, attachment.device)}"
    if attachment.cgroup is not None:
        return f"cgroup:{options.cgroups.get(attachment.cgroup, attachment.cgroup)}"
    return attachment.object


def attach(maker: Maker, index: int) -> None:
    """Make attachment `index` of the manifest. KernelError where the kernel refuses, or where its object is not there."""
    attachment = maker.manifest.attachments[index]
    where = f"{attachment.kind} at {place(maker.options, attachment)}"

    def make() -> None:
        if attachment.link is not None:
            if maker.options.replace and _replaced(maker, index, attachment, where):
                return
            maker.own_link(index, _LINKS[attachment.link_type or 0](maker, attachment, where))
        else:
            _without_link(maker, attachment, where)

    try:
        in_namespace(namespace_of(maker, attachment), make)
    except OSError as error:
        hint = "--replace puts the restored program in its place" if error.errno in (errno.EBUSY, errno.EEXIST) else None
        raise KernelError(where, f"cannot attach: {error.strerror}", hint, error.errno or 0) from None


def _replaced(maker: Maker, index: int, attachment: SavedAttachment, where: str) -> bool:
    """Whether a link that is there has got the restored program; else there is room for a new one now."""
    xdp = attachment.link_type == LINK.XDP
    ifindex = _ifindex(maker, attachment, where) if xdp else 0
    there = link_there(maker, attachment, ifindex)
    if there is not None:
        maker.links[index] = maker.own(link_fd(there))
        replace_program(maker, attachment, there, where)
    elif xdp:
        make_room(maker, ifindex, _record(maker, attachment, "xdp"))
    return there is not None


def namespace_of(maker: Maker, attachment: SavedAttachment) -> str | None:
    """The path of the attachment's network namespace, as it is called now; None for the own one. KernelError where it is not there."""
    return namespace_path(maker.options, attachment.netns, attachment.netns_name, attachment.own_netns)


def _program(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    if attachment.program not in maker.programs:
        raise KernelError(where, "its program is not restored")
    return maker.programs[attachment.program]


def _attach_type(attachment: SavedAttachment) -> int:
    return attachment.attach_type or 0


def _ifindex(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    if attachment.device is None:
        raise KernelError(where, "the name of its device was not saved: it was in a network namespace that was not reached")
    return device_index(maker.options.devices.get(attachment.device, attachment.device), where)


def _number(details: dict[str, Any], key: str) -> int:
    value = details.get(key, 0)
    return value if isinstance(value, int) else int(value, 0) if isinstance(value, str) and value[:2] == "0x" else 0


# --- links ---


def _device_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    attach_type = AttachType.XDP if attachment.link_type == LINK.XDP else _attach_type(attachment)
    flags = {"xdp/generic": 2, "xdp/native": 4, "xdp/offload": 8}.get(attachment.kind, 0)
    return kernel.link_create(_program(maker, attachment, where), _ifindex(maker, attachment, where), attach_type, flags=flags, where=where)


def cgroup_path(options: RestoreOptions, attachment: SavedAttachment, where: str) -> str:
    """The directory of the attachment's cgroup; KernelError where it is not there."""
    from bpflens.snapshot.taking.cgroups import cgroup_directory

    if attachment.cgroup is None:
        raise KernelError(where, "the path of its cgroup was not saved")
    path = cgroup_directory(options.cgroups.get(attachment.cgroup, attachment.cgroup))
    if path is None or not os.path.isdir(path):
        raise KernelError(where, "there is no such cgroup", "--cgroup OLD=NEW names another", 2)
    return path


def _cgroup_fd(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    return os.open(cgroup_path(maker.options, attachment, where), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _cgroup_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    target = _cgroup_fd(maker, attachment, where)
    try:
        return kernel.link_create(_program(maker, attachment, where), target, _attach_type(attachment), where=where)
    finally:
        close(target)


def _netns_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    target = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return kernel.link_create(_program(maker, attachment, where), target, _attach_type(attachment), where=where)
    finally:
        close(target)


def _netfilter_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    details = attachment.details
    family = details.get("pf", "ip")
    number = family if isinstance(family, int) else _FAMILIES.get(str(family), 0)
    extra = struct.pack("=IIiI", number, _number(details, "hooknum"), _number(details, "priority"), _number(details, "flags"))
    return kernel.link_create(_program(maker, attachment, where), 0, AttachType.NETFILTER, extra=extra, where=where)


def _tracing_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    program = maker.saved_programs.get(attachment.program or 0)
    fd = _program(maker, attachment, where)
    if program is not None and program.type == ProgType.EXT:  # EXT: the target was given when it was loaded
        return kernel.link_create(fd, 0, 0, where=where)
    return kernel.raw_tracepoint_open(fd, "", where)


def _raw_tracepoint_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    program = maker.saved_programs.get(attachment.program or 0)
    name = "" if program is not None and program.type == ProgType.TRACING else str(attachment.details.get("tp_name", ""))
    return kernel.raw_tracepoint_open(_program(maker, attachment, where), name, where)


def _iter_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    fd, details = _program(maker, attachment, where), attachment.details
    map_id = details.get("map_id")
    if map_id is not None:
        if map_id not in maker.maps:
            raise KernelError(where, f"it goes over map {map_id}, which is not restored")
        return kernel.iterator(fd, maker.maps[map_id], where)
    return kernel.iterator(fd, 0, where)


def _perf_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    from bpflens.kernel.attachments.perf_events import open_probe, open_tracepoint

    details = attachment.details
    kind = str(details.get("perf_type", attachment.kind))
    if kind == "tracepoint":
        event = open_tracepoint(str(details.get("tp_name", attachment.object)))
    elif kind in ("kprobe", "kretprobe"):
        event = open_probe(kind, str(details.get("func_name", "")), _number(details, "offset"))
    elif kind in ("uprobe", "uretprobe"):
        event = open_probe(kind, str(details.get("file_name", "")), _number(details, "offset"))
    else:
        raise KernelError(where, "hardware and software events are opened by their own processes")
    try:
        extra = struct.pack("=Q", _number(details, "cookie"))
        return kernel.link_create(_program(maker, attachment, where), event, AttachType.PERF_EVENT, extra=extra, where=where)
    finally:
        close(event)


def _kprobe_multi_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    names = [str(name) for name in attachment.details.get("functions", ())]
    flags = _number(attachment.details, "flags")
    return kernel.multi_kprobe(_program(maker, attachment, where), AttachType.TRACE_KPROBE_MULTI, names, flags, where)


def _uprobe_multi_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    details = attachment.details
    offsets = [offset for offset in details.get("offsets", ()) if isinstance(offset, int)]
    flags, pid = _number(details, "flags"), _number(details, "pid")
    program, path = _program(maker, attachment, where), str(details.get("path", ""))
    return kernel.multi_uprobe(program, AttachType.TRACE_UPROBE_MULTI, path, offsets, flags, pid, where)


def _struct_ops_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    if attachment.map not in maker.maps:
        raise KernelError(where, "its map is not restored")
    return kernel.link_create(maker.maps[attachment.map], 0, AttachType.STRUCT_OPS, where=where)


def _sockmap_link(maker: Maker, attachment: SavedAttachment, where: str) -> int:
    map_id = attachment.map or attachment.details.get("map_id")
    if map_id not in maker.maps:
        raise KernelError(where, "its map is not restored")
    return kernel.link_create(_program(maker, attachment, where), maker.maps[map_id], _attach_type(attachment), where=where)


_LINKS: dict[int, Callable[[Maker, SavedAttachment, str], int]] = {
    LINK.XDP: _device_link, LINK.TCX: _device_link, LINK.NETKIT: _device_link, LINK.CGROUP: _cgroup_link, LINK.NETNS: _netns_link,
    LINK.NETFILTER: _netfilter_link, LINK.TRACING: _tracing_link, LINK.RAW_TRACEPOINT: _raw_tracepoint_link, LINK.ITER: _iter_link,
    LINK.PERF_EVENT: _perf_link, LINK.KPROBE_MULTI: _kprobe_multi_link, LINK.UPROBE_MULTI: _uprobe_multi_link,
    LINK.STRUCT_OPS: _struct_ops_link, LINK.SOCKMAP: _sockmap_link,
}  # fmt: skip


# --- attachments that are no links ---


def _without_link(maker: Maker, attachment: SavedAttachment, where: str) -> None:
    kind = attachment.kind
    if kind.startswith("xdp/"):
        _xdp(maker, attachment, where)
    elif kind in ("tc/ingress", "tc/egress"):
        _tc(maker, attachment, where)
    elif kind.startswith("cgroup/"):
        _cgroup(maker, attachment, where)
    elif kind.startswith(("tcx/", "netkit/")):
        ifindex = _ifindex(maker, attachment, where)
        _attach_program(maker, attachment, where, ifindex, {"ifindex": ifindex})
    elif kind == "flow_dissector":
        _attach_program(maker, attachment, where, 0, {})
    elif kind.startswith("sockmap/"):
        if attachment.map not in maker.maps:
            raise KernelError(where, "its map is not restored")
        target = maker.maps[attachment.map]
        _attach_program(maker, attachment, where, target, {"map": map_by_fd(target, types=False).id})
    elif kind != "struct_ops":  # registered by its value
        raise InputError(where, "this kind cannot be attached without a link")


def _record(maker: Maker, attachment: SavedAttachment, do: str, **facts: Any) -> dict[str, Any]:
    """What the journal has to know: the namespace too, as a path."""
    path = namespace_of(maker, attachment)
    return {"do": do, **({"netns": path} if path else {}), **facts}


def _attach_program(
    maker: Maker, attachment: SavedAttachment, where: str, target: int, facts: dict[str, Any], flags: int = 0
) -> None:
    fd, number = _program(maker, attachment, where), _attach_type(attachment)
    former = former_program(target, number) if "ifindex" not in facts and not flags & MULTI else None
    if former is not None:
        if not maker.options.replace:
            raise FileExistsError(errno.EEXIST, "File exists")
        facts |= {"aside": aside(maker, former.id), "flags": former.flags}
    maker.about_to(_record(maker, attachment, "attach", type=number, program=prog_info_by_fd(fd).id, **facts))
    if former is not None:
        put_aside(maker, former.id, facts["aside"])
    kernel.prog_attach(target, fd, number, flags=flags, where=where)


def _xdp(maker: Maker, attachment: SavedAttachment, where: str) -> None:
    ifindex, fd = _ifindex(maker, attachment, where), _program(maker, attachment, where)
    mode = attachment.kind.partition("/")[2]
    before, link, _ = xdp_there(ifindex) if maker.options.replace else (0, None, "")
    if link is not None:
        hint = "--no-attach leaves attachments out"
        raise KernelError(where, f"link:{link} has its program there, which only its holder can take off", hint)
    facts = {"aside": aside(maker, before)} if before else {}
    maker.about_to(_record(maker, attachment, "xdp", ifindex=ifindex, mode=mode, program=prog_info_by_fd(fd).id, **facts))
    if before:
        put_aside(maker, before, facts["aside"])
    set_xdp(ifindex, fd, mode, replace=maker.options.replace)


def occupied(ifindex: int, attachment: SavedAttachment) -> str:
    """What is at the attachment's place on a device of this network namespace and lets nothing else be there; "" for nothing."""
    if attachment.kind.startswith("xdp/"):
        program, link, _ = xdp_there(ifindex)
        return f"program {program}" + (f", link {link}" if link else "") if program else ""
    if attachment.link is None and attachment.kind.startswith("tc/") and str(attachment.details.get("parent")) in PARENTS:
        return "a filter" if has_clsact(ifindex) and filter_at(ifindex, _tc_filter(attachment.details)) else ""
    return ""


def occupied_hook(options: RestoreOptions, attachment: SavedAttachment, where: str) -> tuple[str, tuple[str, ...]]:
    """What a program on a cgroup or on the thread's network namespace meets there, and the options that help; ("", ()) for nothing."""
    target = 0
    if attachment.kind.startswith("cgroup/"):
        target = os.open(cgroup_path(options, attachment, where), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        former = former_program(target, _attach_type(attachment))
    finally:
        if target:
            close(target)
    if former is None:
        return "", ()
    alone = attachment.link is None and not _attach_flags(attachment) & MULTI
    return f"program {former.id}", ("--replace", "--no-attach") if alone else ("--no-attach",)


def _attach_flags(attachment: SavedAttachment) -> int:
    return _CGROUP_FLAGS.get(str(attachment.details.get("attach_flags", "")), 0)


def _tc_filter(details: dict[str, Any]) -> TcFilter:
    major, _, minor = str(details.get("classid", "0:0")).partition(":")
    return TcFilter(
        str(details["parent"]), _number(details, "prio"), _number(details, "handle"), _number(details, "protocol") or 3,
        _number(details, "chain"), str(details.get("name", "")), bool(details.get("direct_action")),
        int(major, 16) << 16 | int(minor or "0", 16),
    )  # fmt: skip


def _tc(maker: Maker, attachment: SavedAttachment, where: str) -> None:
    details = attachment.details
    if str(details.get("parent")) not in PARENTS or attachment.device is None:
        raise KernelError(where, "bpflens restores classifiers of clsact only")
    ifindex = _ifindex(maker, attachment, where)
    filter = _tc_filter(details)
    classic = maker.archive.read(attachment.classic, 1 << 16) if attachment.classic else b""
    fd = -1 if classic else _program(maker, attachment, where)
    if not has_clsact(ifindex):
        maker.about_to(_record(maker, attachment, "clsact", ifindex=ifindex))
        add_clsact(ifindex)
    there = filter_at(ifindex, filter)
    if there is not None and not maker.options.replace:
        raise FileExistsError(errno.EEXIST, "File exists")
    program = prog_info_by_fd(fd).id if fd >= 0 else None
    facts = _former_filter(maker, there, where) if there is not None else {}
    maker.about_to(_record(maker, attachment, "filter", ifindex=ifindex, filter=list(filter), program=program, **facts))
    if there is not None and there.prog_id:
        put_aside(maker, there.prog_id, facts["aside"])
    add_filter(ifindex, filter, fd, classic, replace=maker.options.replace)


def _former_filter(maker: Maker, there: Standing, where: str) -> dict[str, Any]:
    """What the journal needs to put a classifier back."""
    if there.kind != "bpf":
        raise KernelError(where, f"a {there.kind} filter is in its place, which no BPF classifier can replace", "take it off with tc")
    if there.prog_id:
        return {"before": list(there.filter), "aside": aside(maker, there.prog_id)}
    return {"before": list(there.filter), "code": (there.code or b"").hex()}


def _cgroup(maker: Maker, attachment: SavedAttachment, where: str) -> None:
    target = maker.own(_cgroup_fd(maker, attachment, where))
    flags = _attach_flags(attachment)
    path = os.readlink(f"/proc/self/fd/{target}")
    _attach_program(maker, attachment, where, target, {"path": path}, flags)

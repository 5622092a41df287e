"""Links: what ties a program to its hook and survives the process, as far as struct bpf_link_info tells.

Layout: include/uapi/linux/bpf.h, filled per type by the fill_link_info() callbacks (v6.18). A type that is newer than this table has its
number and no further facts. Types of links: isa/extended/names.py, LINK_TYPES.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.kernel.sys.bpf import Buffer, all_ids, cmd, info_by_fd, opened
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Again = Callable[..., dict[str, bytes]]
    _Reader = Callable[[bytes, _Again], dict[str, Any]]

__all__ = ("LinkInfo", "link_by_fd", "link_ids", "link_info")

_SIZE = 128
_STRING = 4096
_ARRAY_LIMIT = 1 << 20  # more attach points than any multi link has


PERF_TYPES = {1: "uprobe", 2: "uretprobe", 3: "kprobe", 4: "kretprobe", 5: "tracepoint", 6: "event"}  # enum bpf_perf_event_type
_PROTOCOL_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # NFPROTO_*


class LinkInfo(NamedTuple):
    """A link. `prog_id` is 0 for struct_ops links (see `facts["map_id"]`). `attach_type` (enum bpf_attach_type) where the link says it.

    `facts` in the kernel's spelling: ifindex, cgroup_id, netns_ino, map_id, tp_name, target_name, target_obj_id, target_btf_id,
    perf_type, func_name, file_name, offset, addrs, cookies, pf, hooknum, priority, flags ...
    """

    id: int
    type: int
    prog_id: int
    attach_type: int | None = None
    facts: Mapping[str, Any] = {}


def link_ids() -> list[int]:
    """Ids of all links, ascending (v5.8). KernelError without CAP_SYS_ADMIN."""
    return all_ids(cmd.LINK_GET_NEXT_ID)


def link_info(id: int) -> LinkInfo:
    """Link `id`; NotFound where it is gone."""
    with opened(cmd.LINK_GET_FD_BY_ID, id, f"link:{id}") as fd:
        return link_by_fd(fd, f"link:{id}")


def link_by_fd(fd: int, where: str = "") -> LinkInfo:
    """The link behind a descriptor."""
    where = where or f"fd {fd}"
    buffer = Buffer(_SIZE)
    length = info_by_fd(fd, buffer, where)
    raw = buffer.bytes
    type, id, prog_id = struct.unpack_from("=III", raw)
    reader = _READERS.get(type)
    if reader is None:
        return LinkInfo(id, type, prog_id)

    def again(**pointers: tuple[int, int, int]) -> dict[str, bytes]:
        """Ask once more with buffers: name -> (offset of the pointer, offset of the length, bytes per item)."""
        request, buffers = bytearray(_SIZE), {}
        for name, (at, length_at, size) in pointers.items():
            count = min(int.from_bytes(raw[length_at : length_at + 4], "little") if size > 1 else _STRING, _ARRAY_LIMIT)
            buffers[name] = Buffer(count * size)
            struct.pack_into("=Q", request, at, buffers[name].address if count else 0)
            struct.pack_into("=I", request, length_at, count)
        answer = Buffer(bytes(request))
        info_by_fd(fd, answer, where)
        return {name: buffer.bytes for name, buffer in buffers.items()}

    facts = reader(raw[:length].ljust(_SIZE, b"\0"), again)
    attach_type = facts.pop("attach_type", None)
    return LinkInfo(id, type, prog_id, attach_type, facts)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _fixed(format: str, *names: str) -> _Reader:
    """Facts at the start of the union: `format` of struct, names of the items in turn."""
    layout = struct.Struct("=" + format)
    return lambda raw, again: dict(zip(names, layout.unpack_from(raw, 16), strict=True))


def _raw_tracepoint(raw: bytes, again: _Again) -> dict[str, Any]:
    return {"tp_name": _text(again(name=(16, 24, 1))["name"])}


def _iter(raw: bytes, again: _Again) -> dict[str, Any]:
    target = _text(again(name=(16, 24, 1))["name"])
    facts: dict[str, Any] = {"target_name": target}
    if target in ("bpf_map_elem", "bpf_sk_storage_map"):
        facts["map_id"] = struct.unpack_from("=I", raw, 28)[0]  # in a union of its own, before that of cgroups and tasks
    elif target == "cgroup":
        facts["cgroup_id"], facts["order"] = struct.unpack_from("=QI", raw, 32)
    elif target in ("task", "task_file", "task_vma"):
        facts["tid"], facts["pid"] = struct.unpack_from("=II", raw, 32)
    return facts


def _perf_event(raw: bytes, again: _Again) -> dict[str, Any]:
    kind = struct.unpack_from("=I", raw, 16)[0]
    facts: dict[str, Any] = {"perf_type": PERF_TYPES.get(kind, kind)}
    if kind in (1, 2):
        offset, cookie, ref_ctr_offset = struct.unpack_from("=IQQ", raw, 36)
        facts |= {"file_name": _text(again(name=(24, 32, 1))["name"]), "offset": offset, "cookie": cookie, "ref_ctr_offset": ref_ctr_offset}
    elif kind in (3, 4):
        offset, addr, missed, cookie = struct.unpack_from("=IQQQ", raw, 36)
        facts |= {"func_name": _text(again(name=(24, 32, 1))["name"]), "offset": offset, "addr": addr, "missed": missed, "cookie": cookie}
    elif kind == 5:
        facts |= {"tp_name": _text(again(name=(24, 32, 1))["name"]), "cookie": struct.unpack_from("=Q", raw, 40)[0]}
    elif kind == 6:
        config, event_type, _, cookie = struct.unpack_from("=QIIQ", raw, 24)
        facts |= {"config": config, "event_type": event_type, "cookie": cookie}
    return facts


def _kprobe_multi(raw: bytes, again: _Again) -> dict[str, Any]:
    count, flags, missed = struct.unpack_from("=IIQ", raw, 24)
    addrs = again(addrs=(16, 24, 8))["addrs"] if count else b""
    shown = [address for (address,) in struct.iter_unpack("=Q", addrs) if address]
    return {"count": count, "flags": flags, "missed": missed, "addrs": shown}


def _uprobe_multi(raw: bytes, again: _Again) -> dict[str, Any]:
    count, flags, pid = struct.unpack_from("=III", raw, 52)
    path = _text(again(path=(16, 48, 1))["path"])
    offsets = again(offsets=(24, 52, 8))["offsets"] if count else b""
    return {"path": path, "count": count, "flags": flags, "pid": pid, "offsets": [at for (at,) in struct.iter_unpack("=Q", offsets)]}


def _netfilter(raw: bytes, again: _Again) -> dict[str, Any]:
    pf, hooknum, priority, flags = struct.unpack_from("=IIiI", raw, 16)
    return {"pf": _PROTOCOL_FAMILIES.get(pf, pf), "hooknum": hooknum, "priority": priority, "flags": flags}


_READERS: dict[int, _Reader] = {
    LINK.RAW_TRACEPOINT: _raw_tracepoint,
    LINK.TRACING: _fixed("III", "attach_type", "target_obj_id", "target_btf_id"),
    LINK.CGROUP: _fixed("QI", "cgroup_id", "attach_type"),
    LINK.ITER: _iter,
    LINK.NETNS: _fixed("II", "netns_ino", "attach_type"),
    LINK.XDP: _fixed("I", "ifindex"),
    LINK.PERF_EVENT: _perf_event,
    LINK.KPROBE_MULTI: _kprobe_multi,
    LINK.STRUCT_OPS: _fixed("I", "map_id"),
    LINK.NETFILTER: _netfilter,
    LINK.TCX: _fixed("II", "ifindex", "attach_type"),
    LINK.UPROBE_MULTI: _uprobe_multi,
    LINK.NETKIT: _fixed("II", "ifindex", "attach_type"),
    LINK.SOCKMAP: _fixed("II", "map_id", "attach_type"),
}

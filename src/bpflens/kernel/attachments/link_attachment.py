"""A link in words: the kind of attachment and the object that it hangs on, as the inventory spells them.

    LinkInfo(type=tcx, ifindex=5, attach_type=46)  ->  Attachment("tcx/ingress", "ifindex:5", details={"link": 3})

A link of a device does not say in which network namespace the device is (include/uapi/linux/bpf.h, struct bpf_link_info), so the index
is given as such and not turned into the name that it has here.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.attachment import Attachment
from bpflens.isa.extended.names import ATTACH_TYPES, LINK_TYPES, type_name
from bpflens.isa.extended.uapi import AttachType
from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.kernel.attachments.links import LinkInfo

__all__ = ("link_attachment",)

_HOOKS = {
    AttachType.TCX_INGRESS: "tcx/ingress", AttachType.TCX_EGRESS: "tcx/egress", AttachType.NETKIT_PRIMARY: "netkit/primary",
    AttachType.NETKIT_PEER: "netkit/peer",
}  # fmt: skip
_NETFILTER_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_FREPLACE = 0  # links of freplace programs report attach type 0 and the target *program's* id


def link_attachment(link: LinkInfo) -> Attachment:
    """What the link ties its program to. `details` has the link's id and its facts in the kernel's spelling."""
    describe = _WORDS.get(link.type)
    kind, object = describe(link) if describe else (type_name(LINK_TYPES, link.type), "")
    details = {"link": link.id, **link.facts}
    return Attachment(kind, object, netns=link.facts.get("netns_ino"), details=details)


def _attach_name(link: LinkInfo) -> str:
    return type_name(ATTACH_TYPES, link.attach_type)


def _device(link: LinkInfo) -> tuple[str, str]:
    kind = "xdp" if link.type == LINK.XDP else _HOOKS.get(link.attach_type or 0, _attach_name(link))
    return kind, f"ifindex:{link.facts['ifindex']}" if link.facts["ifindex"] else "(detached, or its device is gone)"


def _place(prefix: str, number: int, word: str) -> str:
    return f"{prefix}:{number}" if number else f"(detached, or its {word} is gone)"


def _cgroup(link: LinkInfo) -> tuple[str, str]:
    name, id = _attach_name(link), link.facts["cgroup_id"]
    kind = name if name == "lsm_cgroup" else f"cgroup/{name.removeprefix('cgroup_')}"
    if not id:
        return kind, "(detached, or its cgroup is gone)"
    path = _cgroup_path(id)
    return kind, f"cgroup:{path}" if path else f"cgroup id {id}"


def _tracing(link: LinkInfo) -> tuple[str, str]:
    from bpflens.kernel.btf import func_name

    obj, type_id = link.facts["target_obj_id"], link.facts["target_btf_id"]
    if link.attach_type == _FREPLACE:
        return "freplace", f"id:{obj}"
    name = _attach_name(link).removeprefix("trace_")
    return f"tracing/{name}", func_name(obj, type_id) or f"type {type_id} of BTF {obj}"


def _perf_event(link: LinkInfo) -> tuple[str, str]:
    facts = link.facts
    kind = str(facts["perf_type"])
    if "func_name" in facts:
        return kind, (facts["func_name"] or f"{facts['addr']:#x}") + (f"+{facts['offset']:#x}" if facts["offset"] else "")
    if "file_name" in facts:
        return kind, f"{facts['file_name']}+{facts['offset']:#x}"
    if "tp_name" in facts:
        return kind, facts["tp_name"]
    return "perf_event", f"type {facts['event_type']} config {facts['config']:#x}" if "config" in facts else ""


def _multi(link: LinkInfo) -> tuple[str, str]:
    if link.type == LINK.KPROBE_MULTI:
        return "kprobe_multi", f"{link.facts['count']} functions"
    return "uprobe_multi", f"{link.facts['path']} ({link.facts['count']} places)"


def _netfilter(link: LinkInfo) -> tuple[str, str]:
    number = link.facts["hooknum"]
    hook = _NETFILTER_HOOKS[number] if number < len(_NETFILTER_HOOKS) else str(number)
    return "netfilter", f"hook:{link.facts['pf']}/{hook}"


def _iter(link: LinkInfo) -> tuple[str, str]:
    facts = link.facts
    over = f" of map:{facts['map_id']}" if "map_id" in facts else f" of cgroup id {facts['cgroup_id']}" if facts.get("cgroup_id") else ""
    return "iter", facts["target_name"] + over


_WORDS: dict[int, Callable[[LinkInfo], tuple[str, str]]] = {
    LINK.RAW_TRACEPOINT: lambda link: ("raw_tracepoint", link.facts["tp_name"]),
    LINK.TRACING: _tracing,
    LINK.CGROUP: _cgroup,
    LINK.ITER: _iter,
    LINK.NETNS: lambda link: (_attach_name(link), _place("netns", link.facts["netns_ino"], "namespace")),
    LINK.XDP: _device,
    LINK.PERF_EVENT: _perf_event,
    LINK.KPROBE_MULTI: _multi,
    LINK.STRUCT_OPS: lambda link: ("struct_ops", f"map:{link.facts['map_id']}"),
    LINK.NETFILTER: _netfilter,
    LINK.TCX: _device,
    LINK.UPROBE_MULTI: _multi,
    LINK.NETKIT: _device,
    LINK.SOCKMAP: lambda link: (_attach_name(link), _place("map", link.facts["map_id"], "map")),
}


def _cgroup_path(id: int) -> str | None:
    """The path of a cgroup below the cgroup2 mount, by its id, which is the inode of its directory."""
    import os

    from bpflens.kernel.sys.procfs import mounts

    for mount in mounts("self"):
        if mount.type != "cgroup2":
            continue
        for directory, _, _ in os.walk(mount.point):
            try:
                if os.stat(directory).st_ino == id:
                    return "/" + os.path.relpath(directory, mount.point).removeprefix(".").lstrip("/")
            except OSError:
                continue
    return None

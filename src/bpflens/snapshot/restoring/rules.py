"""What can be restored of a map or an attachment, as tables: the answers of the plan, with their reasons; and what it takes."""

from __future__ import annotations

from collections.abc import Collection

from bpflens.formats.snapshot.manifest import SavedAttachment, SavedMap
from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.kernel.sys.capabilities import effective

__all__ = ("LINKS", "data_is_lost", "data_is_written", "hook_is_lost", "map_is_lost", "missing_capabilities")

_DATA_LOST = {
    MapType.PERF_EVENT_ARRAY: "perf events belong to processes: it is made empty, and its processes put theirs in again",
    MapType.STACK_TRACE: "stack traces cannot be written: it is made empty and fills with traffic",
    MapType.SOCKMAP: "sockets cannot be made again: it is made empty",
    MapType.XSKMAP: "AF_XDP sockets belong to processes: it is made empty",
    MapType.SOCKHASH: "sockets cannot be made again: it is made empty",
    MapType.CGROUP_STORAGE: "its elements appear when programs are attached to cgroups: it is made empty",
    MapType.REUSEPORT_SOCKARRAY: "sockets cannot be made again: it is made empty",
    MapType.PERCPU_CGROUP_STORAGE: "its elements appear when programs are attached to cgroups: it is made empty",
    MapType.SK_STORAGE: "its values belong to sockets, which cannot be made again: it is made empty (the snapshot has them, by cookie)",
    MapType.RINGBUF: "unread records cannot be put into a ring buffer: it is made empty (the snapshot has them)",
    MapType.INODE_STORAGE: "its values belong to inodes, whose paths are not known: it is made empty (saved by device and inode)",
    MapType.TASK_STORAGE: "its values belong to processes, which are not restored: it is made empty (the snapshot has them, by pid)",
    MapType.BLOOM_FILTER: "a bloom filter keeps no keys: it is made empty, fill it from the source of its data",
    MapType.USER_RINGBUF: "its unread records belong to its producer: it is made empty (the snapshot has them)",
}
_HOOK_LOST = {
    "socket": "a filter belongs to its socket, which a process made: the process attaches it again",
    "seccomp": "a seccomp filter belongs to its process and goes with it",
    "fanout": "a fanout group belongs to its sockets",
    "tap": "a tap device's filter belongs to the process that holds it",
    "tun": "a tun device's program belongs to the process that holds it",
    "reuseport": "a reuseport group belongs to its sockets",
    "kcm": "a multiplexer belongs to its sockets",
    "ppp": "a PPP filter belongs to its process",
    "lwt": "bpflens makes no routes: add it with ip route, from the pinned program",
    "seg6local": "bpflens makes no routes: add it with ip route, from the pinned program",
    "xt_bpf": "bpflens makes no firewall rules: iptables-restore does, from the pinned program",
    "team": "a team device gets its function from its own daemon",
    "lirc_mode2": "attach it with ir-keytable",
    "ptp_classifier": "the kernel makes it itself",
    "tc/action": "bpflens makes no actions: add it with tc, from the pinned program",
    "tc/cls": "bpflens restores classifiers of clsact only: add it with tc, from the pinned program",
    "xdp/devmap": "",
    "xdp/cpumap": "",
    "prog_array": "",
    "iter": "",
}  # "": part of a map that is restored, or restored by its link
LINKS = frozenset({
    LINK.RAW_TRACEPOINT, LINK.TRACING, LINK.CGROUP, LINK.ITER, LINK.NETNS, LINK.XDP, LINK.PERF_EVENT, LINK.KPROBE_MULTI,
    LINK.STRUCT_OPS, LINK.NETFILTER, LINK.TCX, LINK.UPROBE_MULTI, LINK.NETKIT, LINK.SOCKMAP,
})  # fmt: skip
_IN_NAMESPACE = frozenset({LINK.XDP, LINK.TCX, LINK.NETKIT, LINK.NETFILTER, LINK.NETNS})
_WITHOUT_LINK = ("xdp/", "tc/ingress", "tc/egress", "cgroup/", "flow_dissector", "sockmap/", "struct_ops", "tcx/", "netkit/")

_NETWORK = frozenset({
    ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.XDP, ProgType.LWT_IN, ProgType.LWT_OUT, ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL,
    ProgType.SK_SKB, ProgType.SK_MSG, ProgType.FLOW_DISSECTOR, ProgType.CGROUP_DEVICE, ProgType.CGROUP_SOCK, ProgType.CGROUP_SOCK_ADDR,
    ProgType.CGROUP_SOCKOPT, ProgType.CGROUP_SYSCTL, ProgType.SOCK_OPS, ProgType.EXT, ProgType.NETFILTER,
})  # fmt: skip
"""is_net_admin_prog_type, kernel/bpf/syscall.c 6.18."""
_TRACING = frozenset({
    ProgType.KPROBE, ProgType.TRACEPOINT, ProgType.PERF_EVENT, ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE,
    ProgType.TRACING, ProgType.LSM, ProgType.STRUCT_OPS, ProgType.EXT,
})  # fmt: skip
"""is_perfmon_prog_type."""


def map_is_lost(map: SavedMap) -> str:
    """Why a map cannot be made at all; "" where it can."""
    if map.ifindex:
        return "it is offloaded to a network device"
    if map.type == MapType.STRUCT_OPS and not map.struct:
        return "the kernel's structure in it could not be read"
    if map.type == MapType.STRUCT_OPS and map.data is None:
        return "the structure in it was not saved"
    if map.type in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS) and map.inner is None:
        return "what its inner maps must be like could not be read"
    return ""


def data_is_lost(map: SavedMap, cpus: int) -> str:
    """Why the contents, or a part of them, do not come back; "" where they do."""
    reason = _DATA_LOST.get(map.type, "")
    if reason:
        return reason
    if map.data is None:
        return map.why_no_data or "no contents were saved"
    if map.data.cpus > cpus:
        return f"it was saved with {map.data.cpus} CPUs, this machine has {cpus}: the parts of the others are left out"
    return ""


def data_is_written(map: SavedMap) -> bool:
    """Whether the contents are written back."""
    return map.data is not None and map.type not in _DATA_LOST


def hook_is_lost(attachment: SavedAttachment) -> str | None:
    """Why an attachment is not made again; None where it is, "" where it comes with something else."""
    kind = attachment.kind
    for prefix in (kind, kind.split("/", 1)[0]):
        if prefix in _HOOK_LOST and not (prefix == "iter" and attachment.link):
            return _HOOK_LOST[prefix]
    if attachment.program is None and attachment.map is None and attachment.classic is None:
        return "the kernel did not say which program"
    if attachment.link is not None:
        if attachment.link_type in _IN_NAMESPACE and attachment.netns is None:
            return "the kernel did not say its network namespace (save --deep may find it)"
        if attachment.link_type == LINK.CGROUP and attachment.cgroup is None:
            return "its cgroup is gone"
        if attachment.link_type in (LINK.XDP, LINK.TCX, LINK.NETKIT) and attachment.device is None:
            return "its device is gone"
        if attachment.link_type == LINK.KPROBE_MULTI and not attachment.details.get("functions"):
            return "the kernel did not show the functions"
        return None if attachment.link_type in LINKS else f"links of type {attachment.link_type} are not known"
    return None if kind.startswith(_WITHOUT_LINK) else f"attachments of kind {kind} without a link are not made"


def missing_capabilities(program_types: Collection[int], *, objects: bool, namespaces: bool) -> tuple[tuple[str, str], ...]:
    """(name, what for) of each. `objects`: programs or maps are made; `namespaces`: other network namespaces are entered.

    CAP_SYS_ADMIN stands for CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN where objects are made
    (kernel/bpf/syscall.c 6.18: bpf_prog_load, map_create).
    """
    held = effective()
    wanted = (
        ("BPF", "to make programs and maps", objects),
        ("NET_ADMIN", "to load network programs", any(type in _NETWORK for type in program_types)),
        ("PERFMON", "to load tracing programs", any(type in _TRACING for type in program_types)),
    )
    missing = [(f"CAP_{name}", why) for name, why, needed in wanted if needed and not {name, "SYS_ADMIN"} & held]
    if namespaces and "SYS_ADMIN" not in held:
        missing.append(("CAP_SYS_ADMIN", "to enter other network namespaces"))
    return tuple(missing)

"""The table of families: which module finds which kinds, and where it has to look.

To add a kind of attachment: write `find(ctx)` in a file of its own and add a row. Families with `per_netns` are called once in every
network namespace, the others once. Order matters only between those that claim (sockets, links) and those that take the rest.
"""

from __future__ import annotations

from bpflens.isa.extended.uapi import ProgType as PROG
from bpflens.lean import NamedTuple

__all__ = ("DEEP_FAMILIES", "FAMILIES", "OF_NAMESPACES", "SERVED_BY", "Family")


class Family(NamedTuple):
    """One row: `module` below inventory/, `function` in it, the `kinds` that it yields (prefixes), `what` and `needs` for messages.

    `types`: the program types that can be there, so that nothing is asked where none of them is loaded; none: also classic programs.
    """

    module: str
    function: str
    kinds: tuple[str, ...]
    per_netns: bool
    what: str
    needs: str
    types: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """A name for it: "memory.structures.tun.find"."""
        return f"{self.module}.{self.function}"


_LWT = (PROG.LWT_IN, PROG.LWT_OUT, PROG.LWT_XMIT, PROG.LWT_SEG6LOCAL)
_OF_CGROUPS = (
    PROG.CGROUP_SKB, PROG.CGROUP_SOCK, PROG.SOCK_OPS, PROG.CGROUP_DEVICE, PROG.CGROUP_SOCK_ADDR, PROG.CGROUP_SYSCTL, PROG.CGROUP_SOCKOPT,
    PROG.LSM,
)  # fmt: skip
_OF_MAPS = (PROG.XDP, PROG.SK_SKB, PROG.SK_MSG, PROG.STRUCT_OPS)

FAMILIES = (
    Family("finders.network.sockets", "find_packet", ("socket/packet", "fanout"), True, "packet sockets", "CAP_NET_ADMIN"),
    Family("finders.network.xdp", "find", ("xdp",), True, "XDP programs", "CAP_NET_ADMIN", (PROG.XDP,)),
    Family("finders.network.tcx", "find", ("tcx", "netkit"), True, "tcx and netkit programs", "CAP_NET_ADMIN", (PROG.SCHED_CLS,)),
    Family("finders.network.tc", "find", ("tc",), True, "traffic control", "CAP_NET_ADMIN"),
    Family("finders.network.routes", "find", ("lwt", "seg6local"), True, "routes", "CAP_NET_ADMIN", _LWT),
    Family(
        "finders.network.netns_progs", "find", ("flow_dissector", "sk_lookup"), True, "programs of network namespaces", "CAP_NET_ADMIN",
        (PROG.FLOW_DISSECTOR, PROG.SK_LOOKUP),
    ),
    Family("finders.network.netfilter", "find", ("netfilter",), True, "netfilter hooks", "CAP_NET_ADMIN", (PROG.NETFILTER,)),
    Family("finders.network.xtables", "find_legacy", ("xt_bpf",), True, "iptables rules", "CAP_NET_ADMIN and CAP_NET_RAW"),
    Family("finders.network.xtables", "find_nft", ("xt_bpf",), True, "nftables rules", "CAP_NET_ADMIN"),
    Family("finders.network.team", "find", ("team",), True, "team devices", "CAP_NET_ADMIN"),
    Family("finders.network.sockets", "find_sockets", ("socket",), False, "socket filters", "CAP_SYS_PTRACE"),
    Family("finders.network.sockets", "find_unheld", ("socket",), True, "sockets that no descriptor leads to", "CAP_NET_ADMIN"),
    Family("finders.network.tun", "find", ("tap",), False, "tap devices", "CAP_SYS_PTRACE"),
    Family("finders.seccomp", "find", ("seccomp",), False, "seccomp filters", "CAP_SYS_ADMIN and CAP_SYS_PTRACE"),
    Family("finders.cgroups", "find", ("cgroup", "lsm_cgroup"), False, "programs on cgroups", "CAP_NET_ADMIN", _OF_CGROUPS),
    Family(
        "finders.maps", "find", ("xdp/devmap", "xdp/cpumap", "sockmap", "struct_ops"), False, "programs on maps", "CAP_SYS_ADMIN", _OF_MAPS,
    ),
    Family("finders.perf", "find", (
        "tracepoint", "kprobe", "kretprobe", "uprobe", "uretprobe",
    ), False, "programs on perf events", "CAP_SYS_ADMIN", (PROG.KPROBE, PROG.TRACEPOINT, PROG.PERF_EVENT)),
    Family("finders.lirc", "find", ("lirc_mode2",), False, "programs on infrared receivers", "CAP_NET_ADMIN", (PROG.LIRC_MODE2,)),
    Family("finders.links", "find", (
        "netfilter", "tracing", "freplace", "raw_tracepoint", "tp_btf", "iter", "perf_event", "kprobe", "kretprobe", "uprobe", "uretprobe",
        "tracepoint", "kprobe_multi", "uprobe_multi", "xdp", "tcx", "netkit", "cgroup", "lsm_cgroup", "flow_dissector", "sk_lookup",
        "sockmap", "link",
    ), False, "links", "CAP_SYS_ADMIN"),
    Family("finders.maps", "find_prog_arrays", ("prog_array",), False, "tail calls", "CAP_SYS_ADMIN"),
)  # fmt: skip

_MEMORY = "CAP_BPF and CAP_PERFMON"
DEEP_FAMILIES = (
    Family("memory.structures.sockets", "find", ("socket", "reuseport", "fanout", "kcm"), False, "sockets in kernel memory", _MEMORY),
    Family("memory.structures.kept", "find_in_flight", ("socket",), True, "sockets in flight between processes", _MEMORY),
    Family("memory.structures.sockets", "find_lists", ("socket",), True, "sockets that no descriptor leads to", _MEMORY),
    Family("memory.structures.kept", "find_io_uring", ("socket",), False, "sockets of io_uring", _MEMORY),
    Family("memory.structures.tun", "find", ("tun", "tap"), True, "tun devices in kernel memory", _MEMORY),
    Family("memory.structures.tasks", "find_seccomp", ("seccomp",), False, "seccomp filters in kernel memory", _MEMORY),
    Family("memory.structures.tasks", "find_perf", ("perf_event",), False, "perf events in kernel memory", _MEMORY),
    Family("memory.structures.tasks", "find_ppp", ("ppp",), False, "PPP filters in kernel memory", _MEMORY),
    Family("memory.structures.builtin", "find", ("ptp_classifier",), False, "the kernel's own programs", _MEMORY),
    Family("memory.structures.routes", "find", ("lwt",), True, "routes in kernel memory", _MEMORY),
)
# What a family that asks the kernel's interfaces may find that it cannot tell the whole of -> the family that reads it from kernel memory.
SERVED_BY = {
    "sockets": ("memory.structures.sockets.find",),
    "unheld sockets": ("memory.structures.sockets.find_lists", "memory.structures.kept.find_in_flight"),
    "io_uring": ("memory.structures.kept.find_io_uring",),
    "tun": ("memory.structures.tun.find",),
    "perf": ("memory.structures.tasks.find_perf",),
    "ppp": ("memory.structures.tasks.find_ppp",),
    "routes": ("memory.structures.routes.find",),
    "seccomp": ("memory.structures.tasks.find_seccomp",),
}
# Kinds of rows that are found in network namespaces.
OF_NAMESPACES = tuple(kind for family in FAMILIES if family.per_netns for kind in family.kinds)

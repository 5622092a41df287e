"""What the name of a section says of its programs: the SEC() table of libbpf (libbpf 1.6, src/libbpf.c, section_defs).

"NAME" stands for itself; "NAME+" also for "NAME/anything", where the rest names what to attach to. A leading "?" means that libbpf
does not load the program by itself. Objects from before libbpf 1.0 also used any name that starts with a known one
("xdp_drop", "classifier/foo"): that is the second, weaker match.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("SECTIONS", "Sec", "section_type")


class Sec(NamedTuple):
    """One row: section name, enum bpf_prog_type, enum bpf_attach_type (None: left at 0 and without meaning), what else it implies."""

    name: str
    prog_type: int
    attach_type: int | None = None
    flags: tuple[str, ...] = ()


class _P:
    """enum bpf_prog_type, include/uapi/linux/bpf.h."""

    SOCKET_FILTER, KPROBE, SCHED_CLS, SCHED_ACT, TRACEPOINT, XDP, PERF_EVENT, CGROUP_SKB, CGROUP_SOCK, LWT_IN, LWT_OUT = range(1, 12)
    LWT_XMIT, SOCK_OPS, SK_SKB, CGROUP_DEVICE, SK_MSG, RAW_TRACEPOINT, CGROUP_SOCK_ADDR, LWT_SEG6LOCAL, LIRC_MODE2 = range(12, 21)
    SK_REUSEPORT, FLOW_DISSECTOR, CGROUP_SYSCTL, RAW_TRACEPOINT_WRITABLE, CGROUP_SOCKOPT, TRACING, STRUCT_OPS, EXT = range(21, 29)
    LSM, SK_LOOKUP, SYSCALL, NETFILTER = range(29, 33)


class _A:
    """enum bpf_attach_type, include/uapi/linux/bpf.h."""

    CGROUP_INET_INGRESS, CGROUP_INET_EGRESS, CGROUP_INET_SOCK_CREATE, CGROUP_SOCK_OPS, SK_SKB_STREAM_PARSER = range(5)
    SK_SKB_STREAM_VERDICT, CGROUP_DEVICE, SK_MSG_VERDICT, CGROUP_INET4_BIND, CGROUP_INET6_BIND, CGROUP_INET4_CONNECT = range(5, 11)
    CGROUP_INET6_CONNECT, CGROUP_INET4_POST_BIND, CGROUP_INET6_POST_BIND, CGROUP_UDP4_SENDMSG, CGROUP_UDP6_SENDMSG = range(11, 16)
    LIRC_MODE2, FLOW_DISSECTOR, CGROUP_SYSCTL, CGROUP_UDP4_RECVMSG, CGROUP_UDP6_RECVMSG, CGROUP_GETSOCKOPT = range(16, 22)
    CGROUP_SETSOCKOPT, TRACE_RAW_TP, TRACE_FENTRY, TRACE_FEXIT, MODIFY_RETURN, LSM_MAC, TRACE_ITER = range(22, 29)
    CGROUP_INET4_GETPEERNAME, CGROUP_INET6_GETPEERNAME, CGROUP_INET4_GETSOCKNAME, CGROUP_INET6_GETSOCKNAME, XDP_DEVMAP = range(29, 34)
    CGROUP_INET_SOCK_RELEASE, XDP_CPUMAP, SK_LOOKUP, XDP, SK_SKB_VERDICT, SK_REUSEPORT_SELECT = range(34, 40)
    SK_REUSEPORT_SELECT_OR_MIGRATE, PERF_EVENT, TRACE_KPROBE_MULTI, LSM_CGROUP, STRUCT_OPS, NETFILTER, TCX_INGRESS = range(40, 47)
    TCX_EGRESS, TRACE_UPROBE_MULTI, CGROUP_UNIX_CONNECT, CGROUP_UNIX_SENDMSG, CGROUP_UNIX_RECVMSG = range(47, 52)
    CGROUP_UNIX_GETPEERNAME, CGROUP_UNIX_GETSOCKNAME, NETKIT_PRIMARY, NETKIT_PEER, TRACE_KPROBE_SESSION = range(52, 57)
    TRACE_UPROBE_SESSION, TRACE_FSESSION = range(57, 59)


_SLEEPS = ("sleepable",)

SECTIONS = (
    Sec("socket", _P.SOCKET_FILTER),
    Sec("sk_reuseport/migrate", _P.SK_REUSEPORT, _A.SK_REUSEPORT_SELECT_OR_MIGRATE),
    Sec("sk_reuseport", _P.SK_REUSEPORT, _A.SK_REUSEPORT_SELECT),
    Sec("kprobe+", _P.KPROBE),
    Sec("uprobe+", _P.KPROBE),
    Sec("uprobe.s+", _P.KPROBE, None, _SLEEPS),
    Sec("kretprobe+", _P.KPROBE),
    Sec("uretprobe+", _P.KPROBE),
    Sec("uretprobe.s+", _P.KPROBE, None, _SLEEPS),
    Sec("kprobe.multi+", _P.KPROBE, _A.TRACE_KPROBE_MULTI),
    Sec("kretprobe.multi+", _P.KPROBE, _A.TRACE_KPROBE_MULTI),
    Sec("kprobe.session+", _P.KPROBE, _A.TRACE_KPROBE_SESSION),
    Sec("uprobe.multi+", _P.KPROBE, _A.TRACE_UPROBE_MULTI),
    Sec("uretprobe.multi+", _P.KPROBE, _A.TRACE_UPROBE_MULTI),
    Sec("uprobe.session+", _P.KPROBE, _A.TRACE_UPROBE_SESSION),
    Sec("uprobe.multi.s+", _P.KPROBE, _A.TRACE_UPROBE_MULTI, _SLEEPS),
    Sec("uretprobe.multi.s+", _P.KPROBE, _A.TRACE_UPROBE_MULTI, _SLEEPS),
    Sec("uprobe.session.s+", _P.KPROBE, _A.TRACE_UPROBE_SESSION, _SLEEPS),
    Sec("ksyscall+", _P.KPROBE),
    Sec("kretsyscall+", _P.KPROBE),
    Sec("usdt+", _P.KPROBE),
    Sec("usdt.s+", _P.KPROBE, None, _SLEEPS),
    Sec("tc/ingress", _P.SCHED_CLS, _A.TCX_INGRESS),
    Sec("tc/egress", _P.SCHED_CLS, _A.TCX_EGRESS),
    Sec("tcx/ingress", _P.SCHED_CLS, _A.TCX_INGRESS),
    Sec("tcx/egress", _P.SCHED_CLS, _A.TCX_EGRESS),
    Sec("tc", _P.SCHED_CLS),
    Sec("classifier", _P.SCHED_CLS),
    Sec("action", _P.SCHED_ACT),
    Sec("netkit/primary", _P.SCHED_CLS, _A.NETKIT_PRIMARY),
    Sec("netkit/peer", _P.SCHED_CLS, _A.NETKIT_PEER),
    Sec("tracepoint+", _P.TRACEPOINT),
    Sec("tp+", _P.TRACEPOINT),
    Sec("raw_tracepoint+", _P.RAW_TRACEPOINT),
    Sec("raw_tp+", _P.RAW_TRACEPOINT),
    Sec("raw_tracepoint.w+", _P.RAW_TRACEPOINT_WRITABLE),
    Sec("raw_tp.w+", _P.RAW_TRACEPOINT_WRITABLE),
    Sec("tp_btf+", _P.TRACING, _A.TRACE_RAW_TP),
    Sec("fentry+", _P.TRACING, _A.TRACE_FENTRY),
    Sec("fmod_ret+", _P.TRACING, _A.MODIFY_RETURN),
    Sec("fexit+", _P.TRACING, _A.TRACE_FEXIT),
    Sec("fsession+", _P.TRACING, _A.TRACE_FSESSION),
    Sec("fentry.s+", _P.TRACING, _A.TRACE_FENTRY, _SLEEPS),
    Sec("fmod_ret.s+", _P.TRACING, _A.MODIFY_RETURN, _SLEEPS),
    Sec("fexit.s+", _P.TRACING, _A.TRACE_FEXIT, _SLEEPS),
    Sec("fsession.s+", _P.TRACING, _A.TRACE_FSESSION, _SLEEPS),
    Sec("freplace+", _P.EXT),
    Sec("lsm+", _P.LSM, _A.LSM_MAC),
    Sec("lsm.s+", _P.LSM, _A.LSM_MAC, _SLEEPS),
    Sec("lsm_cgroup+", _P.LSM, _A.LSM_CGROUP),
    Sec("iter+", _P.TRACING, _A.TRACE_ITER),
    Sec("iter.s+", _P.TRACING, _A.TRACE_ITER, _SLEEPS),
    Sec("syscall", _P.SYSCALL, None, _SLEEPS),
    Sec("xdp.frags/devmap", _P.XDP, _A.XDP_DEVMAP, ("frags",)),
    Sec("xdp/devmap", _P.XDP, _A.XDP_DEVMAP),
    Sec("xdp.frags/cpumap", _P.XDP, _A.XDP_CPUMAP, ("frags",)),
    Sec("xdp/cpumap", _P.XDP, _A.XDP_CPUMAP),
    Sec("xdp.frags", _P.XDP, _A.XDP, ("frags",)),
    Sec("xdp", _P.XDP, _A.XDP),
    Sec("perf_event", _P.PERF_EVENT),
    Sec("lwt_in", _P.LWT_IN),
    Sec("lwt_out", _P.LWT_OUT),
    Sec("lwt_xmit", _P.LWT_XMIT),
    Sec("lwt_seg6local", _P.LWT_SEG6LOCAL),
    Sec("sockops", _P.SOCK_OPS, _A.CGROUP_SOCK_OPS),
    Sec("sk_skb/stream_parser", _P.SK_SKB, _A.SK_SKB_STREAM_PARSER),
    Sec("sk_skb/stream_verdict", _P.SK_SKB, _A.SK_SKB_STREAM_VERDICT),
    Sec("sk_skb/verdict", _P.SK_SKB, _A.SK_SKB_VERDICT),
    Sec("sk_skb", _P.SK_SKB),
    Sec("sk_msg", _P.SK_MSG, _A.SK_MSG_VERDICT),
    Sec("lirc_mode2", _P.LIRC_MODE2, _A.LIRC_MODE2),
    Sec("flow_dissector", _P.FLOW_DISSECTOR, _A.FLOW_DISSECTOR),
    Sec("cgroup_skb/ingress", _P.CGROUP_SKB, _A.CGROUP_INET_INGRESS),
    Sec("cgroup_skb/egress", _P.CGROUP_SKB, _A.CGROUP_INET_EGRESS),
    Sec("cgroup/skb", _P.CGROUP_SKB),
    Sec("cgroup/sock_create", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_CREATE),
    Sec("cgroup/sock_release", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_RELEASE),
    Sec("cgroup/sock", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_CREATE),
    Sec("cgroup/post_bind4", _P.CGROUP_SOCK, _A.CGROUP_INET4_POST_BIND),
    Sec("cgroup/post_bind6", _P.CGROUP_SOCK, _A.CGROUP_INET6_POST_BIND),
    Sec("cgroup/bind4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_BIND),
    Sec("cgroup/bind6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_BIND),
    Sec("cgroup/connect4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_CONNECT),
    Sec("cgroup/connect6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_CONNECT),
    Sec("cgroup/connect_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_CONNECT),
    Sec("cgroup/sendmsg4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP4_SENDMSG),
    Sec("cgroup/sendmsg6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP6_SENDMSG),
    Sec("cgroup/sendmsg_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_SENDMSG),
    Sec("cgroup/recvmsg4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP4_RECVMSG),
    Sec("cgroup/recvmsg6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UDP6_RECVMSG),
    Sec("cgroup/recvmsg_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_RECVMSG),
    Sec("cgroup/getpeername4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_GETPEERNAME),
    Sec("cgroup/getpeername6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_GETPEERNAME),
    Sec("cgroup/getpeername_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_GETPEERNAME),
    Sec("cgroup/getsockname4", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_GETSOCKNAME),
    Sec("cgroup/getsockname6", _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET6_GETSOCKNAME),
    Sec("cgroup/getsockname_unix", _P.CGROUP_SOCK_ADDR, _A.CGROUP_UNIX_GETSOCKNAME),
    Sec("cgroup/sysctl", _P.CGROUP_SYSCTL, _A.CGROUP_SYSCTL),
    Sec("cgroup/getsockopt", _P.CGROUP_SOCKOPT, _A.CGROUP_GETSOCKOPT),
    Sec("cgroup/setsockopt", _P.CGROUP_SOCKOPT, _A.CGROUP_SETSOCKOPT),
    Sec("cgroup/dev", _P.CGROUP_DEVICE, _A.CGROUP_DEVICE),
    Sec("struct_ops+", _P.STRUCT_OPS),
    Sec("struct_ops.s+", _P.STRUCT_OPS, None, _SLEEPS),
    Sec("sk_lookup", _P.SK_LOOKUP, _A.SK_LOOKUP),
    Sec("netfilter", _P.NETFILTER, _A.NETFILTER),
)


def section_type(section: str) -> Sec | None:
    """The row for a section's name, by libbpf's rules and then by those from before libbpf 1.0; None where neither knows it."""
    name = section.removeprefix("?")
    for row in SECTIONS:
        stem = row.name.rstrip("+")
        if name == stem or (stem != row.name and name.startswith(stem + "/")):
            return row
    weak = [row for row in SECTIONS if name.startswith(row.name.rstrip("+"))]
    return max(weak, key=lambda row: len(row.name), default=None)

"""What the name of a section says of its programs: the SEC() table of libbpf (libbpf 1.6, src/libbpf.c, section_defs).

"NAME" stands for itself; "NAME+" also for "NAME/anything", where the rest names what to attach to. A leading "?" means that libbpf
does not load the program by itself. Objects from before libbpf 1.0 also used any name that starts with a known one
("xdp_drop", "classifier/foo"): that is the second, weaker match.
"""

from __future__ import annotations

from bpflens.isa.extended.uapi import AttachType, ProgType
from bpflens.lean import NamedTuple

__all__ = ("SECTIONS", "Sec", "section_type")


class Sec(NamedTuple):
    """One row: section name, enum bpf_prog_type, enum bpf_attach_type (None: left at 0 and without meaning), what else it implies."""

    name: str
    prog_type: int
    attach_type: int | None = None
    flags: tuple[str, ...] = ()


_SLEEPS = ("sleepable",)

SECTIONS = (
    Sec("socket", ProgType.SOCKET_FILTER),
    Sec("sk_reuseport/migrate", ProgType.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT_OR_MIGRATE),
    Sec("sk_reuseport", ProgType.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT),
    Sec("kprobe+", ProgType.KPROBE),
    Sec("uprobe+", ProgType.KPROBE),
    Sec("uprobe.s+", ProgType.KPROBE, None, _SLEEPS),
    Sec("kretprobe+", ProgType.KPROBE),
    Sec("uretprobe+", ProgType.KPROBE),
    Sec("uretprobe.s+", ProgType.KPROBE, None, _SLEEPS),
    Sec("kprobe.multi+", ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI),
    Sec("kretprobe.multi+", ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI),
    Sec("kprobe.session+", ProgType.KPROBE, AttachType.TRACE_KPROBE_SESSION),
    Sec("uprobe.multi+", ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI),
    Sec("uretprobe.multi+", ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI),
    Sec("uprobe.session+", ProgType.KPROBE, AttachType.TRACE_UPROBE_SESSION),
    Sec("uprobe.multi.s+", ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI, _SLEEPS),
    Sec("uretprobe.multi.s+", ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI, _SLEEPS),
    Sec("uprobe.session.s+", ProgType.KPROBE, AttachType.TRACE_UPROBE_SESSION, _SLEEPS),
    Sec("ksyscall+", ProgType.KPROBE),
    Sec("kretsyscall+", ProgType.KPROBE),
    Sec("usdt+", ProgType.KPROBE),
    Sec("usdt.s+", ProgType.KPROBE, None, _SLEEPS),
    Sec("tc/ingress", ProgType.SCHED_CLS, AttachType.TCX_INGRESS),
    Sec("tc/egress", ProgType.SCHED_CLS, AttachType.TCX_EGRESS),
    Sec("tcx/ingress", ProgType.SCHED_CLS, AttachType.TCX_INGRESS),
    Sec("tcx/egress", ProgType.SCHED_CLS, AttachType.TCX_EGRESS),
    Sec("tc", ProgType.SCHED_CLS),
    Sec("classifier", ProgType.SCHED_CLS),
    Sec("action", ProgType.SCHED_ACT),
    Sec("netkit/primary", ProgType.SCHED_CLS, AttachType.NETKIT_PRIMARY),
    Sec("netkit/peer", ProgType.SCHED_CLS, AttachType.NETKIT_PEER),
    Sec("tracepoint+", ProgType.TRACEPOINT),
    Sec("tp+", ProgType.TRACEPOINT),
    Sec("raw_tracepoint+", ProgType.RAW_TRACEPOINT),
    Sec("raw_tp+", ProgType.RAW_TRACEPOINT),
    Sec("raw_tracepoint.w+", ProgType.RAW_TRACEPOINT_WRITABLE),
    Sec("raw_tp.w+", ProgType.RAW_TRACEPOINT_WRITABLE),
    Sec("tp_btf+", ProgType.TRACING, AttachType.TRACE_RAW_TP),
    Sec("fentry+", ProgType.TRACING, AttachType.TRACE_FENTRY),
    Sec("fmod_ret+", ProgType.TRACING, AttachType.MODIFY_RETURN),
    Sec("fexit+", ProgType.TRACING, AttachType.TRACE_FEXIT),
    Sec("fsession+", ProgType.TRACING, AttachType.TRACE_FSESSION),
    Sec("fentry.s+", ProgType.TRACING, AttachType.TRACE_FENTRY, _SLEEPS),
    Sec("fmod_ret.s+", ProgType.TRACING, AttachType.MODIFY_RETURN, _SLEEPS),
    Sec("fexit.s+", ProgType.TRACING, AttachType.TRACE_FEXIT, _SLEEPS),
    Sec("fsession.s+", ProgType.TRACING, AttachType.TRACE_FSESSION, _SLEEPS),
    Sec("freplace+", ProgType.EXT),
    Sec("lsm+", ProgType.LSM, AttachType.LSM_MAC),
    Sec("lsm.s+", ProgType.LSM, AttachType.LSM_MAC, _SLEEPS),
    Sec("lsm_cgroup+", ProgType.LSM, AttachType.LSM_CGROUP),
    Sec("iter+", ProgType.TRACING, AttachType.TRACE_ITER),
    Sec("iter.s+", ProgType.TRACING, AttachType.TRACE_ITER, _SLEEPS),
    Sec("syscall", ProgType.SYSCALL, None, _SLEEPS),
    Sec("xdp.frags/devmap", ProgType.XDP, AttachType.XDP_DEVMAP, ("frags",)),
    Sec("xdp/devmap", ProgType.XDP, AttachType.XDP_DEVMAP),
    Sec("xdp.frags/cpumap", ProgType.XDP, AttachType.XDP_CPUMAP, ("frags",)),
    Sec("xdp/cpumap", ProgType.XDP, AttachType.XDP_CPUMAP),
    Sec("xdp.frags", ProgType.XDP, AttachType.XDP, ("frags",)),
    Sec("xdp", ProgType.XDP, AttachType.XDP),
    Sec("perf_event", ProgType.PERF_EVENT),
    Sec("lwt_in", ProgType.LWT_IN),
    Sec("lwt_out", ProgType.LWT_OUT),
    Sec("lwt_xmit", ProgType.LWT_XMIT),
    Sec("lwt_seg6local", ProgType.LWT_SEG6LOCAL),
    Sec("sockops", ProgType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),
    Sec("sk_skb/stream_parser", ProgType.SK_SKB, AttachType.SK_SKB_STREAM_PARSER),
    Sec("sk_skb/stream_verdict", ProgType.SK_SKB, AttachType.SK_SKB_STREAM_VERDICT),
    Sec("sk_skb/verdict", ProgType.SK_SKB, AttachType.SK_SKB_VERDICT),
    Sec("sk_skb", ProgType.SK_SKB),
    Sec("sk_msg", ProgType.SK_MSG, AttachType.SK_MSG_VERDICT),
    Sec("lirc_mode2", ProgType.LIRC_MODE2, AttachType.LIRC_MODE2),
    Sec("flow_dissector", ProgType.FLOW_DISSECTOR, AttachType.FLOW_DISSECTOR),
    Sec("cgroup_skb/ingress", ProgType.CGROUP_SKB, AttachType.CGROUP_INET_INGRESS),
    Sec("cgroup_skb/egress", ProgType.CGROUP_SKB, AttachType.CGROUP_INET_EGRESS),
    Sec("cgroup/skb", ProgType.CGROUP_SKB),
    Sec("cgroup/sock_create", ProgType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_CREATE),
    Sec("cgroup/sock_release", ProgType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_RELEASE),
    Sec("cgroup/sock", ProgType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_CREATE),
    Sec("cgroup/post_bind4", ProgType.CGROUP_SOCK, AttachType.CGROUP_INET4_POST_BIND),
    Sec("cgroup/post_bind6", ProgType.CGROUP_SOCK, AttachType.CGROUP_INET6_POST_BIND),
    Sec("cgroup/bind4", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_BIND),
    Sec("cgroup/bind6", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_BIND),
    Sec("cgroup/connect4", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT),
    Sec("cgroup/connect6", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_CONNECT),
    Sec("cgroup/connect_unix", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UNIX_CONNECT),
    Sec("cgroup/sendmsg4", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP4_SENDMSG),
    Sec("cgroup/sendmsg6", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP6_SENDMSG),
    Sec("cgroup/sendmsg_unix", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UNIX_SENDMSG),
    Sec("cgroup/recvmsg4", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP4_RECVMSG),
    Sec("cgroup/recvmsg6", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP6_RECVMSG),
    Sec("cgroup/recvmsg_unix", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UNIX_RECVMSG),
    Sec("cgroup/getpeername4", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_GETPEERNAME),
    Sec("cgroup/getpeername6", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_GETPEERNAME),
    Sec("cgroup/getpeername_unix", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UNIX_GETPEERNAME),
    Sec("cgroup/getsockname4", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_GETSOCKNAME),
    Sec("cgroup/getsockname6", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_GETSOCKNAME),
    Sec("cgroup/getsockname_unix", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UNIX_GETSOCKNAME),
    Sec("cgroup/sysctl", ProgType.CGROUP_SYSCTL, AttachType.CGROUP_SYSCTL),
    Sec("cgroup/getsockopt", ProgType.CGROUP_SOCKOPT, AttachType.CGROUP_GETSOCKOPT),
    Sec("cgroup/setsockopt", ProgType.CGROUP_SOCKOPT, AttachType.CGROUP_SETSOCKOPT),
    Sec("cgroup/dev", ProgType.CGROUP_DEVICE, AttachType.CGROUP_DEVICE),
    Sec("struct_ops+", ProgType.STRUCT_OPS),
    Sec("struct_ops.s+", ProgType.STRUCT_OPS, None, _SLEEPS),
    Sec("sk_lookup", ProgType.SK_LOOKUP, AttachType.SK_LOOKUP),
    Sec("netfilter", ProgType.NETFILTER, AttachType.NETFILTER),
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

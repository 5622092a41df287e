"""What depends on the type of a program, one row a type.

    row(ProgType.XDP)   ──►   Row(context="xdp_md", converted=True, packet="ethernet", skb=False, arguments=False)

Sources: kernel/bpf/verifier.c (do_check, convert_ctx_accesses), the bpf_verifier_ops of each type, net/core/filter.c, Linux 6.18.
"""

from __future__ import annotations

from bpflens.isa.extended.uapi import ProgType
from bpflens.lean import NamedTuple

__all__ = ("CONTEXT", "IDENTITY", "ROWS", "Row", "row")


class Row(NamedTuple):
    """`context`: the struct that r1 points to at entry, "" where BTF or nothing describes it. `converted`: the kernel rewrites accesses to
    it, so that an image has others than the program as loaded. `packet`: where the data of a packet begins ("ethernet", "network", "" for
    programs that see none, or see it in the middle). `skb`: its context is made from struct sk_buff. `arguments`: the context is an array
    of the arguments of what it is attached to, 8 bytes each.
    """

    context: str = ""
    converted: bool = True
    packet: str = ""
    skb: bool = False
    arguments: bool = False


ROWS: dict[int, Row] = {
    ProgType.SOCKET_FILTER: Row("__sk_buff", skb=True),
    ProgType.KPROBE: Row(converted=False),
    ProgType.SCHED_CLS: Row("__sk_buff", packet="ethernet", skb=True),
    ProgType.SCHED_ACT: Row("__sk_buff", packet="ethernet", skb=True),
    ProgType.TRACEPOINT: Row(converted=False),
    ProgType.XDP: Row("xdp_md", packet="ethernet"),
    ProgType.PERF_EVENT: Row("bpf_perf_event_data"),
    ProgType.CGROUP_SKB: Row("__sk_buff", packet="network", skb=True),
    ProgType.CGROUP_SOCK: Row("bpf_sock"),
    ProgType.LWT_IN: Row("__sk_buff", packet="network", skb=True),
    ProgType.LWT_OUT: Row("__sk_buff", packet="network", skb=True),
    ProgType.LWT_XMIT: Row("__sk_buff", packet="network", skb=True),
    ProgType.SOCK_OPS: Row("bpf_sock_ops"),
    ProgType.SK_SKB: Row("__sk_buff", skb=True),
    ProgType.CGROUP_DEVICE: Row("bpf_cgroup_dev_ctx", converted=False),
    ProgType.SK_MSG: Row("sk_msg_md"),
    ProgType.RAW_TRACEPOINT: Row(converted=False, arguments=True),
    ProgType.CGROUP_SOCK_ADDR: Row("bpf_sock_addr"),
    ProgType.LWT_SEG6LOCAL: Row("__sk_buff", packet="network", skb=True),
    ProgType.LIRC_MODE2: Row(converted=False),
    ProgType.SK_REUSEPORT: Row("sk_reuseport_md"),
    ProgType.FLOW_DISSECTOR: Row("__sk_buff", skb=True),
    ProgType.CGROUP_SYSCTL: Row("bpf_sysctl"),
    ProgType.RAW_TRACEPOINT_WRITABLE: Row(converted=False, arguments=True),
    ProgType.CGROUP_SOCKOPT: Row("bpf_sockopt"),
    ProgType.TRACING: Row(converted=False, arguments=True),
    ProgType.STRUCT_OPS: Row(converted=False),
    ProgType.EXT: Row(converted=False),
    ProgType.LSM: Row(converted=False, arguments=True),
    ProgType.SK_LOOKUP: Row("bpf_sk_lookup"),
    ProgType.SYSCALL: Row(converted=False),
    ProgType.NETFILTER: Row("bpf_nf_ctx", converted=False),
}

_UNKNOWN = Row()

CONTEXT = {number: one.context for number, one in ROWS.items() if one.context}
"""Type -> struct of its context."""

IDENTITY = frozenset(number for number, one in ROWS.items() if not one.converted)
"""Types whose accesses to the context reach the image as they were written."""


def row(prog_type: int | None) -> Row:
    """What is known of a type; nothing of one that is newer than the table."""
    return ROWS.get(prog_type or 0, _UNKNOWN)

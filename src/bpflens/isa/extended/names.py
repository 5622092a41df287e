"""Names of program, map, attach and link types by number: include/uapi/linux/bpf.h, in lower case without the common prefix.

A number that is not here is newer than this table and is printed as a number: use `type_name`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ("ATTACH_TYPES", "LINK_TYPES", "MAP_FLAGS", "MAP_TYPES", "PROG_TYPES", "flag_names", "type_name")

PROG_TYPES: dict[int, str] = dict(
    enumerate(
        (
            "unspec", "socket_filter", "kprobe", "sched_cls", "sched_act", "tracepoint", "xdp", "perf_event", "cgroup_skb",
            "cgroup_sock", "lwt_in", "lwt_out", "lwt_xmit", "sock_ops", "sk_skb", "cgroup_device", "sk_msg", "raw_tracepoint",
            "cgroup_sock_addr", "lwt_seg6local", "lirc_mode2", "sk_reuseport", "flow_dissector", "cgroup_sysctl",
            "raw_tracepoint_writable", "cgroup_sockopt", "tracing", "struct_ops", "ext", "lsm", "sk_lookup", "syscall", "netfilter",
        )
    )
)
"""enum bpf_prog_type: "sched_cls" is BPF_PROG_TYPE_SCHED_CLS. Linux v6.18."""

MAP_TYPES: dict[int, str] = dict(
    enumerate(
        (
            "unspec", "hash", "array", "prog_array", "perf_event_array", "percpu_hash", "percpu_array", "stack_trace", "cgroup_array",
            "lru_hash", "lru_percpu_hash", "lpm_trie", "array_of_maps", "hash_of_maps", "devmap", "sockmap", "cpumap", "xskmap",
            "sockhash", "cgroup_storage", "reuseport_sockarray", "percpu_cgroup_storage", "queue", "stack", "sk_storage",
            "devmap_hash", "struct_ops", "ringbuf", "inode_storage", "task_storage", "bloom_filter", "user_ringbuf", "cgrp_storage",
            "arena", "insn_array",
        )
    )
)
"""enum bpf_map_type: "hash" is BPF_MAP_TYPE_HASH. Linux v6.19 (insn_array is new in it)."""

ATTACH_TYPES: dict[int, str] = dict(
    enumerate(
        (
            "cgroup_inet_ingress", "cgroup_inet_egress", "cgroup_inet_sock_create", "cgroup_sock_ops", "sk_skb_stream_parser",
            "sk_skb_stream_verdict", "cgroup_device", "sk_msg_verdict", "cgroup_inet4_bind", "cgroup_inet6_bind",
            "cgroup_inet4_connect", "cgroup_inet6_connect", "cgroup_inet4_post_bind", "cgroup_inet6_post_bind", "cgroup_udp4_sendmsg",
            "cgroup_udp6_sendmsg", "lirc_mode2", "flow_dissector", "cgroup_sysctl", "cgroup_udp4_recvmsg", "cgroup_udp6_recvmsg",
            "cgroup_getsockopt", "cgroup_setsockopt", "trace_raw_tp", "trace_fentry", "trace_fexit", "modify_return", "lsm_mac",
            "trace_iter", "cgroup_inet4_getpeername", "cgroup_inet6_getpeername", "cgroup_inet4_getsockname",
            "cgroup_inet6_getsockname", "xdp_devmap", "cgroup_inet_sock_release", "xdp_cpumap", "sk_lookup", "xdp", "sk_skb_verdict",
            "sk_reuseport_select", "sk_reuseport_select_or_migrate", "perf_event", "trace_kprobe_multi", "lsm_cgroup", "struct_ops",
            "netfilter", "tcx_ingress", "tcx_egress", "trace_uprobe_multi", "cgroup_unix_connect", "cgroup_unix_sendmsg",
            "cgroup_unix_recvmsg", "cgroup_unix_getpeername", "cgroup_unix_getsockname", "netkit_primary", "netkit_peer",
            "trace_kprobe_session", "trace_uprobe_session", "trace_fsession", "trace_fentry_multi", "trace_fexit_multi",
            "trace_fsession_multi",
        )
    )
)
"""enum bpf_attach_type: "cgroup_inet_ingress" is BPF_CGROUP_INET_INGRESS. Linux v6.18; trace_fsession and the multi types came later."""

LINK_TYPES: dict[int, str] = dict(
    enumerate(
        (
            "unspec", "raw_tracepoint", "tracing", "cgroup", "iter", "netns", "xdp", "perf_event", "kprobe_multi", "struct_ops",
            "netfilter", "tcx", "uprobe_multi", "netkit", "sockmap", "tracing_multi",
        )
    )
)
"""enum bpf_link_type: "xdp" is BPF_LINK_TYPE_XDP. Linux v6.18; tracing_multi came later."""

MAP_FLAGS = (
    "no_prealloc", "no_common_lru", "numa_node", "rdonly", "wronly", "stack_build_id", "zero_seed", "rdonly_prog", "wronly_prog", "clone",
    "mmapable", "preserve_elems", "inner_map", "link", "path_fd", "vtype_btf_obj_fd", "token_fd", "segv_on_fault", "no_user_conv",
    "rb_overwrite",
)  # fmt: skip
"""BPF_F_* of maps by bit: include/uapi/linux/bpf.h, v6.19, in lower case."""


def type_name(names: Mapping[int, str], value: int | None) -> str:
    """The name of a type, or "type N" for one that is newer than the table, or "" for None."""
    if value is None:
        return ""
    return names.get(value, f"type {value}")


def flag_names(flags: int) -> list[str]:
    """The names of the flags of a map; a bit newer than the table as a number."""
    return [MAP_FLAGS[bit] if bit < len(MAP_FLAGS) else f"{1 << bit:#x}" for bit in range(flags.bit_length()) if flags >> bit & 1]

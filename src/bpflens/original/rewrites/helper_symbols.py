"""Kernel function -> helper id: which helper a call in an image was.

Most helpers are implemented by `bpf_NAME`. Some have an implementation per program type (`bpf_sock_ops_setsockopt`,
`bpf_skb_event_output`), and map operations are called directly (`htab_map_update_elem`). Where one function serves several helpers
the program's type decides.
"""

from __future__ import annotations

import re
from functools import cache

from bpflens.isa.extended.uapi import ProgType

__all__ = ("helper_ids", "likely_helpers", "may_be_helper")

_TRACING_TYPES = frozenset((ProgType.TRACING, ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE, ProgType.LSM))

# Implementations whose name is not bpf_NAME with a suffix: symbol -> helper, from the *_func_proto functions of v6.1 to v6.18.
_ALIASES = {
    "bpf_skb_event_output": 25, "bpf_xdp_event_output": 25, "bpf_sockopt_event_output": 25, "bpf_event_output_data": 25,
    "bpf_perf_event_output_tp": 25, "bpf_perf_event_output_raw_tp": 25, "bpf_skb_output": 111, "bpf_xdp_output": 121,
    "bpf_unlocked_sk_setsockopt": 49, "bpf_unlocked_sk_getsockopt": 57, "bpf_sk_setsockopt": 49, "bpf_sk_getsockopt": 57,
    "bpf_sock_addr_setsockopt": 49, "bpf_sock_addr_getsockopt": 57, "bpf_sock_ops_setsockopt": 49, "bpf_sock_ops_getsockopt": 57,
    "bpf_tc_sk_lookup_tcp": 84, "bpf_tc_sk_lookup_udp": 85, "bpf_tc_skc_lookup_tcp": 99, "bpf_xdp_sk_lookup_tcp": 84,
    "bpf_xdp_sk_lookup_udp": 85, "bpf_xdp_skc_lookup_tcp": 99, "bpf_sock_addr_sk_lookup_tcp": 84, "bpf_sock_addr_sk_lookup_udp": 85,
    "bpf_sock_addr_skc_lookup_tcp": 99, "bpf_sk_lookup_assign": 124, "bpf_timer_set_callback": 170, "bpf_sk_storage_get_cg_sock": 107,
    "bpf_sk_storage_get_tracing": 107, "bpf_sk_storage_delete_tracing": 108, "bpf_tcp_check_syncookie": 100,
    "bpf_skb_get_xfrm_state": 66, "bpf_get_cgroup_classid_curr": 17, "bpf_map_lookup_percpu_elem": 195,
    "bpf_sys_bpf": 166, "bpf_kern_sys_bpf": 166, "__bpf_get_stack": 67, "bpf_get_task_stack_sleepable": 141, "bpf_get_stack_sleepable": 67,
    "bpf_sys_close": 168, "bpf_per_cpu_ptr": 153, "bpf_this_cpu_ptr": 154, "bpf_ima_inode_hash": 161, "bpf_msg_redirect_map": 60,
    "bpf_sock_hash_update": 70, "bpf_sock_map_update": 53, "bpf_get_netns_cookie_sock": 122, "sock_map_lookup": 1,
    "sock_hash_lookup": 1, "sk_select_reuseport": 82, "bpf_sk_redirect_map": 52, "bpf_sk_redirect_hash": 72, "sk_skb_pull_data": 39,
    "sk_skb_change_tail": 38, "sk_skb_change_head": 43, "sk_skb_adjust_room": 50, "bpf_xdp_redirect": 23, "bpf_xdp_redirect_map": 51,
    "dev_map_redirect": 51, "dev_hash_map_redirect": 51, "cpu_map_redirect": 51, "xsk_map_redirect": 51, "bpf_clone_redirect": 13,
    "bpf_get_smp_processor_id": 8, "bpf_user_rnd_u32": 7, "bpf_get_raw_cpu_id": 8, "bpf_skb_under_cgroup": 33,
    "bpf_skb_cgroup_classid": 151,
    "bpf_snprintf_btf": 149, "bpf_trace_printk": 6, "bpf_trace_vprintk": 177, "bpf_get_func_ip_kprobe": 173,
    "bpf_get_func_ip_kprobe_multi": 173, "bpf_get_func_ip_uprobe_multi": 173, "bpf_get_func_ip_tracing": 173,
    "bpf_get_attach_cookie_trace": 174, "bpf_get_attach_cookie_pe": 174, "bpf_get_attach_cookie_tracing": 174,
    "bpf_get_attach_cookie_kprobe_multi": 174, "bpf_get_attach_cookie_uprobe_multi": 174, "bpf_lwt_xmit_push_encap": 73,
    "bpf_lwt_in_push_encap": 73, "bpf_xdp_adjust_head": 44, "bpf_dynptr_from_mem": 197, "bpf_flow_dissector_load_bytes": 26,
    "bpf_sk_reuseport_load_bytes": 26, "bpf_sk_reuseport_load_bytes_relative": 68, "sk_reuseport_load_bytes": 26,
    "sk_reuseport_load_bytes_relative": 68, "bpf_l4_csum_replace": 11, "bpf_xdp_fib_lookup": 69, "bpf_skb_fib_lookup": 69,
    "bpf_xdp_check_mtu": 163, "bpf_skb_check_mtu": 163, "bpf_sk_ancestor_cgroup_id": 129, "bpf_get_socket_ptr_cookie": 46,
    "bpf_get_socket_cookie_sock_addr": 46, "bpf_get_socket_cookie_sock": 46, "bpf_get_socket_cookie_sock_ops": 46,
    "bpf_get_netns_cookie_sock_addr": 122, "bpf_get_netns_cookie_sock_ops": 122, "bpf_get_netns_cookie_sk_msg": 122,
    "bpf_get_netns_cookie_sockopt": 122, "bpf_get_netns_cookie": 122, "bpf_skb_ecn_set_ce": 97, "bpf_tcp_sock": 96,
    "bpf_current_task_under_cgroup": 37, "bpf_get_listener_sock": 98, "bpf_probe_read_compat": 4, "bpf_probe_read_compat_str": 45,
}  # fmt: skip

# Operations of map types, called directly (do_misc_fixups): the end of the symbol tells which.
_MAP_OPERATIONS = tuple(
    (re.compile(pattern), helper)
    for pattern, helper in (
        (r"_lookup_percpu_elem$", 195),
        (r"lookup_elem(_sys)?$", 1),
        (r"update_elem$", 2),
        (r"delete_elem$", 3),
        (r"push_elem$", 87),
        (r"pop_elem$", 88),
        (r"peek_elem$", 89),
        (r"(_map|xsk|dev|cpu).*_redirect$", 51),
        (r"^bpf_for_each_\w+_elem$", 164),
    )
)


def helper_ids(symbol: str, prog_type: int) -> tuple[int, ...]:
    """Ids of the helpers that `symbol` may implement in a program of this type, likeliest first; empty where it is none."""
    if symbol == "bpf_skb_event_output" and prog_type in _TRACING_TYPES:
        return (111,)
    if symbol == "bpf_xdp_event_output" and prog_type in _TRACING_TYPES:
        return (121,)
    return _ids(symbol)


# Those that tracing and networking programs call most, roughly in that order.
_COMMON = (1, 2, 14, 3, 5, 6, 16, 15, 25, 113, 112, 8, 7, 35, 27, 114, 115, 131, 132, 130, 51, 23, 28, 9, 26, 44, 10, 11, 4, 45, 125, 107)


@cache
def likely_helpers() -> tuple[int, ...]:
    """All helpers, those that most programs call first."""
    known = _by_name().values()
    return (*_COMMON, *sorted(set(known) - set(_COMMON)))


def may_be_helper(symbol: str) -> bool:
    """Is this, by its name, a function that programs call? Quick, and true too often rather than too seldom."""
    return symbol.startswith(("bpf_", "__bpf_", "___bpf_")) or symbol in _ALIASES or any(p.search(symbol) for p, _ in _MAP_OPERATIONS)


@cache
def _ids(symbol: str) -> tuple[int, ...]:
    by_name = _by_name()
    if symbol.startswith(("__pfx_", "__cfi_")):  # the padding before a function
        return ()
    if symbol in _ALIASES:
        return (_ALIASES[symbol],)
    if symbol in by_name:
        return (by_name[symbol],)
    for pattern, helper in _MAP_OPERATIONS:
        if pattern.search(symbol):
            return (helper,)
    # bpf_NAME_SUFFIX (a program type, sleepable, recur ...), then PREFIX_NAME
    for fits in (
        [name for name in by_name if symbol.startswith(name + "_")],
        [name for name in by_name if symbol.endswith(name[3:])],
    ):
        if fits:
            return (by_name[max(fits, key=len)],)
    return ()


@cache
def _by_name() -> dict[str, int]:
    """bpf_NAME -> id."""
    from bpflens.isa.extended.helpers import helper_name

    return {name: id for id in range(1, 512) if (name := helper_name(id))}

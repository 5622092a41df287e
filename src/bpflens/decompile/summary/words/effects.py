"""What helpers do to the world, in words: one row per helper that does more than answer.

Arguments in braces are put in: {0} to {4}. `alarm` marks what a responder wants to know first. Facts: include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("EFFECTS", "KFUNCS", "MAP_WRITES", "Effect")


class Effect(NamedTuple):
    """`text` follows "it"; `alarm`: deserves attention."""

    text: str
    alarm: bool = False


EFFECTS = {
    "bpf_probe_write_user": Effect("writes {2} bytes into the memory of the current process", True),
    "bpf_override_return": Effect("makes the traced function return {1} without running", True),
    "bpf_send_signal": Effect("sends signal {0} to the current process", True),
    "bpf_send_signal_thread": Effect("sends signal {0} to the current thread", True),
    "bpf_copy_from_user": Effect("reads user memory"),
    "bpf_probe_read_user": Effect("reads {1} bytes of user memory"),
    "bpf_probe_read_user_str": Effect("reads a string of user memory"),
    "bpf_trace_printk": Effect("prints to the kernel's trace_pipe"),
    "bpf_trace_vprintk": Effect("prints to the kernel's trace_pipe"),
    "bpf_tail_call": Effect("goes on with the program in {1} at index {2}, if there is one", True),
    "bpf_redirect": Effect("redirects the packet to interface {0}", True),
    "bpf_redirect_peer": Effect("redirects the packet to the peer of interface {0}", True),
    "bpf_redirect_neigh": Effect("redirects the packet to interface {0} by its neighbours", True),
    "bpf_redirect_map": Effect("redirects the packet by {0} at {1}", True),
    "bpf_clone_redirect": Effect("sends a copy of the packet to interface {1}", True),
    "bpf_sk_redirect_map": Effect("redirects data to the socket in {1}", True),
    "bpf_sk_redirect_hash": Effect("redirects data to the socket in {1}", True),
    "bpf_msg_redirect_map": Effect("redirects the message to the socket in {1}", True),
    "bpf_msg_redirect_hash": Effect("redirects the message to the socket in {1}", True),
    "bpf_skb_store_bytes": Effect("rewrites {3} bytes of the packet at byte {1}", True),
    "bpf_xdp_store_bytes": Effect("rewrites {3} bytes of the packet", True),
    "bpf_l3_csum_replace": Effect("corrects the IP checksum after a change"),
    "bpf_l4_csum_replace": Effect("corrects the transport checksum after a change"),
    "bpf_skb_vlan_push": Effect("puts a VLAN tag on the packet", True),
    "bpf_skb_vlan_pop": Effect("takes the VLAN tag off the packet", True),
    "bpf_skb_change_proto": Effect("changes the packet's protocol", True),
    "bpf_skb_change_type": Effect("changes whom the packet is for", True),
    "bpf_skb_change_tail": Effect("changes the packet's length", True),
    "bpf_skb_change_head": Effect("makes room in front of the packet", True),
    "bpf_skb_adjust_room": Effect("makes or takes room within the packet", True),
    "bpf_xdp_adjust_head": Effect("moves the beginning of the packet", True),
    "bpf_xdp_adjust_tail": Effect("moves the end of the packet", True),
    "bpf_xdp_adjust_meta": Effect("changes the packet's metadata area"),
    "bpf_skb_set_tunnel_key": Effect("sends the packet into a tunnel", True),
    "bpf_skb_set_tunnel_opt": Effect("sets options of the tunnel"),
    "bpf_lwt_push_encap": Effect("wraps the packet in another header", True),
    "bpf_set_hash": Effect("sets the packet's hash"),
    "bpf_setsockopt": Effect("sets socket option {2} of level {1}", True),
    "bpf_sock_ops_cb_flags_set": Effect("asks for more socket events"),
    "bpf_bind": Effect("binds the socket to another address", True),
    "bpf_sk_assign": Effect("hands the packet to another socket", True),
    "bpf_sk_select_reuseport": Effect("chooses the socket in {1}"),
    "bpf_sysctl_set_new_value": Effect("changes the value that is written", True),
    "bpf_perf_event_output": Effect("emits an event through {1}"),
    "bpf_skb_output": Effect("emits an event with packet data through {1}"),
    "bpf_xdp_output": Effect("emits an event with packet data through {1}"),
    "bpf_ringbuf_output": Effect("emits an event of {2} bytes through {0}"),
    "bpf_ringbuf_submit": Effect("emits an event through its ring buffer"),
    "bpf_d_path": Effect("reads the path of a file"),
    "bpf_get_stackid": Effect("records the stack in {1}"),
    "bpf_get_stack": Effect("reads the stack"),
    "bpf_timer_start": Effect("starts a timer"),
    "bpf_timer_set_callback": Effect("sets what runs when its timer ends"),
    "bpf_sys_bpf": Effect("makes bpf(2) system calls", True),
    "bpf_kallsyms_lookup_name": Effect("looks up an address of the kernel", True),
    "bpf_ktime_get_ns": Effect(""),
    "bpf_task_storage_delete": Effect("deletes a value kept with a task"),
    "bpf_user_ringbuf_drain": Effect("takes messages of a process from {0}"),
    "bpf_set_retval": Effect("sets the error that the system call returns to {0}", True),
    "bpf_ima_file_hash": Effect("measures a file"),
    "bpf_fib_lookup": Effect("asks the routing table"),
    "bpf_seq_printf": Effect("writes text for the reader"),
    "bpf_seq_write": Effect("writes {2} bytes for the reader"),
    "bpf_copy_from_user_task": Effect("reads the memory of another process", True),
    "bpf_store_hdr_opt": Effect("adds a TCP header option", True),
    "bpf_msg_push_data": Effect("puts {2} bytes into the message", True),
    "bpf_msg_pop_data": Effect("takes {2} bytes out of the message", True),
    "bpf_skb_set_tstamp": Effect("sets the packet's time stamp"),
    "bpf_skb_ecn_set_ce": Effect("marks the packet as having met congestion", True),
    "bpf_tcp_send_ack": Effect("sends a TCP acknowledgement", True),
    "bpf_getsockopt": Effect("reads a socket option"),
    "bpf_sock_map_update": Effect("puts the socket into {1}", True),
    "bpf_sock_hash_update": Effect("puts the socket into {1}", True),
    "bpf_rc_keydown": Effect("presses a key of the infrared receiver", True),
    "bpf_dynptr_write": Effect("writes through a dynptr"),
    "bpf_sys_close": Effect("closes a file descriptor", True),
    "bpf_sysctl_get_name": Effect("reads the name of the sysctl"),
}

KFUNCS = {
    "bpf_sock_destroy": ("destroys a socket", True), "bpf_ct_set_nat_info": ("sets address translation of a connection", True),
    "bpf_ct_insert_entry": ("adds a tracked connection", True), "bpf_cpumask_create": ("makes a CPU mask", False),
    "bpf_task_from_pid": ("looks up a task", False), "bpf_task_release": ("lets a task go", False),
    "bpf_iter_num_new": ("begins a loop over numbers", False), "bpf_iter_num_next": ("takes the next number of a loop", False),
    "bpf_iter_num_destroy": ("ends a loop over numbers", False), "bpf_dynptr_from_skb": ("opens the packet's bytes", False),
    "bpf_dynptr_from_xdp": ("opens the packet's bytes", False), "bpf_dynptr_slice": ("reads bytes", False),
    "bpf_dynptr_slice_rdwr": ("opens bytes to write them", True), "bpf_set_file_xattr": ("sets an attribute of a file", True),
}  # fmt: skip
"""What kernel functions do: (words that follow "it", deserves attention)."""

MAP_WRITES = {
    "bpf_map_update_elem": "writes entries", "bpf_map_delete_elem": "deletes entries", "bpf_map_push_elem": "adds entries",
    "bpf_map_pop_elem": "takes entries out", "bpf_map_lookup_elem": "looks up", "bpf_map_lookup_percpu_elem": "looks up",
    "bpf_map_peek_elem": "looks at entries", "bpf_for_each_map_elem": "goes through all entries", "bpf_sock_map_update": "adds sockets",
    "bpf_sock_hash_update": "adds sockets", "bpf_sk_storage_get": "keeps a value with a socket",
    "bpf_task_storage_get": "keeps a value with a task",
    "bpf_cgrp_storage_get": "keeps a value with a cgroup", "bpf_inode_storage_get": "keeps a value with an inode",
}  # fmt: skip
"""What the calls that name a map do with it."""

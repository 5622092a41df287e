"""The context of each program type, as programs see it (include/uapi/linux/bpf.h): fields by offset, and what pointer fields point to.

    field_at(3, 16, 4)  ──►  Field(struct="__sk_buff", name="protocol", offset=16, size=4, points_to="")

The layouts are user ABI: they never change, only grow. `KINDS` also has the sockets that a program gets from helpers, which the
kernel rewrites in the same way (is_sk_common, bpf_sock, bpf_tcp_sock, bpf_xdp_sock).
"""

from __future__ import annotations

from functools import cache, lru_cache

from bpflens.isa.extended.prog_types import CONTEXT, IDENTITY
from bpflens.lean import NamedTuple

__all__ = ("CONTEXT", "IDENTITY", "SOCKET_KINDS", "Field", "access_name", "context_struct", "field_at", "fields")


class Field(NamedTuple):
    """A field: `offset` and `size` in bytes (of one element for arrays), `points_to` a pointer kind or ""."""

    struct: str
    name: str
    offset: int
    size: int
    points_to: str = ""


# name@offset:size, or name@offset:COUNTxSIZE for an array; ">kind" where the field holds a pointer that the verifier knows.
_LAYOUT = {
    "__sk_buff": (
        "len@0:4 pkt_type@4:4 mark@8:4 queue_mapping@12:4 protocol@16:4 vlan_present@20:4 vlan_tci@24:4 vlan_proto@28:4 priority@32:4 "
        "ingress_ifindex@36:4 ifindex@40:4 tc_index@44:4 cb@48:5x4 hash@68:4 tc_classid@72:4 data@76:4>packet data_end@80:4>packet_end "
        "napi_id@84:4 family@88:4 remote_ip4@92:4 local_ip4@96:4 remote_ip6@100:4x4 local_ip6@116:4x4 remote_port@132:4 local_port@136:4 "
        "data_meta@140:4>packet_meta flow_keys@144:8>flow_keys tstamp@152:8 wire_len@160:4 gso_segs@164:4 sk@168:8>sock_common "
        "gso_size@176:4 tstamp_type@180:1 hwtstamp@184:8"
    ),
    "xdp_md": (
        "data@0:4>packet data_end@4:4>packet_end data_meta@8:4>packet_meta ingress_ifindex@12:4 rx_queue_index@16:4 egress_ifindex@20:4"
    ),
    "bpf_sock": (
        "bound_dev_if@0:4 family@4:4 type@8:4 protocol@12:4 mark@16:4 priority@20:4 src_ip4@24:4 src_ip6@28:4x4 src_port@44:4 "
        "dst_port@48:2 dst_ip4@52:4 dst_ip6@56:4x4 state@72:4 rx_queue_mapping@76:4"
    ),
    "bpf_sock_addr": (
        "user_family@0:4 user_ip4@4:4 user_ip6@8:4x4 user_port@24:4 family@28:4 type@32:4 protocol@36:4 msg_src_ip4@40:4 "
        "msg_src_ip6@44:4x4 sk@64:8>sock"
    ),
    "bpf_sock_ops": (
        "op@0:4 args@4:4x4 family@20:4 remote_ip4@24:4 local_ip4@28:4 remote_ip6@32:4x4 local_ip6@48:4x4 remote_port@64:4 local_port@68:4 "
        "is_fullsock@72:4 snd_cwnd@76:4 srtt_us@80:4 bpf_sock_ops_cb_flags@84:4 state@88:4 rtt_min@92:4 snd_ssthresh@96:4 rcv_nxt@100:4 "
        "snd_nxt@104:4 snd_una@108:4 mss_cache@112:4 ecn_flags@116:4 rate_delivered@120:4 rate_interval_us@124:4 packets_out@128:4 "
        "retrans_out@132:4 total_retrans@136:4 segs_in@140:4 data_segs_in@144:4 segs_out@148:4 data_segs_out@152:4 lost_out@156:4 "
        "sacked_out@160:4 sk_txhash@164:4 bytes_received@168:8 bytes_acked@176:8 sk@184:8>sock skb_data@192:8>packet "
        "skb_data_end@200:8>packet_end skb_len@208:4 skb_tcp_flags@212:4 skb_hwtstamp@216:8"
    ),
    "sk_msg_md": (
        "data@0:8>packet data_end@8:8>packet_end family@16:4 remote_ip4@20:4 local_ip4@24:4 remote_ip6@28:4x4 local_ip6@44:4x4 "
        "remote_port@60:4 local_port@64:4 size@68:4 sk@72:8>sock"
    ),
    "sk_reuseport_md": (
        "data@0:8>packet data_end@8:8>packet_end len@16:4 eth_protocol@20:4 ip_protocol@24:4 bind_inany@28:4 hash@32:4 sk@40:8>sock "
        "migrating_sk@48:8>sock_common"
    ),
    "bpf_sk_lookup": (
        "sk@0:8>sock family@8:4 protocol@12:4 remote_ip4@16:4 remote_ip6@20:4x4 remote_port@36:2 local_ip4@40:4 local_ip6@44:4x4 "
        "local_port@60:4 ingress_ifindex@64:4"
    ),
    "bpf_sysctl": "write@0:4 file_pos@4:4",
    "bpf_sockopt": "sk@0:8>sock optval@8:8>packet optval_end@16:8>packet_end level@24:4 optname@28:4 optlen@32:4 retval@36:4",
    "bpf_perf_event_data": "regs@0:21x8 sample_period@168:8 addr@176:8",
    "bpf_cgroup_dev_ctx": "access_type@0:4 major@4:4 minor@8:4",
    "bpf_nf_ctx": "state@0:8 skb@8:8",
    "bpf_tcp_sock": (
        "snd_cwnd@0:4 srtt_us@4:4 rtt_min@8:4 snd_ssthresh@12:4 rcv_nxt@16:4 snd_nxt@20:4 snd_una@24:4 mss_cache@28:4 ecn_flags@32:4 "
        "rate_delivered@36:4 rate_interval_us@40:4 packets_out@44:4 retrans_out@48:4 total_retrans@52:4 segs_in@56:4 data_segs_in@60:4 "
        "segs_out@64:4 data_segs_out@68:4 lost_out@72:4 sacked_out@76:4 bytes_received@80:8 bytes_acked@88:8 dsack_dups@96:4 "
        "delivered@100:4 delivered_ce@104:4 icsk_retransmits@108:4"
    ),
    "bpf_xdp_sock": "queue_id@0:4",
    "bpf_flow_keys": (
        "nhoff@0:2 thoff@2:2 addr_proto@4:2 is_frag@6:1 is_first_frag@7:1 is_encap@8:1 ip_proto@9:1 n_proto@10:2 sport@12:2 dport@14:2 "
        "ipv4_src@16:4 ipv4_dst@20:4 ipv6_dst@32:4x4 flags@48:4 flow_label@52:4"
    ),
}

# Pointer kinds that helpers or context fields yield and whose accesses the kernel converts too -> struct that programs see.
SOCKET_KINDS = {"sock_common": "bpf_sock", "sock": "bpf_sock", "tcp_sock": "bpf_tcp_sock", "xdp_sock": "bpf_xdp_sock"}

# What programs call a pointer to the struct, for names such as skb->len; "ctx" for the others.
_VARIABLE = {
    "__sk_buff": "skb", "xdp_md": "xdp", "bpf_sock": "sk", "bpf_tcp_sock": "tp", "bpf_xdp_sock": "xs", "bpf_sock_ops": "skops",
    "sk_msg_md": "msg", "sk_reuseport_md": "reuse", "bpf_flow_keys": "keys",
}  # fmt: skip


@cache
def fields(struct: str) -> tuple[Field, ...]:
    """The fields of a context struct in order of offset; empty for an unknown struct."""
    out = []
    for word in _LAYOUT.get(struct, "").split():
        name, _, rest = word.partition("@")
        offset, _, shape = rest.partition(":")
        shape, _, points_to = shape.partition(">")
        count, times, size = shape.rpartition("x")
        for index in range(int(count) if times else 1):
            suffix = f"[{index}]" if times else ""
            out.append(Field(struct, name + suffix, int(offset) + index * int(size), int(size), points_to))
    return tuple(out)


def context_struct(prog_type: int) -> str:
    """Name of the struct that programs of this type get in r1, "" where BTF or nothing describes it."""
    return CONTEXT.get(prog_type, "")


@lru_cache(maxsize=4096)
def field_at(struct: str, offset: int, size: int) -> Field | None:
    """The field that an access of `size` bytes at `offset` lies in."""
    for field in fields(struct):
        if field.offset <= offset and offset + size <= field.offset + max(field.size, 4 if field.name == "dst_port" else 0):
            return field
    return None


def access_name(struct: str, offset: int, size: int) -> str:
    """"skb->len" for an access, with the part where it is narrower than the field ("skb->protocol+1"); "" where no field is there."""
    field = field_at(struct, offset, size)
    if field is None:
        return ""
    part = f"+{offset - field.offset}" if offset != field.offset else ""
    return f"{_VARIABLE.get(struct, 'ctx')}->{field.name}{part}"

"""What becomes of context accesses, from a kernel's type information alone: for kernels that can't be asked.

    "ifindex": "sk_buff.dev > net_device.ifindex"   ──►   rD = *(u64*)(rS+16); rD = *(u32*)(rD+224)

A field is a chain of members of kernel structures; ">" follows a pointer, "?>" follows it unless it is NULL; "a + b" is a member within
another's bytes, "[N]" an array of N bytes each. "& N", "<< N" and "? 1" are applied to the value. Offsets and sizes are the BTF's.
Sources: bpf_convert_ctx_access, xdp_convert_ctx_access, bpf_sock_convert_ctx_access and those
beside them (net/core/filter.c, v6.18); narrow loads as convert_ctx_accesses makes them. A running kernel is better asked (learn.py): fields
whose sequence depends on the configuration or the version (tstamp, gso_segs, napi_id, most of bpf_sock_ops) are not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bpflens.errors import InputError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.contexts import SOCKET_KINDS, context_struct, fields
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import ProgType
from bpflens.original.kernels.probe import with_same_register
from bpflens.original.rewrites.ctx_access import PROBE_IMM, Row
from bpflens.original.rewrites.helper_symbols import helper_ids
from bpflens.original.rewrites.template import TemplateSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf
    from bpflens.original.image.image import Image

__all__ = ("DescribedKernel", "rows_of")

_SK = "sk_buff.sk > sock_common."
_SKB = {
    "len": "sk_buff.len", "pkt_type": "sk_buff.pkt_type & 7", "mark": "sk_buff.mark", "queue_mapping": "sk_buff.queue_mapping",
    "protocol": "sk_buff.protocol", "vlan_tci": "sk_buff.vlan_tci", "vlan_proto": "sk_buff.vlan_proto", "priority": "sk_buff.priority",
    "ingress_ifindex": "sk_buff.skb_iif", "tc_index": "sk_buff.tc_index", "hash": "sk_buff.hash", "data": "sk_buff.data",
    "sk": "sk_buff.sk", "family": _SK + "skc_family", "remote_ip4": _SK + "skc_daddr", "local_ip4": _SK + "skc_rcv_saddr",
    "local_port": _SK + "skc_num", "remote_port": _SK + "skc_dport << 16", "remote_ip6": _SK + "skc_v6_daddr [4]",
    "local_ip6": _SK + "skc_v6_rcv_saddr [4]", "vlan_present": "sk_buff.vlan_all ? 1", "cb": "sk_buff.cb + qdisc_skb_cb.data [4]",
    "tc_classid": "sk_buff.cb + qdisc_skb_cb.tc_classid", "data_end": "sk_buff.cb + bpf_skb_data_end.data_end",
    "data_meta": "sk_buff.cb + bpf_skb_data_end.data_meta", "wire_len": "sk_buff.cb + qdisc_skb_cb.pkt_len",
}  # fmt: skip
_SOCK = {
    "bound_dev_if": "sock_common.skc_bound_dev_if", "family": "sock_common.skc_family", "type": "sock.sk_type",
    "protocol": "sock.sk_protocol", "src_ip6": "sock_common.skc_v6_rcv_saddr [4]", "dst_ip6": "sock_common.skc_v6_daddr [4]",
    "mark": "sock.sk_mark", "priority": "sock.sk_priority", "src_ip4": "sock_common.skc_rcv_saddr", "dst_ip4": "sock_common.skc_daddr",
    "src_port": "sock_common.skc_num", "dst_port": "sock_common.skc_dport", "state": "sock_common.skc_state",
}  # fmt: skip
_ADDR, _ADDR_SK = "bpf_sock_addr_kern.uaddr > ", "bpf_sock_addr_kern.sk > "
_MSG_SK = "sk_msg.sk > sock_common."
_TCP = (
    "snd_cwnd srtt_us snd_ssthresh rcv_nxt snd_nxt snd_una mss_cache ecn_flags rate_delivered rate_interval_us packets_out retrans_out "
    "total_retrans segs_in data_segs_in segs_out data_segs_out lost_out sacked_out bytes_received bytes_acked dsack_dups delivered "
    "delivered_ce"
)
_TABLES: dict[str, dict[str, str]] = {
    "__sk_buff": _SKB,
    "xdp_md": {
        "data": "xdp_buff.data", "data_end": "xdp_buff.data_end", "data_meta": "xdp_buff.data_meta",
        "ingress_ifindex": "xdp_buff.rxq > xdp_rxq_info.dev > net_device.ifindex",
        "rx_queue_index": "xdp_buff.rxq > xdp_rxq_info.queue_index",
        "egress_ifindex": "xdp_buff.txq > xdp_txq_info.dev > net_device.ifindex",
    },
    "bpf_sock": _SOCK,
    "bpf_tcp_sock": {name: f"tcp_sock.{name}" for name in _TCP.split()} | {"icsk_retransmits": "inet_connection_sock.icsk_retransmits"},
    "bpf_xdp_sock": {"queue_id": "xdp_sock.queue_id"},
    "bpf_sock_addr": {
        "user_family": _ADDR + "sockaddr.sa_family", "user_ip4": _ADDR + "sockaddr_in.sin_addr",
        "user_ip6": _ADDR + "sockaddr_in6.sin6_addr [4]",
        "user_port": _ADDR + "sockaddr_in6.sin6_port",
        "family": _ADDR_SK + "sock_common.skc_family", "type": _ADDR_SK + "sock.sk_type", "protocol": _ADDR_SK + "sock.sk_protocol",
        "sk": "bpf_sock_addr_kern.sk",
    },
    "sk_msg_md": {
        "data": "sk_msg.data", "data_end": "sk_msg.data_end", "family": _MSG_SK + "skc_family", "remote_ip4": _MSG_SK + "skc_daddr",
        "local_ip4": _MSG_SK + "skc_rcv_saddr", "local_port": _MSG_SK + "skc_num", "remote_port": _MSG_SK + "skc_dport << 16",
        "sk": "sk_msg.sk",
    },
    "sk_reuseport_md": {
        "data": "sk_reuseport_kern.skb > sk_buff.data", "len": "sk_reuseport_kern.skb > sk_buff.len",
        "eth_protocol": "sk_reuseport_kern.skb > sk_buff.protocol", "ip_protocol": "sk_reuseport_kern.sk > sock.sk_protocol",
        "data_end": "sk_reuseport_kern.data_end", "hash": "sk_reuseport_kern.hash", "bind_inany": "sk_reuseport_kern.bind_inany",
        "sk": "sk_reuseport_kern.sk", "migrating_sk": "sk_reuseport_kern.migrating_sk",
    },
    "bpf_sk_lookup": {
        "sk": "bpf_sk_lookup_kern.selected_sk", "family": "bpf_sk_lookup_kern.family", "protocol": "bpf_sk_lookup_kern.protocol",
        "remote_port": "bpf_sk_lookup_kern.sport", "local_port": "bpf_sk_lookup_kern.dport",
        "ingress_ifindex": "bpf_sk_lookup_kern.ingress_ifindex",
    },
    "bpf_sysctl": {"write": "bpf_sysctl_kern.write", "file_pos": "bpf_sysctl_kern.ppos > loff_t."},
    "bpf_sockopt": {
        "sk": "bpf_sockopt_kern.sk", "optval": "bpf_sockopt_kern.optval", "optval_end": "bpf_sockopt_kern.optval_end",
        "level": "bpf_sockopt_kern.level", "optname": "bpf_sockopt_kern.optname", "optlen": "bpf_sockopt_kern.optlen",
    },
}  # fmt: skip
_CLASSIFIERS = (ProgType.SCHED_CLS, ProgType.SCHED_ACT)  # the device is known to be there
_WRITABLE = {
    "__sk_buff": ("mark", "priority", "tc_index", "tc_classid", "cb"),
    "bpf_sock": ("bound_dev_if", "mark", "priority"),
    "bpf_sockopt": ("level", "optname", "optlen"),
}
_WRITERS = {"__sk_buff": (3, 4, 12, 14), "bpf_sock": (9,), "bpf_sockopt": (25,)}


def rows_of(btf: Btf, struct_name: str, prog_type: int = 0) -> Sequence[Row]:
    """The accesses to a context struct (or to a socket, prog_type 0) in the kernel that `btf` describes."""
    table = dict(_TABLES.get(struct_name, {}))
    if struct_name == "__sk_buff" and prog_type:
        table["ifindex"] = f"sk_buff.dev {'>' if prog_type in _CLASSIFIERS else '?>'} net_device.ifindex"
    writable = _WRITABLE.get(struct_name, ()) if prog_type in _WRITERS.get(struct_name, ()) else ()
    rows: list[Row] = []
    for field in fields(struct_name):
        name, _, index = field.name.rstrip("]").partition("[")
        if name not in table:
            continue
        try:
            image, target_size = _load(btf, table[name], int(index or 0))
        except InputError:
            continue  # another kernel, another structure
        if name == "cb":
            rows += _bytes(image[0].off, field.offset, field.size, name in writable)
            continue
        rows += _loads(image, target_size, field.offset, field.size)
        if name in writable:
            rows += _stores(image, target_size, field.offset, field.size)
    return rows


def _bytes(kernel_offset: int, offset: int, ctx_size: int, writable: bool) -> Iterator[Row]:
    """skb->cb is bytes to the kernel too: every access stays what it is, at another offset."""
    for size in (1, 2, 4):
        for at in range(0, ctx_size, size):
            place, width = kernel_offset + at, op.SIZE_CODE[size]
            yield Row("R", offset + at, size, False, (Insn.make(op.LDX | op.MEM | width, 2, 1, place).word,))
            yield Row("R", offset + at, size, True, (Insn.make(op.LDX | op.MEM | width, 1, 1, place).word,))
            if writable:
                yield Row("W", offset + at, size, False, (Insn.make(op.STX | op.MEM | width, 1, 2, place).word,))
                yield Row("I", offset + at, size, False, (Insn.make(op.ST | op.MEM | width, 1, 0, place, PROBE_IMM).word,))


def _load(btf: Btf, text: str, element: int) -> tuple[list[Insn], int]:
    """(instructions, size in bytes of the last load) of a field."""
    operation = re.search(r" (&|<<|\?) (\d+)$", text)
    text = text[: operation.start()] if operation else text
    array = re.search(r" \[(\d+)\]$", text)
    chain = re.split(r" (\??>) ", text[: array.start()] if array else text)
    insns: list[Insn] = []
    checks = []
    base, size = 1, 0
    for index, part in enumerate(chain):
        if index % 2:
            if part == "?>":
                checks.append(len(insns))
                insns.append(Insn.make(op.JMP | op.JEQ | op.K, 2))
            continue
        offset, size = _place(btf, part, int(array[1]) if array and index == len(chain) - 1 else 0)
        offset += element * size if array and index == len(chain) - 1 else 0
        insns.append(Insn.make(op.LDX | op.MEM | op.SIZE_CODE[size], 2, base, offset))
        base = 2
    if operation and operation[1] == "?":
        insns += [Insn.make(op.JMP | op.JEQ | op.K, 2, 0, 1), Insn.make(op.ALU | op.MOV | op.K, 2, imm=1)]
    elif operation:
        code = op.ALU | (op.AND if operation[1] == "&" else op.LSH) | op.K
        insns.append(Insn.make(code, 2, 0, 0, int(operation[2])))
    for at in checks:
        insns[at] = Insn.make(op.JMP | op.JEQ | op.K, 2, 0, len(insns) - at - 1)
    return insns, size


def _place(btf: Btf, part: str, element_bytes: int) -> tuple[int, int]:
    """(byte offset, size in bytes) of a member; a bit-field is read by its byte."""
    from bpflens.btf.fields import field

    if part.endswith("."):  # a pointer to a number
        return 0, 4
    total, size = 0, 0
    for place in part.split(" + "):
        struct_name, _, member = place.partition(".")
        found = field(btf, btf.struct_id(struct_name), member)
        total += found.bit_off // 8
        size = 1 if found.bit_size else btf.size(found.type_id)
    size = element_bytes or size
    if size not in op.SIZE_CODE:
        raise InputError(part, f"has {size} bytes")
    return total, size


def _loads(image: list[Insn], target_size: int, offset: int, ctx_size: int) -> Iterator[Row]:
    """The natural load and the narrow ones."""
    for size in (1, 2, 4, 8):
        for at in range(offset, offset + ctx_size, size):
            if size > ctx_size or at % size:
                continue
            insns = list(image)
            if size < min(target_size, ctx_size):
                shift = 8 * (at - offset)
                alu = op.ALU64 if ctx_size > 4 else op.ALU
                insns += [Insn.make(alu | op.RSH | op.K, 2, imm=shift)] if shift else []
                insns.append(Insn.make(op.ALU | op.AND | op.K, 2, imm=(1 << 8 * size) - 1))
            words = tuple(insn.word for insn in insns)
            yield Row("R", at, size, False, words)
            same = with_same_register(words)
            if same is not None:
                yield Row("R", at, size, True, same)


def _stores(image: list[Insn], target_size: int, offset: int, ctx_size: int) -> Iterator[Row]:
    if len(image) != 1:
        return
    width, at = op.SIZE_CODE[target_size], image[0].off
    yield Row("W", offset, ctx_size, False, (Insn.make(op.STX | op.MEM | width, 1, 2, at).word,))
    yield Row("I", offset, ctx_size, False, (Insn.make(op.ST | op.MEM | width, 1, 0, at, PROBE_IMM).word,))


class DescribedKernel:
    """A kernel known by its BTF, and by the names that a dump has for what it calls."""

    def __init__(self, btf: Btf, image: Image) -> None:
        self.btf = btf
        self._names = {image.insns[slot].imm: name for slot, name in image.symbols.items() if image.insns[slot].code == op.CALL_CODE}
        self._imms = {name: imm for imm, name in self._names.items()}

    def helpers(self, imm: int, prog_type: int) -> tuple[int, ...]:
        """See rewrites/kernel_protocol.py."""
        name = self._names.get(imm)
        return helper_ids(name, prog_type) if name else ()

    def kfunc(self, imm: int) -> int | None:
        """See rewrites/kernel_protocol.py."""
        name = self._names.get(imm)
        return self.kfunc_id(name) if name else None

    def kfunc_id(self, name: str) -> int | None:
        """See rewrites/kernel_protocol.py."""
        from bpflens.btf.btf import Kind

        return self.btf.find(name, Kind.FUNC)

    def ksyms(self, address: int) -> tuple[int, ...]:
        """Nothing is known of addresses."""
        return ()

    def imm_of(self, name: str) -> int | None:
        """See rewrites/kernel_protocol.py: known of what the dump itself calls."""
        return self._imms.get(name)

    def types(self) -> Btf | None:
        """All that is known of it."""
        return self.btf

    def algorithm(self) -> str:
        """Not known."""
        return ""

    def templates(self, prog_type: int, attach_type: int | None) -> TemplateSet:
        """See rewrites/kernel_protocol.py."""
        from bpflens.original.kernels.running import static_templates

        accesses: dict[tuple[str, str], Sequence[Row]] = {
            (kind, struct_name): rows_of(self.btf, struct_name) for kind, struct_name in SOCKET_KINDS.items()
        }
        struct_name = context_struct(prog_type)
        if struct_name:
            accesses["ctx", struct_name] = rows_of(self.btf, struct_name, prog_type)
        return TemplateSet(static_templates(), self, accesses)



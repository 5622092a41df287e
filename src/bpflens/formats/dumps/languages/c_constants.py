"""Constants that C sources of BPF programs use, by name: from include/uapi/linux/{bpf_common,bpf,filter,if_ether,in,seccomp}.h.

Only values that are the same on every machine. `offsetof(struct seccomp_data, ...)` is known too (include/uapi/linux/seccomp.h; args
are 64-bit words; on big-endian machines a filter loads the other half, which the source then says itself).
"""

from __future__ import annotations

import errno
import functools
import re

from bpflens.errors import InputError
from bpflens.isa.classic.table import ANCILLARY

__all__ = ("constant", "size_of")

_CLASSIC = {
    # classes, sizes, modes, operations (bpf_common.h)
    "BPF_LD": 0x00,
    "BPF_LDX": 0x01,
    "BPF_ST": 0x02,
    "BPF_STX": 0x03,
    "BPF_ALU": 0x04,
    "BPF_JMP": 0x05,
    "BPF_RET": 0x06,
    "BPF_MISC": 0x07,
    "BPF_W": 0x00,
    "BPF_H": 0x08,
    "BPF_B": 0x10,
    "BPF_IMM": 0x00,
    "BPF_ABS": 0x20,
    "BPF_IND": 0x40,
    "BPF_MEM": 0x60,
    "BPF_LEN": 0x80,
    "BPF_MSH": 0xA0,
    "BPF_ADD": 0x00,
    "BPF_SUB": 0x10,
    "BPF_MUL": 0x20,
    "BPF_DIV": 0x30,
    "BPF_OR": 0x40,
    "BPF_AND": 0x50,
    "BPF_LSH": 0x60,
    "BPF_RSH": 0x70,
    "BPF_NEG": 0x80,
    "BPF_MOD": 0x90,
    "BPF_XOR": 0xA0,
    "BPF_JA": 0x00,
    "BPF_JEQ": 0x10,
    "BPF_JGT": 0x20,
    "BPF_JGE": 0x30,
    "BPF_JSET": 0x40,
    "BPF_K": 0x00,
    "BPF_X": 0x08,
    "BPF_A": 0x10,
    "BPF_TAX": 0x00,
    "BPF_TXA": 0x80,
}

_EXTENDED = {
    "BPF_JMP32": 0x06,
    "BPF_ALU64": 0x07,
    "BPF_DW": 0x18,
    "BPF_MEMSX": 0x80,
    "BPF_ATOMIC": 0xC0,
    "BPF_XADD": 0xC0,
    "BPF_MOV": 0xB0,
    "BPF_ARSH": 0xC0,
    "BPF_END": 0xD0,
    "BPF_TO_LE": 0x00,
    "BPF_TO_BE": 0x08,
    "BPF_FROM_LE": 0x00,
    "BPF_FROM_BE": 0x08,
    "BPF_JNE": 0x50,
    "BPF_JSGT": 0x60,
    "BPF_JSGE": 0x70,
    "BPF_CALL": 0x80,
    "BPF_EXIT": 0x90,
    "BPF_JLT": 0xA0,
    "BPF_JLE": 0xB0,
    "BPF_JSLT": 0xC0,
    "BPF_JSLE": 0xD0,
    "BPF_JCOND": 0xE0,
    "BPF_FETCH": 0x01,
    "BPF_XCHG": 0xE1,
    "BPF_CMPXCHG": 0xF1,
    "BPF_LOAD_ACQ": 0x100,
    "BPF_STORE_REL": 0x110,
    "BPF_PSEUDO_MAP_FD": 1,
    "BPF_PSEUDO_MAP_VALUE": 2,
    "BPF_PSEUDO_BTF_ID": 3,
    "BPF_PSEUDO_FUNC": 4,
    "BPF_PSEUDO_MAP_IDX": 5,
    "BPF_PSEUDO_MAP_IDX_VALUE": 6,
    "BPF_PSEUDO_CALL": 1,
    "BPF_PSEUDO_KFUNC_CALL": 2,
    "BPF_REG_ARG1": 1,
    "BPF_REG_ARG2": 2,
    "BPF_REG_ARG3": 3,
    "BPF_REG_ARG4": 4,
    "BPF_REG_ARG5": 5,
    "BPF_REG_CTX": 6,
    "BPF_REG_FP": 10,
    **{f"BPF_REG_{register}": register for register in range(11)},
}

_NETWORK = {
    # if_ether.h
    "ETH_P_LOOP": 0x0060,
    "ETH_P_IP": 0x0800,
    "ETH_P_ARP": 0x0806,
    "ETH_P_RARP": 0x8035,
    "ETH_P_8021Q": 0x8100,
    "ETH_P_IPV6": 0x86DD,
    "ETH_P_PAUSE": 0x8808,
    "ETH_P_SLOW": 0x8809,
    "ETH_P_PPP_DISC": 0x8863,
    "ETH_P_PPP_SES": 0x8864,
    "ETH_P_MPLS_UC": 0x8847,
    "ETH_P_MPLS_MC": 0x8848,
    "ETH_P_PAE": 0x888E,
    "ETH_P_AOE": 0x88A2,
    "ETH_P_8021AD": 0x88A8,
    "ETH_P_PREAUTH": 0x88C7,
    "ETH_P_LLDP": 0x88CC,
    "ETH_P_MACSEC": 0x88E5,
    "ETH_P_1588": 0x88F7,
    "ETH_P_PRP": 0x88FB,
    "ETH_P_TDLS": 0x890D,
    "ETH_P_ALL": 0x0003,
    "ETH_P_802_2": 0x0004,
    "ETHER_ADDR_LEN": 6,
    "ETHER_HDR_LEN": 14,
    "ETHER_TYPE_LEN": 2,
    "ETHERMTU": 1500,
    "ETH_ALEN": 6,
    "ETH_HLEN": 14,
    "ETHERTYPE_IP": 0x0800,
    "ETHERTYPE_ARP": 0x0806,
    "ETHERTYPE_IPV6": 0x86DD,
    "ETHERTYPE_VLAN": 0x8100,
    "ETHERTYPE_REVARP": 0x8035,
    "ETHERTYPE_LLDP": 0x88CC,
    "ETHERTYPE_PAE": 0x888E,
    "ETHERTYPE_EAPOL": 0x888E,
    "ETHERTYPE_PPPOE": 0x8864,
    "ETHERTYPE_PPPOEDISC": 0x8863,
    "ETHERTYPE_MPLS": 0x8847,
    "ETHERTYPE_LOOPBACK": 0x9000,
    # netinet/ip.h, netinet/tcp.h, netinet/ip_icmp.h
    "IP_RF": 0x8000,
    "IP_DF": 0x4000,
    "IP_MF": 0x2000,
    "IP_OFFMASK": 0x1FFF,
    "IP_OFFSET": 0x1FFF,
    "IPVERSION": 4,
    "TH_FIN": 0x01,
    "TH_SYN": 0x02,
    "TH_RST": 0x04,
    "TH_PUSH": 0x08,
    "TH_ACK": 0x10,
    "TH_URG": 0x20,
    "ICMP_ECHOREPLY": 0,
    "ICMP_ECHO": 8,
    "ICMP6_ECHO_REQUEST": 128,
    "ND_ROUTER_SOLICIT": 133,
    "ND_ROUTER_ADVERT": 134,
    "ND_NEIGHBOR_SOLICIT": 135,
    "ND_NEIGHBOR_ADVERT": 136,
    # if_arp.h
    "ARPHRD_ETHER": 1,
    "ARPOP_REQUEST": 1,
    "ARPOP_REPLY": 2,
    "ARPOP_REVREPLY": 4,
    # bootp.h and friends of DHCP clients
    "DHCP_SERVER_PORT": 67,
    "DHCP_CLIENT_PORT": 68,
    "IPPORT_BOOTPS": 67,
    "IPPORT_BOOTPC": 68,
    # in.h, in6.h
    "IPPROTO_IP": 0,
    "IPPROTO_HOPOPTS": 0,
    "IPPROTO_ICMP": 1,
    "IPPROTO_IGMP": 2,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    "IPPROTO_GRE": 47,
    "IPPROTO_ESP": 50,
    "IPPROTO_AH": 51,
    "IPPROTO_ICMPV6": 58,
    "IPPROTO_SCTP": 132,
    "IPPROTO_RAW": 255,
    # if_packet.h
    "PACKET_HOST": 0,
    "PACKET_BROADCAST": 1,
    "PACKET_MULTICAST": 2,
    "PACKET_OTHERHOST": 3,
    "PACKET_OUTGOING": 4,
    # filter.h
    "SKF_AD_OFF": -0x1000,
    "SKF_NET_OFF": -0x100000,
    "SKF_LL_OFF": -0x200000,
    "BPF_NET_OFF": -0x100000,
    "BPF_LL_OFF": -0x200000,
    "BPF_MEMWORDS": 16,
    "BPF_MAXINSNS": 4096,
    **{anc.symbol: anc.offset for anc in ANCILLARY},
}

_SECCOMP = {
    # seccomp.h
    "SECCOMP_RET_KILL_PROCESS": 0x80000000,
    "SECCOMP_RET_KILL_THREAD": 0x00000000,
    "SECCOMP_RET_KILL": 0x00000000,
    "SECCOMP_RET_TRAP": 0x00030000,
    "SECCOMP_RET_ERRNO": 0x00050000,
    "SECCOMP_RET_USER_NOTIF": 0x7FC00000,
    "SECCOMP_RET_TRACE": 0x7FF00000,
    "SECCOMP_RET_LOG": 0x7FFC0000,
    "SECCOMP_RET_ALLOW": 0x7FFF0000,
    "SECCOMP_RET_ACTION_FULL": 0xFFFF0000,
    "SECCOMP_RET_ACTION": 0x7FFF0000,
    "SECCOMP_RET_DATA": 0x0000FFFF,
    # audit.h
    "AUDIT_ARCH_X86_64": 0xC000003E,
    "AUDIT_ARCH_I386": 0x40000003,
    "AUDIT_ARCH_AARCH64": 0xC00000B7,
    "AUDIT_ARCH_ARM": 0x40000028,
    "AUDIT_ARCH_RISCV64": 0xC00000F3,
    "AUDIT_ARCH_S390X": 0x80000016,
    "AUDIT_ARCH_PPC64": 0x80000015,
    "AUDIT_ARCH_PPC64LE": 0xC0000015,
    "AUDIT_ARCH_LOONGARCH64": 0xC0000102,
    "__X32_SYSCALL_BIT": 0x40000000,
    "ENOSYS": 38,
    "EOPNOTSUPP": 95,
    "EAFNOSUPPORT": 97,
    # socket.h, mman.h, sched.h, ioctls.h: the same on most machines (asm-generic)
    "AF_UNIX": 1,
    "AF_INET": 2,
    "AF_INET6": 10,
    "AF_NETLINK": 16,
    "AF_PACKET": 17,
    "PROT_READ": 1,
    "PROT_WRITE": 2,
    "PROT_EXEC": 4,
    "CLONE_NEWNS": 0x00020000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_THREAD": 0x00010000,
    "TIOCSTI": 0x5412,
    "XDP_ABORTED": 0,
    "XDP_DROP": 1,
    "XDP_PASS": 2,
    "XDP_TX": 3,
    "XDP_REDIRECT": 4,
}

_ETHER = {"ether_dhost": 0, "ether_shost": 6, "ether_type": 12, "h_dest": 0, "h_source": 6, "h_proto": 12}
_IP4 = {
    "tos": 1, "tot_len": 2, "id": 4, "frag_off": 6, "ttl": 8, "protocol": 9, "check": 10, "saddr": 12, "daddr": 16,
    "ip_tos": 1, "ip_len": 2, "ip_id": 4, "ip_off": 6, "ip_ttl": 8, "ip_p": 9, "ip_sum": 10, "ip_src": 12, "ip_dst": 16,
}  # fmt: skip
_IP6 = {
    "payload_len": 4, "nexthdr": 6, "hop_limit": 7, "saddr": 8, "daddr": 24, "ip6_plen": 4, "ip6_nxt": 6, "ip6_hlim": 7, "ip6_src": 8,
    "ip6_dst": 24,
}  # fmt: skip
_TCP = {
    "source": 0, "dest": 2, "seq": 4, "ack_seq": 8, "window": 14, "check": 16, "urg_ptr": 18, "th_sport": 0, "th_dport": 2, "th_seq": 4,
    "th_ack": 8, "th_flags": 13, "th_win": 14, "th_sum": 16, "th_urp": 18,
}  # fmt: skip
_UDP = {"source": 0, "dest": 2, "len": 4, "check": 6, "uh_sport": 0, "uh_dport": 2, "uh_ulen": 4, "uh_sum": 6}
_ARP = {"ar_hrd": 0, "ar_pro": 2, "ar_hln": 4, "ar_pln": 5, "ar_op": 6}
_ETHER_ARP = {**_ARP, "ea_hdr": 0, "arp_hrd": 0, "arp_pro": 2, "arp_hln": 4, "arp_pln": 5, "arp_op": 6, "arp_sha": 8, "arp_spa": 14,
              "arp_tha": 18, "arp_tpa": 24}  # fmt: skip
_ICMP = {"type": 0, "code": 1, "checksum": 2, "icmp_type": 0, "icmp_code": 1, "icmp_cksum": 2, "icmp6_type": 0, "icmp6_code": 1}
_STRUCTS: dict[str, tuple[int, dict[str, int]]] = {
    "seccomp_data": (64, {"nr": 0, "arch": 4, "instruction_pointer": 8, "args": 16}),
    "ethhdr": (14, _ETHER),
    "ether_header": (14, _ETHER),
    "vlan_hdr": (4, {"h_vlan_TCI": 0, "h_vlan_encapsulated_proto": 2}),
    "vlan_ethhdr": (18, {"h_dest": 0, "h_source": 6, "h_vlan_proto": 12, "h_vlan_TCI": 14, "h_vlan_encapsulated_proto": 16}),
    "iphdr": (20, _IP4),
    "ip": (20, _IP4),
    "ipv6hdr": (40, _IP6),
    "ip6_hdr": (40, _IP6),
    "tcphdr": (20, _TCP),
    "udphdr": (8, _UDP),
    "icmphdr": (8, _ICMP),
    "icmp6hdr": (8, _ICMP),
    "icmp6_hdr": (8, _ICMP),
    "arphdr": (8, _ARP),
    "ether_arp": (28, _ETHER_ARP),
    "nlmsghdr": (16, {"nlmsg_len": 0, "nlmsg_type": 4, "nlmsg_flags": 6, "nlmsg_seq": 8, "nlmsg_pid": 12}),
}
"""Structures of the wire and of seccomp: size and members, in bytes; the same on every machine."""
_SIZES = {
    **dict.fromkeys(("char", "unsigned char", "u_char", "uint8_t", "u_int8_t", "u8", "__u8"), 1),
    **dict.fromkeys(("short", "unsigned short", "u_short", "uint16_t", "u_int16_t", "u16", "__u16", "__be16"), 2),
    **dict.fromkeys(("int", "unsigned", "unsigned int", "u_int", "uint32_t", "u_int32_t", "u32", "__u32", "__be32", "in_addr"), 4),
    **dict.fromkeys(("uint64_t", "u64", "__u64", "long long", "unsigned long long"), 8),
    "in6_addr": 16,
}
_SYSCALL = re.compile(r"(?:__NR_|SYS_)(\w+)\Z")
_MEMBER = re.compile(r"(\w+)(?:\[(\d)\])?\Z")


def _offset_of(struct: str, member: str) -> int | None:
    found = _MEMBER.match(member)
    if found is None or struct not in _STRUCTS:
        return None
    offset = _STRUCTS[struct][1].get(found[1])
    if offset is None or found[2] is None:
        return offset
    return offset + 8 * int(found[2]) if found[1] == "args" and int(found[2]) < 6 else None


def _syscall(name: str, arch: str) -> int | None:
    from bpflens.isa.classic.syscalls import syscall_number

    try:
        return syscall_number(arch, name)
    except InputError:
        return None


_EXTRACTORS = {"BPF_CLASS": 0x07, "BPF_OP": 0xF0, "BPF_SRC": 0x08, "BPF_SIZE": 0x18, "BPF_MODE": 0xE0}


@functools.cache
def _all() -> dict[str, int]:
    return {**_CLASSIC, **_EXTENDED, **_NETWORK, **_SECCOMP}


def size_of(type: str) -> int | None:
    """`sizeof(TYPE)` of the structures and integers that sources of filters use; None: unknown."""
    name = type.removeprefix("struct ").strip()
    return _STRUCTS[name][0] if name in _STRUCTS else _SIZES.get(name)


def constant(name: str, arguments: tuple[str, ...] = (), arch: str | None = None) -> int | None:
    """Value of a constant, of `offsetof(struct iphdr, protocol)`, of `__NR_read` on `arch`; BPF_SIZE(BPF_W) and the like. None: unknown."""
    if not arguments:
        value = _all().get(name)
        if value is None and arch is not None and (call := _SYSCALL.match(name)):
            return _syscall(call[1], arch)
        if value is None and name.startswith("E") and getattr(errno, name, 99) < 35:  # the same on every machine
            return int(getattr(errno, name))
        if value is None and name.startswith("BPF_FUNC_"):
            from bpflens.isa.extended.helpers import helper_id

            return helper_id("bpf_" + name.removeprefix("BPF_FUNC_"))
        return value
    if name in ("offsetof", "__builtin_offsetof", "offset_of") and len(arguments) == 2:
        return _offset_of(arguments[0].removeprefix("struct ").strip(), arguments[1].replace(" ", ""))
    if name == "SCMP_SYS" and len(arguments) == 1 and arch is not None:
        return _syscall(arguments[0], arch)
    if name in _EXTRACTORS and len(arguments) == 1 and (value := constant(arguments[0])) is not None:
        return value & _EXTRACTORS[name]
    return None

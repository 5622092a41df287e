"""Constants that C sources of BPF programs use, by name: from include/uapi/linux/{bpf_common,bpf,filter,if_ether,in,seccomp}.h.

Only values that are the same on every machine. `offsetof(struct seccomp_data, ...)` is known too (include/uapi/linux/seccomp.h; args
are 64-bit words; on big-endian machines a filter loads the other half, which the source then says itself).
"""

from __future__ import annotations

import functools
import re

from bpflens.isa.classic.table import ANCILLARY

__all__ = ("constant",)

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
    "ETH_ALEN": 6,
    "ETH_HLEN": 14,
    "ETHERTYPE_IP": 0x0800,
    "ETHERTYPE_ARP": 0x0806,
    "ETHERTYPE_IPV6": 0x86DD,
    "ETHERTYPE_VLAN": 0x8100,
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
    # errno-base.h
    "EPERM": 1,
    "ENOENT": 2,
    "EACCES": 13,
    "EINVAL": 22,
    "ENOSYS": 38,
    "XDP_ABORTED": 0,
    "XDP_DROP": 1,
    "XDP_PASS": 2,
    "XDP_TX": 3,
    "XDP_REDIRECT": 4,
}

_SECCOMP_DATA = {"nr": 0, "arch": 4, "instruction_pointer": 8, "args": 16}
_MEMBER = re.compile(r"(\w+)(?:\[(\d)\])?\Z")

_EXTRACTORS = {"BPF_CLASS": 0x07, "BPF_OP": 0xF0, "BPF_SRC": 0x08, "BPF_SIZE": 0x18, "BPF_MODE": 0xE0}


@functools.cache
def _all() -> dict[str, int]:
    return {**_CLASSIC, **_EXTENDED, **_NETWORK, **_SECCOMP}


def constant(name: str, arguments: tuple[str, ...] = ()) -> int | None:
    """Value of a constant, or of `offsetof(struct seccomp_data, member)`; a size macro (BPF_SIZE(BPF_W)) is its argument. None: unknown."""
    if not arguments:
        value = _all().get(name)
        if value is None and name.startswith("BPF_FUNC_"):
            from bpflens.isa.extended.helpers import helper_id

            return helper_id("bpf_" + name.removeprefix("BPF_FUNC_"))
        return value
    if name in ("offsetof", "__builtin_offsetof") and len(arguments) == 2 and arguments[0] == "structseccomp_data":
        member = _MEMBER.match(arguments[1])
        if member and member[1] in _SECCOMP_DATA and (member[2] is None or (member[1] == "args" and int(member[2]) < 6)):
            return _SECCOMP_DATA[member[1]] + 8 * int(member[2] or 0)
    if name in _EXTRACTORS and len(arguments) == 1 and (value := constant(arguments[0])) is not None:
        return value & _EXTRACTORS[name]
    return None

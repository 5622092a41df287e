"""Classic BPF as data: one row per instruction form (struct sock_filter, include/uapi/linux/filter.h and bpf_common.h).

A form is one value of the 16-bit `code`: the classic set has no operand bits in it. 52 codes are forms; every other code is a hole
that all three consumers (kernel socket filters, kernel seccomp, libpcap) refuse or abort on. Everything that bpflens knows of
an instruction derives from its row: both assembler dialects, the assembler, reads and writes, and who accepts it.

    Row("ldh", 0x28, Form.ABS, operand="[{k}]", effect="A = P[k:2]")
        kernel   ldh [12]                 ldh proto          (SKF_AD_OFF + SKF_AD_PROTOCOL)
        tcpdump  ldh      [12]            ldh      [proto]
"""

from __future__ import annotations

import enum

from bpflens.isa.classic.insn import SockFilter
from bpflens.lean import NamedTuple

__all__ = (
    "ANCILLARY",
    "ANCILLARY_BY_ASM_NAME",
    "ANCILLARY_BY_OFFSET",
    "BY_CODE",
    "MAXINSNS",
    "MEMWORDS",
    "ROWS",
    "SECCOMP_DATA_SIZE",
    "SKF_AD_OFF",
    "SKF_LL_OFF",
    "SKF_NET_OFF",
    "Ad",
    "Ancillary",
    "Area",
    "Form",
    "Row",
    "ancillary",
    "area",
    "reads",
    "targets",
    "unused_fields",
    "writes",
)

MAXINSNS = 4096  # BPF_MAXINSNS, include/uapi/linux/bpf_common.h
MEMWORDS = 16  # BPF_MEMWORDS, include/uapi/linux/filter.h
SECCOMP_DATA_SIZE = 64  # sizeof(struct seccomp_data), bytes

# Load offsets from here up are not packet offsets (include/uapi/linux/filter.h; bpf_internal_load_pointer_neg_helper in
# kernel/bpf/core.c resolves the NET and LL areas).
SKF_AD_OFF = 0xFFFFF000  # -0x1000: ancillary data of the skb
SKF_NET_OFF = 0xFFF00000  # -0x100000: from the network header
SKF_LL_OFF = 0xFFE00000  # -0x200000: from the link layer header


class Ad:
    """SKF_AD_*: offsets from SKF_AD_OFF (include/uapi/linux/filter.h)."""

    PROTOCOL, PKTTYPE, IFINDEX, NLATTR, NLATTR_NEST, MARK, QUEUE, HATYPE = range(0, 32, 4)
    RXHASH, CPU, ALU_XOR_X, VLAN_TAG, VLAN_TAG_PRESENT, PAY_OFFSET, RANDOM, VLAN_TPID = range(32, 64, 4)



class Form(enum.Enum):
    """The shape of a form: which fields of struct sock_filter mean something, and how the operand is written."""

    ABS = "load packet bytes at k"
    IND = "load packet bytes at X + k"
    MSH = "load an IPv4 header length"
    IMM = "load k"
    LEN = "load the packet length"
    MEM = "scratch memory word k"
    ALU_K = "arithmetic with k"
    ALU_X = "arithmetic with X"
    NEG = "arithmetic without operand"
    JA = "jump by k, 32 bits"
    JUMP_K = "compare A with k, jump by jt or jf"
    JUMP_X = "compare A with X, jump by jt or jf"
    RET_K = "return k"
    RET_REG = "return a register"
    MISC = "move between A and X"


class Row(NamedTuple):
    """One instruction form.

    `operand` is a template over k: `{k}` signed decimal, `{h}` hexadecimal; `tcpdump` the same where libpcap's bpf_image differs.
    `effect` is C-like: A, X, M[k], L (packet length), P[offset:size] big-endian; "" for jumps and returns where `operation` says it.
    `operation` is the operator of ALU and conditional jump forms. `reads` and `writes` are letters: A X M L P (packet or metadata).
    `socket`, `seccomp`, `libpcap` tell whose filters may hold the form (chk_code_allowed in net/core/filter.c, seccomp_check_filter in
    kernel/seccomp.c, bpf_filter in libpcap's bpf_filter.c).
    """

    mnemonic: str
    code: int
    form: Form
    operand: str = ""
    tcpdump: str | None = None
    effect: str = ""
    operation: str = ""
    reads: str = ""
    writes: str = ""
    size: int = 0
    socket: bool = True
    seccomp: bool = True
    libpcap: bool = True


def _alu(mnemonic: str, code: int, operation: str, operand: str = "#{k}", seccomp: bool = True) -> tuple[Row, Row]:
    effect = f"A = A {operation} "
    return (
        Row(mnemonic, code, Form.ALU_K, operand, effect=effect + "k", operation=operation, reads="A", writes="A", seccomp=seccomp),
        Row(mnemonic, code | 8, Form.ALU_X, "x", effect=effect + "X", operation=operation, reads="AX", writes="A", seccomp=seccomp),
    )


def _jump(mnemonic: str, code: int, operation: str) -> tuple[Row, Row]:
    return (
        Row(mnemonic, code, Form.JUMP_K, "#{h}", operation=operation, reads="A"),
        Row(mnemonic, code | 8, Form.JUMP_X, "x", operation=operation, reads="AX"),
    )


_IND = "[x + {k}]"
_MSH = "4*([{k}]&0xf)"

ROWS: tuple[Row, ...] = (
    # class LD: into A
    Row("ld", 0x00, Form.IMM, "#{h}", effect="A = k", writes="A"),
    Row("ld", 0x20, Form.ABS, "[{k}]", effect="A = P[k:4]", reads="P", writes="A", size=4),
    Row("ldh", 0x28, Form.ABS, "[{k}]", effect="A = P[k:2]", reads="P", writes="A", size=2, seccomp=False),
    Row("ldb", 0x30, Form.ABS, "[{k}]", effect="A = P[k:1]", reads="P", writes="A", size=1, seccomp=False),
    Row("ld", 0x40, Form.IND, _IND, effect="A = P[X + k:4]", reads="XP", writes="A", size=4, seccomp=False),
    Row("ldh", 0x48, Form.IND, _IND, effect="A = P[X + k:2]", reads="XP", writes="A", size=2, seccomp=False),
    Row("ldb", 0x50, Form.IND, _IND, effect="A = P[X + k:1]", reads="XP", writes="A", size=1, seccomp=False),
    Row("ld", 0x60, Form.MEM, "M[{k}]", effect="A = M[k]", reads="M", writes="A"),
    Row("ld", 0x80, Form.LEN, "#len", "#pktlen", effect="A = L", reads="L", writes="A"),
    # class LDX: into X
    Row("ldx", 0x01, Form.IMM, "#{h}", effect="X = k", writes="X"),
    Row("ldx", 0x61, Form.MEM, "M[{k}]", effect="X = M[k]", reads="M", writes="X"),
    Row("ldx", 0x81, Form.LEN, "#len", "#pktlen", effect="X = L", reads="L", writes="X"),
    Row("ldxb", 0xB1, Form.MSH, _MSH, effect="X = 4 * (P[k:1] & 0xf)", reads="P", writes="X", size=1, seccomp=False),
    # class ST, STX
    Row("st", 0x02, Form.MEM, "M[{k}]", effect="M[k] = A", reads="A", writes="M"),
    Row("stx", 0x03, Form.MEM, "M[{k}]", effect="M[k] = X", reads="X", writes="M"),
    # class ALU
    *_alu("add", 0x04, "+"),
    *_alu("sub", 0x14, "-"),
    *_alu("mul", 0x24, "*"),
    *_alu("div", 0x34, "/"),
    *_alu("or", 0x44, "|", "#{h}"),
    *_alu("and", 0x54, "&", "#{h}"),
    *_alu("lsh", 0x64, "<<"),
    *_alu("rsh", 0x74, ">>"),
    *_alu("mod", 0x94, "%", seccomp=False),
    *_alu("xor", 0xA4, "^", "#{h}"),
    Row("neg", 0x84, Form.NEG, effect="A = -A", operation="-", reads="A", writes="A"),
    # class JMP
    Row("ja", 0x05, Form.JA),
    *_jump("jeq", 0x15, "=="),
    *_jump("jgt", 0x25, ">"),
    *_jump("jge", 0x35, ">="),
    *_jump("jset", 0x45, "&"),
    # class RET
    Row("ret", 0x06, Form.RET_K, "#{h}", "#{k}", effect="return k"),
    Row("ret", 0x16, Form.RET_REG, "a", "", effect="return A", reads="A"),
    Row("ret", 0x0E, Form.RET_REG, "x", effect="return X", reads="X", socket=False, seccomp=False, libpcap=False),
    # class MISC
    Row("tax", 0x07, Form.MISC, effect="X = A", reads="A", writes="X"),
    Row("txa", 0x87, Form.MISC, effect="A = X", reads="X", writes="A"),
)

BY_CODE: dict[int, Row] = {row.code: row for row in ROWS}


class Ancillary(NamedTuple):
    """A load of skb metadata: offset from SKF_AD_OFF, the name of bpf_asm ("" where it has none), of tcpdump, and what it loads.

    `reads` names registers that the extension takes as arguments (bpf_convert_filter and bpf_anc_helper, net/core/filter.c).
    """

    offset: int
    symbol: str
    asm: str
    tcpdump: str
    doc: str
    reads: str = ""


ANCILLARY: tuple[Ancillary, ...] = (
    Ancillary(Ad.PROTOCOL, "SKF_AD_PROTOCOL", "proto", "proto", "protocol of the frame (skb->protocol), host order"),
    Ancillary(Ad.PKTTYPE, "SKF_AD_PKTTYPE", "type", "type", "packet type (PACKET_HOST, PACKET_BROADCAST ...)"),
    Ancillary(Ad.IFINDEX, "SKF_AD_IFINDEX", "ifidx", "ifidx", "interface index"),
    Ancillary(Ad.NLATTR, "SKF_AD_NLATTR", "nla", "nla", "offset of netlink attribute X from offset A", "AX"),
    Ancillary(Ad.NLATTR_NEST, "SKF_AD_NLATTR_NEST", "nlan", "nlan", "offset of netlink attribute X nested in the attribute at A", "AX"),
    Ancillary(Ad.MARK, "SKF_AD_MARK", "mark", "mark", "skb mark"),
    Ancillary(Ad.QUEUE, "SKF_AD_QUEUE", "queue", "queue", "queue mapping"),
    Ancillary(Ad.HATYPE, "SKF_AD_HATYPE", "hatype", "hatype", "hardware type of the device (ARPHRD_*)"),
    Ancillary(Ad.RXHASH, "SKF_AD_RXHASH", "rxhash", "rxhash", "receive hash"),
    Ancillary(Ad.CPU, "SKF_AD_CPU", "cpu", "cpu", "processor number"),
    Ancillary(Ad.ALU_XOR_X, "SKF_AD_ALU_XOR_X", "", "xor_x", "A ^ X", "AX"),
    Ancillary(Ad.VLAN_TAG, "SKF_AD_VLAN_TAG", "vlan_tci", "vlan_tci", "VLAN tag control information"),
    Ancillary(Ad.VLAN_TAG_PRESENT, "SKF_AD_VLAN_TAG_PRESENT", "vlan_avail", "vlanp", "1 where a VLAN tag is present in the metadata"),
    Ancillary(Ad.PAY_OFFSET, "SKF_AD_PAY_OFFSET", "poff", "poff", "offset of the payload"),
    Ancillary(Ad.RANDOM, "SKF_AD_RANDOM", "rand", "random", "a random number"),
    Ancillary(Ad.VLAN_TPID, "SKF_AD_VLAN_TPID", "vlan_tpid", "vlan_tpid", "VLAN protocol identifier"),
)

ANCILLARY_BY_OFFSET: dict[int, Ancillary] = {SKF_AD_OFF + anc.offset: anc for anc in ANCILLARY}
"""Absolute load offset (k) -> ancillary row."""

ANCILLARY_BY_ASM_NAME: dict[str, Ancillary] = {
    **{anc.tcpdump: anc for anc in ANCILLARY},
    **{anc.asm: anc for anc in ANCILLARY if anc.asm},
    "vlan_pr": next(anc for anc in ANCILLARY if anc.offset == Ad.VLAN_TAG_PRESENT),  # older spelling of bpf_asm
}
"""Every spelling that an assembler text may use -> ancillary row."""


class Area(enum.Enum):
    """What the offset of an absolute load counts from."""

    PACKET = "packet"
    ANCILLARY = "ancillary"
    NET = "network header"
    LL = "link layer header"
    OTHER = "beyond every area"


def area(k: int) -> tuple[Area, int]:
    """Area of a load offset and the offset within it, bytes. Kernel filters only: for libpcap every k is a packet offset."""
    if k < 0x80000000:
        return Area.PACKET, k
    if k >= SKF_AD_OFF:
        return Area.ANCILLARY, k - SKF_AD_OFF
    if k >= SKF_NET_OFF:
        return Area.NET, k - SKF_NET_OFF
    if k >= SKF_LL_OFF:
        return Area.LL, k - SKF_LL_OFF
    return Area.OTHER, k


def ancillary(insn: SockFilter) -> Ancillary | None:
    """The ancillary row that an absolute load means to the kernel; None for every other instruction."""
    row = BY_CODE.get(insn.code)
    return ANCILLARY_BY_OFFSET.get(insn.k) if row is not None and row.form is Form.ABS else None


def reads(insn: SockFilter) -> frozenset[str]:
    """What an instruction reads: "A", "X", "L", "P", "M<k>". Unknown code reads nothing."""
    return _names(insn, "reads")


def writes(insn: SockFilter) -> frozenset[str]:
    """What an instruction writes: "A", "X", "M<k>". Unknown code writes nothing."""
    return _names(insn, "writes")


def _names(insn: SockFilter, which: str) -> frozenset[str]:
    row = BY_CODE.get(insn.code)
    if row is None:
        return frozenset()
    letters: str = getattr(row, which)
    if which == "reads":
        extension = ancillary(insn)
        letters += extension.reads if extension else ""
    return frozenset(f"M{insn.k}" if letter == "M" else letter for letter in letters)


def targets(insn: SockFilter, pc: int) -> tuple[int, ...]:
    """Where control goes from `pc`, true branch first; () after a return or unknown code. `ja` is taken as signed, as libpcap does."""
    row = BY_CODE.get(insn.code)
    if row is None:
        return ()
    match row.form:
        case Form.JA:
            return (pc + 1 + (insn.k ^ 0x80000000) - 0x80000000,)
        case Form.JUMP_K | Form.JUMP_X:
            return (pc + 1 + insn.jt, pc + 1 + insn.jf)
        case Form.RET_K | Form.RET_REG:
            return ()
        case _:
            return (pc + 1,)


_WITHOUT_K = frozenset({Form.LEN, Form.ALU_X, Form.NEG, Form.JUMP_X, Form.RET_REG, Form.MISC})
_CONDITIONAL = frozenset({Form.JUMP_K, Form.JUMP_X})


def unused_fields(insn: SockFilter) -> dict[str, int]:
    """Values other than 0 in fields that mean nothing to the instruction: "jt", "jf", "k". Unknown code has none."""
    row = BY_CODE.get(insn.code)
    if row is None:
        return {}
    fields = {} if row.form in _CONDITIONAL else {"jt": insn.jt, "jf": insn.jf}
    if row.form in _WITHOUT_K:
        fields["k"] = insn.k
    return {name: value for name, value in fields.items() if value}

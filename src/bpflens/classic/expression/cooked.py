"""A filter of a cooked packet socket (SOCK_DGRAM) as the LINUX_SLL filter that libpcap made it from.

`tcpdump -i any` compiles for LINUX_SLL, whose 16-byte header libpcap makes up itself: the kernel's packet begins with the network header.
So before libpcap attaches the filter it takes 16 off every offset, and reads the header's two fields from skb->pkt_type and skb->protocol
(libpcap pcap-linux.c, fix_offset). This is the way back:

    ldh proto; ldb [9]          ──►   ldh [14]; ldb [25]

Exact for every packet as long as no offset is computed below zero, which no filter of libpcap does.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.table import BY_CODE, Area, Form, ancillary, area

__all__ = ("COOKED", "HEADER_BYTES", "as_linux_sll")

COOKED = "network header"  # the note of the origin of such a filter: what its packets begin with

HEADER_BYTES = 16
_LDH_ABS = 0x28
_FIELDS = {"SKF_AD_PKTTYPE": 0, "SKF_AD_PROTOCOL": 14}  # offsets in struct sll_header


def as_linux_sll(insns: Sequence[SockFilter]) -> tuple[SockFilter, ...] | None:
    """The filter for packets that have the LINUX_SLL header; None where it has no such form (it reads the length or unknown code)."""
    made = []
    for insn in insns:
        row = BY_CODE.get(insn.code)
        if row is None or "L" in row.reads:
            return None
        if row.form is Form.ABS:
            extension = ancillary(insn)
            where, offset = area(insn.k)
            if extension is not None and extension.symbol in _FIELDS:
                insn = SockFilter(_LDH_ABS, 0, 0, _FIELDS[extension.symbol])
            elif where is Area.PACKET:
                insn = insn._replace(k=offset + HEADER_BYTES)
        elif row.form in (Form.IND, Form.MSH):
            if insn.k >= 0x80000000:
                return None
            insn = insn._replace(k=insn.k + HEADER_BYTES)
        made.append(insn)
    return tuple(made)

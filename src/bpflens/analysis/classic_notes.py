"""What a listing says beside a classic instruction: the ancillary field that a load means, the protocol that a comparison is with.

    (000) ldh [12]                ──►  "ether type"
    (001) jeq #0x800 jt 2 jf 3    ──►  "IPv4"
    (005) ld  [-4076]             ──►  "mark: skb mark"

The accumulator is followed from its load to the comparisons that control can reach with nothing else written to it; a slot that two
different loads reach has no note. Fields are named only where the link type says what the packet begins with. Linear.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.table import BY_CODE as ROWS
from bpflens.isa.classic.table import Area, Form, ancillary, area, targets, writes
from bpflens.program import Program

__all__ = ("slot_notes",)

ETHER_TYPES = {
    0x0800: "IPv4", 0x0806: "ARP", 0x8035: "RARP", 0x86DD: "IPv6", 0x8100: "802.1Q", 0x88A8: "802.1ad", 0x9100: "QinQ",
    0x8847: "MPLS", 0x8848: "MPLS multicast", 0x8863: "PPPoE discovery", 0x8864: "PPPoE session", 0x888E: "EAPOL",
    0x88CC: "LLDP", 0x88E5: "MACsec", 0x88F7: "PTP", 0x8906: "FCoE", 0x809B: "AppleTalk", 0x80F3: "AARP", 0x8137: "IPX",
}  # fmt: skip
IP_PROTOCOLS = {
    0: "hop-by-hop", 1: "ICMP", 2: "IGMP", 4: "IPv4", 6: "TCP", 17: "UDP", 41: "IPv6", 43: "IPv6 routing", 44: "IPv6 fragment", 47: "GRE",
    50: "ESP", 51: "AH", 58: "ICMPv6", 60: "IPv6 options", 88: "EIGRP", 89: "OSPF", 103: "PIM", 108: "IPComp", 112: "VRRP", 132: "SCTP",
}  # fmt: skip
_LINK_HEADERS = {"EN10MB": (12, 14), "LINUX_SLL": (14, 16), "LINUX_SLL2": (0, 20), "RAW": (None, 0), "IPV4": (None, 0), "IPV6": (None, 0)}
"""Link type -> (offset of the ether type or None, length of the link header), bytes."""

_FIELD_OF_IP = {9: "IPv4 protocol", 6: "IPv6 next header"}
_CONSTANTS = {"ether type": ETHER_TYPES, "IPv4 protocol": IP_PROTOCOLS, "IPv6 next header": IP_PROTOCOLS}


def slot_notes(program: Program, insns: Sequence[SockFilter]) -> dict[int, list[str]]:
    """Notes of a classic program by slot."""
    notes: dict[int, list[str]] = {}
    loaded: list[str | None] = [None] * (len(insns) + 1)  # what A holds before each slot; "" where loads disagree
    for pc, insn in enumerate(insns):
        row = ROWS.get(insn.code)
        holds = loaded[pc] or ""
        if row is None:
            continue
        if row.form in (Form.ABS, Form.IND, Form.IMM, Form.MEM, Form.LEN):
            holds = _field(program, insn) if row.form is Form.ABS and "A" in writes(insn) else holds
            if row.form is Form.ABS and (text := _load_note(insn, holds)):
                notes[pc] = [text]
        if row.form is not Form.ABS and "A" in writes(insn):
            holds = ""
        if row.form is Form.JUMP_K and holds in _CONSTANTS:
            name = _CONSTANTS[holds].get(insn.k)
            if name:
                notes[pc] = [name]
        for target in targets(insn, pc):
            if pc < target < len(loaded):
                loaded[target] = holds if loaded[target] in (None, holds) else ""
    return notes


def _load_note(insn: SockFilter, holds: str) -> str:
    extension = ancillary(insn)
    if extension is not None:
        return extension.doc
    where, offset = area(insn.k)
    if where in (Area.NET, Area.LL):
        return f"{where.value} + {offset}" + (f": {holds}" if holds else "")
    return holds


def _field(program: Program, insn: SockFilter) -> str:
    """The field that an absolute load reads, "" where it is not one that is known here."""
    extension = ancillary(insn)
    if extension is not None:
        return "ether type" if extension.asm in ("proto", "vlan_tpid") else ""
    where, offset = area(insn.k)
    size = {0x28: 2, 0x30: 1, 0x20: 4}.get(insn.code, 0)
    if where is Area.NET:
        return _FIELD_OF_IP.get(offset, "") if size == 1 else ""
    link_type = program.origin.linktype
    if link_type is None or where not in (Area.PACKET, Area.LL):
        return ""
    header = _LINK_HEADERS.get(link_type)
    if header is None:
        return ""
    if size == 2 and offset == header[0]:
        return "ether type"
    if size == 2 and offset == header[1] + 6:
        return "IPv4 flags and fragment offset"
    return _FIELD_OF_IP.get(offset - header[1], "") if size == 1 else ""

"""The output of `ss -0 -b`: whole tables with or without headers, -p, -n, -e and -O, wrapped or not.

    p_dgr 0      0                 ip:*                *     users:(("dhclient",pid=412,fd=5))
            bpf filter (4):  0x28 0 0 12, 0x15 0 1 2048, 0x06 0 0 4294967295, 0x06 0 0 0,

What the row says of the packets: a p_dgr (SOCK_DGRAM) socket's filter sees packets from the network header on (packet_rcv in
net/packet/af_packet.c), which is link type RAW; the protocol column is what the kernel has matched before the filter runs. A
p_raw socket's link type depends on its device, which the row does not tell, but for lo.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bpflens.formats.dumps.source_text import SourceText
from bpflens.formats.dumps.tools.quads import number, parse
from bpflens.isa.classic.insn import encode
from bpflens.program import Holder, Isa, Program

__all__ = ("read",)

_FILTER = re.compile(r"bpf\s+filter\s+\((\d{1,9})\)\s*:")
_QUAD = re.compile(r"\s*(0[xX][0-9a-fA-F]{1,8})\s+(\d{1,10})\s+(\d{1,10})\s+(\d{1,10})\s*,?")
_SOCKET = re.compile(r"^[ \t]*(p_raw|p_dgr)\b", re.MULTILINE)
_ROW = re.compile(r"(p_raw|p_dgr)\s+(?:UNCONN\s+)?\d+\s+\d+\s+(\[\d+\]|[^\s:]+):(\S+)")
_NUMBERED = re.compile(r"\[(\d{1,9})\]\Z")
_USER = re.compile(r'\("([^"]{0,64})",pid=(\d{1,10}),fd=(\d{1,10})\)')
_INODE = re.compile(r"\bino:(\d{1,20})")

# ss spells the protocol by iproute2's names (lib/ll_proto.c); libpcap's primitive for the same Ethernet type.
_PRIMITIVE = {"ip": "ip", "ipv6": "ip6", "arp": "arp", "rarp": "rarp", "[2048]": "ip", "[34525]": "ip6", "[2054]": "arp", "[32821]": "rarp"}


class _Row(NamedTuple):
    netid: str
    protocol: str
    device: str
    holders: tuple[Holder, ...]
    inode: str | None


def read(text: SourceText) -> list[Program]:
    """Every filter of the table; InputError where a filter is cut short, or where all were withheld for lack of privilege."""
    body = text.body
    sockets = [match.start() for match in _SOCKET.finditer(body)]
    programs = []
    taken = []
    withheld = None
    socket_index = 0
    previous_end = 0
    for found in _FILTER.finditer(body):
        count = int(found[1])
        if count == 0:
            withheld = found.start() if withheld is None else withheld
            continue
        numbers: list[int] = []
        end = found.end()
        while len(numbers) < 4 * count and (quad := _QUAD.match(body, end)):
            numbers += map(number, quad.groups())
            end = quad.end()
        if len(numbers) < 4 * count:
            text.fail(found.start(), f"bpf filter cut: {len(numbers) // 4} of {count} instructions")
        while socket_index < len(sockets) and sockets[socket_index] < found.start():
            socket_index += 1
        start = found.start()
        row = None
        if socket_index and sockets[socket_index - 1] >= previous_end:
            start = sockets[socket_index - 1]
            row = _parse_row(body[start : found.start()])
        insns = parse(numbers, f"{text.where}:{text.line_of(found.start())}")
        programs.append(_program(text, encode(insns), start, end, row))
        taken.append((start, end))
        previous_end = end
    text.take(taken)
    if withheld is not None and not programs:
        text.fail(withheld, "the filters are withheld (length 0)", "run ss as root: it needs CAP_NET_ADMIN to see them")
    return programs


def _parse_row(line: str) -> _Row | None:
    match = _ROW.match(line.strip())
    if match is None:
        return None
    holders = tuple(Holder(int(pid), comm, int(fd)) for comm, pid, fd in _USER.findall(line))
    inode = _INODE.search(line)
    return _Row(match[1], match[2], match[3], holders, inode[1] if inode else None)


def _program(text: SourceText, code: bytes, start: int, end: int, row: _Row | None) -> Program:
    if row is None:
        return Program(Isa.CLASSIC, code, text.origin("ss", start, end))
    linktype = "RAW" if row.netid == "p_dgr" else "EN10MB" if row.device == "lo" else None
    holder = f", {row.holders[0].comm} (pid {row.holders[0].pid})" if row.holders else ""
    on = "every device" if row.device == "*" else row.device
    start_of_packet = "; packets begin at the network header" if row.netid == "p_dgr" else ""
    note = f"{row.netid} socket on {on}, protocol {_protocol_words(row.protocol)}{holder}{start_of_packet}"
    said = {"netid": row.netid, "protocol": row.protocol, "device": row.device}
    if row.inode:
        said["inode"] = row.inode
    origin = text.origin("ss", start, end, linktype, _given(row), note, said)
    return Program(Isa.CLASSIC, code, origin, holders=row.holders)


def _protocol_words(protocol: str) -> str:
    if protocol == "*":
        return "any"
    ether_type = _ether_type(protocol)
    return protocol if ether_type is None else f"{ether_type:#06x}"


def _ether_type(protocol: str) -> int | None:
    """The number of a protocol that ss has no name for, or was told not to name: "[34958]"."""
    match = _NUMBERED.match(protocol)
    return int(match[1]) if match else None


def _given(row: _Row) -> tuple[str, ...]:
    """The protocol as a libpcap primitive; only IP has one where packets begin at the network header."""
    primitive = _PRIMITIVE.get(row.protocol)
    if row.netid == "p_dgr":
        return (primitive,) if primitive in ("ip", "ip6") else ()
    ether_type = _ether_type(row.protocol)
    if primitive is None and ether_type is not None and 0x600 <= ether_type <= 0xFFFF:
        primitive = f"ether proto {ether_type:#06x}"
    return (primitive,) if primitive else ()

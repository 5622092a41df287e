"""The names that people write in index expressions, in place of numbers (pcap-filter(7)).

    tcp port 80 or 443 ──►   tcp port http or https       (on request: the machine's /etc/services decides)
    tcp[13] & 3 != 0   ──►   tcp[tcpflags] & (tcp-syn|tcp-fin) != 0          icmp[0] = 8   ──►   icmp[icmptype] = icmp-echo
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ("named", "with_services")

_FLAGS = {1: "tcp-fin", 2: "tcp-syn", 4: "tcp-rst", 8: "tcp-push", 16: "tcp-ack", 32: "tcp-urg", 64: "tcp-ece", 128: "tcp-cwr"}
_ORDER = (2, 16, 1, 4, 8, 32, 64, 128)  # as one says them: SYN, ACK, FIN, RST
_ICMP = {
    0: "icmp-echoreply", 3: "icmp-unreach", 4: "icmp-sourcequench", 5: "icmp-redirect", 8: "icmp-echo", 9: "icmp-routeradvert",
    10: "icmp-routersolicit", 11: "icmp-timxceed", 12: "icmp-paramprob", 13: "icmp-tstamp", 14: "icmp-tstampreply", 15: "icmp-ireq",
    16: "icmp-ireqreply", 17: "icmp-maskreq", 18: "icmp-maskreply",
}  # fmt: skip
_NUMBER = r"(0x[0-9a-f]+|\d+)"
_TCP = rf"(?<![\w\[])tcp\[13\](?: & {_NUMBER})? (=|!=) {_NUMBER}(?![\w\]])"
_ICMP_TYPE = rf"(?<![\w\[])icmp\[0\] (=|!=) {_NUMBER}(?![\w\]])"


def named(shown: str) -> str:
    """The text with names where all of a relation has them; it means the same, which the caller proves."""
    if "tcp[13]" not in shown and "icmp[0]" not in shown:
        return shown
    shown = re.sub(_TCP, _tcp, shown)
    return re.sub(_ICMP_TYPE, _icmp, shown)


def _tcp(match: re.Match[str]) -> str:
    mask, sign, value = match[1], match[2], int(match[3], 0)
    by = f" & {_flags(int(mask, 0))}" if mask else ""
    if (mask and not 0 < int(mask, 0) < 256) or value > 255:
        return match[0]
    return f"tcp[tcpflags]{by} {sign} {_flags(value) if value else '0'}"


def _flags(value: int) -> str:
    names = [_FLAGS[bit] for bit in _ORDER if value & bit]
    return names[0] if len(names) == 1 else f"({'|'.join(names)})"


def _icmp(match: re.Match[str]) -> str:
    name = _ICMP.get(int(match[2], 0))
    return f"icmp[icmptype] {match[1]} {name}" if name else match[0]


_PORT = r"\bport \d+(?: or \d+)*(?![\w.-])"


def with_services(shown: str, means_the_same: Callable[[str], bool]) -> str:
    """The text with the names of services in place of ports, each only where the system knows it and means the same by it."""
    from bpflens.classic.packets.well_known import PORTS

    def one(match: re.Match[str]) -> str:
        return re.sub(r"\d+", lambda number: PORTS.get(int(number[0]), number[0]) if int(number[0]) < 65536 else number[0], match[0])

    for match in reversed(list(re.finditer(_PORT, shown))):
        changed = shown[: match.start()] + one(match) + shown[match.end() :]
        shown = changed if means_the_same(changed) else shown
    return shown

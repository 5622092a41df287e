"""Where the headers lie behind each link type, and the value sets of a field read straight from a diagram.

    pieces(store, node, PACKET, 26, 4)   ──►   [(0x0a000001, 0x0a000001), (0xc0a80000, 0xc0a8ffff)]

the ranges of the IPv4 source address that some test in the diagram tells from the rest.
"""

from __future__ import annotations

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base
from bpflens.classic.diagrams.term import Load, Op, Term, scale
from bpflens.lean import NamedTuple

__all__ = ("LAYOUTS", "PACKET", "PAYLOADS", "Layout", "header_base", "layout_of", "linktype_name", "pieces")

PACKET = Base("packet")


class Layout(NamedTuple):
    """`network`: byte offset of the IP header, None where it varies; `protocol`: offset of a 2-byte ethertype, None without one;
    `start`: the name of an index expression that counts from byte 0 of the packet."""

    network: int | None
    protocol: int | None
    start: str


# libpcap gencode.c, init_linktype(): the fixed ones; the rest have only what the candidates' own code shows
LAYOUTS = {
    "EN10MB": Layout(14, 12, "ether"),
    "RAW": Layout(0, None, "link"),
    "IPV4": Layout(0, None, "link"),
    "IPV6": Layout(0, None, "link"),
    "NULL": Layout(4, None, "link"),
    "LOOP": Layout(4, None, "link"),
    "PPP": Layout(4, 2, "link"),
    "C_HDLC": Layout(4, 2, "link"),
    "LINUX_SLL": Layout(16, 14, "link"),
    "LINUX_SLL2": Layout(20, 0, "link"),
}


PAYLOADS = {
    "UDP": "udp", "TCP": "tcp", "ICMP": "icmp", "ICMP6": "icmp6", "ARP": "arp", "LLC": "llc", "NETLINK": "nlmsghdr", "PAYLOAD": "data",
}  # fmt: skip
"""What a socket delivers that is no link layer's packet -> the header at its byte 0. libpcap has no names for these: only `link[...]`."""


def linktype_name(linktype: str) -> str:
    """A link type as libpcap spells it: "dlt_en10mb" and "en10mb" are "EN10MB"."""
    return linktype.upper().removeprefix("DLT_")


def layout_of(linktype: str) -> Layout:
    """The layout of a link type by libpcap's name; unknown ones have only byte 0."""
    return LAYOUTS.get(linktype, Layout(None, None, "link"))


_MOST_PARTS = 8192  # parts of one field; masks at several places in it multiply them


def header_base(network: int) -> Base:
    """The base that counts from byte 0 of the packet plus the length of the IPv4 header at `network`."""
    length: Term = scale(Op("and", Load(PACKET, network, 1), 15), 4)
    return Base("packet", length)


def pieces(store: Store, node: int, base: Base, offset: int, size: int, complements: bool = False) -> list[tuple[int, int]]:
    """Ranges of the `size`-byte field at (base, offset) that the diagram treats unlike the field's other values; sorted, no duplicates.

    Where two ranges next to each other are treated differently from each other both are listed, and the whole that they make up too.
    Nothing for a field in more than _MOST_PARTS parts. `complements`: where the field is cut in three at most, all parts, and the
    ranges from the first to the last piece.
    """
    try:
        return _pieces(store, node, base, offset, size, complements)
    except _TooMany:
        return []


class _TooMany(Exception):
    """A field in more parts than a person lists."""


def _pieces(store: Store, node: int, base: Base, offset: int, size: int, complements: bool) -> list[tuple[int, int]]:
    variables = [store.variable(base, offset + i) for i in range(size)]
    position = {variable: i for i, variable in enumerate(variables)}
    memo: dict[tuple[int, int], list[tuple[int, int, int]]] = {}

    def parts(n: int, i: int) -> list[tuple[int, int, int]]:
        """(low, high, what follows) over bytes i.. of the field."""
        bits = 8 * (size - i)
        at = position.get(store.var[n]) if n >= 0 else None
        if at is None or at < i:
            return [(0, (1 << bits) - 1, n)]
        if at > i:
            return [(0, (1 << bits) - 1, n)]  # a higher byte does not matter here: not a value of the whole field
        found = memo.get((n, i))
        if found is not None:
            return found
        result: list[tuple[int, int, int]] = []
        starts = store.starts[n]
        low_bits = bits - 8
        for index, kid in enumerate(store.kids[n]):
            first, last = starts[index], min(starts[index + 1] - 1, 255)
            below = parts(kid, i + 1) if i + 1 < size else [(0, 0, kid)]
            if len(below) == 1:
                result.append((first << low_bits, (last + 1 << low_bits) - 1, below[0][2]))
                continue
            if len(result) > 4 * _MOST_PARTS:
                raise _TooMany
            for byte in range(first, min(last, first + 7) + 1):
                result += [(byte << low_bits | low, byte << low_bits | high, rest) for low, high, rest in below]
        joined: list[tuple[int, int, int]] = []
        for low, high, rest in result:
            if joined and joined[-1][2] == rest and joined[-1][1] + 1 == low:
                joined[-1] = (joined[-1][0], high, rest)
            else:
                joined.append((low, high, rest))
        if len(joined) > _MOST_PARTS:
            raise _TooMany
        memo[n, i] = joined
        return joined

    wanted: set[tuple[int, int]] = set()
    for n in store.reachable(node):
        if store.var[n] != variables[0]:
            continue
        found = parts(n, 0)
        if len(found) < 2:
            continue
        weight: dict[int, int] = {}
        for low, high, rest in found:
            weight[rest] = weight.get(rest, 0) + high - low + 1
        default = max(weight, key=lambda rest: weight[rest])
        run: list[tuple[int, int]] = []
        for low, high, rest in [*found, (-1, -1, default)]:
            if rest != default:
                wanted.add((low, high))
                run.append((low, high))
            else:
                if len(run) > 1:
                    wanted.add((run[0][0], run[-1][1]))
                run = []
        if complements and len(found) <= 3:
            wanted |= {(low, high) for low, high, _ in found if high - low < (1 << 8 * size) - 1}
        marked = [(low, high) for low, high, rest in found if rest != default]
        if complements and 1 < len(marked) <= 6:
            wanted.add((marked[0][0], marked[-1][1]))
    return sorted(wanted)

"""The packet and its context: where they lie in memory, how helpers read and change them, what a test run of the kernel sets up.

Layout as in the kernel's test runs (bpf_prog_test_run_skb, bpf_prog_test_run_xdp, Linux 6.18): for XDP and tc the packet starts
at the Ethernet header, for other skb types after it. The context is the structure that programs see; its pointers are 32-bit addresses.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.execute.interpreter.memory import EFAULT, SHIFT, Fault
from bpflens.execute.interpreter.state import Arguments, State
from bpflens.execute.result import Input
from bpflens.isa.extended.contexts import context_struct, fields
from bpflens.isa.extended.uapi import ProgType

__all__ = ("PACKET_HELPERS", "absolute", "context_after", "packet_after", "prepare")

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
PACKET_REGION, CTX_REGION = 4, 8  # below 2^32: contexts hold addresses in 32 bits
HEADROOM, TAILROOM = 256, 320
ETHERNET = 14
XDP = ProgType.XDP
SKB_TYPES = frozenset((
    ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.CGROUP_SKB, ProgType.LWT_IN, ProgType.LWT_OUT,
    ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL, ProgType.SK_SKB, ProgType.FLOW_DISSECTOR,
))  # fmt: skip
L2_TYPES = frozenset((ProgType.SCHED_CLS, ProgType.SCHED_ACT))
IP_HEADER = {b"\x08\x00": 20, b"\x86\xdd": 40}
EINVAL, ENOMEM = 22, 12


def prepare(m: State, input: Input) -> int:
    """Lay out packet and context for a run; the address of the context. ValueError with the reason where the kernel would refuse it."""
    prog_type = m.subject.prog_type
    if prog_type == XDP:
        return _xdp(m, input)
    if prog_type in SKB_TYPES:
        return _skb(m, input)
    ctx = bytearray(input.ctx or bytes(8))
    name = context_struct(prog_type)
    if name:
        ctx = ctx.ljust(max((f.offset + f.size for f in fields(name)), default=0), b"\0")
        m.memory.add(bytearray(HEADROOM) + input.packet + bytearray(TAILROOM), PACKET_REGION)
        m.data, m.data_end = HEADROOM, HEADROOM + len(input.packet)
        for field in fields(name):
            if field.points_to.startswith("packet"):
                at = m.data_end if field.points_to == "packet_end" else m.data
                ctx[field.offset : field.offset + field.size] = (PACKET_REGION << SHIFT | at).to_bytes(field.size, "little")
            elif field.points_to:
                ctx[field.offset : field.offset + 8] = (0xFFFF_9000_0000_2000).to_bytes(8, "little")
        m.memory.outside = True
    return m.memory.add(ctx, CTX_REGION)


def _xdp(m: State, input: Input) -> int:
    if len(input.packet) < ETHERNET:
        raise ValueError("a packet of less than 14 bytes")
    meta = interface = queue = 0
    if input.ctx:
        meta, end, bad, interface, queue = (int.from_bytes(input.ctx[4 * n : 4 * n + 4], "little") for n in range(5))
        if bad or end != len(input.packet) or meta > end or meta & 3 or meta > 252 or (queue and not interface):
            raise ValueError("a context that does not fit the packet")
    m.memory.add(bytearray(HEADROOM - meta) + input.packet + bytearray(TAILROOM), PACKET_REGION)
    m.meta, m.data, m.data_end = HEADROOM - meta, HEADROOM, HEADROOM - meta + len(input.packet)
    m.interface, m.queue = interface or 1, queue
    base = PACKET_REGION << SHIFT
    words = (base + m.data, base + m.data_end, base + m.meta, m.interface, m.queue, 0)
    return m.memory.add(bytearray(b"".join(word.to_bytes(4, "little") for word in words)), CTX_REGION)


def _skb(m: State, input: Input) -> int:
    packet = input.packet
    if len(packet) < ETHERNET:
        raise ValueError("a packet of less than 14 bytes")
    if len(packet) < ETHERNET + IP_HEADER.get(packet[12:14], 0):
        raise ValueError("a packet that ends within its IP header")
    level2 = m.subject.prog_type in L2_TYPES
    m.memory.add(bytearray(HEADROOM) + packet + bytearray(TAILROOM), PACKET_REGION)
    m.mac = HEADROOM
    m.data, m.data_end = HEADROOM + (0 if level2 else ETHERNET), HEADROOM + len(packet)
    m.meta = m.data
    ctx = bytearray(192)
    given = input.ctx.ljust(192, b"\0")
    for start, size in ((8, 4), (32, 4), (48, 20), (152, 8), (160, 4), (164, 4)):
        ctx[start : start + size] = given[start : start + size]
    ctx[0:4] = (m.data_end - m.data).to_bytes(4, "little")
    ctx[4:8] = _packet_kind(packet).to_bytes(4, "little")
    protocol = int.from_bytes(packet[12:14], "big")
    ctx[16:20] = (packet[12:14] if protocol >= 1536 else b"\0\4").ljust(4, b"\0")
    ctx[40:44] = (1).to_bytes(4, "little")
    if not int.from_bytes(given[160:164], "little"):
        ctx[160:164] = ctx[0:4]
    ctx[168:176] = (0xFFFF_9000_0000_2000).to_bytes(8, "little")
    _place_pointers(m, ctx)
    return m.memory.add(ctx, CTX_REGION)


def _packet_kind(packet: bytes) -> int:
    """eth_type_trans() on the loopback device: address 0."""
    if packet[0] & 1:
        return 1 if packet[:6] == b"\xff" * 6 else 2
    return 0 if packet[:6] == bytes(6) else 3


def _place_pointers(m: State, ctx: bytearray) -> None:
    base = PACKET_REGION << SHIFT
    for start, value in ((76, m.data), (80, m.data_end), (140, m.meta)):
        ctx[start : start + 4] = (base + value).to_bytes(4, "little")


def _moved(m: State) -> None:
    """The packet got other bounds: tell the context."""
    ctx = m.memory.regions[CTX_REGION]
    assert isinstance(ctx, bytearray)
    if m.subject.prog_type == XDP:
        base = PACKET_REGION << SHIFT
        for at, value in enumerate((m.data, m.data_end, m.meta)):
            ctx[4 * at : 4 * at + 4] = (base + value).to_bytes(4, "little")
    else:
        ctx[0:4] = (m.data_end - m.data).to_bytes(4, "little")
        _place_pointers(m, ctx)


def packet_after(m: State) -> bytes:
    """The packet as it is now; b"" where the type has none."""
    region = m.memory.regions.get(PACKET_REGION)
    if region is None:
        return b""
    if m.subject.prog_type in SKB_TYPES and m.subject.prog_type not in L2_TYPES:
        return bytes(ETHERNET) + region[m.data : m.data_end]  # the kernel gives the header back as zeros
    return bytes(region[m.meta if m.subject.prog_type == XDP else m.data : m.data_end])


def context_after(m: State) -> bytes:
    """What a program may have changed of its context."""
    ctx = m.memory.regions[CTX_REGION]
    if m.subject.prog_type == XDP:
        return b""
    if m.subject.prog_type in SKB_TYPES:
        return bytes(ctx[8:12] + ctx[16:20] + ctx[32:36] + ctx[44:76] + ctx[152:160])
    name = context_struct(m.subject.prog_type)
    out = bytearray(ctx)
    for field in fields(name):
        if field.points_to:
            out[field.offset : field.offset + field.size] = bytes(field.size)
    return bytes(out)


# --- packet access by helpers ---


def _bytes(m: State) -> bytearray:
    region = m.memory.regions[PACKET_REGION]
    assert isinstance(region, bytearray)
    return region


def absolute(m: State, offset: int, size: int) -> bytes | None:
    """Packet bytes for LD_ABS and LD_IND; negative offsets from the network or link layer header, as in classic filters."""
    if PACKET_REGION not in m.memory.regions:
        raise Fault("a packet load without a packet")
    signed = offset - (1 << 32) if offset >> 31 else offset
    start = m.data + signed
    if signed < 0:
        network = m.mac + ETHERNET
        start = network + signed + 0x100000 if signed >= -0x100000 else m.mac + signed + 0x200000
        if signed < -0x200000:
            return None
    return bytes(_bytes(m)[start : start + size]) if m.mac <= start and start + size <= m.data_end else None


def _load_bytes(m: State, a: Arguments) -> int:
    offset, size = a[1] & M32, a[3] & M32
    if offset > 0xFFFF or m.data + offset + size > m.data_end:
        m.memory.write(a[2], bytes(size))
        return EFAULT
    m.memory.write(a[2], bytes(_bytes(m)[m.data + offset : m.data + offset + size]))
    return 0


def _load_bytes_relative(m: State, a: Arguments) -> int:
    offset, size, whence = a[1] & M32, a[3] & M32, a[4] & M32
    start = (m.mac if whence == 0 else m.mac + ETHERNET) + offset
    if offset > 0xFFFF or whence > 1 or start + size > m.data_end:
        m.memory.write(a[2], bytes(size))
        return EFAULT if whence <= 1 else -EINVAL & M64
    m.memory.write(a[2], bytes(_bytes(m)[start : start + size]))
    return 0


def _store_bytes(m: State, a: Arguments) -> int:
    offset, size = a[1] & M32, a[3] & M32
    if a[4] & ~3:
        return -EINVAL & M64
    if offset > 0x7FFFFFFF or m.data + offset + size > m.data_end:
        return EFAULT
    _bytes(m)[m.data + offset : m.data + offset + size] = m.memory.read(a[2], size)
    return 0


def _fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _checksum_replace(layer4: bool) -> Callable[[State, Arguments], int]:
    """bpf_l3_csum_replace and bpf_l4_csum_replace: a checksum in the packet mended for a change (RFC 1624)."""

    def helper(m: State, a: Arguments) -> int:
        offset, old, new, flags = a[1] & M32, a[2], a[3], a[4]
        size = flags & 15
        if flags & ~(0x7F if layer4 else 0xF) or offset & 1 or offset > 0xFFFF:
            return -EINVAL & M64
        start = m.data + offset
        if start + 2 > m.data_end:
            return EFAULT
        data = _bytes(m)
        current = int.from_bytes(data[start : start + 2], "little")
        if layer4 and flags & 0x20 and not flags & 0x40 and not current:
            return 0
        if size == 0:
            if old:
                return -EINVAL & M64
            total = (~current & 0xFFFF) + (new & M32)
        elif size in (2, 4):
            mask = (1 << 8 * size) - 1
            total = (~current & 0xFFFF) + (~old & mask) + (new & mask)
        else:
            return -EINVAL & M64
        value = ~_fold(total) & 0xFFFF
        if layer4 and flags & 0x20 and not value:
            value = 0xFFFF
        data[start : start + 2] = value.to_bytes(2, "little")
        return 0

    return helper


def _adjust_head(m: State, a: Arguments) -> int:
    delta = (a[1] & M32 ^ 1 << 31) - (1 << 31)
    meta = m.data - m.meta
    start = m.data + delta
    if start < 40 + meta or start > m.data_end - ETHERNET:  # struct xdp_frame lies in the headroom
        return -EINVAL & M64
    if meta:
        data = _bytes(m)
        data[start - meta : start] = data[m.meta : m.data]
    m.data, m.meta = start, start - meta
    _moved(m)
    return 0


def _adjust_meta(m: State, a: Arguments) -> int:
    delta = (a[1] & M32 ^ 1 << 31) - (1 << 31)
    start = m.meta + delta
    length = m.data - start
    if start < 40 or start > m.data or length & 3 or length > 252:
        return -EINVAL & M64
    m.meta = start
    _moved(m)
    return 0


def _adjust_tail(m: State, a: Arguments) -> int:
    delta = (a[1] & M32 ^ 1 << 31) - (1 << 31)
    end = m.data_end + delta
    if end > len(_bytes(m)) or end < m.data + ETHERNET:
        return -EINVAL & M64
    if delta > 0:
        _bytes(m)[m.data_end : end] = bytes(delta)
    m.data_end = end
    _moved(m)
    return 0


def _pull_data(m: State, a: Arguments) -> int:
    wanted = a[1] & M32
    return -ENOMEM & M64 if wanted > m.data_end - m.data else 0


def _change_tail(m: State, a: Arguments) -> int:
    size = a[1] & M32
    if a[2] or size > 65535 or size < ETHERNET:
        return -EINVAL & M64
    data = _bytes(m)
    end = m.data + size
    if end > len(data):
        data += bytes(end - len(data) + TAILROOM)
    if end > m.data_end:
        data[m.data_end : end] = bytes(end - m.data_end)
    m.data_end = end
    _moved(m)
    return 0


def _csum_update(m: State, a: Arguments) -> int:
    return -EINVAL & M64


def _change_type(m: State, a: Arguments) -> int:
    ctx = m.memory.regions[CTX_REGION]
    kind = a[1] & M32
    current = int.from_bytes(ctx[4:8], "little")
    if current > 3 or kind > 3:
        return -EINVAL & M64
    if isinstance(ctx, bytearray):
        ctx[4:8] = kind.to_bytes(4, "little")
    return 0


def _redirect(m: State, a: Arguments) -> int:
    """The action: XDP_REDIRECT or TC_ACT_REDIRECT; with flags that are not known XDP_ABORTED or TC_ACT_SHOT."""
    m.record(23, a[0] & M32, a[1])
    if m.subject.prog_type == XDP:
        return 4 if not a[1] else 0
    return 7 if not a[1] & ~1 else 2


def _hash(m: State, a: Arguments) -> int:
    m.modelled.add("bpf_get_hash_recalc modelled")
    return 0x51ED270B


PACKET_HELPERS: dict[int, Callable[[State, Arguments], int]] = {
    26: _load_bytes, 68: _load_bytes_relative, 9: _store_bytes, 10: _checksum_replace(False), 11: _checksum_replace(True),
    44: _adjust_head, 54: _adjust_meta, 65: _adjust_tail, 39: _pull_data, 38: _change_tail, 40: _csum_update, 32: _change_type,
    23: _redirect, 34: _hash,
}  # fmt: skip
"""Helper number -> function, for helpers that need the packet."""

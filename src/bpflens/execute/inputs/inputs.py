"""Random inputs for a program: packets and contexts of its type, contents for its maps, and small changes of inputs that were good."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from bpflens.execute.inputs.mine import Mined
from bpflens.execute.inputs.packets import SMALLEST, random_packet
from bpflens.execute.kernel_maps import (
    ARRAY,
    ARRAY_OF_MAPS,
    DEVMAP,
    DEVMAP_HASH,
    HASH_OF_MAPS,
    HASHES,
    LPM_TRIE,
    PERCPU_ARRAY,
    QUEUE,
    RDONLY_PROG,
    STACK,
    Contents,
    inner_name,
    is_global_data,
    read_limits,
)
from bpflens.execute.result import Input
from bpflens.isa.extended.contexts import context_struct, fields
from bpflens.isa.extended.uapi import ProgType
from bpflens.kernel.programs.test_run import PACKET_TYPES
from bpflens.program import Map

__all__ = ("InputMaker",)

_XDP, _SK_LOOKUP, _FLOW_DISSECTOR, _NETFILTER = ProgType.XDP, ProgType.SK_LOOKUP, ProgType.FLOW_DISSECTOR, ProgType.NETFILTER
_SKB_SETTABLE = (("mark", 8, 4), ("priority", 32, 4), ("cb", 48, 20), ("tstamp", 152, 8), ("wire_len", 160, 4), ("gso_segs", 164, 4))
_IP_HEADER = {b"\x08\x00": 20, b"\x86\xdd": 40}
_SMALL = (0, 0, 1, 2, 3, 4, 8, 10, 16, 255)
_TEXTS = (b"0x1f", b"1234567", b"-77 ", b"GET / HTTP/1.1\r\n", b"E000", b"abcdefgh", b"99999999999999999999", b"010")
_MAX_PACKET = 1500


class InputMaker:
    """Draws inputs for one program. `prog_type`: as which it is run; `own_type`: what it is."""

    def __init__(self, mined: Mined, prog_type: int, own_type: int, maps: Mapping[str, Map], rnd: Random) -> None:
        self.mined, self.rnd, self.maps = mined, rnd, maps
        self.type, self.own_type = prog_type, own_type
        self.keys: dict[str, dict[bytes, None]] = {}
        self.pointers: Sequence[int] = ()
        self._style = 0.0
        self.settable: Mapping[str, Sequence[tuple[int, int]]] = {}
        struct_name = context_struct(own_type) if prog_type == own_type else ""
        self._reads_packet = any(field.points_to.startswith("packet") for field in fields(struct_name))

    def fresh(self) -> Input:
        """A new input."""
        if self.type in PACKET_TYPES:
            packet = self._whole(random_packet(self.rnd))
            return Input(packet, self._packet_context(len(packet)))
        return Input(random_packet(self.rnd) if self._reads_packet else b"", self._context())

    def changed(self, input: Input) -> Input:
        """A good input with a few fields changed."""
        rnd = self.rnd
        if self.type not in PACKET_TYPES:
            return Input(input.packet, self._changed_context(input.ctx))
        packet = bytearray(input.packet)
        for _ in range(rnd.choice((1, 1, 2, 4))):
            if self.mined.packet and rnd.random() < 0.75:
                offset, size = rnd.choice(self.mined.packet)
                if offset + size <= len(packet):
                    packet[offset : offset + size] = self._number(size)
            else:
                self._reshape(packet)
        data = self._whole(bytes(packet[:_MAX_PACKET]))
        return Input(data, self._packet_context(len(data)) if rnd.random() < 0.3 or self.type == _XDP else input.ctx)

    def _whole(self, packet: bytes) -> bytes:
        """skb test runs refuse a packet that ends within its IP header."""
        needed = SMALLEST + _IP_HEADER.get(packet[12:14], 0) if self.type != _XDP else 0
        return packet.ljust(needed, b"\0")

    def contents(self, *, global_data: bool) -> Contents:
        """Elements for all maps that take some: keys that were looked up or are likely, values from the constants."""
        made: dict[str, Mapping[bytes, bytes]] = {}
        for name, map in self.maps.items():
            made[name] = elements = self._elements(name, map, global_data)
            inner = map.fields.get("inner")
            if map.type in (ARRAY_OF_MAPS, HASH_OF_MAPS) and isinstance(inner, Map):
                made |= {inner_name(name, key): self._elements(name, inner, False) for key in elements}
        return made

    def saw_keys(self, name: str, keys: Iterable[bytes]) -> bool:
        """Remember keys that the program looked up; whether one is new."""
        known = self.keys.setdefault(name, {})
        before = len(known)
        if before < 256:
            known.update(dict.fromkeys(keys))
        return len(known) > before

    def _number(self, size: int) -> bytes:
        rnd = self.rnd
        how = rnd.random()
        value = rnd.choice(self.mined.constants) if how < 0.8 else rnd.getrandbits(rnd.randrange(1, 8 * size + 1))
        return (value & (1 << 8 * size) - 1).to_bytes(size, rnd.choice(("little", "little", "big")))

    def _reshape(self, packet: bytearray) -> None:
        rnd = self.rnd
        how = rnd.random()
        if how < 0.3:
            del packet[rnd.randrange(SMALLEST, len(packet) + 1) :]
        elif how < 0.5:
            packet += bytes(rnd.randrange(1, 60))
        elif how < 0.65:
            text, at = rnd.choice(_TEXTS), rnd.choice((14, 34, 42, 54, rnd.randrange(len(packet))))
            packet[at : at + len(text)] = text
        else:
            packet[rnd.randrange(len(packet))] = rnd.choice((0, 1, 0xFF, rnd.randrange(256)))

    def _packet_context(self, size: int) -> bytes:
        """What the kernel lets a test run set (convert___skb_to_skb, bpf_prog_test_run_xdp)."""
        rnd = self.rnd
        if self.type == _XDP:
            if rnd.random() < 0.7:
                return b""
            meta = rnd.choice((0, 0, 4, 8, 32)) if size > 64 else 0
            return struct.pack("=6I", meta, size, 0, rnd.choice((0, 1)), 0, 0)
        if self.type in (_FLOW_DISSECTOR, _NETFILTER) or rnd.random() < 0.5:
            return b""
        ctx = bytearray(192)
        for _, offset, length in _SKB_SETTABLE[: rnd.choice((1, 2, 3, 4))]:
            if rnd.random() < 0.6:
                ctx[offset : offset + length] = b"".join(self._number(4) for _ in range(-(-length // 4)))[:length]
        return bytes(ctx)

    def _context(self) -> bytes:
        struct_name = context_struct(self.own_type)
        size = max(self.mined.ctx_size, max((f.offset + f.size for f in fields(struct_name)), default=0))
        if self.type in (ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE):
            size = 96
        elif self.own_type == 2:
            size = max(size, 168)
        elif self.type == _SK_LOOKUP:
            return self._sk_lookup()
        return b"".join(self._word() for _ in range(-(-size // 8)))

    def _changed_context(self, ctx: bytes) -> bytes:
        rnd = self.rnd
        if self.type == _SK_LOOKUP:
            return self._sk_lookup()
        changed = bytearray(ctx)
        for _ in range(rnd.choice((1, 1, 2, 4))):
            if self.mined.ctx and rnd.random() < 0.7:
                offset, size = rnd.choice(self.mined.ctx)
                if offset + size <= len(changed):
                    changed[offset : offset + size] = self._word() if size == 8 and rnd.random() < 0.5 else self._number(size)
            else:
                at = 8 * rnd.randrange(max(1, len(changed) // 8))
                changed[at : at + 8] = self._word()
        return bytes(changed)

    def _word(self) -> bytes:
        rnd = self.rnd
        how = rnd.random()
        if how < 0.35 and self.pointers:
            return (rnd.choice(self.pointers) + rnd.choice((0, 0, 8, 64))).to_bytes(8, "little")
        if how < 0.6:
            return self._number(8)
        if how < 0.85:
            return struct.pack("=II", rnd.choice(_SMALL), rnd.choice(_SMALL))
        return rnd.randbytes(8)

    def _sk_lookup(self) -> bytes:
        """struct bpf_sk_lookup as bpf_prog_test_run_sk_lookup() wants it."""
        rnd = self.rnd
        v6 = rnd.random() < 0.4
        ctx = bytearray(72)
        struct.pack_into("=II", ctx, 8, 10 if v6 else 2, rnd.choice((6, 17)))
        ctx[16:20] = ctx[40:44] = bytes((rnd.choice((10, 127)), 0, 0, rnd.choice((1, 2))))
        if v6:
            ctx[20:36], ctx[44:60] = rnd.randbytes(16), rnd.randbytes(16)
        struct.pack_into("!H", ctx, 36, rnd.choice((80, 443, rnd.randrange(1, 65536))))
        struct.pack_into("=II", ctx, 60, rnd.choice((80, 443, 7, 1234, rnd.randrange(65536))), rnd.choice((0, 1)))
        return bytes(ctx)

    def _elements(self, name: str, map: Map, global_data: bool) -> dict[bytes, bytes]:
        rnd = self.rnd
        if name.startswith("*"):
            return {}
        if is_global_data(name):
            places = self.settable.get(name, ())
            if not map.flags & RDONLY_PROG and global_data:
                places = [(offset, size) for offset, (_, size, _) in list(map.datasec.items())[:64] if 0 < size <= 8]
            return self._globals(map, places) if places and rnd.random() < 0.6 else {}
        limit = read_limits(map)
        self._style = rnd.random()
        if map.type in (ARRAY, PERCPU_ARRAY, ARRAY_OF_MAPS, DEVMAP):
            indexes = {*range(min(limit, 32)), *(int.from_bytes(k[:4], "little") for k in self.keys.get(name, ()))}
            chosen = [i for i in sorted(indexes) if i < limit and rnd.random() < 0.6]
            return {i.to_bytes(4, "little"): self._value(map) for i in chosen}
        if map.type == LPM_TRIE:
            return dict(self._prefix(map, name) for _ in range(min(limit, 12)))
        if map.type in HASHES or map.type in (HASH_OF_MAPS, DEVMAP_HASH):
            seen = [key for key in self.keys.get(name, ()) if rnd.random() < 0.6]
            made = [self._key(map) for _ in range(6)]
            room = rnd.choice((0, 1, limit // 2, limit - 1, limit))  # a full map and one with room behave differently
            return {key[: map.key_size]: self._value(map) for key in (seen + made)[:room]}
        if map.type in (QUEUE, STACK):
            return {n.to_bytes(4, "little"): self._value(map) for n in range(rnd.randrange(min(limit, 5)))}
        return {}

    def _globals(self, map: Map, places: Sequence[tuple[int, int]]) -> dict[bytes, bytes]:
        data = bytearray((map.data or b"").ljust(map.value_size, b"\0"))
        for offset, size in places:
            if self.rnd.random() < 0.4:
                value = self._number(size) if self.rnd.random() < 0.5 else self.rnd.choice(_SMALL[:4]).to_bytes(size, "little")
                data[offset : offset + size] = value
        return {bytes(4): bytes(data)}

    def _prefix(self, map: Map, name: str) -> tuple[bytes, bytes]:
        rnd = self.rnd
        bits = 8 * (map.key_size - 4)
        seen = list(self.keys.get(name, ()))
        address = rnd.choice(seen)[4:] if seen and rnd.random() < 0.7 else bytes(
            rnd.choice((0, 1, 10, 127, 192, rnd.randrange(256))) for _ in range(map.key_size - 4)
        )  # fmt: skip
        length = rnd.choice((0, 8, 16, 24, 32, bits, bits))
        return struct.pack("=I", min(length, bits)) + address.ljust(map.key_size - 4, b"\0")[: map.key_size - 4], self._value(map)

    def _key(self, map: Map) -> bytes:
        size, rnd = map.key_size, self.rnd
        if size <= 8 and rnd.random() < 0.7:
            return self._number(size)
        return bytes(rnd.choice((0, 0, 1, 10, rnd.randrange(256))) for _ in range(size))

    def _value(self, map: Map) -> bytes:
        rnd = self.rnd
        if map.type in (DEVMAP, DEVMAP_HASH):
            return (1).to_bytes(4, "little").ljust(map.value_size, b"\0")
        size = map.value_size
        how = self._style if rnd.random() < 0.7 else rnd.random()
        if rnd.random() < 0.2:
            return bytes(size)
        if how < 0.45:
            return b"".join(self._number(4) + (bytes(4) if rnd.random() < 0.5 else self._number(4)) for _ in range(-(-size // 8)))[:size]
        if how < 0.75:  # small numbers of 64 bits, as counters are
            words = (rnd.choice((*_SMALL, rnd.getrandbits(rnd.randrange(1, 24)))) for _ in range(-(-size // 8)))
            return b"".join(word.to_bytes(8, "little") for word in words)[:size]
        return bytes(rnd.choice((0, 0, 1, 2, rnd.randrange(256))) for _ in range(size))

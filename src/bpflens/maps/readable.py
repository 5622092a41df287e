"""Keys and values of maps as people write them: addresses, prefixes, ports and hardware addresses where a type or a name says so.

    struct { __u32 prefixlen; __u8 addr[4]; }  08 00 00 00 0a 00 00 00   ──►   "10.0.0.0/8"
    struct { __be32 saddr; __be16 dport; }     0a 00 00 01 00 50         ──►   {"saddr": "10.0.0.1", "dport": 80}

`__be32` and `struct in_addr` say it by type, names such as saddr and dst_ip by name; `__be16` is a number in network order. All else is as
btf/values.py decodes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.values import Value, decode
from bpflens.errors import BpflensError

__all__ = ("Reader", "readable")

_ADDRESS_NAME = re.compile(
    r"(?:^|_)(?:[sd]|src_?|dst_?|source_?|dest_?|remote_?|local_?|peer_?)?(?:addr(?:ess)?|ip)(?:v?[46])?\d*$", re.IGNORECASE
)
_MAC_NAME = re.compile(r"(?:^|_)(?:[sd]|h_|src_?|dst_?)?(?:mac|dest|source|hwaddr|lladdr|ether)(?:_?addr)?$", re.IGNORECASE)
_BE32, _BE16, _BE64 = ("__be32", "in_addr_t"), ("__be16", "in_port_t"), ("__be64",)
_MODIFIERS = (Kind.TYPEDEF, Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG)


class Reader:
    """Decodes values of one type; `lpm` where it is the key of a trie, `name` of a variable, which may say that it is an address."""

    def __init__(self, btf: Btf, type_id: int, lpm: bool = False, name: str = "") -> None:
        self.btf, self.type_id, self.lpm, self.name = btf, type_id, lpm, name
        self.plain = not lpm and not self._speaks(type_id, name, 0)

    def value(self, data: bytes) -> Value:
        """A value in readable form; InputError where the type does not fit the bytes."""
        if self.lpm and (prefix := _prefix(data)) is not None:
            return prefix
        return decode(self.btf, self.type_id, data) if self.plain else self._value(self.type_id, self.name, data)

    def _speaks(self, type_id: int, name: str, depth: int) -> bool:
        """Some part of the type is an address or a number in network order."""
        if depth > 8:
            return False
        if self._form(type_id, name):
            return True
        id = self.btf.skip_modifiers(type_id)
        if self.btf.kind(id) in (Kind.STRUCT, Kind.UNION):
            return any(self._speaks(member.type_id, member.name, depth + 1) for member in self.btf.members(id))
        return self.btf.kind(id) is Kind.ARRAY and self._speaks(self.btf.array(id)[0], "", depth + 1)

    def _form(self, type_id: int, name: str) -> str:
        """How a part is written: ipv4, ipv6, be16, be32, be64, mac, or "" as it is."""
        btf = self.btf
        names = set(self._names(type_id))
        id = btf.skip_modifiers(type_id)
        kind, size = btf.kind(id), btf.size(id)
        said = bool(name and _ADDRESS_NAME.search(name))
        if kind is Kind.STRUCT and btf.name(id) in ("in_addr", "in6_addr"):
            return "ipv4" if size == 4 else "ipv6"
        if names.intersection(_BE32):
            return "ipv4" if said else "be32"
        if names.intersection(_BE16):
            return "be16"
        if names.intersection(_BE64):
            return "be64"
        bytes_ = kind is Kind.ARRAY and btf.size(btf.array(id)[0]) == 1
        if kind is Kind.ARRAY and size == 6 and bytes_ and name and _MAC_NAME.search(name):
            return "mac"
        if said and ((kind is Kind.INT and size == 4) or (bytes_ and size == 4)):
            return "ipv4"
        return "ipv6" if said and kind is Kind.ARRAY and size == 16 else ""

    def _names(self, type_id: int) -> Iterator[str]:
        """The typedefs on the way to a type."""
        for _ in range(32):
            type = self.btf.type(type_id)
            if type.kind not in _MODIFIERS:
                return
            if type.kind is Kind.TYPEDEF:
                yield type.name
            type_id = type.ref

    def _value(self, type_id: int, name: str, data: bytes) -> Value:
        btf = self.btf
        form = self._form(type_id, name)
        id = btf.skip_modifiers(type_id)
        if form:
            return _written(form, data[: btf.size(id)])
        kind = btf.kind(id)
        if kind in (Kind.STRUCT, Kind.UNION):
            out: dict[str, Value] = {}
            for number, member in enumerate(btf.members(id)):
                if member.bit_size or member.bit_off % 8:
                    whole = decode(btf, id, data)
                    if isinstance(whole, dict) and member.name in whole:
                        out[member.name] = whole[member.name]
                    continue
                part = self._value(member.type_id, member.name, data[member.bit_off // 8 :])
                if member.name:
                    out[member.name] = part
                elif isinstance(part, dict):
                    out.update(part)
                else:
                    out[f"#{number}"] = part
            return out
        if kind is Kind.ARRAY and self._speaks(btf.array(id)[0], name, 1):
            element, _, count = btf.array(id)
            step = btf.size(element)
            return [self._value(element, name, data[at * step :]) for at in range(min(count, 4096))]
        return decode(btf, type_id, data)


def _written(form: str, raw: bytes) -> Value:
    if form in ("ipv4", "ipv6"):
        import ipaddress

        return str(ipaddress.ip_address(raw))
    if form == "mac":
        return raw.hex(":")
    return int.from_bytes(raw, "big")


def _prefix(data: bytes) -> str | None:
    """struct bpf_lpm_trie_key: a length in bits (host order) and as many bytes of an address."""
    length, address = int.from_bytes(data[:4], "little"), data[4:]
    if len(address) not in (4, 16) or length > 8 * len(address):
        return None
    import ipaddress

    return f"{ipaddress.ip_address(address)}/{length}"


def readable(btf: Btf | None, type_id: int, data: bytes | None, reader: Reader | None = None) -> Value:
    """A key or value in readable form: by its type where it has one, else a number of 1, 2, 4 or 8 bytes, else hex."""
    if data is None:
        return None
    if reader is None and btf is not None and type_id:
        reader = Reader(btf, type_id)
    if reader is not None:
        try:
            return reader.value(data)
        except BpflensError:
            pass
    return int.from_bytes(data, "little") if len(data) in (1, 2, 4, 8) else data.hex()

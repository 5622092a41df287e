"""Conditions on the elements of a map, as people write them.

    key.saddr in 10.0.0.0/8        value > 100 and value.comm ~ ssh        key in 1,2,3

An operand that means nothing for the part that it is compared with is an error: "no element" would be a wrong answer. A number of 4 or
16 bytes that is compared with an address is taken as one, as its bytes stand in memory (network order); `Where.notes` then says so.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping

from bpflens.btf.values import Value
from bpflens.errors import UsageError
from bpflens.maps.parts import Element, bytes_of, field_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.program import Map

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

__all__ = ("Where", "as_address", "networks_of")

_TEST = re.compile(r"\s*((?:key|value|sum)[\w.\[\]]*)\s*(==|=|!=|>=|<=|>|<|in\b|~)\s*(.*?)\s*\Z")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "=": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_EXAMPLE = "for instance: key.saddr in 10.0.0.0/8 and value > 100"
_ALMOST = re.compile(r"[0-9a-fA-F]*[.:][0-9a-fA-F.:/]*")  # what was meant to be an address or prefix
_WORDS = {"true": 1, "false": 0}


class Where:
    """A condition: parsed here, asked by `elements`. UsageError for a text that is none. `notes`: how operands were understood."""

    def __init__(self, text: str) -> None:
        self.tests: list[tuple[str, str, str]] = []
        self.notes: dict[str, None] = {}
        self._networks: list[list[Network]] = []
        for part in re.split(r"\s+and\s+", text):
            found = _TEST.match(part)
            if found is None:
                raise UsageError("--where", f"cannot read {part!r}", _EXAMPLE)
            path, op, wanted = found[1], found[2], found[3].strip("\"'")
            if not found[3]:
                raise UsageError("--where", f'nothing to compare with stands after "{path} {op}"', _EXAMPLE)
            self.tests.append((path, op, wanted))
            self._networks.append(networks_of(wanted) if op == "in" else networks_of(wanted)[:1])

    def holds(self, map: Map | None, element: Element) -> bool:
        """All tests hold; one on a part that the element does not have does not. Without a map the bytes of parts are not known."""
        for (path, op, wanted), networks in zip(self.tests, self._networks, strict=True):
            value = field_of(element, path)
            raw = bytes_of(map, element, path) if map is not None and (networks or wanted[:2] in ("0x", "0X")) else None
            digits = raw is not None and value == raw.hex()  # so are bytes shown that have no type
            if networks and (digits or not isinstance(value, str)) and value is not None and op != "~":
                if not self._address_holds(raw, path, op, networks, wanted):
                    return False
            elif digits:
                if not _holds(value, op, wanted[2:].lower(), [], path):
                    return False
            elif not _holds(value, op, wanted, networks, path):
                return False
        return True

    def _address_holds(self, raw: bytes | None, path: str, op: str, networks: list[Network], wanted: str) -> bool:
        """The bytes of a part, which is not one by its type, as an address."""
        if raw is None or len(raw) not in (4, 16):
            raise UsageError("--where", f"{wanted!r} is an address, and {path} is none", "an address has 4 or 16 bytes")
        fitting = [network for network in networks if network.max_prefixlen == 8 * len(raw)]
        if not fitting:
            raise UsageError("--where", f"{wanted!r} is an address of another length than {path}, which has {len(raw)} bytes")
        self.notes[f"{path} is {as_address(len(raw))}"] = None
        return _compared(ipaddress.ip_address(raw), op, fitting, wanted)


def as_address(size: int) -> str:
    """How a part without the type of an address was understood."""
    return f"taken as an address: {size} bytes in network order"


def networks_of(text: str) -> list[Network]:
    """The addresses and prefixes that a text names, one or with commas; empty where some of it is no address."""
    try:
        return [ipaddress.ip_network(item, strict=False) for item in re.split(r"[\s,]+", text) if item]
    except ValueError:
        return []


def _compared(address: ipaddress.IPv4Address | ipaddress.IPv6Address, op: str, networks: list[Network], wanted: str) -> bool:
    """An address compared with one of its length, or looked for in prefixes."""
    if op == "in":
        return any(address in network for network in networks)
    if networks[0].num_addresses != 1:
        raise UsageError("--where", f"{wanted!r} is a prefix", f'write "in {wanted}"')
    return _COMPARE[op](int(address), int(networks[0].network_address))


def _holds(value: Value, op: str, wanted: str, networks: list[Network], path: str) -> bool:
    if value is None:
        return False
    if op == "~":
        return wanted in str(value)
    if isinstance(value, Mapping):
        raise UsageError("--where", f"{path} is a structure, which {wanted!r} cannot be compared with",
                         f"name a part: {', '.join(f'{path}.{name}' for name in [*value][:5])}")  # fmt: skip
    if isinstance(value, str):
        return _text_holds(value, op, wanted, networks, path)
    items = re.split(r"[\s,]+", wanted) if op == "in" else [wanted]
    if isinstance(value, int | float):
        numbers = [_number(item, path) for item in items]
        return value in numbers if op == "in" else _COMPARE[op](value, numbers[0])
    if op not in ("==", "=", "!=") or not wanted.startswith("["):
        raise UsageError("--where", f"{path} is a list, which {wanted!r} cannot be compared with", f"name one of it: {path}[0]")
    return _COMPARE[op](str(value), wanted)


def _text_holds(value: str, op: str, wanted: str, networks: list[Network], path: str) -> bool:
    """A text, a constant's name, an address or a prefix."""
    try:
        own = ipaddress.ip_interface(value)
    except ValueError:
        return value in re.split(r"[\s,]+", wanted) if op == "in" else _COMPARE[op](value, wanted)
    if not networks and any(_ALMOST.fullmatch(item) for item in re.split(r"[\s,]+", wanted)):
        raise UsageError("--where", f"{wanted!r} names no address or prefix, and {path} is one", _EXAMPLE)
    if op == "in" and networks:
        return any(_within(own.network, one) for one in networks)
    if op == "in":
        return value in re.split(r"[\s,]+", wanted)
    if networks and "/" not in value + wanted and networks[0].version == own.version:
        return _COMPARE[op](int(own.ip), int(networks[0].network_address))
    return _COMPARE[op](value, wanted)


def _within(own: Network, other: Network) -> bool:
    """Whether all of a prefix is in another one, of addresses of the same length."""
    if isinstance(own, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and own.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and own.subnet_of(other)


def _number(text: str, path: str) -> float:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for read in (lambda: int(text, 0), lambda: int(text), lambda: float(text)):
        try:
            return read()
        except ValueError:
            continue
    raise UsageError("--where", f"{text[:40]!r} is not a number, and {path} is one")

"""Netlink in the small: send a request, get the answers' bodies, walk their attributes.

    with Netlink(ROUTE) as route:
        for type, body in route.dump(RTM_GETLINK, bytes(16)):
            name = attributes(body, 16)[IFLA_IFNAME]

A socket belongs to the network namespace in which it was made. Layout: include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from bpflens.kernel.sys import faults, syscalls

__all__ = ("GENERIC", "NETFILTER", "ROUTE", "SOCK_DIAG", "Netlink", "attribute", "attribute_list", "attributes")

ROUTE, SOCK_DIAG, NETFILTER, GENERIC = 0, 4, 12, 16

_AF_NETLINK, _SOCK_RAW = 16, 3
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _DUMP, _MULTI, _DUMP_INTR = 1, 0x300, 2, 0x10
_HEAD = struct.Struct("<IHHII")  # length, type, flags, sequence, port
_ATTR = struct.Struct("<HH")
_BUFFER = 1 << 16  # the kernel fills a dump's buffer with at most 32 KB
_INTERRUPTED_DUMPS = 3


class Netlink:
    """A netlink socket of one protocol; close it or use `with`. OSError with the kernel's errno where it refuses."""

    __slots__ = ("_sequence", "fd")

    def __init__(self, protocol: int) -> None:
        self.fd = syscalls.socket(_AF_NETLINK, _SOCK_RAW, protocol)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def dump(self, type: int, payload: bytes) -> list[tuple[int, bytes]]:
        """All answers (type, body) of a dump; one that the kernel marks as interrupted is asked again, twice at most."""
        for _ in range(_INTERRUPTED_DUMPS):
            answers, interrupted = self._ask(type, payload, _DUMP)
            if not interrupted:
                break
        return answers

    def request(self, type: int, payload: bytes) -> list[tuple[int, bytes]]:
        """The answers (type, body) to a request that is not a dump."""
        return self._ask(type, payload, 0)[0]

    def command(self, type: int, payload: bytes, flags: int = 0) -> None:
        """A request that is answered by an acknowledgement only (NLM_F_ACK is set)."""
        self._ask(type, payload, flags | 4)

    def _ask(self, type: int, payload: bytes, flags: int) -> tuple[list[tuple[int, bytes]], bool]:
        faults.step("netlink")
        self._sequence += 1
        sequence = self._sequence
        os.write(self.fd, _HEAD.pack(16 + len(payload), type, flags | _REQUEST, sequence, 0) + payload)
        answers: list[tuple[int, bytes]] = []
        interrupted = False
        while True:
            data = os.read(self.fd, _BUFFER)
            offset = 0
            while offset + 16 <= len(data):
                length, kind, bits, number, _ = _HEAD.unpack_from(data, offset)
                if length < 16:
                    return answers, interrupted
                body = data[offset + 16 : offset + length]
                offset += (length + 3) & ~3
                if number != sequence:
                    continue  # the rest of an answer that was given up
                interrupted = interrupted or bool(bits & _DUMP_INTR)
                if kind == _NLMSG_DONE:
                    _check(body)
                    return answers, interrupted
                if kind == _NLMSG_ERROR:
                    _check(body)
                    return answers, interrupted
                answers.append((kind, body))
                if not bits & _MULTI and not flags & 4:
                    return answers, interrupted


def _check(body: bytes) -> None:
    errno = int.from_bytes(body[:4], "little", signed=True) if len(body) >= 4 else 0
    if errno < 0:
        raise OSError(-errno, os.strerror(-errno))


def attribute(type: int, payload: bytes) -> bytes:
    """One attribute, padded; nest by giving attributes as payload."""
    return _ATTR.pack(4 + len(payload), type) + payload + bytes(-len(payload) % 4)


def attribute_list(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of the attributes from `offset` on; stops at the first malformed one."""
    end = len(data)
    while offset + 4 <= end:
        length, type = _ATTR.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            return
        yield type & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on by type; the last of a type wins."""
    return dict(attribute_list(data, offset))

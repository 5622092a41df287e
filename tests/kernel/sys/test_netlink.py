"""Netlink attributes and requests."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.kernel.sys import netlink
from bpflens.kernel.sys.netlink import ROUTE, Netlink, attribute, attribute_list, attributes


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_attributes_come_back(items: list[tuple[int, bytes]]) -> None:
    """What is packed is unpacked, in order; of one type the last wins."""
    data = b"".join(attribute(type, payload) for type, payload in items)
    assert list(attribute_list(data)) == items
    assert attributes(data) == dict(items)


@given(st.binary(max_size=64), st.integers(0, 70))
def test_any_bytes_are_read_to_an_end(data: bytes, offset: int) -> None:
    """Malformed attributes end the list; nothing is read beyond the data."""
    for _, payload in attribute_list(data, offset):
        assert len(payload) <= len(data)


def test_nested_flag_is_not_part_of_the_type() -> None:
    """NLA_F_NESTED and NLA_F_NET_BYTEORDER are cut off."""
    assert attributes(struct.pack("<HH", 4, 0x8000 | 7)) == {7: b""}


def test_dump_and_error() -> None:
    """The loopback device is in every namespace; an unknown request is refused with the kernel's errno."""
    with Netlink(ROUTE) as route:
        names = [attributes(body, 16)[3] for _, body in route.dump(18, bytes(16))]
        assert b"lo\0" in names
        with pytest.raises(OSError) as caught:
            route.request(18, struct.pack("<BxHiII", 0, 0, 0x7FFFFFF0, 0, 0))
        assert caught.value.errno == 19
        assert route.dump(18, bytes(16))  # the socket is still good
    assert route.fd == -1


def test_answers_to_an_earlier_request_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence number that is not the question's belongs to a dump that was given up."""
    done = netlink._HEAD.pack(20, 3, 2, 2, 0) + bytes(4)
    stale = netlink._HEAD.pack(20, 16, 2, 1, 0) + b"old!"
    mine = netlink._HEAD.pack(20, 16, 2, 2, 0) + b"new!"
    with Netlink(ROUTE) as route:
        route._sequence = 1
        monkeypatch.setattr(os, "read", lambda fd, size: stale + mine + done)
        assert route.dump(18, bytes(16)) == [(16, b"new!")]

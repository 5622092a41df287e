"""Programs on routes, from hand-made answers of the kernel and from the kernel itself."""

from __future__ import annotations

import ipaddress
import os
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import needs
from bpflens.isa.extended.uapi import ProgType
from bpflens.kernel.network import routes
from bpflens.kernel.network.routes import RouteProgram, address, lwt_name, route_programs
from bpflens.kernel.pins import pin
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.sys.netlink import attribute
from kernel.network.netlink_answers import Answers

GETROUTE, GETNEXTHOP = 26, 106
DST, OIF, MULTIPATH, TABLE, ENCAP_TYPE, ENCAP, NH_ID = 1, 4, 9, 15, 21, 22, 30

BEFORE_5_3 = OSError(95, "there are no nexthop objects")


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def lwt(**hooks: bytes) -> bytes:
    """The encapsulation of a tunnel of type bpf: hook -> the program's name."""
    numbers = {"in_": 1, "out": 2, "xmit": 3}
    return b"".join(attribute(numbers[hook], attribute(1, u32(99)) + attribute(2, name)) for hook, name in hooks.items())


def route(family: int, bits: int, table: int, *attributes: bytes) -> bytes:
    """struct rtmsg and its attributes."""
    return struct.pack("<BBBBBBBBI", family, bits, 0, 0, table, 0, 0, 0, 0) + b"".join(attributes)


class Routes(Answers):
    """All routes in the dump of IPv4's."""

    def dump(self, type: int, payload: bytes) -> list[tuple[int, bytes]]:
        answers = super().dump(type, payload)
        return [] if (type, payload[0]) == (GETROUTE, 10) else answers


def found(monkeypatch: pytest.MonkeyPatch, *bodies: bytes, nexthops: list[bytes] | OSError = BEFORE_5_3) -> list[RouteProgram]:
    answers = Routes({GETROUTE: bodies, GETNEXTHOP: nexthops})
    monkeypatch.setattr(routes, "Netlink", answers)
    listed = list(route_programs())
    assert [payload[0] for type, payload in answers.asked if type == GETROUTE] == [2, 10], "both families are asked"
    return listed


def test_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hook is a program; the table of an attribute goes before the byte, which holds 8 bits only."""
    encap = attribute(ENCAP_TYPE, struct.pack("<H", 6)) + attribute(ENCAP, lwt(in_=b"first\0", xmit=b"second\0"))
    body = route(2, 24, 252, attribute(DST, bytes([10, 1, 2, 0])), attribute(OIF, u32(3)), attribute(TABLE, u32(1000)), encap)
    assert found(monkeypatch, body) == [
        RouteProgram("in", 2, bytes([10, 1, 2, 0]), 24, 1000, 0, 3, 0, "first"),
        RouteProgram("xmit", 2, bytes([10, 1, 2, 0]), 24, 1000, 0, 3, 0, "second"),
    ]


def test_end_bpf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of seg6local the kernel tells the id."""
    program = attribute(8, attribute(1, u32(4711)) + attribute(2, b"srv6\0"))
    body = route(10, 128, 254, attribute(DST, bytes(15) + b"\1"), attribute(ENCAP_TYPE, b"\7\0") + attribute(ENCAP, program))
    assert found(monkeypatch, body) == [RouteProgram("seg6local", 10, bytes(15) + b"\1", 128, 254, 0, 0, 4711, "srv6")]


def test_many_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path has a tunnel of its own, or none; a damaged one ends the list."""
    inner = attribute(ENCAP_TYPE, b"\6\0") + attribute(ENCAP, lwt(out=b"path\0"))
    heads = [struct.pack("<HBBi", length, 0, 0, device) for length, device in ((8, 5), (8 + len(inner), 6), (4, 7))]
    paths = heads[0] + heads[1] + inner + heads[2] + bytes(8)
    body = route(2, 0, 254, attribute(MULTIPATH, paths))
    assert found(monkeypatch, body) == [RouteProgram("out", 2, b"", 0, 254, 0, 6, 0, "path")]


def test_what_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A route without a tunnel, one of another tunnel, one of a nexthop object, which is listed as that."""
    encap = attribute(ENCAP_TYPE, b"\6\0") + attribute(ENCAP, lwt(out=b"x\0"))
    bodies = [
        route(2, 8, 254, attribute(DST, bytes(4))),
        route(2, 8, 254, attribute(ENCAP_TYPE, b"\1\0") + attribute(ENCAP, lwt(out=b"x\0"))),
        route(2, 8, 254, encap, attribute(NH_ID, u32(5))),
    ]
    assert found(monkeypatch, *bodies) == []
    nexthop = bytes(8) + attribute(1, u32(5)) + attribute(5, u32(2)) + attribute(7, b"\6\0") + attribute(8, lwt(out=b"x\0"))
    assert found(monkeypatch, *bodies, nexthops=[nexthop]) == [RouteProgram("out", 0, b"", 0, 0, 5, 2, 0, "x")]


@given(st.ip_addresses())
def test_addresses(value: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """As Python reads them; the end that a route leaves out is zero."""
    assert ipaddress.ip_address(address(2 if value.version == 4 else 10, value.packed)) == value
    assert ipaddress.ip_address(address(10, value.packed[:2])).packed == value.packed[:2].ljust(16, b"\0")


def test_names() -> None:
    assert (lwt_name(None), lwt_name(b""), lwt_name(b"a\xffb\0")) == (None, None, "a\ufffdb")
    assert address(2, b"") == "0.0.0.0" and address(10, b"") == "::"


@pytest.mark.live
def test_of_the_kernel(own_netns: None) -> None:
    """The route that ip(8) makes, in a table of its own."""
    ip = needs.tool("ip")
    fd = load_program(bytes.fromhex("b700000000000000 9500000000000000"), ProgType.LWT_XMIT, name="bl_lwt")
    path = f"/sys/fs/bpf/bl_lwt{os.getpid()}"
    pin(fd, path)
    try:
        subprocess.run([ip, "link", "set", "lo", "up"], check=True)
        encap = ["encap", "bpf", "xmit", "pinned", path]
        made = subprocess.run([ip, "route", "add", "10.9.0.0/16", *encap, "dev", "lo", "table", "77"], capture_output=True, text=True)
        needs.kernel_feature("not supported" not in made.stderr, "lightweight tunnels of type bpf")
        assert made.returncode == 0, made.stderr
        (one,) = route_programs()
        assert (one.hook, address(one.family, one.destination), one.prefix_bits, one.table, one.ifindex) == ("xmit", "10.9.0.0", 16, 77, 1)
    finally:
        os.unlink(path)
        os.close(fd)

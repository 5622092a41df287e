"""What the packets of a socket's filter begin with, as `ls` and the targets say it, against the running kernel."""

from __future__ import annotations

import select
import socket
import subprocess
import time

import pytest

import needs
from bpflens.classic.explain import explain
from bpflens.inventory.finders.network.sockets import filter_context, packet_context
from bpflens.inventory.walk import collect
from bpflens.targets.attach_point import open_object
from live.attach_lab import Lab, inode, insns, setsockopt

pytestmark = pytest.mark.live

V4, V6 = socket.AF_INET, socket.AF_INET6
LOADS = {1: 0x30, 2: 0x28}
# kind, the socket, its filter accepts only (offset, size, value) of what it sees, what the context must say
SOCKETS = {
    "udp": ((V4, socket.SOCK_DGRAM, 0), (2, 2, 5001), "UDP"),
    "tcp": ((V4, socket.SOCK_STREAM, 0), (2, 2, 5001), "TCP"),
    "raw": ((V4, socket.SOCK_RAW, 17), (0, 1, 0x45), "RAW"),
    "raw6": ((V6, socket.SOCK_RAW, 17), (2, 2, 5001), "UDP"),
    "icmp": ((V4, socket.SOCK_DGRAM, 1), (0, 1, 0), "ICMP"),  # the answer to a ping
    "icmp6": ((V6, socket.SOCK_DGRAM, 58), (0, 1, 129), "ICMP6"),
}


@pytest.fixture(scope="module")
def lab():
    needs.root()
    with Lab() as made:
        with made.inside("a"):
            made.run("ip", "link", "set", "lo", "up")
            with open("/proc/sys/net/ipv4/ping_group_range", "w") as range:
                range.write("0 65535")  # of the namespace that this thread is in
        yield made


def deliver(kind: str, made: socket.socket) -> bool:
    """Send something to the socket over loopback; whether it came through the filter."""
    family, port = made.family, 5001
    address = "127.0.0.1" if family == V4 else "::1"
    if kind == "tcp":
        made.bind((address, port))
        made.listen()
        with socket.socket(family) as client:
            client.settimeout(1)
            return client.connect_ex((address, port)) == 0
    if kind in ("icmp", "icmp6"):
        made.sendto((b"\x08" if kind == "icmp" else b"\x80") + bytes(3) + b"\0\1\0\1data", (address, 0))
    else:
        if kind == "udp":
            made.bind((address, port))
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"data", (address, port))
    return bool(select.select([made], [], [], 0.5)[0])


def test_messages_of_a_unix_socket(lab: Lab) -> None:
    """They begin with what was sent."""
    with lab.inside("a"):
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with one, other:
            setsockopt(one.fileno(), 1, 26, lab.fprog(insns((0x28, 0, 0, 0), (0x15, 0, 1, 0x4142), (6, 0, 0, 65535), (6, 0, 0, 0))))
            other.send(b"AB")
            other.send(b"CD")
            assert one.recv(9, socket.MSG_DONTWAIT) == b"AB" and not select.select([one], [], [], 0.05)[0]
            (program,) = open_object("sock", str(inode(one.fileno())))
    assert explain(program).words[0].startswith("Messages in which bytes 0 to 1 of the data are 0x4142")


@pytest.mark.parametrize("kind", SOCKETS)
def test_packets_begin_where_it_is_said(lab: Lab, kind: str) -> None:
    """The filter accepts only where its packets begin as the context says; `ls` and explain speak of that."""
    (family, type, protocol), (offset, size, value), linktype = SOCKETS[kind]
    code = insns((LOADS[size], 0, 0, offset), (0x15, 0, 1, value), (6, 0, 0, 65535), (6, 0, 0, 0))
    with lab.inside("a"), socket.socket(family, type, protocol) as made:
        setsockopt(made.fileno(), 1, 26, lab.fprog(code))
        assert deliver(kind, made)
        number = inode(made.fileno())
        (row,) = [row for row in collect().rows if row.object == f"sock:{number}"]
        (program,) = open_object("sock", str(number))
    assert row.details["starts_at"]
    assert (row.kind, row.details["linktype"], program.origin.linktype) == (f"socket/{kind}", linktype, linktype)
    words = " ".join(explain(program).words)
    assert "frame" not in words and "MAC" not in words


def test_kinds_without_a_name() -> None:
    """What begins with nothing that explain has a name for has no link type."""
    for kind in ("packet", "alg", "raw6"):
        assert "linktype" not in filter_context(kind, 0)


def test_a_deleted_device_has_no_link_type() -> None:
    """What it was is not guessed."""
    details = packet_context(3, 3, 0xFFFFFFFF, {1: ("lo", 772)})
    assert details["dev"] == "(deleted)" and "linktype" not in details
    assert packet_context(3, 3, 1, {1: ("lo", 772)})["linktype"] == "EN10MB"


@pytest.mark.parametrize("expression", ("udp port 5353", "arp or icmp"))
def test_tcpdump_on_any_device(lab: Lab, expression: str) -> None:
    """tcpdump -i any has a cooked socket: its filter is explained as what was typed."""
    with lab.inside("a"):
        tcpdump = subprocess.Popen(["tcpdump", "-i", "any", "-w", "/dev/null", expression], stderr=subprocess.PIPE, text=True)
    try:
        assert tcpdump.stderr and tcpdump.stderr.readline()
        until = time.monotonic() + 10
        found: list[str | None] = []
        while not found and time.monotonic() < until:
            rows = collect(lambda family: family.function == "find_packet").rows
            mine = [row for row in rows if tcpdump.pid in [holder.pid for holder in row.holders] and row.classic and len(row.classic) > 8]
            found = [explain(program).expression for row in mine for program in open_object("sock", row.object[5:])]
            time.sleep(0.05)
    finally:
        tcpdump.terminate()
        tcpdump.wait()
        tcpdump.stderr.close()
    assert [sorted((words or "").split(" or ")) for words in found] == [sorted(expression.split(" or "))]

"""What a descriptor tells of its socket."""

from __future__ import annotations

import ctypes
import os
import socket
import struct

import pytest

from bpflens.isa.extended.uapi import ProgType
from bpflens.kernel.network.sockets import in_reuseport_group, socket_facts, socket_kind, type_name, unix_messages_wait
from bpflens.kernel.programs.load import load_program

SO_ATTACH_FILTER, SO_ATTACH_BPF = 26, 50
CODE = struct.pack("<HBBI", 6, 0, 0, 77)


@pytest.mark.parametrize(("domain", "type", "protocol", "expected"), [
    (socket.AF_INET, socket.SOCK_STREAM, 6, "tcp"), (socket.AF_INET6, socket.SOCK_DGRAM, 17, "udp"),
    (socket.AF_INET, socket.SOCK_RAW, 17, "raw"), (socket.AF_INET6, socket.SOCK_RAW, 58, "raw6"),
    (socket.AF_INET, socket.SOCK_STREAM, 250, "ip-250"), (socket.AF_UNIX, socket.SOCK_STREAM, 0, "unix"),
    (socket.AF_PACKET, socket.SOCK_RAW, 3, "packet"), (41, socket.SOCK_DGRAM, 0, "kcm"), (99, 1, 0, "family-99"),
])  # fmt: skip
def test_kinds(domain: int, type: int, protocol: int, expected: str) -> None:
    assert socket_kind(domain, type, protocol) == expected


def test_type_names() -> None:
    assert [type_name(number) for number in (1, 2, 3, 4, 5)] == ["stream", "dgram", "raw", "4", "seqpacket"]


@pytest.mark.live
def test_filters() -> None:
    """None, classic code as it was given, an extended program that is not told."""
    netns = os.stat("/proc/thread-self/ns/net").st_ino
    code = ctypes.create_string_buffer(CODE, len(CODE))
    program = load_program(bytes.fromhex("b700000000000000 9500000000000000"), ProgType.SOCKET_FILTER)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        facts = socket_facts(one.fileno(), 17, 3, 4)
        assert (facts.inode, facts.pid, facts.fd, facts.kind, facts.filter, facts.netns) == (17, 3, 4, "", b"", netns)
        one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("<HxxxxxxQ", 1, ctypes.addressof(code)))
        facts = socket_facts(one.fileno(), 17, 3, 4)
        assert (facts.kind, facts.filter, facts.type, facts.protocol) == ("udp", CODE, socket.SOCK_DGRAM, 17)
        one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, program)
        facts = socket_facts(one.fileno(), 17, 3, 4)
        assert (facts.kind, facts.filter) == ("udp", None)
        assert not in_reuseport_group(one.fileno())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        assert in_reuseport_group(one.fileno())
    os.close(program)


@pytest.mark.live
def test_unread_messages(own_netns: None) -> None:
    """Of unix sockets of the namespace; one that listens has connections, no messages."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("\0bl-listener")
        listener.listen()
        client.connect("\0bl-listener")
        if not os.path.exists("/sys/module/unix_diag") and unix_messages_wait():
            pytest.fail("something waits, and nothing could have told so")
        assert not unix_messages_wait()
        left, right = socket.socketpair(socket.AF_UNIX)
        left.send(b"x")
        waiting = unix_messages_wait()
        right.recv(1)
        assert not unix_messages_wait()
        assert waiting
        left.close()
        right.close()

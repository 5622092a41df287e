"""Matches in tables of iptables and nftables, laid out as the kernel does."""

from __future__ import annotations

import os
import struct

import pytest

from bpflens.kernel.network import xtables
from bpflens.kernel.network.xtables import LegacyMatch, NftMatch, Program, legacy_matches, nft_matches
from bpflens.kernel.sys import procfs, syscalls
from bpflens.kernel.sys.netlink import attribute
from kernel.network.netlink_answers import Answers

CODE = struct.pack("<HBBI", 6, 0, 0, 77)
INFO_0 = struct.pack("<HH", 1, 0) + CODE  # struct xt_bpf_info: bpf_program_num_elem
BYTECODE, PINNED, DESCRIPTOR = 0, 1, 2


def info_1(mode: int, path: bytes = b"") -> bytes:
    """struct xt_bpf_info_v1: mode, number of instructions, descriptor, the program or a path of 512 bytes."""
    return struct.pack("<HHi", mode, 1, -1) + (path or CODE).ljust(512, b"\0")


def match(name: bytes, revision: int, info: bytes) -> bytes:
    """struct xt_entry_match."""
    info += bytes(-len(info) % 8)
    return struct.pack("<H29sB", 32 + len(info), name, revision) + info


def entry(head: int, offsets: int, *matches: bytes, target: bytes = b"", text: bytes = b"") -> bytes:
    """struct ipt_entry or ip6t_entry with its matches and its target."""
    body = b"".join(matches)
    end = struct.pack("<H29sB", 64, target, 0) + text.ljust(32, b"\0")
    start = bytearray(head)
    struct.pack_into("<HH", start, offsets, head + len(body), head + len(body) + len(end))
    return bytes(start) + body + end


@pytest.mark.parametrize(("command", "head", "offsets"), [("iptables", 112, 88), ("ip6tables", 168, 140)])
def test_legacy(command: str, head: int, offsets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that are built in begin at the hooks, those of the user at an ERROR target; rules count from 1 in each."""
    rules = [
        entry(head, offsets, match(b"tcp", 0, bytes(16)), match(b"bpf", 0, INFO_0), target=b"DROP"),
        entry(head, offsets, match(b"bpf", 1, info_1(PINNED, b"/sys/fs/bpf/p"))),
        entry(head, offsets),  # the policy of INPUT
        entry(head, offsets, target=b"ERROR", text=b"mine"),
        entry(head, offsets),
        entry(head, offsets, match(b"bpf", 1, info_1(BYTECODE)), match(b"bpf", 1, info_1(DESCRIPTOR))),
        entry(head, offsets, target=b"ERROR", text=b"ERROR"),
    ]
    entries = b"".join(rules)
    where = {"filter": entries, "broken": b""}

    def getsockopt(fd: int, level: int, option: int, size: int, head: bytes) -> bytes:
        table = head[:32].rstrip(b"\0").decode()
        if not where[table]:
            raise OSError(22, "gone")
        if option == 64:
            starts = [0, 0, len(rules[0]), 0, 0]  # FORWARD begins at the second rule
            return head[:32] + struct.pack("<6I", 1 << 1 | 1 << 2, *starts) + bytes(24) + struct.pack("<I", len(entries))
        return bytes(40) + where[table]

    monkeypatch.setattr(procfs, "read", lambda path: b"broken\nfilter\n")
    monkeypatch.setattr(syscalls, "socket", lambda *_: os.dup(0))
    monkeypatch.setattr(syscalls, "getsockopt", getsockopt)
    assert list(legacy_matches(command)) == [
        LegacyMatch("filter", "INPUT", 1, Program(CODE, None)),
        LegacyMatch("filter", "FORWARD", 1, Program(None, "/sys/fs/bpf/p")),
        LegacyMatch("filter", "mine", 2, Program(CODE, None)),
        LegacyMatch("filter", "mine", 2, Program(None, None)),
    ]


def test_damaged_entries_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengths of zero would go on for ever."""
    whole = entry(112, 88, match(b"bpf", 0, INFO_0))
    cut = bytearray(whole)
    struct.pack_into("<H", cut, 90, 0)
    assert [rule for _, rule, _, _ in xtables._matches(bytes(cut) + whole, {0: "INPUT"}, 112, 88)] == [1]
    struct.pack_into("<H", cut, 112, 0)
    assert list(xtables._matches(bytes(cut), {0: "INPUT"}, 112, 88)) == []
    assert list(xtables._matches(whole[:100], {0: "INPUT"}, 112, 88)) == []


def test_tables_that_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table, no match; what is refused is told."""
    def refused(path: str) -> bytes:
        raise PermissionError(13, path)

    def missing(path: str) -> bytes:
        raise FileNotFoundError(2, path)

    monkeypatch.setattr(procfs, "read", missing)
    assert list(legacy_matches("iptables")) == []
    monkeypatch.setattr(procfs, "read", refused)
    with pytest.raises(PermissionError):
        list(legacy_matches("iptables"))


def test_nftables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a rule's expressions those that are a match named bpf; numbers of nftables are in network order."""
    def expression(name: bytes, data: bytes) -> bytes:
        return attribute(1, attribute(1, name + b"\0") + attribute(2, data))

    def bpf(revision: int, info: bytes) -> bytes:
        return expression(b"match", attribute(1, b"bpf\0") + attribute(2, struct.pack(">I", revision)) + attribute(3, info))

    others = expression(b"payload", b"") + expression(b"match", attribute(1, b"tcp\0"))
    expressions = others + bpf(0, INFO_0) + bpf(1, info_1(PINNED, b"/p"))
    names = attribute(1, b"filter\0") + attribute(2, b"INPUT\0") + attribute(3, struct.pack(">Q", 12))
    bodies = [bytes([2, 0, 0, 0]) + names + attribute(4, expressions), bytes([99, 0, 0, 0]) + attribute(4, bpf(0, INFO_0))]
    monkeypatch.setattr(procfs, "module_present", lambda name: True)
    monkeypatch.setattr(xtables, "Netlink", Answers({10 << 8 | 7: bodies}))
    assert list(nft_matches()) == [
        NftMatch("ip", "filter", "INPUT", 12, Program(CODE, None)),
        NftMatch("ip", "filter", "INPUT", 12, Program(None, "/p")),
        NftMatch("99", "?", "?", 0, Program(CODE, None)),
    ]
    monkeypatch.setattr(xtables, "Netlink", Answers({10 << 8 | 7: PermissionError(1, "x")}))
    with pytest.raises(PermissionError):
        list(nft_matches())
    monkeypatch.setattr(procfs, "module_present", lambda name: name == "nfnetlink")
    assert list(nft_matches()) == []

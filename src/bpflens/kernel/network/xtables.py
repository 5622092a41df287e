"""Matches named "bpf" in rules of iptables, and of nftables made by iptables-nft, in the namespace that the calling thread is in.

Legacy: getsockopt on a raw socket (SO_GET_INFO, SO_GET_ENTRIES), only for tables that exist, since asking for another makes the kernel
load its module. nftables: NFT_MSG_GETRULE, the match's blob is the same struct xt_bpf_info. Needs CAP_NET_ADMIN, legacy also CAP_NET_RAW.
Layout: include/uapi/linux/netfilter/xt_bpf.h, netfilter_ipv4/ip_tables.h, netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from bpflens.kernel.sys import procfs, syscalls
from bpflens.kernel.sys.netlink import NETFILTER, Netlink, attribute_list, attributes
from bpflens.lean import NamedTuple

__all__ = ("LEGACY", "LegacyMatch", "NftMatch", "Program", "legacy_matches", "nft_matches")

_AF_INET, _AF_INET6, _SOCK_RAW, _IPPROTO_RAW = 2, 10, 3, 255
_SOL_IP, _SOL_IPV6 = 0, 41
_GET_INFO, _GET_ENTRIES = 64, 65
_INFO_BYTES, _ENTRIES_HEAD = 84, 40
_ENTRY = {_AF_INET: (112, 88), _AF_INET6: (168, 140)}  # size of struct ip6t_entry and so on, offset of target_offset and next_offset in it
_GETRULE = 10 << 8 | 7
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS = 1, 2, 3, 4
_NFT_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")  # enum nf_inet_hooks
_MODE_BYTECODE, _MODE_PINNED = 0, 1
LEGACY = {"iptables": (_AF_INET, _SOL_IP, "ip_tables_names"), "ip6tables": (_AF_INET6, _SOL_IPV6, "ip6_tables_names")}
"""Command -> protocol family, level of its socket options, file of /proc/net with its tables."""


class Program(NamedTuple):
    """What struct xt_bpf_info says: classic `code`, or the `path` of the pin that it was taken from, or neither (a descriptor)."""

    code: bytes | None
    path: str | None


class LegacyMatch(NamedTuple):
    """The match of rule number `rule` (from 1) of a chain."""

    table: str
    chain: str
    rule: int
    program: Program


class NftMatch(NamedTuple):
    """The match of the rule with a handle; `family` in nft's word."""

    family: str
    table: str
    chain: str
    handle: int
    program: Program


def legacy_matches(command: str) -> Iterator[LegacyMatch]:
    """Those of "iptables" or "ip6tables"; PermissionError where something is refused."""
    family, level, names = LEGACY[command]
    try:
        tables = procfs.read(f"/proc/thread-self/net/{names}").decode().split()
    except PermissionError:
        raise
    except OSError:
        return  # not loaded
    for table in tables:
        try:
            fd = syscalls.socket(family, _SOCK_RAW, _IPPROTO_RAW)
            try:
                entries, chains = _entries(fd, level, table)
            finally:
                os.close(fd)
        except PermissionError:
            raise
        except OSError:
            continue
        for chain, number, revision, info in _matches(entries, chains, *_ENTRY[family]):
            yield LegacyMatch(table, chain, number, _program(revision, info))


def nft_matches() -> Iterator[NftMatch]:
    """Those of nftables; nothing where the kernel has no nftables, PermissionError without CAP_NET_ADMIN."""
    if not (procfs.module_present("nfnetlink") and procfs.module_present("nf_tables")):
        return
    try:
        with Netlink(NETFILTER) as netfilter:
            answers = netfilter.dump(_GETRULE, bytes(4))
    except PermissionError:
        raise
    except OSError:
        return
    for _, body in answers:
        attrs = attributes(body, 4)
        for _, element in attribute_list(attrs.get(_RULE_EXPRESSIONS, b"")):
            expression = attributes(element)
            if expression.get(1) != b"match\0":
                continue
            match = attributes(expression.get(2, b""))
            if match.get(1) != b"bpf\0":
                continue
            table, chain = (attrs.get(key, b"?").rstrip(b"\0").decode(errors="replace") for key in (_RULE_TABLE, _RULE_CHAIN))
            handle, revision = int.from_bytes(attrs.get(_RULE_HANDLE, b""), "big"), int.from_bytes(match.get(2, b""), "big")
            yield NftMatch(_NFT_FAMILIES.get(body[0], str(body[0])), table, chain, handle, _program(revision, match.get(3, b"")))


def _program(revision: int, info: bytes) -> Program:
    """From struct xt_bpf_info (revision 0) or xt_bpf_info_v1."""
    if revision == 0:
        count = struct.unpack_from("<H", info)[0]
        return Program(info[4 : 4 + 8 * count], None)
    mode, count = struct.unpack_from("<HH", info)
    if mode == _MODE_BYTECODE:
        return Program(info[8 : 8 + 8 * count], None)
    return Program(None, info[8:520].split(b"\0", 1)[0].decode(errors="replace") if mode == _MODE_PINNED else None)


def _entries(fd: int, level: int, table: str) -> tuple[bytes, dict[int, str]]:
    """(the table's entries, offset at which each built-in chain begins -> its name): struct ipt_getinfo and ipt_get_entries."""
    name = table.encode().ljust(32, b"\0")
    info = syscalls.getsockopt(fd, level, _GET_INFO, _INFO_BYTES, name)
    valid, *starts = struct.unpack_from("<6I", info, 32)
    chains = {start: hook for number, (hook, start) in enumerate(zip(_HOOKS, starts, strict=True)) if valid >> number & 1}
    size = struct.unpack_from("<I", info, 80)[0]
    head = name + struct.pack("<II", size, 0)
    return syscalls.getsockopt(fd, level, _GET_ENTRIES, _ENTRIES_HEAD + size, head)[_ENTRIES_HEAD:], chains


def _matches(entries: bytes, chains: dict[int, str], head: int, offsets: int) -> Iterator[tuple[str, int, int, bytes]]:
    """(chain, number of the rule in it from 1, revision, data) of each match named "bpf".

    A chain of the user's begins with an entry whose target is ERROR and has the chain's name.
    """
    offset, number, chain = 0, 0, ""
    while offset + head <= len(entries):
        target, following = struct.unpack_from("<HH", entries, offset + offsets)
        if offset in chains:
            chain, number = chains[offset], 0
        name, text = _target(entries[offset + target : offset + following])
        if name == b"ERROR":
            chain, number = text, 0
        else:
            number += 1
            at = offset + head
            while at + 32 <= offset + target:
                size = struct.unpack_from("<H", entries, at)[0]
                if size < 32:
                    break
                if entries[at + 2 : at + 31].split(b"\0", 1)[0] == b"bpf":
                    yield chain, number, entries[at + 31], entries[at + 32 : at + size]
                at += size
        if following < head:
            return
        offset += following


def _target(raw: bytes) -> tuple[bytes, str]:
    """(name of a rule's target, text of an ERROR target: the name of the chain that begins there)."""
    name = raw[2:31].split(b"\0", 1)[0]
    return name, raw[32:62].split(b"\0", 1)[0].decode(errors="replace") if name == b"ERROR" else ""

"""The "bpf" match of iptables (rows 26, 27): bytecode or a pinned program, in legacy tables and in nftables rules made by iptables-nft.

Legacy: getsockopt on a raw socket (SO_GET_INFO, SO_GET_ENTRIES), only for tables that exist, since asking for another makes the kernel
load its module. nftables: NFT_MSG_GETRULE, the match's blob is the same struct xt_bpf_info. A pinned program is known by its path only.
Needs CAP_NET_ADMIN, legacy also CAP_NET_RAW. Layout: include/uapi/linux/netfilter/xt_bpf.h, netfilter_ipv4/ip_tables.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.kernel.sys import procfs, syscalls
from bpflens.kernel.sys.netlink import NETFILTER, Netlink, attribute_list, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("find_legacy", "find_nft")

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


def find_legacy(ctx: Context) -> Iterable[InventoryRow]:
    """Rules of ip_tables and ip6_tables in the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    for family, level, names, command in (
        (_AF_INET, _SOL_IP, "ip_tables_names", "iptables"), (_AF_INET6, _SOL_IPV6, "ip6_tables_names", "ip6tables"),
    ):  # fmt: skip
        try:
            tables = procfs.read(f"/proc/thread-self/net/{names}").decode().split()
        except PermissionError:
            ctx.deny("bpf matches of iptables rules", "CAP_NET_ADMIN and CAP_NET_RAW")
            continue
        except OSError:
            continue  # not loaded
        for table in tables:
            try:
                fd = syscalls.socket(family, _SOCK_RAW, _IPPROTO_RAW)
                try:
                    entries, chains = _entries(fd, level, table)
                finally:
                    os.close(fd)
            except PermissionError:
                ctx.deny("bpf matches of iptables rules", "CAP_NET_ADMIN and CAP_NET_RAW")
                return
            except OSError:
                continue
            for chain, number, revision, info in _matches(entries, chains, *_ENTRY[family]):
                yield _found(f"{command}:{table}", namespace, revision, info, {"chain": chain, "rule": number})


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


def find_nft(ctx: Context) -> Iterable[InventoryRow]:
    """Rules of nftables with the compatibility match, in the namespace that the thread is in."""
    if not (procfs.module_present("nfnetlink") and procfs.module_present("nf_tables")):
        return
    namespace = ctx.netns.inode if ctx.netns else None
    with Netlink(NETFILTER) as netfilter:
        try:
            answers = netfilter.dump(_GETRULE, bytes(4))
        except PermissionError:
            ctx.deny("bpf matches of nftables rules", "CAP_NET_ADMIN")
            return
        except OSError:
            return  # no nftables
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
            family = _NFT_FAMILIES.get(body[0], str(body[0]))
            handle = int.from_bytes(attrs.get(_RULE_HANDLE, b""), "big")
            revision = int.from_bytes(match.get(2, b""), "big")
            yield _found(f"nft:{family}/{table}/{chain}", namespace, revision, match.get(3, b""), {"handle": handle})


def _found(object: str, namespace: int | None, revision: int, info: bytes, details: dict[str, Any]) -> InventoryRow:
    """A row from struct xt_bpf_info (revision 0) or xt_bpf_info_v1."""
    details = {**details, "linktype": "RAW", "starts_at": "IP header"}
    if revision == 0:
        count = struct.unpack_from("<H", info)[0]
        return InventoryRow("xt_bpf", object, namespace, classic=info[4 : 4 + 8 * count], details=details)
    mode, count = struct.unpack_from("<HH", info)
    if mode == _MODE_BYTECODE:
        return InventoryRow("xt_bpf", object, namespace, classic=info[8 : 8 + 8 * count], details=details)
    details.pop("linktype")
    if mode == _MODE_PINNED:
        path = info[8:520].split(b"\0", 1)[0].decode(errors="replace")
        unknown = "the kernel gives the path from which it was taken, which may lead to another program today"
        return InventoryRow("xt_bpf", object, namespace, details={**details, "path": path, "unknown": unknown})
    return InventoryRow("xt_bpf", object, namespace, details={**details, "unknown": "an extended program that was given as a descriptor"})

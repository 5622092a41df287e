"""The "bpf" match of iptables (rows 26, 27): bytecode or a pinned program, in legacy tables and in nftables rules made by iptables-nft.

A pinned program is known by its path only.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.kernel.network.xtables import LEGACY, Program, legacy_matches, nft_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("find_legacy", "find_nft")


def find_legacy(ctx: Context) -> Iterable[InventoryRow]:
    """Rules of ip_tables and ip6_tables in the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    for command in LEGACY:
        try:
            for match in legacy_matches(command):
                yield _found(f"{command}:{match.table}", namespace, match.program, {"chain": match.chain, "rule": match.rule})
        except PermissionError:
            ctx.deny("bpf matches of iptables rules", "CAP_NET_ADMIN and CAP_NET_RAW")


def find_nft(ctx: Context) -> Iterable[InventoryRow]:
    """Rules of nftables with the compatibility match, in the namespace that the thread is in."""
    namespace = ctx.netns.inode if ctx.netns else None
    try:
        for family, table, chain, handle, program in nft_matches():
            yield _found(f"nft:{family}/{table}/{chain}", namespace, program, {"handle": handle})
    except PermissionError:
        ctx.deny("bpf matches of nftables rules", "CAP_NET_ADMIN")


def _found(object: str, namespace: int | None, program: Program, details: dict[str, Any]) -> InventoryRow:
    if program.code is not None:
        details = {**details, "linktype": "RAW", "starts_at": "IP header"}
        return InventoryRow("xt_bpf", object, namespace, classic=program.code, details=details)
    details = {**details, "starts_at": "IP header"}
    if program.path is not None:
        unknown = "the kernel gives the path from which it was taken, which may lead to another program today"
        return InventoryRow("xt_bpf", object, namespace, details={**details, "path": program.path, "unknown": unknown})
    return InventoryRow("xt_bpf", object, namespace, details={**details, "unknown": "an extended program that was given as a descriptor"})

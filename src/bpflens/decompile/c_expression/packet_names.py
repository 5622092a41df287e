"""Packet headers in C: fields by name, and numbers as people write them.

*(u16 *)(v1 + 12) != 8       ──►   eth_at(v1)->h_proto != bpf_htons(ETH_P_IP)
*(u8 *)(v1 + 23) == 6        ──►   ip_at(v1 + 14)->protocol == IPPROTO_TCP

`ip_at` says what it is: bytes looked at as an IP header. The structs have the members of uapi, bit fields as the bytes that they are in;
their members may alias anything, as the accesses that they stand for.
"""

from __future__ import annotations

from bpflens.decompile import ir
from bpflens.decompile.c_expression.names import Names
from bpflens.decompile.c_expression.types import PRIMARY, U8, U16, U32, CText
from bpflens.decompile.ir import Expr
from bpflens.decompile.simplify import simplify
from bpflens.decompile.types.header_fields import HEADERS, Field

__all__ = ("PACKET_MACROS", "beside", "field_text")

_ETHERTYPES = {
    0x0800: "ETH_P_IP", 0x0806: "ETH_P_ARP", 0x8100: "ETH_P_8021Q", 0x86DD: "ETH_P_IPV6", 0x88A8: "ETH_P_8021AD", 0x8847: "ETH_P_MPLS_UC",
    0x8863: "ETH_P_PPP_DISC", 0x8864: "ETH_P_PPP_SES", 0x88CC: "ETH_P_LLDP", 0x88F7: "ETH_P_1588", 0x8035: "ETH_P_RARP",
}  # fmt: skip
_PROTOCOLS = {
    1: "IPPROTO_ICMP", 2: "IPPROTO_IGMP", 4: "IPPROTO_IPIP", 6: "IPPROTO_TCP", 17: "IPPROTO_UDP", 41: "IPPROTO_IPV6", 43: "IPPROTO_ROUTING",
    44: "IPPROTO_FRAGMENT", 47: "IPPROTO_GRE", 50: "IPPROTO_ESP", 51: "IPPROTO_AH", 58: "IPPROTO_ICMPV6", 60: "IPPROTO_DSTOPTS",
    132: "IPPROTO_SCTP",
}  # fmt: skip


def _header(key: str, rows: list[Field]) -> str:
    lines, end = [f"struct {rows[0].struct}_at {{"], 0
    for row in rows:
        name, _, index = row.member.partition("[")
        if row.offset > end:
            lines.append(f"\tu8 before_{name}[{row.offset - end}];")
        if index in ("", "0]"):
            count = sum(other.member.startswith(f"{name}[") for other in rows)
            lines.append(f"\tu{8 * row.size} {name}{f'[{count}]' if index else ''};")
        end = row.offset + row.size
    return "\n".join([*lines, "};", f"#define {key}_at(p) ((struct {rows[0].struct}_at *)(p))"])


PACKET_MACROS: dict[str, str] = {
    **{f"{key}_at": _header(key, list(rows.values())) for key, rows in HEADERS.items()},
    **{name: f"#define {name} {value:#06x}" for value, name in _ETHERTYPES.items()},
    **{name: f"#define {name} {value}" for value, name in _PROTOCOLS.items()},
    "bpf_htons": "#define bpf_htons(x) ((__u16)__builtin_bswap16(x))",
    "bpf_ntohs": "#define bpf_ntohs(x) ((__u16)__builtin_bswap16(x))",
    "bpf_htonl": "#define bpf_htonl(x) ((__u32)__builtin_bswap32(x))",
    "bpf_ntohl": "#define bpf_ntohl(x) ((__u32)__builtin_bswap32(x))",
}
"""What the head of the file says of each name."""
_KEYS = {next(iter(rows.values())).struct: key for key, rows in HEADERS.items()}


def field_text(scope: Names, address: Expr, field: Field) -> str:
    """`ip_at(p)->protocol` for the access at an address."""
    base = simplify(ir.Binary("+", address, ir.Const(-field.offset & ir.MASK64), 64))
    return f"{scope.macro(f'{_KEYS[field.struct]}_at')}({scope.text(base).text})->{field.member}"


def beside(scope: Names, meaning: str, value: int) -> CText | None:
    """A number of that meaning: `bpf_htons(ETH_P_IP)`, `IPPROTO_TCP`; None where it is best written as it is."""
    if meaning == "protocol" and value in _PROTOCOLS:
        return CText(scope.macro(_PROTOCOLS[value]), PRIMARY, U8)
    if meaning in ("ethertype", "be16") and 0 < value < 1 << 16:
        number = int.from_bytes(value.to_bytes(2, "little"), "big")
        name = _ETHERTYPES.get(number) if meaning == "ethertype" else None
        said = scope.macro(name) if name is not None else str(number) if meaning == "be16" else f"{number:#06x}"
        return CText(f"{scope.macro('bpf_htons')}({said})", PRIMARY, U16)
    if meaning == "be32" and 0 < value < 1 << 32:
        number = int.from_bytes(value.to_bytes(4, "little"), "big")
        return CText(f"{scope.macro('bpf_htonl')}({number if number < 4096 else hex(number)})", PRIMARY, U32)
    return None

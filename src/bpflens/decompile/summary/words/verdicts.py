"""What a return value means, by program type: the verdict's name and what happens, in an administrator's words.

Values: include/uapi/linux/bpf.h (enum xdp_action, TCX_*), include/uapi/linux/pkt_cls.h (TC_ACT_*), include/uapi/linux/netfilter.h.
"""

from __future__ import annotations

from typing import NamedTuple

from bpflens.isa.extended.uapi import ProgType

__all__ = ("Verdict", "has_verdict", "verdict")


class Verdict(NamedTuple):
    """`name` is the constant's, "" where there is none; `words` go behind a subject ("drops the packet"); `passive`: nothing happens."""

    name: str
    words: str
    passive: bool = False


_XDP = {
    0: Verdict("XDP_ABORTED", "drops the packet, with an error trace"),
    1: Verdict("XDP_DROP", "drops the packet"),
    2: Verdict("XDP_PASS", "passes the packet on", True),
    3: Verdict("XDP_TX", "sends the packet back out of the same interface"),
    4: Verdict("XDP_REDIRECT", "redirects the packet"),
}
_TC = {
    -1: Verdict("TC_ACT_UNSPEC", "leaves the packet to the next filter", True),
    0: Verdict("TC_ACT_OK", "passes the packet on", True),
    1: Verdict("TC_ACT_RECLASSIFY", "has the packet classified again"),
    2: Verdict("TC_ACT_SHOT", "drops the packet"),
    3: Verdict("TC_ACT_PIPE", "goes on with the next action", True),
    4: Verdict("TC_ACT_STOLEN", "takes the packet away"),
    5: Verdict("TC_ACT_QUEUED", "takes the packet away"),
    7: Verdict("TC_ACT_REDIRECT", "redirects the packet"),
}
_ALLOW = {0: Verdict("0", "refuses (EPERM)"), 1: Verdict("1", "allows", True)}
_CGROUP_SKB = {0: Verdict("0", "drops the packet"), 1: Verdict("1", "lets the packet pass", True)}
_SK = {0: Verdict("SK_DROP", "drops"), 1: Verdict("SK_PASS", "passes on", True)}
_FILTER = {0: Verdict("0", "keeps the packet from the socket")}
_LWT = {
    0: Verdict("BPF_OK", "lets the packet pass", True),
    2: Verdict("BPF_DROP", "drops the packet"),
    7: Verdict("BPF_REDIRECT", "redirects the packet"),
}
_NETFILTER = {0: Verdict("NF_DROP", "drops the packet"), 1: Verdict("NF_ACCEPT", "lets the packet pass", True)}

_DISSECTED = {
    0: Verdict("BPF_OK", "takes the headers apart itself", True), 2: Verdict("BPF_DROP", "gives up on the packet's headers"),
    129: Verdict("BPF_FLOW_DISSECTOR_CONTINUE", "leaves the headers to the kernel", True),
}  # fmt: skip
_REUSEPORT = {0: Verdict("SK_DROP", "drops the packet"), 1: Verdict("SK_PASS", "lets the chosen socket have the packet", True)}

_BY_TYPE: dict[int, dict[int, Verdict]] = {
    ProgType.SOCKET_FILTER: _FILTER,
    ProgType.SCHED_CLS: _TC,
    ProgType.SCHED_ACT: _TC,
    ProgType.XDP: _XDP,
    ProgType.CGROUP_SKB: _CGROUP_SKB,
    ProgType.CGROUP_SOCK: _ALLOW,
    ProgType.LWT_IN: _LWT,
    ProgType.LWT_OUT: _LWT,
    ProgType.LWT_XMIT: _LWT,
    ProgType.SK_SKB: _SK,
    ProgType.CGROUP_DEVICE: _ALLOW,
    ProgType.SK_MSG: _SK,
    ProgType.CGROUP_SOCK_ADDR: _ALLOW,
    ProgType.SK_REUSEPORT: _REUSEPORT,
    ProgType.FLOW_DISSECTOR: _DISSECTED,
    ProgType.CGROUP_SYSCTL: _ALLOW,
    ProgType.CGROUP_SOCKOPT: _ALLOW,
    ProgType.SK_LOOKUP: _SK,
    ProgType.NETFILTER: _NETFILTER,
}  # fmt: skip
_ALLOWING = tuple(type for type, meanings in _BY_TYPE.items() if meanings is _ALLOW)
_LSM, TRACING = ProgType.LSM, ProgType.TRACING


def has_verdict(prog_type: int, section: str = "") -> bool:
    """The kernel acts on what such a program returns."""
    return prog_type in _BY_TYPE or prog_type == _LSM or (prog_type == TRACING and section.startswith("fmod_ret"))


def verdict(prog_type: int, value: int) -> Verdict:
    """The meaning of a returned number (32 bits)."""
    signed = (value & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    found = _BY_TYPE.get(prog_type, {}).get(signed)
    if found is not None:
        return found
    if prog_type == ProgType.SOCKET_FILTER:
        size, plural = value & 0xFFFFFFFF, "s" * (value != 1)
        return Verdict(str(size), f"gives the socket the first {size} byte{plural} of the packet" if signed > 0 else
                       "gives the socket the whole packet", True)  # fmt: skip
    if prog_type == TRACING:
        return Verdict("", f"makes the function return {signed} without running" if signed else "lets the function run", not signed)
    if prog_type == _LSM:
        import errno

        return Verdict("0", "allows", True) if not signed else Verdict(f"-{errno.errorcode.get(-signed, str(-signed))}", "refuses")
    if prog_type in _ALLOWING and signed not in (0, 1):
        return Verdict(str(signed), f"returns {signed}")
    return Verdict("", f"returns {signed}", not has_verdict(prog_type))

"""Network devices of the namespace that the calling thread is in, with the programs at their XDP hooks: one RTM_GETLINK dump.

No privilege is needed; the ids of XDP programs are given since Linux 4.15. Layout: include/uapi/linux/if_link.h.
"""

from __future__ import annotations

import struct

from bpflens.kernel.sys.netlink import ROUTE, Netlink, attribute, attributes
from bpflens.lean import NamedTuple

__all__ = ("Device", "devices")

_GETLINK, _IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_EXT_MASK, _IFLA_XDP = 18, 3, 18, 29, 43
_SKIP_STATS = 1 << 3
_INFO_KIND = 1
_XDP_ATTACHED, _XDP_PROG_ID = 2, 4
_MODES = {5: "native", 6: "generic", 7: "offload"}  # IFLA_XDP_{DRV,SKB,HW}_PROG_ID
_ATTACHED = {1: "native", 2: "generic", 3: "offload"}


class Device(NamedTuple):
    """`hardware` is ARPHRD_*, `kind` what made it ("veth", "team"; "" for hardware), `xdp` its programs: (mode, id)."""

    ifindex: int
    name: str
    hardware: int
    kind: str
    xdp: tuple[tuple[str, int], ...]


def devices() -> list[Device]:
    """All devices. OSError where the kernel refuses."""
    with Netlink(ROUTE) as route:
        answers = route.dump(_GETLINK, bytes(16) + attribute(_IFLA_EXT_MASK, struct.pack("<I", _SKIP_STATS)))
    found = []
    for _, body in answers:
        hardware, index = struct.unpack_from("<Hi", body, 2)
        attrs = attributes(body, 16)
        name = attrs.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        kind = attributes(attrs[_IFLA_LINKINFO]).get(_INFO_KIND, b"") if _IFLA_LINKINFO in attrs else b""
        found.append(Device(index, name, hardware, kind.rstrip(b"\0").decode(errors="replace"), _xdp(attrs.get(_IFLA_XDP, b""))))
    return found


def _xdp(raw: bytes) -> tuple[tuple[str, int], ...]:
    xdp = attributes(raw)
    if not xdp.get(_XDP_ATTACHED, b"\0")[0]:
        return ()
    ids = {mode: xdp[number] for number, mode in _MODES.items() if number in xdp}
    if not ids and _XDP_PROG_ID in xdp:
        ids = {_ATTACHED.get(xdp[_XDP_ATTACHED][0], "multi"): xdp[_XDP_PROG_ID]}
    return tuple((mode, int.from_bytes(id[:4], "little")) for mode, id in ids.items())

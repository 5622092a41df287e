"""The packet, its lengths and its ancillary data as z3 variables, shared by everything that is compared in one query.

Where the kernel's network and link headers lie is not known to a filter: as long as a proof is looked for, the bytes that are counted from
them are variables of their own (`apart`), so that what is proved holds wherever they lie. To find a packet they are put where they usually
are. Packet bytes are 8-bit variables as long as every offset is one of few constants, and an array otherwise. z3 is handed in.
"""

from __future__ import annotations

from typing import Any

from bpflens.classic.diagrams.symbolic import Machine
from bpflens.classic.diagrams.term import ANCILLARY_BYTES
from bpflens.isa.classic.table import Ad

__all__ = ("MAX_LENGTH", "USUAL_LENGTH", "NeedsArray", "World")

USUAL_LENGTH = 0x80000 + 64  # GSO_MAX_SIZE and its headers: the packets that are looked for
MAX_LENGTH = (1 << 31) - 1  # the kernel counts the bytes of a packet in an int


class NeedsArray(Exception):
    """An offset is not one of few constants."""


class World:
    """`apart`: the net and link regions are bytes of their own, and what was captured may be less than the packet's length.

    Else the network header lies at `network_offset`, unless the machine knows where.
    """

    def __init__(self, z3: Any, machine: Machine, arrays: bool, apart: bool, network_offset: int = 14) -> None:
        self.z3 = z3
        self.machine = machine
        self.kernel = machine.name != "libpcap"
        self.arrays = arrays
        self.network_offset = machine.network_offset
        if self.network_offset is None and not apart:
            self.network_offset = network_offset
        self.length = z3.BitVec("length", 32)
        self.limits = [z3.ULE(self.length, MAX_LENGTH if apart else USUAL_LENGTH)]
        self.bytes: dict[tuple[str, int], Any] = {}
        self._arrays: dict[str, Any] = {}
        self._rooms: dict[str, Any] = {}
        self._ancillary: dict[tuple[int, int | None], Any] = {}
        self.device = z3.Bool("device")
        self.attributes: set[int] = set()
        self.relative = False  # whether bytes were asked for that count from a header
        self.apart = apart

    def _home(self, region: str) -> tuple[str, int]:
        """Where a region's bytes are, and from which of them on."""
        self.relative = self.relative or region in ("net", "link")
        if region in ("net", "link") and self.network_offset is not None:
            return "packet", self.network_offset if region == "net" else 0
        return region, 0

    def byte(self, region: str, offset: int) -> Any:
        """The 8-bit value of a byte at a fixed place."""
        region, start = self._home(region)
        offset += start
        if self.arrays:
            return self.z3.Select(self._array(region), self.z3.BitVecVal(offset, 32))
        key = (region, offset)
        if key not in self.bytes:
            self.bytes[key] = self.z3.BitVec(f"{region}{offset}", 8)
        return self.bytes[key]

    def byte_at(self, region: str, offset: Any) -> Any:
        """The 8-bit value of a byte at a computed offset (32 bits)."""
        if not self.arrays:
            raise NeedsArray
        region, start = self._home(region)
        return self.z3.Select(self._array(region), offset + start if start else offset)

    def _array(self, region: str) -> Any:
        if region not in self._arrays:
            z3 = self.z3
            self._arrays[region] = z3.Array(region, z3.BitVecSort(32), z3.BitVecSort(8))
        return self._arrays[region]

    def room(self, region: str) -> Any:
        """How many bytes can be loaded from the start of a region on (32 bits)."""
        region, start = self._home(region)
        if region not in self._rooms:
            z3 = self.z3
            room = self.length
            if self.apart and not (self.kernel and region == "packet"):
                room = z3.BitVec(f"room_{region}", 32)
                self.limits.append(z3.ULE(room, self.length if region == "packet" else MAX_LENGTH))
            self._rooms[region] = room
        room = self._rooms[region]
        if not start:
            return room
        return self.z3.If(self.z3.UGE(room, start), room - start, self.z3.BitVecVal(0, 32))

    def ancillary(self, number: int, pc: int | None = None) -> Any:
        """The 32-bit value of ancillary data; `pc` of the load for random numbers, which are drawn anew each time."""
        key = (number, pc)
        if key not in self._ancillary:
            z3 = self.z3
            width = 3 if number == Ad.PKTTYPE else 1 if number == Ad.VLAN_TAG_PRESENT else 8 * ANCILLARY_BYTES.get(number, 4)
            variable = z3.BitVec(f"ancillary{number}_{pc}", width)
            self._ancillary[key] = z3.ZeroExt(32 - width, variable) if width < 32 else variable
        return self._ancillary[key]

    def attribute(self, number: int, a: Any, x: Any) -> Any:
        """The offset of a netlink attribute: some function of A and X and the packet."""
        z3 = self.z3
        self.attributes.add(number)
        word = z3.BitVecSort(32)
        return z3.Function(f"nlattr{number}", word, word, word)(a, x)

    def known_ancillary(self) -> dict[int, Any]:
        """Number -> value of the ancillary data that was asked for, random numbers left out."""
        return {number: value for (number, pc), value in self._ancillary.items() if pc is None}

"""Packet captures: pcap and pcapng, read as a stream.

    with open_capture("x.pcapng") as capture:
        capture.linktype                      ──►  1 (LINKTYPE_ETHERNET)
        for packet in capture: ...            ──►  Packet(data, length, time_ns, linktype)

pcap: draft-ietf-opsawg-pcap; the four magics (microseconds and nanoseconds in both byte orders) and the "modified" one of old Linux
patches. pcapng: draft-ietf-opsawg-pcapng; section header, interface description (if_tsresol, if_tsoffset), enhanced, simple and the
obsolete packet blocks, in both byte orders, several sections and interfaces; other blocks are passed over.

Memory does not grow with the file. A file that ends in the middle of a packet, or goes wrong after its header, yields its packets up to
there and then raises PartialResult; one whose header is wrong is an InputError.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterator
from types import TracebackType

from bpflens.errors import InputError, PartialResult
from bpflens.formats.pcap.input import Gunzip, Input
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ("Capture", "Packet", "dlt_of", "linktype_of", "open_capture")

# A record or block above this is taken as damage: libpcap's own largest snapshot length is 128 MiB, for D-Bus and USB.
MAX_RECORD_BYTES = 128 << 20

_PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 16),
    b"\xa1\xb2\xc3\xd4": (">", 1000, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1, 16),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 24),
    b"\xa1\xb2\xcd\x34": (">", 1000, 24),
}
_GZIP_MAGIC = b"\x1f\x8b"
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"

# libpcap's pcap-common.c: LINKTYPE_ values of files that are other DLT_ values on Linux
_DLT_OF_LINKTYPE = {100: 11, 101: 12, 102: 15, 103: 16, 106: 19}
_LINKTYPE_OF_DLT = {dlt: linktype for linktype, dlt in _DLT_OF_LINKTYPE.items()}


class Packet(NamedTuple):
    """`data` as captured, `length` in bytes on the wire, `time_ns` since 1970, `linktype` a LINKTYPE_ value."""

    data: bytes
    length: int
    time_ns: int
    linktype: int


def dlt_of(linktype: int) -> int:
    """The DLT_ value of a file's LINKTYPE_ value, on Linux."""
    return _DLT_OF_LINKTYPE.get(linktype, linktype)


def linktype_of(dlt: int) -> int:
    """The LINKTYPE_ value that a file has for a DLT_ value of Linux."""
    return _LINKTYPE_OF_DLT.get(dlt, dlt)


def open_capture(path: str) -> Capture:
    """The capture at `path`, "-" for standard input; InputError where it is none or cannot be read."""
    if path == "-":
        again = "/proc/self/fd/0" if _is_whole_file(0) else ""
        return Capture(sys.stdin.buffer, "-", again)
    try:
        stream = open(path, "rb", buffering=0)  # noqa: SIM115  closed by the Capture
    except (OSError, ValueError) as error:
        raise InputError(path, getattr(error, "strerror", None) or str(error)) from None
    try:
        return Capture(stream, path, path if _is_whole_file(stream.fileno()) else "")
    except BaseException:
        stream.close()
        raise


def _is_whole_file(fd: int) -> bool:
    """A regular file of which nothing has been read."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0
    except OSError:
        return False


class Capture:
    """An open capture: iterate over it once for its packets.

    `path` is where the same bytes can be opened again, empty for a pipe. `format` is "pcap" or "pcapng"; `linktype` that of the file or
    of its first interface; `nanoseconds` whether times are finer than a microsecond; `snaplen` in bytes, 0 for no limit: what a pcap
    record has beyond it is left out, as libpcap does.
    """

    def __init__(self, stream: BinaryIO, where: str, path: str = "") -> None:
        self.where = where
        self.path = path
        self._input = Input(stream, where)
        self.linktype = 0
        self.snaplen = 0
        self.nanoseconds = False
        magic = self._input.take(4)
        if magic[:2] == _GZIP_MAGIC:
            self._input = Input(Gunzip(self._input, magic), where)
            self.path = ""  # the file's bytes are not the capture's
            magic = self._input.take(4)
        if magic in _PCAP_MAGICS:
            self.format = "pcap"
            self._order, self._unit_ns, self._header_bytes = _PCAP_MAGICS[magic]
            self._open_pcap()
        elif magic == _PCAPNG_MAGIC:
            self.format = "pcapng"
            self._blocks = _pcapng_blocks(self._input)
            self._interfaces: list[_Interface] = []
            self._first: Packet | None = None
            self._open_pcapng()
        elif not magic:
            raise InputError(where, "is empty, not a capture")
        else:
            raise InputError(where, f"is not a pcap or pcapng capture (it begins with {magic.hex()})")

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._input.close()

    def __iter__(self) -> Iterator[Packet]:
        return self._pcap_packets() if self.format == "pcap" else self._pcapng_packets()

    def _open_pcap(self) -> None:
        header = self._input.take(20)
        if len(header) < 20:
            raise InputError(self.where, "the file ends in the pcap header")
        major, minor, _, _, self.snaplen, network = struct.unpack(self._order + "HHIIII", header)
        if major != 2 or minor < 3:
            raise InputError(self.where, f"pcap version {major}.{minor} is not known")
        self.linktype = network & 0x03FFFFFF  # the upper bits say how long the frame check sequence is
        self.nanoseconds = self._unit_ns == 1

    def _pcap_packets(self) -> Iterator[Packet]:
        unpack = struct.Struct(self._order + "IIII").unpack_from
        header_bytes, unit_ns, linktype = self._header_bytes, self._unit_ns, self.linktype
        limit = self.snaplen if 0 < self.snaplen < 1 << 31 else 1 << 31
        source, number = self._input, 0
        buffer, at, end = b"", 0, 0
        while True:
            number += 1
            if end - at < header_bytes:
                buffer = buffer[at:] + source.some(header_bytes)
                at, end = 0, len(buffer)
                if end < header_bytes:
                    if end:
                        raise PartialResult(self.where, f"the file ends in the header of packet {number}")
                    return
            seconds, fraction, captured, length = unpack(buffer, at)
            at += header_bytes
            if end - at < captured:
                if captured > MAX_RECORD_BYTES:
                    raise PartialResult(self.where, f"packet {number} claims {captured} bytes: the rest of the file is not readable")
                buffer = buffer[at:] + source.some(captured - (end - at))
                at, end = 0, len(buffer)
                if end < captured:
                    raise PartialResult(self.where, f"the file ends in packet {number}: {end} bytes of {captured}")
            yield Packet(buffer[at : at + min(captured, limit)], length, seconds * 1_000_000_000 + fraction * unit_ns, linktype)
            at += captured

    def _open_pcapng(self) -> None:
        """Read up to the first interface, whose link type the reader wants to know before the first packet."""
        try:
            for order, kind, body in self._blocks:
                if kind == _SECTION:
                    self._interfaces = []
                elif kind == _INTERFACE:
                    interface = _interface(order, body, self.where)
                    self._interfaces.append(interface)
                    self.linktype, self.snaplen = interface.linktype, interface.snaplen
                    self.nanoseconds = interface.nanoseconds
                    return
                elif kind in _PACKETS:
                    raise InputError(self.where, "a packet comes before any interface description")
        except PartialResult as error:
            raise InputError(self.where, error.reason) from None

    def _pcapng_packets(self) -> Iterator[Packet]:
        number = 0
        for order, kind, body in self._blocks:
            if kind == _SECTION:
                self._interfaces = []
            elif kind == _INTERFACE:
                try:
                    self._interfaces.append(_interface(order, body, self.where))
                except InputError as error:
                    raise PartialResult(self.where, error.reason) from None
            elif kind in _PACKETS:
                number += 1
                try:
                    packet = _PACKETS[kind](order, body, self._interfaces)
                except (struct.error, _Damaged) as error:
                    reason = str(error) if isinstance(error, _Damaged) else "its block is too short"
                    raise PartialResult(self.where, f"packet {number}: {reason}") from None
                yield packet


# ---- pcapng

_SECTION, _INTERFACE = 0x0A0D0D0A, 1


class _Damaged(Exception):
    """A packet block that cannot be right."""


class _Interface(NamedTuple):
    linktype: int
    snaplen: int
    ticks: int  # per second
    offset_s: int

    @property
    def nanoseconds(self) -> bool:
        return self.ticks > 1_000_000

    def time_ns(self, high: int, low: int) -> int:
        return ((high << 32 | low) * 1_000_000_000) // self.ticks + self.offset_s * 1_000_000_000


def _pcapng_blocks(source: Input) -> Iterator[tuple[str, int, bytes]]:
    """(byte order, type, body) of every block; the first section's type has been read already."""
    order = "<"
    buffer, at = _PCAPNG_MAGIC, 0
    number = 0
    while True:
        number += 1
        if len(buffer) - at < 12:
            buffer = buffer[at:] + source.some(12 - (len(buffer) - at))
            at = 0
            if not buffer:
                return
            if len(buffer) < 12:
                raise PartialResult(source.where, f"the file ends in the header of block {number}")
        if buffer[at : at + 4] == _PCAPNG_MAGIC:
            magic = buffer[at + 8 : at + 12]
            if magic not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
                raise PartialResult(source.where, f"block {number}: {magic.hex()} is not pcapng's byte-order magic")
            order = "<" if magic[0] == 0x4D else ">"
        kind, total = struct.unpack_from(order + "II", buffer, at)
        if total < 12 or total % 4 or total > MAX_RECORD_BYTES:
            raise PartialResult(source.where, f"block {number} claims {total} bytes: the rest of the file is not readable")
        if len(buffer) - at < total:
            buffer = buffer[at:] + source.some(total - (len(buffer) - at))
            at = 0
            if len(buffer) < total:
                raise PartialResult(source.where, f"the file ends in block {number}: {len(buffer)} bytes of {total}")
        if buffer[at + total - 4 : at + total] != buffer[at + 4 : at + 8]:
            raise PartialResult(source.where, f"block {number} has two different lengths: the rest of the file is not readable")
        yield order, kind, buffer[at + 8 : at + total - 4]
        at += total


def _interface(order: str, body: bytes, where: str) -> _Interface:
    if len(body) < 8:
        raise InputError(where, "an interface description is too short")
    linktype, _, snaplen = struct.unpack_from(order + "HHI", body)
    ticks, offset_s = 1_000_000, 0
    at = 8
    while at + 4 <= len(body):
        option, size = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if option == 0:
            break
        if option == 9 and len(value) == 1:
            exponent = value[0] & 0x7F
            if exponent > (63 if value[0] & 0x80 else 19):
                raise InputError(where, f"an interface's if_tsresol {value[0]:#x} is not a resolution")
            ticks = 2**exponent if value[0] & 0x80 else 10**exponent
        elif option == 14 and len(value) == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        at += 4 + (size + 3 & ~3)
    return _Interface(linktype, snaplen, ticks, offset_s)


def _enhanced(order: str, body: bytes, interfaces: list[_Interface]) -> Packet:
    index, high, low, captured, length = struct.unpack_from(order + "IIIII", body)
    return _packet(body, 20, captured, length, _lookup(interfaces, index), (high, low))


def _obsolete(order: str, body: bytes, interfaces: list[_Interface]) -> Packet:
    index, _, high, low, captured, length = struct.unpack_from(order + "HHIIII", body)
    return _packet(body, 20, captured, length, _lookup(interfaces, index), (high, low))


def _simple(order: str, body: bytes, interfaces: list[_Interface]) -> Packet:
    (length,) = struct.unpack_from(order + "I", body)
    interface = _lookup(interfaces, 0)
    captured = min(length, interface.snaplen) if interface.snaplen else length
    return _packet(body, 4, captured, length, interface, None)


_PACKETS = {6: _enhanced, 3: _simple, 2: _obsolete}


def _lookup(interfaces: list[_Interface], index: int) -> _Interface:
    if index >= len(interfaces):
        raise _Damaged(f"it names interface {index}, and {len(interfaces)} are described")
    return interfaces[index]


def _packet(body: bytes, start: int, captured: int, length: int, interface: _Interface, time: tuple[int, int] | None) -> Packet:
    if start + captured > len(body):
        raise _Damaged(f"it claims {captured} bytes, and its block holds {max(len(body) - start, 0)}")
    return Packet(body[start : start + captured], length, interface.time_ns(*time) if time else 0, interface.linktype)

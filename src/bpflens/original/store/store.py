"""Originals that were recorded when they were loaded, by their tag, and who loaded them.

    store = Store("/var/lib/bpflens/records")
    store.get("b357014d1a5c5ad7", base)         # `base`: the image, for what is kept as a difference from it
    store.loads()                               # who loaded what, when, as which id

A program that is loaded takes the room of its difference from the image, or nothing where inversion gives it back. Full copies of such
programs stand in the spool, in memory (/run), until they are unloaded; then the store gets them. Each full copy is compressed with those
before it in its group as dictionary. What is read back is checked by its tag.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpflens.errors import InputError
from bpflens.original.store.record import Base, Recorded, Way, bare, code_of, decode, encode, way_of
from bpflens.original.store.segments import Place, Segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("DEFAULT_STORE", "MAX_BYTES", "Store", "spool_of")

DEFAULT_STORE = "/var/lib/bpflens/records"
MAX_BYTES = 256 << 20
SPOOL_BYTES = 64 << 20
_RECORD, _FULL, _LOADS, _BOOT = 1, 2, 3, 4  # kinds of frames
_GROUP_BYTES = 1 << 16  # of instructions, in full copies that need each other
_WINDOW = 1 << 15
_SLACK = 64
_MAX_TEXT = 1 << 26
_LOAD_SAMPLE = (
    b'{"tag":"0011223344556677","id":1234,"name":"sched_switch","load_time":1234567890123,"time":1795000000,"insns":128,"pid":1234,'
    b'"uid":0,"comm":"systemd","exe":"/usr/lib/systemd/systemd","exe":"/usr/sbin/","cmd":"/usr/bin/","unit":".service","unit":".scope",'
    b'"container":"docker:"}\n'
)


class Store:
    """A directory of records. InputError where it cannot be read or written."""

    def __init__(self, directory: str | Path, max_bytes: int = MAX_BYTES, spool: Store | None = None, level: int = 9) -> None:
        self.directory, self.max_bytes, self.spool = Path(directory), max_bytes, spool
        self._level = level
        self._segments = Segments(self.directory, max(max_bytes // 8, 1 << 12))
        self._full: dict[str, Place] = {}
        self._other: dict[str, Place] = {}
        self._seen = Place(0, 0)
        self._group: tuple[Place, bytearray] | None = None
        self._reading: _Group | None = None
        self._booted: int | None = None
        self._learnt = False  # everything there is known, and nobody else writes
        self._written = 0  # full copies in the files, also those that are of no use any more

    def add(self, record: Recorded, way: Way = Way.FULL, base: Base | None = None) -> int:
        """Keep a record; the bytes that it takes."""
        if way is not Way.FULL:
            data = encode(record, way, base)
            self._other[record.tag] = self._segments.append(_RECORD, data)
            return len(data)
        group = self._open_group(len(record.code))
        first = group[0] if group is not None else None
        data = encode(record, way, None, bytes(group[1][-_WINDOW:]) if group is not None else b"", self._level)
        end = self._segments.end()
        data = struct.pack("<I", first.offset if first is not None else end.offset) + data
        if first is None and end.offset + len(data) > self._segments.segment_bytes:
            data = struct.pack("<I", 0) + data[4:]  # it opens a segment
        place = self._segments.append(_FULL, data)
        if first is not None and place.segment != first.segment:  # the segment ended: its group is out of reach
            self._group = None
            return self.add(record, way)
        self._full[record.tag] = place
        self._written += 1
        if self._group is None:
            self._group = place, bytearray()
        self._group[1].extend(bare(record.code))
        return len(data)

    def has(self, tag: str) -> Way | None:
        """How it is kept: FULL, else as a difference, else None."""
        self._refresh()
        if tag in self._full:
            return Way.FULL
        return self._way(self._other[tag]) if tag in self._other else None

    def get(self, tag: str, base: Base | None = None, exact: bytes | None = None) -> Recorded | None:
        """The record with this tag; None where there is none, or its base is missing. InputError where it is damaged. `exact`: the
        reconstruction, for records that need no more.
        """
        if len(tag) != 16 or not set(tag) <= set("0123456789abcdef"):
            raise InputError(f"tag {tag[:40]!r}", "is no tag")
        self._refresh()
        spool = self.spool or (spool_of(self.directory) if os.path.isdir(self.directory) else None)
        try:
            if tag in self._full:
                return self._read_full(self._full[tag])
            found = None
            if tag in self._other:
                found = decode(self._segments.read(self._other[tag]).data, base, b"", exact)
            if found is None and spool is not None and spool.directory != self.directory:
                found = spool.get(tag)
            return found
        except (ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
            raise InputError(str(self.directory), f"the record of {tag} is damaged ({error})") from None

    def add_loads(self, loads: Sequence[Mapping[str, Any]], boot: Mapping[str, Any]) -> int:
        """Keep what is said of loads, one JSON object each; `boot`: what is the same for all of this boot. The bytes that it takes."""
        if self._booted != self._segments.end().segment:
            self._booted = self._segments.append(_BOOT, json.dumps(boot, separators=(",", ":")).encode()).segment
        text = b"".join(json.dumps(load, separators=(",", ":")).encode() + b"\n" for load in loads)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _LOAD_SAMPLE)
        data = packer.compress(text) + packer.flush()
        self._segments.append(_LOADS, data)
        return len(data)

    def loads(self) -> Iterator[Mapping[str, Any]]:
        """What was said of each load, oldest first."""
        boot: Mapping[str, Any] = {}
        for frame in self._segments.frames():
            if frame.kind == _BOOT:
                boot = _object(frame.data)
            elif frame.kind == _LOADS:
                unpacker = zlib.decompressobj(-15, _LOAD_SAMPLE)
                try:
                    lines = unpacker.decompress(frame.data, _MAX_TEXT).splitlines()
                except zlib.error:
                    continue
                yield from ({**_object(line), **boot} for line in lines)

    def prune(self, keep: Container[str] = ()) -> int:
        """Remove the oldest segments until the directory fits, but write again the records of tags in `keep`; how many went."""
        gone = 0
        for _ in range(len(self._segments.numbers())):
            if self._segments.total_bytes() <= self.max_bytes:
                break
            self._refresh()
            oldest = self._segments.numbers()[0]
            there = {tag for places in (self._full, self._other) for tag, place in places.items() if place.segment == oldest}
            for tag in there:
                if tag in keep:
                    self._again(tag, oldest)
            if not self._segments.drop_oldest():
                break
            for places in (self._full, self._other):
                for tag in [tag for tag, place in places.items() if place.segment <= oldest]:
                    del places[tag]
            self._reading = None
            gone += sum(tag not in self._full and tag not in self._other for tag in there)
        return gone

    def keep_only(self, tags: set[str]) -> None:
        """Forget other full copies; the files are written again when they hold little else. For the spool."""
        self._refresh()
        for tag in [tag for tag in self._full if tag not in tags]:
            del self._full[tag]
        if not self._full and self._written:
            self.remove()
        elif self._written > 2 * len(self._full) + _SLACK and self.total_bytes() > self._segments.segment_bytes // 8:
            first = self._segments.roll()
            self._group, self._written = None, 0
            for tag, place in list(self._full.items()):
                try:
                    record = self._read_full(place)
                except ValueError:
                    record = None
                if record is not None:
                    self.add(record)
                else:
                    del self._full[tag]
            while (numbers := self._segments.numbers()) and numbers[0] < first:
                self._segments.drop_oldest()

    def remove(self) -> None:
        """The directory with everything in it."""
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        self._full, self._other = {}, {}
        self._learnt, self._seen, self._written = False, Place(0, 0), 0

    def tags(self) -> set[str]:
        """Of all records."""
        self._refresh()
        return {*self._full, *self._other}

    def total_bytes(self) -> int:
        """What the store takes on disk, without its spool."""
        return self._segments.total_bytes()

    def close(self) -> None:
        """Let another process write."""
        self._segments.close()
        self._learnt, self._booted, self._group, self._reading = False, None, None, None
        if self.spool is not None:
            self.spool.close()

    def _again(self, tag: str, oldest: int) -> None:
        try:
            if (place := self._full.get(tag)) is not None and place.segment == oldest:
                record = self._read_full(place)
                if record is not None:
                    self.add(record)
            if (place := self._other.get(tag)) is not None and place.segment == oldest:
                self._other[tag] = self._segments.append(_RECORD, self._segments.read(place).data)
        except ValueError:
            pass  # damaged: it goes

    def _open_group(self, size: int) -> tuple[Place, bytearray] | None:
        group = self._group
        if group is not None and (len(group[1]) + size > _GROUP_BYTES or group[0].segment != self._segments.end().segment):
            self._group = group = None
        return group

    def _refresh(self) -> None:
        """Learn what was written since the last look."""
        if self._learnt:
            return
        self._learnt = self._segments.writing
        numbers = self._segments.numbers()
        for places in (self._full, self._other):
            for tag in [tag for tag, place in places.items() if place.segment not in numbers]:
                del places[tag]
        for frame in self._segments.frames(self._seen):
            self._seen = Place(frame.place.segment, frame.place.offset + 10 + len(frame.data))
            if frame.kind == _FULL and len(frame.data) > 12:
                self._full[frame.data[4:12].hex()] = frame.place
                self._written += 1
            elif frame.kind == _RECORD and len(frame.data) > 8:
                self._other[frame.data[:8].hex()] = frame.place

    def _way(self, place: Place) -> Way | None:
        try:
            return way_of(self._segments.read(place).data)
        except ValueError:
            return None

    def _read_full(self, place: Place) -> Recorded | None:
        """Those before it in its group are its dictionary."""
        wanted = self._segments.read(place)
        first = Place(place.segment, struct.unpack_from("<I", wanted.data)[0])
        if self._reading is None or self._reading.first != first:
            self._reading = _Group(first, bytearray(), {}, first)
        group = self._reading
        if place not in group.starts:
            for frame in self._segments.frames(group.next):
                if frame.place > place or frame.place.segment != place.segment:
                    break
                if frame.kind == _FULL and struct.unpack_from("<I", frame.data)[0] == first.offset:
                    group.starts[frame.place] = len(group.codes)
                    group.codes += code_of(frame.data[4:], bytes(group.codes[-_WINDOW:]))
                group.next = Place(frame.place.segment, frame.place.offset + 10 + len(frame.data))
        start = group.starts[place]
        return decode(wanted.data[4:], dictionary=bytes(group.codes[max(0, start - _WINDOW) : start]))


@dataclass(slots=True)
class _Group:
    """Full copies that need each other, as far as they were read: bare instructions, and where those of each begin."""

    first: Place
    codes: bytearray
    starts: dict[Place, int]
    next: Place


def spool_of(directory: str | Path, max_bytes: int = SPOOL_BYTES) -> Store:
    """Where full copies of loaded programs are, for a store: in memory, gone with the machine's next start as the programs are."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:12]
    return Store(f"/run/bpflens/records-{name}", max_bytes, level=1)


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

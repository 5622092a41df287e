"""Files that only grow: frames with a checksum, in segments of bounded size, the oldest of which goes first.

    DIR/000001.seg, 000002.seg ...      magic (1) | kind (1) | length (4) | CRC-32 of what follows (4) | data

One process writes (a lock says so); others may read meanwhile. A frame that is cut off by a crash ends its segment for readers, and the
next writer cuts it away.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from bpflens.errors import BpflensError, InputError
from bpflens.kernel.sys import faults
from bpflens.kernel.sys.locks import lock
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ("Frame", "Place", "Segments")

_MAGIC = 0xB5
_HEADER = struct.Struct("<BBII")
_MAX_FRAME = 1 << 26


class Place(NamedTuple):
    """Where a frame is."""

    segment: int
    offset: int


class Frame(NamedTuple):
    """A whole frame."""

    kind: int
    place: Place
    data: bytes


_START = Place(0, 0)


class Segments:
    """The frames of a directory. InputError where it cannot be read or written."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self.directory, self.segment_bytes = directory, segment_bytes
        self._lock: int | None = None
        self._out: int | None = None
        self._at = Place(0, 0)

    def numbers(self) -> list[int]:
        """The segments that there are, oldest first."""
        try:
            return sorted(int(name[:-4]) for name in os.listdir(self.directory) if name.endswith(".seg") and name[:-4].isdecimal())
        except OSError:
            return []

    def total_bytes(self) -> int:
        """What they take."""
        return sum(self._path(number).stat().st_size for number in self.numbers())

    def frames(self, first: Place = _START) -> Iterator[Frame]:
        """All from a place on, oldest first; a damaged frame ends its segment."""
        for number in self.numbers():
            if number >= first.segment:
                yield from self._of_segment(number, first.offset if number == first.segment else 0)

    def read(self, place: Place) -> Frame:
        """The frame at a place. ValueError where there is none."""
        try:
            with open(self._path(place.segment), "rb") as stream:
                stream.seek(place.offset)
                frame = _frame(stream, place)
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from None
        if frame is None:
            raise ValueError("its checksum is wrong, or it is cut off")
        return frame

    def end(self) -> Place:
        """Where the next frame goes."""
        self._open()
        return self._at

    def append(self, kind: int, data: bytes) -> Place:
        """Write a frame at the end; a full segment is followed by a new one."""
        self._open()
        assert self._out is not None
        if self._at.offset and self._at.offset + len(data) > self.segment_bytes:
            self._start(self._at.segment + 1)
        raw = _HEADER.pack(_MAGIC, kind, len(data), zlib.crc32(data)) + data
        place = self._at
        try:
            faults.step("store")
            written = os.write(self._out, raw)
            if written != len(raw):
                raise OSError(28, "No space left on device")
        except OSError as error:
            try:
                os.ftruncate(self._out, place.offset)
            except OSError:
                pass
            raise InputError(str(self._path(place.segment)), error.strerror or str(error)) from None
        self._at = Place(place.segment, place.offset + len(raw))
        return place

    def roll(self) -> int:
        """Begin a new segment; its number."""
        self._open()
        if self._at.offset:
            self._start(self._at.segment + 1)
        return self._at.segment

    @property
    def writing(self) -> bool:
        """This object has the directory's lock."""
        return self._out is not None

    def drop_oldest(self) -> int:
        """Remove the oldest segment, never the last one; its number, 0 where there is only one."""
        numbers = self.numbers()
        if len(numbers) < 2:
            return 0
        self._path(numbers[0]).unlink(missing_ok=True)
        return numbers[0]

    def close(self) -> None:
        """Give the directory back."""
        for descriptor in (self._out, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._out = self._lock = None

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:06}.seg"

    def _of_segment(self, number: int, offset: int) -> Iterator[Frame]:
        try:
            with open(self._path(number), "rb") as stream:
                stream.seek(offset)
                while (frame := _frame(stream, Place(number, offset))) is not None:
                    yield frame
                    offset += _HEADER.size + len(frame.data)
        except OSError:  # removed meanwhile
            return

    def _open(self) -> None:
        if self._out is not None:
            return
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            self._lock = lock(self.directory / "lock")
            self._start((self.numbers() or [1])[-1])
        except BlockingIOError:
            self.close()
            raise BpflensError(str(self.directory), "another process writes this store") from None
        except OSError as error:
            self.close()
            raise InputError(str(self.directory), error.strerror or str(error)) from None

    def _start(self, number: int) -> None:
        """Go on at the end of a segment, behind its last whole frame."""
        end = 0
        for frame in self._of_segment(number, 0):
            end = frame.place.offset + _HEADER.size + len(frame.data)
        new = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.ftruncate(new, end)
        os.lseek(new, end, os.SEEK_SET)
        if self._out is not None:
            os.close(self._out)
        self._out, self._at = new, Place(number, end)


def _frame(stream: BinaryIO, place: Place) -> Frame | None:
    """The frame at the stream's position, None where there is no whole one."""
    head = stream.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return None
    magic, kind, length, checksum = _HEADER.unpack(head)
    body = stream.read(length) if magic == _MAGIC and length <= _MAX_FRAME else b""
    if magic != _MAGIC or len(body) != length or zlib.crc32(body) != checksum:
        return None
    return Frame(kind, place, body)

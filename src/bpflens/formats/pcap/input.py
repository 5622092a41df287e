"""The bytes of a capture: a file, a pipe, or either through gzip, in bounded pieces."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bpflens.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ("CHUNK_BYTES", "Gunzip", "Input")

CHUNK_BYTES = 1 << 18


class Gunzip:
    """The bytes of a gzip stream, of any number of members, in bounded pieces; InputError where it is damaged or cut."""

    def __init__(self, source: Input, head: bytes) -> None:
        import zlib

        self._source = source
        self._head = head
        self._new: Callable[[], zlib._Decompress] = lambda: zlib.decompressobj(wbits=31)
        self._error = zlib.error
        self._member = self._new()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end."""
        while True:
            packed = self._head or self._member.unconsumed_tail or self._source.piece()
            self._head = b""
            try:
                data = self._member.decompress(packed, size)
            except self._error as error:
                raise InputError(self._source.where, f"the gzip data is damaged: {error}") from None
            if self._member.eof and self._member.unused_data:
                self._head, self._member = self._member.unused_data, self._new()
            if data:
                return data
            if not packed:
                if not self._member.eof:
                    raise InputError(self._source.where, "the gzip data is cut short")
                return b""

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class Input:
    """A stream that is read in chunks; `where` names it in errors."""

    def __init__(self, stream: BinaryIO | Gunzip, where: str) -> None:
        self._stream = stream
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)  # a pipe's packets are wanted when they come
        self.where = where

    def some(self, at_least: int) -> bytes:
        """At least that many bytes, or what is left."""
        parts = []
        missing = at_least
        try:
            while missing > 0:
                part = self._read(max(CHUNK_BYTES, min(missing, 1 << 22)))
                if not part:
                    break
                parts.append(part)
                missing -= len(part)
        except OSError as error:
            raise InputError(self.where, error.strerror or str(error)) from None
        return b"".join(parts)

    def piece(self) -> bytes:
        """Some bytes, none at the end."""
        try:
            return bytes(self._read(CHUNK_BYTES))
        except OSError as error:
            raise InputError(self.where, error.strerror or str(error)) from None

    def take(self, size: int) -> bytes:
        """Exactly that many bytes, or what is left."""
        data = b""
        try:
            while len(data) < size:
                part = self._read(min(size - len(data), 1 << 22))
                if not part:
                    break
                data += part
        except OSError as error:
            raise InputError(self.where, error.strerror or str(error)) from None
        return data

    def close(self) -> None:
        if self._stream is not sys.stdin.buffer:
            self._stream.close()

"""Packets of a capture by number, forwards and back."""

from __future__ import annotations

from bpflens.errors import PartialResult
from bpflens.formats.pcap.capture import Capture, Packet, dlt_of, open_capture

__all__ = ("PacketSource",)

_STDIN_PACKETS = 100_000


class PacketSource:
    """Packets by number, from 1; a file is read again to go back, the first ones of standard input are kept."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.damage: str | None = None
        self._kept: list[Packet] = []
        self._open()

    def _open(self) -> None:
        self._capture: Capture = open_capture(self.path)
        self._packets = iter(self._capture)
        self._number = 0
        self._current: Packet | None = None
        self.dlt = dlt_of(self._capture.linktype)

    def close(self) -> None:
        """Close the capture."""
        self._capture.close()

    def get(self, number: int) -> Packet | None:
        """Packet `number`, None after the last one (`damage` then says why, if the file was cut short)."""
        if number <= len(self._kept):
            return self._kept[number - 1]
        if number < self._number and not self._kept:
            self.close()
            self._open()
        while self._number < number:
            try:
                packet = next(self._packets, None)
            except PartialResult as error:
                self.damage = error.reason
                packet = None
            if packet is None:
                return None
            self._number += 1
            self._current = packet
            if not self._capture.path and len(self._kept) < _STDIN_PACKETS:
                self._kept.append(packet)
        return self._current if self._number == number else None

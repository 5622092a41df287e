"""Kernel symbols from /proc/kallsyms: address -> name and name -> address, without parsing the file.

The file has over 100,000 lines that the kernel formats while they are read, so it is read in pieces, only as far as a question needs,
and searched as bytes. Core kernel symbols come first, by address (kernel/kallsyms.c:update_iter, v6.18); those of modules and BPF follow.

Where addresses are hidden (kernel.kptr_restrict, no CAP_SYSLOG: kallsyms_show_value()) every address reads 0: `hidden()` says so
and every look-up finds nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

__all__ = ("CALL_BASE", "Kallsyms", "kallsyms")

CALL_BASE = "__bpf_call_base"  # the imm of a helper call in an xlated image is relative to it (kernel/bpf/core.c)
_PIECE = 1 << 16
_ENOUGH = 1 << 18


class Kallsyms:
    """The symbols of the running kernel, read lazily. `text`: a substitute for the file, for tests."""

    def __init__(self, text: bytes | None = None) -> None:
        self._text = bytearray(b"\n" + (text or b""))
        self._fd = -1
        self._complete = text is not None
        self._hidden: bool | None = None
        self._found: dict[int, str | None] = {}
        self._addresses: dict[str, int | None] = {}

    def hidden(self) -> bool:
        """Whether this process may not see kernel addresses (or there is no kallsyms)."""
        if self._hidden is None:
            if len(self._text) < _PIECE:
                self._read_more()
            # The first symbols of some kernels are per-cpu offsets and absolute zeros, so one line does not tell.
            self._hidden = not any(line[:16].strip(b"0") for line in self._text[1:_PIECE].splitlines())
        return self._hidden

    def name(self, address: int) -> str | None:
        """The symbol at exactly this address; among aliases "bpf_..." first, then global ones. None: unknown or hidden."""
        return self.names((address,)).get(address)

    def names(self, addresses: Iterable[int]) -> dict[int, str]:
        """`name` of many addresses, those found. Reads as far as the highest core kernel address among them."""
        addresses = () if self.hidden() else tuple(addresses)
        missing = {address for address in addresses if address and address not in self._found}
        later = set()  # in the core kernel's range but not among its symbols: a module's or BPF's, or none
        while missing:
            last = self._last_address()
            for address in sorted(missing):
                if address >= last and not self._complete:
                    break
                missing.discard(address)
                lines = self._lines_at(address)
                if lines:
                    self._found[address] = _best(lines)
                else:
                    later.add(address)
            if missing:
                self._read_more()
        if later:
            self._read_all()
            for address in later:
                lines = self._lines_anywhere(address)
                self._found[address] = _best(lines) if lines else None
        return {address: name for address in addresses if (name := self._found.get(address)) is not None}

    def address(self, name: str) -> int | None:
        """The address of the first symbol of this name; None: unknown or hidden."""
        if name not in self._addresses and self.hidden():
            return None
        if name not in self._addresses:
            needles, start = (f" {name}\n".encode(), f" {name}\t".encode()), 0
            while (found := self._find_name(needles, start)) is None and not self._complete:
                start = max(0, len(self._text) - len(name) - 2)
                self._read_more()
            self._addresses[name] = found or None
        return self._addresses[name]

    def addresses(self, names: Iterable[str]) -> dict[str, int]:
        """`address` of many names, those found."""
        return {name: address for name in names if (address := self.address(name)) is not None}

    def call_base(self) -> int | None:
        """The address of __bpf_call_base, to which call imms of xlated code are relative."""
        return self.address(CALL_BASE)

    def functions(self) -> Iterator[tuple[int, str]]:
        """(address, name) of every function of the core kernel, those of modules and BPF programs left out; reads the whole file."""
        self._read_all()
        if self.hidden():
            return
        for line in self._text.splitlines():
            if line[17:18] in b"tTwW" and len(line) > 19 and not line.endswith(b"]"):
                yield int(line[:16], 16), _symbol(line)

    def ranges(self, prefixes: Iterable[str]) -> list[tuple[int, int]]:
        """(first address, address of the next symbol) of the core kernel's functions whose names begin so; reads the whole file."""
        self._read_all()
        starts = b"|".join(re.escape(prefix.encode()) for prefix in prefixes)
        pattern = re.compile(rb"^([0-9a-f]{16}) [tT] (?:" + starts + rb")[^\t\n]*\n(?=([0-9a-f]{16}))", re.MULTILINE)
        return [(int(found[1], 16), int(found[2], 16)) for found in pattern.finditer(self._text)]

    def nearest(self, address: int) -> tuple[str, int] | None:
        """The symbol at or before `address` and the distance in bytes, for addresses inside a function; reads the whole file."""
        self._read_all()
        best, best_line = -1, bytearray()
        for line in self._text.splitlines():
            if len(line) > 19 and best < (here := int(line[:16], 16)) <= address:
                best, best_line = here, line
        return (_symbol(best_line), address - best) if best > 0 else None

    def _last_address(self) -> int:
        """The address on the last complete line; 0 where nothing is read yet."""
        end = self._text.rfind(b"\n")
        start = self._text.rfind(b"\n", 0, end) if end > 0 else -1
        return int(self._text[start + 1 : start + 17], 16) if start >= 0 else 0

    def _lines_at(self, address: int) -> list[bytes]:
        """The lines of an address, by bisection: right for the core kernel's symbols, which are sorted."""
        text = self._text
        needle = b"%016x" % address
        low, high = 1, len(text)
        while low < high:  # the first line whose address is not below: `low` is always the start of a line
            middle = text.rfind(b"\n", low, (low + high) // 2) + 1 or low
            if text[middle : middle + 16] >= needle:
                high = middle
            else:
                low = text.find(b"\n", middle) + 1 or len(text)
        lines = []
        while text[low : low + 16] == needle:
            end = text.find(b"\n", low)
            end = end if end >= 0 else len(text)
            lines.append(bytes(text[low:end]))
            low = end + 1
        return lines

    def _lines_anywhere(self, address: int) -> list[bytes]:
        text, lines = self._text, []
        needle = b"\n%016x " % address
        position = text.find(needle)
        while position >= 0:
            end = text.find(b"\n", position + 1)
            end = end if end >= 0 else len(text)
            lines.append(bytes(text[position + 1 : end]))
            position = text.find(needle, end)
        return lines

    def _find_name(self, needles: Iterable[bytes], start: int) -> int | None:
        for needle in needles:
            position = self._text.find(needle, start)
            if position >= 0:
                line = self._text.rfind(b"\n", 0, position) + 1
                return int(self._text[line : line + 16], 16)
        return None

    def _read_all(self) -> None:
        while not self._complete:
            self._read_more()

    def _read_more(self) -> None:
        if self._complete:
            return
        got = 0
        try:
            if self._fd < 0:
                self._fd = os.open("/proc/kallsyms", os.O_RDONLY | os.O_CLOEXEC)
            while got < _ENOUGH:
                piece = os.read(self._fd, _PIECE)
                if not piece:
                    self._finish()
                    break
                self._text += piece
                got += len(piece)
        except OSError:
            self._finish()

    def _finish(self) -> None:
        self._complete = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_shared: Kallsyms | None = None


def kallsyms() -> Kallsyms:
    """The kernel's symbols, one reader per process. BPF programs loaded after the first look-up may be missing from it."""
    global _shared
    if _shared is None:
        _shared = Kallsyms()
    return _shared


def _best(lines: Sequence[bytes]) -> str:
    """Of the lines "ADDRESS TYPE NAME[\\t[MODULE]]" of one address: a name that says most."""

    def rank(line: bytes) -> tuple[bool, bool, bool]:
        name = line[19:]
        return name.startswith(b"__pfx_"), not name.startswith(b"bpf_"), line[17:18].islower()

    return _symbol(min(lines, key=rank))


def _symbol(line: bytes | bytearray) -> str:
    return line[19:].split(b"\t", 1)[0].decode("ascii", "replace")

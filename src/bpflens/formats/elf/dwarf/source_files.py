"""The text of source lines, from the files that debug information names, where they are there and are those that were compiled.

A file is what was compiled where its MD5 says so (DWARF 5), or where it has none and is not younger than the object. Only regular files
of a bounded size are opened: an object may name anything.
"""

from __future__ import annotations

import hashlib
import os
import stat

from bpflens.lean import NamedTuple

__all__ = ("SourceFile", "SourceFiles")

MAX_SOURCE = 1 << 24


class SourceFile(NamedTuple):
    """`shown` is the name as the table has it, `path` with the directory of the compilation, `md5` that of the content."""

    shown: str
    path: str
    md5: bytes | None


class SourceFiles:
    """Reads each file once. `object_path`: where the object lies, whose time the files are compared with."""

    def __init__(self, object_path: str) -> None:
        self._object_path = object_path
        self._known: dict[SourceFile, list[str] | str] = {}

    def text(self, file: SourceFile, line: int) -> str:
        """Line `line`, from 1, without its indentation; its place, and why there is no text, where the file cannot serve."""
        lines = self._known.get(file)
        if lines is None:
            lines = self._known[file] = self._read(file)
        if isinstance(lines, str):
            return f"{file.shown}:{line}{lines}"
        return lines[line - 1].strip() if 0 < line <= len(lines) else f"{file.shown}:{line}"

    def _read(self, file: SourceFile) -> list[str] | str:
        found = _regular(file.path)
        if found is not None:
            data, when = found
            if file.md5 is None and when > self._time:
                return " (the file is younger than the object)"
            if file.md5 is None or _md5(data) == file.md5:
                return data.decode("utf-8", "replace").split("\n")
        beside = _regular(os.path.join(os.path.dirname(self._object_path), os.path.basename(file.shown))) if file.md5 else None
        if beside is not None and _md5(beside[0]) == file.md5:
            return beside[0].decode("utf-8", "replace").split("\n")
        return " (the file is not the one that was compiled)" if found is not None else ""

    @property
    def _time(self) -> float:
        try:
            return os.stat(self._object_path).st_mtime
        except OSError:
            return float("inf")


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _regular(path: str) -> tuple[bytes, float] | None:
    """(content, time of the last change) of a regular file of bounded size; nothing else is opened."""
    try:
        known = os.stat(path)
        if not stat.S_ISREG(known.st_mode) or known.st_size > MAX_SOURCE:
            return None
        with open(path, "rb") as file:
            return file.read(MAX_SOURCE), known.st_mtime
    except (OSError, ValueError):
        return None

"""Originals that were recorded when they were loaded: one file for each tag, and a line for each load.

    DIR/b3/b357014d1a5c5ad7.rec      the instructions with all that the loader said of them, compressed
    DIR/loads.jsonl                  who loaded it, when, as which id

A file is written beside its name and renamed. What is read back is checked: its tag is a hash over the instructions, so that a damaged file
is found out. Map references hold the loader's descriptors, which the tag does not cover.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bpflens.errors import InputError
from bpflens.formats.whole_file import write_whole
from bpflens.isa.extended.insn import words
from bpflens.original.image.tag import tags

__all__ = ("DEFAULT_STORE", "Recorded", "Store")

DEFAULT_STORE = "/var/lib/bpflens/records"
_LIMIT = 64 << 20  # bytes of one record: a million instructions with their records
_LOADS = "loads.jsonl"
_MAX_LOADS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Recorded:
    """A program as it was loaded. `attr` is union bpf_attr in hex ("" where a program loaded it), the infos are packed records in hex."""

    tag: str
    name: str
    type: int
    expected_attach_type: int
    license: str
    code: bytes
    attr: str = ""
    func_info: str = ""
    line_info: str = ""


class Store:
    """A directory of records. InputError where it cannot be read or written."""

    def __init__(self, directory: str, max_bytes: int = 1 << 30) -> None:
        self.directory, self.max_bytes = Path(directory), max_bytes

    def add(self, record: Recorded, load: Mapping[str, Any]) -> bool:
        """Keep a record; True where its code was new. `load`: what is said of this load, as JSON values."""
        path = self._path(record.tag)
        new = not path.exists()
        if new:
            value = {**asdict(record), "code": record.code.hex()}
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(str(path), zlib.compress(json.dumps(value).encode(), 9), 0o600)
        self._append({"tag": record.tag, **load})
        return new

    def _append(self, load: Mapping[str, Any]) -> None:
        path = self.directory / _LOADS
        try:
            if path.exists() and path.stat().st_size > _MAX_LOADS_BYTES:
                os.replace(path, path.with_suffix(".jsonl.1"))
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "ab") as stream:
                stream.write(json.dumps(load).encode() + b"\n")
        except OSError as error:
            raise InputError(str(path), error.strerror or str(error)) from None

    def get(self, tag: str) -> Recorded | None:
        """The record with this tag; None where there is none. InputError where the file is damaged."""
        path = self._path(tag)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        try:
            inflate = zlib.decompressobj()
            text = inflate.decompress(raw, _LIMIT)
            if inflate.unconsumed_tail:
                raise ValueError("too large")
            value = json.loads(text)
            found = Recorded(**{**value, "code": bytes.fromhex(value["code"])})
        except (ValueError, TypeError, KeyError, zlib.error) as error:
            raise InputError(str(path), f"is no record ({error})") from None
        if not found.code or len(found.code) % 8 or tag not in tags(words(found.code)):
            raise InputError(str(path), "its instructions do not have the tag that it is named after")
        return found

    def loads(self) -> Iterator[Mapping[str, Any]]:
        """What was said of each load, oldest first; lines that are damaged are passed over."""
        for name in (f"{_LOADS}.1", _LOADS):
            try:
                with open(self.directory / name, "rb") as stream:
                    for line in stream:
                        try:
                            value = json.loads(line)
                        except ValueError:
                            continue
                        if isinstance(value, dict):
                            yield value
            except OSError:
                continue

    def prune(self) -> int:
        """Remove the records that were written longest ago until the directory fits; how many went."""
        files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self.directory.glob("??/*.rec"))
        total, gone = sum(size for _, size, _ in files), 0
        for _, size, path in files:
            if total <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total, gone = total - size, gone + 1
        return gone

    def _path(self, tag: str) -> Path:
        if not tag or not set(tag) <= set("0123456789abcdef"):
            raise InputError(f"tag {tag[:40]!r}", "is no tag")
        return self.directory / tag[:2] / f"{tag}.rec"

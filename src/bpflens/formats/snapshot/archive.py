"""The container of a snapshot: a zip file that appears whole or not at all, and is read with distrust.

    manifest.json            what was saved (manifest.py)
    programs/12/original.bin, maps/7/data.bin ...
    SHA256SUMS               of every other member: `unzip x.bpfsnap && sha256sum -c SHA256SUMS`

The manifest has the SHA-256 of every blob, so its own SHA-256 stands for the whole: that is the snapshot's digest.
Writing: an unnamed file of mode 0600 in the goal's directory, which gets its name when it is complete (O_TMPFILE; elsewhere a name that
starts with a dot and ends in ".part"). Equal input gives equal bytes: times of members are fixed, their order is that of the writer.
Reading: nothing is ever unpacked to a path; sizes are checked before bytes are read, bytes are hashed while they are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from bpflens.errors import InputError
from bpflens.formats.snapshot.magic import FIRST_MEMBER
from bpflens.formats.snapshot.manifest import SCHEMA, Manifest, Member
from bpflens.formats.snapshot.sanity import check
from bpflens.formats.snapshot.schema import build, plain

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ("BLOB_LIMIT", "MANIFEST", "Archive", "ArchiveWriter")

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
MANIFEST_LIMIT = 32 << 20  # some 10,000 programs
BLOB_LIMIT = 256 << 20  # a blob that is read as a whole: the largest program has 8 MB, the largest BTF 16
_MEMBERS_LIMIT = 500_000
_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, RuntimeError, ValueError, OverflowError)


class ArchiveWriter:
    """Writes members one after the other. `commit` makes the file appear; without it nothing was there."""

    def __init__(self, path: str) -> None:
        if os.path.islink(path):
            raise InputError(path, "is a symbolic link, which is not followed", f"name its target: {os.readlink(path)}")
        self.path = path
        self._directory = os.path.dirname(os.path.abspath(path))
        self._part = ""
        self._fd = self._open()
        self._file = os.fdopen(self._fd, "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self.members: dict[str, Member] = {}
        with self._named():
            self._zip.writestr(_info(FIRST_MEMBER), b"")

    def _open(self) -> int:
        try:
            return os.open(self._directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except (AttributeError, OSError):
            self._part = os.path.join(self._directory, f".{os.path.basename(self.path)}.{os.getpid()}.part")
            try:
                return os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise InputError(self.path, f"cannot be written: {error.strerror}") from None

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of writing name the file."""
        try:
            yield
        except OSError as error:
            self.abort()
            raise InputError(self.path, f"cannot be written: {error.strerror or error}") from None

    def add(self, name: str, content: bytes) -> str:
        """A small member; returns its name. One that is there already keeps its content."""
        if name not in self.members:
            with self.stream(name, compress=True) as out:
                out.write(content)
        return name

    @contextmanager
    def stream(self, name: str, *, compress: bool = False) -> Iterator[MemberWriter]:
        """A member of any length, written piece by piece. `compress` costs ten times the processor time of the copy."""
        info = _info(name)
        info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        stream = self._zip.open(info, "w", force_zip64=True)
        writer = MemberWriter(stream, self.path)
        yield writer
        with self._named():
            stream.close()
        self.members[name] = Member(writer.size, writer.hash.hexdigest())

    def commit(self, manifest: Manifest) -> str:
        """Write the manifest and the sums, and give the file its name; returns the snapshot's digest."""
        with self._named():
            return self._commit(manifest)

    def _commit(self, manifest: Manifest) -> str:
        text = json.dumps(plain(manifest), indent=1, sort_keys=True).encode() + b"\n"
        digest = hashlib.sha256(text).hexdigest()
        self._zip.writestr(_info(MANIFEST, zipfile.ZIP_DEFLATED), text)
        lines = [f"{member.sha256}  {name}\n" for name, member in sorted(self.members.items())]
        self._zip.writestr(_info(SUMS, zipfile.ZIP_DEFLATED), "".join([*lines, f"{digest}  {MANIFEST}\n"]))
        self._zip.close()
        self._file.flush()
        os.fsync(self._fd)
        self._name()
        self._file.close()
        return digest

    def _name(self) -> None:
        part = self._part
        if not part:
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                source = f"/proc/self/fd/{self._fd}"
                try:
                    os.link(source, self.path, src_dir_fd=directory, follow_symlinks=True)
                    os.fsync(directory)
                    return
                except FileExistsError:
                    part = os.path.join(self._directory, f".{os.path.basename(self.path)}.{os.getpid()}.part")
                    os.link(source, part, src_dir_fd=directory, follow_symlinks=True)
            finally:
                os.close(directory)
        try:
            os.rename(part, self.path)
        except OSError:
            os.unlink(part)
            raise
        self._part = ""

    def abort(self) -> None:
        """Forget everything; also after `commit`, when it does nothing."""
        self._zip.fp = None  # or it would write its end into the file that is closed
        try:
            self._file.close()
        except (OSError, ValueError):
            pass
        if self._part:
            try:
                os.unlink(self._part)
            except OSError:
                pass
            self._part = ""


class MemberWriter:
    """The open end of a member: `write` pieces; `size` and `hash` so far."""

    __slots__ = ("_path", "_stream", "hash", "size")

    def __init__(self, stream: IO[bytes], path: str) -> None:
        self._stream = stream
        self._path = path
        self.size = 0
        self.hash: _Hash = hashlib.sha256()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Append."""
        self.size += len(piece)
        self.hash.update(piece)
        try:
            self._stream.write(piece)
        except OSError as error:
            raise InputError(self._path, f"cannot be written: {error.strerror or error}") from None


def _info(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = compression
    info.external_attr = 0o600 << 16
    info.create_system = 3
    return info


class Archive:
    """A snapshot that is read. InputError, one line, for everything that is not as it was written."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise InputError(path, error.strerror or str(error)) from None
        except ValueError as error:
            raise InputError(repr(path), str(error)) from None
        try:
            self._check_size()
            self._zip = self._open_zip()
            self._names = self._check_names()
            self.manifest, self.digest = self._read_manifest()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        with contextlib.suppress(OSError):  # it was only read: its end changes nothing of what was done with it
            self._file.close()

    def read(self, name: str, limit: int = BLOB_LIMIT) -> bytes:
        """A member as a whole, at most `limit` bytes, checked against its SHA-256."""
        member = self._member(name)
        if member.size > limit:
            raise InputError(f"{self.path}: {name}", f"has {member.size} bytes, more than any such member needs")
        return b"".join(self.pieces(name))

    def pieces(self, name: str, size: int = _CHUNK) -> Iterator[bytes]:
        """A member in pieces of `size` bytes, the last one shorter; InputError at its end where the SHA-256 is another."""
        member = self._member(name)
        digest, left = hashlib.sha256(), member.size
        where = f"{self.path}: {name}"
        try:
            with self._zip.open(name) as stream:
                while left:
                    want = min(size, left)
                    piece = stream.read(want)
                    while len(piece) < want:
                        more = stream.read(want - len(piece))
                        if not more:
                            raise InputError(where, "is shorter than the manifest says")
                        piece += more
                    digest.update(piece)
                    left -= len(piece)
                    yield piece
                if stream.read(1):
                    raise InputError(where, "is longer than the manifest says")
        except (*_DAMAGE, OSError) as error:
            raise InputError(where, f"is damaged: {_short(error)}") from None
        if digest.hexdigest() != member.sha256:
            raise InputError(where, "is not what was written: its SHA-256 differs from the manifest's")

    def check(self) -> None:
        """Read every member and compare its SHA-256."""
        for name in self.manifest.members:
            for _ in self.pieces(name):
                pass

    def _member(self, name: str) -> Member:
        member = self.manifest.members.get(name)
        if member is None or name not in self._names:
            raise InputError(self.path, f"has no member {name!r}, which its manifest refers to")
        return member

    def _check_size(self) -> None:
        """The number of members, from the end record, before anything is made of them (APPNOTE.TXT 4.3.16, 4.3.14)."""
        size = os.fstat(self._file.fileno()).st_size
        start = max(0, size - 65557)
        self._file.seek(start)
        tail = self._file.read(65557)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < 22:
            raise InputError(self.path, "is no snapshot: not a zip archive, or its end is missing")
        count, directory = struct.unpack_from("<HI", tail, at + 10)
        wide = tail.rfind(b"PK\6\6", 0, at)
        if wide >= 0 and len(tail) - wide >= 48:
            count, directory = struct.unpack_from("<QQ", tail, wide + 32)
        if count > _MEMBERS_LIMIT or directory > min(size, _MEMBERS_LIMIT * 256):
            raise InputError(self.path, f"is no snapshot: it claims {count} members")

    def _open_zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._file)
        except (*_DAMAGE, OSError) as error:
            raise InputError(self.path, f"is damaged: {_short(error)}") from None

    def _check_names(self) -> frozenset[str]:
        infos = self._zip.infolist()
        names = frozenset(info.filename for info in infos)
        if FIRST_MEMBER not in names or MANIFEST not in names:
            raise InputError(self.path, "is a zip archive, but no snapshot")
        if len(names) != len(infos):
            raise InputError(self.path, "is no snapshot: two members have one name")
        for info in infos:
            parts = info.filename.split("/")
            if info.filename.startswith("/") or ".." in parts or "" in parts or "\\" in info.filename or not info.filename.isprintable():
                raise InputError(self.path, f"is no snapshot: a member is called {info.filename[:80]!r}")
            if info.flag_bits & 1:
                raise InputError(self.path, "is no snapshot: a member is encrypted")
        return names

    def _read_manifest(self) -> tuple[Manifest, str]:
        where = f"{self.path}: {MANIFEST}"
        if self._zip.getinfo(MANIFEST).file_size > MANIFEST_LIMIT:
            raise InputError(where, "is larger than any manifest")
        try:
            with self._zip.open(MANIFEST) as stream:
                text = stream.read(MANIFEST_LIMIT + 1)
            digest = hashlib.sha256(text).hexdigest()
            with self._zip.open(SUMS) as stream:
                covered = _has_line(stream, f"{digest}  {MANIFEST}\n".encode())
            content = json.loads(text)
        except KeyError:
            raise InputError(self.path, f"is damaged: it has no {SUMS}") from None
        except RecursionError:
            raise InputError(where, "is nested too deeply") from None
        except (*_DAMAGE, OSError) as error:
            raise InputError(where, f"is damaged: {_short(error)}") from None
        if not covered:
            raise InputError(where, f"is not what was written: its SHA-256 differs from that in {SUMS}")
        schema = content.get("schema") if isinstance(content, dict) else None
        if isinstance(schema, str) and schema.startswith("snapshot/") and schema != SCHEMA:
            raise InputError(where, f"is of version {schema[:20]!r}; this bpflens reads {SCHEMA}")
        if schema != SCHEMA:
            raise InputError(where, f"does not say that it is {SCHEMA}")
        try:
            manifest = build(Manifest, content, "")
            check(manifest)
        except InputError as error:
            raise InputError(where, str(error)) from None
        return manifest, digest


def _has_line(stream: IO[bytes], line: bytes) -> bool:
    """Whether the line stands in the stream's first part, which is long enough for any snapshot's sums; in little memory."""
    before, left = b"", MANIFEST_LIMIT
    while left > 0 and (piece := stream.read(min(_CHUNK, left))):
        if line in before + piece:
            return True
        before, left = piece[-len(line) :], left - len(piece)
    return False


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__

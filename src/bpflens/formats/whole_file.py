"""Files that are complete or absent: written beside the goal, and renamed when whole.

    with whole_file("x.o") as stream:
        stream.write(...)

A full disk, an error or a signal on the way leaves the goal as it was. A symbolic link at the goal is refused, because whoever made it
chooses what is overwritten; a device or a pipe is written as it comes.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from bpflens.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ("whole_file", "write_whole")

_OF_THE_SYSTEM = ("/dev/", "/proc/")  # /dev/stdout is a link, and meant


def write_whole(path: str, data: bytes | str, mode: int = 0o666) -> None:
    """Write a file at once; InputError naming the file and the reason."""
    with whole_file(path, mode) as stream:
        stream.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)


@contextlib.contextmanager
def whole_file(path: str, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file at `path` when the block ends without an error; `mode` as for open(2), under the umask."""
    try:
        if _is_special(path):
            with open(path, "wb") as stream:
                yield stream
            return
        if os.path.islink(path):
            raise InputError(path, "is a symbolic link, which is not followed", f"name its target: {os.readlink(path)}")
        beside = os.path.join(os.path.dirname(path) or ".", f".{os.path.basename(path)}.{os.getpid()}.part")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise InputError(repr(path), str(error)) from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if os.path.exists(path):
                os.fchmod(stream.fileno(), stat.S_IMODE(os.stat(path).st_mode))  # a file that is replaced keeps its mode
            yield stream
        os.replace(beside, path)
    except OSError as error:
        _remove(beside)
        raise InputError(path, error.strerror or str(error)) from None
    except BaseException:
        _remove(beside)
        raise


def _is_special(path: str) -> bool:
    if path.startswith(_OF_THE_SYSTEM):
        return True
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode) and not os.path.islink(path)
    except OSError:
        return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass

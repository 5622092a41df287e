"""Save, unload, restore: what the live tests of snapshots share. Everything is pinned below a directory of this process and removed."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bpflens.errors import NotFound
from bpflens.formats.snapshot.archive import Archive
from bpflens.kernel import pins
from bpflens.kernel.maps.maps import map_by_fd, map_ids
from bpflens.kernel.programs.prog_info import prog_ids
from bpflens.snapshot.restore import Restored, restore
from bpflens.snapshot.restoring.options import RestoreOptions
from bpflens.snapshot.restoring.plan import Plan, make_plan
from bpflens.snapshot.save import Saved, SaveOptions, save

BPFFS = "/sys/fs/bpf"
# .BTF of `int` (id 1, 4 bytes, signed) and `long` (id 2, 8 bytes)
_STRINGS = b"\0int\0long\0"
_TYPES = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32) + struct.pack("=IIII", 5, 1 << 24, 8, 1 << 24 | 64)
INT_BTF = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(_TYPES), len(_TYPES), len(_STRINGS)) + _TYPES + _STRINGS
INT, LONG = 1, 2


class SnapshotLab:
    """`prefix`: a directory of a BPF filesystem for the restored pins; `dir`: for files."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.prefix = f"{BPFFS}/bpflens-test-{os.getpid()}"
        self.fds: list[int] = []
        self.pins: list[str] = []

    def fd(self, fd: int) -> int:
        """A descriptor of the original objects."""
        self.fds.append(fd)
        return fd

    def pin(self, fd: int, name: str) -> str:
        """Pin an original object below the lab's own directory."""
        path = f"{self.prefix}/then/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pins.pin(fd, path)
        return path

    def save(self, *targets: str, **options: object) -> Saved:
        """Save into a new file of the directory."""
        path = str(self.dir / f"{len(list(self.dir.iterdir()))}.bpfsnap")
        return save(targets, path, SaveOptions(**options))  # type: ignore[arg-type]

    def unload(self, saved: Saved | None = None) -> None:
        """Close and unpin the originals, and wait until they are gone."""
        for fd in self.fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self.fds.clear()
        remove_pins(f"{self.prefix}/then")
        if saved is None:
            return
        programs = {item.id for item in saved.manifest.programs}
        maps = {item.id for item in saved.manifest.maps}
        for _ in range(1500):  # a struct_ops map waits for tasks that may be in its functions
            if not programs & set(prog_ids()) and not maps & set(map_ids()):
                return
            time.sleep(0.01)
        raise AssertionError(f"still there: {programs & set(prog_ids())} {maps & set(map_ids())}")

    def restore(self, path: str, **options: object) -> tuple[Restored, Plan]:
        """Restore below `prefix`."""
        options.setdefault("pin_prefix", f"{self.prefix}/now")
        made = RestoreOptions(**options)  # type: ignore[arg-type]
        with Archive(path) as archive:
            plan = make_plan(archive, made)
            restored = restore(archive, plan, made)
        self.pins += restored.pins
        return restored, plan

    def close(self) -> None:
        """Remove everything, also what was pinned elsewhere to keep it."""
        self.unload()
        remove_pins(self.prefix)
        for path in self.pins:
            with contextlib.suppress(OSError):
                os.unlink(path)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))
        self.pins.clear()


def remove_pins(directory: str) -> None:
    """A directory of pins and everything below it."""
    for base, directories, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(f"{base}/{name}")
        for name in directories:
            os.rmdir(f"{base}/{name}")
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(directory)


@contextlib.contextmanager
def snapshot_lab(directory: Path) -> Iterator[SnapshotLab]:
    """A lab that is removed in the end."""
    lab = SnapshotLab(directory)
    try:
        yield lab
    finally:
        lab.close()


def id_of(fd: int) -> int:
    """The id of a map."""
    return map_by_fd(fd, types=False).id or 0


def failures(restored: Restored) -> list[str]:
    """Comparisons that do not say "same"."""
    return [f"{check.object} {check.what}: {check.detail}" for check in restored.checks if check.same is not True]


def live_ids() -> tuple[set[int], set[int]]:
    """Programs and maps that are loaded now."""
    return set(prog_ids()), set(map_ids())


def pinned_files(directory: str) -> list[str]:
    """Every pin below a directory."""
    return sorted(f"{base}/{name}" for base, _, files in os.walk(directory) for name in files)


def gone(ids: Sequence[int]) -> bool:
    """Whether none of these maps is loaded."""
    from bpflens.kernel.maps.maps import read_map_info

    for id in ids:
        with contextlib.suppress(NotFound):
            read_map_info(id, types=False)
            return False
    return True

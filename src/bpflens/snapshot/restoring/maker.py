"""Making the objects of a plan, each with its undoing: what fails half-way leaves the machine as it was.

`Maker` holds the new descriptors by saved id; `undo` is a stack that is unwound unless `keep()` is called in the end. What is killed leaves
nothing either: descriptors go with the process, and pins and attachments are made last, when everything has been proved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from bpflens.errors import InputError, KernelError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedMap, SavedProgram
from bpflens.kernel import pins
from bpflens.kernel.sys.bpf import close
from bpflens.snapshot.restoring.options import RestoreOptions

__all__ = ("Maker",)


class Maker:
    """`maps`, `programs`, `types`: saved id -> new descriptor; `links`: index of the attachment -> descriptor.

    `new_map_ids`, `new_program_ids`: saved id -> new id, when they are known. `notes`: what the user should know of what was done.
    """

    def __init__(self, archive: Archive, options: RestoreOptions) -> None:
        self.archive = archive
        self.manifest = archive.manifest
        self.options = options
        self.maps: dict[int, int] = {}
        self.programs: dict[int, int] = {}
        self.types: dict[int, int] = {}
        self.links: dict[int, int] = {}
        self.reused: dict[int, str] = {}
        self.notes: list[str] = []
        self.undo = ExitStack()
        self._fds: list[int] = []
        self.saved_maps: Mapping[int, SavedMap] = {map.id: map for map in self.manifest.maps}
        self.saved_programs: Mapping[int, SavedProgram] = {program.id: program for program in self.manifest.programs}

    def own(self, fd: int) -> int:
        """A descriptor that is closed in the end, whatever happens."""
        self._fds.append(fd)
        return fd

    def on_failure(self, function: Callable[[], None]) -> None:
        """Undo a step that has just been done."""

        def quietly() -> None:
            try:
                function()
            except (KernelError, InputError, OSError) as error:
                self.notes.append(f"could not be undone: {error}")

        self.undo.callback(quietly)

    def keep(self) -> None:
        """Everything stays: forget how to undo it."""
        self.undo.pop_all()

    def close(self) -> None:
        """Undo what is to be undone, then close all descriptors."""
        self.undo.close()
        close(*self._fds)
        self._fds.clear()

    def pin(self, fd: int, path: str) -> None:
        """Pin, with the directories that are missing. Something that is pinned there is replaced where the options say so."""
        self._directories(os.path.dirname(path))
        if os.path.lexists(path):
            if not self.options.replace:
                raise KernelError(f"pin:{path}", "exists already", "--replace puts the restored object in its place")
            before = self.own(pins.get(path))
            aside = f"{path}_bpflens_old"
            pins.pin(before, aside)
            self.on_failure(lambda: _unlink(aside))
            os.unlink(path)
            self.on_failure(lambda: pins.pin(before, path))
            pins.pin(fd, path)
            self.on_failure(lambda: os.unlink(path))
            os.unlink(aside)
            return
        pins.pin(fd, path)
        self.on_failure(lambda: os.unlink(path))

    def _directories(self, path: str) -> None:
        missing = []
        while path and not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for directory in reversed(missing):
            try:
                os.mkdir(directory, 0o700)
            except OSError as error:
                raise KernelError(f"pin:{directory}", f"cannot make the directory: {error.strerror}", errno=error.errno or 0) from None
            self.on_failure(lambda directory=directory: os.rmdir(directory))  # type: ignore[misc]


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)

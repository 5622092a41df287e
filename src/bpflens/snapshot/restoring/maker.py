"""Making the objects of a plan, each with its undoing: what fails half-way leaves the machine as it was.

`Maker` holds the new descriptors by saved id; `undo` is a stack that is unwound unless `keep()` is called in the end. What is killed leaves
a journal (journal.py); descriptors go with the process. Pins and attachments are made last, when everything has been proved.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from contextlib import ExitStack

from bpflens.errors import BpflensError, KernelError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedMap, SavedProgram
from bpflens.kernel import pins
from bpflens.kernel.attachments.attach import link_detach
from bpflens.kernel.attachments.links import link_by_fd
from bpflens.kernel.descriptors import close
from bpflens.snapshot.restoring.journal import KEPT, Journal, Record, forget_asides, undo_record
from bpflens.snapshot.restoring.options import RestoreOptions

__all__ = ("Maker",)


class Maker:
    """`maps`, `programs`, `types`: saved id -> new descriptor; `links`: index of the attachment -> descriptor.

    `undone`: whether nothing is left that could not be undone.
    `partial`: maps of objects some of whose elements were not restored. `notes`: what the user should know of what was done.
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
        self.partial: set[int] = set()
        self.notes: list[str] = []
        self.journal = Journal()
        self.undone = True
        self.undo = ExitStack()
        self._fds: list[int] = []
        self.saved_maps: Mapping[int, SavedMap] = {map.id: map for map in self.manifest.maps}
        self.saved_programs: Mapping[int, SavedProgram] = {program.id: program for program in self.manifest.programs}

    def own(self, fd: int) -> int:
        """A descriptor that is closed in the end, whatever happens."""
        self._fds.append(fd)
        return fd

    def own_link(self, index: int, fd: int) -> None:
        """The new link of an attachment. It is taken off before anything else is undone that makes room for it."""
        self.links[index] = self.own(fd)

        def undo() -> None:
            with contextlib.suppress(BpflensError, OSError):  # it goes with its descriptor, somewhat later
                link_detach(fd)

        self.undo.callback(undo)

    def about_to(self, record: Record) -> None:
        """A step that outlives this process is about to be done: into the journal, and undone unless everything is kept."""
        self.journal.write(record)

        def undo() -> None:
            try:
                undo_record(record)
            except BpflensError as error:
                self.notes.append(f"could not be undone: {error}")
                self.undone = False

        self.undo.callback(undo)

    def keep(self) -> None:
        """Everything stays: forget how to undo it, and what was put aside for that."""
        if self.journal.records:
            self.journal.write({"do": KEPT})  # from here on a kill leaves everything, too
        self.undo.pop_all()
        try:
            forget_asides(self.journal.records)
            self.journal.done()
        except (OSError, KernelError) as error:
            self.undone = False  # the journal stays where it is
            self.notes.append(f"something that was put aside could not be removed ({error}): restore --undo removes it")

    def close(self) -> None:
        """Undo what is to be undone, then close all descriptors. The journal stays where something could not be undone."""
        self.undo.close()
        if self.undone:
            self.journal.done()
        close(*self._fds)
        self._fds.clear()

    def pin(self, fd: int, path: str) -> None:
        """Pin, with the directories that are missing. Something that is pinned there is replaced where the options say so."""
        self._directories(os.path.dirname(path))
        if not _is_there(path):
            self.about_to({"do": "pin", "path": path, "object": pins.object_of(fd)})
            pins.pin(fd, path)
            return
        if not self.options.replace:
            raise KernelError(f"pin:{path}", "exists already", "--replace puts the restored object in its place")
        if self._is_pinned(fd, path):
            return
        aside, new = f"{path}_bpflens_old", f"{path}_bpflens_new"
        self.about_to({"do": "pin", "path": path, "aside": aside, "new": new})
        try:
            os.link(path, aside, follow_symlinks=False)
            pins.pin(fd, new)
            os.rename(new, path)  # at no time is nothing there
        except OSError as error:
            raise KernelError(f"pin:{path}", f"cannot be replaced: {error.strerror}", errno=error.errno or 0) from None

    @staticmethod
    def _is_pinned(fd: int, path: str) -> bool:
        """Whether the object is what is pinned there: a link whose program was replaced stays where it is."""
        with pins.opened_pin(path) as there:
            kinds = pins.fd_kind(fd), pins.fd_kind(there)
            return kinds == ("link", "link") and link_by_fd(fd).id == link_by_fd(there).id

    def _directories(self, path: str) -> None:
        missing = []
        while path and not _is_there(path):
            missing.append(path)
            path = os.path.dirname(path)
        if not pins.on_bpffs(path or "/"):
            raise KernelError(f"pin:{missing[0] if missing else path}", "is not on a BPF filesystem", "--pin-prefix DIR pins elsewhere")
        for directory in reversed(missing):
            self.about_to({"do": "directory", "path": directory})
            try:
                os.mkdir(directory, 0o700)
            except OSError as error:
                raise KernelError(f"pin:{directory}", f"cannot make the directory: {error.strerror}", errno=error.errno or 0) from None


def _is_there(path: str) -> bool:
    """Whether there is anything at a path; KernelError where that is not known: what is not there is undone by removing it."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise KernelError(f"pin:{path}", f"cannot be looked at: {error.strerror}", errno=error.errno or 0) from None
    return True

"""The capability: a snapshot against the running machine. The machine is saved into a file that has no name, and the two are compared."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

from bpflens.errors import BpflensError, KernelError
from bpflens.formats.snapshot.archive import Archive, ArchiveWriter
from bpflens.inventory.facts.records import InventoryRow
from bpflens.snapshot.compare import Change, compare
from bpflens.snapshot.save import SaveOptions, fill_archive
from bpflens.snapshot.taking.scope import Scope, close_over, find_scope

__all__ = ("verify", "verify_file")


def verify(archive: Archive, *, data: bool = True, new: bool = True, progress: Callable[[str], None] | None = None) -> list[Change]:
    """What is the same, changed, missing and new. KernelError (4) where the machine cannot be looked at."""
    archive.check()
    scope = _scope(archive)
    options = SaveOptions(data=data, originals=False, hashes=False)
    with tempfile.TemporaryDirectory(prefix="bpflens-") as directory:
        path = os.path.join(directory, "now.bpfsnap")
        writer = ArchiveWriter(path)
        try:
            writer.commit(fill_archive(writer, scope, archive.manifest.targets, options, progress))
        finally:
            writer.abort()
        with Archive(path) as now:
            return compare(archive, now, data=data, new=new)


def verify_file(path: str, *, data: bool = True) -> list[Change]:
    """A snapshot against the running machine. See `verify`."""
    with Archive(path) as archive:
        return verify(archive, data=data)


def _scope(archive: Archive) -> Scope:
    """What to look at: the targets of the snapshot as far as they still mean something, its pins, and programs of its names and tags."""
    from bpflens.kernel.maps.maps import map_ids
    from bpflens.kernel.programs.prog_info import prog_ids, prog_info
    from bpflens.snapshot.save import kernel_identity

    manifest = archive.manifest
    if not manifest.targets:
        return find_scope((), everything=True)
    same_boot = manifest.kernel.boot_id == kernel_identity().boot_id
    scope = find_scope(())
    programs: set[int] = set()
    maps: set[int] = set()
    named: list[InventoryRow] = []  # classic filters, which no program id leads to
    for target in manifest.targets:
        if same_boot or target.partition(":")[0] not in ("id", "link", "fd", "pid", "sock", "map"):
            _seed(target, scope, programs, maps, named)
    pinned = [pin for program in manifest.programs for pin in program.pins] + [pin for map in manifest.maps for pin in map.pins]
    pinned += [pin for attachment in manifest.attachments for pin in attachment.pins]
    for pin in pinned:
        if os.path.lexists(pin.path):
            _seed(f"pin:{pin.path}", scope, programs, maps, named)
    known = {(program.name, program.tag) for program in manifest.programs}
    for id in prog_ids():
        try:
            info = prog_info(id)
        except KernelError:
            continue  # unloaded meanwhile
        if (info.name, info.tag) in known:
            programs.add(id)
    if same_boot:
        present = set(map_ids())
        maps.update(map.id for map in manifest.maps if map.id in present)
    close_over(scope, programs, maps, named)
    return scope


def _seed(target: str, scope: Scope, programs: set[int], maps: set[int], named: list[InventoryRow]) -> None:
    from bpflens.snapshot.taking.scope import add_target

    try:
        add_target(target, scope.inventory, programs, maps, named)
    except BpflensError:
        pass  # it is gone: its objects will be missing

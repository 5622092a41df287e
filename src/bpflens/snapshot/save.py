"""The capability: what targets name, with all that it reaches, into one file.

    save(["dev:eth0"], "x.bpfsnap")  ──►  Saved(manifest, digest)

scope ─► programs, maps with their data, attachments ─► archive. The file appears when it is complete; whatever fails before leaves nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpflens.errors import KernelError, NotFound
from bpflens.formats.snapshot.archive import ArchiveWriter
from bpflens.formats.snapshot.manifest import SCHEMA, Manifest, SavedKernel, SavedMap, SavedProgram

if TYPE_CHECKING:
    from bpflens.snapshot.taking.btfs import Btfs
    from bpflens.snapshot.taking.holders import Keepers
    from bpflens.snapshot.taking.memory import KernelMemory
    from bpflens.snapshot.taking.scope import Scope

__all__ = ("SaveOptions", "Saved", "fill_archive", "kernel_identity", "save")


PROG_ARRAY = 3


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """`data`: contents of maps too; `redact`: ids or names of maps without them. `stable`: read each map until two passes are equal.

    `deep`: attachments that only kernel memory tells: None where no interface tells them, True all, False none. `quiesce`: stop the
    programs while maps are read; `freeze`: cgroups whose processes are stopped meanwhile. `jited`: machine code too. `originals`: the
    instructions that were loaded; `reload`: a reconstruction may be loaded for its proof. `hashes`: SHA-256 of the holders' executables.
    `templates`: rules for reading the images on another kernel. `audit`: count the images.
    """

    everything: bool = False
    data: bool = True
    redact: tuple[str, ...] = ()
    stable: bool = False
    quiesce: bool = False
    freeze: tuple[str, ...] = ()
    jited: bool = False
    reload: bool = True
    originals: bool = True
    deep: bool | None = None
    hashes: bool = True
    templates: bool = False
    audit: bool = False
    tool: str = "bpflens"


@dataclass(frozen=True, slots=True)
class Saved:
    """`digest`: SHA-256 of the manifest, which covers every member. `size`: of the file, in bytes."""

    path: str
    manifest: Manifest
    digest: str
    size: int


def save(targets: Sequence[str], path: str, options: SaveOptions | None = None, progress: Callable[[str], None] | None = None) -> Saved:
    """Save what the targets reach. NotFound (3) for a target that names nothing, NotPermitted (4), InputError (3) where `path` cannot be
    written. `progress` receives a line for each object.
    """
    from bpflens.snapshot.taking.scope import find_scope

    options = options or SaveOptions()
    scope = find_scope(targets, everything=options.everything, deep=options.deep)
    writer = ArchiveWriter(path)
    try:
        manifest = fill_archive(writer, scope, targets, options, progress)
        digest = writer.commit(manifest)
    finally:
        writer.abort()
    return Saved(path, manifest, digest, os.stat(path).st_size)


def fill_archive(
    writer: ArchiveWriter, scope: Scope, targets: Sequence[str], options: SaveOptions, progress: Callable[[str], None] | None
) -> Manifest:
    """Write the members of everything in the scope; the manifest to commit."""
    from bpflens.snapshot.taking.attachments import read_attachments
    from bpflens.snapshot.taking.btfs import Btfs
    from bpflens.snapshot.taking.holders import keepers
    from bpflens.snapshot.taking.memory import KernelMemory
    from bpflens.snapshot.taking.quiesce import quiesced

    btfs, keep, memory = Btfs(writer), keepers(hashes=options.hashes), KernelMemory()
    incomplete = [f"{denial.what}: needs {denial.needs}" for denial in scope.inventory.denied]
    incomplete += [f"{name} went away meanwhile" for name in scope.gone]
    with ExitStack() as stack:
        stack.callback(memory.close)
        attachments = read_attachments(scope.rows, scope.inventory, writer, keep)
        programs = _programs(scope, writer, btfs, keep, options, incomplete, progress)
        if options.quiesce or options.freeze:
            left = stack.enter_context(quiesced(attachments if options.quiesce else (), options.freeze))
            incomplete += [f"not stopped while maps were read: {name}" for name in left]
        maps = _maps(scope, programs, writer, btfs, keep, memory, options, incomplete, progress)
    redacted = tuple(map.id for map in maps if map.why_no_data == _REDACTED)
    templates = _templates(writer) if options.templates else None
    return Manifest(
        schema=SCHEMA,
        tool=options.tool,
        taken=_now(),
        kernel=kernel_identity(),
        targets=tuple(targets),
        programs=tuple(programs),
        maps=tuple(maps),
        btfs=tuple(btfs.saved[id] for id in sorted(btfs.saved)),
        attachments=attachments,
        tail_calls=_tail_calls(maps),
        redacted=redacted,
        incomplete=tuple(dict.fromkeys(incomplete)),
        audit=_audit() if options.audit else None,
        templates=templates,
        members=dict(sorted(writer.members.items())),
    )


_REDACTED = "left out on request (--redact)"
_NO_DATA = "left out on request (--no-data)"


def _programs(
    scope: Scope, writer: ArchiveWriter, btfs: Btfs, keep: Keepers, options: SaveOptions, incomplete: list[str],
    progress: Callable[[str], None] | None,
) -> list[SavedProgram]:  # fmt: skip
    from bpflens.snapshot.taking.programs import read_program

    found = []
    for id in scope.programs:
        if progress is not None:
            progress(f"program {id}")
        try:
            found.append(read_program(id, writer, btfs, keep, jited=options.jited, reload=options.reload, originals=options.originals))
        except NotFound:
            incomplete.append(f"id:{id} went away meanwhile")
    return found


def _maps(
    scope: Scope, programs: Sequence[SavedProgram], writer: ArchiveWriter, btfs: Btfs, keep: Keepers, memory: KernelMemory,
    options: SaveOptions, incomplete: list[str], progress: Callable[[str], None] | None,
) -> list[SavedMap]:  # fmt: skip
    from bpflens.kernel.maps.maps import read_map_info
    from bpflens.snapshot.taking.maps import read_map
    from bpflens.snapshot.taking.scope import namespace_of_map

    found = []
    for id in scope.maps:
        try:
            why = "" if options.data else _NO_DATA
            if not why and options.redact and {str(id), read_map_info(id, types=False).name} & set(options.redact):
                why = _REDACTED
            space = namespace_of_map(scope, id, programs)
            found.append(
                read_map(
                    id,
                    writer,
                    btfs,
                    keep,
                    memory,
                    data=why,
                    stable=options.stable,
                    quiesced=options.quiesce,
                    space=space,
                    progress=progress,
                )
            )
        except NotFound:
            incomplete.append(f"map:{id} went away meanwhile")
    return found


def _tail_calls(maps: Sequence[SavedMap]) -> tuple[tuple[int, int, int], ...]:
    """(prog array, slot, program) of every tail call that can be made; also in the contents of the maps, but not for jq."""
    from bpflens.kernel.maps.map_data import items
    from bpflens.kernel.maps.maps import open_map

    found = []
    for map in maps:
        if map.type != PROG_ARRAY:
            continue
        try:
            with open_map(map.id) as fd:
                for key, value in items(fd):
                    found.append((map.id, int.from_bytes(key, sys.byteorder), int.from_bytes(value or b"", sys.byteorder)))
        except KernelError:
            continue  # gone meanwhile
    return tuple(found)


def kernel_identity() -> SavedKernel:
    """The running kernel."""
    import hashlib

    from bpflens.kernel.maps.map_data import possible_cpus

    uname = os.uname()
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot_id = stream.read().strip()
    except OSError:
        boot_id = ""
    try:
        with open("/sys/kernel/btf/vmlinux", "rb") as types:
            btf = hashlib.file_digest(types, "sha256").hexdigest()
    except OSError:
        btf = ""
    page_size = os.sysconf("SC_PAGESIZE")
    uptime = 0 if os.environ.get("SOURCE_DATE_EPOCH") else time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return SavedKernel(
        uname.release, uname.version, uname.machine, sys.byteorder, possible_cpus(), page_size, boot_id, btf, uname.nodename, uptime
    )


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch) if epoch.isdecimal() else time.time()))


def _templates(writer: ArchiveWriter) -> str:
    import tempfile

    from bpflens.original.kernels.exported import export_templates

    with tempfile.NamedTemporaryFile() as stream:
        export_templates(stream.name)
        with open(stream.name, "rb") as made:
            return writer.add("kernel/templates.json", made.read())


def _audit() -> str:
    from bpflens.inventory.audit import audit

    return audit()[1].text()

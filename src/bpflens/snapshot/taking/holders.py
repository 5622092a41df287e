"""Who held what: pins with device and inode, processes with their executable, its SHA-256, unit and cgroup."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from bpflens.attachment import Holder
from bpflens.formats.snapshot.manifest import SavedHolder, SavedPin

__all__ = ("Keepers", "keepers", "saved_holders", "saved_pins")

_UNIT = re.compile(r"([^/]+\.(?:service|scope|socket|timer|mount))(?:/|$)")


class Keepers:
    """Pins and holders of everything, read once: (kind, id) with kind "prog", "map" or "link"."""

    def __init__(self) -> None:
        self.pins: dict[tuple[str, int], tuple[SavedPin, ...]] = {}
        self.holders: dict[tuple[str, int], tuple[SavedHolder, ...]] = {}


def keepers(*, hashes: bool = True) -> Keepers:
    """What keeps objects now. `hashes`: also the SHA-256 of the holders' executables."""
    from bpflens.inventory.facts.context import Context
    from bpflens.inventory.facts.holders import holders, map_holders
    from bpflens.inventory.facts.pins import pins
    from bpflens.inventory.walk import in_own_thread

    found = Keepers()

    def look() -> None:
        context = Context()
        paths: dict[tuple[str, int], list[str]] = {}
        for pin in pins(context):
            paths.setdefault((pin.kind, pin.id), []).append(pin.path)
        found.pins = {key: saved_pins(value) for key, value in paths.items()}
        held, of_maps = holders(context), map_holders(context)
        for kind, table in (("prog", held.programs), ("link", held.links), ("map", of_maps)):
            for id, who in table.items():
                found.holders[kind, id] = saved_holders(who, hashes=hashes)

    in_own_thread(look)
    return found


def saved_pins(paths: Iterable[str]) -> tuple[SavedPin, ...]:
    """The pins with device and inode; a path of another mount namespace keeps its /proc/PID/root prefix."""
    found = []
    for path in sorted(paths):
        try:
            status = os.stat(path)
            found.append(SavedPin(path, status.st_dev, status.st_ino))
        except OSError:
            found.append(SavedPin(path))
    return tuple(found)


def saved_holders(who: Sequence[Holder], *, hashes: bool = True) -> tuple[SavedHolder, ...]:
    """The processes, without this one."""
    own = os.getpid()
    found = []
    for holder in who:
        if holder.pid == own:
            continue
        exe, unit, cgroup = _process(holder.pid)
        digest = _sha256(f"/proc/{holder.pid}/exe", exe) if hashes and exe else None
        found.append(SavedHolder(holder.pid, holder.comm, holder.fd, exe, digest, unit, cgroup))
    return tuple(found)


def _process(pid: int) -> tuple[str | None, str | None, str | None]:
    """(executable, systemd unit, cgroup) of a process; None for what may not be read."""
    try:
        exe: str | None = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        exe = None
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as stream:
            lines = [line.strip().split(":", 2) for line in stream]
    except OSError:
        return exe, None, None
    path = next((parts[2] for parts in lines if len(parts) == 3 and parts[0] == "0"), None)
    units = _UNIT.findall(path or "")
    return exe, (units[-1] if units else None), path


@lru_cache(maxsize=256)
def _sha256(path: str, _: str) -> str | None:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None

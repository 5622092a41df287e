"""The records of the inventory. Named tuples: a machine may hold thousands, and importing them costs nothing."""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.attachment import Holder, ProgInfo
from bpflens.inventory.facts.processes import Process
from bpflens.kernel.programs.loaded import MapHead
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("Denial", "Holders", "Inventory", "InventoryRow", "MapUse", "NetNamespace", "Strays")


class Strays(NamedTuple):
    """Sockets of a network namespace to which no visible descriptor leads, by inode; `messages`: one may be in flight between processes."""

    inodes: frozenset[int]
    messages: bool


class Holders(NamedTuple):
    """Object id -> descriptors that hold it. The kernel's `prog_id` line of a link counts for the link only."""

    programs: dict[int, list[Holder]]
    links: dict[int, list[Holder]]
    maps: Mapping[int, list[Holder]] = {}


class MapUse(NamedTuple):
    """By map id: the facts of the map, descriptors that hold it, programs that use it."""

    heads: Mapping[int, MapHead] = {}
    holders: Mapping[int, list[Holder]] = {}
    users: Mapping[int, list[int]] = {}


class InventoryRow(NamedTuple):
    """One attachment of one program.

    `prog_id` for an extended program, `classic` (struct sock_filter bytes) for a classic one, `image` (struct bpf_insn bytes)
    where the kernel kept only the converted form of a classic one. All three None: a program is there, which one the interface
    does not say (`details["unknown"]` says why). `details` uses the kernel's words; "linktype" and "given" are the context of a
    classic filter (see program.Origin), "link" and "pins" how else it is held.
    """

    kind: str
    object: str
    netns: int | None = None
    prog_id: int | None = None
    classic: bytes | None = None
    image: bytes | None = None
    holders: tuple[Holder, ...] = ()
    details: Mapping[str, Any] = {}


class Denial(NamedTuple):
    """Something that could not be looked at, and what would show it. `kinds`: rows that may be missing for it (none: any rows).

    `served_by`: what of kernel memory makes up for it (families.SERVED_BY).
    """

    what: str
    needs: str
    kinds: tuple[str, ...] = ()
    served_by: tuple[str, ...] = ()


class NetNamespace(NamedTuple):
    """A network namespace: `inode` names it, `paths` may open it (mounts, /proc links), `name` for people where it has one."""

    inode: int
    paths: tuple[str, ...]
    name: str | None
    own: bool


class Inventory(NamedTuple):
    """The result of a walk. `programs` is None where the kernel did not let us list them. `deep`: kernel memory was read too.

    `processes`: what the holders are beside their names. `full_names`: program id -> its name, where that is longer than the kernel's.
    `pins`: (kind of object, id) -> paths. `held`: who holds what by a descriptor. `maps`: only where it was asked for.
    `unopened`: pins whose object the kernel does not give -> what it says.
    """

    rows: list[InventoryRow]
    denied: list[Denial]
    programs: dict[int, ProgInfo] | None
    namespaces: dict[int, NetNamespace]
    notes: list[str]
    deep: bool = False
    processes: Mapping[int, Process] = {}
    full_names: Mapping[int, str] = {}
    pins: Mapping[tuple[str, int], list[str]] = {}
    held: Holders = Holders({}, {})
    maps: MapUse = MapUse()
    unopened: Mapping[str, str] = {}

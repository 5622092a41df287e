"""The records of the inventory. Named tuples: a machine may hold thousands, and importing them costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ("Denial", "Found", "HeldBy", "Holders", "Inventory", "LinkHead", "MapHead", "NetNamespace", "ProgHead")


class HeldBy(NamedTuple):
    """Who holds it: a process, with the descriptor or the thread where that is known."""

    pid: int
    comm: str
    fd: int | None = None
    tid: int | None = None


class Holders(NamedTuple):
    """Object id -> descriptors that hold it. The kernel's `prog_id` line of a link counts for the link only."""

    programs: dict[int, list[HeldBy]]
    links: dict[int, list[HeldBy]]


class Found(NamedTuple):
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
    holders: tuple[HeldBy, ...] = ()
    details: Mapping[str, Any] = {}


class Denial(NamedTuple):
    """Something that could not be looked at, and what would show it."""

    what: str
    needs: str


class ProgHead(NamedTuple):
    """The fixed part of struct bpf_prog_info. Times in nanoseconds, `load_time` since boot."""

    id: int
    type: int
    tag: str
    name: str
    load_time: int
    uid: int
    xlated_bytes: int
    map_count: int
    run_time: int
    run_count: int
    function_count: int
    attach_btf_obj_id: int
    attach_btf_id: int


class LinkHead(NamedTuple):
    """struct bpf_link_info: `rest` is the union after id, prog_id (from byte 16)."""

    id: int
    type: int
    prog_id: int
    rest: bytes


class MapHead(NamedTuple):
    """The fixed part of struct bpf_map_info."""

    id: int
    type: int
    key_bytes: int
    value_bytes: int
    max_entries: int
    flags: int
    name: str
    vmlinux_value_type_id: int


class NetNamespace(NamedTuple):
    """A network namespace: `inode` names it, `paths` may open it (mounts, /proc links), `name` for people where it has one."""

    inode: int
    paths: tuple[str, ...]
    name: str | None
    own: bool


class Inventory(NamedTuple):
    """The result of a walk. `programs` is None where the kernel did not let us list them."""

    rows: list[Found]
    denied: list[Denial]
    programs: dict[int, ProgHead] | None
    namespaces: dict[int, NetNamespace]
    notes: list[str]
    deep: bool = False  # kernel memory was read too

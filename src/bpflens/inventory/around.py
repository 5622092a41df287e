"""What hangs around a program or a map: attachments, processes that hold it, pins, users; for the `show` verb.

One walk of the inventory (inventory/) answers for all programs shown; what could not be looked at is in `denied`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bpflens.errors import KernelError
from bpflens.inventory.facts.processes import Process
from bpflens.inventory.families import Family
from bpflens.lean import field, frozen
from bpflens.program import Attachment, Holder, Program

__all__ = ("Surroundings", "attach_target", "stats_enabled", "surroundings")


@frozen
class Surroundings:
    """By id of the program or map. `map_users`: programs that use a map. `denied`: what was not looked at, with what it needs."""

    attachments: Mapping[int, tuple[Attachment, ...]] = field(default_factory=dict)
    prog_holders: Mapping[int, tuple[Holder, ...]] = field(default_factory=dict)
    prog_pins: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    map_holders: Mapping[int, tuple[Holder, ...]] = field(default_factory=dict)
    map_pins: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    map_users: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    processes: Mapping[int, Process] = field(default_factory=dict)
    denied: tuple[tuple[str, str], ...] = ()


_NOT_ATTACHED = frozenset({"pin", "fd", "held"})  # rows of the inventory for programs that hang on nothing


def surroundings(
    prog_ids: Collection[int], map_ids: Collection[int] = (), *, attachments: bool = True, deep: bool | None = None
) -> Surroundings:
    """What is known around these programs and maps. Without `attachments` only holders, pins and users are looked for; `deep` as in
    `walk.collect`.
    """
    from bpflens.inventory.rows import attachment
    from bpflens.inventory.walk import collect

    wanted = None if attachments and prog_ids else _no_family
    inventory = collect(wanted, deep=deep, everything=False, maps=True)
    attached: dict[int, list[Attachment]] = {}
    for row in inventory.rows:
        if row.prog_id in prog_ids and row.prog_id is not None and row.kind not in _NOT_ATTACHED:
            attached.setdefault(row.prog_id, []).append(attachment(row))

    def paths(kind: str, ids: Collection[int]) -> dict[int, tuple[str, ...]]:
        return {id: tuple(found) for (of, id), found in inventory.pins.items() if of == kind and id in ids}

    return Surroundings(
        attachments={id: tuple(rows) for id, rows in attached.items()},
        prog_holders={id: tuple(held) for id, held in inventory.held.programs.items() if id in prog_ids},
        prog_pins=paths("prog", prog_ids),
        map_holders={id: tuple(held) for id, held in inventory.maps.holders.items() if id in map_ids},
        map_pins=paths("map", map_ids),
        map_users={id: tuple(users) for id, users in inventory.maps.users.items() if id in map_ids},
        processes=inventory.processes,
        denied=tuple((denial.what, denial.needs) for denial in inventory.denied),
    )


def _no_family(family: Family) -> bool:
    return False


def attach_target(program: Program) -> str | None:
    """The kernel function (or the program's) that a tracing, LSM, struct_ops or freplace program was verified against, from BTF ids.

    "vfs_read", "nf_conntrack: nf_ct_delete" for a module's, None where the program has no such target.
    """
    loaded = program.loaded
    if loaded is None or not loaded.info.attach_btf_id:
        return None
    type_id = loaded.info.attach_btf_id
    from bpflens.kernel.btf import btf_by_id, btf_info

    obj_id = loaded.info.attach_btf_obj_id or 0
    try:
        info = btf_info(obj_id)
        name = btf_by_id(obj_id).name(type_id)
    except KernelError:
        return f"type {type_id} of BTF {obj_id}"
    if not info.kernel:
        return f"{name} of the program with BTF {obj_id}"
    return name if info.name == "vmlinux" else f"{info.name}: {name}"


def stats_enabled() -> bool | None:
    """Whether run counts are kept by kernel.bpf_stats_enabled (BPF_ENABLE_STATS may do so too); None where it cannot be read."""
    try:
        with open("/proc/sys/kernel/bpf_stats_enabled", encoding="ascii") as stream:
            return stream.read().strip() != "0"
    except OSError:
        return None

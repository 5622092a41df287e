"""What hangs around a program or a map: attachments, processes that hold it, pins, users; for the `show` verb.

One walk of the inventory (inventory/) answers for all programs shown; what could not be looked at is in `denied`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from bpflens.errors import KernelError
from bpflens.program import Attachment, Holder, Program

__all__ = ("Surroundings", "attach_target", "stats_enabled", "surroundings")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """By id of the program or map. `map_users`: programs that use a map. `denied`: what was not looked at, with what it needs."""

    attachments: Mapping[int, tuple[Attachment, ...]] = field(default_factory=dict)
    prog_holders: Mapping[int, tuple[Holder, ...]] = field(default_factory=dict)
    prog_pins: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    map_holders: Mapping[int, tuple[Holder, ...]] = field(default_factory=dict)
    map_pins: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    map_users: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    denied: tuple[tuple[str, str], ...] = ()


_NOT_ATTACHED = frozenset({"pin", "fd", "held"})  # rows of the inventory for programs that hang on nothing


def surroundings(prog_ids: Collection[int], map_ids: Collection[int] = (), *, attachments: bool = True, deep: bool = False) -> Surroundings:
    """What is known around these programs and maps. Without `attachments` only holders, pins and users are looked for; `deep` looks
    for attachments in kernel memory too.
    """
    from bpflens.inventory.facts.context import Context
    from bpflens.inventory.facts.holders import holders, map_holders
    from bpflens.inventory.facts.pins import pins
    from bpflens.inventory.rows import attachment
    from bpflens.inventory.walk import collect, in_own_thread

    attached: dict[int, list[Attachment]] = {}
    denied: dict[tuple[str, str], None] = {}
    if attachments and prog_ids:
        inventory = collect(deep=deep)
        for row in inventory.rows:
            if row.prog_id in prog_ids and row.prog_id is not None and row.kind not in _NOT_ATTACHED:
                attached.setdefault(row.prog_id, []).append(attachment(row))
        denied.update(dict.fromkeys((denial.what, denial.needs) for denial in inventory.denied))

    def look() -> Surroundings:
        context = Context()
        held, of_maps, pinned = holders(context), map_holders(context), pins(context)
        denied.update(dict.fromkeys((denial.what, denial.needs) for denial in context.denied))

        def who(table: Mapping[int, list[Holder]], ids: Collection[int]) -> dict[int, tuple[Holder, ...]]:
            return {id: tuple(table[id]) for id in ids if id in table}

        def paths(kind: str, ids: Collection[int]) -> dict[int, tuple[str, ...]]:
            found: dict[int, tuple[str, ...]] = {}
            for pin in pinned:
                if pin.kind == kind and pin.id in ids:
                    found[pin.id] = (*found.get(pin.id, ()), pin.path)
            return found

        return Surroundings(
            attachments={id: tuple(rows) for id, rows in attached.items()},
            prog_holders=who(held.programs, prog_ids),
            prog_pins=paths("prog", prog_ids),
            map_holders=who(of_maps, map_ids),
            map_pins=paths("map", map_ids),
            map_users=_users(map_ids) if map_ids else {},
            denied=tuple(denied),
        )

    return in_own_thread(look)


def _users(map_ids: Collection[int]) -> dict[int, tuple[int, ...]]:
    from bpflens.kernel.prog_info import open_prog, prog_dump, prog_ids

    users: dict[int, tuple[int, ...]] = {}
    try:
        for id in prog_ids():
            try:
                with open_prog(id) as fd:
                    used = prog_dump(fd, f"id:{id}").map_ids
            except KernelError:
                continue  # unloaded meanwhile
            for map_id in used:
                if map_id in map_ids:
                    users[map_id] = (*users.get(map_id, ()), id)
    except KernelError:
        pass  # without CAP_SYS_ADMIN nobody is listed
    return users


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

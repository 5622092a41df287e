"""The capability: a snapshot's programs, maps and attachments made again, proved, and kept; or nothing at all.

    restore(archive, plan, options)  ──►  Restored(checks, pins, notes)

Everything is made without a name, compared with what was saved, and only then pinned and attached. Whatever fails undoes what was done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bpflens.errors import BpflensError, InputError, KernelError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedMap
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.limits import raise_memlock
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import load_btf
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.snapshot.restoring import attach as attaching
from bpflens.snapshot.restoring import maps, programs
from bpflens.snapshot.restoring.maker import Maker
from bpflens.snapshot.restoring.options import RestoreOptions
from bpflens.snapshot.restoring.plan import Plan, Step
from bpflens.snapshot.restoring.proof import Check, check_map, check_program
from bpflens.snapshot.taking.memory import KernelMemory

__all__ = ("Restored", "restore", "restore_file")

_LAST = frozenset({"pin", "attach"})


@dataclass(frozen=True, slots=True)
class Restored:
    """`programs`, `maps`, `links`: saved id -> new id. `checks`: everything that was compared. `notes`: what else to know."""

    programs: dict[int, int]
    maps: dict[int, int]
    links: dict[int, int]
    checks: tuple[Check, ...]
    pins: tuple[str, ...]
    notes: tuple[str, ...]


def restore(archive: Archive, plan: Plan, options: RestoreOptions, progress: Callable[[str], None] | None = None) -> Restored:
    """Do what the plan says. KernelError (4) naming the step that the kernel refused, after which everything is as it was."""
    _refuse(archive, plan)
    archive.check()
    raise_memlock()
    maker = Maker(archive, options)
    try:
        for step in plan.steps:
            if step.action not in _LAST:
                _tell(progress, step)
                _do(maker, plan, step)
        checks = _prove(maker, archive)
        failed = [check for check in checks if check.same is False]
        if failed:
            first = failed[0]
            raise KernelError(first.object, f"was not restored as it was saved: {first.what}: {first.detail}")
        for step in plan.steps:
            if step.action == "attach":
                _tell(progress, step)
                attaching.attach(maker, step.id)
        checks += _prove_links(maker)
        for step in plan.steps:
            if step.action == "pin":
                _tell(progress, step)
                _pin(maker, step)
        result = _result(maker, checks, plan)
        maker.keep()
        return result
    except BpflensError as error:
        maker.close()
        if not maker.undone:
            error.hint = f'"bpflens restore --undo" undoes what is left: {"; ".join(maker.notes)}'
        raise
    finally:
        maker.close()


def _refuse(archive: Archive, plan: Plan) -> None:
    """KernelError where the plan says that it cannot be carried out."""
    if plan.impossible:
        first, more = plan.impossible[0], _others(len(plan.impossible))
        raise KernelError(archive.path, f"cannot be restored here: {first.object}: {first.why}{more}")
    if plan.conflicts:
        means = {
            "--reuse-maps": "--reuse-maps uses maps that are there", "--replace": "--replace puts the restored objects in their place",
            "--pin-prefix": "--pin-prefix DIR pins elsewhere", "--no-attach": "--no-attach leaves attachments out",
        }  # fmt: skip
        hints = [text for option, text in means.items() if any(option in conflict.helps for conflict in plan.conflicts)]
        reason = f"is not restored over what is there: {plan.conflicts[0].path} exists{_others(len(plan.conflicts))}"
        raise KernelError(archive.path, reason, ", ".join(hints))


def _others(count: int) -> str:
    return "" if count == 1 else f" and {count - 1} other{'s' * (count > 2)}"


def restore_file(path: str, options: RestoreOptions | None = None, *, apply: bool = False) -> Plan | Restored:
    """The plan for a snapshot; with `apply` it is done. See `restore`."""
    from bpflens.snapshot.restoring.plan import make_plan

    options = options or RestoreOptions()
    with Archive(path) as archive:
        plan = make_plan(archive, options)
        return restore(archive, plan, options) if apply else plan


def _tell(progress: Callable[[str], None] | None, step: Step) -> None:
    if progress is not None:
        progress(step.text)


def _do(maker: Maker, plan: Plan, step: Step) -> None:
    if step.action == "types":
        member = next(btf.member for btf in maker.manifest.btfs if btf.id == step.id)
        try:
            maker.types[step.id] = maker.own(load_btf(maker.archive.read(member)))
        except KernelError as error:
            raise KernelError(f"type information {step.id}", error.reason, error.hint, error.errno) from None
    elif step.action == "map":
        reused = dict(plan.reused)
        if step.id in reused:
            maps.use_pinned(maker, maker.saved_maps[step.id], reused[step.id])
        else:
            maps.create(maker, maker.saved_maps[step.id])
    elif step.action == "contents":
        maps.fill(maker, maker.saved_maps[step.id])
    elif step.action == "freeze":
        maps.freeze_map(maker, maker.saved_maps[step.id])
    elif step.action == "program":
        programs.load(maker, maker.saved_programs[step.id])
    elif step.action == "elements":
        maps.fill_elements(maker, maker.saved_maps[step.id])
    elif step.action == "bind":
        programs.bind(maker, maker.saved_programs[step.id], int(step.kind))
    else:
        raise InputError(step.action, "is no step")


def _pin(maker: Maker, step: Step) -> None:
    table = {"map": maker.maps, "prog": maker.programs, "link": maker.links}[step.kind]
    maker.pin(table[step.id], step.path)


def _ids(maker: Maker) -> tuple[dict[int, int], dict[int, int]]:
    """Saved id -> new id of maps and programs."""
    map_ids = {old: map_by_fd(fd, types=False).id or 0 for old, fd in maker.maps.items()}
    return map_ids, {old: prog_info_by_fd(fd).id for old, fd in maker.programs.items()}


def _prove(maker: Maker, archive: Archive) -> list[Check]:
    from bpflens.snapshot.restoring.rules import data_is_written

    map_ids, program_ids = _ids(maker)
    back = {"maps": {new: old for old, new in map_ids.items()}, "programs": {new: old for old, new in program_ids.items()}}
    checks: list[Check] = []
    for id, fd in maker.programs.items():
        checks += check_program(archive, maker.saved_programs[id], fd, back["maps"])
    memory = KernelMemory()
    try:
        for id, fd in maker.maps.items():
            saved = maker.saved_maps[id]
            written = data_is_written(saved) and id not in maker.reused
            found = check_map(archive, saved, fd, memory, back, data=written)
            if id not in maker.reused:
                checks += [_expected(check, saved, id in maker.partial) for check in found]
    finally:
        memory.close()
    return checks


def _expected(check: Check, saved: SavedMap, partial: bool) -> Check:
    """Differences that are no fault of the restore: a small LRU map forgets some of what is put into it, as it did before; elements that
    are objects which were left out are left out.
    """
    if check.what != "contents" or check.same is not False:
        return check
    if saved.type in (MapType.LRU_HASH, MapType.LRU_PERCPU_HASH):
        return Check(check.object, check.what, None, f"{check.detail} (an LRU map evicts while it is filled)")
    if partial:
        return Check(check.object, check.what, None, f"{check.detail} (elements that could not be restored are left out)")
    return check


def _prove_links(maker: Maker) -> list[Check]:
    from bpflens.kernel.attachments.links import link_by_fd

    checks = []
    for index, fd in maker.links.items():
        attachment = maker.manifest.attachments[index]
        now = link_by_fd(fd)
        same = now.type == attachment.link_type and now.attach_type in (None, attachment.attach_type)
        checks.append(Check(f"link {attachment.link} ({attachment.kind})", "attachment", same, attaching.place(maker.options, attachment)))
    return checks


def _result(maker: Maker, checks: list[Check], plan: Plan) -> Restored:
    from bpflens.kernel.attachments.links import link_by_fd

    map_ids, program_ids = _ids(maker)
    links = {maker.manifest.attachments[index].link or 0: link_by_fd(fd).id for index, fd in maker.links.items()}
    pinned = tuple(step.path for step in plan.steps if step.action == "pin")
    return Restored(program_ids, map_ids, links, tuple(checks), pinned, tuple(maker.notes))

"""Targets that name programs by what they hang on: pid:N  sock:INODE  dev:IF  cgroup:PATH  netns:NAME  ──►  list[Program]."""

from __future__ import annotations

import os

from bpflens.errors import InputError, KernelError, NotFound, NotPermitted
from bpflens.kernel.inventory.found import Found, Inventory
from bpflens.program import Attachment, Holder, Isa, Origin, Program

__all__ = ("attachment", "classic_program", "open_object", "open_row")

_UNSEEN = "no such process in this /proc, which does not show all"


def open_object(kind: str, name: str) -> list[Program]:
    """The programs of an object, each once, with the attachments by which it was found.

    NotFound (3) where nothing hangs on it, NotPermitted (4) where it could not be looked at, InputError (3) for a name that is none.
    """
    from bpflens.kernel.inventory.collect import HIDDEN, collect
    from bpflens.kernel.inventory.context import UNSEEN_PROCESSES
    from bpflens.kernel.inventory.namespaces import has_device
    from bpflens.kernel.inventory.select import Selection, netns_inode
    from bpflens.kernel.procfs import open_files, shows_all

    where = f"{kind}:{name}"
    if not name:
        raise InputError(where, "names nothing")
    if kind == "netns" and netns_inode(name) is None:
        raise NotFound(where, "no such network namespace", 'an inode, a path, or a name that "ip netns" shows')
    selection = Selection([where])
    inventory = collect(selection.families, everything=False)
    rows = [row for row in inventory.rows if selection.matches(row, inventory)]
    if kind == "dev" and "@" not in name:
        own = [row for row in rows if row.netns in inventory.namespaces and inventory.namespaces[row.netns].own]
        rows = own or rows  # a name is first looked for in the caller's namespace
    programs: list[Program] = []
    refused: KernelError | None = None
    for row in rows:
        try:
            program = open_row(inventory, row)
        except NotFound:
            continue
        except KernelError as error:
            refused = error
            continue
        if program is not None:
            _add(programs, program)
    if programs:
        return programs
    if refused is not None:
        raise refused
    unknown = next((row.details["unknown"] for row in rows if "unknown" in row.details), None)
    if unknown:
        raise NotPermitted(where, f"there is a program, but {unknown}", f'"bpflens ls --deep {where}" reads it from the kernel')
    # Processes with more capabilities than ours are on every machine with containers, and no privilege shows what a mount hides: these
    # alone do not make the answer a refusal.
    refusals = [denial for denial in inventory.denied if "every capability" not in denial.needs and HIDDEN not in denial.what]
    if kind not in ("pid", "sock"):
        refusals = [denial for denial in refusals if denial.what != UNSEEN_PROCESSES]
    if refusals and not rows and not (kind == "pid" and not os.path.exists(f"/proc/{name}")):
        raise NotPermitted(where, f"nothing found; not shown: {refusals[0].what}", f"needs {refusals[0].needs}")
    if kind == "pid":
        pid = os.getpid() if name == "self" else int(name)
        if not os.path.exists(f"/proc/{pid}"):
            raise NotFound(where, "no such process" if shows_all() else _UNSEEN)
        try:
            for _ in open_files(pid):
                break
        except PermissionError:
            needs = "needs CAP_SYS_PTRACE and every capability that it has"
            raise NotPermitted(where, "its descriptors may not be read", needs, 13) from None
    if kind == "dev" and not has_device(inventory.namespaces.values(), name.partition("@")[0]):
        raise NotFound(where, "no such interface in any network namespace that was looked into")
    hint = f"not shown: {inventory.denied[0].what}: needs {inventory.denied[0].needs}" if inventory.denied else None
    raise NotFound(where, "no program hangs on it", hint)


def open_row(inventory: Inventory, row: Found) -> Program | None:
    """The program of a row, with the row as its attachment; None where the row does not know it."""
    from dataclasses import replace

    if row.classic is not None:
        return classic_program(row)
    if row.image is not None:
        return Program(
            Isa.EXTENDED, row.image, Origin("kernel", row.object, note="converted from a classic program, whose code was not kept"),
            xlated=True, attachments=(attachment(row),), holders=_holders(row),
        )  # fmt: skip
    if row.prog_id is None:
        return None
    from bpflens.kernel.progs import read_program

    program = read_program(row.prog_id)
    return replace(program, attachments=(*program.attachments, attachment(row)), holders=_holders(row))


def classic_program(row: Found) -> Program:
    """A classic row's program; what is known of the packets that it sees is in its origin."""
    details = row.details
    given = tuple(details.get("given", ()))
    origin = Origin(row.kind, row.object, linktype=details.get("linktype"), given=given, note=details.get("starts_at"))
    return Program(
        Isa.CLASSIC, row.classic or b"", origin, arch=details.get("arch"), attachments=(attachment(row),), holders=_holders(row),
        name=details.get("name") or "",
    )  # fmt: skip


def attachment(row: Found) -> Attachment:
    """The row as the value that everything passes around."""
    return Attachment(row.kind, row.object, row.netns, None, _holders(row), row.details)


def _holders(row: Found) -> tuple[Holder, ...]:
    return tuple(Holder(holder.pid, holder.comm, holder.fd, holder.tid) for holder in row.holders)


def _add(programs: list[Program], program: Program) -> None:
    from dataclasses import replace

    for index, known in enumerate(programs):
        same = known.id == program.id if program.id else known.id is None and known.code == program.code and known.isa is program.isa
        if same and (program.id or known.origin.where == program.origin.where):
            programs[index] = replace(known, attachments=known.attachments + program.attachments)
            return
    programs.append(program)

"""Targets that name programs by what they hang on: pid:N  sock:INODE  dev:IF  cgroup:PATH  netns:NAME  ──►  list[Program]."""

from __future__ import annotations

import os

from bpflens.errors import InputError, KernelError, NotFound, NotPermitted
from bpflens.inventory.rows import open_row
from bpflens.program import Program
from bpflens.targets.numbers import as_number

__all__ = ("open_object",)

_UNSEEN = "no such process in this /proc, which does not show all"


def open_object(kind: str, name: str) -> list[Program]:
    """The programs of an object, each once, with the attachments by which it was found.

    NotFound (3) where nothing hangs on it, NotPermitted (4) where it could not be looked at, InputError (3) for a name that is none.
    """
    from bpflens.inventory.facts.context import UNSEEN_PROCESSES
    from bpflens.inventory.facts.namespaces import has_device
    from bpflens.inventory.objects import netns_inode
    from bpflens.inventory.select import Selection
    from bpflens.inventory.walk import HIDDEN, collect
    from bpflens.kernel.sys.capabilities import to_look_into
    from bpflens.kernel.sys.procfs import open_files, shows_all

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
        raise NotPermitted(where, f"there is a program, but {unknown}", "kernel memory tells it, which needs CAP_BPF and CAP_PERFMON")
    # Processes that do not let us look into them are on every machine with containers, and no privilege shows what a mount hides: these
    # alone do not make the answer a refusal.
    of_processes = {"holders", "namespaces"}
    refusals = [denial for denial in inventory.denied if of_processes.isdisjoint(denial.served_by) and HIDDEN not in denial.what]
    if kind not in ("pid", "sock"):
        refusals = [denial for denial in refusals if denial.what != UNSEEN_PROCESSES]
    if refusals and not rows and not (kind == "pid" and not os.path.exists(f"/proc/{name}")):
        raise NotPermitted(where, f"nothing found; not shown: {refusals[0].what}", f"needs {refusals[0].needs}")
    if kind == "pid":
        pid = os.getpid() if name == "self" else as_number(name)
        if pid is None or not os.path.exists(f"/proc/{pid}"):
            raise NotFound(where, "no such process" if shows_all() else _UNSEEN)
        try:
            for _ in open_files(pid):
                break
        except PermissionError:
            raise NotPermitted(where, "its descriptors may not be read", f"needs {to_look_into([pid])}", 13) from None
    if kind == "dev" and not has_device(inventory.namespaces.values(), name.partition("@")[0]):
        raise NotFound(where, "no such interface in any network namespace that was looked into")
    hint = f"not shown: {inventory.denied[0].what}: needs {inventory.denied[0].needs}" if inventory.denied else None
    raise NotFound(where, "no program hangs on it", hint)


def _add(programs: list[Program], program: Program) -> None:
    from dataclasses import replace

    for index, known in enumerate(programs):
        same = known.id == program.id if program.id else known.id is None and known.code == program.code and known.isa is program.isa
        if same and (program.id or known.origin.where == program.origin.where):
            programs[index] = replace(known, attachments=known.attachments + program.attachments)
            return
    programs.append(program)

"""The journal of a restore: what is about to be pinned and attached, so that it can be undone even after SIGKILL.

    /run/bpflens/restore-1234.jsonl      {"do": "pin", "path": "/sys/fs/bpf/x"}   {"do": "xdp", "ifindex": 3, "mode": "native", ...}

A record is written before its step; undoing one whose step did not happen does nothing. The same function undoes a step of this process
that failed and one of a process that was killed (`bpflens restore --undo`). Links and maps without a pin need no record: they go with the
process. What gives way (`--replace`) is kept by a pin of its own, `aside`, until everything is done; a last record {"do": "kept"} says
that it is, and then only these pins go.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bpflens.errors import KernelError
from bpflens.kernel import pins
from bpflens.kernel.attachments import attach as kernel
from bpflens.kernel.attachments.attach_netlink import TcFilter, add_filter, delete_clsact, delete_filter, filter_at, set_xdp
from bpflens.kernel.descriptors import close, link_fd, map_fd, program_fd
from bpflens.kernel.namespaces import enter_namespace
from bpflens.kernel.sys import faults

__all__ = ("Journal", "Record", "forget_asides", "undo_journal", "undo_record", "unfinished")

Record = dict[str, Any]
DIRECTORY = "/run/bpflens"
_PREFIX, _SUFFIX = "restore-", ".jsonl"
KEPT = "kept"
_GONE = (errno.ENOENT, errno.ENXIO, errno.ENODEV)  # with its device


class Journal:
    """Written record by record; `done` removes it."""

    def __init__(self) -> None:
        self.path = f"{DIRECTORY}/{_PREFIX}{os.getpid()}{_SUFFIX}"
        self._fd = -1
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        """A step that is about to be done."""
        try:
            if self._fd < 0:
                os.makedirs(DIRECTORY, 0o700, exist_ok=True)
                self._fd = os.open(self.path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            faults.step("journal")
            os.write(self._fd, json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise KernelError(self.path, f"cannot be written: {error.strerror}", errno=error.errno or 0) from None
        self.records.append(record)

    def done(self) -> None:
        """Nothing is left to be undone. KernelError where the journal cannot be removed: then everything is to be undone."""
        if self._fd < 0:
            return
        try:
            os.unlink(self.path)
        except OSError as error:
            raise KernelError(self.path, f"cannot be removed: {error.strerror}", errno=error.errno or 0) from None
        descriptor, self._fd = self._fd, -1
        close(descriptor)


def unfinished() -> list[str]:
    """Journals whose process is gone."""
    try:
        names = sorted(os.listdir(DIRECTORY))
    except OSError:
        return []
    found = []
    for name in names:
        pid = name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX) and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            found.append(f"{DIRECTORY}/{name}")
    return found


def undo_journal(path: str) -> list[str]:
    """Undo everything of a journal, the last first, and remove it; what was undone, in words. The journal stays where a step cannot be."""
    with open(path, "rb") as stream:
        lines = stream.read().splitlines()
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue  # cut off while it was written: its step was not begun
    done = []
    if any(record.get("do") == KEPT for record in records):
        forget_asides(records)
        done.append("a restore was done; what it had put aside is removed")
    else:
        for record in reversed(records):
            text = undo_record(record)
            if text:
                done.append(text)
    os.unlink(path)
    return done


def forget_asides(records: Sequence[Record]) -> None:
    """Remove the pins that kept what gave way. OSError where one cannot be removed."""
    for record in records:
        with contextlib.suppress(FileNotFoundError):
            if record.get("aside"):
                os.unlink(str(record["aside"]))


def undo_record(record: Record) -> str:
    """Undo one step; "" where it had not happened. BpflensError where it cannot be undone."""
    function = _UNDO.get(str(record.get("do")))
    if function is None:
        raise KernelError("journal", f"has a step {record.get('do')!r} that this bpflens does not know")
    namespace = record.get("netns")
    results: list[str] = []

    def call() -> None:
        try:
            results.append(function(record))
        except OSError as error:
            if error.errno not in (*_GONE, errno.EINVAL, errno.EOPNOTSUPP):  # with its qdisc
                raise KernelError(f"{record['do']}", f"cannot be undone: {error.strerror}", errno=error.errno or 0) from None
        except KernelError as error:
            if error.errno not in _GONE:
                raise

    if namespace is None:
        call()
    else:
        _inside(str(namespace), call)
    return results[0] if results else ""


def _inside(path: str, function: Callable[[], None]) -> None:
    from bpflens.inventory.walk import in_own_thread

    def run() -> None:
        try:
            enter_namespace(path)
        except FileNotFoundError:
            return  # the namespace is gone, and everything in it
        function()

    in_own_thread(run)


def _pin(record: Record) -> str:
    """A new pin is removed. One that stood there before is in `aside`, the same file under another name, and comes back at once."""
    path, aside = str(record["path"]), record.get("aside")
    if aside is None:
        found = pins.pinned_object(path)
        if found is None or list(found) != list(record.get("object") or ()):
            return ""  # not made, or somebody else's
        os.unlink(path)
        return f"pin {path} is removed"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(str(record["new"]))
    if not os.path.lexists(str(aside)):
        return ""
    if os.path.lexists(path) and os.path.samefile(path, str(aside)):  # the former one is in its place still
        os.unlink(str(aside))
        return ""
    os.rename(str(aside), path)
    return f"pin {path} is the former object again"


@contextmanager
def _former(record: Record) -> Iterator[int | None]:
    """The program that gave way, from its pin `aside`, which goes in the end; None where the step was not reached."""
    aside = str(record["aside"])
    if not os.path.lexists(aside):
        yield None
        return
    with pins.opened_pin(aside) as fd:
        yield fd
    os.unlink(aside)


def _link(record: Record) -> str:
    """A link that had its program replaced gets the former one back."""
    with _former(record) as before:
        if before is None:
            return ""
        fd = link_fd(int(record["link"]))
        try:
            kernel.link_update(fd, before, f"link:{record['link']}")
        finally:
            close(fd)
    return f"link:{record['link']} has its former program again"


def _directory(record: Record) -> str:
    try:
        os.rmdir(str(record["path"]))
    except OSError:
        return ""  # not made, or somebody else uses it
    return f"directory {record['path']} is removed"


def _xdp(record: Record) -> str:
    """Off the device; the program that gave way comes back. One that only made room for a link (`program` 0) does so after the link."""
    from bpflens.inventory.facts.context import Context
    from bpflens.inventory.finders.network.xdp import find

    ifindex, mode = int(record["ifindex"]), str(record["mode"])

    def put(fd: int) -> str:
        there = {row.prog_id for row in find(Context()) if row.details.get("ifindex") == ifindex}
        if record["program"] not in (there or {0}):
            return ""
        set_xdp(ifindex, fd, mode, replace=True)
        return f"xdp/{mode} of device {ifindex} is as it was"

    if not record.get("aside"):
        return put(-1)
    with _former(record) as before:
        return "" if before is None else put(before)


def _clsact(record: Record) -> str:
    delete_clsact(int(record["ifindex"]))
    return f"clsact of device {record['ifindex']} is removed"


def _filter(record: Record) -> str:
    """Off the device; the classifier that gave way (`before`: its place and options, `code` classic) comes back at once."""
    ifindex, filter = int(record["ifindex"]), TcFilter(*record["filter"])
    if not record.get("before"):
        delete_filter(ifindex, filter)
        return f"a classifier of device {ifindex} is removed"
    there = filter_at(ifindex, filter)
    former, mine = TcFilter(*record["before"]), there is not None and there.prog_id == record["program"]
    if not record.get("aside"):
        if mine:
            add_filter(ifindex, former, -1, bytes.fromhex(record["code"]), replace=True)
    else:
        with _former(record) as before:
            if before is None:
                return ""
            if mine:
                add_filter(ifindex, former, before, replace=True)
    return f"a classifier of device {ifindex} is the former one again" if mine else ""


def _attached(record: Record) -> str:
    """BPF_PROG_ATTACH to a cgroup (`path`), a device (`ifindex`), the namespace (neither), or a map (`map`); what gave way comes back."""
    program, number = int(record["program"]), int(record["type"])
    if not record.get("aside"):
        fd = program_fd(program)
        try:
            with _target(record) as target:
                kernel.prog_detach(target, fd, number, f"id:{program}")
        finally:
            close(fd)
        return f"id:{program} is detached"
    with _former(record) as before:
        if before is None:
            return ""
        with _target(record) as target, contextlib.suppress(KernelError):  # EINVAL: it is there still
            kernel.prog_attach(target, before, number, flags=int(record["flags"]), where=f"id:{program}")
    return f"the former program is in the place of id:{program} again"


@contextmanager
def _target(record: Record) -> Iterator[int]:
    """What BPF_PROG_ATTACH attached to."""
    if record.get("path"):
        fd = os.open(str(record["path"]), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    elif record.get("map"):
        fd = map_fd(int(record["map"]))
    else:
        yield int(record.get("ifindex", 0))
        return
    try:
        yield fd
    finally:
        close(fd)


def _struct_ops(record: Record) -> str:
    """Unregister: BPF_MAP_DELETE_ELEM of key 0."""
    from bpflens.kernel.maps.map_data import delete

    map_id = int(record["map"])
    fd = map_fd(map_id)
    try:
        delete(fd, struct.pack("=I", 0))
    finally:
        close(fd)
    return f"map:{map_id} is unregistered"


_UNDO: dict[str, Callable[[Record], str]] = {
    "pin": _pin, "link": _link, "directory": _directory, "xdp": _xdp, "clsact": _clsact, "filter": _filter, "attach": _attached,
    "struct_ops": _struct_ops,
}  # fmt: skip

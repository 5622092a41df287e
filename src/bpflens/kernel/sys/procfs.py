"""What /proc says of processes: their descriptors, threads, mounts. A process that vanishes while it is read yields less, not an error."""

from __future__ import annotations

import os
from collections.abc import Iterator

from bpflens.lean import NamedTuple

__all__ = (
    "Mount",
    "OpenFile",
    "comm",
    "fdinfo",
    "module_present",
    "mounts",
    "open_files",
    "processes",
    "shows_all",
    "start",
    "status_field",
    "thread_ids",
)


_PAGE = 4096
_PF_KTHREAD = 0x00200000
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h


class OpenFile(NamedTuple):
    """A descriptor of a process: `link` is what /proc/PID/fd/FD points to, such as "socket:[17]" or "anon_inode:bpf-prog"."""

    pid: int
    fd: int
    link: str


class Mount(NamedTuple):
    """A line of mountinfo: the filesystem's device "MAJOR:MINOR", its part `root` that is seen at `point`."""

    device: str
    root: str
    point: str
    type: str


def read(path: str, dir_fd: int | None = None) -> bytes:
    """A file of procfs; OSError where it cannot be read. A short read does not mean its end: the kernel hands out whole records."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        data = os.read(fd, 1 << 16)
        while part := os.read(fd, 1 << 16):
            data += part
        return data
    finally:
        os.close(fd)


def start(path: str, dir_fd: int | None = None) -> bytes:
    """The first record of a file of procfs, which is all of one that has one record; OSError where it cannot be read."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        return os.read(fd, _PAGE)
    finally:
        os.close(fd)


def comm(pid: int, tid: int | None = None) -> str:
    """The name of a process or thread, "?" where it has gone."""
    try:
        return start(f"/proc/{pid}/task/{tid}/comm" if tid else f"/proc/{pid}/comm").decode(errors="replace").rstrip("\n")
    except OSError:
        return "?"


def processes() -> list[int]:
    """The ids of user processes. Kernel threads, which have no executable, hold nothing and are left out."""
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            os.readlink(f"/proc/{name}/exe")
        except FileNotFoundError:
            continue
        except OSError:
            pass  # not ours to look at, but a user process
        pids.append(int(name))
    return pids


def shows_all() -> bool:
    """Whether /proc has every process and they can be asked by their numbers there.

    The /proc of another pid namespace, or one mounted with hidepid, does not show the kernel's threads. A caller in another pid namespace
    has other numbers for the same processes.
    """
    try:
        if os.stat("/proc/self/ns/pid").st_ino != _INITIAL_PID_NAMESPACE:
            return False
        stat = read("/proc/2/stat")
        return bool(int(stat[stat.rindex(b")") :].split()[7]) & _PF_KTHREAD)  # kthreadd
    except (OSError, ValueError, IndexError):
        return False


def thread_ids(pid: int) -> list[int]:
    """The thread ids of a process, empty when it has gone."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def open_files(pid: int) -> Iterator[OpenFile]:
    """The descriptors of a process. PermissionError where they may not be read; a process that has gone has none."""
    try:
        directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return
    try:
        names = os.listdir(directory)
        readlink = os.readlink
        for name in names:
            try:
                link = readlink(name, dir_fd=directory)
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield OpenFile(pid, int(name), link)
    except (FileNotFoundError, ProcessLookupError):
        return
    finally:
        os.close(directory)


def fdinfo(pid: int, fd: int) -> bytes:
    """/proc/PID/fdinfo/FD, empty when it has gone."""
    try:
        return read(f"/proc/{pid}/fdinfo/{fd}")
    except (FileNotFoundError, ProcessLookupError):
        return b""


def status_field(text: bytes, name: bytes) -> bytes | None:
    """The value of a "NAME:\\tVALUE" line."""
    start = 0 if text.startswith(name + b":") else text.find(b"\n" + name + b":") + 1
    if start == 0 and not text.startswith(name + b":"):
        return None
    end = text.find(b"\n", start)
    return text[start + len(name) + 1 : end if end >= 0 else None].strip()


def mounts(pid: int | str) -> list[Mount]:
    """The mounts that a process sees; empty where it has gone or may not be read."""
    try:
        text = read(f"/proc/{pid}/mountinfo").decode(errors="surrogateescape")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if dash and len(fields) > 4:
            found.append(Mount(fields[2], _unescape(fields[3]), _unescape(fields[4]), right.split(" ", 1)[0]))
    return found


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    for code in (" ", "\t", "\n", "\\"):
        text = text.replace(f"\\{ord(code):03o}", code)
    return text


def module_present(name: str) -> bool:
    """Whether a kernel feature is there without loading a module for it: loaded, built in, or a kernel without modules.

    A netlink request to a subsystem that is not there makes the kernel load its module; asking here first avoids that.
    """
    try:
        loaded = read("/proc/modules")
    except OSError:
        return True
    if loaded.startswith(name.encode() + b" ") or f"\n{name} ".encode() in loaded:
        return True
    try:
        builtin = read(f"/lib/modules/{os.uname().release}/modules.builtin")
    except OSError:
        return os.path.exists(f"/sys/module/{name}")
    return f"/{name}.ko\n".encode() in builtin

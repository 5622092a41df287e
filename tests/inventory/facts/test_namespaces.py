"""Network namespaces by all that leads to them, pins of every filesystem, holders, and sockets that nobody holds."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpflens.inventory.facts import namespaces, pins, sockets
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.holders import holders, map_holders
from bpflens.inventory.facts.namespaces import entered, has_device, net_namespaces
from bpflens.inventory.facts.pins import Pin
from bpflens.inventory.facts.records import NetNamespace
from bpflens.inventory.facts.sockets import held_sockets, socket_owners, strays
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.network.sockets import SocketFacts
from bpflens.kernel.pins import pin
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.sys import procfs, syscalls
from bpflens.kernel.sys.procfs import Mount
from inventory.memory.plain_memory import context

RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")


def inode() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


@pytest.fixture
def other() -> Iterator[int]:
    """A descriptor of a network namespace in which nobody is."""
    made: list[int] = []

    def make() -> None:
        syscalls.unshare(0x40000000)
        made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    yield made[0]
    os.close(made[0])


@pytest.mark.live
def test_by_a_descriptor(other: int) -> None:
    """The own one first; the other one can be entered by the descriptor, and the thread comes back."""
    ctx = Context()
    found = net_namespaces(ctx)
    own = next(iter(found.values()))
    assert own.own and own.inode == inode() and own.paths[0] == "/proc/thread-self/ns/net"
    wanted = found[os.fstat(other).st_ino]
    assert f"/proc/{os.getpid()}/fd/{other}" in wanted.paths and not wanted.own
    with entered(wanted):
        assert inode() == wanted.inode
    with entered(own):
        assert inode() == own.inode
    assert inode() == own.inode
    assert has_device([wanted], "lo") and not has_device([wanted], "nosuch0") and not has_device([], "lo")


@pytest.mark.live
def test_what_cannot_be_entered(other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gone, or hidden by another mount at every path, which are two things."""
    wanted = os.fstat(other).st_ino
    with pytest.raises(ProcessLookupError, match="the namespace has gone"), entered(NetNamespace(wanted, (), None, False)):
        pass
    with pytest.raises(FileNotFoundError), entered(NetNamespace(wanted, ("/run/netns/nosuch",), None, False)):
        pass
    assert not has_device([NetNamespace(wanted, (), None, False)], "lo")
    path = "/proc/thread-self/ns/net"  # another one stands there
    monkeypatch.setattr(procfs, "mounts", lambda pid: [Mount("0:4", f"net:[{wanted}]", path, "nsfs")])
    with pytest.raises(FileExistsError, match="another mount hides"), entered(NetNamespace(wanted, (path, "/nosuch"), None, False)):
        pass
    monkeypatch.setattr(procfs, "mounts", lambda pid: [])
    with pytest.raises(ProcessLookupError), entered(NetNamespace(wanted, (path,), None, False)):
        pass
    with entered(NetNamespace(wanted, (path, f"/proc/self/fd/{other}"), None, False)):
        assert inode() == wanted


def test_names_and_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount names a namespace, and comes before processes; two namespaces do not share a name; a socket may be the only way."""
    ctx = context((7, 3, "net:[21]"), (7, 4, "/dev/null"))
    ctx.own_netns, ctx.pids = 11, []
    monkeypatch.setattr(namespaces, "_of_processes", lambda ctx: [("7", 12), ("8", 12), ("9/task/10", 13)])
    mounts = [Mount("0:4", "net:[12]", "/run/netns/blue", "nsfs"), Mount("0:4", "/", "/", "ext4"), Mount("0:4", "mnt:[3]", "/x", "nsfs")]
    hidden = [Mount("0:4", "net:[14]", "/run/netns/blue", "nsfs"), Mount("0:4", "net:[12]", "/run/netns/other", "nsfs")]
    monkeypatch.setattr(namespaces, "mount_namespaces", lambda ctx: [("", mounts), ("/proc/8/root", hidden)])
    ctx._answers[held_sockets] = {100: SocketFacts(100, 7, 5, "", b"", 15, 0, 0), 101: SocketFacts(101, 7, 6, "", b"", 12, 0, 0)}
    found = net_namespaces(ctx)
    assert {inode: (one.paths, one.name, one.own) for inode, one in found.items()} == {
        11: (("/proc/thread-self/ns/net",), None, True),
        12: (("/run/netns/blue", "/proc/8/root/run/netns/other", "/proc/7/ns/net", "/proc/8/ns/net"), "blue", False),
        13: (("/proc/9/task/10/ns/net",), "pid:9/task/10", False),
        21: (("/proc/7/fd/3",), None, False),
        15: (("socket 7/5",), None, False),
        14: (("/proc/8/root/run/netns/blue",), None, False),
    }


@pytest.mark.live
def test_pins() -> None:
    """Each file of a BPF filesystem by what it holds, whatever directory it is in."""
    directory = Path(f"/sys/fs/bpf/bl_pins{os.getpid()}")
    fds = [load_program(RETURN_0, ProgType.SOCKET_FILTER, name="bl_pins"), create_map(MapType.ARRAY, 4, 8, 1)]
    (directory / "deep").mkdir(parents=True)
    try:
        pin(fds[0], f"{directory}/prog")
        pin(fds[1], f"{directory}/deep/map")
        found = [one for one in pins.pins(Context()) if one.path.startswith(str(directory))]
        assert sorted(found) == [
            Pin("map", map_by_fd(fds[1], types=False).id or 0, f"{directory}/deep/map"),
            Pin("prog", prog_info_by_fd(fds[0]).id, f"{directory}/prog"),
        ]  # fmt: skip
    finally:
        for path in ("prog", "deep/map"):
            (directory / path).unlink(missing_ok=True)
        (directory / "deep").rmdir()
        directory.rmdir()
        for fd in fds:
            os.close(fd)


def test_filesystems_are_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the device, in the first mount namespace that lets it be read; parts of one, and links, are left out."""
    (tmp_path / "a").write_text("")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "refused").write_text("")
    (tmp_path / "hidden").write_text("")
    answers = {"a": ("prog", 12), "refused": PermissionError(13, "x"), "hidden": OSError(2, "No such file or directory")}

    def pinned_object(path: str) -> tuple[str, int]:
        answer = answers[os.path.basename(path)]
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(pins, "pinned_object", pinned_object)
    bpffs, part = Mount("0:30", "/", str(tmp_path), "bpf"), Mount("0:31", "/x", str(tmp_path), "bpf")
    monkeypatch.setattr(pins, "mount_namespaces", lambda ctx: [("/nosuch", [bpffs]), ("", [part, bpffs, bpffs]), ("", [bpffs])])
    ctx = context()
    assert pins.pins(ctx) == [Pin("prog", 12, f"{tmp_path}/a")]
    assert ctx.unopened == {f"{tmp_path}/hidden": "No such file or directory"}
    assert [denial.what for denial in ctx.denied] == [f"the pinned object {tmp_path}/refused"]


@pytest.mark.live
def test_own_descriptors_are_holders() -> None:
    fds = [load_program(RETURN_0, ProgType.SOCKET_FILTER, name="bl_held"), create_map(MapType.ARRAY, 4, 8, 1)]
    fds.append(os.dup(fds[0]))
    try:
        ctx = Context()
        found, map_id = holders(ctx, maps=True), map_by_fd(fds[1], types=False).id or 0
        own = [holder.fd for holder in found.programs[prog_info_by_fd(fds[0]).id] if holder.pid == os.getpid()]
        assert sorted(own) == [fds[0], fds[2]]
        assert [(holder.pid, holder.fd) for holder in found.maps[map_id]] == [(os.getpid(), fds[1])]
        assert map_holders(ctx)[map_id] == found.maps[map_id] and holders(ctx).maps == {}
    finally:
        for fd in fds:
            os.close(fd)


LISTS = {
    "unix": b"Num RefCount ...\n0000: 2 0 0 1 1 501 /run/x\n0000: 2 0 0 1 1 0 /run/y\n",
    "udp": b"head\n 1: 0100007F:0035 00000000:0000 07 0:0 00:0 0 0 0 502 2 x 0\n",
    "netlink": b"head\nx 0 0 0 0 0 0 0 0 503\nx 0 77 0 0 0 0 0 0 504\n",
    "packet": b"head\nx 3 3 0003 2 1 0 0 505\nshort\n",
}


def test_sockets_that_no_descriptor_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the lists of /proc/net; not the kernel's own, nor those that a process holds."""
    def read(path: str) -> bytes:
        name = path.rpartition("/")[2]
        if name not in LISTS:
            raise FileNotFoundError(2, path)
        return LISTS[name]

    monkeypatch.setattr(procfs, "read", read)
    monkeypatch.setattr(sockets, "unix_messages_wait", lambda: True)
    ctx = context((7, 3, "socket:[501]"), (8, 4, "socket:[501]"), (8, 5, "pipe:[502]"))
    owners = {inode: [(holder.pid, holder.fd) for holder in found] for inode, found in socket_owners(ctx).items()}
    assert owners == {501: [(7, 3), (8, 4)]}
    found = strays(ctx)
    assert found.inodes == {502, 504, 505} and found.messages


def test_a_class_of_traffic_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a socket would move it to this process's class, so that it is not asked for; the need is said."""
    monkeypatch.setattr(procfs, "read", lambda path: b"4:net_cls,net_prio:/x\n")
    ctx = context((os.getpid(), 0, "socket:[501]"))
    assert held_sockets(ctx) == {}
    assert "net_cls cgroup" in next(iter(ctx.denied)).needs


@pytest.mark.live
def test_held_sockets() -> None:
    """Through a descriptor of the holder; a number that is another socket by now is none."""
    with socket.socket(socket.AF_UNIX) as one:
        number = os.fstat(one.fileno()).st_ino
        ctx = context((os.getpid(), one.fileno(), f"socket:[{number}]"), (os.getpid(), one.fileno(), "socket:[7]"))
        found = held_sockets(ctx)
        if ctx.denied:
            assert "net_cls" in next(iter(ctx.denied)).needs
        else:
            (facts,) = found.values()
            assert (facts.inode, facts.pid, facts.fd, facts.netns) == (number, os.getpid(), one.fileno(), inode())

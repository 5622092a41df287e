"""Offsets that are remembered, and what the reader's programs bring from the running kernel."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpflens.btf.fields import member_offset
from bpflens.errors import InputError
from bpflens.kernel import btf
from bpflens.kernel.memory import layout as layouts
from bpflens.kernel.memory.layout import Layout
from bpflens.kernel.memory.programs import FILE, READ_BYTES, FileRecord, files, pointers, tasks
from bpflens.kernel.memory.reader import Reader

pytestmark = pytest.mark.live


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of facts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader()
    made.open_memory()
    yield made
    made.close()


def test_offsets_are_those_of_the_types(cache: Path) -> None:
    layout = Layout()
    assert layout.offset("bpf_prog", "aux") == member_offset(btf.vmlinux(), "bpf_prog", "aux")
    assert layout.offset("sock", "__sk_common.skc_family") == 16
    assert layout.size("bpf_prog") == btf.vmlinux().size(btf.vmlinux().struct_id("bpf_prog"))
    assert not layout.has("bpf_prog", "no_such_member") and layout.has("bpf_prog", "len")
    with pytest.raises(InputError, match="struct bpf_prog: this kernel's has no member no_such_member"):
        layout.offset("bpf_prog", "no_such_member")
    assert layout.function("vfs_read") and layout.function("no_such_function") is None


def test_what_was_learnt_needs_no_types(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that something is not there. A module that is built in has the types of the kernel."""
    first = Layout()
    wanted = [first.offset("bpf_prog", "aux"), first.size("bpf_prog"), first.function("vfs_read"), first.assembled("r0 = 0\nexit")]
    assert (first.has("bpf_prog", "no_such_member"), first.function("no_such_function")) == (False, None)
    first.save()

    def unread(self: Layout, module: str) -> None:
        raise AssertionError("the types are read again")

    monkeypatch.setattr(layouts.Layout, "_types", unread)
    again = Layout()
    found = [again.offset("bpf_prog", "aux", "no_such_module"), again.size("bpf_prog"), again.function("vfs_read")]
    assert [*found, again.assembled("r0 = 0\nexit")] == wanted
    assert (again.has("bpf_prog", "no_such_member"), again.function("no_such_function")) == (False, None)


def test_a_cache_of_other_things_is_learnt_anew(cache: Path) -> None:
    from bpflens.kernel.sys import fact_cache

    fact_cache.store("layout", {"numbers": {"bpf_prog.aux": "text"}, "code": [1]})
    layout = Layout()
    assert layout.offset("bpf_prog", "aux") == member_offset(btf.vmlinux(), "bpf_prog", "aux")
    assert layout.assembled("r0 = 0\nexit") == bytes.fromhex("b700000000000000 9500000000000000")


def test_own_descriptors(reader: Reader) -> None:
    """A pipe, a socket without and one with a filter, as this process has them."""
    first, second = os.pipe()
    code = struct.pack("<HBBI", 6, 0, 0, 77)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as filtered:
        buffer = bytearray(code)
        kept = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        filtered.setsockopt(socket.SOL_SOCKET, 26, struct.pack("<HxxxxxxQ", 1, ctypes.addressof(kept)))
        own = {record.fd: record for record in reader.files() if record.pid == os.getpid()}
        netns = os.stat("/proc/thread-self/ns/net").st_ino
        assert own[first].inode == os.fstat(first).st_ino and own[first].sock == own[first].family == 0
        assert own[first].operations == own[second].operations != own[plain.fileno()].operations
        one, two = own[plain.fileno()], own[filtered.fileno()]
        assert (one.family, one.type, one.protocol, one.netns, one.filter) == (socket.AF_INET, socket.SOCK_DGRAM, 17, netns, 0)
        assert one.inode == os.fstat(plain.fileno()).st_ino and one.tid == threading.get_native_id()
        assert (two.family, two.type, two.filter_id, two.reuseport) == (socket.AF_UNIX, socket.SOCK_STREAM, 0, 0)
        assert two.filter and two.filter_insns > 1, "converted code is longer"
        assert reader.u32(two.filter + reader.offset("bpf_prog", "len")) == two.filter_insns
    os.close(first)
    os.close(second)


def test_own_task(reader: Reader) -> None:
    (task, pid, tid, filter) = next(task for task in reader.tasks() if task[2] == threading.get_native_id())
    assert (pid, tid) == (os.getpid(), threading.get_native_id())
    assert reader.text(task + reader.offset("task_struct", "comm")) == Path("/proc/self/comm").read_text().strip()
    assert bool(filter) == ("Seccomp:\t2" in Path("/proc/self/status").read_text())


def test_pointers_of_the_namespace(reader: Reader, own_netns: None) -> None:
    """Unix sockets of the thread's namespace alone."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("\0bl-pointers")
        (sock,) = reader.pointers("unix", "unix_sk")
        assert sock in {record.sock for record in reader.files() if record.fd == one.fileno() and record.pid == os.getpid()}
        net = reader.u64(sock + reader.offset("sock", "__sk_common.skc_net.net"))
        assert net and reader.u32(net + reader.offset("net", "ns.inum")) == os.stat("/proc/thread-self/ns/net").st_ino
        assert reader.current_net() == net


def test_reads_of_any_length(reader: Reader) -> None:
    """Longer than the map has room for, and from an address where nothing is."""
    record = next(record for record in reader.files() if record.pid == os.getpid())
    assert len(reader.read(record.private or record.operations, 3)) == 3
    symbols = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()[:4000]]
    start = next((int(address, 16) for address, _, name, *_ in symbols if name == "_text"), 0)
    if start:
        data = reader.read(start, READ_BYTES + 100)
        assert len(data) == READ_BYTES + 100
        assert data[READ_BYTES - 8 :] == reader.read(start + READ_BYTES - 8, 108)
    with pytest.raises(OSError) as caught:
        reader.read(8, 8)
    assert caught.value.errno == 14


def test_texts_name_every_offset_once() -> None:
    """The record that is written is as long as the one that is taken apart; jumps have their labels."""
    asked: list[tuple[str, str]] = []

    def offset(struct: str, path: str) -> int:
        asked.append((struct, path))
        return 8

    text = files(offset)
    assert FILE.size == 88 and len(FileRecord._fields) == len(FILE.unpack(bytes(88)))
    assert f"r2 += -{FILE.size}" in text and f"r3 = {FILE.size}" in text
    assert {struct for struct, _ in asked} >= {"task_struct", "file", "socket", "sock", "sk_filter", "sock_reuseport", "bpf_prog_aux"}
    for made in (text, tasks(offset), pointers("bpf_iter__tcp", "sk_common", offset)):
        labels = {line.strip()[:-1] for line in made.splitlines() if line.strip().endswith(":")}
        assert {line.split("goto ")[1].strip() for line in made.splitlines() if "goto " in line} <= labels

"""Targets that name something of the running kernel, right and wrong ones, and what another user is told."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import needs
from bpflens.errors import BpflensError, InputError, NotFound
from bpflens.kernel import pins
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.sys.syscalls import libc
from bpflens.targets.kernel_object import open_live
from live import attach_kinds, nobody
from live.attach_lab import Lab
from live.loaded import RETURN_0, SOCKET_FILTER, program_with_map

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def _root() -> None:
    needs.root()


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A BPF filesystem of our own."""
    if libc.mount(b"bpf", os.fsencode(tmp_path), b"bpf", 0, None) < 0:
        pytest.fail(f"cannot mount a BPF filesystem: {os.strerror(ctypes.get_errno())}")
    yield tmp_path
    assert libc.umount2(os.fsencode(tmp_path), 2) == 0


def ids(kind: str, name: str) -> list[int | None]:
    return [program.id for program in open_live(kind, name)]


def test_by_id_name_tag_map_and_descriptor() -> None:
    with program_with_map("bpflens_byname", "bpflens_m") as loaded:
        tag = prog_info_by_fd(loaded.fd).tag

        assert ids("id", str(loaded.id)) == [loaded.id]
        assert ids("name", "bpflens_byname") == [loaded.id]
        assert loaded.id in ids("tag", tag[:8])
        assert loaded.id in ids("tag", tag.upper())
        assert ids("map", str(loaded.map_id)) == [loaded.id]
        assert ids("map", "bpflens_m") == [loaded.id]
        assert ids("fd", f"{os.getpid()}/{loaded.fd}") == [loaded.id]
        assert ids("fd", f"self/{loaded.map_fd}") == [loaded.id]
        (program,) = open_live("fd", f"self/{loaded.fd}")
        assert [(holder.pid, holder.fd) for holder in program.holders] == [(os.getpid(), loaded.fd)]


def test_a_pin_whose_object_the_kernel_does_not_give(bpffs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is there: this is told apart from a path that does not exist."""
    path = str(bpffs / "hidden")
    with program_with_map() as loaded:
        pins.pin(loaded.fd, path)
    try:
        monkeypatch.setattr(pins, "bpf_errno", lambda *_: (-1, 2, b""))
        with pytest.raises(NotFound, match="the file is there, and the kernel does not give its object"):
            open_live("pin", path)
        with pytest.raises(FileNotFoundError):
            pins.pinned_object(path)
        assert pins.pinned_object(str(bpffs / "nothing")) is None
    finally:
        os.unlink(path)


def test_names_are_cut_by_the_kernel() -> None:
    fd = load_program(RETURN_0, SOCKET_FILTER, name="bpflens_long_na")
    try:
        id = prog_info_by_fd(fd).id
        assert ids("name", "bpflens_long_na") == [id]
        assert ids("name", "bpflens_long_name_of_a_function") == [id]
        with pytest.raises(NotFound):
            open_live("name", "bpflens_long_n")
    finally:
        os.close(fd)


def test_pins(bpffs: Path) -> None:
    with program_with_map() as loaded:
        pins.pin(loaded.fd, str(bpffs / "prog"))
        pins.pin(loaded.map_fd, str(bpffs / "map"))

        assert ids("pin", str(bpffs / "prog")) == [loaded.id]
        assert ids("pin", str(bpffs / "map")) == [loaded.id]
        with pins.opened_pin(str(bpffs / "map")) as fd:
            assert pins.fd_kind(fd) == "map"
        with pytest.raises(InputError, match="directory"):
            open_live("pin", str(bpffs))
        with pytest.raises(NotFound):
            open_live("pin", str(bpffs / "nothing"))
        os.unlink(bpffs / "prog")
        os.unlink(bpffs / "map")


def test_links(bpffs: Path) -> None:
    """A flow dissector link on a network namespace of our own: by id, by descriptor, by pin."""
    code = f"""
import os, struct, sys
from bpflens.kernel.sys.bpf import bpf, cmd
from bpflens.kernel.attachments.links import link_by_fd
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.sys.syscalls import unshare
from bpflens.targets.kernel_object import open_live
from bpflens.kernel import pins
unshare(0x40000000)
prog = load_program(bytes.fromhex("b700000000000000 9500000000000000"), 22, name="bpflens_flow", expected_attach_type=17)
netns = os.open("/proc/self/ns/net", os.O_RDONLY)
link = bpf(cmd.LINK_CREATE, struct.pack("=IIII", prog, netns, 17, 0))[0]
info = link_by_fd(link)
pins.pin(link, {str(bpffs / "link")!r})
for kind, name in (("link", str(info.id)), ("fd", f"self/{{link}}"), ("pin", {str(bpffs / "link")!r})):
    (program,) = open_live(kind, name)
    (attachment,) = program.attachments
    assert program.name == "bpflens_flow", program.name
    assert program.expected_attach_type == 17
    assert attachment.kind == "flow_dissector", attachment
    assert attachment.netns == os.fstat(netns).st_ino
os.unlink({str(bpffs / "link")!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


def test_machine_code_by_what_a_program_hangs_on() -> None:
    with Lab() as lab:
        tcx = next(iter(attach_kinds.tcx(lab)))
        with lab.inside("a"):
            (program,) = (p for p in open_live("dev", "v0", jited=True) if p.id == tcx.prog_id)
        assert program.jited
        assert program.attachments


def test_sockets() -> None:
    with program_with_map() as loaded, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        target = f"self/{sock.fileno()}"
        with pytest.raises(NotFound, match="no filter"):
            open_live("fd", target)

        # 300 instructions: Python's own getsockopt would overrun its buffer with them
        code = struct.pack("<HBBI", 0x00, 0, 0, 5) * 299 + struct.pack("<HBBI", 0x06, 0, 0, 77)
        buffer = ctypes.create_string_buffer(code)
        sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", 300, ctypes.addressof(buffer)))
        (program,) = open_live("fd", target)
        assert program.code == code

        sock.setsockopt(socket.SOL_SOCKET, 50, struct.pack("i", loaded.fd))  # SO_ATTACH_BPF
        (program,) = open_live("fd", target)  # no interface says which it is: kernel memory does
        assert program.id == loaded.id


@pytest.mark.parametrize(
    ("kind", "name", "error", "says"),
    [
        ("id", "abc", InputError, "number"),
        ("id", "0", InputError, "number"),
        ("id", "-1", InputError, "number"),
        ("id", "99999999999999999999", InputError, "number"),
        ("id", "2147418112", NotFound, "no program with this id"),
        ("name", "no_program_has_this", NotFound, "no loaded program has this name"),
        ("tag", "xyz", InputError, "hexadecimal"),
        ("tag", "", InputError, "hexadecimal"),
        ("map", "2147418112", NotFound, "no map with this id"),
        ("map", "no_such_map", NotFound, "no map has this name"),
        ("link", "x", InputError, "number"),
        ("link", "2147418112", NotFound, "no link with this id"),
        ("pin", "/nonexistent/path", NotFound, "no such file"),
        ("pin", "/etc/passwd", InputError, "not a pinned BPF object"),
        ("pin", "/etc", InputError, "directory"),
        ("pin", "a\0b", InputError, "zero bytes"),
        ("fd", "1", InputError, "fd:PID/FD"),
        ("fd", "x/y", InputError, "fd:PID/FD"),
        ("fd", "self/4000000", NotFound, "no descriptor"),
        ("fd", "99999999999999999999999/1", NotFound, "no process"),
        ("fd", "4194304/1", NotFound, "no process"),
    ],
)
def test_wrong_names_are_told_apart(kind: str, name: str, error: type[BpflensError], says: str) -> None:
    with pytest.raises(error, match=says):
        open_live(kind, name)


def test_ordinary_file_is_no_bpf_object(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as stream, pytest.raises(InputError, match="not a BPF object"):
        open_live("fd", f"self/{stream.fileno()}")


def test_others_are_told_what_they_lack() -> None:
    with program_with_map() as loaded:
        for target in (f"id:{loaded.id}", "name:bpflens_test", "tag:00", f"map:{loaded.map_id}", "link:1", f"fd:{os.getpid()}/{loaded.fd}"):
            for verb in ("dis", "show"):
                done = nobody.bpflens(verb, target)
                assert done.returncode == 4, (target, done)
                assert done.stdout == ""
                assert done.stderr.count("bpflens: error:") == 1
                assert "CAP_SYS_" in done.stderr
                assert "Traceback" not in done.stderr


def test_hidden_addresses_are_said_and_not_guessed() -> None:
    with program_with_map() as loaded:
        done = nobody.without(nobody.CAP_SYSLOG, "--json", "show", f"id:{loaded.id}", "--no-attachments")
        (record,) = (json.loads(line) for line in done.stdout.splitlines())
        assert any("needs CAP_SYSLOG" in note for note in record["program"]["notes"])

        done = nobody.without(nobody.CAP_SYSLOG, "dis", f"id:{loaded.id}")
        assert done.returncode == 0
        assert "call targets are hidden by the kernel: needs CAP_SYSLOG" in done.stdout
        assert "lookup_elem" not in done.stdout
        done = nobody.without(nobody.CAP_SYSLOG, "dis", "--jited", f"id:{loaded.id}")
        assert done.returncode == 4 and not done.stdout
        assert "machine code is hidden by the kernel: needs CAP_SYSLOG" in done.stderr


def test_without_the_right_to_list_a_descriptor_still_opens() -> None:
    """By id needs CAP_SYS_ADMIN; a descriptor that the process has does not."""
    with program_with_map() as loaded:
        done = nobody.without(nobody.CAP_SYS_ADMIN, "dis", f"id:{loaded.id}")
        assert done.returncode == 4
        assert "needs CAP_SYS_ADMIN" in done.stderr

        done = nobody.without(nobody.CAP_SYS_ADMIN, "dis", f"fd:{os.getpid()}/{loaded.fd}")
        assert done.returncode == 0
        assert "call __htab_map_lookup_elem" in done.stdout
        assert "its maps may not be looked at: needs CAP_SYS_ADMIN" in done.stdout


def test_perf_event_by_descriptor() -> None:
    """A software event with a program: TASK_FD_QUERY does not know it, which is said."""
    fd = load_program(RETURN_0, 7, name="bpflens_perf")
    try:
        attr = struct.pack("=IIQQQQQI", 1, 112, 0, 1_000_000, 0, 0, 0, 0).ljust(112, b"\0")
        event = libc.syscall(298, ctypes.c_char_p(attr), 0, -1, -1, 0)
        needs.kernel_feature(event >= 0, "software perf events")
        try:
            assert libc.ioctl(event, 0x40042408, fd) == 0
            with pytest.raises(BpflensError):
                open_live("fd", f"self/{event}")
        finally:
            os.close(event)
    finally:
        os.close(fd)




@given(st.sampled_from(["id", "name", "tag", "pin", "map", "link", "fd"]), st.text(max_size=20) | st.from_regex(r"[0-9a-f/-]{1,22}"))
@settings(max_examples=150)
def test_any_text_as_a_name(kind: str, name: str) -> None:
    try:
        assert open_live(kind, name)
    except BpflensError as error:
        assert error.exit_code in (3, 4)
        assert "\n" not in str(error).replace(name, "")

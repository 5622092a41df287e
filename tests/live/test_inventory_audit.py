"""The audit identifies each image. What stands for it is taken away, kind by kind: then the audit must not say that all are accounted for.

Images that others' programs leave on this machine are compared by identity, not counted.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
from pathlib import Path

import pytest

import needs
from bpflens.cli.main import run
from bpflens.inventory.audit import audit
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.memory.judge import EXPLAINED, Judged, finds_of, judge
from bpflens.inventory.memory.open_reader import open_reader
from bpflens.inventory.memory.vmalloc import areas, count_areas
from bpflens.inventory.walk import collect, in_own_thread, walk
from bpflens.kernel.programs.loaded import prog_heads
from live.attach_kinds import KINDS
from live.attach_lab import Lab, Lacking, classic, insns

pytestmark = pytest.mark.live

# Where a program can hide: behind a foreign mount, in a namespace, in a map, in a message, on a route, in a rule, on a task that has gone.
HIDING = (
    "packet", "other_sockets", "inflight", "socket_ebpf", "reuseport", "fanout", "tap_filter", "tun_programs", "seccomp", "tc_classic",
    "tc_extended", "tc_action", "xdp_maps", "lwt", "seg6local", "cgroups", "namespace_programs", "xt_bpf_legacy", "xt_bpf_legacy6",
    "xt_bpf_nft", "sockmap", "struct_ops", "prog_array", "software_event_ioctl", "iterator", "kcm", "team", "ppp", "held_by_fd", "pinned",
)  # fmt: skip


class Looked:
    """One deep walk of a lab with everything attached, and the images beside it."""

    def __init__(self, lab: Lab) -> None:
        self.attached: dict[str, list] = {}
        for name in HIDING:
            try:
                self.attached[name] = list(KINDS[name](lab))
            except Lacking:
                continue
        self.inventory: Inventory = in_own_thread(lambda: walk(None, True, True))

    def unexplained(self, rows: list[InventoryRow], without: set[int] = frozenset()) -> dict[tuple, Judged]:  # type: ignore[assignment]
        """The images that rows and listed programs do not account for, by identity."""

        def look() -> dict[tuple, Judged]:
            reader = open_reader(Context())
            assert reader is not None
            try:
                programs = {id: info for id, info in {**(self.inventory.programs or {}), **prog_heads()}.items() if id not in without}
                images = judge(reader, areas(reader) or [], programs, finds_of(rows, programs))
                return {image.identity: image for image in images if image.verdict not in EXPLAINED}
            finally:
                reader.close()

        return in_own_thread(look)


@pytest.fixture(scope="module")
def looked():
    needs.root()
    with Lab() as lab:
        yield Looked(lab)


@pytest.fixture(scope="module")
def all_rows(looked: Looked) -> dict[tuple, Judged]:
    return looked.unexplained(looked.inventory.rows)


@pytest.mark.parametrize("name", HIDING)
def test_what_hides_is_missed(looked: Looked, all_rows: dict[tuple, Judged], name: str) -> None:
    """With the rows of a kind, or its programs, out of sight there are images that the audit does not account for."""
    needs.kernel_feature(name in looked.attached, name)
    codes = {one.classic for one in looked.attached[name] if one.classic}
    programs = {one.prog_id for one in looked.attached[name] if one.prog_id}
    places = {(one.kind, one.object) for one in looked.attached[name] if one.image}
    rows = [row for row in looked.inventory.rows if row.classic not in codes and (row.kind, row.object) not in places]
    more = [image for identity, image in looked.unexplained(rows, programs).items() if identity not in all_rows]

    assert {image.id for image in more if image.verdict == "hidden"} >= programs
    assert not (codes or places) or [image for image in more if not image.id], f"{name}: nothing classic is missed"


def test_two_ways_to_count(looked: Looked) -> None:
    """The kernel's lists of areas and /proc/vmallocinfo agree, as soon as nobody loads anything between."""

    def look() -> bool:
        reader = open_reader(Context())
        assert reader is not None
        try:
            for _ in range(50):
                before, found = count_areas(), areas(reader)
                if found is not None and len(found) == before == count_areas():
                    return True
            return False
        finally:
            reader.close()

    assert in_own_thread(look)


def test_an_image_with_the_id_of_another() -> None:
    """A second image that claims a listed id is told of, and so is a type that does not fit."""
    from bpflens.inventory.memory.judge import Finds, _Fields, _verdict
    from bpflens.inventory.memory.vmalloc import Area

    info = next(iter(prog_heads().values()), None)
    needs.kernel_feature(info is not None, "no program is loaded")
    assert info is not None
    image = _Fields(Area(4096, 4096), info.id, info.type, 2, 1, 0, 0, 0, 0)
    claimed: set[int] = set()
    nothing = Finds(frozenset(), (), frozenset())
    verdicts = [_verdict(one, set(), {info.id: info}, nothing, set(), set(), claimed) for one in (image, image)]
    assert verdicts == ["listed", "its id is another's"]
    assert _verdict(image._replace(type=99), set(), {info.id: info}, nothing, set(), set(), set()) == "its id is another's"


def kept_by(why: str, code: bytes, deep: bool | None) -> InventoryRow:
    return next(row for row in collect(deep=deep).rows if row.classic == code and row.details.get("why") == why)


def filtered(family: int, type: int, protocol: int = 0) -> tuple[socket.socket, bytes]:
    """An unbound socket with a filter that no other has."""
    sock = socket.socket(family, type, protocol)
    code = classic(0x10000000 + os.getpid() * 16 + family)
    buffer = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    return sock, code


@pytest.mark.parametrize(("kind", "address"), (("udp", (2, 2)), ("raw", (2, 3, 255)), ("netlink", (16, 3))))
def test_a_socket_in_flight(kind: str, address: tuple[int, ...]) -> None:
    """Unbound, in a message that nobody has received: no list has it."""
    needs.root()
    sock, code = filtered(*address)
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        socket.send_fds(left, [b"x"], [sock.fileno()])
        sock.close()
        for deep in (None, True):
            assert kept_by("in a message that no process has received yet", code, deep).kind == f"socket/{kind}"


def test_a_socket_of_an_io_uring() -> None:
    """In the file table of a ring only."""
    needs.root()
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))  # io_uring_setup
    needs.kernel_feature(ring >= 0, "io_uring")
    try:
        sock, code = filtered(2, 2)
        files = (ctypes.c_int * 1)(sock.fileno())
        assert libc.syscall(427, ring, 2, ctypes.byref(files), 1) >= 0  # io_uring_register, IORING_REGISTER_FILES
        sock.close()
        for deep in (None, True):
            assert kept_by("in the file table of an io_uring only", code, deep).kind == "socket/udp"
    finally:
        os.close(ring)


def test_a_seccomp_listener_without_its_task() -> None:
    """The task has gone, its filter hangs on the listener that somebody else holds."""
    code = insns((0x20, 0, 0, 0), (0x15, 0, 1, 0x7FF1), (0x06, 0, 0, 0x7FC00000), (0x06, 0, 0, 0x7FFF0000))
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    child = os.fork()
    if not child:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.prctl(38, 1, 0, 0, 0)
            buffer = ctypes.create_string_buffer(code, len(code))
            program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
            listener = libc.syscall(317, 1, 8, program)  # seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER)
            socket.send_fds(there, [b"x"], [listener])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    _, (listener,), _, _ = socket.recv_fds(here, 1, 1)
    here.close(), there.close()
    try:
        for deep in (None, True):
            row = kept_by("no task has it, a listener keeps it", code, deep)
            assert row.object == f"fd:{os.getpid()}/{listener}" and row.holders[0].pid == os.getpid()
    finally:
        os.close(listener)


def test_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first audit writes it; the next one finds the same; one image fewer in it is new; another boot compares types and lengths."""
    import bpflens.inventory.audit as module

    real = audit()
    images = (Judged(1 << 63, 8192, "hidden", 7, 26, 35, 10**9), Judged((1 << 63) + 8192, 8192, "no holder", 0, 0, 3, 0))
    verdict = real[1]._replace(established=True, complete=False, unexplained=images)
    monkeypatch.setattr(module, "audit", lambda: (real[0], verdict))
    path = tmp_path / "base"

    def told(*argv: str) -> tuple[int, dict]:
        code = run(["--json", "ls", "xdp", "--audit", "--baseline", str(path), *argv])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    code, first = told()
    assert code == 1 and first["baseline"]["written"] and len(first["unexplained"]) == 2
    code, second = told()
    assert code == 0 and (second["baseline"]["same"], second["baseline"]["new"]) == (2, [])
    stored = json.loads(path.read_text())
    dropped = stored["images"].pop()
    path.write_text(json.dumps(stored))
    code, third = told()
    assert code == 1 and [image["insns"] for image in third["baseline"]["new"]] == [dropped["insns"]]
    moved = [{**image, "address": 1} for image in (*stored["images"], dropped)]
    path.write_text(json.dumps({**stored, "boot": "another", "images": moved}))
    code, fourth = told()
    assert code == 0 and not fourth["baseline"]["same_boot"]
    path.write_text("[]")
    assert run(["ls", "--audit", "--baseline", str(path)]) == 3


def test_an_id_that_no_list_has(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hidden program's id is answered with what the audit sees; an id of which there is no image is not."""
    needs.root()
    from bpflens.inventory import hidden

    ids = prog_heads()
    needs.kernel_feature(bool(ids), "no program is loaded")
    id = min(ids)
    assert hidden.hidden_image(id) is None and hidden.hidden_image(0xFFFFFFF0) is None
    monkeypatch.setattr(hidden, "prog_heads", lambda: {other: head for other, head in ids.items() if other != id})
    found = hidden.hidden_image(id)
    assert found is not None and (found.id, found.type) == (id, ids[id].type)

    from bpflens.cli.rejected import hint_of
    from bpflens.errors import NotFound

    error = NotFound(f"id:{id}", "no program with this id")
    assert "ls --audit" in (hint_of(error, ["show", f"id:{id}"]) or "")
    assert hint_of(error, ["show", "--no-deep", f"id:{id}"]) is None

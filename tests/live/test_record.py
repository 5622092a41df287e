"""Originals are kept as programs are loaded: whole, proved by the kernel's tag, and given back where inversion cannot."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import needs
from bpflens.errors import BpflensError, InputError, NotSupported
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.recorder.recorder import Recorder
from bpflens.original.from_record import from_record
from bpflens.original.record_store import Recorded, Store
from bpflens.original.recover import recover
from bpflens.original.result import Grade
from bpflens.snapshot.record import record

pytestmark = pytest.mark.live
SOCKET_FILTER = 1


@pytest.fixture(scope="module")
def recorder():
    """An attached recorder, where this kernel has the tracepoint."""
    needs.root()
    try:
        with Recorder(1 << 22) as attached:
            yield attached
    except NotSupported:
        needs.kernel_feature(False, "raw_tp alloc_vmap_area")


def dead_code(length: int) -> bytes:
    """A program with a branch that is never taken: the kernel removes it, so that inversion cannot know it."""
    return assemble("r0 = 7\nif r0 == 7 goto out\n" + "r1 = 5\nr1 += 6\n" * length + "out: exit")


def test_the_self_test_comes_in_whole(recorder: Recorder) -> None:
    """Two instructions of our own."""
    assert recorder.self_test()


@pytest.mark.parametrize("length", [1, 40, 600, 3000])
def test_what_the_kernel_removes_is_kept(recorder: Recorder, tmp_path: Path, length: int) -> None:
    """The record has the kernel's tag, whatever the size; `original` gives it back as recorded."""
    code = dead_code(length)
    fd = load_program(code, SOCKET_FILTER, name="bpflens_dead")
    try:
        info = prog_info_by_fd(fd)
        kept = [each for each in record(Store(str(tmp_path)), 0, recorder=recorder) if each.id == info.id]
        assert len(kept) == 1 and kept[0].complete and kept[0].tag == info.tag and kept[0].load.code == code
        store = Store(str(tmp_path))
        found = from_record(recover(info.id, reload=False), store)
        assert (found.grade, found.code) == (Grade.RECORDED, code)
        assert any(load["id"] == info.id and load["comm"] for load in store.loads())
    finally:
        os.close(fd)


def test_many_loads_by_several_threads(recorder: Recorder, tmp_path: Path) -> None:
    """Nothing is lost while nobody reads."""
    fds: list[int] = []

    def load(seed: int) -> None:
        for number in range(25):
            fds.append(load_program(assemble(f"r0 = {seed * 1000 + number}\nexit"), SOCKET_FILTER, name="bpflens_many"))

    threads = [threading.Thread(target=load, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        kept = [each for each in record(Store(str(tmp_path)), 0, recorder=recorder) if each.load.name == "bpflens_many"]
        assert len(kept) == 100 and all(each.complete and each.tag for each in kept)
        assert {prog_info_by_fd(fd).tag for fd in fds} == {each.tag for each in kept}
    finally:
        for fd in fds:
            os.close(fd)


def test_a_damaged_record_is_found_out(tmp_path: Path) -> None:
    """Its instructions do not have its tag, or it is no record at all."""
    store = Store(str(tmp_path))
    tag = "00112233445566ff"
    store.add(Recorded(tag, "x", 1, 0, "GPL", dead_code(1)), {})
    with pytest.raises(InputError, match="do not have the tag"):
        store.get(tag)
    path = tmp_path / tag[:2] / f"{tag}.rec"
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="is no record"):
        store.get(tag)
    assert store.get("aabb") is None
    with pytest.raises(InputError):
        store.get("../../etc")
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_oldest_records_go_first(tmp_path: Path) -> None:
    """The store stays within its size."""
    store = Store(str(tmp_path), max_bytes=400)
    for number in range(8):
        store.add(Recorded(f"{number:016x}", "x", 1, 0, "GPL", os.urandom(200)), {"id": number})
    assert store.prune() >= 6
    assert sum(path.stat().st_size for path in tmp_path.glob("??/*.rec")) <= 400


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    """One line that names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises((BpflensError, OSError)):
        Store(str(tmp_path / "file" / "store")).add(Recorded("00" * 8, "x", 1, 0, "", dead_code(1)), {})

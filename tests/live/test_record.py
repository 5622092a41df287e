"""Originals are kept as programs are loaded: whole, proved by the kernel's tag, and given back where inversion cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import needs
from bpflens.errors import NotSupported
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.recorder.recorder import Recorder, remove_pins
from bpflens.original.from_record import from_record
from bpflens.original.kernels.running import live_kernel
from bpflens.original.recover import recover
from bpflens.original.result import Grade
from bpflens.original.store.base import base_of
from bpflens.original.store.record import Way
from bpflens.original.store.store import Store, spool_of
from bpflens.snapshot.record import record, store_at
from bpflens.snapshot.record_keeper import Keeper

pytestmark = pytest.mark.live
SOCKET_FILTER = 1


@pytest.fixture(scope="module")
def recorder():
    """An attached recorder: before the verifier, or at the exit of bpf(2) where this kernel is too old."""
    needs.root()
    try:
        with Recorder.working(1 << 22) as attached:
            yield attached
    except NotSupported:
        needs.kernel_feature(False, "raw_tp alloc_vmap_area or sys_exit")


def test_the_exit_of_bpf(tmp_path: Path) -> None:
    """The way of kernels before 6.2, which newer ones have too: whole, with the tag, whatever the size."""
    needs.root()
    with Recorder(1 << 21, at_exit=True) as recorder:
        assert recorder.self_test()
        for length in (1, 900, 1100, 9000):
            code = dead_code(length)
            fd = load_program(code, SOCKET_FILTER, name="bpflens_exit", license="Dual BSD/GPL")
            try:
                tag = prog_info_by_fd(fd).tag
                loads = [load for load in recorder.loads() if load.name == "bpflens_exit"]
                assert [(load.code, load.complete, load.license, load.pid) for load in loads] == [(code, True, "Dual BSD/GPL", os.getpid())]
                kept = list(Keeper(store_at(str(tmp_path / str(length))), live_kernel().algorithm()).receive(loads))
                assert [(each.how, each.tag) for each in kept] == [("recorded", tag)]
            finally:
                os.close(fd)


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
        kept = [each for each in record(store_at(str(tmp_path)), 0, recorder=recorder) if each.id == info.id]
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
        kept = [each for each in record(store_at(str(tmp_path)), 0, recorder=recorder) if each.load.name == "bpflens_many"]
        assert len(kept) == 100 and all(each.complete and each.tag for each in kept)
        assert {prog_info_by_fd(fd).tag for fd in fds} == {each.tag for each in kept}
    finally:
        for fd in fds:
            os.close(fd)


def test_small_while_loaded_and_full_afterwards(recorder: Recorder, tmp_path: Path) -> None:
    """The difference from the image, or nothing where inversion gives it back; a full copy when the program is unloaded."""
    store = store_at(str(tmp_path))
    keeper = Keeper(store, live_kernel().algorithm())
    recorder.loads()
    removed = load_program(dead_code(50), SOCKET_FILTER, name="bpflens_dlt")
    exact = load_program(assemble("r0 = 8151\nexit"), SOCKET_FILTER, name="bpflens_exc")
    tags = [prog_info_by_fd(fd).tag for fd in (removed, exact)]
    try:
        assert {kept.tag for kept in keeper.receive(recorder.loads())} >= set(tags)
        while keeper.busy:
            list(keeper.work())
        assert [store.has(tag) for tag in tags] == [Way.DELTA, Way.EXACT]
        base = base_of(prog_info_by_fd(removed).id)
        found = Store(str(tmp_path), spool=Store(tmp_path / "no spool")).get(tags[0], base)
        assert found is not None and found.code == dead_code(50)
        before = store.total_bytes()
    finally:
        os.close(removed)
        os.close(exact)
    end = time.monotonic() + 10
    while [store.has(tag) for tag in tags] != [Way.FULL, Way.FULL] and time.monotonic() < end:
        keeper.sweep()
        while keeper.busy:
            list(keeper.work())
    assert [store.has(tag) for tag in tags] == [Way.FULL, Way.FULL]
    assert before < store.total_bytes()
    list(keeper.finish())
    store.close()
    found = Store(str(tmp_path)).get(tags[0])
    assert found is not None and found.code == dead_code(50) and not os.path.exists(str(spool_of(str(tmp_path)).directory))


def test_what_was_loaded_before_is_read_from_its_image(recorder: Recorder, tmp_path: Path) -> None:
    """An id without a record is noticed; what its image does not give back is said to be lost."""
    exact = load_program(assemble("r0 = 8152\nexit"), SOCKET_FILTER, name="bpflens_bef")
    removed = load_program(dead_code(60), SOCKET_FILTER, name="bpflens_gone")
    ids = [prog_info_by_fd(fd).id for fd in (exact, removed)]
    store = store_at(str(tmp_path))
    keeper = Keeper(store, live_kernel().algorithm())
    recorder.loads()
    try:
        for _ in range(2):
            keeper.sweep()
        kept = {}
        while keeper.busy:
            kept.update({one.id: one for one in keeper.work()})
        assert [kept[id].how for id in ids] == ["image", "lost"]
        assert "its image does not give it back" in kept[ids[1]].reason
        found = store.get(kept[ids[0]].tag or "")
        assert found is not None and found.source == "image"
    finally:
        os.close(exact)
        os.close(removed)
        list(keeper.finish())
        store.close()


RECORDS = """
import sys
from bpflens.kernel.recorder.recorder import Recorder, remove_pins
from bpflens.snapshot.record import record, store_at
from bpflens.snapshot.record_keeper import Keeper
with Recorder.working(1 << 20, pins=sys.argv[1]) as recorder:
    print("ready", flush=True)
    for kept in record(store_at(sys.argv[2]), None, recorder=recorder):
        print(kept.load.name, flush=True)
"""


def test_a_killed_reader_is_followed_by_another(recorder: Recorder, tmp_path: Path) -> None:
    """Link, ring and counters are pinned: what is loaded between the two readers is kept, and so is what was loaded and unloaded."""
    pins, where = f"/sys/fs/bpf/bpflens-test-record-{os.getpid()}", str(tmp_path / "s")
    process = subprocess.Popen([sys.executable, "-c", RECORDS, pins, where], stdout=subprocess.PIPE, text=True)
    fds = []
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        fds.append(load_program(dead_code(70), SOCKET_FILTER, name="bpflens_r1"))
        while "bpflens_r1" not in process.stdout.readline():
            pass
        process.kill()
        process.wait()
        fds.append(load_program(dead_code(71), SOCKET_FILTER, name="bpflens_r2"))
        os.close(load_program(dead_code(72), SOCKET_FILTER, name="bpflens_r3"))
        with Recorder(1 << 20, pins=pins, at_exit=recorder.at_exit) as again:
            assert again.taken_over and again.self_test()
            names = {kept.load.name for kept in record(store_at(where), 0.3, recorder=again)}
            assert again.counters()["no_room"] == 0
        assert {"bpflens_r2", "bpflens_r3"} <= names
        codes = {found.code for tag in Store(where).tags() if (found := Store(where).get(tag))}
        assert {dead_code(70), dead_code(71), dead_code(72)} <= codes
    finally:
        process.kill()
        process.wait()
        assert remove_pins(pins)
        for fd in fds:
            os.close(fd)


def test_the_command(tmp_path: Path) -> None:
    """Its end by SIGTERM, who loaded what, and `original` with the store."""
    from bpflens.cli.main import run

    needs.root()
    command = [sys.executable, "-m", "bpflens", "--json", "record", "--store", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        first = process.stderr.readline()
        needs.kernel_feature("self-test" in first, f"the recorder: {first}")
        fd = load_program(dead_code(80), SOCKET_FILTER, name="bpflens_cmd")
        line = next(line for line in process.stdout if "bpflens_cmd" in line)
        assert json.loads(line)["how"] == "recorded" and json.loads(line)["tag"] == prog_info_by_fd(fd).tag
        process.terminate()
        assert process.wait(30) in (0, 5)
    finally:
        process.kill()
        process.wait()
    os.close(fd)
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True)
    said = next(load for load in map(json.loads, listed.stdout.splitlines()) if load["name"] == "bpflens_cmd")
    assert said["pid"] == os.getpid() and said["exe"] and said["cmd"] and said["boot_id"] and said["time"] > 1_700_000_000
    assert run(["record", "--store", str(tmp_path / "none"), "--list"]) == 3

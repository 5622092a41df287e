"""What is read of programs and maps, against bpftool and against what was loaded."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import threading
import time

import pytest

import needs
from bpflens.errors import KernelError, NotFound
from bpflens.isa.extended.names import MAP_TYPES, PROG_TYPES, flag_names
from bpflens.kernel.maps import map_data, maps
from bpflens.kernel.maps.map_data import freeze, items, lookup, update
from bpflens.kernel.programs import progs
from bpflens.kernel.programs.load import create_map, load_btf, load_program, load_program_log, run_program, verify
from bpflens.kernel.sys.bpf import bpf, cmd
from live.loaded import ARRAY, HASH, RETURN_0, SOCKET_FILTER, insn, open_fds, program_with_map

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def _root() -> None:
    needs.root()


def bpftool(*args: str) -> object:
    return json.loads(subprocess.run([needs.tool("bpftool"), "-j", *args], capture_output=True, check=True).stdout)


def test_every_field_that_bpftool_shows() -> None:
    with program_with_map() as loaded:
        run_program(loaded.fd, bytes(64))
        theirs = bpftool("prog", "show", "id", str(loaded.id))
        ours = progs.read_program(loaded.id)
        assert ours.loaded is not None
        info = ours.loaded.info

        assert {
            "id": ours.id,
            "type": PROG_TYPES[ours.type or 0],
            "name": ours.name,
            "tag": ours.tag,
            "gpl_compatible": info.gpl_compatible,
            "uid": info.uid,
            "bytes_xlated": info.xlated_len,
            "jited": bool(info.jited_len),
            "bytes_jited": info.jited_len,
            "bytes_memlock": ours.loaded.memlock,
            "map_ids": list(ours.loaded.map_ids),
        } == {key: value for key, value in theirs.items() if key not in ("loaded_at", "pids", "run_time_ns", "run_cnt")}
        assert abs(theirs["loaded_at"] - ours.loaded.at) <= 1.5
        assert abs(time.time() - ours.loaded.at) < 60

        theirs = bpftool("map", "show", "id", str(loaded.map_id))
        map = maps.read_map_info(loaded.map_id)
        assert {
            "id": map.id,
            "type": MAP_TYPES[map.type],
            "name": map.name,
            "flags": map.flags,
            "bytes_key": map.key_size,
            "bytes_value": map.value_size,
            "max_entries": map.max_entries,
            "bytes_memlock": map.fields["memlock"],
            "frozen": int(map.fields["frozen"]),
        } == {key: value for key, value in theirs.items() if key != "pids"}


def test_calls_are_named_by_kallsyms() -> None:
    with program_with_map() as loaded:
        program = progs.read_program(loaded.id)

        assert "__htab_map_lookup_elem" in program.symbols.values()
        assert "bpf_ktime_get_ns" in program.symbols.values()
        assert [map.id for map in program.maps] == [loaded.map_id]
        assert not program.loaded.notes


def test_kfuncs_and_kernel_addresses_are_named() -> None:
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import vmlinux
    from bpflens.kernel.sys.kallsyms import kallsyms

    lock, unlock = (vmlinux().find(name, Kind.FUNC) for name in ("bpf_rcu_read_lock", "bpf_rcu_read_unlock"))
    needs.kernel_feature(bool(lock and unlock), "kfuncs for RCU")
    address = kallsyms().address("jiffies") or kallsyms().address("vfs_read") or 0
    code = b"".join((
        insn(0x18, 1, 0, 0, (address & 0xFFFFFFFF) - (address << 1 & 1 << 32)), insn(0, imm=-1), insn(0x85, src=2, imm=lock or 0),
        insn(0x85, src=2, imm=unlock or 0), insn(0xB7), insn(0x95),
    ))  # fmt: skip
    fd = load_program(code, 31, flags=1 << 4, name="bpflens_kfunc")
    try:
        program = progs.read_program_fd(fd, "x")
        assert {"bpf_rcu_read_lock", "bpf_rcu_read_unlock"} <= set(program.symbols.values())
        assert kallsyms().address(program.symbols[0]) == address
    finally:
        os.close(fd)


def test_constants_that_are_no_address_have_no_name() -> None:
    words = b"".join(insn(0x18, 1, 0, 0, low) + insn(0, imm=high) for low, high in ((-1, -1), (-22, -1), (0, 1), (5, -1), (0, 0x7FFFFFFF)))

    assert progs.resolve_symbols(words) == {}
    assert progs.resolve_symbols(b"") == {}
    assert progs.resolve_symbols(insn(0x85, imm=12)) == {}  # tail_call keeps its number
    assert progs.resolve_symbols(insn(0x18)) == {}  # second slot missing


def test_call_without_a_target_is_hidden() -> None:
    notes: list[str] = []

    assert progs.resolve_symbols(insn(0x85), notes) == {}
    assert notes == ["call targets are hidden by the kernel: needs CAP_SYSLOG (see kernel.kptr_restrict)"]


def test_machine_code_is_the_kernels() -> None:
    with program_with_map() as loaded:
        program = progs.read_program(loaded.id, jited=True)

        (function,) = program.jited
        assert len(function.code) == program.loaded.info.jited_len
        assert function.address >> 47
        from bpflens.analysis.machine_code import listing

        lines = list(listing(program))
        assert sum(len(line.code) for line in lines) == len(function.code)
        assert {"__htab_map_lookup_elem", "bpf_ktime_get_ns"} <= {line.target for line in lines}


def test_run_statistics_and_test_run() -> None:
    with program_with_map() as loaded:
        result = run_program(loaded.fd, bytes(64), repeat=10)

        assert result.retval == 7
        assert result.duration_ns > 0
        stats, _ = bpf(cmd.ENABLE_STATS, struct.pack("=I", 0))  # BPF_STATS_RUN_TIME, for as long as the descriptor is open
        try:
            before = progs.prog_info(loaded.id).run_cnt
            run_program(loaded.fd, bytes(64), repeat=10)
        finally:
            os.close(stats)
        info = progs.prog_info(loaded.id)
        assert info.run_cnt - before == 10
        assert info.run_time_ns > 0


def test_map_elements_by_batch_and_by_key() -> None:
    fd = create_map(HASH, 4, 8, 5000, name="batch")
    try:
        expected = {struct.pack("=I", number): struct.pack("=Q", number * 3) for number in range(3000)}
        for key, value in expected.items():
            update(fd, key, value)

        assert dict(items(fd)) == expected
        assert len(list(items(fd, 10))) == 10
        assert dict(map_data._key_walk(fd, 4, 8)) == expected
        assert lookup(fd, struct.pack("=I", 5)) == struct.pack("=Q", 15)
        assert lookup(fd, struct.pack("=I", 9999)) is None
        map_data.delete(fd, struct.pack("=I", 5))
        assert lookup(fd, struct.pack("=I", 5)) is None
        with pytest.raises(NotFound):
            map_data.delete(fd, struct.pack("=I", 5))
        assert list(items(fd, 0)) == []
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("type", "key_size", "value_size", "entries", "flags", "written"),
    [
        (1, 4, 8, 8, 0, 3), (2, 4, 8, 8, 0, 8), (9, 4, 8, 8, 0, 3), (11, 8, 8, 8, 1, 3), (5, 4, 6, 8, 0, 3), (6, 4, 6, 8, 0, 8),
    ],
)  # fmt: skip
def test_types_of_maps_that_have_elements(type: int, key_size: int, value_size: int, entries: int, flags: int, written: int) -> None:
    fd = create_map(type, key_size, value_size, entries, flags=flags)
    try:
        stride = map_data.value_stride(type, value_size)
        for number in range(3):
            prefix = struct.pack("=I", 32) if type == 11 else b""
            update(fd, prefix + struct.pack("=I", number), bytes([number]) * stride)
        found = dict(items(fd))

        assert len(found) == written
        assert all(value is not None and len(value) == stride for value in found.values())
        if map_data.is_percpu(type):
            assert stride == 8 * map_data.possible_cpus()
    finally:
        os.close(fd)


def test_large_values_are_read_in_small_batches() -> None:
    fd = create_map(ARRAY, 4, 3 << 20, 5)
    try:
        assert [len(value or b"") for _, value in items(fd)] == [3 << 20] * 5
        assert len(list(items(fd, 2))) == 2
    finally:
        os.close(fd)


def test_empty_slots_are_left_out() -> None:
    with program_with_map() as loaded:
        fd = create_map(3, 4, 4, 100)
        try:
            update(fd, struct.pack("=I", 7), struct.pack("=I", loaded.fd))
            assert list(items(fd)) == [(struct.pack("=I", 7), struct.pack("=I", loaded.id))]
        finally:
            os.close(fd)


def test_freeze_and_flags() -> None:
    fd = create_map(ARRAY, 4, 4, 1, flags=1 << 7, name="frozen_one")
    try:
        freeze(fd)

        map = maps.map_by_fd(fd)
        assert map.fields["frozen"] is True
        assert flag_names(map.flags) == ["rdonly_prog"]
        with pytest.raises(KernelError):
            update(fd, bytes(4), bytes(4))
    finally:
        os.close(fd)
    assert flag_names(1 << 40 | 1) == ["no_prealloc", "0x10000000000"]


def test_refused_program_has_the_verifiers_log() -> None:
    with pytest.raises(KernelError) as caught:
        load_program(insn(0x95), SOCKET_FILTER, name="bad")
    assert "R0 !read_ok" in caught.value.log
    said = {"R0 !read_ok", "Initialize R0 on every path before this instruction."}  # Linux 7.3 ends with what to do
    assert any(line in str(caught.value) for line in said)
    assert verify(insn(0x95), SOCKET_FILTER) in said
    assert verify(RETURN_0, SOCKET_FILTER) is None

    fd, log = load_program_log(RETURN_0, SOCKET_FILTER)
    os.close(fd)
    assert "0: (b7) r0 = 0" in log
    with pytest.raises(KernelError) as caught:
        load_btf(b"\x9f\xeb\x01\x00garbage")
    assert caught.value.log


def test_long_log_gets_room() -> None:
    code = insn(0xB7, 0) + insn(0x07, 0, imm=1) * 40000 + insn(0x95)
    fd, log = load_program_log(code, SOCKET_FILTER)
    os.close(fd)

    assert len(log) > 1 << 20
    assert "40001: (95) exit" in log


def test_no_such_program() -> None:
    with pytest.raises(NotFound) as caught:
        progs.read_program(0x7FFF0000)
    assert caught.value.exit_code == 3
    with pytest.raises(NotFound):
        maps.read_map_info(0x7FFF0000)


def test_no_descriptor_leaks() -> None:
    from bpflens.targets.kernel_object import open_live

    with program_with_map() as loaded:
        progs.read_program(loaded.id)
        before = open_fds()
        for _ in range(3):
            progs.read_program(loaded.id, jited=True)
            open_live("map", str(loaded.map_id))
            open_live("name", "bpflens_test")
            open_live("fd", f"{os.getpid()}/{loaded.fd}")
            with pytest.raises(NotFound):
                open_live("link", str(0x7FFF0000))
            with pytest.raises(KernelError):
                load_program(insn(0x95), SOCKET_FILTER)
        assert open_fds() == before


def test_programs_that_come_and_go_while_they_are_read() -> None:
    from bpflens.targets.kernel_object import open_live, programs_of_map

    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            os.close(load_program(RETURN_0, SOCKET_FILTER, name="bpflens_churn"))

    threads = [threading.Thread(target=churn) for _ in range(2)]
    with program_with_map("bpflens_stay") as loaded:
        before = open_fds()
        for thread in threads:
            thread.start()
        try:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert [program.id for program in open_live("name", "bpflens_stay")] == [loaded.id]
                assert programs_of_map(loaded.map_id) == [loaded.id]
                with pytest.raises(NotFound):
                    open_live("tag", "0123456789abcdef")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert open_fds() == before

"""show and doctor on the running kernel, as root and as another user."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

import needs
from bpflens.cli.main import run
from bpflens.isa.extended.names import MAP_TYPES, PROG_TYPES
from bpflens.kernel import probes
from bpflens.kernel.maps.map_data import update
from bpflens.kernel.maps.maps import map_by_fd, map_ids
from bpflens.kernel.programs.load import create_map, load_btf, load_program
from bpflens.kernel.programs.prog_info import prog_ids
from live import attach_kinds, nobody
from live.attach_lab import Lab
from live.loaded import RETURN_0, SOCKET_FILTER, open_fds, program_with_map

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def _root() -> None:
    needs.root()


def show(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What `show` prints; 5 is as good as 0, for a container's PID 1 may not be looked at."""
    capsys.readouterr()
    assert run(["show", *argv]) in (0, 5)
    return capsys.readouterr().out


def test_program_and_map(capsys: pytest.CaptureFixture[str]) -> None:
    with program_with_map() as loaded:
        update(loaded.map_fd, struct.pack("=I", 5), struct.pack("=Q", 6))

        text = show(capsys, f"id:{loaded.id}", "--values")
        assert text.startswith(f"program {loaded.id}  socket_filter  bpflens_test  tag ")
        assert "by uid 0 (root)" in text
        assert "12 instructions after the verifier" in text
        assert f"[{os.getpid()}] fd {loaded.fd}\n" in text
        assert f"map {loaded.map_id}  hash  bpflens_map\n" in text
        assert f"used by      id:{loaded.id}\n" in text
        assert "[5] = 6\n" in text

        (record,) = (json.loads(line) for line in show(capsys, "--json", f"id:{loaded.id}").splitlines())
        assert record["program"]["id"] == loaded.id
        assert [(holder["pid"], holder["fd"]) for holder in record["program"]["holders"]] == [(os.getpid(), loaded.fd)]
        assert record["maps"][0]["id"] == loaded.map_id

        text = show(capsys, f"map:{loaded.map_id}", "--values", "--limit", "0")
        assert text.startswith(f"map {loaded.map_id}  hash  bpflens_map\n")
        assert f"program {loaded.id}  socket_filter" in text


def test_map_without_programs_and_more_elements_than_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    fd = create_map(2, 4, 4, 50, name="bpflens_lone")
    try:
        text = show(capsys, "map:bpflens_lone", "--values", "--limit", "3")

        assert text.startswith(f"map {map_by_fd(fd).id}  array  bpflens_lone\n")
        assert "[2] = 0\n" in text
        assert "[3]" not in text
        assert "--limit shows more" in text
        (record,) = (json.loads(line) for line in show(capsys, "--json", "map:bpflens_lone").splitlines())
        assert record["program"] is None
    finally:
        os.close(fd)


def test_maps_of_objects_and_queues(capsys: pytest.CaptureFixture[str]) -> None:
    with program_with_map() as loaded:
        inner = create_map(2, 4, 4, 1)
        fds = [inner, create_map(3, 4, 4, 4, name="bpflens_jumps"), create_map(13, 4, 4, 4, inner_fd=inner, name="bpflens_outer"),
               create_map(22, 0, 4, 4, name="bpflens_queue")]  # fmt: skip
        try:
            update(fds[1], struct.pack("=I", 2), struct.pack("=I", loaded.fd))
            update(fds[2], struct.pack("=I", 1), struct.pack("=I", inner))

            assert f"[2] = id:{loaded.id}\n" in show(capsys, "map:bpflens_jumps", "--values")
            assert f"[1] = map:{map_by_fd(inner).id}\n" in show(capsys, "map:bpflens_outer", "--values")
            assert "a queue has no keys" in show(capsys, "map:bpflens_queue", "--values")
        finally:
            for fd in fds:
                os.close(fd)


def test_values_with_types(capsys: pytest.CaptureFixture[str]) -> None:
    btf = load_btf(probes._INT_BTF)
    fd = create_map(1, 4, 4, 4, name="bpflens_typed", btf_fd=btf, key_type_id=1, value_type_id=1)
    try:
        update(fd, struct.pack("=i", -5), struct.pack("=i", -7))

        text = show(capsys, "map:bpflens_typed", "--values")
        assert "key          int (4 bytes)\n" in text
        assert "[-5] = -7\n" in text
    finally:
        os.close(fd)
        os.close(btf)


def test_struct_ops_and_attachments(capsys: pytest.CaptureFixture[str]) -> None:
    with Lab() as lab:
        attached = list(attach_kinds.struct_ops(lab))
        map_id = attached[0].object.split()[0]
        text = show(capsys, map_id)

        assert "struct_ops   tcp_congestion_ops, in use\n" in text
        assert f"ssthresh = id:{attached[0].prog_id}\n" in text
        program = show(capsys, f"id:{attached[0].prog_id}")
        assert "target       tcp_congestion_ops\n" in program
        assert f"attached     struct_ops {attached[0].object}" in program


def test_pins_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bpflens.kernel.pins import pin
    from bpflens.kernel.sys.syscalls import libc

    assert libc.mount(b"bpf", os.fsencode(tmp_path), b"bpf", 0, None) == 0
    try:
        with program_with_map() as loaded:
            pin(loaded.fd, str(tmp_path / "here"))
            text = show(capsys, f"id:{loaded.id}")
            assert f"{tmp_path}/here\n" in text
            os.unlink(tmp_path / "here")
    finally:
        libc.umount2(os.fsencode(tmp_path), 2)


def test_probes_agree_with_what_can_be_loaded() -> None:
    before = open_fds()

    assert probes.prog_type(SOCKET_FILTER) is True
    assert probes.prog_type(999) is False
    assert probes.map_type(1) is True
    assert probes.map_type(999) is False
    assert probes.command("list programs") is True
    assert probes.tracing("bpf_no_such_function", 28) is False
    for number in range(1, len(PROG_TYPES)):
        assert probes.prog_type(number) in (True, False)
    for number in range(1, len(MAP_TYPES)):
        assert probes.map_type(number) in (True, False)
    assert open_fds() == before


def test_probes_see_what_bpftool_sees() -> None:
    import subprocess

    done = subprocess.run([needs.tool("bpftool"), "-j", "feature", "probe", "kernel"], capture_output=True, check=True, timeout=60)
    features = json.loads(done.stdout)

    # bpftool gives neither an attach type nor a function to attach to, so these types look missing to it
    blind = {"ext", "lsm", "struct_ops", "tracing", "syscall", "sk_lookup", "netfilter"}
    for number, name in PROG_TYPES.items():
        known = features["program_types"].get(f"have_{name}_prog_type")
        if number and known is not None and name not in blind:
            assert probes.prog_type(number) is known, name
    for number, name in MAP_TYPES.items():
        known = features["map_types"].get(f"have_{name}_map_type")
        if number and known is not None and name != "struct_ops":
            assert probes.map_type(number) is known, name


def test_doctor_as_root_leaves_nothing_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    def names() -> set[str]:
        return {f"prog {id}" for id in prog_ids()} | {f"map {id}" for id in map_ids()}

    before, fds = names(), open_fds()
    assert run(["--json", "doctor"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert open_fds() == fds
    assert not [name for name in names() - before if "bpflens_probe" in name]
    assert all(record["schema"] == "doctor/1" for record in records)
    found = {(record["group"], record["name"]): record["present"] for record in records}
    assert found["capabilities", "CAP_SYS_ADMIN"] is True
    assert found["bpf(2)", "list programs"] is True
    assert found["kernel", "program types"] is True


def test_doctor_as_another_user() -> None:
    done = nobody.bpflens("doctor")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "no   CAP_SYS_ADMIN" in done.stdout
    assert "without it: " in done.stdout

    records = [json.loads(line) for line in nobody.bpflens("--json", "doctor").stdout.splitlines()]
    found = {record["name"]: record for record in records}
    assert found["list programs"]["present"] is None
    assert all(record["lost"] and record["get"] for record in records if record["group"] == "capabilities")


def test_refused_load_of_a_probe_is_told_from_a_missing_privilege() -> None:
    fd = load_program(RETURN_0, SOCKET_FILTER)
    os.close(fd)
    assert probes._may_load() is True

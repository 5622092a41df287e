"""save, restore, verify, export, diff as a user runs them: exit codes, streams, files, refusals; programs with maps and a link."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.maps.map_data import lookup, update
from bpflens.kernel.pins import opened_pin
from bpflens.kernel.programs.load import create_map, load_btf, load_program, run_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from live import nobody
from live.snapshot_lab import INT, INT_BTF, LONG, SnapshotLab, id_of, pinned_files, remove_pins, snapshot_lab
from live.snapshot_scene import counting

pytestmark = pytest.mark.live
BPFLENS = [sys.executable, "-m", "bpflens"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SnapshotLab]:
    needs.root()
    with snapshot_lab(tmp_path) as made:
        yield made


def run(*arguments: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*BPFLENS, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode in codes, (arguments, done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def counter(lab: SnapshotLab) -> tuple[int, int]:
    """(program, map) descriptors: a classifier that counts runs in a typed hash, both pinned."""
    btf = lab.fd(load_btf(INT_BTF))
    map = lab.fd(create_map(1, 4, 8, 16, name="counts", btf_fd=btf, key_type_id=INT, value_type_id=LONG))
    update(map, struct.pack("=i", -3), struct.pack("=q", 41))
    program = lab.fd(load_program(counting(map, -3, 0), 3, name="counter"))
    lab.pin(program, "prog")
    lab.pin(map, "map")
    return program, map


def test_from_save_to_verify(lab: SnapshotLab, tmp_path: Path) -> None:
    program, _ = counter(lab)
    file = str(tmp_path / "x.bpfsnap")
    then = f"{lab.prefix}/then"

    saved = run("save", f"pin:{then}", "-o", file, codes=(0, 5))
    assert "1 program, 1 map" in saved.stdout
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert run("verify", file).stdout.splitlines()[-1] == "2 same"

    run_program(program, bytes(64))
    changed = run("verify", file, codes=(1,))
    assert "1 changed of 1 entries" in changed.stdout
    records = [json.loads(line) for line in run("--json", "verify", file, codes=(1,)).stdout.splitlines()]
    assert {(record["kind"], record["status"]) for record in records} == {("program", "same"), ("map", "changed")}
    assert all(record["schema"] == "verify/1" for record in records)
    metrics = run("verify", file, "--openmetrics", codes=(1,)).stdout
    assert metrics.endswith("# EOF\n")
    assert 'kind="map",status="changed"} 1' in metrics

    lab.unload()
    assert "2 missing" in run("verify", file, codes=(1,)).stdout
    plan = run("restore", file)
    assert "nothing was changed" in plan.stderr
    assert pinned_files(then) == []
    restored = run("restore", file, "--apply")
    assert "same: program" in restored.stdout
    assert len(pinned_files(then)) == 2
    assert run("verify", file).stdout.splitlines()[-1] == "2 same"


def test_what_is_there_is_not_touched_unless_told(lab: SnapshotLab, tmp_path: Path) -> None:
    counter(lab)
    file = str(tmp_path / "x.bpfsnap")
    then = f"{lab.prefix}/then"
    run("save", f"pin:{then}", "-o", file, codes=(0, 5))
    with opened_pin(f"{then}/map") as fd:
        update(fd, struct.pack("=i", -3), struct.pack("=q", 1000))
        old = id_of(fd)

    plan = run("restore", file, codes=(1,))
    assert f"{then}/map exists (map {old}): --reuse-maps uses it" in plan.stdout
    assert f"{then}/prog exists (program" in plan.stdout
    assert "--apply will refuse: 2 things are in the way (--replace or --pin-prefix helps; --reuse-maps" in plan.stderr
    plan = run("restore", file, "--replace")
    assert "in the way" not in plan.stdout
    assert f"will be replaced:\n  map {old}, pinned at {then}/map\n  program " in plan.stdout
    assert "--apply does it" in plan.stderr
    plan = run("restore", file, "--reuse-maps", codes=(1,))
    assert f"use the map that is pinned at {then}/map" in plan.stdout
    assert f"in the way:\n  {then}/prog exists" in plan.stdout
    assert "1 thing is in the way (--replace or --pin-prefix helps)" in plan.stderr
    records = [json.loads(line) for line in run("--json", "restore", file, codes=(1,)).stdout.splitlines()]
    assert [record["helps"] for record in records if record["record"] == "conflict"] == [
        ["--reuse-maps", "--replace", "--pin-prefix"], ["--replace", "--pin-prefix"]
    ]  # fmt: skip

    refused = run("restore", file, "--apply", codes=(4,))
    assert "is not restored over what is there" in refused.stderr
    assert refused.stderr.count("\n") == 2
    with opened_pin(f"{then}/map") as fd:
        assert id_of(fd) == old

    run("restore", file, "--apply", "--reuse-maps", "--replace")
    with opened_pin(f"{then}/map") as fd, opened_pin(f"{then}/prog") as program:
        assert id_of(fd) == old
        assert lookup(fd, struct.pack("=i", -3)) == struct.pack("=q", 1000)
        run_program(program, bytes(64))
        assert lookup(fd, struct.pack("=i", -3)) == struct.pack("=q", 1001)

    run("restore", file, "--apply", "--replace")
    with opened_pin(f"{then}/map") as fd:
        assert id_of(fd) != old
        assert lookup(fd, struct.pack("=i", -3)) == struct.pack("=q", 41)
    assert sorted(os.path.basename(path) for path in pinned_files(then)) == ["map", "prog"]


def test_a_map_that_is_pinned_twice_is_reused_once(lab: SnapshotLab, tmp_path: Path) -> None:
    """Both pins stay; a map of another shape is refused before anything is made."""
    map = lab.fd(create_map(1, 4, 8, 16, name="twice"))
    lab.pin(map, "a")
    lab.pin(map, "b")
    file, then = str(tmp_path / "x.bpfsnap"), f"{lab.prefix}/then"
    run("save", f"pin:{then}", "-o", file, codes=(0, 5))
    run("restore", file, "--apply", "--reuse-maps")
    os.unlink(f"{then}/a")
    lab.pin(lab.fd(create_map(1, 4, 4, 16, name="other")), "a")
    plan = run("restore", file, "--reuse-maps", codes=(1,))
    assert "cannot be made: map " in plan.stdout
    assert "another shape" in plan.stdout
    os.unlink(f"{then}/a")
    os.makedirs(f"{then}/a")
    assert "is a directory" in run("restore", file, "--replace", codes=(1,)).stdout


def test_exports(lab: SnapshotLab, tmp_path: Path) -> None:
    counter(lab)
    file = str(tmp_path / "x.bpfsnap")
    run("save", f"pin:{lab.prefix}/then", "-o", file, codes=(0, 5))

    assert run("export", f"{file}#map:counts", "--format", "csv").stdout == "key,value\n-3,41\n"
    (record,) = [json.loads(line) for line in run("export", f"{file}#map:counts").stdout.splitlines()]
    assert (record["key"], record["value"], record["raw_key"]) == (-3, 41, "fdffffff")
    ours = json.loads(run("export", f"{file}#map:counts", "--format", "bpftool").stdout)
    command = [needs.tool("bpftool"), "-j", "map", "dump", "pinned", f"{lab.prefix}/then/map"]
    assert ours == json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    run("export", f"{file}#counter", "-o", str(tmp_path / "x.o"))
    os.makedirs(f"{lab.prefix}/object", exist_ok=True)
    command = [needs.tool("bpftool"), "prog", "load", str(tmp_path / "x.o"), f"{lab.prefix}/object/p"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_parquet(lab: SnapshotLab, tmp_path: Path) -> None:
    counter(lab)
    file = str(tmp_path / "x.bpfsnap")
    run("save", f"pin:{lab.prefix}/then", "-o", file, codes=(0, 5))
    done = run("export", f"{file}#map:counts", "--format", "parquet", "-o", str(tmp_path / "x.parquet"), codes=(0, 4))
    if done.returncode == 4:
        assert "pyarrow is not installed" in done.stderr
        return
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist() == [{"key": -3, "value": 41}]


def test_secrets_stay_out(lab: SnapshotLab, tmp_path: Path) -> None:
    program, _ = counter(lab)
    target = f"id:{prog_info_by_fd(program).id}"
    for option in (["--no-data"], ["--redact", "counts"]):
        record = json.loads(run("--json", "save", target, "-o", str(tmp_path / "x"), *option, codes=(0, 5)).stdout)
        assert record["maps"][0]["entries"] is None
        assert "on request" in record["maps"][0]["why_no_data"]
        assert struct.pack("=q", 41) not in (tmp_path / "x").read_bytes()


def test_a_quiesced_map_holds_still(lab: SnapshotLab, tmp_path: Path) -> None:
    from live.attach_lab import Lab

    with Lab() as machine:
        path = machine.cgroup("q")
        group = machine.fd(os.open(machine.cgroup_mount + path, os.O_RDONLY))
        map = lab.fd(create_map(2, 4, 8, 1, name="quiet"))
        code = f"r1 = map[fd:{map}]\nr0 = 1\nexit"
        prog = lab.fd(load_program(assemble(code, "kernel"), 8, expected_attach_type=1, name="bl_quiet"))
        link = machine.link(prog, group, "cgroup_inet_egress")
        id = prog_info_by_fd(prog).id

        record = json.loads(run("--json", "save", f"id:{id}", "-o", str(tmp_path / "x"), "--quiesce", codes=(0, 5)).stdout)

        assert record["maps"][0]["consistency"] == "quiesced"
        from bpflens.kernel.attachments.links import link_by_fd

        assert link_by_fd(link).prog_id == id
        assert not [name for name in os.listdir("/sys/fs/bpf") if name.startswith(f"bpflens-quiesce-{os.getpid()}")]


def test_a_link_gets_the_restored_program_at_once(lab: SnapshotLab, tmp_path: Path) -> None:
    """--replace: the link stays, another program is in it; where a later step fails, the former one comes back."""
    from bpflens.errors import BpflensError
    from bpflens.kernel.attachments.links import link_by_fd
    from bpflens.kernel.sys import faults
    from live.attach_lab import Lab

    with Lab() as machine:
        path = machine.cgroup("r")
        group = machine.fd(os.open(machine.cgroup_mount + path, os.O_RDONLY))
        prog, id = machine.load("cgroup_skb", "cgroup_inet_egress", "r0 = 1\nexit", name="bl_replaced")
        link = machine.link(prog, group, "cgroup_inet_egress")
        lab.pin(link, "link")
        saved = lab.save(f"pin:{lab.prefix}/then", hashes=False)
        link_id = link_by_fd(link).id

        with faults.counting() as names:
            restored, _ = lab.restore(saved.path, pin_prefix=None, replace=True)
        assert link_by_fd(link).prog_id == restored.programs[id] != id
        assert restored.links == {link_id: link_id}
        now = link_by_fd(link).prog_id
        with faults.failing(len(names) - 1), pytest.raises((BpflensError, OSError)):
            lab.restore(saved.path, pin_prefix=None, replace=True)
        assert link_by_fd(link).prog_id == now
        assert not [name for name in os.listdir("/sys/fs/bpf") if name.startswith("bpflens-old-")]


def test_writers_are_frozen_and_thawed(lab: SnapshotLab, tmp_path: Path) -> None:
    from live.attach_lab import Lab

    map = lab.fd(create_map(2, 4, 8, 1, name="frozen_by"))
    with Lab() as machine:
        path = machine.cgroup("w")
        directory = machine.cgroup_mount + path
        sleeper = subprocess.Popen(["sleep", "60"])
        try:
            Path(f"{directory}/cgroup.procs").write_text(str(sleeper.pid))
            done = run("save", f"map:{id_of(map)}", "-o", str(tmp_path / "x"), "--freeze", path, codes=(0, 5))
            assert "not stopped" not in done.stderr
            assert "frozen 0" in Path(f"{directory}/cgroup.events").read_text()
            assert "no such cgroup" in run("save", f"map:{id_of(map)}", "-o", "y", "--freeze", "/nosuch", codes=(3,)).stderr
        finally:
            sleeper.kill()
            sleeper.wait()


def test_classic_filters_of_tc(lab: SnapshotLab, tmp_path: Path) -> None:
    from bpflens.errors import KernelError
    from live.attach_lab import Lab

    needs.tool("tc")
    with Lab() as machine:
        code = "1,6 0 0 7,"
        with machine.inside("a"):
            machine.run("tc", "qdisc", "add", "dev", "v1", "clsact")
            place = ("dev", "v1", "ingress", "prio", "5", "protocol", "ip")
            machine.run("tc", "filter", "add", *place, "bpf", "bytecode", code, "flowid", "1:2")
            before = machine.run("tc", "filter", "show", "dev", "v1", "ingress")
        file = str(tmp_path / "x.bpfsnap")
        run("save", f"dev:v1@{machine.name}a", "-o", file, codes=(0, 5))
        assert "ret      #7" in run("dis", file).stdout
        assert run("verify", file).stdout.splitlines()[-1] == "1 same"
        plan = run("restore", file, codes=(1,))
        assert "in the way:\n  tc/ingress at dev:v1 exists (a filter): --replace puts" in plan.stdout
        assert "1 thing is in the way (--replace or --no-attach helps)" in plan.stderr
        assert "will be replaced:\n  a filter, tc/ingress at dev:v1\n" in run("restore", file, "--replace").stdout
        with pytest.raises(KernelError, match="is not restored over what is there: tc/ingress at dev:v1 exists"):
            lab.restore(file)
        with machine.inside("a"):
            machine.run("tc", "qdisc", "del", "dev", "v1", "clsact")
        assert "1 missing" in run("verify", file, codes=(1,)).stdout
        lab.restore(file)
        with machine.inside("a"):
            assert machine.run("tc", "filter", "show", "dev", "v1", "ingress") == before


def test_signatures(lab: SnapshotLab, tmp_path: Path) -> None:
    keygen = needs.tool("ssh-keygen")
    counter(lab)
    key = tmp_path / "key"
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "signers").write_text(f"me@here {(tmp_path / 'key.pub').read_text()}")
    file = str(tmp_path / "x.bpfsnap")
    run("save", f"pin:{lab.prefix}/then", "-o", file, "--sign", str(key), codes=(0, 5))
    check = ["verify", file, "--only-file", "--signers", str(tmp_path / "signers"), "--identity"]

    assert "as it was written" in run(*check, "me@here").stdout
    assert "signature is not good" in run(*check, "you@there", codes=(3,)).stderr
    content = bytearray((tmp_path / "x.bpfsnap").read_bytes())
    content[-1] ^= 1
    (tmp_path / "x.bpfsnap").write_bytes(content)
    run(*check, "me@here", codes=(3,))


REFUSED = {
    "save": (["save"], 2),
    "save both": (["save", "id:1", "--all", "-o", "/nowhere/x"], 2),
    "save nothing": (["save", "id:4294967290", "-o", "x"], 3),
    "save a file": (["save", "x.o", "-o", "x"], 2),
    "restore nothing": (["restore"], 2),
    "restore a directory": (["restore", "/"], 3),
    "restore another zip": (["restore", "/etc/passwd"], 3),
    "a bad pair": (["restore", "x", "--dev", "eth0"], 2),
    "verify nothing": (["verify", "nosuch"], 3),
    "export without a part": (["export", "x"], 2),
    "signers without identity": (["verify", "x", "--signers", "y"], 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_one_line(name: str, tmp_path: Path) -> None:
    needs.root()
    arguments, code = REFUSED[name]
    done = subprocess.run([*BPFLENS, *arguments], capture_output=True, text=True, cwd=tmp_path)

    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("bpflens: error: ")
    assert len(done.stderr.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_nobody_reads_a_snapshot(lab: SnapshotLab, tmp_path: Path) -> None:
    """Reading needs no privilege, only the file."""
    counter(lab)
    file = tmp_path / "x.bpfsnap"
    run("save", f"pin:{lab.prefix}/then", "-o", str(file), codes=(0, 5))
    remove_pins(f"{lab.prefix}/then")
    lab.unload()
    os.chmod(file, 0o644)
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    plan = nobody.bpflens("restore", str(file))
    assert plan.returncode == 5, plan.stdout + plan.stderr
    assert "not looked at: /sys/fs/bpf: Permission denied" in plan.stdout
    assert "missing: CAP_BPF: to make programs and maps" in plan.stdout
    assert "--apply needs CAP_BPF, CAP_NET_ADMIN, CAP_DAC_OVERRIDE" in plan.stderr
    assert nobody.bpflens("restore", str(file), "--pin-prefix", "/tmp/foo").returncode == 1
    listing, shown = nobody.bpflens("dis", str(file)), nobody.bpflens("ls", str(file))
    assert (listing.returncode, shown.returncode) == (0, 0), listing.stderr + shown.stderr
    assert "map counts" in listing.stdout
    assert "counter" in shown.stdout


def test_every_reading_verb_takes_one_program_by_name(lab: SnapshotLab, tmp_path: Path) -> None:
    """A snapshot is no object file: a program of it is its own object, with the maps by their names, and `tree` reads tail-call maps."""
    program, _ = counter(lab)
    other = lab.fd(load_program(assemble("r0 = 0\nexit", "kernel"), 3, name="other"))
    jumps = lab.fd(create_map(3, 4, 4, 2, name="jumps"))
    update(jumps, bytes(4), program.to_bytes(4, "little"))
    lab.pin(other, "other")
    lab.pin(lab.fd(load_program(assemble(f"r1 = map[fd:{jumps}]\nr0 = 0\nexit", "kernel"), 3, name="jumper")), "jumper")
    file = str(tmp_path / "x.bpfsnap")
    run("save", f"pin:{lab.prefix}/then", "-o", file, codes=(0, 5))
    lab.unload()

    assert "Map counts (hash)" in run("explain", f"{file}#counter").stdout
    assert "} counts SEC(" in run("decompile", f"{file}#counter").stdout
    assert "map counts" in run("dis", f"{file}#counter").stdout
    assert "exact" in run("original", f"{file}#counter").stdout
    assert run("explain", f"{file}#other").stdout.count("\n") < 6
    tree = run("tree", file).stdout
    refused = run("map", "dump", f"{file}#map:counts", codes=(2,))
    assert f"bpflens export {file}#map:NAME" in refused.stderr
    assert "jumps  prog_array" in tree and tree.count("counter") >= 2

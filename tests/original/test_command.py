"""The verb `original`: text, JSON, objects, dumps from elsewhere; nothing that it loads stays loaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import needs
from bpflens.cli.main import run
from bpflens.kernel.programs.prog_info import prog_ids, prog_info
from bpflens.original.image.tag import tags
from original.load import loaded
from original.matrix import ROWS

pytestmark = pytest.mark.live

CLASSIFIER = next(row for row in ROWS if row.name == "calls across grown code")
DEAD = next(row for row in ROWS if row.name == "branch never taken")
LOOK_UP = next(row for row in ROWS if row.name == "array look-up")


def words(code):
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]


def record(capsys, *args):
    code = run(["--json", "original", *args])
    said = capsys.readouterr()
    assert said.out, said.err
    return code, json.loads(said.out)


def test_json_has_the_instructions_and_their_grade(capsys):
    with loaded(CLASSIFIER) as program:
        code, found = record(capsys, f"id:{program.id}")

    assert code == 0
    assert found["schema"] == "original/1"
    assert (found["id"], found["tag"], found["grade"]) == (program.id, program.tag, "exact")
    assert bytes.fromhex(found["insns"]) == program.code
    assert "skb->ifindex" in [name for _, _, _, name in found["rewrites"]]


def test_removed_code_is_equivalent_and_said(capsys):
    with loaded(DEAD) as program:
        code, found = record(capsys, f"id:{program.id}")

    assert code == 0
    assert found["grade"] == "equivalent"
    assert "removed" in found["reason"]
    assert found["removed"]["verified_insns"][0] > found["removed"]["verified_insns"][1]
    assert program.tag not in tags(words(bytes.fromhex(found["insns"])))


def test_without_reload_nothing_is_loaded_and_nothing_claimed(capsys):
    with loaded(DEAD) as program:
        newest = max(prog_ids())
        code, found = record(capsys, f"id:{program.id}", "--no-reload")

    assert code == 1
    assert found["grade"] == "unproven"
    assert newest == program.id or newest > program.id  # ids only grow: the program that was asked about is among them


def test_text_is_assembled_to_the_same_bytes(capsys, tmp_path):
    with loaded(CLASSIFIER) as program:
        assert run(["original", f"id:{program.id}"]) == 0
        listing = capsys.readouterr().out

    assert f"; exact: its tag (SHA-256) is {program.tag}" in listing or f"; exact: its tag (SHA-1) is {program.tag}" in listing
    from bpflens.isa.extended.asm import assemble

    assert assemble(listing) == program.code


def test_side_by_side_names_every_rewrite(capsys):
    with loaded(LOOK_UP) as program:
        assert run(["original", f"id:{program.id}", "--side-by-side"]) == 0
        text = capsys.readouterr().out

    assert "call bpf_map_lookup_elem#1" in text
    assert "; inlined map_lookup_elem (array)" in text
    right = [line.split("|", 1)[1] for line in text.splitlines() if "|" in line]
    image_slots = [side.split(":")[0].strip() for side in right if ":" in side]
    assert image_slots == sorted(image_slots, key=int)


OBJECT_ROWS = [row for row in ROWS if row.type != "struct_ops" and "map[idx" not in row.text and "{arena}" not in row.text]


@pytest.mark.parametrize("row", OBJECT_ROWS, ids=lambda row: f"{row.row} {row.name}")
def test_the_object_loads_and_has_the_tag(row, tmp_path, capsys):
    bpftool = needs.tool("bpftool")
    path, pin = tmp_path / "x.o", f"/sys/fs/bpf/bpflens-test-{os.getpid()}"
    with loaded(row) as program:
        assert run(["original", f"id:{program.id}", "-o", str(path)]) == 0
        try:
            done = subprocess.run([bpftool, "prog", "load", path, pin], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            shown = subprocess.run([bpftool, "-j", "prog", "show", "pinned", pin], capture_output=True, text=True)
        finally:
            if os.path.exists(pin):
                os.unlink(pin)
    if row.grade == "exact":
        assert json.loads(shown.stdout)["tag"] == program.tag


def test_rules_of_a_kernel_invert_its_dumps(tmp_path, capsys):
    bpftool = needs.tool("bpftool")
    rules = tmp_path / "kernel.json"
    assert run(["original", "--export-templates", str(rules)]) == 0
    with loaded(CLASSIFIER) as program:
        for name, option in (("dump.json", ["-j"]), ("dump.txt", []), ("dump.bin", [])):
            dump = tmp_path / name
            command = [bpftool, *option, "prog", "dump", "xlated", "id", str(program.id)]
            if name == "dump.bin":
                subprocess.run([*command, "file", dump], check=True)
            else:
                dump.write_bytes(subprocess.run([*command, "opcodes"], check=True, capture_output=True).stdout)
        tag = program.tag
    capsys.readouterr()
    for name in ("dump.json", "dump.txt", "dump.bin"):
        code, found = record(capsys, "--templates", str(rules), "--type", "sched_cls", "--tag", tag, str(tmp_path / name))
        assert (code, found["grade"]) == (0, "exact"), found["reason"]
        assert bytes.fromhex(found["insns"]) == program.code


@pytest.mark.parametrize(
    ("args", "code"),
    (
        (["id:0"], 3),
        (["id:4294967295"], 3),
        (["pcap:tcp"], 3),
        ([], 2),
        (["--templates", "/nonexistent", "id:1"], 2),
        (["--type", "frob", "id:1"], 2),
        (["id:1", "--objects", "/nonexistent"], 3),
        (["--tag", "frob", "dump"], 2),
        (["--tag", "0123456789abcde", "dump"], 2),
        (["--budget", "nan", "id:1"], 2),
        (["--budget=-1", "id:1"], 2),
    ),
)
def test_errors_are_one_line(args, code, capsys):
    got = run(["original", *args])
    said = capsys.readouterr().err

    assert got == code, said
    assert said.startswith("bpflens: error: ")
    assert "internal" not in said


def test_several_programs_do_not_go_into_one_object(tmp_path, capsys):
    path = tmp_path / "x.o"
    with loaded(CLASSIFIER) as one, loaded(DEAD) as other:
        assert run(["original", f"id:{one.id}", f"id:{other.id}", "-o", str(path)]) == 2

    assert "do not go into one file" in capsys.readouterr().err
    assert not path.exists()


def test_rules_from_elsewhere_are_not_for_live_programs(tmp_path, capsys):
    rules = tmp_path / "kernel.json"
    rules.write_text("{}")
    with loaded(CLASSIFIER) as one:
        for option, value in (("--templates", str(rules)), ("--type", "xdp"), ("--tag", "0123456789abcdef")):
            assert run(["original", option, value, f"id:{one.id}"]) == 2  # it would have no effect

    assert "runs in this kernel" in capsys.readouterr().err


def test_objects_are_files_or_directories(tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with loaded(DEAD) as one:
        assert run(["original", f"id:{one.id}", "--objects", str(pipe)]) == 3

    assert "neither a file nor a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    (
        {"functions": []}, {"btf_ids": {"a": "x"}}, {"contexts": {"3": [["R", 0, 4, 0, "a"]]}}, {"contexts": {"x": []}},
        {"sockets": {"sock": [["Q", 0, 4, 0, 1]]}}, {"algorithm": "md5"}, {"algorithm": 7},
    ),
)  # fmt: skip
def test_malformed_rules_are_said(change, tmp_path, capsys):
    rules, dump = tmp_path / "kernel.json", tmp_path / "dump"
    record = {"schema": "templates/1", "functions": {}, "btf_ids": {}, "contexts": {}, "sockets": {}, "algorithm": "sha256"}
    rules.write_text(json.dumps({**record, **change}))
    dump.write_bytes(bytes.fromhex("b7000000000000009500000000000000"))

    assert run(["original", "--templates", str(rules), "--type", "xdp", "--tag", "0123456789abcdef", str(dump)]) == 3
    assert capsys.readouterr().err.startswith(f"bpflens: error: {rules}: is malformed")


def test_nothing_stays_loaded_even_when_interrupted():
    """Programs with the tag of the one that is asked about: only that one afterwards."""
    with loaded(DEAD) as program:
        command = [sys.executable, "-m", "bpflens", "original", f"id:{program.id}"]
        for delay in (0.02, 0.05, 0.08, 0.11, 0.2, 1.0):
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            child.send_signal(signal.SIGINT)
            child.wait()
        deadline = time.monotonic() + 2  # the kernel frees programs a moment after their last descriptor is closed
        while (found := _like(program)) != [program.id] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found == [program.id]


def test_descriptors_are_closed():
    from bpflens.original.recover import recover

    with loaded(LOOK_UP) as program:
        recover(program.id)
        before = sorted(os.listdir("/proc/self/fd"))
        recover(program.id)
        with loaded(DEAD) as other:
            recover(other.id)
        assert sorted(os.listdir("/proc/self/fd")) == before


def _like(program):
    reconstruction = {program.tag}
    found = []
    for id in prog_ids():
        try:
            info = prog_info(id)
        except Exception:
            continue
        if info.tag in reconstruction:
            found.append(id)
    return found

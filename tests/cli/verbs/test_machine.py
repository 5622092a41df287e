"""The verbs on extended programs, on the machine and on snapshots: what they print, their exit codes, what they refuse."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpflens import library
from bpflens.cli.listing import Summariser, report
from bpflens.cli.verbs import decompile, export, ls, ls_watch, original, record, restore, save, show, tree, verify
from bpflens.cli.verbs import map as map_verb
from bpflens.errors import InputError, NotFound, UsageError
from bpflens.inventory.facts.records import Denial, Inventory, InventoryRow
from bpflens.inventory.select import Selection
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.kernel.attachments.attach import raw_tracepoint_open
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.map_data import lookup, update
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from cli.verbs.calls import Calls
from live.loaded import lookup_code

EXTENDED = "b700000001000000 9500000000000000"


@pytest.fixture
def machine() -> Iterator[tuple[int, int, int]]:
    """(program id, map id, descriptor of the map) of a program at a tracepoint, which uses the map."""
    fds = [create_map(MapType.HASH, 4, 8, 10, name="bl_counts")]
    try:
        update(fds[0], struct.pack("=I", 5), struct.pack("=Q", 50))
        fds.append(load_program(lookup_code(fds[0]), ProgType.RAW_TRACEPOINT, name="bl_verbs"))
        fds.append(raw_tracepoint_open(fds[-1], "sched_process_exit"))
        yield prog_info_by_fd(fds[1]).id, map_by_fd(fds[0], types=False).id or 0, fds[0]
    finally:
        close(*reversed(fds))


def records(verbs: Calls) -> list[dict[str, object]]:
    return [json.loads(line) for line in verbs.out.splitlines()]


# --- extended programs ---


def test_decompile(verbs: Calls, tmp_path: Path) -> None:
    assert verbs.call(decompile, "-", stdin=EXTENDED) == 0 and "return 1;" in verbs.out
    assert verbs.call(decompile, "-", "-o", str(tmp_path / "x.c"), stdin=EXTENDED) == 0
    assert "return 1;" in (tmp_path / "x.c").read_text()
    with pytest.raises(UsageError, match="2 targets do not go into one file"):
        verbs.call(decompile, "a", "b", "-o", "x")
    with pytest.raises(InputError, match="classic code, which has no C"):
        verbs.call(decompile, "pcap:ip")
    with pytest.raises(InputError, match='no function "nothing"'):
        verbs.call(decompile, "-", "--function", "nothing", stdin=EXTENDED)


@pytest.mark.live
def test_original(verbs: Calls, machine: tuple[int, int, int], tmp_path: Path) -> None:
    """Exact by its tag; as an object; options that go with nothing."""
    id = machine[0]
    assert verbs.call(original, f"id:{id}", "--no-reload", json=True) == 0 and records(verbs)[0]["grade"] == "exact"
    assert verbs.call(original, f"id:{id}", "--side-by-side") == 0 and " | " in verbs.out
    assert verbs.call(original, f"id:{id}", "-o", str(tmp_path / "x.o")) == 0 and (tmp_path / "x.o").read_bytes()[:4] == b"\x7fELF"
    for argv, message in (
        ((), "no TARGET"), ((f"id:{id}", "--tag", "xyz"), "is no tag"), ((f"id:{id}", "--budget", "-1"), "is no number of steps"),
        ((f"id:{id}", "-S", "--side-by-side"), "has no effect"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            verbs.call(original, *argv)


@pytest.mark.live
def test_show(verbs: Calls, machine: tuple[int, int, int]) -> None:
    id, map_id, _ = machine
    assert verbs.call(show, f"id:{id}", "--no-attachments", json=True) == 0
    assert [record["schema"] for record in records(verbs)] == ["show/1"]
    assert verbs.call(show, f"map:{map_id}", "--values", "--no-attachments") == 0 and "[5] = 50" in verbs.out
    with pytest.raises(UsageError, match="is a number from 0"):
        verbs.call(show, "x", "--limit", "-1")


# --- maps ---


@pytest.mark.live
def test_map(verbs: Calls, machine: tuple[int, int, int]) -> None:
    """Listed, dumped, changed only with --apply."""
    _, id, fd = machine
    assert verbs.call(map_verb, "dump", str(id), json=True) == 0 and records(verbs)[0]["value"] == 50
    assert verbs.call(map_verb, "get", str(id), "5") == 0 and "50" in verbs.out
    assert verbs.call(map_verb, "set", str(id), "5", "51") == 0 and lookup(fd, struct.pack("=I", 5), 8) == struct.pack("=Q", 50)
    assert verbs.call(map_verb, "set", str(id), "5", "51", "--apply") == 0 and lookup(fd, struct.pack("=I", 5), 8) == struct.pack("=Q", 51)
    with pytest.raises(NotFound, match="no element 6"):
        verbs.call(map_verb, "get", str(id), "6")
    for argv, message in (
        (("get", str(id)), "takes 2 arguments"), (("get", str(id), "5", "--apply"), "has no effect on map get"),
        (("dump", str(id), "--limit", "-1"), "is a number from 0"), (("ls", "--sort", "nothing"), "is none of"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            verbs.call(map_verb, *argv)


# --- the machine ---


@pytest.mark.live
def test_ls_and_tree(verbs: Calls, machine: tuple[int, int, int]) -> None:
    id, map_id, _ = machine
    assert verbs.call(ls, f"id:{id}", "--no-deep") in (0, 5), "5 where some of the machine may not be looked at"
    assert "raw_tracepoint" in verbs.out and "sched_process_exit" in verbs.out
    assert verbs.call(ls, f"id:{id}", "--no-deep", json=True) in (0, 5)
    assert [row["kind"] for row in records(verbs)] == ["raw_tracepoint"]
    assert verbs.call(tree, f"id:{id}", "--no-deep") in (0, 5)
    assert f"{id} bl_verbs" in verbs.out and f"map {map_id} bl_counts" in verbs.out
    for argv, message in (
        (("--limit", "-1"), "is a number from 0"), (("--baseline", "x"), "goes with --audit"), (("--effective",), "goes with cgroup"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            verbs.call(ls, *argv)


@pytest.mark.live
def test_watch(verbs: Calls, machine: tuple[int, int, int], capsys: pytest.CaptureFixture[str]) -> None:
    """A look at what is there, and the end after so many."""
    from bpflens.cli.settings import Settings

    assert ls_watch.watch(Selection([f"id:{machine[0]}"]), 0.2, 1, Settings()) == 0
    with pytest.raises(UsageError, match="polls at most every"):
        ls_watch.watch(Selection([]), 0.0001, 1, Settings())


def test_what_is_said_of_a_listing(capsys: pytest.CaptureFixture[str]) -> None:
    """What was not seen makes the exit code 5, where it concerns what was asked for."""
    denied = [Denial("sockets", "CAP_SYS_PTRACE", ("socket",)), Denial("XDP", "CAP_NET_ADMIN", ("xdp",))]
    unknown = InventoryRow("fanout", "fanout:1", details={"unknown": "x"})
    found = Inventory([unknown], denied, {}, {}, ["a note"])
    assert report(found, [unknown], Selection(["socket"])) == 5
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "bpflens: note: a note" and "kernel memory tells more about 1 row" in lines[1]
    assert lines[2:] == ["bpflens: not shown: sockets: needs CAP_SYS_PTRACE"]
    assert report(found._replace(denied=[]), [], Selection(["xdp"])) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "bpflens: note: no BPF program fits xdp"


def test_summaries_of_filters() -> None:
    summarise = Summariser(as_json=True)
    assert summarise(InventoryRow("xdp", "dev:x", prog_id=12)) is None
    policy = summarise(InventoryRow("seccomp", "pid:1", classic=bytes(8)))
    assert policy is not None and policy.reason == "policy"
    found = Summariser(False)(InventoryRow("socket/packet", "sock:1", classic=struct.pack("<HBBI", 6, 0, 0, 0)))
    assert found is not None


def test_record(verbs: Calls, tmp_path: Path) -> None:
    for argv, message in ((("--ring-mib", "3"), "is a power of 2"), (("--max-mib", "0"), "are positive numbers")):
        with pytest.raises(UsageError, match=message):
            verbs.call(record, "--store", str(tmp_path), *argv)
    with pytest.raises(NotFound, match="has no loads"):
        verbs.call(record, "--store", str(tmp_path / "none"), "--list")


# --- snapshots ---


@pytest.mark.live
def test_snapshots(verbs: Calls, machine: tuple[int, int, int], tmp_path: Path) -> None:
    """Saved, planned, compared, exported; by the functions of the library too."""
    id, map_id, fd = machine
    path = str(tmp_path / "x.bpfsnap")
    assert verbs.call(save, f"id:{id}", "-o", path, "--no-reload") == 0 and f"program {id} bl_verbs" in verbs.out
    assert verbs.call(restore, path, "--no-attach") in (0, 5) and "load program" in verbs.out
    assert verbs.call(verify, path) == 0
    update(fd, struct.pack("=I", 5), struct.pack("=Q", 51))
    assert verbs.call(verify, path, json=True) == 1 and {row["status"] for row in records(verbs)} >= {"changed", "same"}
    assert verbs.call(export, f"{path}#map:{map_id}", "--format", "csv") == 0 and verbs.out.splitlines()[-1] == "5,50"
    assert library.export(path, str(map_id))[0]["value"] == 50 and {change.kind for change in library.verify(path)} >= {"map", "program"}
    for verb, argv, message in (
        (save, ("-o", path), "name targets"), (restore, (), "name a snapshot"), (restore, (path, "--dev", "x"), "is not OLD=NEW"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            verbs.call(verb, *argv)
    assert os.path.getsize(path) > 0


# --- the library ---


def test_programs_or_targets() -> None:
    """A function takes either; several programs where one is wanted are named."""
    program = library.asm("r0 = 1\nexit")
    assert "r0 = 1" in library.dis(program) and library.dis(program)._repr_html_().startswith("<pre>")
    classic = library.asm("ret #1", "classic")
    assert library.explain(classic).insns == 1 and library.explain("pcap:ip")._repr_html_().startswith("<pre>")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="is an extended"):
        library.seccomp(program)
    assert library.diff("pcap:ip", "pcap:ip and ip").equal

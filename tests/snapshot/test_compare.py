"""Two snapshots, object by object: counterparts, differences, what is new and what is gone."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bpflens.formats.snapshot.archive import Archive, ArchiveWriter
from bpflens.formats.snapshot.manifest import (
    SCHEMA,
    Manifest,
    SavedAttachment,
    SavedData,
    SavedKernel,
    SavedMap,
    SavedPin,
    SavedProgram,
)  # fmt: skip
from bpflens.snapshot import compare as compare_module
from bpflens.snapshot.compare import Change, compare


def snapshot(path: Path, programs=(), maps=(), attachments=(), data=None, boot: str = "") -> str:
    writer = ArchiveWriter(str(path))
    for name, content in (data or {}).items():
        writer.add(name, content)
    kernel = SavedKernel("6.18.0", "#1", "x86_64", "little", 2, boot_id=boot)
    parts = {"programs": tuple(programs), "maps": tuple(maps), "attachments": tuple(attachments)}
    writer.commit(Manifest(SCHEMA, "t", "", kernel, members=writer.members, **parts))
    return str(path)


def compared(a: str, b: str) -> dict[str, Change]:
    with Archive(a) as then, Archive(b) as now:
        return {f"{change.kind} {change.object.split(' (')[0]}": change for change in compare(then, now)}


def program(id: int, name: str, tag: str = "aa", **more) -> SavedProgram:
    return SavedProgram(id, name, 3, "sched_cls", tag, "exact", "", 2, "GPL", **more)


def hash_map(id: int, name: str, entries: dict[int, int] | None = None, **more) -> tuple[SavedMap, dict[str, bytes]]:
    content = b"".join(struct.pack("=II", key, value) for key, value in (entries or {}).items())
    data = SavedData(f"maps/{id}/data.bin", "records", len(entries or {}), 4, 4, "single pass")
    return SavedMap(id, name, 1, "hash", 4, 4, 16, data=data, **more), {f"maps/{id}/data.bin": content}


def test_programs(tmp_path: Path) -> None:
    pins = (SavedPin("/x"),)
    a = snapshot(tmp_path / "a", [program(1, "same"), program(2, "new_code"), program(3, "gone"), program(4, "pinned", pins=pins)])
    b = snapshot(tmp_path / "b", [program(9, "same"), program(8, "new_code", "bb"), program(7, "other", pins=pins), program(6, "n")])
    found = compared(a, b)
    assert {name: change.status for name, change in found.items()} == {
        "program 1 same": "same", "program 2 new_code": "changed", "program 3 gone": "missing", "program 4 pinned": "changed",
        "program 6 n": "new",
    }  # fmt: skip
    assert found["program 2 new_code"].differences == ("tag: aa, now bb",)


@pytest.mark.parametrize("exact", [True, False])
def test_contents(tmp_path: Path, exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted one by one where they are few; else only told to differ. The order does not matter."""
    monkeypatch.setattr(compare_module, "compared_exactly", lambda entries, record: exact)
    one, data_one = hash_map(1, "m", {1: 10, 2: 20, 3: 30})
    two, data_two = hash_map(5, "m", {3: 30, 2: 21, 4: 40})
    three, data_three = hash_map(6, "m", {3: 30, 1: 10, 2: 20})
    a, b = snapshot(tmp_path / "a", maps=[one], data=data_one), snapshot(tmp_path / "b", maps=[two], data=data_two)
    c = snapshot(tmp_path / "c", maps=[three], data=data_three)

    assert compared(a, c)["map 1 m"].status == "same"
    change = compared(a, b)["map 1 m"]
    assert change.status == "changed"
    expected = "contents: 1 changed, 1 new, 1 gone of 3 entries" if exact else "contents: 3 entries, now 3, and they differ"
    assert change.differences == (expected,)


def test_ids_in_maps_of_objects_are_mapped(tmp_path: Path) -> None:
    def jumps(id: int, target: int) -> tuple[SavedMap, dict[str, bytes]]:
        data = SavedData(f"maps/{id}/data.bin", "records", 1, 4, 4, "single pass", ids_of="programs")
        return SavedMap(id, "jumps", 3, "prog_array", 4, 4, 2, data=data), {f"maps/{id}/data.bin": struct.pack("=II", 0, target)}

    (one, data_one), (two, data_two), (three, data_three) = jumps(1, 10), jumps(2, 20), jumps(3, 21)
    programs = [program(20, "a"), program(21, "b", "bb")]
    a = snapshot(tmp_path / "a", [program(10, "a"), program(11, "b", "bb")], [one], data=data_one)
    assert compared(a, snapshot(tmp_path / "b", programs, [two], data=data_two))["map 1 jumps"].status == "same"
    assert compared(a, snapshot(tmp_path / "c", programs, [three], data=data_three))["map 1 jumps"].status == "changed"


def test_what_was_left_out_is_not_compared(tmp_path: Path) -> None:
    one, data = hash_map(1, "m", {1: 1})
    redacted = SavedMap(1, "m", 1, "hash", 4, 4, 16, why_no_data="left out on request (--redact)")
    change = compared(snapshot(tmp_path / "a", maps=[redacted]), snapshot(tmp_path / "b", maps=[one], data=data))["map 1 m"]
    assert (change.status, change.unknown) == ("same", ("contents: left out on request (--redact)",))


def test_attachments(tmp_path: Path) -> None:
    def xdp(program_id: int, mode: str = "native", **more) -> SavedAttachment:
        return SavedAttachment(f"xdp/{mode}", "dev:eth0", program_id, device="eth0", **more)

    a = snapshot(tmp_path / "a", [program(1, "p")], attachments=[xdp(1, details={"ifindex": 3})])
    b = snapshot(tmp_path / "b", [program(7, "p")], attachments=[xdp(7, details={"ifindex": 9})])
    c = snapshot(tmp_path / "c", [program(7, "p")], attachments=[xdp(7, "generic")])
    assert compared(a, b)["attachment xdp/native dev:eth0"].status == "same"
    found = compared(a, c)
    assert found["attachment xdp/native dev:eth0"].status == "missing"
    assert found["attachment xdp/generic dev:eth0"].status == "new"

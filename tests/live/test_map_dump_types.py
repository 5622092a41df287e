"""`map dump` of every map type: what it prints is what the plain interface gives; a type without a list of elements says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.cli.main import run
from bpflens.kernel.maps.map_data import items
from live.snapshot_lab import SnapshotLab, id_of, snapshot_lab
from live.test_snapshot_maps import CASES, fill, make

pytestmark = pytest.mark.live
WITHOUT_LIST = frozenset({
    "queue", "stack", "ringbuf", "user_ringbuf", "bloom_filter", "inode_storage", "perf_event_array", "xskmap", "cgroup_array",
    "arena",
})  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SnapshotLab]:
    needs.root()
    with snapshot_lab(tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", CASES)
def test_dump(name: str, lab: SnapshotLab, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    fd = make(lab, case, "bl_dump")
    fill(fd, case)

    code = run(["--json", "map", "dump", f"map:{id_of(fd)}"])

    out, said = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    if name in WITHOUT_LIST and code:
        assert (code, lines) == (4, []) and said.count("\n") == 1 and f"map {id_of(fd)}" in said
        return
    assert code == 0, said
    if "storage" in name:
        assert lines == []
        return
    there = {key.hex(): value.hex() for key, value in items(fd) if value is not None}
    assert {line["raw_key"]: line["raw_value"] for line in lines if line["raw_value"]} == there
    assert len(there) == (case.size if case.type in (2, 6) else len(there)) >= min(case.entries, 20)

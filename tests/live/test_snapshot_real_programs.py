"""Programs of libbpf-tools, xdp-tools and systemd that this kernel loads: saved, unloaded, restored; every one comes back with its tag.

With --slow all tools of the two packages; else some of them, which hold many maps, subprograms and CO-RE.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.kernel.programs.prog_info import prog_ids, prog_info
from live.real_programs import loaded_by
from live.snapshot_lab import SnapshotLab, failures, snapshot_lab
from live.test_real_programs import TOOLS, named

pytestmark = pytest.mark.live
SOME = ("biolatency", "exitsnoop", "runqlat", "tcpstates", "xdp-filter load lo -m skb", "xdp-bench drop lo -m skb")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SnapshotLab]:
    needs.root()
    with snapshot_lab(tmp_path) as made:
        yield made


def test_tools_come_back(lab: SnapshotLab, request: pytest.FixtureRequest) -> None:
    restored_tags = 0
    wrong: list[str] = []
    for tool in TOOLS if request.config.getoption("--slow") else SOME:
        name = tool.split()[0]
        if not shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            continue
        with loaded_by([needs.tool(name), *tool.split()[1:]]) as fds:
            ids = [id for _, id in named(fds)]
            if not ids:
                continue
            saved = lab.save(*(f"id:{id}" for id in ids), hashes=False)
        lab.unload(saved)
        try:
            restored, plan = lab.restore(saved.path, attach=False)
        finally:
            lab.close()
        wrong += [f"{tool}: {text}" for text in failures(restored)]
        wrong += [f"{tool}: {item.object}: {item.why}" for item in plan.left_out if item.object.startswith(("program", "map "))]
        restored_tags += sum(check.what == "tag" and check.same is True for check in restored.checks)
    assert wrong == []
    needs.kernel_feature(restored_tags > 0, "what the tools of libbpf-tools and xdp-tools need")


def test_programs_of_systemd_and_others(lab: SnapshotLab) -> None:
    """Whatever the machine itself has loaded is saved; originals that were proved are restored beside it."""
    ids = []
    for id in prog_ids():
        with contextlib.suppress(Exception):
            if prog_info(id).name.startswith("sd_"):
                ids.append(id)
    if not ids:
        needs.kernel_feature(False, "programs of systemd: it does not run here")
    saved = lab.save(*(f"id:{id}" for id in ids), hashes=False)

    restored, plan = lab.restore(saved.path, attach=False)

    assert failures(restored) == []
    assert len(restored.programs) == len(saved.manifest.programs)
    assert not [item for item in plan.left_out if item.object.startswith("program")]

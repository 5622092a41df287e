"""The commands of `ls --how-to-detach` are run: the attachment is gone."""

from __future__ import annotations

import subprocess

import pytest

import needs
from bpflens.inventory.detach import how_to_detach
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.walk import collect
from live.attach_kinds import KINDS
from live.attach_lab import Lab, Lacking

pytestmark = pytest.mark.live

MADE_BY_TOOLS = (
    "tc_classic", "tc_extended", "tc_action", "xdp", "lwt", "seg6local", "xt_bpf_legacy", "xt_bpf_legacy6", "xt_bpf_nft", "pinned",
    "prog_array", "sockmap", "cgroups", "tcx", "netfilter", "namespace_programs", "sockmap_link",
)  # fmt: skip
NOT_HERE = "or newer"  # what needs a newer bpftool than every distribution has


def place(row: InventoryRow) -> tuple[object, ...]:
    chosen = ("parent", "chain", "prio", "handle", "rule", "table")
    return (row.kind, row.object, row.netns, row.prog_id, row.classic, *(row.details.get(key) for key in chosen))


@pytest.mark.parametrize("name", MADE_BY_TOOLS)
def test_the_command_takes_it_away(name: str) -> None:
    """Row by row, the last first: rules of iptables are numbered."""
    needs.root()
    with Lab() as lab:
        try:
            attached = list(KINDS[name](lab))
        except Lacking as reason:
            needs.kernel_feature(False, f"{name}: {reason}")
        inventory = collect()
        places = {(one.kind, one.object, one.netns) for one in attached}
        rows = [row for row in inventory.rows if (row.kind, row.object, row.netns) in places]
        assert rows
        taken = []
        for row in reversed(rows):
            commands = [line for line in how_to_detach(row, inventory) if not line.startswith("#")]
            if any(NOT_HERE in line for line in commands):
                continue
            assert commands, row
            for line in commands:
                done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
                assert done.returncode == 0, (line, done.stderr)
                taken.append(place(row))
        left = {place(row) for row in collect().rows}
        assert taken and not left.intersection(taken)


@pytest.mark.parametrize("name", ["raw_tracepoint", "tp_btf", "perf_link", "uprobe_multi", "iterator"])
def test_links_that_cannot_be_detached(name: str) -> None:
    """The kernel refuses to detach them: it is said who holds them, and the pins are named."""
    needs.root()
    with Lab() as lab:
        try:
            ids = {one.prog_id for one in KINDS[name](lab)}
        except Lacking as reason:
            needs.kernel_feature(False, f"{name}: {reason}")
        inventory = collect()
        rows = [row for row in inventory.rows if row.prog_id in ids and "link" in row.details]
        assert rows
        for row in rows:
            lines = how_to_detach(row, inventory)
            assert lines and all(line.startswith(("# held by", "rm /")) for line in lines), lines
            done = subprocess.run(["bpftool", "link", "detach", "id", str(row.details["link"])], capture_output=True, timeout=60)
            assert done.returncode != 0


def test_words_where_there_is_no_command() -> None:
    """Every kind has an answer; what nobody can take away says so."""
    inventory = collect()._replace(namespaces={})
    for kind in ("socket/udp", "seccomp", "ptp_classifier", "perf_event", "held", "new/kind"):
        lines = how_to_detach(InventoryRow(kind, "sock:1"), inventory)
        assert all(line.startswith("#") for line in lines), lines

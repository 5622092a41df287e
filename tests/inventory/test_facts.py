"""Processes, order of execution, elimination and words for removal, on records made here: no kernel."""

from __future__ import annotations

import os

import pytest

from bpflens.attachment import Holder, ProgInfo
from bpflens.inventory.facts.processes import Process, _place, process
from bpflens.inventory.facts.records import Inventory, InventoryRow, NetNamespace
from bpflens.inventory.objects import name_fits, unit_fits
from bpflens.inventory.order import by_elimination, in_order
from bpflens.inventory.select import SORT_KEYS, sorted_rows
from bpflens.records.ls import json_rows
from bpflens.view.text.inventory import Layout, holder_text, table

INFO = ProgInfo._make([0] * len(ProgInfo._fields))._replace(tag="00" * 8, name="x")


@pytest.mark.parametrize(("cgroup", "expected"), (
    ("0::/system.slice/ssh.service", ("ssh.service", None)),
    ("0::/system.slice/docker-" + "a" * 64 + ".scope", ("docker-" + "a" * 64 + ".scope", "docker:" + "a" * 12)),
    ("1:name=systemd:/docker/" + "c" * 64, (None, "docker:" + "c" * 12)),
    ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + "b" * 64 + ".scope",
     ("cri-containerd-" + "b" * 64 + ".scope", "containerd:" + "b" * 12)),
    ("0::/machine.slice/libpod-" + "d" * 64 + ".scope/container", ("libpod-" + "d" * 64 + ".scope", "podman:" + "d" * 12)),
    ("0::/lxc.payload.web/x", (None, "lxc:web")),
    ("0::/", (None, None)),
    ("nonsense", (None, None)),
))  # fmt: skip
def test_units_and_containers(cgroup: str, expected: tuple[str | None, str | None]) -> None:
    assert _place(cgroup) == expected


def test_own_process() -> None:
    assert process(os.getpid()).exe == os.readlink("/proc/self/exe")
    assert process(1 << 22).exe is None


def test_a_name_that_is_not_the_executable() -> None:
    """A name may be cut at 15 characters, or be the beginning; another one is told."""
    assert not Process("/usr/sbin/systemd-networkd").is_other_than("systemd-network")
    assert not Process("/usr/bin/python3.11").is_other_than("python3")
    assert Process("/usr/bin/python3.11").is_other_than("kdmtmpflush")
    facts = {7: Process("/usr/bin/python3.11"), 8: Process("/tmp/x", deleted=True), 9: Process("/usr/bin/sshd", unit="ssh.service")}
    text = holder_text([Holder(7, "kdmtmpflush", 3), Holder(8, "master"), Holder(9, "sshd")], facts)
    assert text == "kdmtmpflush[7] is /usr/bin/python3.11 fd 3, master[8] is /tmp/x (deleted), sshd[9] of ssh.service"


def test_order_of_execution() -> None:
    """tc by chain and priority, tcx by position, seccomp the newest first; what is alone has no number."""
    rows = [
        InventoryRow("tc/ingress", "dev:a", 1, 1, details={"chain": 1, "prio": 1, "handle": 1}),
        InventoryRow("tc/ingress", "dev:a", 1, 2, details={"chain": 0, "prio": 2, "handle": 1}),
        InventoryRow("tc/ingress", "dev:a", 2, 3, details={"chain": 0, "prio": 2, "handle": 1}),
        InventoryRow("tcx/ingress", "dev:a", 1, 5, details={"position": 1}),
        InventoryRow("tcx/ingress", "dev:a", 1, 4, details={"position": 0}),
        InventoryRow("seccomp", "pid:1", classic=b"a", details={"filter": 0}),
        InventoryRow("seccomp", "pid:1", classic=b"b", details={"filter": 1}),
        InventoryRow("tcx/egress", "(its device has gone)", None, 6, details={"position": 0}),
        InventoryRow("tcx/egress", "(its device has gone)", None, 7, details={"position": 0}),
    ]
    ordered = in_order(rows)
    assert [row.prog_id for row in ordered] == [2, 1, 3, 4, 5, None, None, 6, 7]
    assert [row.details.get("order") for row in ordered] == [(1, 2), (2, 2), None, (1, 2), (2, 2), (1, 2), (2, 2), None, None]
    assert [row.classic for row in ordered[5:7]] == [b"b", b"a"]


def test_elimination() -> None:
    """One loaded program of the type is the one; two are not."""
    row = InventoryRow("lwt/in", "route:10.0.0.0/8", details={"unknown": "the kernel gives a name only"})
    one = {5: INFO._replace(id=5, type=10)}
    (found,) = by_elimination([row], one)
    assert found.prog_id == 5 and found.details == {"by_elimination": True}
    assert by_elimination([row], {**one, 6: INFO._replace(id=6, type=10)}) == [row]
    classic = row._replace(kind="fanout", details={"unknown": "x", "classic": True})
    assert by_elimination([classic], {5: INFO._replace(id=5, type=1)}) == [classic]


def test_names() -> None:
    assert name_fits("handle_a_long_name_indeed", "handle_a_long_n", "handle_a_long_name_indeed")
    assert name_fits("handle_a_long_name_indeed", "handle_a_long_n") and name_fits("handle_*", "handle_a_long_n")
    assert not name_fits("handle", "handle_a_long_n") and not name_fits("handle_a_long_name_other", "handle_a_long_n", "handle_a_long_name")
    assert unit_fits("ssh", "ssh.service", None) and unit_fits("0123", None, "docker:0123") and not unit_fits("ss", "ssh.service", None)


def inventory(rows: list[InventoryRow], programs: dict[int, ProgInfo] | None = None, names: dict[int, str] | None = None) -> Inventory:
    return Inventory(rows, [], programs or {}, {1: NetNamespace(1, (), None, True)}, [], full_names=names or {})


def test_equal_rows_are_one_line() -> None:
    """64 x cgroup/device: text groups what differs in its object only; --all and JSON do not."""
    programs = {id: INFO._replace(id=id, type=15, name="sd_devices") for id in range(1, 65)}
    rows = [InventoryRow("cgroup/device", f"cgroup:/{id}", prog_id=id) for id in programs]
    all = inventory([*rows[:40], InventoryRow("xdp", "dev:a", 1, 99), *rows[40:]], programs)
    lines = list(table(all, all.rows, lambda row: None, 0, Layout()))
    assert len(lines) == 3 and lines[1].startswith("64 x cgroup/device") and "and 63 more" in lines[1]
    assert len(list(table(all, all.rows, lambda row: None, 0, Layout(every=True)))) == 66
    assert len(list(json_rows(all, all.rows, lambda row: None))) == 65


def test_control_characters_forge_no_row() -> None:
    """Names of processes, devices and programs may hold any byte: a row stays one line without escape sequences."""
    evil = "x\n\x1b[2Jxdp/native  dev:forged\x07"
    rows = [InventoryRow("xdp", f"dev:{evil}", 1, 5, holders=(Holder(7, evil, 3),), details={"pins": [f"/sys/fs/bpf/{evil}"]})]
    lines = list(table(inventory(rows, {5: INFO._replace(id=5, name=evil)}), rows, lambda row: None, 0))
    assert len(lines) == 2 and not any(character in lines[1] for character in "\n\x1b\x07") and r"\n\x1b[2J" in lines[1]


def test_whole_names() -> None:
    info = INFO._replace(id=5, name="handle_a_long_n")
    all = inventory([InventoryRow("xdp", "dev:a", 1, 5)], {5: info}, {5: "handle_a_long_name"})
    assert "handle_a_long_name" in list(table(all, all.rows, lambda row: None, 0))[1]


def test_sorting() -> None:
    programs = {1: INFO._replace(id=1, load_time=5, run_cnt=1), 2: INFO._replace(id=2, load_time=9, run_cnt=0)}
    rows = [InventoryRow("xdp", "dev:b", 1, 1), InventoryRow("tc", "dev:a", 1, 2), InventoryRow("seccomp", "pid:1", classic=b"")]
    all = inventory(rows, programs)
    assert [row.object for row in sorted_rows(rows, all, "object")] == ["dev:a", "dev:b", "pid:1"]
    assert sorted_rows(rows, all, "age")[0].prog_id == 2 and sorted_rows(rows, all, "runs")[0].prog_id == 1
    assert all is not None and [len(sorted_rows(rows, all, key)) for key in SORT_KEYS] == [3] * len(SORT_KEYS)

"""ss, tc, iptables and bpftool on the same machine: what they show, `ls` shows too. Their faults are named where they show less."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

import pytest

import needs
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.walk import collect
from live.attach_kinds import KINDS
from live.attach_lab import Attached, Lab, Lacking

pytestmark = pytest.mark.live

ATTACH = (
    "packet", "other_sockets", "socket_ebpf", "tc_classic", "tc_extended", "xdp", "cgroups", "namespace_programs", "xt_bpf_legacy", "tcx",
    "tracepoint_ioctl", "perf_link", "raw_tracepoint", "held_by_fd", "sockmap", "prog_array", "iterator", "netfilter",
)  # fmt: skip


class Machine:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.attached: dict[str, list[Attached]] = {}
        for name in ATTACH:
            try:
                self.attached[name] = list(KINDS[name](lab))
            except Lacking:
                continue
        self.inventory: Inventory = collect()
        self.ids = {one.prog_id for several in self.attached.values() for one in several if one.prog_id}

    def rows(self, *kinds: str) -> list[InventoryRow]:
        return [row for row in self.inventory.rows if row.kind.startswith(kinds) and row.netns in (None, self.lab.spaces["a"])]

    def tool(self, *argv: str) -> str:
        """A tool's output in namespace "a"; `ip netns exec` would take the bpffs away (it mounts /sys anew)."""
        needs.tool(argv[0])
        with self.lab.inside("a"):
            return self.lab.run(*argv)

    def bpftool(self, *argv: str) -> Any:
        return json.loads(self.tool("bpftool", "-j", *argv))


@pytest.fixture(scope="module")
def machine():
    needs.root()
    with Lab() as lab:
        yield Machine(lab)


def test_ss(machine: Machine) -> None:
    """The bytes of packet sockets. Fault: nothing of any other family, and no mark where the filter is an extended program."""
    text = machine.tool("ss", "-0", "-b", "-e", "-n")
    shown = set()
    for body in re.findall(r"bpf filter \(\d+\):((?:\s+0x[0-9a-f]+ \d+ \d+ \d+,)+)", text):
        insns = [(int(code, 16), int(jt), int(jf), int(k)) for code, jt, jf, k in re.findall(r"0x([0-9a-f]+) (\d+) (\d+) (\d+)", body)]
        shown.add(b"".join(struct.pack("<HBBI", *insn) for insn in insns))
    ours = {row.classic for row in machine.rows("socket/packet") if row.classic}
    others = {row.classic for row in machine.rows("socket/") if row.classic} - ours

    assert shown == ours and len(shown) == 2
    assert len(others) == 7 and not others & shown


def test_tc(machine: Machine) -> None:
    """Bytecode of classic and ids of extended filters, hook by hook. Fault: tc has nothing of tcx."""
    for device, hook in (("v0", "ingress"), ("v0", "egress"), ("v2", "ingress"), ("v2", "egress")):
        text = machine.tool("tc", "filter", "show", "dev", device, hook)
        shown = [
            b"".join(struct.pack("<HBBI", *map(int, insn.split())) for insn in body.split(",")[1:])
            for body in re.findall(r"bytecode '([^']*)'", text)
        ]
        ids = [int(id) for id in re.findall(r"\bid (\d+)", text)]
        rows = [row for row in machine.rows(f"tc/{hook}") if row.object == f"dev:{device}"]

        assert sorted(shown) == sorted(row.classic for row in rows if row.classic)
        assert sorted(ids) == sorted(row.prog_id for row in rows if row.prog_id)
        assert rows


def test_iptables(machine: Machine) -> None:
    """The bytecode of a rule. Fault: of a pinned program only its path."""
    if "xt_bpf_legacy" not in machine.attached:
        needs.kernel_feature(False, "xt_bpf")
    text = machine.tool("iptables-legacy", "-S", "INPUT")
    body = re.findall(r'--bytecode "([^"]*)"', text)
    path = re.findall(r"--object-pinned (\S+)", text)
    shown = [b"".join(struct.pack("<HBBI", *map(int, insn.split())) for insn in one.split(",")[1:]) for one in body]
    rows = machine.rows("xt_bpf")

    assert shown == [row.classic for row in rows if row.classic]
    assert path == [row.details["path"] for row in rows if "path" in row.details]


def test_bpftool_prog(machine: Machine) -> None:
    """Every program of ours. Fault: not one classic filter."""
    shown = {one["id"]: one for one in machine.bpftool("prog", "show")}
    programs = machine.inventory.programs or {}

    assert machine.ids <= set(shown) and machine.ids <= set(programs)
    for id in machine.ids:
        assert programs[id].tag == shown[id]["tag"]
        assert programs[id].nr_map_ids == len(shown[id].get("map_ids", ()))


def test_bpftool_link(machine: Machine) -> None:
    """Every link of a program of ours is on a row of that program. Fault: no namespace; bpftool 7.1 shows new kinds as numbers."""
    checked = 0
    for link in machine.bpftool("link", "show"):
        if link.get("prog_id") not in machine.ids:
            continue
        rows = [row for row in machine.inventory.rows if row.prog_id == link["prog_id"]]
        assert any(row.details.get("link") == link["id"] or link["id"] in row.details.get("links", ()) for row in rows), link
        checked += 1
    assert checked >= 6


def test_bpftool_net(machine: Machine) -> None:
    """XDP and tc of the namespace. Faults: classic filters without code or id, no shared blocks, 7.1 without tcx, and its JSON of a flow
    dissector is not JSON.
    """
    text = machine.tool("bpftool", "-j", "net", "show")
    shown = json.loads(re.sub(r'"flow_dissector":\["id":(\d+)\]', r'"flow_dissector":[{"id":\1}]', text))[0]
    xdp = {(one["devname"], one["id"]) for one in shown["xdp"]}
    tc = {(one["devname"], one["id"]) for one in shown["tc"] if "id" in one and "tcx" not in one.get("kind", "")}

    assert xdp == {(row.object[4:], row.prog_id) for row in machine.rows("xdp/native", "xdp/generic")}
    assert tc == {(row.object[4:], row.prog_id) for row in machine.rows("tc/") if row.prog_id}
    assert {one["id"] for one in shown.get("flow_dissector", ())} <= {row.prog_id for row in machine.rows("flow_dissector")}


def test_bpftool_cgroup(machine: Machine) -> None:
    """Programs of a cgroup. Fault: 7.1 does not ask for the unix types."""
    for path in {one.object[7:] for one in machine.attached["cgroups"]}:
        shown = {one["id"] for one in machine.bpftool("cgroup", "show", machine.lab.cgroup_mount + path)}
        ours = {row.prog_id: row.kind for row in machine.rows("cgroup/") if row.object == f"cgroup:{path}"}

        assert shown <= set(ours)
        assert all(kind.startswith("cgroup/unix_") for id, kind in ours.items() if id not in shown)


def test_bpftool_perf(machine: Machine) -> None:
    """Programs on perf events by ioctl. Fault: hardware and software events, for which the kernel has no answer."""
    shown = {one["prog_id"] for one in machine.bpftool("perf", "show") if one.get("prog_id") in machine.ids}
    ours = {row.prog_id for row in machine.rows("tracepoint", "kprobe", "uprobe", "raw_tracepoint", "tp_btf")}
    assert shown and shown <= ours


def test_bpftool_names_devices_of_the_wrong_namespace(machine: Machine) -> None:
    """bpftool's known fault: an ifindex of another namespace is turned into the name that it has here. ls has the right one."""
    rows = [row for row in machine.rows("xdp/", "tcx/") if "link" in row.details]
    assert rows
    for row in rows:
        assert row.object[4:] in ("v0", "x0", "x1") and row.netns == machine.lab.spaces["a"]

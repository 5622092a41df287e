"""Every kind of attachment that this kernel has is attached in a lab; `ls` shows each once, in the right place, and `dis` its code."""

from __future__ import annotations

import os

import pytest

import needs
from bpflens.inventory.audit import Verdict, audit
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.rows import open_row
from bpflens.inventory.walk import collect
from live.attach_kinds import KINDS
from live.attach_lab import Attached, Lab, Lacking

pytestmark = pytest.mark.live

# Depends on the kernel's version or configuration; everything else is in every kernel that bpflens supports.
MAY_LACK = {
    "vsock", "tc_action", "tcx", "netkit", "lsm_cgroup", "netfilter", "sockmap_link", "tracing", "lsm", "kprobe_ioctl", "kprobe_multi",
    "uprobe_multi", "kcm", "team", "ppp", "struct_ops", "perf_link", "xt_bpf_legacy", "xt_bpf_legacy6", "xt_bpf_nft", "tap_filter",
    "tun_programs",
}  # fmt: skip


class Machine:
    """The lab with everything attached, and what both walks found."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.attached: dict[str, list[Attached]] = {}
        self.lacking: dict[str, str] = {}
        for name, attach in KINDS.items():
            try:
                self.attached[name] = list(attach(lab))
            except Lacking as reason:
                self.lacking[name] = str(reason)
        self.descriptors = set(os.listdir("/proc/self/fd"))
        self.plain = collect()
        self.deep = collect(deep=True)
        self.descriptors_after = set(os.listdir("/proc/self/fd"))

    def of(self, name: str) -> list[Attached]:
        needs.kernel_feature(name in self.attached, f"{name}: {self.lacking.get(name)}")
        return self.attached[name]


@pytest.fixture(scope="module")
def before() -> Verdict:
    return audit()[1]


@pytest.fixture(scope="module")
def machine(before: Verdict):
    needs.root()
    with Lab() as lab:
        yield Machine(lab)


def rows_of(inventory: Inventory, one: Attached) -> list[InventoryRow]:
    """Rows of the attachment's kind, place and program."""
    return [
        row for row in inventory.rows
        if (row.kind, row.object) == (one.kind, one.object)
        and (one.netns is None or row.netns == one.netns)
        and row.prog_id == one.prog_id
        and row.classic == one.classic
    ]  # fmt: skip


def unknown_to_all(one: Attached) -> bool:
    """What even kernel memory is not searched for: the program of a pinned xt_bpf match."""
    return one.kind == "xt_bpf" and one.prog_id is not None


def test_the_lab_works(machine: Machine) -> None:
    """A kind that every kernel has is not skipped because attaching it failed."""
    assert {name: reason for name, reason in machine.lacking.items() if name not in MAY_LACK} == {}


@pytest.mark.parametrize("name", KINDS)
def test_shown_once(machine: Machine, name: str) -> None:
    """With the right object, namespace and holder; also what only kernel memory tells, where the rights suffice."""
    for one in machine.of(name):
        if unknown_to_all(one):
            announced = [row for row in machine.plain.rows if (row.kind, row.object, row.netns) == (one.kind, one.object, one.netns)]
            assert [row for row in announced if "path" in row.details]
            continue
        for inventory in (machine.plain, machine.deep):  # without --deep kernel memory is asked for what no interface tells
            assert len(rows_of(inventory, one)) == 1, (one, inventory.deep)
        inventory = machine.plain
        found = rows_of(inventory, one)

        assert len(found) == 1, (one, found)
        if one.holder:
            assert one.holder in [holder.pid for holder in found[0].holders]


@pytest.mark.parametrize("name", KINDS)
def test_code(machine: Machine, name: str) -> None:
    """The bytes that were attached, for an extended program the image of the right id, for a converted one its image."""
    for one in machine.of(name):
        if unknown_to_all(one):
            continue
        row = rows_of(machine.deep, one)[0]
        program = open_row(machine.deep, row)

        assert program is not None
        assert program.attachments[-1].object == one.object
        if one.classic is not None:
            assert program.code == one.classic
        elif one.image:
            assert program.xlated and program.code[:1] == b"\xac"
        else:
            assert program.id == one.prog_id and program.code


def test_nothing_is_shown_that_is_not_so(machine: Machine) -> None:
    """No attachment of a lab program beyond those that were made."""
    made: dict[int, set[str]] = {}
    hidden = set()
    for one in (one for several in machine.attached.values() for one in several):
        if one.prog_id:
            made.setdefault(one.prog_id, set()).add(one.kind)
            if unknown_to_all(one):
                hidden.add(one.prog_id)
    for row in machine.deep.rows:
        if row.prog_id in made and row.prog_id not in hidden:
            assert row.kind in made[row.prog_id], row


def test_nothing_is_left(machine: Machine) -> None:
    """No descriptor stays open, no program of our own stays loaded or is listed."""
    from bpflens.kernel.programs.prog_info import prog_ids, prog_info

    assert machine.descriptors_after - machine.descriptors == set()
    own = os.getpid()
    for row in machine.deep.rows:
        head = (machine.deep.programs or {}).get(row.prog_id or 0)
        assert head is None or head.name != "bpflens" or own not in [holder.pid for holder in row.holders]
    lasting = set(prog_ids()) & {head.id for head in (machine.deep.programs or {}).values() if head.name == "bpflens"}
    for id in lasting:
        assert prog_info(id).name != "bpflens"


def test_audit(machine: Machine, before: Verdict) -> None:
    """Every image that the lab has added is accounted for, by its own address. On a machine that nobody else uses all are.

    Elsewhere images may be unexplained that were so before the lab was there; those of others who load and unload meanwhile go away.
    """
    known = {image.identity for image in before.unexplained}
    for _ in range(4):
        inventory, verdict = audit()
        new = [image for image in verdict.unexplained if image.identity not in known]
        if verdict.established and not new:
            break
    assert not [row for row in inventory.rows if "address" in row.details]
    assert verdict.established and before.established, (verdict.reason, before.reason)
    assert not new
    assert verdict.classic > before.classic + 20
    if os.environ.get("BPFLENS_QUIET_MACHINE"):
        assert verdict.complete, verdict.text()

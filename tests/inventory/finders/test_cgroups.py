"""Programs on cgroups: a tree of directories in the place of the mount, and a kernel that answers as the test says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bpflens.errors import InputError
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.finders import cgroups
from bpflens.inventory.finders.cgroups import ATTACH_TYPES
from bpflens.isa.extended.uapi import AttachType, LinkType, ProgType
from bpflens.kernel.attachments.prog_query import EFFECTIVE, Answer
from bpflens.kernel.programs.loaded import LinkHead
from bpflens.kernel.sys.procfs import Mount
from inventory.memory.plain_memory import context

NONE = Answer((), 0)
Answers = dict[tuple[str, int], Answer | OSError]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[tuple[str, int]]]:
    """/, /a, /a/b, /c; give the answers by path and attach type, get what was asked."""
    for name in ("a", "a/b", "c"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(cgroups, "mount_namespaces", lambda ctx: [("", [Mount("0:30", "/", str(tmp_path), "cgroup2")])])

    def answering(answers: Answers) -> list[tuple[str, int]]:
        asked = []

        def query(fd: int, attach_type: int, flags: int = 0) -> Answer:
            path = "/" + os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path).removeprefix(".")
            asked.append((path, attach_type))
            answer = answers.get((path, attach_type), NONE)
            if isinstance(answer, OSError):
                raise answer
            return answer

        monkeypatch.setattr(cgroups, "query", query)
        return asked

    return answering


def walk(*types: int, links: dict[int, LinkHead] | None = None):
    ctx = context()
    ctx.program_types, ctx.links = frozenset(types), links or {}
    return ctx


def test_the_kernels_names() -> None:
    """Each hook as the kernel calls it, without its prefix."""
    names = {number: name for hooks in ATTACH_TYPES.values() for number, name in hooks.items()}
    assert names[AttachType.CGROUP_INET4_CONNECT] == "inet4_connect" and names[AttachType.CGROUP_UNIX_SENDMSG] == "unix_sendmsg"
    assert names[AttachType.LSM_CGROUP] == "lsm_cgroup" and names[AttachType.CGROUP_DEVICE] == "device"
    wanted = {number for name, number in vars(AttachType).items() if "CGROUP" in name and not name.startswith("_")}
    assert set(names) == wanted, "every hook of cgroups is asked about"


def test_only_what_a_loaded_program_can_hang_on(tree) -> None:
    """Every cgroup, parents first."""
    asked = tree({})
    assert list(cgroups.find(walk(ProgType.CGROUP_DEVICE, ProgType.XDP))) == []
    assert asked == [(path, AttachType.CGROUP_DEVICE) for path in ("/", "/a", "/a/b", "/c")]
    asked = tree({})
    assert list(cgroups.find(walk(ProgType.XDP))) == [] and asked == []


def test_rows(tree, tmp_path: Path) -> None:
    """In order of execution, with the links that are theirs; a link is claimed once."""
    inode, device = (tmp_path / "a/b").stat().st_ino, AttachType.CGROUP_DEVICE
    union = inode.to_bytes(8, "little") + device.to_bytes(4, "little")
    links = {id: LinkHead(id, LinkType.CGROUP, 12, union) for id in (5, 6)} | {7: LinkHead(7, LinkType.CGROUP, 13, bytes(12))}
    tree({("/a/b", device): Answer((12, 13, 12), 2), ("/", device): Answer((14,), 0)})
    ctx = walk(ProgType.CGROUP_DEVICE, links=links)
    rows = list(cgroups.find(ctx))
    assert [(row.kind, row.object, row.prog_id) for row in rows] == [
        ("cgroup/device", "cgroup:/", 14), ("cgroup/device", "cgroup:/a/b", 12), ("cgroup/device", "cgroup:/a/b", 13),
        ("cgroup/device", "cgroup:/a/b", 12),
    ]  # fmt: skip
    assert [row.details.get("link") for row in rows] == [None, 5, None, 6] and ctx.claimed_links == {5, 6}
    assert rows[1].details["attach_flags"] == "multi" and "attach_flags" not in rows[0].details
    assert rows[1].details["cgroup_id"] == inode


def test_what_the_kernel_refuses(tree) -> None:
    """A hook that it does not have is asked about once; without the privilege nothing is."""
    lsm, device = AttachType.LSM_CGROUP, AttachType.CGROUP_DEVICE
    asked = tree({("/", lsm): OSError(22, "x"), ("/a", device): OSError(5, "x"), ("/c", device): Answer((3,), 1)})
    rows = list(cgroups.find(walk(ProgType.LSM, ProgType.CGROUP_DEVICE)))
    assert [(row.object, row.details["attach_flags"]) for row in rows] == [("cgroup:/c", "override")]
    assert [path for path, type in asked if type == lsm] == ["/"]
    tree({("/a", device): PermissionError(1, "x"), ("/c", device): Answer((3,), 1)})
    ctx = walk(ProgType.CGROUP_DEVICE)
    assert list(cgroups.find(ctx)) == [] and [denial.needs for denial in ctx.denied] == ["CAP_NET_ADMIN"]


def test_kind_of_lsm_programs(tree) -> None:
    tree({("/", AttachType.LSM_CGROUP): Answer((12,), 2)})
    assert [row.kind for row in cgroups.find(walk(ProgType.LSM))] == ["lsm_cgroup"]


def test_where_the_tree_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole tree goes before a part of it, also where a process of another mount namespace sees it."""
    part, whole, other = Mount("0:1", "/x", "/part", "cgroup2"), Mount("0:1", "/", "/whole", "cgroup2"), Mount("0:2", "/", "/v1", "cgroup")
    for namespaces, expected in (
        ([("", [other, part]), ("/proc/7/root", [whole])], "/proc/7/root/whole"), ([("", [part, other])], "/part"), ([("", [other])], None),
    ):  # fmt: skip
        monkeypatch.setattr(cgroups, "mount_namespaces", lambda ctx, found=namespaces: found)
        assert cgroups.cgroup_root(context()) == expected
    ctx = walk(ProgType.CGROUP_DEVICE)
    ctx.programs = {1: None}  # type: ignore[dict-item]
    assert list(cgroups.find(ctx)) == []
    assert list(ctx.notes) == ["no cgroup2 mount is visible: programs on cgroups were not looked for"]


def test_inherited(tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs beside the own ones, with where it may come from; the same program may be own and inherited."""
    device = AttachType.CGROUP_DEVICE
    tree({("/a/b", device): Answer((11, 12, 12), EFFECTIVE)})
    monkeypatch.setattr(cgroups, "_asked", lambda ctx: {device: "device", AttachType.LSM_CGROUP: "lsm_cgroup"})
    places = (("/", 11), ("/a", 12), ("/a/b", 12), ("/a/bc", 11))
    rows = [InventoryRow("cgroup/device", f"cgroup:{path}", prog_id=id) for path, id in places]
    found = cgroups.inherited(Inventory(rows, [], {}, {}, []), "/a/b")
    assert [(row.object, row.prog_id, row.details["inherited_from"]) for row in found] == [
        ("cgroup:/a/b", 11, ["cgroup:/"]), ("cgroup:/a/b", 12, ["cgroup:/a"]),
    ]  # fmt: skip
    with pytest.raises(InputError, match="cgroup:/nothing: No such file"):
        cgroups.inherited(Inventory(rows, [], {}, {}, []), "/nothing")

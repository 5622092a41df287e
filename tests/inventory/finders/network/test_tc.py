"""Rows of traffic control from what kernel/network/traffic_control.py reads."""

from __future__ import annotations

import pytest

from bpflens.inventory.facts.records import InventoryRow, NetNamespace
from bpflens.inventory.finders.network import tc
from bpflens.kernel.network.traffic_control import BLOCK, Action, Filter
from inventory.memory.plain_memory import context

FILTER = Filter("bpf", 2, 0xFFFFFFF2, "ingress", 0, 5, 3, 1, (), None, b"code", None, None, False)


def rows(
    monkeypatch: pytest.MonkeyPatch, filters: list[Filter], actions: list[Action], blocks: dict[int, list[tuple[int, str]]] | None = None
) -> list[InventoryRow]:
    monkeypatch.setattr(tc, "filters", lambda: (filters, blocks or {}))
    monkeypatch.setattr(tc, "actions", lambda: actions)
    monkeypatch.setattr(tc, "interfaces", lambda ctx: {2: ("eth0", 1), 3: ("tun0", 65534), 4: ("odd", 24)})
    ctx = context()
    ctx.netns = NetNamespace(17, (), None, True)
    return list(tc.find(ctx))


def test_places_and_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """The link type of the device and the protocol of the filter, which say how a classic program is read; of an extended one nothing."""
    filters = [
        FILTER._replace(protocol=0x0800, classid=0x10002, name="one", direct_action=True),
        FILTER._replace(ifindex=3, word="htb 1:", protocol=0x88A8),
        FILTER._replace(ifindex=4, word="egress"),
        FILTER._replace(ifindex=9, prog_id=12, code=None, protocol=0x86DD),
        FILTER._replace(code=None),
        FILTER._replace(kind="u32", code=None),
    ]
    found = rows(monkeypatch, filters, [])
    assert [(row.kind, row.object, row.netns, row.prog_id, row.classic) for row in found] == [
        ("tc/ingress", "dev:eth0", 17, None, b"code"), ("tc/cls", "dev:tun0", 17, None, b"code"),
        ("tc/egress", "dev:odd", 17, None, b"code"),
        ("tc/ingress", "dev:ifindex 9", 17, 12, None), ("tc/ingress", "dev:eth0", 17, None, None),
    ]  # fmt: skip
    first = found[0].details
    assert (first["protocol"], first["given"], first["linktype"], first["classid"]) == ("0x0800", ("ip",), "EN10MB", "1:2")
    assert first["direct_action"] and first["name"] == "one"
    assert found[1].details["linktype"] == "RAW" and found[1].details["protocol"] == "0x88a8" and "given" not in found[1].details
    assert "linktype" not in found[2].details and "protocol" not in found[2].details
    assert "given" not in found[3].details and found[3].details["protocol"] == "0x86dd"
    assert found[4].details["unknown"] == "the kernel gives neither code nor id"


def test_shared_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the devices that share them; the first says what packets look like."""
    one = FILTER._replace(ifindex=BLOCK, parent=33, word="block 33")
    (found,) = rows(monkeypatch, [one], [], {33: [(3, "ingress"), (2, "ingress"), (9, "egress")]})
    assert (found.kind, found.object) == ("tc/cls", "block:33")
    assert found.details["devices"] == ["tun0", "eth0", "ifindex 9"] and found.details["hooks"] == ["egress", "ingress"]
    assert found.details["linktype"] == "RAW"
    (found,) = rows(monkeypatch, [one], [], {})
    assert found.details["devices"] == [] and "linktype" not in found.details


def test_actions_and_who_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from filters that are no BPF programs."""
    filters = [FILTER._replace(kind="u32", code=None, actions=(101, 102), handle=0x800)]
    actions = [
        Action(101, 2, 1, None, b"code", "drop"), Action(103, 0xFFFFFFFF, 0, 12, None, None), Action(104, 9, 0, None, None, None),
    ]  # fmt: skip
    found = rows(monkeypatch, filters, actions)
    assert [(row.kind, row.object, row.prog_id, row.details["verdict"]) for row in found] == [
        ("tc/action", "action:bpf/101", None, "shot"), ("tc/action", "action:bpf/103", 12, "unspec"),
        ("tc/action", "action:bpf/104", None, "9"),
    ]  # fmt: skip
    assert found[0].details["used_by"] == ["dev:eth0 ingress chain 0 prio 5 handle 0x800"] and "used_by" not in found[1].details

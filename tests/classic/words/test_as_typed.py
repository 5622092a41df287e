"""What somebody has typed, said in words: each alternative, and what a keyword moves though it may not be meant."""

from __future__ import annotations

import pytest

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.parse import parse
from bpflens.classic.expression.shifts import moved_by
from bpflens.classic.words.as_typed import describe_typed

SAID = [
    ("not vlan and ip", "IPv4 packets that are not VLAN-tagged; `ip` is read 4 bytes further."),
    ("not vlan 5 and (ip or arp)", "IPv4 or ARP packets that are not in VLAN 5; `ip`, `arp` are read 4 bytes further."),
    ("not pppoes and ip", "IPv4 packets that are not PPPoE session; `ip` is read 8 bytes further."),
    ("(vlan 2 and ip) or (vlan 3 and ip)", "IPv4 packets in VLAN 2.\nIPv4 packets in VLAN 3, read 4 bytes further."),
    ("vlan and ip", "VLAN-tagged IPv4 packets."),
]


@pytest.mark.parametrize(("shown", "words"), SAID)
def test_what_is_moved_is_said(shown: str, words: str) -> None:
    tree = parse(shown)
    assert tree is not None
    assert "\n".join(describe_typed(tree, Compiler(Store(), "EN10MB"), 1)) == words


def test_moves_add_up_over_the_alternatives() -> None:
    trees = [parse("vlan and port 53"), parse("not vlan and port 53"), parse("geneve and ip"), parse("arp")]
    assert moved_by([tree for tree in trees if tree is not None]) == [
        {"vlan": 0, "port 53": 0}, {"vlan": 4, "port 53": 8}, {"geneve": 8, "ip": 8}, {"arp": -1},
    ]  # fmt: skip

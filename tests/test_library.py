"""The library has the verbs of the command."""

from __future__ import annotations

import pytest

import bpflens
from bpflens.errors import InputError


def test_every_name_is_there() -> None:
    for name in bpflens.__all__:
        assert getattr(bpflens, name) is not None


def test_open_dis_explain_diff() -> None:
    program = bpflens.open("pcap:ip and udp dst port 68")

    assert program.insn_count == 11
    assert bpflens.dis(program).splitlines()[-1].split() == ["(010)", "ret", "#0"]
    explanation = bpflens.explain(program)
    assert explanation.expression == "ip and udp dst port 68"
    assert not bpflens.diff(program, bpflens.open("pcap:udp dst port 67 and ip")).equal


def test_open_wants_exactly_one(tmp_path) -> None:
    two = tmp_path / "two"
    two.write_text("1\n6 0 0 1\n1\n6 0 0 0\n")  # as tcpdump -ddd prints them

    assert len(bpflens.open_all(str(two))) == 2
    with pytest.raises(InputError, match="names 2 programs"):
        bpflens.open(str(two))
    with pytest.raises(AttributeError):
        bpflens.nothing_such  # noqa: B018

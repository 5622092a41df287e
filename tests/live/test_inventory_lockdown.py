"""--deep on a kernel that is locked down for confidentiality: ids by typed pointers, no code, and it says so."""

from __future__ import annotations

import pytest

import needs
from bpflens.inventory.audit import audit
from bpflens.inventory.walk import collect
from live.attach_kinds import KINDS
from live.attach_lab import Lab

pytestmark = pytest.mark.live


def locked() -> bool:
    try:
        with open("/sys/kernel/security/lockdown") as stream:
            return "[confidentiality]" in stream.read()
    except OSError:
        return False


def test_deep() -> None:
    """Which program a socket has is known by iterators alone; what needs kernel memory is announced, not invented."""
    needs.kernel_feature(locked(), "lockdown=confidentiality (tests/kernels/run --append)")
    with Lab() as lab:
        sockets = list(KINDS["socket_ebpf"](lab))
        reuseport = [one for one in KINDS["reuseport"](lab) if one.prog_id]
        packet = list(KINDS["packet"](lab))
        inventory = collect(deep=True)
        _, verdict = audit()

    found = {(row.kind, row.object, row.prog_id, row.classic) for row in inventory.rows}
    for one in sockets + reuseport + packet:
        assert (one.kind, one.object, one.prog_id, one.classic) in found
    needed = {denial.what: denial.needs for denial in inventory.denied}
    assert needed["code that only kernel memory has"] == "a kernel that is not locked down for confidentiality"
    assert not verdict.established and "kernel memory could not be read" in verdict.text()

"""XDP and classifiers put on a device by netlink, and read back by another way."""

from __future__ import annotations

import os

import pytest

from bpflens.isa.extended.uapi import ProgType
from bpflens.kernel.attachments.attach_netlink import (
    Standing,
    TcFilter,
    add_clsact,
    add_filter,
    delete_clsact,
    delete_filter,
    filter_at,
    has_clsact,
    set_xdp,
)
from bpflens.kernel.network.devices import devices
from bpflens.kernel.network.traffic_control import filters
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("own_netns")]
RETURN_2 = bytes.fromhex("b700000002000000 9500000000000000")
CLASSIC = bytes.fromhex("0600000000000400")  # ret #0x40000
LO = 1


def test_xdp_on_and_off() -> None:
    fd = load_program(RETURN_2, ProgType.XDP, name="bl_xdp")
    try:
        id = prog_info_by_fd(fd).id
        set_xdp(LO, fd, "generic")
        (device,) = [device for device in devices() if device.ifindex == LO]
        assert device.xdp == (("generic", id),)
        with pytest.raises(OSError) as taken:
            set_xdp(LO, fd, "generic")
        assert taken.value.errno == 16
        set_xdp(LO, fd, "generic", replace=True)
        set_xdp(LO, -1, "generic")
        assert [device.xdp for device in devices() if device.ifindex == LO] == [()]
    finally:
        os.close(fd)


def test_clsact() -> None:
    assert not has_clsact(LO)
    assert add_clsact(LO) and has_clsact(LO)
    assert not add_clsact(LO), "it is there already"
    delete_clsact(LO)
    assert not has_clsact(LO)


def test_classifiers() -> None:
    """What was asked for is what a dump of the filters tells, of an extended and of a classic program."""
    add_clsact(LO)
    fd = load_program(RETURN_2, ProgType.SCHED_CLS, name="bl_tc")
    try:
        extended = TcFilter("ingress", 7, 2, 0x0800, chain=3, name="mine", direct_action=True)
        classic = TcFilter("egress", 9, 1, classid=0x10002)
        add_filter(LO, extended, fd)
        add_filter(LO, classic, -1, CLASSIC)
        one, two = sorted(filters()[0], key=lambda filter: filter.priority)
        assert (one.kind, one.ifindex, one.word, one.chain, one.priority) == ("bpf", LO, "ingress", 3, 7)
        assert (one.handle, one.protocol) == (2, 0x0800)
        assert (one.prog_id, one.name, one.direct_action, one.classid) == (prog_info_by_fd(fd).id, "mine", True, None)
        assert (two.word, two.chain, two.priority, two.protocol) == ("egress", 0, 9, 3)
        assert (two.prog_id, two.code, two.classid, two.direct_action) == (None, CLASSIC, 0x10002, False)
        assert filter_at(LO, extended) == Standing("bpf", extended, prog_info_by_fd(fd).id, None)
        assert filter_at(LO, classic) == Standing("bpf", classic, None, CLASSIC)
        assert filter_at(LO, extended._replace(handle=3)) is None
        assert filter_at(LO, extended._replace(chain=0)) is None and filter_at(LO, extended._replace(prio=8)) is None
        with pytest.raises(FileExistsError):
            add_filter(LO, extended, fd)
        add_filter(LO, extended._replace(name="other"), fd, replace=True)
        assert {filter.name for filter in filters()[0] if filter.priority == 7} == {"other"}
        delete_filter(LO, extended)
        assert filter_at(LO, extended) is None and filter_at(LO, classic) is not None
    finally:
        os.close(fd)

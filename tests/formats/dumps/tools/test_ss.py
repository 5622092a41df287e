"""What the rows of an ss table say beside the filter."""

from __future__ import annotations

import pytest
from hypothesis import given

from bpflens.errors import BpflensError
from bpflens.formats.dumps.detect import read_programs
from bpflens.program import Holder
from damage import damaged

FILTER = "bpf filter (2):  0x28 0 0 12, 0x06 0 0 0,"
HEADER = "Netid Recv-Q Send-Q Local Address:Port Peer Address:PortProcess                   \n"

TABLE = f"""{HEADER}p_raw 0      0                  *:lo               *     users:(("tcpdump",pid=13223,fd=4)) ino:20560 sk:1
\tver:2 cpy_thresh:0 flags( running auxdata )
\tring_rx(blk_size:262144,blk_nr:8,frm_size:262144,frm_nr:8,tmo:1000,features:0x0)
\t{FILTER}
p_dgr 0      0             [2048]:*                *     users:(("a",pid=1,fd=3),("b c",pid=2,fd=5)) ino:19168 sk:2
\tver:0 cpy_thresh:0 flags( running )
\t{FILTER}
p_raw 0      0                ipv6:eth0            *
\t{FILTER}
p_raw 0      0            [34958]:wlan0            *
p_raw 0      0            [34958]:*                *
\t{FILTER}
p_dgr 0      0             [39321]:*               *     {FILTER}
{FILTER}
"""


def test_table():
    """-p, -n, -e and -O in one table; a row without a filter, and a filter without a row."""
    programs = read_programs(TABLE.encode(), "-")
    facts = [(p.origin.lineno, p.origin.linktype, p.origin.given) for p in programs]
    assert facts == [
        (2, "EN10MB", ()),
        (6, "RAW", ("ip",)),
        (9, None, ("ip6",)),
        (12, None, ("ether proto 0x888e",)),
        (14, "RAW", ()),
        (15, None, ()),
    ]
    assert [p.origin.note for p in programs] == [
        "p_raw socket on lo, protocol any, tcpdump (pid 13223)",
        "p_dgr socket on every device, protocol 0x0800, a (pid 1); packets begin at the network header",
        "p_raw socket on eth0, protocol ipv6",
        "p_raw socket on every device, protocol 0x888e",
        "p_dgr socket on every device, protocol 0x9999; packets begin at the network header",
        None,
    ]
    assert programs[0].holders == (Holder(13223, "tcpdump", 4),)
    assert programs[1].holders == (Holder(1, "a", 3), Holder(2, "b c", 5))
    assert programs[0].origin.row == {"netid": "p_raw", "protocol": "*", "device": "lo", "inode": "20560"}
    assert programs[3].origin.line == f"p_raw 0      0            [34958]:*                *\n\t{FILTER}"


@pytest.mark.parametrize("text", ["p_raw 0 0\n*:lo\n*\nbpf\nfilter\n(2):\n0x28 0\n0 12,\n0x06 0 0 0,", f"p_raw UNCONN 0 0 *:lo * {FILTER}"])
def test_wrapped_anywhere(text):
    program = read_programs(text.encode(), "-")[0]
    assert (program.insn_count, program.origin.linktype) == (2, "EN10MB")


def test_withheld_filters_beside_others():
    """Length 0 is what the kernel tells those who may not see; the others are read."""
    assert len(read_programs(f"p_raw 0 0 *:lo *\n\tbpf filter (0):\np_raw 0 0 *:lo *\n\t{FILTER}".encode(), "-")) == 1


@given(damaged([TABLE]))
def test_damaged_dumps_are_programs_or_an_error(data):
    try:
        assert read_programs(data, "-")
    except BpflensError:
        pass


def test_a_name_that_is_not_utf8() -> None:
    """A comm may hold any bytes; the rest of the table is what it was."""
    programs = read_programs(TABLE.encode().replace(b"tcpdump", b"caf\xe9\xff"), "-")
    assert [p.code for p in programs] == [p.code for p in read_programs(TABLE.encode(), "-")]
    assert programs[0].holders[0].comm == "caf\ufffd\ufffd"

"""Captures: what is written reads back, tcpdump agrees, and no bytes hang or crash the reader."""

from __future__ import annotations

import io
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import needs
from bpflens.errors import BpflensError, InputError, PartialResult
from bpflens.formats.pcap.capture import Capture, Packet, dlt_of, linktype_of, open_capture
from bpflens.formats.pcap.write import PcapngWriter, write_pcap, write_pcapng

PACKETS = [
    Packet(bytes(range(60)), 60, 1_700_000_000_123_456_789, 1),
    Packet(b"", 0, 0, 1),
    Packet(b"\x01" * 300_000, 400_000, 2_000_000_000_000_000_001, 1),
    Packet(b"x" * 17, 1500, 999, 1),
]


def read(data: bytes) -> tuple[list[Packet], str]:
    """The packets, and why the reader stopped before the end ("" where it did not)."""
    packets = []
    try:
        for packet in Capture(io.BytesIO(data), "x.pcap"):
            packets.append(packet)
    except PartialResult as error:
        return packets, error.reason
    return packets, ""


def pcap(order: str = "<", magic: int = 0xA1B23C4D, packets=tuple(PACKETS), unit: int = 1, extra: bytes = b"") -> bytes:
    data = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 0, 1)
    for packet in packets:
        seconds, rest = divmod(packet.time_ns, 1_000_000_000)
        data += struct.pack(order + "IIII", seconds, rest // unit, len(packet.data), packet.length) + extra + packet.data
    return data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit", "extra"), [(0xA1B23C4D, 1, b""), (0xA1B2C3D4, 1000, b""), (0xA1B2CD34, 1000, bytes(8))])
def test_every_magic(order, magic, unit, extra):
    expected = [p._replace(time_ns=p.time_ns // unit * unit) for p in PACKETS]

    assert read(pcap(order, magic, unit=unit, extra=extra)) == (expected, "")


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + total + body + total


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, linktype: int, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(order + "HHI", linktype, 0, snaplen) + options)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_blocks(order):
    """Enhanced, simple and obsolete packets, two interfaces with their own clock, a block to pass over, a second section."""
    resolution = struct.pack(order + "HHB3x", 9, 1, 0x80 | 10) + struct.pack(order + "HHq", 14, 8, 100)
    data = section(order) + interface(order, 1, 4) + interface(order, 101, 0, resolution)
    data += block(order, 5, b"statistics..")
    data += block(order, 6, struct.pack(order + "IIIII", 1, 0, 1536, 3, 9) + b"abc")
    data += block(order, 3, struct.pack(order + "I", 60) + b"wxyz")
    data += block(order, 2, struct.pack(order + "HHIIII", 0, 0, 0, 5, 2, 2) + b"hi")
    other = "<" if order == ">" else ">"
    data += section(other) + interface(other, 113) + block(other, 6, struct.pack(other + "IIIII", 0, 1, 0, 1, 1) + b"!")

    packets, reason = read(data)

    assert reason == ""
    assert packets == [
        Packet(b"abc", 9, 101_500_000_000, 101),
        Packet(b"wxyz", 60, 0, 1),
        Packet(b"hi", 2, 5000, 1),
        Packet(b"!", 1, 2**32 * 1000, 113),
    ]


@given(
    st.lists(
        st.builds(
            Packet,
            st.binary(max_size=40),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**32 * 10**9 - 1),
            st.sampled_from((1, 101, 113)),
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_written_packets_read_back(packets, nanoseconds):
    stream = io.BytesIO()
    write_pcapng(stream, packets)
    assert read(stream.getvalue()) == (packets, "")

    stream = io.BytesIO()
    write_pcap(stream, packets, 101, nanoseconds)
    unit = 1 if nanoseconds else 1000
    assert read(stream.getvalue()) == ([p._replace(linktype=101, time_ns=p.time_ns // unit * unit) for p in packets], "")


def test_tcpdump_reads_what_is_written(tmp_path):
    tcpdump = needs.tool("tcpdump")
    for name, write in (("x.pcap", lambda s: write_pcap(s, PACKETS[:1], 1, True)), ("x.pcapng", lambda s: write_pcapng(s, PACKETS[:1]))):
        path = tmp_path / name
        with open(path, "wb") as stream:
            write(stream)
        again = tmp_path / "again.pcap"

        subprocess.run([tcpdump, "-r", path, "-w", again, "--time-stamp-precision=nano"], check=True, capture_output=True)

        with open_capture(str(again)) as capture:
            assert list(capture) == PACKETS[:1]
            assert (capture.linktype, capture.nanoseconds, capture.format) == (1, True, "pcap")


def test_records_are_cut_to_the_snapshot_length():
    data = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 5, 1) + struct.pack("<IIII", 0, 0, 8, 9) + b"abcdefgh"

    assert read(data) == ([Packet(b"abcde", 9, 0, 1)], "")


def test_comments_are_options():
    stream = io.BytesIO()
    PcapngWriter(stream).write(PACKETS[0], "accepted: é")

    assert read(stream.getvalue()) == (PACKETS[:1], "")
    assert "accepted: é".encode() in stream.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\xd4\xc3", "not a pcap"),
        (b"\x7fELF" + bytes(60), "begins with 7f454c46"),
        (pcap()[:20], "ends in the pcap header"),
        (pcap()[:4] + b"\x09" + pcap()[5:], "version 9.4"),
        (b"\x0a\x0d\x0d\x0a", "ends in the header of block 1"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0abcd", "byte-order magic"),
        (section("<") + block("<", 6, bytes(40)), "before any interface"),
        (section("<") + interface("<", 1, 0, struct.pack("<HHB3x", 9, 1, 200)), "if_tsresol"),
    ],
)
def test_a_wrong_header_is_bad_input(data, reason):
    with pytest.raises(InputError, match=reason):
        Capture(io.BytesIO(data), "x")


@pytest.mark.parametrize(
    ("data", "count", "reason"),
    [
        (pcap()[:-1], 3, "ends in packet 4: 16 bytes of 17"),
        (pcap()[:-18], 3, "ends in the header of packet 4"),
        (pcap(packets=PACKETS[:1]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0), 1, "claims 4294967295 bytes"),
        (pcap(packets=PACKETS[:1]) + struct.pack("<IIII", 0, 0, 1 << 26, 0), 1, "ends in packet 2: 0 bytes of 67108864"),
        (section("<") + interface("<", 1) + block("<", 6, struct.pack("<IIIII", 3, 0, 0, 0, 0)), 0, "interface 3, and 1 are"),
        (section("<") + interface("<", 1) + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 9, 9)), 0, "claims 9 bytes"),
        (section("<") + interface("<", 1) + block("<", 6, b""), 0, "too short"),
        (section("<") + interface("<", 1) + struct.pack("<III", 6, 0, 0), 0, "claims 0 bytes"),
        (section("<") + interface("<", 1) + block("<", 5, b"") [:-1] + b"\x01", 0, "two different lengths"),
    ],
)
def test_damage_keeps_the_packets_before_it(data, count, reason):
    packets, why = read(data)

    assert len(packets) == count
    assert reason in why


@given(st.sampled_from((pcap(packets=PACKETS[:2]), section("<") + interface("<", 1) + block("<", 6, bytes(24)))), st.data())
def test_no_bytes_crash_the_reader(good, data):
    position = data.draw(st.integers(0, len(good) - 1))
    hostile = good[:position] + data.draw(st.binary(max_size=12)) + good[position + data.draw(st.integers(0, 12)) :]
    try:
        read(hostile)
    except BpflensError as error:
        assert error.object == "x.pcap"


def test_files_that_cannot_be_read(tmp_path):
    for path in (str(tmp_path / "missing"), str(tmp_path), "a\0b"):
        with pytest.raises(InputError):
            open_capture(path)


def test_link_types_of_files_are_not_those_of_linux():
    assert dlt_of(101) == 12
    assert linktype_of(12) == 101
    assert dlt_of(linktype_of(1)) == 1

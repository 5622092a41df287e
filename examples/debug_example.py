"""Step through a filter on the packets of a capture, forward and back."""

import tempfile
from pathlib import Path

import bpflens

HEADER = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")  # a pcap file of Ethernet frames
ARP = bytes.fromhex("ffffffffffff02000000000108060001") + bytes(26)

with tempfile.TemporaryDirectory() as directory:
    capture = Path(directory, "x.pcap")
    capture.write_bytes(HEADER + bytes(8) + len(ARP).to_bytes(4, "little") * 2 + ARP)
    session = bpflens.debug("pcap:arp", str(capture))
    for command in ("step", "step", "step -1"):
        print(*session.execute(command), sep="\n")

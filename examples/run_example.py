"""How many packets of a capture does a filter accept?"""

import tempfile
from pathlib import Path

import bpflens

HEADER = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")  # a pcap file of Ethernet frames
ARP = bytes.fromhex("ffffffffffff02000000000108060001") + bytes(26)
RECORD = bytes(8) + len(ARP).to_bytes(4, "little") * 2 + ARP

with tempfile.TemporaryDirectory() as directory:
    capture = Path(directory, "x.pcap")
    capture.write_bytes(HEADER + 3 * RECORD)
    result = bpflens.run("pcap:arp", str(capture))
print(result.matches, "of", result.packets)
assert result.matches == 3

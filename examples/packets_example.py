"""Packets that a filter accepts and rejects, for the tests of a firewall."""

import bpflens

for packet in bpflens.packets("pcap:tcp dst port 443").packets:
    print(packet.kind, packet.value, packet.data.hex())

"""Are two filters the same? If not, a packet tells them apart."""

import bpflens

answer = bpflens.diff("pcap:tcp port 80", "pcap:tcp dst port 80")
print(answer.equal, answer.witness.packet.hex())
assert not answer.equal
assert bpflens.diff("pcap:tcp port 80", "pcap:port 80 and tcp").equal

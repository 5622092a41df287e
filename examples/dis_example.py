"""A program as text: a file, a dump, an object of the kernel, an expression."""

import bpflens

print(bpflens.dis("pcap:tcp port 80"))
assert "jeq" in bpflens.dis("pcap:tcp port 80")

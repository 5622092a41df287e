"""What does this filter of tcpdump accept? The answer is proved for all packets."""

import bpflens

answer = bpflens.explain("pcap:udp dst port 68 and ip")
print(answer.expression)
print(*answer.words, sep="\n")
print(answer.proof.grade)
assert answer.proof.grade == "all-packets"

"""How long it takes to say what a large extended program does: about 4,000 instructions of many checks and look-ups.

    bench/bench_explain_extended.py            the explanation, beside clang compiling the same source

The program is made: one rule after the other, each of a port, a protocol and a map. Times are CPU seconds of one process on one core; the
ratio to clang's is what can be compared between machines.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from bpflens.decompile.summary.summary import entries_of, summarise_function
from bpflens.decompile.unit import make_unit
from bpflens.formats.elf.programs import read_object

RULES = 210
HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 64); } hits SEC(".maps");
SEC("xdp") int large(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    struct iphdr *ip = data + 14;
    __u16 *ports = data + 34;
    if (data + 54 > end || eth->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
    __u32 key;
    __u64 *count;
"""
RULE = """
    key = {n};
    if (ip->saddr == bpf_htonl({address}) && ports[1] == bpf_htons({port}) && (count = bpf_map_lookup_elem(&hits, &key))) {{
        *count += {n};
        if (ip->ttl < {ttl}) return XDP_DROP;
    }}
"""


def source() -> str:
    rules = (RULE.format(n=n, address=0x0A000000 + 7 * n, port=1000 + n, ttl=n % 60 + 2) for n in range(1, RULES + 1))
    return HEAD + "".join(rules) + '    return XDP_PASS;\n}\nchar _license[] SEC("license") = "GPL";\n'


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "large.c"
        path.write_text(source())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["clang", "-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c", str(path), "-o", f"{directory}/large.o"]
        subprocess.run(command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        clang = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        data = Path(f"{directory}/large.o").read_bytes()
    print(f"Linux {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    start = time.process_time()
    unit = make_unit(read_object(data, "large.o"), "large.o")
    summary = summarise_function(unit, entries_of(unit)[0])
    seconds = time.process_time() - start
    print(f"{summary.insn_count} instructions: explained in {seconds:.2f} s, {seconds / clang:.1f} times clang's {clang:.2f} s; "
          f"{len(summary.sentences)} sentences")  # fmt: skip


if __name__ == "__main__":
    main()

"""Pairs of objects for the symbolic check: C compiled in several ways. Own programs where no file is given."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bpflens.program import Function, Program

WAYS = {
    "clang -O2 -mcpu=v3": ("clang", "-O2", "-mcpu=v3"),
    "clang -O1 -mcpu=v3": ("clang", "-O1", "-mcpu=v3"),
    "clang -O2 -mcpu=v1": ("clang", "-O2", "-mcpu=v1"),
    "clang -O2 -mcpu=v2": ("clang", "-O2", "-mcpu=v2"),
    "zig clang -O2 -mcpu=v3": (sys.executable, "-m", "ziglang", "clang", "-O2", "-mcpu=v3"),
    "zig clang -O2 -mcpu=v4": (sys.executable, "-m", "ziglang", "clang", "-O2", "-mcpu=v4"),
}
BASE = "clang -O2 -mcpu=v3"
HEAD = """
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#define NOINLINE static __attribute__((noinline))
char _license[] SEC("license") = "GPL";
struct stat { __u64 packets, bytes; __u32 last; __u8 seen[4]; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, struct stat); __uint(max_entries, 64); } stats SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u32[32]); __uint(max_entries, 4); } hist SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 16); } limits SEC(".maps");
#define PARSE void *d = (void *)(long)ctx->data, *e = (void *)(long)ctx->data_end; struct ethhdr *eth = d; struct iphdr *ip = d + 14;
"""
_PROGRAMS = {
    "filter": """SEC("xdp") int filter(struct xdp_md *ctx) { PARSE
      if ((void *)(ip + 1) > e || eth->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
      if (ip->protocol == IPPROTO_TCP) { struct tcphdr *t = (void *)ip + 20; if ((void *)(t + 1) > e) return XDP_DROP;
        if (t->dest == bpf_htons(22) || t->dest == bpf_htons(23)) return XDP_DROP; if (t->syn && !t->ack) return XDP_TX; }
      if (ip->protocol == IPPROTO_UDP) { struct udphdr *u = (void *)ip + 20; if ((void *)(u + 1) > e) return XDP_DROP;
        switch (bpf_ntohs(u->dest)) { case 53: return 3; case 67: return 1; case 123: return 0; case 500 ... 510: return 1; } }
      return XDP_PASS; }""",
    "count": """SEC("xdp") int count(struct xdp_md *ctx) { PARSE if ((void *)(ip + 1) > e) return XDP_PASS; __u32 k = ip->saddr & 0xff;
      struct stat *s = bpf_map_lookup_elem(&stats, &k); if (!s) { struct stat n = { 1, e - d, ip->id, {1, 2, 3, 4} };
        bpf_map_update_elem(&stats, &k, &n, BPF_ANY); return XDP_PASS; }
      __sync_fetch_and_add(&s->packets, 1); s->bytes += e - d; s->last = ip->id; s->seen[ip->tos & 3]++;
      return s->packets > 5 ? XDP_DROP : XDP_PASS; }""",
    "log2": """static __always_inline __u32 lg(__u32 v) { __u32 s, r; r = (v > 0xffff) << 4; v >>= r; s = (v > 0xff) << 3; v >>= s;
        r |= s; s = (v > 0xf) << 2; v >>= s; r |= s; s = (v > 3) << 1; v >>= s; r |= s; r |= v >> 1; return r; }
      SEC("tc") int log2(struct __sk_buff *ctx) { PARSE if ((void *)(ip + 1) > e) return 0;
      __u32 k = 1, *h = bpf_map_lookup_elem(&hist, &k);
      if (!h) return 0; __u32 slot = lg(ip->daddr); if (slot >= 26) slot = 25; h[slot]++; return slot; }""",
    "calls": """NOINLINE int mix(__u32 a, __u32 b) { return a * 31 + (b ^ a >> 3); }
      NOINLINE int fold(struct __sk_buff *ctx, int n) { int s = 0;
        for (int i = 0; i < 6; i++) s = mix(s + n, ctx->len + i); return s; }
      SEC("tc") int calls(struct __sk_buff *ctx) { int x = fold(ctx, 3); if (x & 1) x += fold(ctx, 5); ctx->mark = x; return x & 3; }""",
    "rewrite": """SEC("tc") int rewrite(struct __sk_buff *ctx) { PARSE if ((void *)(ip + 1) > e) return TC_ACT_OK;
      if (ip->ttl <= 1) return TC_ACT_SHOT; __u16 old = *(__u16 *)&ip->ttl; ip->ttl--;
      __u32 c = ip->check + (__u32)(old - *(__u16 *)&ip->ttl);
      ip->check = (c & 0xffff) + (c >> 16); __u8 m[6]; __builtin_memcpy(m, eth->h_dest, 6); __builtin_memcpy(eth->h_dest, eth->h_source, 6);
      __builtin_memcpy(eth->h_source, m, 6); return TC_ACT_OK; }""",
    "limit": """SEC("tc") int limit(struct __sk_buff *ctx) { __u32 k = ctx->len >> 4 & 15; __u64 *l = bpf_map_lookup_elem(&limits, &k);
      if (!l) return 0; if (ctx->len > *l) { *l += 16; if (*l > 1500) *l = 64; return 2; } *l -= *l >> 3; return (__s64)*l < 100; }""",
    "checksum": """SEC("xdp") int checksum(struct xdp_md *ctx) { PARSE if ((void *)(ip + 1) > e) return XDP_PASS; __u32 s = 0;
      __u16 *p = (void *)ip; for (int i = 0; i < 10; i++) s += p[i]; s = (s & 0xffff) + (s >> 16); s = (s & 0xffff) + (s >> 16);
      return (__u16)~s ? XDP_DROP : XDP_PASS; }""",
    "socket": """SEC("socket") int sock(struct __sk_buff *ctx) { __u8 b[16] = {}; if (bpf_skb_load_bytes(ctx, 14, b, 16) < 0) return 0;
      __u32 x = 0; for (int i = 0; i < 16; i += 3) x = x << 5 ^ x >> 2 ^ b[i];
      if (b[9] == 17 && b[0] >> 4 == 4) return x % 200; return x / 7 & 127; }""",
    "sizes": """SEC("tc") int sizes(struct __sk_buff *ctx) { __s32 a = ctx->mark, b = ctx->priority; __s64 c = (__s64)a * b; __u32 r = 0;
      if (a < b) r |= 1; if ((__s16)a > (__s8)b) r |= 2; if (c < -5) r |= 4;
      if ((__u32)a / 10 > (__u32)b % 7) r |= 8; if (a >> 3 == b >> 5) r |= 16;
      return r ^ (__u32)(c >> 32); }""",
}


def compiled(source: str | Path, way: str, flags: list[str]) -> bytes | None:
    """The object of C text or a file, None where the compiler refuses."""
    with tempfile.TemporaryDirectory() as directory:
        path = source if isinstance(source, Path) else Path(directory, "x.c")
        if isinstance(source, str):
            path.write_text(source)
        out = Path(directory, "x.o")
        command = [*WAYS[way], "-target", "bpf", "-g", "-D__TARGET_ARCH_x86", "-Wno-everything", *flags]
        if "ziglang" in WAYS[way]:
            command += ["-isystem", str(_zig_headers())]
        command += ["-I/usr/include/x86_64-linux-gnu", "-c", str(path), "-o", str(out)]
        if subprocess.run(command, capture_output=True).returncode:
            return None
        return out.read_bytes()


def _zig_headers() -> Path:
    import ziglang

    return Path(ziglang.__file__).parent / "lib" / "include"


def sources(paths: list[str]) -> dict[str, str | Path]:
    """C files by name; the own programs where none are given."""
    found: dict[str, str | Path] = {}
    for name in paths:
        path = Path(name)
        for file in sorted(path.rglob("*.c")) if path.is_dir() else [path]:
            found[str(file)] = file
    return found or {name: HEAD + text for name, text in _PROGRAMS.items()}


def entries(programs: list[Program]) -> Iterator[tuple[Program, Function, int]]:
    """(program, entry function, slots) of what a loader would load."""
    for program in programs:
        starts = sorted({f.start for f in program.functions} | {program.insn_count})
        for function in program.functions if program.section != ".text" else ():
            yield program, function, starts[starts.index(function.start) + 1] - function.start

"""C programs for every feature that the interpreter has: name -> (section, body of the function, what else stands before it)."""

# ruff: noqa: E501
from __future__ import annotations

HEAD = """
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#define MAP(name, kind, k, v, n) struct { __uint(type, BPF_MAP_TYPE_##kind); __type(key, k); __type(value, v); __uint(max_entries, n); } \\
  name SEC(".maps")
struct pair { __u32 a; __u32 c; __u64 b; };
struct prefix { __u32 bits; __u8 address[4]; };
MAP(table, HASH, __u32, struct pair, 16);
MAP(recent, LRU_HASH, __u32, __u64, 1024);
MAP(counts, ARRAY, __u32, __u64, 8);
MAP(each, PERCPU_ARRAY, __u32, __u64, 8);
MAP(percpu, PERCPU_HASH, __u32, __u64, 64);
struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); __type(key, struct prefix); __type(value, __u32); __uint(max_entries, 64);
         __uint(map_flags, BPF_F_NO_PREALLOC); } routes SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 262144); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_QUEUE); __type(value, __u32); __uint(max_entries, 4); } queue SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_STACK); __type(value, __u32); __uint(max_entries, 4); } stack SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 4); };
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, __u32); __array(values, struct inner); }
  outer SEC(".maps");
__u64 total; const volatile __u32 limit = 7; static __u32 list[4] = {3, 1, 4, 1};
char _license[] SEC("license") = "GPL";
#define PACKET unsigned char *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end; if (p + 20 > end) return 0;
"""
XDP, TC, SOCKET, CGROUP = "xdp", "tc", "socket", "cgroup_skb/egress"

PROGRAMS: dict[str, tuple[str, str, str]] = {
    "packet": (XDP, "PACKET p[0] ^= p[15]; return p[12] == 8 ? p[14] & 3 : 4;", ""),
    "signed division": (XDP, "PACKET __s32 a = *(__s32 *)(p + 12), b = p[15] + 1; __s64 c = a; c >>= 3; return a < -5 ? c + b : a > b;", ""),
    "hash": (XDP, """PACKET __u32 k = p[14]; struct pair *v = bpf_map_lookup_elem(&table, &k);
        if (v) { v->b++; __sync_fetch_and_add(&v->a, 3); return 1; } struct pair n = {.a = k, .b = 2};
        return bpf_map_update_elem(&table, &k, &n, BPF_NOEXIST) ? 3 : 2;""", ""),
    "delete": (XDP, "PACKET __u32 k = p[14] & 15; return bpf_map_delete_elem(&table, &k) ? 1 : 2;", ""),
    "lru and per-cpu": (XDP, """PACKET __u32 k = p[14]; __u64 one = k, *v = bpf_map_lookup_elem(&percpu, &k); if (v) *v += 2;
        else bpf_map_update_elem(&percpu, &k, &one, 0); k &= 7; v = bpf_map_lookup_elem(&each, &k); if (v) *v ^= p[15];
        bpf_map_update_elem(&recent, &k, &one, 0); return 2;""", ""),
    "array": (XDP, "PACKET __u32 k = p[13] & 15; __u64 *v = bpf_map_lookup_elem(&counts, &k); if (!v) return 1; *v += p[14]; return 2;", ""),
    "globals": (XDP, "PACKET total += list[p[13] & 3] * limit; list[p[14] & 3]++; return total & 3;", ""),
    "longest prefix": (XDP, """PACKET struct prefix k = {.bits = 32}; __builtin_memcpy(k.address, p + 14, 4);
        __u32 *v = bpf_map_lookup_elem(&routes, &k); return v ? 1 + (*v & 1) : 0;""", ""),
    "ring buffer": (XDP, """PACKET __u64 *r = bpf_ringbuf_reserve(&ring, 16, 0); if (!r) return 0; r[0] = p[14]; r[1] = p[15];
        if (p[14] & 1) bpf_ringbuf_discard(r, 0); else bpf_ringbuf_submit(r, 0);
        __u64 both[2] = {p[14], p[15]}; bpf_ringbuf_output(&ring, both, p[14] & 15, 0); return 2;""", ""),
    "queue and stack": (XDP, """PACKET __u32 v = p[14], w = 0; if (p[15] & 1) return bpf_map_push_elem(&queue, &v, p[14] & 2 ? BPF_EXIST : 0) ? 1 : 2;
        if (p[15] & 2) bpf_map_push_elem(&stack, &v, 0); else if (bpf_map_pop_elem(&stack, &w)) return 3;
        return bpf_map_peek_elem(&queue, &v) ? 0 : (v ^ w) & 3;""", ""),
    "map in map": (XDP, """PACKET __u32 k = p[14] & 3; void *m = bpf_map_lookup_elem(&outer, &k); if (!m) return 1;
        __u64 *v = bpf_map_lookup_elem(m, &k); if (!v) return 3; *v += 1; return *v & 3;""", ""),
    "functions": (XDP, "PACKET return mul(p[14], p[15]) + deeper(ctx, p[14]);", """
        static __attribute__((noinline)) __u32 mul(__u32 a, __u32 b) { return a * b + 1; }
        static __attribute__((noinline)) int deeper(void *ctx, int x) { volatile char pad[40]; pad[3] = x; return mul(x, pad[3]) % 7; }"""),
    "loop callback": (XDP, "PACKET struct sum s = {.n = 0}; long r = bpf_loop(p[14] & 31, add, &s, 0); return s.n + r;", """
        struct sum { __u32 n; }; static long add(__u32 i, struct sum *s) { s->n += i; return s->n > 100; }"""),
    "walk of a map": (XDP, "PACKET total = 0; long r = bpf_for_each_map_elem(&counts, see, 0, 0); return total + r;", """
        static long see(void *map, __u32 *key, __u64 *value, void *ctx) { total += *key * *value + 1; return total > 1000; }"""),
    "bounded loop": (XDP, "PACKET __u32 s = 0; for (int i = 0; i < 16; i++) { if (p + i + 1 > end) break; s = s * 31 + p[i]; } return s & 7;", ""),
    "switch": (XDP, "PACKET switch (p[13]) { case 0: return 1; case 1: return 2; case 6: return 3; case 0xdd: return 4; case 8: return 0; } return p[14];", ""),
    "strings": (XDP, """PACKET char b[12] = {}; if (p + 40 > end) return 1; __builtin_memcpy(b, p + 14, 8); long v = 0; unsigned long u = 0;
        int n = bpf_strncmp(b, 8, "E0000"); int m = bpf_strtol(b, 8, 0, &v); int o = bpf_strtoul("  77x", 5, 0, &u);
        return (n > 0) + (n < 0) * 2 + m * 4 + v + o + u;""", ""),
    "head and tail": (XDP, """PACKET if (p[14] & 1 && bpf_xdp_adjust_head(ctx, (int)(p[15] & 31) - 16)) return 1;
        if (bpf_xdp_adjust_tail(ctx, -(int)(ctx->data_end - ctx->data & 7))) return 3;
        p = (void *)(long)ctx->data; end = (void *)(long)ctx->data_end; if (p + 4 > end) return 0; p[0] = 9; return 2;""", ""),
    "metadata": (XDP, """if (bpf_xdp_adjust_meta(ctx, -8)) return 1; __u32 *m = (void *)(long)ctx->data_meta, *d = (void *)(long)ctx->data;
        if (m + 1 > d) return 0; *m = 7; return 2;""", ""),
    "atomics": (XDP, """PACKET __u32 k = 1; __u64 *v = bpf_map_lookup_elem(&counts, &k); if (!v) return 0; __u64 a = __sync_fetch_and_add(v, p[14]);
        a ^= __sync_fetch_and_or(v, 0x100); a ^= __sync_fetch_and_and(v, ~7ull); a ^= __sync_fetch_and_xor(v, 0x55);
        a ^= __sync_lock_test_and_set(v, a + 9); a ^= __sync_val_compare_and_swap(v, 9, 11); return a;""", ""),
    "atomics of 32 bits": (XDP, """PACKET __u32 k = 1; __u32 *w = bpf_map_lookup_elem(&counts, &k), a; if (!w) return 0;
        a = __sync_fetch_and_add(w, -1); a ^= __sync_lock_test_and_set(w, p[14]); a ^= __sync_val_compare_and_swap(w, 8, 1); return a;""", ""),
    "packet loads": (SOCKET, "return load_byte(skb, 9) + load_half(skb, p16) + load_word(skb, 12) + load_byte(skb, load_byte(skb, 0) & 15);", """
        unsigned long long load_byte(void *, unsigned long long) asm("llvm.bpf.load.byte");
        unsigned long long load_half(void *, unsigned long long) asm("llvm.bpf.load.half");
        unsigned long long load_word(void *, unsigned long long) asm("llvm.bpf.load.word");
        #define skb ctx
        #define p16 (16)"""),
    "header loads": (SOCKET, "return load_half(ctx, -0x200000 + 12) + load_byte(ctx, -0x100000 + 9);", """
        unsigned long long load_byte(void *, unsigned long long) asm("llvm.bpf.load.byte");
        unsigned long long load_half(void *, unsigned long long) asm("llvm.bpf.load.half");"""),
    "socket context": (SOCKET, "return ctx->len + ctx->protocol + ctx->pkt_type * 7 + ctx->mark + ctx->cb[1] + (ctx->cb[2] = ctx->priority);", ""),
    "load bytes": (SOCKET, "__u32 v = 0; long r = bpf_skb_load_bytes(ctx, 9, &v, 4); long s = bpf_skb_load_bytes_relative(ctx, 12, &v, 2, 0); return v ^ r ^ s;", ""),
    "tc context": (TC, "PACKET ctx->mark = ctx->protocol; ctx->cb[3] = ctx->len; ctx->priority += ctx->ifindex; return ctx->vlan_present ? 1 : p[12] & 3;", ""),
    "tc stores": (TC, """PACKET __u16 port = 77; __u8 b = p[14]; if (bpf_skb_store_bytes(ctx, 22, &port, 2, 0)) return 2;
        return bpf_l4_csum_replace(ctx, 50, b, port, 2) ? 1 : bpf_l3_csum_replace(ctx, 24, 0x1234, 0x4321, 2) ? 3 : 0;""", ""),
    "tc sizes": (TC, "if (bpf_skb_change_tail(ctx, ctx->len - 3, 0)) return 1; return bpf_skb_pull_data(ctx, 60) ? 2 : 0;", ""),
    "checksums": (TC, """__u32 d[2]; if (bpf_skb_load_bytes(ctx, 26, d, 8)) return 1; __u32 z = 5;
        return bpf_csum_diff(d, 8, &z, 4, 0x77) & 0xffff;""", ""),
    "redirection": (TC, "PACKET return p[14] & 1 ? bpf_redirect(1, 0) : bpf_redirect(1, p[14]);", ""),
    "cgroup": (CGROUP, "PACKET return (p[9] ^ p[12]) & 1;", ""),
    "stack memory": (XDP, "PACKET volatile __u8 b[64]; for (int i = 0; i < 64; i++) b[i] = i * 3; return b[p[14] & 63] + b[p[15] & 31];", ""),
    "byte order": (XDP, "PACKET return bpf_ntohs(*(__u16 *)(p + 12)) + bpf_ntohl(*(__u32 *)(p + 14)) + (__builtin_bswap64(*(__u64 *)p) >> 40);", ""),
}


def source(name: str) -> str:
    """The C source of a program; its function is `entry`."""
    section, body, before = PROGRAMS[name]
    ctx = "struct xdp_md" if section == XDP else "struct __sk_buff"
    return f'{HEAD}{before}\nSEC("{section}") int entry({ctx} *ctx) {{ {body} }}\n'

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <linux/types.h>
struct key { __be32 saddr; __be16 dport; __u16 flags; };
struct val { __u64 packets; __u64 bytes; enum { A, B } state; unsigned int lo:4, hi:4; };
struct rich { signed char s; __u16 small; enum { ONE = 1, TWO, BIG = 100000 } e; char comm[8]; __u8 src_mac[6]; __be16 port; __be32 mask; __be32 daddr;
    int list[3]; _Bool ok; struct { long long a; __u8 b; } in; void *where; __u8 addr6[16]; };
struct lpm { __u32 prefixlen; __u8 addr[4]; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, struct key); __type(value, struct val); __uint(max_entries, 64); } flows SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); __uint(map_flags, 1); __type(key, struct lpm); __type(value, __u32); __uint(max_entries, 64); } nets SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __type(key, __u32); __type(value, struct val); __uint(max_entries, 2); } cnt SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __type(value, struct rich); __uint(max_entries, 64); } rich SEC(".maps");
SEC("socket") int f(void *ctx){ __u32 k=0; struct key kk={}; struct lpm l={}; struct val*v=bpf_map_lookup_elem(&cnt,&k); bpf_map_lookup_elem(&flows,&kk); bpf_map_lookup_elem(&nets,&l); bpf_map_lookup_elem(&rich,&k); return v?v->state:0; }
char _license[] SEC("license")="GPL";

/* Pointers that come from several places. Each program is compiled twice: as it is, and (`dead_`) with code that the verifier removes. */
#define SEC(name) __attribute__((section(name), used))
#define noinline __attribute__((noinline))
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name

struct bpf_sock { u32 bound_dev_if, family, type, protocol, mark, priority, src_ip4, src_ip6[4], src_port; u16 dst_port, pad; u32 dst_ip4; };
struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority, ingress_ifindex, ifindex, tc_index;
	u32 cb[5], hash, tc_classid, data, data_end, napi_id, family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	u32 remote_port, local_port, data_meta;
	u64 flow_keys, tstamp;
	u32 wire_len, gso_segs;
	struct bpf_sock *sk;
	u32 gso_size;
};

static void *(*lookup)(void *, const void *) = (void *)1;
static u64 (*ktime)(void) = (void *)5;
static long (*trace)(const char *, u32, ...) = (void *)6;
static u32 (*random)(void) = (void *)7;
static struct bpf_sock *(*sk_fullsock)(struct bpf_sock *) = (void *)95;
static void *(*reserve)(void *, u64, u64) = (void *)131;
static void (*discard)(void *, u64) = (void *)133;
static long (*loop)(u32, void *, void *, u64) = (void *)181;

struct conf { u32 a, b, c, d, e, f, g, h; };
struct { __uint(type, 1); __uint(max_entries, 16); __type(key, u32); __type(value, struct conf); } confs SEC(".maps");
struct { __uint(type, 2); __uint(max_entries, 4); __type(key, u32); __type(value, struct conf); } array SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");
struct conf fallback = { 1, 2, 3, 4, 5, 6, 7, 8 };
const volatile int debug = 0;

static noinline u32 sum(struct conf *v) { return v->a > 3 ? v->b * v->c : (v->d + v->e) ^ v->f; }

static noinline struct conf *choose(u32 k, struct conf *other) { struct conf *v = lookup(&confs, &k); return v ? v : other; }

static noinline struct bpf_sock *full(struct __sk_buff *s) { struct bpf_sock *k = s->sk; return k ? sk_fullsock(k) : 0; }

static noinline struct __sk_buff *same(struct __sk_buff *s, u32 *x) { *x += ktime(); return s; }

struct bundle { struct __sk_buff *ctx; struct conf *conf; u32 total; };

static noinline u32 from_bundle(struct bundle *b) { return b->ctx->ifindex + b->ctx->protocol + b->conf->b; }

static int step(u32 i, void *data) { struct bundle *b = data; b->total += b->ctx->mark + b->conf->c + i; return 0; }

#define BOTH(section, name, type, ...) \
	SEC(section) int name(type *ctx) { __VA_ARGS__ } \
	SEC(section) int dead_##name(type *ctx) { if (debug) trace("dead", 5); __VA_ARGS__ }

BOTH("xdp", local, void,
	u32 k = 1; struct conf own = { 1, 2, 3, 4, 5, 6, 7, 8 }; struct conf *v = lookup(&confs, &k);
	if (!v) v = &own;
	if (v->a > 3) return 0;
	return v->b == 9 ? 1 : (v->c * v->d + v->e) & 3;
)

BOTH("tc", local_tc, struct __sk_buff,
	u32 k = ctx->mark; struct conf own = { k, 2, 3, 4, 5, 6, 7, 8 }; struct conf *v = lookup(&confs, &k);
	if (!v) v = &own;
	return v->a + v->b * ctx->len + v->e + ctx->ifindex;
)

BOTH("tc", global, struct __sk_buff,
	u32 k = 2; struct conf *v = lookup(&array, &k);
	if (!v) v = &fallback;
	return sum(v) + ctx->protocol + ctx->vlan_present;
)

BOTH("tc", three_ways, struct __sk_buff,
	u32 k = 3; struct conf own = { 4, 5, 6, 7, 8, 9, 1, 2 }; struct conf *v = &own; u32 x = random();
	if (x & 1) { v = lookup(&confs, &k); if (!v) return 1; }
	else if (x & 2) v = &fallback;
	return sum(v) + v->h + v->g * ctx->hash;
)

BOTH("tc", returned, struct __sk_buff,
	struct conf *v = choose(ctx->len, &fallback);
	return v->a + v->e + ctx->queue_mapping;
)

BOTH("tc", socket, struct __sk_buff,
	u32 x = 1; struct bpf_sock *k = full(ctx); struct __sk_buff *t = same(ctx, &x);
	if (!k) return x;
	return k->mark + k->src_port + k->family + t->ifindex + x;
)

BOTH("tc", bundled, struct __sk_buff,
	struct bundle b = { ctx, &fallback, 0 };
	u32 k = 1; struct conf *v = lookup(&confs, &k);
	if (v) b.conf = v;
	return from_bundle(&b) + b.ctx->tc_index;
)

BOTH("tc", looped, struct __sk_buff,
	struct bundle b = { ctx, &fallback, 0 };
	loop(ctx->len & 7, step, &b, 0);
	return b.total + ctx->napi_id;
)

BOTH("tc", ringed, struct __sk_buff,
	struct conf own = { 1, 2, 3, 4, 5, 6, 7, 8 }; struct conf *e = reserve(&ring, sizeof(own), 0), *v = e ? e : &own;
	v->a = ctx->ifindex; v->e = ctx->len; u32 x = v->a ^ v->h;
	if (e) discard(e, 0);
	return x;
)

SEC("license") char gpl[] = "GPL";

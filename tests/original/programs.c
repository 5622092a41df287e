/* Programs as compilers make them: every one must come back exact, or exact from the object where code was removed. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct event { __u32 pid; __u32 len; __u64 time; char comm[16]; };
struct counter { struct bpf_spin_lock lock; __u64 packets; __u64 bytes; };

struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 1024); } by_mark SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __type(key, __u64); __type(value, struct event); __uint(max_entries, 64); } recent SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, struct counter); __uint(max_entries, 4); } counters SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __type(key, __u32); __type(value, __u64[3]); __uint(max_entries, 4); } percpu SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 4); } jumps SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_DEVMAP); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 4); } ports SEC(".maps");

const volatile int enabled;
const volatile __u32 limit = 100;
__u64 total;
int last_mark = 7;

SEC("tc") int fields(struct __sk_buff *skb)
{
	__u32 x = skb->len + skb->mark + skb->priority + skb->ifindex + skb->vlan_tci + skb->tc_index;

	skb->cb[0] = x;
	skb->cb[4] = skb->cb[1] + skb->hash;
	skb->tc_classid = x / (skb->queue_mapping + 1);
	skb->mark = x % (skb->ingress_ifindex | 1);
	total += skb->wire_len;
	return skb->protocol == bpf_htons(ETH_P_IP) ? 0 : skb->pkt_type;
}

SEC("tc") int packet(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return 0;
	ip->ttl--;
	eth->h_dest[0] ^= 1;
	return ip->protocol + ip->daddr % 13;
}

SEC("tc") int sockets(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct bpf_tcp_sock *tp;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->family != 2)
		return 0;
	tp = bpf_tcp_sock(sk);
	return tp ? tp->snd_cwnd + sk->src_port + sk->dst_port + tp->bytes_acked : sk->state;
}

SEC("tc") int maps(struct __sk_buff *skb)
{
	__u32 mark = skb->mark, zero = 0;
	__u64 one = 1, *seen = bpf_map_lookup_elem(&by_mark, &mark), *cpu = bpf_map_lookup_elem(&percpu, &zero);
	struct counter *counter = bpf_map_lookup_elem(&counters, &zero);

	if (seen)
		__sync_fetch_and_add(seen, skb->len);
	else
		bpf_map_update_elem(&by_mark, &mark, &one, BPF_ANY);
	if (cpu)
		cpu[1] += bpf_get_smp_processor_id();
	if (counter) {
		bpf_spin_lock(&counter->lock);
		counter->packets++;
		counter->bytes += skb->len;
		bpf_spin_unlock(&counter->lock);
	}
	last_mark = mark;
	return 0;
}

static long step(__u32 index, void *context)
{
	__u64 *sum = context;

	*sum += index * last_mark;
	return *sum > limit;
}

static long each(void *map, __u32 *key, __u64 *value, struct __sk_buff **skb)
{
	*value += *key + (*skb)->mark;
	return 0;
}

SEC("tc") int callbacks(struct __sk_buff *skb)
{
	__u64 sum = skb->len;

	bpf_loop(17, step, &sum, 0);
	bpf_for_each_map_elem(&by_mark, each, &skb, 0);
	return sum;
}

static __attribute__((noinline)) int deeper(struct __sk_buff *skb, int n)
{
	return skb->ifindex / (n + skb->mark);
}

__attribute__((noinline)) int deep(struct __sk_buff *skb, int n)
{
	return n ? deeper(skb, n) + skb->hash : 3;
}

SEC("tc") int calls(struct __sk_buff *skb)
{
	return deep(skb, skb->len) + deeper(skb, skb->priority);
}

SEC("tc") int removed(struct __sk_buff *skb)
{
	int r = skb->len;

	if (enabled) {
		total += skb->mark;	/* this line is removed */
		r = deeper(skb, 3);
	}
	return r;
}

SEC("xdp") int redirect(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 14 > end)
		return XDP_DROP;
	bpf_tail_call(ctx, &jumps, ctx->rx_queue_index);
	return bpf_redirect_map(&ports, ctx->ingress_ifindex & 3, XDP_PASS);
}

SEC("raw_tp/sys_enter") int trace(struct bpf_raw_tracepoint_args *ctx)
{
	struct event event = { .pid = bpf_get_current_pid_tgid() >> 32, .time = bpf_ktime_get_ns() }, *slot;
	__u64 key = event.pid;

	bpf_get_current_comm(event.comm, sizeof(event.comm));
	slot = bpf_map_lookup_elem(&recent, &key);
	if (slot)
		event.len = slot->len + 1;
	bpf_map_update_elem(&recent, &key, &event, 0);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	slot = bpf_ringbuf_reserve(&ring, sizeof(*slot), 0);
	if (slot) {
		*slot = event;
		bpf_ringbuf_submit(slot, 0);
	}
	return 0;
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx)
{
	if (ctx->user_port == bpf_htons(80))
		ctx->user_port = bpf_htons(8080);
	if (ctx->user_ip4 == bpf_htonl(0x7f000001))
		ctx->user_ip4 = ctx->type == 1 ? bpf_htonl(0x7f000002) : ctx->user_ip4;
	return ctx->protocol != 17;
}

SEC("sockops") int established(struct bpf_sock_ops *ctx)
{
	__u32 rtt = ctx->srtt_us >> 3;

	if (ctx->op == BPF_SOCK_OPS_RTT_CB && ctx->is_fullsock)
		total += ctx->snd_cwnd * rtt + ctx->bytes_received;
	ctx->reply = ctx->local_port == 80 ? (__u32)ctx->args[1] : -1;
	return 1;
}

SEC("cgroup/sysctl") int sysctl(struct bpf_sysctl *ctx)
{
	return !ctx->write || ctx->file_pos == 0;
}

SEC("socket") int filter(struct __sk_buff *skb)
{
	return skb->vlan_present ? skb->vlan_tci & 0xfff : skb->napi_id;
}

char _license[] SEC("license") = "GPL";

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 64); } seen SEC(".maps");
/* What was loaded before the program wrote there, and what is loaded after. */
SEC("xdp") int rewriter(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    struct iphdr *ip = data + 14;
    struct udphdr *udp = data + 34;
    if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != 17)
        return XDP_PASS;
    volatile __u16 *port = &udp->dest;
    __u16 old = *port;
    *port = bpf_htons(5353);
    __u32 key = ip->saddr;
    __u64 *count = bpf_map_lookup_elem(&seen, &key);
    if (count) {
        volatile __u64 *c = count;
        __u64 was = *c;
        *c = 7;
        if (was > 100)
            return XDP_DROP;
    }
    if (old == bpf_htons(53))
        return XDP_TX;
    if (*port == bpf_htons(80))
        return XDP_ABORTED;
    return XDP_PASS;
}
char _license[] SEC("license") = "GPL";

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
struct backend { __u32 address; __u16 port; __u16 weight; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u32); __uint(max_entries, 16); } services SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, struct backend); __uint(max_entries, 64); } backends SEC(".maps");

SEC("xdp") int balancer(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    struct iphdr *ip = data + 14;
    struct udphdr *udp = data + 34;
    if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    __u32 service = ip->daddr;
    __u32 *chosen = bpf_map_lookup_elem(&services, &service);
    if (!chosen)
        return XDP_PASS;
    __u32 key = *chosen;
    struct backend *to = bpf_map_lookup_elem(&backends, &key);
    if (!to)
        return XDP_DROP;
    ip->daddr = to->address;
    udp->dest = to->port;
    return XDP_TX;
}
char _license[] SEC("license") = "GPL";

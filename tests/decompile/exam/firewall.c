#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 1024); } banned SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u16); __type(value, __u64); __uint(max_entries, 64); } closed SEC(".maps");

SEC("xdp") int firewall(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    struct iphdr *ip = data + sizeof(*eth);
    if ((void *)(ip + 1) > end)
        return XDP_PASS;
    if (eth->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    if (ip->ttl < 2)
        return XDP_ABORTED;
    __u32 source = ip->saddr;
    __u64 *hits = bpf_map_lookup_elem(&banned, &source);
    if (hits) {
        __sync_fetch_and_add(hits, 1);
        return XDP_DROP;
    }
    if (ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    struct tcphdr *tcp = (void *)ip + ip->ihl * 4;
    if ((void *)(tcp + 1) > end)
        return XDP_PASS;
    __u16 port = bpf_ntohs(tcp->dest);
    hits = bpf_map_lookup_elem(&closed, &port);
    if (hits) {
        __sync_fetch_and_add(hits, 1);
        return XDP_DROP;
    }
    return XDP_PASS;
}
char _license[] SEC("license") = "GPL";

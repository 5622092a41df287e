#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u16); __type(value, __u64); __uint(max_entries, 64); } h4blk SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 4); } stats SEC(".maps");
SEC("xdp") int fw(struct xdp_md *ctx){
  void *data=(void*)(long)ctx->data,*end=(void*)(long)ctx->data_end;
  struct ethhdr *eth=data; if((void*)(eth+1)>end) return XDP_PASS;
  if(eth->h_proto!=bpf_htons(ETH_P_IP)) return XDP_PASS;
  struct iphdr *ip=(void*)(eth+1); if((void*)(ip+1)>end) return XDP_PASS;
  if(ip->protocol!=IPPROTO_TCP) return XDP_PASS;
  struct tcphdr *t=(void*)ip+ip->ihl*4; if((void*)(t+1)>end) return XDP_PASS;
  __u16 port=bpf_ntohs(t->dest);
  __u64 *c=bpf_map_lookup_elem(&h4blk,&port);
  if(c){ __sync_fetch_and_add(c,1); __u32 k=XDP_DROP; __u64*s=bpf_map_lookup_elem(&stats,&k); if(s)*s+=1; return XDP_DROP; }
  if((ip->saddr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000)) return XDP_ABORTED;
  return XDP_PASS;
}
char _license[] SEC("license")="GPL";

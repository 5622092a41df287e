#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct key { __u32 addr; __u16 port; __u16 pad; };
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __type(key, struct key); __type(value, __u32); __uint(max_entries, 16); } seen SEC(".maps");
SEC("tc") int mark(struct __sk_buff *skb) {
  void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  if (skb->protocol != bpf_htons(ETH_P_IP) || data + 42 > end) return TC_ACT_OK;
  if (*(__u8 *)(data + 23) != 17) return TC_ACT_OK;
  struct key key = {.addr = *(__u32 *)(data + 26), .port = *(__u16 *)(data + 36)};
  __u32 one = 1;
  bpf_map_update_elem(&seen, &key, &one, 0);
  skb->mark = 7;
  return bpf_redirect(3, 0);
}
char _license[] SEC("license") = "GPL";

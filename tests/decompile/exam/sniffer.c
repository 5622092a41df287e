#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <stddef.h>
#include <linux/ip.h>
SEC("socket") int sniffer(struct __sk_buff *skb)
{
    __u8 protocol = 0;
    __u16 port = 0;
    if (skb->protocol != bpf_htons(ETH_P_IP))
        return 0;
    if (skb->pkt_type == 4)
        return 0;
    if (skb->ifindex == 1)
        return 0;
    if (skb->len > 9000)
        return 256;
    if (skb->vlan_present)
        return 96;
    if (skb->mark == 0x77)
        return 0;
    return -1;
}
char _license[] SEC("license") = "GPL";

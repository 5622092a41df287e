#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct { __uint(type, BPF_MAP_TYPE_SOCKHASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 64); } peers SEC(".maps");

SEC("sockops") int sockets(struct bpf_sock_ops *ops)
{
    __u32 key = ops->local_port;
    int nodelay = 1;
    switch (ops->op) {
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
        if (ops->family == 2)
            bpf_sock_hash_update(ops, &peers, &key, BPF_NOEXIST);
        break;
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
        if (ops->remote_port == bpf_htonl(5432))
            bpf_setsockopt(ops, 6, 1, &nodelay, 4);
        break;
    case BPF_SOCK_OPS_RWND_INIT:
        ops->reply = 40;
        break;
    }
    return 1;
}

SEC("sk_msg") int messages(struct sk_msg_md *msg)
{
    __u32 key = bpf_ntohl(msg->remote_port);
    if (msg->family != 2)
        return SK_PASS;
    if (msg->size > 65536)
        return SK_DROP;
    return bpf_msg_redirect_hash(msg, &peers, &key, BPF_F_INGRESS);
}
char _license[] SEC("license") = "GPL";

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <linux/in.h>
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __type(key, __u64); __type(value, __u32); __uint(max_entries, 1024); } asked SEC(".maps");

SEC("cgroup/connect4") int detour(struct bpf_sock_addr *ctx)
{
    if (ctx->protocol == IPPROTO_UDP && ctx->user_port == bpf_htons(53)) {
        __u64 cookie = bpf_get_socket_cookie(ctx);
        __u32 address = ctx->user_ip4;
        bpf_map_update_elem(&asked, &cookie, &address, BPF_ANY);
        ctx->user_ip4 = bpf_htonl(0x7f000035);
        ctx->user_port = bpf_htons(5353);
        return 1;
    }
    if (ctx->user_port == bpf_htons(25) && (__u32)bpf_get_current_uid_gid() != 0)
        return 0;
    if ((ctx->user_ip4 & bpf_htonl(0xffff0000)) == bpf_htonl(0xa9fe0000))
        return 0;
    return 1;
}
char _license[] SEC("license") = "GPL";

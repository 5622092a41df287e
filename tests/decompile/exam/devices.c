#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 32); } refused SEC(".maps");

SEC("cgroup/dev") int devices(struct bpf_cgroup_dev_ctx *ctx)
{
    __u32 type = ctx->access_type & 0xffff, access = ctx->access_type >> 16;
    if (type == BPF_DEVCG_DEV_BLOCK)
        return 0;
    if (access & BPF_DEVCG_ACC_MKNOD)
        return 0;
    if (ctx->major == 1 && ctx->minor == 3)
        return 1;
    if (ctx->major == 10 && ctx->minor == 200)
        return 0;
    __u32 major = ctx->major;
    __u64 one = 1;
    bpf_map_update_elem(&refused, &major, &one, BPF_ANY);
    return 1;
}
char _license[] SEC("license") = "GPL";

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 4); } m SEC(".maps");
SEC("kprobe/x") int f(void *ctx)
{
    volatile __u32 key = bpf_get_current_uid_gid();
    __u32 before = key;
    void *first = bpf_map_lookup_elem(&m, (void *)&key);
    key = bpf_get_smp_processor_id();
    void *second = bpf_map_lookup_elem(&m, (void *)&key);
    if (before == 1000 && first && !second)
        bpf_send_signal(9);
    return 0;
}
char _license[] SEC("license") = "GPL";

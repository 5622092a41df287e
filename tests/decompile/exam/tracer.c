#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 512); } opened SEC(".maps");
struct event { __u32 pid; __u32 uid; char comm[16]; char name[64]; };

SEC("tracepoint/syscalls/sys_enter_openat") int tracer(struct { __u64 pad; long nr; long dfd; const char *name; long flags; long mode; } *ctx)
{
    __u32 uid = bpf_get_current_uid_gid();
    if (uid == 0)
        return 0;
    __u32 pid = bpf_get_current_pid_tgid() >> 32;
    __u64 one = 1, *count = bpf_map_lookup_elem(&opened, &pid);
    if (count)
        *count += 1;
    else
        bpf_map_update_elem(&opened, &pid, &one, BPF_ANY);
    if (ctx->flags & 0x40) {
        struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
        if (!event)
            return 0;
        event->pid = pid;
        event->uid = uid;
        bpf_get_current_comm(event->comm, 16);
        bpf_probe_read_user_str(event->name, 64, ctx->name);
        bpf_ringbuf_submit(event, 0);
    }
    return 0;
}
char _license[] SEC("license") = "GPL";

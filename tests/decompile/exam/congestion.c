#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sock {};
struct tcp_sock { __u32 snd_cwnd, snd_ssthresh, snd_cwnd_cnt, prior_cwnd, packets_out; };
#pragma clang attribute pop

SEC("struct_ops/ssthresh") __u32 BPF_PROG(half_ssthresh, struct sock *sk)
{
    struct tcp_sock *tp = (void *)sk;
    if (tp->snd_cwnd > 20)
        bpf_printk("large window");
    return tp->snd_cwnd > 4 ? tp->snd_cwnd / 2 : 2;
}
SEC("struct_ops/cong_avoid") void BPF_PROG(half_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
    struct tcp_sock *tp = (void *)sk;
    if (tp->snd_cwnd < tp->snd_ssthresh)
        tp->snd_cwnd += acked;
    else if (tp->packets_out > 10)
        tp->snd_cwnd_cnt = 0;
}
SEC("struct_ops/undo_cwnd") __u32 BPF_PROG(half_undo_cwnd, struct sock *sk)
{
    struct tcp_sock *tp = (void *)sk;
    return tp->prior_cwnd;
}
char _license[] SEC("license") = "GPL";

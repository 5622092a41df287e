"""Programs that run for long are compared on fewer inputs, and those that may never end are not run by the kernel."""

from __future__ import annotations

import objects
from bpflens.execute.oracle.allowance import allowance, spins
from bpflens.execute.oracle.oracle import compare
from bpflens.execute.result import Verdict
from bpflens.execute.subject import Subject, subject_of

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
static long inner(__u32 i, __u64 *s) { *s += i * 3; return 0; }
static long outer(__u32 i, __u64 *s) { bpf_loop(1 << 23, inner, s, 0); return 0; }
SEC("xdp") int spin(struct xdp_md *ctx) { __u64 s = ctx->rx_queue_index; bpf_loop(1 << 23, outer, &s, 0); return s & 1 ? 2 : 1; }
SEC("xdp") int deep(struct xdp_md *ctx) {
  __u64 s = 0; unsigned char *d = (void *)(long)ctx->data, *e = (void *)(long)ctx->data_end; if (d + 20 > e) return 1;
  if (d[12] == 0x77) bpf_loop(1 << 23, outer, &s, 0); return s & 1 ? 2 : 1; }
SEC("xdp") int bounded(struct xdp_md *ctx) { __u64 s = 0; bpf_loop(9, inner, &s, 0); return s & 1 ? 2 : 1; }
SEC("xdp") int plain(struct xdp_md *ctx) { __u32 s = 1;
  for (int i = 0; i < 60000; i++) { s = s * 31 + i; asm volatile("" : "+r"(s)); } return s & 1 ? 2 : 1; }
"""


def _subject(name: str) -> Subject:
    return subject_of(objects.compiled(SOURCE), "x.o", name)


def test_a_program_that_spins_on_some_input_is_found() -> None:
    assert spins(_subject("spin"), 1)
    assert spins(_subject("deep"), 1)  # only where a byte of the packet has a certain value
    assert not spins(_subject("bounded"), 1)


def test_long_runs_are_fewer_and_that_is_said() -> None:
    long, short = allowance(_subject("plain"), 2000, 1), allowance(_subject("bounded"), 2000, 1)

    assert long.inputs == 20 and "200,000 instructions" in long.left_out(2000)[0]
    assert short.inputs == 2000 and short.left_out(2000) == ()


def test_the_kernel_is_not_asked_to_run_what_may_not_end() -> None:
    subject = _subject("deep")

    asked = compare(subject, subject, inputs=50, engine="kernel")

    assert asked.verdict is Verdict.UNDETERMINED and "could not end them" in asked.reason

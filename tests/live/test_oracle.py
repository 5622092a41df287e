"""Programs compared by test runs: what is found, what is not held against a program, and that nothing stays loaded."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

import objects
from bpflens.execute.oracle.oracle import compare
from bpflens.execute.poison import UNWRITTEN
from bpflens.execute.result import Comparison, Input, Scene, Verdict
from bpflens.execute.run import played
from bpflens.execute.subject import Subject, subject_of

pytestmark = pytest.mark.live

HEAD = """
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct pair { __u32 a; __u64 b; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, struct pair); __uint(max_entries, 64); } table SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 8); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 8); } each SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
__u64 total;
char _license[] SEC("license") = "GPL";
"""
XDP = """
SEC("xdp") int entry(struct xdp_md *ctx) {
  unsigned char *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  if (p + 34 > end) return XDP_ABORTED;
  if (*(__u16 *)(p + 12) != bpf_htons(0x800)) return XDP_PASS;
  __u32 key = p[23];
  struct pair *v = bpf_map_lookup_elem(&table, &key);
  if (v) { v->b += 1; if (v->a == 7) return XDP_DROP; }
  %s
  return XDP_PASS;
}
"""


def program(body: str, function: str = "entry") -> Subject:
    """The program compiled from C."""
    return subject_of(objects.compiled(HEAD + body), "test", function)


def both(first: str, second: str, **options: int) -> Comparison:
    """Two XDP programs that differ in one statement."""
    return compare(program(XDP % first), program(XDP % second), inputs=400, **options)


def test_equal_programs_agree_and_say_what_was_run() -> None:
    result = both("p[0] = 1;", "p[0] = 2; p[0] = 1;")
    assert result.verdict is Verdict.EQUAL
    assert result.inputs >= 400 and result.engine == "kernel"
    assert result.coverage is not None and result.coverage.reached >= result.coverage.blocks - 1
    assert {0, 2} <= set(result.retvals)


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("", "if (p[14] & 1) return XDP_TX;", "return value"),
        ("p[1] = 3;", "p[1] = 4;", "packet"),
        ("if (v) v->a += 1;", "", "map table"),
        ("total += p[15];", "total += p[16];", "global data .bss"),
        ("__u32 k = 1; __u64 *c = bpf_map_lookup_elem(&counts, &k); if (c) *c += 1;", "", "map counts at 1"),
        ("__u32 k = 2; __u64 *c = bpf_map_lookup_elem(&each, &k); if (c) *c += 1;", "", "map each at 2"),
        ("bpf_ringbuf_output(&ring, &key, 4, 0);", "key++; bpf_ringbuf_output(&ring, &key, 4, 0);", "map ring, record 0"),
        ("bpf_perf_event_output(ctx, &perf, -1, &key, 4);", "bpf_perf_event_output(ctx, &perf, -1, &key, 2);", "output, record 0"),
        ('bpf_printk("one");', 'bpf_printk("two");', "output, record 0"),
        ("bpf_redirect(1, 0);", "bpf_redirect(2, 0);", "argument 1 of bpf_redirect"),
    ],
)
def test_a_difference_is_found_and_shown(first: str, second: str, what: str) -> None:
    result = both(first, second)
    assert result.verdict is Verdict.DIFFERENT
    assert result.difference is not None and result.difference.what.startswith(what)
    scene = result.difference.scene
    assert scene is not None
    again = compare(program(XDP % first), program(XDP % second), inputs=[scene])
    assert again.verdict is Verdict.DIFFERENT and again.difference is not None and again.difference.what == result.difference.what


def test_time_and_chance_are_the_same_for_both() -> None:
    body = "total += bpf_ktime_get_ns() + bpf_get_prandom_u32() + bpf_get_smp_processor_id();"
    result = both(body, body)
    assert result.verdict is Verdict.EQUAL and not result.unsteady
    assert "bpf_ktime_get_ns fixed" in result.assumed


def test_types_without_a_test_run_get_a_context_of_ours() -> None:
    body = """
    SEC("kprobe/x") int entry(struct pt_regs *ctx) {
      if (ctx->rdi == %d) bpf_send_signal(9);
      struct pair p = { .a = ctx->rsi }; __u32 k = 1;
      bpf_perf_event_output(ctx, &perf, -1, &p, sizeof(p));
      bpf_map_update_elem(&table, &k, &p, 0);
      return 0;
    }"""
    same = compare(program(body % 77), program(body % 77), inputs=400)
    assert same.verdict is Verdict.EQUAL and same.engine == "kernel, as syscall program"
    other = compare(program(body % 77), program(body % 78), inputs=400)
    assert other.verdict is Verdict.DIFFERENT and other.reason.startswith("argument 1 of bpf_send_signal")


def test_maps_that_are_declared_differently() -> None:
    first = program(XDP % "")
    table = replace(first.maps["table"], max_entries=63)
    result = compare(first, replace(first, maps={**first.maps, "table": table}), inputs=100)
    assert result.verdict is Verdict.DIFFERENT and "table: max_entries 64 and 63" in result.reason


def test_a_program_that_the_kernel_refuses() -> None:
    good = program(XDP % "")
    bad = replace(good, words=(0x95,), map_at={}, func_info=())
    result = compare(good, bad, inputs=100)
    assert result.verdict is Verdict.UNDETERMINED and "refuses the second program" in result.reason
    result = compare(good, replace(good, words=(0x95,)), inputs=100)
    assert result.verdict is Verdict.UNDETERMINED and "malformed" in result.reason


def test_nothing_stays_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    both("p[1] = 3;", "p[1] = 4;")
    compare(program(XDP % ""), replace(program(XDP % ""), words=(0x95,), map_at={}, func_info=()), inputs=100)
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_cpus_of_the_process_are_as_before() -> None:
    before = os.sched_getaffinity(0)
    both("", "")
    assert os.sched_getaffinity(0) == before


def test_given_scenes_are_run_as_given() -> None:
    packet = bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x06" + bytes(20)
    key = (6).to_bytes(4, "little")
    drop = (7).to_bytes(8, "little") + bytes(8)
    scenes = [Scene((Input(packet),), {"table": {key: drop}}), Scene((Input(packet),))]
    result = compare(program(XDP % ""), program(XDP % ""), inputs=scenes)
    assert result.verdict is Verdict.EQUAL and result.retvals == (1, 2) and result.inputs == 2


def test_one_program_on_chosen_inputs() -> None:
    packet = bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x06" + bytes(20)
    key, drop = (6).to_bytes(4, "little"), (7).to_bytes(8, "little") + bytes(8)
    scene = Scene((Input(packet), Input(bytes(40))), {"table": {key: drop}})
    for engine in ("kernel", "interpreter"):
        result = played(program(XDP % ""), scene, engine=engine)
        assert result.engine == engine and [outcome.retval for outcome in result.outcomes] == [1, 2]
        assert result.maps["table"] == {key: drop[:8] + (1).to_bytes(8, "little")}


def test_padding_that_nobody_wrote_is_not_held_against_a_program() -> None:
    """The original puts the padding of a structure into a map; the values beside it are compared all the same."""
    head = """struct padded { __u8 a; __u64 b; };
    struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, struct padded); __uint(max_entries, 64); }
      holes SEC(".maps");
    """
    body = "struct padded q; q.a = p[14]; q.b = %s; bpf_map_update_elem(&holes, &key, &q, 0);"
    first, same, other = (program(head + XDP % (body % value)) for value in ("5", "5", "6"))
    result = compare(first, same, inputs=300)
    assert result.verdict is Verdict.EQUAL and UNWRITTEN in result.left_out and not result.unsteady
    assert compare(first, other, inputs=300).reason.startswith("map holes")


def test_memory_that_only_the_second_program_reads_without_writing_it() -> None:
    first = XDP % "volatile __u32 w[4]; w[1] = 3; w[2] = 4; if (p[14] & 1) return w[1] & 3;"
    second = first.replace("w[1] = 3;", "")
    result = compare(program(first), program(second), inputs=300)
    assert result.verdict is Verdict.DIFFERENT and result.reason.startswith("return value")

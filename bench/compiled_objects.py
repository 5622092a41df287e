"""BPF objects of a million instructions as clang makes them, for bench_dis.py.

Programs with maps, global variables, packet access, helper calls, switches and a bpf_printk about every forty instructions, drawn at
random from a fixed seed. They are compiled as many small units, because clang 14 takes quadratic time for BTF, and linked by
`bpftool gen object`.
"""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

__all__ = ("SHAPES", "Shape", "build")

UNITS = 40
HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct key { __u32 a; __u16 b; __u16 c; };
struct value { __u64 packets; __u64 bytes; __u32 flags; __u32 seen[4]; };
struct {
  __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1024); __type(key, struct key); __type(value, struct value);
} flows SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 64); __type(key, __u32); __type(value, __u64); } counters SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } events SEC(".maps");
const volatile __u32 limit = 100;
__u64 total, dropped;
__u32 mode = 3;
"""
TAIL = 'char _license[] SEC("license") = "GPL";'
SHARED = re.compile(r"\b(flows|counters|events|limit|total|dropped|mode)\b(?! of)")


class Shape(NamedTuple):
    """`functions` (at a million instructions) of equal size, `flags` of clang, strings of bpf_printk on the stack or not, functions per
    section (0: all in one)."""

    name: str
    functions: int
    flags: tuple[str, ...] = ("-g",)
    stack: bool = False
    per_section: int = 0


SHAPES = (
    Shape("2000 functions, BTF", 2000),
    Shape("the same without -g", 2000, ()),
    Shape("the same with -mcpu=v3", 2000, ("-g", "-mcpu=v3")),
    Shape("strings on the stack", 2000, stack=True),
    Shape("200 sections", 2000, ("-g", "-mcpu=v3"), per_section=10),
    Shape("80 huge functions", 80),
)


def build(path: Path, shape: Shape, insns: int, compiler: str = "clang") -> str:
    """Make the object beside `path`; its name. Objects without BTF cannot be linked: they are one unit, which clang does in time."""
    path.mkdir()
    functions = max(UNITS, shape.functions * insns // 1_000_000)
    units = UNITS if "-g" in shape.flags else 1
    objects = []
    for unit in range(units):
        source = path / f"{unit}.c"
        source.write_text(_source(unit, functions // units, insns // functions, shape))
        objects.append(str(source.with_suffix(".o")))
        include = f"-I/usr/include/{_triple()}"
        subprocess.run([compiler, "-O2", "--target=bpf", include, *shape.flags, "-c", source, "-o", objects[-1]], check=True)
    out = f"{path}.o"
    if len(objects) > 1:
        subprocess.run(["bpftool", "gen", "object", out, *objects], check=True)
    else:
        Path(objects[0]).rename(out)
    return out


def _triple() -> str:
    return subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True, check=True).stdout.strip()


def _source(unit: int, functions: int, insns: int, shape: Shape) -> str:
    dice = random.Random(unit)
    first = unit * functions
    body = HEAD + "".join(_function(dice, n, insns, shape.per_section) for n in range(first, first + functions))
    return f"#define BPF_NO_GLOBAL_DATA {int(shape.stack)}\n" * shape.stack + SHARED.sub(rf"\1_{unit}", body) + TAIL


def _function(dice: random.Random, number: int, insns: int, per_section: int) -> str:
    section = f"xdp{number // per_section}" if per_section else "xdp"
    lines = [
        f'SEC("{section}") int f{number}(struct xdp_md *ctx) {{',
        "void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;",
        f"__u32 a = ctx->ingress_ifindex, b = ctx->rx_queue_index, c = {number}, d = {dice.randrange(99)};",
    ]
    for _ in range(0, insns, 47):  # what three blocks and a bpf_printk compile to
        lines += [_block(dice) for _ in range(3)]
        what = dice.choice(("queue", "flow", "drop", "state of", "seen"))
        lines.append(f'bpf_printk("{what} {dice.randrange(200)}: %u %u\\n", {dice.choice("abcd")}, {dice.choice("abcd")});')
    return "\n".join([*lines, "return (a ^ b ^ c ^ d) & 3; }\n"])


def _block(dice: random.Random) -> str:
    x, y, z = (dice.choice("abcd") for _ in range(3))
    k = dice.randrange(1, 1 << dice.choice((4, 8, 16, 31)))
    off = dice.randrange(60)
    blocks = (
        (3, f"if (({x} ^ {y}) > {k}u) {{ {z} += {x} * {dice.randrange(3, 99)}; total += {y}; }}"),
        (2, f"{{ struct key key = {{ .a = {x}, .b = {y}, .c = {dice.randrange(9)} }}; struct value *v = bpf_map_lookup_elem(&flows, &key); "
            f"if (v) {{ v->packets += 1; v->bytes += {z}; {x} ^= v->flags; }} }}"),
        (2, f"{{ __u32 i = {x} & 63; __u64 *v = bpf_map_lookup_elem(&counters, &i); if (v) __sync_fetch_and_add(v, {y}); }}"),
        (3, f"{x} = ({y} << {dice.randrange(1, 13)}) + ({z} >> {dice.randrange(1, 13)}) + {k}u; {z} |= {x} & {k >> 1}u;"),
        (2, f"if ({x} > limit && mode != {dice.randrange(9)}) {{ dropped++; {y} -= {z}; }} else {y} += {dice.randrange(1, 999)};"),
        (2, f"{x} ^= bpf_ktime_get_ns() >> {dice.randrange(9)};"),
        (3, f"if (data + {off + 4} <= data_end) {{ {x} += *(__u32 *)(data + {off}); {y} ^= *(__u16 *)(data + {off}); }}"),
        (1, f"switch ({x} & 7) {{ case 0: {y} += 1; break; case 1: {z} ^= {k}u; break; case 2: {y} = {x}; break; "
            f"case 5: {z} = {y}; break; }}"),
        (1, f"{{ struct key e = {{ .a = {x}, .b = {y} }}; bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &e, sizeof e); }}"),
    )  # fmt: skip
    return dice.choices([text for _, text in blocks], [weight for weight, _ in blocks])[0]

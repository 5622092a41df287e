"""Every level of the decompiler compiles, and its lines know their instructions."""

from __future__ import annotations

import json
import subprocess

import pytest

import needs
import objects
from bpflens.cli.main import run
from bpflens.decompile.decompile import decompile
from bpflens.decompile.result import Level
from bpflens.execute.symbolic import prove_equal
from bpflens.targets.open import open_target

LEVELS = (Level.STRUCTURED, Level.INSTRUCTIONS, Level.ASSEMBLY)


@pytest.fixture(scope="module")
def object_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("decompile") / "x.o"
    path.write_bytes(objects.compiled(objects.MAPS_AND_CALLS))
    return str(path)


@pytest.mark.parametrize("level", LEVELS)
def test_it_compiles_without_any_other_flag(object_file, tmp_path, level):
    made = decompile(open_target(object_file), "x.o", level)
    assert [f.level for f in made.functions] == [level] * len(made.functions)
    source = tmp_path / "x.c"
    source.write_text(made.text())
    command = [needs.tool("clang"), "-O2", "-g", "-target", "bpf", "-Werror", "-c", str(source), "-o", str(tmp_path / "x.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("level", LEVELS)
def test_every_instruction_has_a_line_at_these_levels(object_file, level):
    for function in decompile(open_target(object_file), "x.o", level).functions:
        said = {slot for line in function.lines for slot in line.slots}
        assert said <= set(range(function.start, function.end))
        if level is Level.ASSEMBLY:
            assert len(said) >= function.insn_count - function.lines_of(function.start).__len__() - 8


def test_json_maps_both_ways(object_file, capsys):
    assert run(["--json", "decompile", f"{object_file}#helper", "--level", "instructions"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    function = next(r for r in records if r["schema"] == "decompile/1")
    for slot, lines in function["slots"].items():
        assert all(int(slot) in function["lines"][index]["slots"] for index in lines)


def test_classic_code_is_refused(capsys):
    assert run(["decompile", "pcap:tcp"]) == 3
    assert "classic" in capsys.readouterr().err


SPILLED = """
    r1 = 7
    *(u64 *)(r10 - 16) = r1
    *(u64 *)(r10 - 8) = r1
    r1 = r10
    r1 += -16
    *(u64 *)(r10 - {slot}) = r1
    r2 = 8
    r3 = 0
    call bpf_probe_read_kernel
    r1 = 0
    *(u64 *)(r10 - 8) = r1
    r1 = *(u64 *)(r10 - {slot})
    r2 = {size}
    call bpf_get_current_comm
    r0 = *(u64 *)(r10 - 8)
    exit
"""


def test_an_address_that_was_kept_in_the_frame(tmp_path):
    """The first call gets 8 bytes of it, the second one all 16: they are one object."""
    (tmp_path / "x.s").write_text(SPILLED.format(slot=32, size=16))
    assert run(["asm", str(tmp_path / "x.s"), "-o", str(tmp_path / "x.o")]) == 0
    text = decompile(open_target(str(tmp_path / "x.o")), "x.o", Level.STRUCTURED).text()
    assert "get_current_comm(&stack_16, 16)" in text
    assert "return stack_16.at_8" in text


EVERYTHING = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
typedef __u32 u32; typedef __u64 u64;
struct task_struct { int pid; int tgid; struct task_struct *real_parent; } __attribute__((preserve_access_index));
struct kept { struct bpf_spin_lock lock; u32 n; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, u32); __type(value, struct kept); __uint(max_entries, 4); } kept SEC(".maps");
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
const volatile u32 limit = 9;
static u64 total;
static long step(u32 index, u64 *sum) { *sum += index * limit; return *sum > 900; }
static __attribute__((noinline)) u32 mixed(u32 a, u32 b) { return a * 31 + (b ^ total); }
SEC("tp_btf/sched_process_fork") int everything(u64 *ctx) {
  struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];
  u64 sum = child->pid;
  u32 key = parent->tgid & 3;
  struct kept *value = bpf_map_lookup_elem(&kept, &key);
  if (!value) return 0;
  bpf_loop(20, step, &sum, 0);
  bpf_spin_lock(&value->lock);
  value->n += sum;
  bpf_spin_unlock(&value->lock);
  bpf_rcu_read_lock();
  if (child->real_parent->tgid == 7 && __builtin_preserve_field_info(child->tgid, 0) > 2) total += mixed(sum, key);
  bpf_rcu_read_unlock();
  return 0;
}
char _license[] SEC("license") = "GPL";
"""


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_loads_whatever_it_refers_to(tmp_path, level):
    """Callbacks, spin locks, kernel functions, CO-RE, global data, subprograms."""
    needs.root()
    from bpflens.execute.kernel_engine import refusal
    from bpflens.execute.subject import subjects

    original = tmp_path / "x.o"
    original.write_bytes(objects.compiled(EVERYTHING, "-mcpu=v3"))
    assert refusal(subjects(original.read_bytes(), "x.o")["everything"]) is None
    made = decompile(open_target(str(original)), "x.o", level)
    assert [f.level for f in made.functions] == [level] * len(made.functions)
    (tmp_path / "y.c").write_text(made.text())
    command = [needs.tool("clang"), "-O2", "-g", "-target", "bpf", "-c", str(tmp_path / "y.c"), "-o", str(tmp_path / "y.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert refusal(subjects((tmp_path / "y.o").read_bytes(), "y.o")["everything"]) is None
GLOBALS = """
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
struct pair { unsigned int a, b; };
unsigned long long first; struct pair second; unsigned char third[5]; static struct pair last[3];
unsigned int zero SEC(".data") = 0; unsigned int seven = 7;
SEC("tc") int f(struct __sk_buff *skb) { last[skb->len & 1].a++; third[2]++; first += seven + zero; second.b++; return last[1].b; }
"""


def test_global_variables_keep_their_places(tmp_path):
    """Whoever reads the map .bss or .data of the compiled C finds each variable where the object had it, whatever the code uses first."""
    (tmp_path / "x.o").write_bytes(objects.compiled(GLOBALS, "-g"))
    source = tmp_path / "x.c"
    source.write_text(decompile(open_target(str(tmp_path / "x.o")), "x.o", Level.STRUCTURED).text())
    command = [needs.tool("clang"), "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(tmp_path / "y.o")]
    subprocess.run(command, check=True, capture_output=True)
    places = []
    for name in ("x.o", "y.o"):
        program = open_target(str(tmp_path / name))[0]
        maps = {m.name: m for m in program.maps}
        places.append({kind: sorted((at, row[0], row[1]) for at, row in maps[kind].datasec.items()) for kind in (".bss", ".data")})
    assert places[0] == places[1] and len(places[0][".bss"]) == 4 and len(places[0][".data"]) == 2


RELOCATED = """
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
#define BY_NAME __attribute__((preserve_access_index))
struct inner { long x, y; int n[4]; } BY_NAME;
struct outer { char pad[400]; struct inner in; struct { int a, b; }; struct other *next; struct inner more; int unused[9]; } BY_NAME;
static long (*read_kernel)(void *, int, const void *) = (void *)113;
SEC("tp_btf/sched_switch") int f(unsigned long long *ctx) {
  struct outer *o = (void *)ctx[1]; long y = 0; int b = 0, n = 0; void *p = 0;
  read_kernel(&y, 8, &o->in.y); read_kernel(&b, 4, &o->b); read_kernel(&p, 8, &o->next); read_kernel(&n, 4, &o->more.n[2]);
  return y > 3 && b && p ? n : 0; }
char _license[] SEC("license") = "GPL";
"""


def test_of_a_structure_that_is_relocated_by_name_only_what_is_named(tmp_path):
    """The offsets are the kernel's, so the other members and their types would say nothing; and it is still proved equal."""
    (tmp_path / "x.o").write_bytes(objects.compiled(RELOCATED, "-g"))
    originals = open_target(str(tmp_path / "x.o"))
    source = tmp_path / "x.c"
    source.write_text(decompile(originals, "x.o", Level.STRUCTURED).text())
    shown = source.read_text()
    assert "pad" not in shown and "unused" not in shown and "long x" not in shown
    assert shown.index("struct inner {") < shown.index("struct outer {") and "n[4]" in shown
    command = [needs.tool("clang"), "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(tmp_path / "y.o")]
    subprocess.run(command, check=True, capture_output=True)
    recompiled = open_target(str(tmp_path / "y.o"))
    assert prove_equal(originals[0], recompiled[0]).proved
    other = tmp_path / "z.c"
    other.write_text(shown.replace("in.y", "in.z").replace("long y", "long z").replace("long int y", "long int z"))
    assert other.read_text() != shown
    subprocess.run([*command[:-3], str(other), "-o", str(tmp_path / "z.o")], check=True, capture_output=True)
    refused = prove_equal(originals[0], open_target(str(tmp_path / "z.o"))[0])
    assert not refused.proved and "only one program refers to" in refused.reason


TABLE = """
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
int first(struct xdp_md *ctx);
struct { int (*type)[BPF_MAP_TYPE_PROG_ARRAY]; int (*max_entries)[4]; int (*key_size)[4]; int (*values[])(struct xdp_md *); }
  table SEC(".maps") = { .values = { [2] = &first } };
static long (*tail_call)(void *, void *, int) = (void *)12;
SEC("xdp") int first(struct xdp_md *ctx) { return ctx->rx_queue_index ? 1 : 2; }
SEC("xdp") int entry(struct xdp_md *ctx) { tail_call(ctx, &table, 2); return 0; }
"""


@pytest.mark.parametrize("function", ["", "#entry"])
def test_programs_that_a_map_begins_with_are_declared_before_it(tmp_path, function):
    (tmp_path / "x.o").write_bytes(objects.compiled(TABLE, "-g"))
    source = tmp_path / "x.c"
    assert run(["decompile", f"{tmp_path / 'x.o'}{function}", "-o", str(source)]) == 0
    command = [needs.tool("clang"), "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(tmp_path / "y.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = next(m.fields.get("values") for m in open_target(str(tmp_path / "y.o"))[0].maps if m.name == "table")
    assert values == ({} if function else {2: "first"}) or (function and values is None)

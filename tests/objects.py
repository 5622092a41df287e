"""BPF objects for tests: compiled from C with clang, or taken out of the Debian packages; and what other tools say of them."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from pathlib import Path

import needs

INCLUDE = "/usr/include/x86_64-linux-gnu"  # linux/bpf.h wants asm/types.h

REFUSED = r"""
#include <linux/bpf.h>
__attribute__((section("xdp"), used)) int bad(struct xdp_md *ctx) { return *((char *)(long)ctx->data + 5) == 3 ? XDP_DROP : XDP_PASS; }
char _license[] __attribute__((section("license"), used)) = "GPL";
"""
"""A program that reads the packet without asking how long it is, which no verifier accepts."""

MAPS_AND_CALLS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct key { __u32 a; __u16 b; };
struct val { __u64 n; char name[8]; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, struct key); __type(value, struct val); __uint(max_entries, 64);
         __uint(map_flags, BPF_F_NO_PREALLOC); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 3);
         __array(values, int (struct xdp_md *)); } jumps SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 5); };
struct inner in1 SEC(".maps"), in2 SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, __u32); __array(values, struct inner); }
  outer SEC(".maps") = { .values = { &in1, 0, &in2 } };
const volatile __u32 limit = 7;
static __u64 seen[4] = {1, 2, 3, 4};
__u32 zeroed;
int version_of SEC(".data.custom") = 5;
static __attribute__((noinline)) int helper(struct xdp_md *ctx, int x) { seen[x & 3]++; return x * 3 + ctx->ingress_ifindex; }
__attribute__((noinline)) int global_fn(struct xdp_md *ctx, int x) { return helper(ctx, x + 1) + helper(ctx, limit); }
static long cb(__u32 i, void *ctx) { zeroed += i; return 0; }
SEC("xdp") int entry(struct xdp_md *ctx) {
  struct key k = { .a = ctx->ingress_ifindex };
  struct val *v = bpf_map_lookup_elem(&counts, &k);
  if (v) __sync_fetch_and_add(&v->n, 1);
  bpf_loop(10, cb, 0, 0);
  bpf_printk("hello %d", version_of);
  bpf_tail_call(ctx, &jumps, 1);
  return global_fn(ctx, 2) & 1 ? XDP_PASS : XDP_DROP;
}
SEC("xdp") int second(struct xdp_md *ctx) {
  __u32 k = 1;
  void *m = bpf_map_lookup_elem(&outer, &k);
  if (m) { __u64 *p = bpf_map_lookup_elem(m, &k); if (p) return *p; }
  return helper(ctx, 1) ? 2 : 1;
}
char _license[] SEC("license") = "GPL";
"""

LEGACY_MAPS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct bpf_map_def { unsigned int type, key_size, value_size, max_entries, map_flags; };
struct bpf_map_def SEC("maps") first = { .type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 16, .map_flags = 1 };
struct bpf_map_def SEC("maps") second = { .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 2, .max_entries = 3 };
SEC("socket") int entry(struct __sk_buff *skb) { int k = 1; return bpf_map_lookup_elem(&second, &k) || bpf_map_lookup_elem(&first, &k); }
char _license[] SEC("license") = "Dual BSD/GPL";
__u32 _version SEC("version") = 0x50607;
"""

CORE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct in_addr_t { int x; };
struct task_struct { int pid; struct { int tgid; union { int a; long b; }; }; struct in_addr_t list[4]; unsigned bits : 3, more : 5; };
enum colours { RED = 1, BLUE = 5 };
typedef struct { int q; } anon_t;
#pragma clang attribute pop
SEC("raw_tp") int entry(void *ctx) {
  struct task_struct *t = (void *)bpf_get_current_task();
  int a = BPF_CORE_READ(t, pid) + BPF_CORE_READ(t, tgid) + BPF_CORE_READ(t, list[2].x);
  a += bpf_core_field_exists(t->b) + bpf_core_field_size(t->list) + BPF_CORE_READ_BITFIELD_PROBED(t, more);
  a += bpf_core_type_exists(struct task_struct) + bpf_core_type_size(anon_t) + bpf_core_type_id_kernel(struct task_struct);
  a += bpf_core_type_id_local(struct in_addr_t) + bpf_core_enum_value_exists(enum colours, BLUE) + bpf_core_enum_value(enum colours, RED);
  return a;
}
char _license[] SEC("license") = "GPL";
"""

EXTERNS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct task_struct { int pid; };
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
extern const void init_task __ksym __weak;
extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF __kconfig __weak;
SEC("tp_btf/task_newtask") int entry(unsigned long long *ctx) {
  struct task_struct *t = bpf_task_acquire((void *)ctx[0]);
  if (t) bpf_task_release(t);
  return LINUX_KERNEL_VERSION + CONFIG_BPF + ((long)&init_task & 255);
}
char _license[] SEC("license") = "GPL";
"""


@functools.cache
def compiled(source: str, *flags: str, target: str = "bpf") -> bytes:
    """The object that clang makes of a C source (-O2; -g unless "-g0" is among the flags)."""
    clang = needs.tool("clang")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "prog.c").write_text(source)
        here = f"-ffile-prefix-map={path}=."  # the same object whatever the directory
        command = [clang, "-target", target, "-O2", "-g", here, "-I", INCLUDE, *flags, "-c", "prog.c", "-o", "prog.o"]
        done = subprocess.run(command, cwd=path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return (path / "prog.o").read_bytes()


@functools.cache
def package_files(package: str) -> tuple[Path, ...]:
    """The executables and objects that a Debian package installs."""
    done = subprocess.run([needs.tool("dpkg"), "-L", package], capture_output=True, text=True, timeout=60)
    files = [Path(line) for line in done.stdout.splitlines() if "/sbin/" in line or line.endswith(".o")]
    found = tuple(path for path in files if path.is_file())
    if not found:
        needs.tool(f"of package {package}")
    return found


def libbpf_says(object: bytes) -> str:
    """What libbpf logs, at its most talkative, of an object that bpftool loads and forgets: in a mount namespace of its own.

    The log is there whether or not the kernel takes the programs.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "prog.o").write_bytes(object)
        mount = f"mount -t tmpfs none /sys/fs/bpf 2>/dev/null; mount -t bpf none /sys/fs/bpf && {needs.tool('bpftool')} -d prog loadall "
        done = subprocess.run(
            [needs.tool("unshare"), "-m", "sh", "-c", f"{mount} {path}/prog.o /sys/fs/bpf/x; echo status=$?"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.stdout + done.stderr


def loads(log: str) -> bool:
    """Whether bpftool loaded the object of this log."""
    return re.search(r"^status=0$", log, re.M) is not None

"""At least one small program per row of the catalogue of rewrites: what is loaded, and what must come back.

`text` is assembler with the descriptors of maps in braces ({hash}) and ids of kfuncs as {kfunc:NAME}. `grade` is the grade that the row must
get: "exact" where the rewriting can be inverted, "equivalent" where it loses something.
"""

from __future__ import annotations

from dataclasses import dataclass

from bpflens.isa.extended.names import PROG_TYPES

TYPE = {name: number for number, name in PROG_TYPES.items()}

# name -> arguments of create_map: type, key size, value size, max entries, flags
MAPS = {
    "hash": (1, 4, 8, 16, 0),
    "array": (2, 4, 8, 4, 0),
    "array1": (2, 4, 8, 1, 0),
    "array_odd": (2, 4, 24, 4, 0),
    "prog_array": (3, 4, 4, 4, 0),
    "percpu_hash": (5, 4, 8, 16, 0),
    "percpu_array": (6, 4, 8, 4, 0),
    "lru": (9, 4, 8, 64, 0),
    "lpm": (11, 8, 8, 16, 1),
    "devmap": (14, 4, 4, 4, 0),
    "sockmap": (15, 4, 4, 4, 0),
    "xskmap": (17, 4, 4, 4, 0),
    "queue": (22, 0, 8, 4, 0),
    "stack": (23, 0, 8, 4, 0),
    "perf": (4, 4, 4, 2, 0),
    "ringbuf": (27, 0, 0, 4096, 0),
    "bloom": (30, 0, 8, 4, 0),
}


@dataclass(frozen=True)
class Row:
    """One program: `row` of the catalogue, `name`, program type, expected attach type, assembler text."""

    row: str
    name: str
    type: str
    text: str
    attach: int = 0
    grade: str = "exact"
    flags: int = 0
    functions: tuple[tuple[str, str], ...] = ()


KEY = "r2 = r10\nr2 += -4\n*(u32 *)(r10 -4) = 0\n"


def lookup(map: str, after: str = "", key: str = KEY) -> str:
    """A look-up, its test for NULL, and what is done with the value."""
    return f"{key}r1 = map[fd:{{{map}}}]\ncall bpf_map_lookup_elem\nif r0 == 0 goto out\n{after or 'r0 = *(u32 *)(r0 +0)'}\nout:\nr0 = 0\nexit\n"


ROWS = (
    # 5: what is lost
    Row("5.1", "branch never taken", "sched_cls", "r0 = 0\nif r0 != 0 goto dead\nr0 = 7\nexit\ndead:\nr0 = 9\nexit\n", grade="equivalent"),
    Row("5.1", "branch always taken", "sched_cls", "r0 = 0\nif r0 == 0 goto on\nr0 = 7\non:\nexit\n", grade="equivalent"),
    Row("5.1", "jump over nothing", "sched_cls", "r0 = *(u32 *)(r1 +0)\ngoto pc+0\nr0 += 1\nexit\n"),
    Row("5.1", "conditional jump over nothing stays", "sched_cls", "r0 = *(u32 *)(r1 +0)\nif r0 == 1 goto pc+0\nexit\n"),
    Row(
        "5.2", "spill around a fast call", "sched_cls",
        "r1 = *(u32 *)(r1 +0)\n*(u64 *)(r10 -8) = r1\ncall bpf_get_smp_processor_id\nr1 = *(u64 *)(r10 -8)\nr0 += r1\nexit\n",
    ),
    Row(
        "5.2", "two spills around a fast call", "sched_cls",
        "r3 = *(u32 *)(r1 +4)\nr2 = *(u32 *)(r1 +0)\n*(u64 *)(r10 -8) = r2\n*(u64 *)(r10 -16) = r3\ncall bpf_get_smp_processor_id\n"
        "r3 = *(u64 *)(r10 -16)\nr2 = *(u64 *)(r10 -8)\nr0 += r2\nr0 += r3\nexit\n",
    ),
    Row("5.3", "constant queue_mapping too large", "sched_cls", "*(u32 *)(r1 +12) = 65535\nr0 = 0\nexit\n"),
    # 6: constants, calls, functions
    Row("6.1", "64-bit constant", "sched_cls", "r0 = 0x123456789abcdef0\nr0 >>= 33\nexit\n"),
    Row("6.2", "map", "sched_cls", lookup("hash")),
    Row("6.2", "map value", "sched_cls", "r1 = map[fd:{array1}][0]+4\nr0 = *(u32 *)(r1 +0)\nexit\n"),
    Row("6.2", "map by index", "sched_cls", "r1 = map[idx:0]\n" + KEY + "call bpf_map_lookup_elem\nr0 = 0\nexit\n"),
    Row("6.2", "map value by index", "sched_cls", "r1 = map[idx:1]+4\nr0 = *(u32 *)(r1 +0)\nexit\n"),
    Row("6.3", "kernel function as typed ksym", "sched_cls", "r1 = ksym[btf_id:{kfunc:bpf_prog_load}]\nr0 = 0\nexit\n"),
    Row(
        "6.4", "callback of for_each", "sched_cls",
        "r1 = map[fd:{hash}]\nr2 = subprog[cb]\nr3 = 0\nr4 = 0\ncall bpf_for_each_map_elem\nr0 = 0\nexit\ncb:\nr0 = *(u32 *)(r3 +0)\nr0 = 0\nexit\n",
        functions=(("main", "prog"), ("cb", "cb")),
    ),
    Row("6.5", "call of a function", "sched_cls", "call f\nexit\nf:\nr0 = *(u32 *)(r1 +16)\nexit\n"),
    Row(
        "6.5", "calls across grown code", "sched_cls",
        "r6 = r1\ncall f\nr1 = r6\ncall g\nexit\nf:\nr0 = *(u32 *)(r1 +40)\nr2 = *(u64 *)(r1 +152)\nr0 /= r2\nexit\n"
        "g:\nr0 = *(u32 *)(r1 +16)\nif r0 == 0 goto out\ncall f\nout:\nexit\n",
    ),
    Row("6.6", "helper", "sched_cls", "call bpf_ktime_get_ns\nexit\n"),
    Row("6.8", "kfunc", "sched_cls", "r1 = r10\nr1 += -8\nr2 = 0\nr3 = 4\ncall kernel-function#{kfunc:bpf_iter_num_new}\nr1 = r10\nr1 += -8\n"
        "call kernel-function#{kfunc:bpf_iter_num_destroy}\nr0 = 0\nexit\n"),
    Row("6.10", "throw", "sched_cls", "r0 = *(u32 *)(r1 +0)\nif r0 == 0 goto out\nr1 = 5\ncall kernel-function#{kfunc:bpf_throw}\nout:\nr0 = 0\nexit\n"),
    # 7: prologue, barriers
    Row(
        "7.1", "prologue for packet writes", "sched_cls",
        "again:\nr2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r2\nr4 += 14\nif r4 > r3 goto out\n*(u8 *)(r2 +0) = 1\nout:\nr0 = 0\nexit\n",
    ),
    Row(
        "7.1", "prologue and a jump back to the first instruction", "sched_cls",
        "again:\nr2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r2\nr4 += 14\nif r4 > r3 goto out\n*(u8 *)(r2 +0) = 1\n"
        "may_goto out\ngoto again\nout:\nr0 = 0\nexit\n",
    ),
    Row(
        "7.1", "prologue", "sk_skb",
        "r2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r2\nr4 += 14\nif r4 > r3 goto out\n*(u8 *)(r2 +0) = 1\nout:\nr0 = 1\nexit\n", attach=5,
    ),
    Row("7", "tstamp with tstamp_type", "sched_cls", "r2 = *(u8 *)(r1 +180)\nr3 = *(u64 *)(r1 +152)\n*(u64 *)(r1 +152) = r3\nr0 = 0\nexit\n"),
    Row("7", "queue_mapping from a register", "sched_cls", "r2 = 70000\n*(u32 *)(r1 +12) = r2\nr0 = 0\nexit\n"),
    Row("7", "load into the base register", "sched_cls", "r1 = *(u32 *)(r1 +40)\nr0 = r1\nexit\n"),
    Row("7", "sk of the packet", "sched_cls", "r1 = *(u64 *)(r1 +168)\nif r1 == 0 goto out\nr2 = *(u32 *)(r1 +4)\nr3 = *(u16 *)(r1 +48)\n"
        "call bpf_sk_fullsock\nif r0 == 0 goto out\nr4 = *(u32 *)(r0 +20)\nr5 = *(u32 *)(r0 +76)\nr1 = r0\ncall bpf_tcp_sock\n"
        "if r0 == 0 goto out\nr1 = *(u32 *)(r0 +0)\nr2 = *(u64 *)(r0 +80)\nout:\nr0 = 0\nexit\n"),
    Row("7", "spilled context", "sched_cls", "*(u64 *)(r10 -8) = r1\nr2 = 1\nr3 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r3 +0)\nexit\n"),
    Row(
        "7", "context in the caller's frame", "sched_cls",
        "*(u64 *)(r10 -8) = r1\nr1 = r10\nr1 += -8\ncall f\nexit\nf:\nr2 = *(u64 *)(r1 +0)\nr0 = *(u32 *)(r2 +16)\nexit\n",
    ),
    # 8: do_misc_fixups
    Row("8.1", "division by a register", "sched_cls", "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr2 /= r3\nw2 /= w3\nr2 /= r2\nr0 = 0\nexit\n"),
    Row("8.2", "remainder", "sched_cls", "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr2 %= r3\nr0 = 0\nexit\n"),
    Row("8.3", "remainder, 32 bits", "sched_cls", "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nw2 %= w3\nr0 = 0\nexit\n"),
    Row("8.4", "signed division", "sched_cls", "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr2 s/= r3\nw2 s/= w3\nr0 = 0\nexit\n"),
    Row("8.5", "signed remainder", "sched_cls", "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr2 s%= r3\nw2 s%= w3\nr0 = 0\nexit\n"),
    Row("8.6", "signed division by -1", "sched_cls", "r2 = *(u32 *)(r1 +0)\nr2 s/= -1\nr0 = 0\nexit\n"),
    Row("8.6", "signed remainder by -1", "sched_cls", "r2 = *(u32 *)(r1 +0)\nr2 s%= -1\nw2 s%= -1\nr0 = 0\nexit\n"),
    Row("8.7", "division by a constant", "sched_cls", "r0 = *(u32 *)(r1 +0)\nr0 /= 7\nr0 %= 5\nr0 s/= 3\nexit\n"),
    Row(
        "8.8", "ld_abs", "socket_filter",
        "r6 = r1\nr0 = *(u32 *)skb[4]\nr0 = *(u16 *)skb[12]\nr0 = *(u8 *)skb[-4]\nr0 = 0\nexit\n",
    ),
    Row(
        "8.9", "ld_ind", "socket_filter",
        "r6 = r1\nr7 = *(u32 *)(r6 +0)\nr0 = *(u32 *)skb[r7 + 4]\nr0 = *(u16 *)skb[r7 + 0]\nr0 = *(u8 *)skb[r0 + 1]\nr0 = 0\nexit\n",
    ),
    Row("8.11", "may_goto", "sched_cls", "r0 = 0\nloop:\nr0 += 1\nmay_goto out\ngoto loop\nout:\nexit\n"),
    Row("8.11", "may_goto in a function", "sched_cls", "call f\nexit\nf:\nr0 = 0\nloop:\nr0 += 1\nmay_goto out\ngoto loop\nout:\nexit\n"),
    Row(
        "8.12", "bpf_loop", "sched_cls",
        "r1 = 16\nr2 = subprog[cb]\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\ncb:\nr0 = 0\nexit\n",
        functions=(("main", "prog"), ("cb", "loop")),
    ),
    Row(
        "8.12", "bpf_loop with the context", "sched_cls",
        "*(u64 *)(r10 -8) = r1\nr1 = 16\nr2 = subprog[cb]\nr3 = r10\nr3 += -8\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\n"
        "cb:\nr2 = *(u64 *)(r2 +0)\nr0 = *(u32 *)(r2 +16)\nr0 = 0\nexit\n",
        functions=(("main", "prog"), ("cb", "loop")),
    ),
    Row("8.13", "tail call", "sched_cls", "r2 = map[fd:{prog_array}]\nr3 = 1\ncall bpf_tail_call\nr0 = 0\nexit\n"),
    Row("8.13", "tail call, variable index", "sched_cls", "r3 = *(u32 *)(r1 +0)\nr2 = map[fd:{prog_array}]\ncall bpf_tail_call\nr0 = 0\nexit\n"),
    Row("8.17", "array look-up", "sched_cls", lookup("array")),
    Row("8.17", "array look-up, odd size", "sched_cls", lookup("array_odd")),
    Row("8.18", "percpu array look-up", "sched_cls", lookup("percpu_array")),
    Row("8.19", "hash look-up", "sched_cls", lookup("hash")),
    Row("8.20", "LRU look-up", "sched_cls", lookup("lru")),
    Row("8.21", "percpu hash look-up", "sched_cls", lookup("percpu_hash")),
    Row("8.24", "xskmap look-up", "xdp", lookup("xskmap", "r0 = *(u32 *)(r0 +0)")),
    Row("8.25", "LPM look-up", "sched_cls", lookup("lpm", key="*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\n")),
    Row(
        "8.25", "update and delete", "sched_cls",
        f"{KEY}r1 = map[fd:{{hash}}]\nr3 = r10\nr3 += -16\n*(u64 *)(r10 -16) = 0\nr4 = 0\ncall bpf_map_update_elem\n"
        f"{KEY}r1 = map[fd:{{hash}}]\ncall bpf_map_delete_elem\nr0 = 0\nexit\n",
    ),
    Row(
        "8.25", "push, pop, peek", "sched_cls",
        "*(u64 *)(r10 -8) = 0\nr1 = map[fd:{queue}]\nr2 = r10\nr2 += -8\nr3 = 0\ncall bpf_map_push_elem\nr1 = map[fd:{stack}]\nr2 = r10\nr2 += -8\n"
        "call bpf_map_pop_elem\nr1 = map[fd:{queue}]\nr2 = r10\nr2 += -8\ncall bpf_map_peek_elem\nr0 = 0\nexit\n",
    ),
    Row("8.25", "redirect", "xdp", "r1 = map[fd:{devmap}]\nr2 = 0\nr3 = 0\ncall bpf_redirect_map\nexit\n"),
    Row("8.25", "percpu look-up", "sched_cls", lookup("percpu_array").replace("call bpf_map_lookup_elem", "r3 = 0\ncall bpf_map_lookup_percpu_elem")),
    Row(
        "8.26", "either of two maps", "sched_cls",
        f"r6 = *(u32 *)(r1 +0)\n{KEY}r1 = map[fd:{{hash}}]\nif r6 == 0 goto on\nr1 = map[fd:{{lru}}]\non:\ncall bpf_map_lookup_elem\nr0 = 0\nexit\n",
    ),
    Row("8.27", "jiffies64", "sched_cls", "call bpf_jiffies64\nexit\n"),
    Row("8.28", "get_smp_processor_id", "sched_cls", "call bpf_get_smp_processor_id\nexit\n"),
    Row("8.29", "get_current_task", "kprobe", "call bpf_get_current_task\nr0 = 0\nexit\n"),
    Row("8.29", "get_current_task_btf", "raw_tracepoint", "call bpf_get_current_task_btf\nr0 = 0\nexit\n"),
    Row("8.33", "get_branch_snapshot", "kprobe", "r1 = r10\nr1 += -48\nr2 = 48\nr3 = 0\ncall bpf_get_branch_snapshot\nr0 = 0\nexit\n"),
    Row("8.38", "cast_to_kern_ctx", "sched_cls", "call kernel-function#{kfunc:bpf_cast_to_kern_ctx}\nr1 = *(u32 *)(r0 +112)\nr0 = 0\nexit\n"),
    Row("8.38", "rdonly_cast", "sched_cls", "r1 = 0\nr2 = {struct:sk_buff}\ncall kernel-function#{kfunc:bpf_rdonly_cast}\nr1 = *(u32 *)(r0 +112)\nr0 = 0\nexit\n"),
    Row("8.41", "cmpxchg32 used as 64 bits", "sched_cls", "*(u64 *)(r10 -8) = 0\nr0 = 1\nr2 = 2\nr0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r2)\nexit\n"),
)  # fmt: skip

"""Helpers and kfuncs that the verifier inlines or gives hidden arguments (do_misc_fixups, optimize_bpf_loop, fixup_kfunc_call)."""

from __future__ import annotations

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import ProgType
from bpflens.original.rewrites.template import Item, Rewrite, rewrite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.original.image.image import Image

__all__ = ("ALLOCATION", "HIDDEN_ARGUMENTS", "MAX_LOOPS", "TEMPLATES")

MAX_LOOPS = 8388608  # BPF_MAX_LOOPS

_TRACING = (ProgType.TRACING,)
_LSM_OR_TRACING = (ProgType.TRACING, ProgType.LSM)
_LD_ABS_TYPES = (ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.SCHED_ACT)
_GFP = (0x820, 0xA20, 0xCC0)  # GFP_ATOMIC now and up to v6.1, GFP_KERNEL: include/linux/gfp_types.h, given by do_misc_fixups()
ALLOCATION = "allocation flags of"
_STORAGE_GET = {
    "bpf_sk_storage_get": 107, "bpf_sk_storage_get_tracing": 107, "bpf_sk_storage_get_cg_sock": 107, "bpf_inode_storage_get": 145,
    "bpf_task_storage_get": 156, "bpf_task_storage_get_recur": 156, "bpf_cgrp_storage_get": 210,
}  # fmt: skip


def _storage_get() -> list[Rewrite]:
    rows = []
    for symbol, helper in _STORAGE_GET.items():
        for flags in _GFP:
            rows.append(rewrite(f"{ALLOCATION} {symbol[4:]}", f"r5 = {flags}; call {symbol}", f"call #{helper}"))
    return rows


def _load_packet() -> list[Rewrite]:
    """LD_ABS and LD_IND: bpf_gen_ld_abs, net/core/filter.c."""
    rows = []
    for size, symbol in (("u8", "8"), ("u16", "16"), ("u32", "32")):
        tail = f"r1 = r6; call bpf_skb_load_helper_{symbol}_no_cache; if r0 s>= 0 goto +2; w0 ^= w0; exit"
        original = f"r0 = *({size}*)skb"
        name = "packet load (ld_abs)"
        rows.append(rewrite(name, f"r2 = {{k}}; {tail}", f"{original}[{{k}}]", types=_LD_ABS_TYPES))
        name = "packet load (ld_ind)"
        rows.append(rewrite(name, f"r2 = rX; {tail}", f"{original}[rX + 0]", types=_LD_ABS_TYPES))
        rows.append(rewrite(name, f"r2 = rX; r2 += {{k}}; {tail}", f"{original}[rX + {{k}}]", types=_LD_ABS_TYPES))
    return rows


def _may_goto(image: Image, start: int, bound: dict[str, int]) -> tuple[Item, ...] | None:
    """may_goto: the target is that of the jump taken when the counter is used up."""
    return ((Insn.make(op.MAY_GOTO).word, image.targets[start + 1]),)


def _loop(image: Image, start: int, bound: dict[str, int]) -> tuple[Item, ...] | None:
    return ((Insn.make(op.CALL_CODE, imm=181).word, -1),)


def _jiffies(image: Image, start: int, bound: dict[str, int]) -> tuple[Item, ...] | None:
    """bpf_jiffies64: the address is that of jiffies, per boot; a load from a plain constant is illegal in a program as loaded."""
    address = bound["address"] | bound["address_hi"] << 32
    if address < 0xFF00_0000_0000_0000:
        return None
    return ((Insn.make(op.CALL_CODE, imm=118).word, -1),)


# A may_goto counter in the frame: read here; the slots of its initialisation are dropped by segment.py at function starts.
_MAY_GOTO = (
    rewrite(
        "may_goto",
        "r11 = *(u64*)(r10+{slot}); if r11 == 0 goto {exit}; r11 -= 1; if r11 != 0 goto +2; r11 = {depth}; "
        "call arch_bpf_timed_may_goto; *(u64*)(r10+{slot}) = r11",
        build=_may_goto,
    ),
    rewrite(
        "may_goto",
        "r11 = *(u64*)(r10+{slot}); if r11 == 0 goto {exit}; r11 -= 1; *(u64*)(r10+{slot}) = r11",
        build=_may_goto,
    ),
)

_BPF_LOOP = rewrite(
    "inlined bpf_loop",
    f"if r1 <= {MAX_LOOPS} goto +2; w0 = -7; goto +16; "
    "*(u64*)(r10+{a}) = r6; *(u64*)(r10+{b}) = r7; *(u64*)(r10+{c}) = r8; "
    "r6 = r1; w7 = 0; r8 = r3; if r7 >= r6 goto +5; r1 = r7; r2 = r8; call pc; r7 += 1; if r0 == 0 goto -6; r0 = r7; "
    "r6 = *(u64*)(r10+{a}); r7 = *(u64*)(r10+{b}); r8 = *(u64*)(r10+{c})",
    build=_loop,
)

_CPU_NUMBER = "{} = {{cpu_number}}; r0 = percpu r0; r0 = *(u32*)(r0+0)"
_CURRENT = "r0 = {current}; r0 = percpu r0; r0 = *(u64*)(r0+0)"

_AUX_KFUNCS = (
    "bpf_wq_set_callback", "bpf_wq_set_callback_impl", "bpf_stream_vprintk", "bpf_stream_vprintk_impl",
    "bpf_task_work_schedule_signal_impl", "bpf_task_work_schedule_resume_impl", "bpf_task_work_schedule_signal",
    "bpf_task_work_schedule_resume",
)  # fmt: skip

_NEW = ("bpf_obj_new_impl", "bpf_percpu_obj_new_impl", "bpf_obj_new", "bpf_percpu_obj_new")
_OBJECT = (
    "bpf_obj_drop_impl", "bpf_percpu_obj_drop_impl", "bpf_refcount_acquire_impl", "bpf_obj_drop", "bpf_percpu_obj_drop",
    "bpf_refcount_acquire",
)  # fmt: skip
_PUSH = ("bpf_list_push_front_impl", "bpf_list_push_back_impl", "bpf_list_push_front", "bpf_list_push_back")
_TREE = ("bpf_rbtree_add_impl", "bpf_rbtree_add")
HIDDEN_ARGUMENTS = (*_AUX_KFUNCS, *_NEW, *_OBJECT, *_PUSH, *_TREE)
"""Kfuncs that are known to get an argument from the kernel, with its registers."""

# Number iterators, inlined in v7.3: observed, not read in a source. `destroy` becomes a jump over nothing (opcode_readings.py).
_NUMBERS = (
    rewrite(
        "inlined iter_num_new",
        f"if w2 s> w3 goto +8; w0 = w3; w0 -= w2; if r0 > {MAX_LOOPS} goto +8; w2 += -1; *(u32*)(r1+0) = r2; *(u32*)(r1+4) = r3; r0 = 0; "
        "goto +5; *(u64*)(r1+0) = 0; r0 = -22; goto +2; *(u64*)(r1+0) = 0; r0 = -7",
        "kcall bpf_iter_num_new of vmlinux",
    ),
    rewrite(
        "inlined iter_num_next",
        "r0 = *(u32*)(r1+0); w0 += 1; r2 = *(u32*)(r1+4); if w0 s>= w2 goto +3; *(u32*)(r1+0) = r0; r0 = r1; goto +2; "
        "*(u64*)(r1+0) = 0; r0 = 0",
        "kcall bpf_iter_num_next of vmlinux",
    ),
)

TEMPLATES = (
    *_load_packet(),
    *_MAY_GOTO,
    _BPF_LOOP,
    *_NUMBERS,
    rewrite("inlined get_smp_processor_id", _CPU_NUMBER.format("r0"), "call #8"),
    rewrite("inlined get_smp_processor_id", _CPU_NUMBER.format("w0"), "call #8"),  # up to v6.14: pcpu_hot
    rewrite("inlined get_smp_processor_id", "w0 ^= w0", "call #8", cost=30),  # kernels for one processor
    rewrite("inlined get_current_task_btf", _CURRENT, "call #158"),
    rewrite("inlined get_current_task", _CURRENT, "call #35", cost=1),
    rewrite("inlined jiffies64", "r0 = {address} ll; r0 = *(u64*)(r0+0)", build=_jiffies),
    rewrite("program as hidden argument", "r3 = {aux} ll; call bpf_timer_set_callback", "call #170"),
    rewrite("tail call index mask", "if r3 >= {max} goto +2; w3 &= {mask}; call #12", "call #12"),
    *_storage_get(),
    rewrite("per-cpu pointer of an allocation", "r1 = *(u64*)(r1+0); call bpf_per_cpu_ptr", "call #153", cost=3),
    rewrite("per-cpu pointer of an allocation", "r1 = *(u64*)(r1+0); call bpf_this_cpu_ptr", "call #154", cost=3),
    rewrite("inlined kptr_xchg", "r0 = r2; r0 = xchg64(r1+0)", "call #194", cost=0),
    # arguments of a traced function (bpf_tracing_func_proto(), Linux v5.17)
    rewrite(
        "inlined get_func_arg",
        "r0 = *(u64*)(r1-8); if w2 >= w0 goto +6; r2 <<= 3; r2 += r1; r0 = *(u64*)(r2+0); *(u64*)(r3+0) = r0; r0 = 0; goto +1; r0 = -22",
        "call #183",
        types=_TRACING,
    ),
    rewrite(
        "inlined get_func_arg",
        "r0 = *(u64*)(r1-8); r0 &= 255; if w2 >= w0 goto +6; r2 <<= 3; r2 += r1; r0 = *(u64*)(r2+0); *(u64*)(r3+0) = r0; r0 = 0; "
        "goto +1; r0 = -22",
        "call #183",
        types=_TRACING,
    ),
    rewrite(
        "inlined get_func_ret",
        "r0 = *(u64*)(r1-8); r0 <<= 3; r0 += r1; r3 = *(u64*)(r0+0); *(u64*)(r2+0) = r3; r0 = 0",
        "call #184",
        types=_LSM_OR_TRACING,
    ),
    rewrite(
        "inlined get_func_ret",
        "r0 = *(u64*)(r1-8); r0 &= 255; r0 <<= 3; r0 += r1; r3 = *(u64*)(r0+0); *(u64*)(r2+0) = r3; r0 = 0",
        "call #184",
        types=_LSM_OR_TRACING,
    ),
    rewrite("inlined get_func_ret", "r0 = -95", "call #184", types=_TRACING, cost=30),
    rewrite("inlined get_func_arg_cnt", "r0 = *(u64*)(r1-8); r0 &= 255", "call #185", types=_TRACING),
    rewrite("inlined get_func_arg_cnt", "r0 = *(u64*)(r1-8)", "call #185", types=_TRACING),
    # typed raw tracepoints know how many arguments they have; v7.0, do_misc_fixups()
    rewrite(
        "inlined get_func_arg",
        "r0 = {count}; if w2 >= w0 goto +6; r2 <<= 3; r2 += r1; r0 = *(u64*)(r2+0); *(u64*)(r3+0) = r0; r0 = 0; goto +1; r0 = -22",
        "call #183",
        types=_TRACING,
    ),
    rewrite("inlined get_func_arg_cnt", "r0 = {count}", "call #185", types=_TRACING, cost=30),
    rewrite("inlined get_func_ip", "r0 = *(u64*)(r1-16)", "call #173", types=_TRACING),
    rewrite(
        "inlined get_branch_snapshot",
        "if r3 != 0 goto +7; w0 = -1431655765; r2 *= r0; r2 >>= 36; call #{snapshot}; if r0 == 0 goto +4; w0 *= 24; goto +3; "
        "r0 = -22; goto +1; r0 = -2",
        "call #176",
    ),
    *(
        rewrite("type of the allocation", f"r1 = {{size}}; r2 = {{meta}} ll; kcall {name}", f"kcall {name}")
        for name in _NEW
    ),
    *(
        rewrite("type of the object", f"r2 = {{meta}} ll; kcall {name}", f"kcall {name}")
        for name in _OBJECT
    ),
    *(
        rewrite("type and offset of the node", f"r3 = {{meta}} ll; r4 = {node}; kcall {name}", f"kcall {name}")
        for name in _PUSH
        for node in ("{node}", "0")  # 0 on its own, for it is written otherwise where constants are blinded
    ),
    *(
        rewrite("type and offset of the node", f"r4 = {{meta}} ll; r5 = {node}; kcall {name}", f"kcall {name}")
        for name in _TREE
        for node in ("{node}", "0")
    ),
    *(rewrite("program as hidden argument", f"rA = {{aux}} ll; kcall {name}", f"kcall {name}") for name in _AUX_KFUNCS),
)

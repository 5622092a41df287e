"""The macros that a C file may need at its head, by name: memory accesses that clang must leave as they are, instructions that C has no
words for. Instructions that an assembler may not know are given as bytes, so that every clang and every -mcpu takes them.
"""

from __future__ import annotations

from bpflens.decompile.c_expression.helper_constants import CONSTANTS
from bpflens.decompile.c_expression.packet_names import PACKET_MACROS

__all__ = ("MACROS", "VERDICTS", "macro_text")

_FIXED = {
    "CTX_LOAD": (
        "#define CTX_LOAD(type, ctx, off) \\\n"
        '\t({ __u64 v_; asm volatile("%0 = *(" #type " *)(%1 + %2)" : "=r"(v_) : "r"(ctx), "i"(off)); v_; })'
    ),
    "CTX_STORE": (
        "#define CTX_STORE(type, ctx, off, v) \\\n"
        '\tasm volatile("*(" #type " *)(%0 + %2) = %1" :: "r"(ctx), "r"((__u64)(v)), "i"(off) : "memory")'
    ),
    "CORE": "#define CORE(x) __builtin_preserve_access_index(x) /* the loader puts the running kernel's offset there */",
    "bpf_printk": (
        "#define bpf_printk(format, ...) \\\n"
        "\t({ static const char format_[] = format; bpf_trace_printk(format_, sizeof(format_), ##__VA_ARGS__); })"
    ),
    "mem_at": "#define mem_at(type, base, offset) (*(type *)((void *)(base) + (offset)))",
    "barrier_var": '#define barrier_var(v) asm volatile("" : "+r"(v))',
    "load_byte": '__u64 load_byte(void *skb, __u64 off) asm("llvm.bpf.load.byte");',
    "load_half": '__u64 load_half(void *skb, __u64 off) asm("llvm.bpf.load.half");',
    "load_word": '__u64 load_word(void *skb, __u64 off) asm("llvm.bpf.load.word");',
    "bpf_div64": "static inline __u64 bpf_div64(__u64 a, __u64 b) { return b ? a / b : 0; } /* as the instruction does */",
    "bpf_div32": "static inline __u32 bpf_div32(__u32 a, __u32 b) { return b ? a / b : 0; } /* as the instruction does */",
    "bpf_mod64": "static inline __u64 bpf_mod64(__u64 a, __u64 b) { return b ? a % b : a; } /* as the instruction does */",
    "bpf_mod32": "static inline __u32 bpf_mod32(__u32 a, __u32 b) { return b ? a % b : a; } /* as the instruction does */",
    "may_goto": (
        "#define may_goto() /* true once the kernel has had enough of the loop */ \\\n"
        "\t({ __label__ l_; int t_ = 1; \\\n"
        '\t   asm volatile goto("1: .byte 0xe5; .byte 0; .long ((%l[l_] - 1b - 8) / 8) & 0xffff; .short 0" :::: l_); \\\n'
        "\t   t_ = 0; l_:; t_; })"
    ),
}  # fmt: skip


def _two(name: str, word: int, comment: str, type: str) -> str:
    """r1 op= r2 for an instruction given as bytes; the result is of a signed type, as the operation."""
    return (
        f"#define {name}(a, b) /* {comment} */ \\\n"
        f'\t({{ __u64 v_; asm volatile("r1 = %1; r2 = %2; .8byte {word:#x}; %0 = r1" \\\n'
        f'\t\t: "=r"(v_) : "r"((__u64)(a)), "r"((__u64)(b)) : "r1", "r2"); ({type})v_; }})'
    )


def _cast(name: str, word: int, comment: str) -> str:
    return (
        f"#define {name}(a) /* {comment} */ \\\n"
        f'\t({{ __u64 v_; asm volatile("r1 = %1; .8byte {word:#x}; %0 = r1" : "=r"(v_) : "r"((__u64)(a)) : "r1"); v_; }})'
    )


def _atomic(name: str, size: int, imm: int, fetch: bool) -> str:
    """*(uN *)(r1 + 0) op r2, the old value in r2."""
    code = {1: 0xD3, 2: 0xCB, 4: 0xC3, 8: 0xDB}[size]
    word = imm << 32 | 0x2100 | code
    if not fetch:
        head = f"#define {name}(p, v) \\\n"
        return head + f'\tasm volatile("r1 = %0; r2 = %1; .8byte {word:#x}" :: "r"(p), "r"((__u64)(v)) : "r1", "r2", "memory")'
    return (
        f"#define {name}(p, v) \\\n"
        f'\t({{ __u64 v_; asm volatile("r1 = %1; r2 = %2; .8byte {word:#x}; %0 = r2" \\\n'
        '\t\t: "=r"(v_) : "r"(p), "r"((__u64)(v)) : "r1", "r2", "memory"); v_; })'
    )


def _cmpxchg(size: int) -> str:
    word = 0xF1 << 32 | 0x2100 | {4: 0xC3, 8: 0xDB}[size]
    return (
        f"#define atomic_cmpxchg{8 * size}(p, old, v) \\\n"
        f'\t({{ __u64 v_; asm volatile("r1 = %1; r2 = %3; r0 = %2; .8byte {word:#x}; %0 = r0" \\\n'
        '\t\t: "=r"(v_) : "r"(p), "r"((__u64)(old)), "r"((__u64)(v)) : "r0", "r1", "r2", "memory"); v_; })'
    )


def _load_acquire(size: int) -> str:
    word = 0x100 << 32 | 0x1200 | {1: 0xD3, 2: 0xCB, 4: 0xC3, 8: 0xDB}[size]
    return (
        f"#define atomic_load_acquire{8 * size}(p) \\\n"
        f'\t({{ __u64 v_; asm volatile("r1 = %1; .8byte {word:#x}; %0 = r2" : "=r"(v_) : "r"(p) : "r1", "r2", "memory"); v_; }})'
    )


def _made() -> dict[str, str]:
    out = dict(_FIXED)
    for width, code in ((64, 7), (32, 4)):
        for name, op in (("sdiv", 0x30), ("smod", 0x90)):
            word = 1 << 16 | 0x2100 | op | 0x08 | code
            said = f"{'r' if width == 64 else 'w'}1 s{'/%'[name == 'smod']}= r2"
            out[f"bpf_{name}{width}"] = _two(f"bpf_{name}{width}", word, said, f"__s{width}")
    out["cast_kern"] = _cast("cast_kern", 1 << 32 | 1 << 16 | 0x11BF, "addr_space_cast(a, 0, 1)")
    out["cast_user"] = _cast("cast_user", 1 << 48 | 1 << 16 | 0x11BF, "addr_space_cast(a, 1, 0)")
    for size in (4, 8):
        bits = 8 * size
        for name, imm in (("add", 0x00), ("or", 0x40), ("and", 0x50), ("xor", 0xA0)):
            out[f"atomic_fetch_{name}{bits}"] = _atomic(f"atomic_fetch_{name}{bits}", size, imm | 1, True)
            out[f"atomic_{name}{bits}"] = _atomic(f"atomic_{name}{bits}", size, imm, False)
        out[f"atomic_xchg{bits}"] = _atomic(f"atomic_xchg{bits}", size, 0xE1, True)
        out[f"atomic_cmpxchg{bits}"] = _cmpxchg(size)
    for size in (1, 2, 4, 8):
        out[f"atomic_load_acquire{8 * size}"] = _load_acquire(size)
        out[f"atomic_store_release{8 * size}"] = _atomic(f"atomic_store_release{8 * size}", size, 0x110, False)
    return out


VERDICTS = {
    6: ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"),
    3: (
        "TC_ACT_OK", "TC_ACT_RECLASSIFY", "TC_ACT_SHOT", "TC_ACT_PIPE", "TC_ACT_STOLEN", "TC_ACT_QUEUED", "TC_ACT_REPEAT",
        "TC_ACT_REDIRECT",
    ),
}  # fmt: skip
"""What results of XDP and SCHED_CLS programs are called, by number (include/uapi/linux/bpf.h, pkt_cls.h)."""

MACROS: dict[str, str] = _made() | PACKET_MACROS | {
    name: f"#define {name} {value if -1 <= value < 4096 else f'{value:#x}ULL'}" for name, value in CONSTANTS.items()
} | {
    name: f"#define {name} {number}" for names in VERDICTS.values() for number, name in enumerate(names)
}


def macro_text(name: str) -> str:
    """The definition of a macro."""
    return MACROS[name]

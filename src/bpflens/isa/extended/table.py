"""The extended instruction set as one table: a row per instruction form, everything else derives from it.

    lookup(0x0000000500000107).name  ──►  "add64_imm"

A row matches a 64-bit word when the bits under `mask` equal `value` (and, for one row, when the bits under `nonzero` are not all
zero). Reserved fields are part of the mask: a word with junk in them matches no row and prints as a number. Rows never overlap.
Source: RFC 9669; include/uapi/linux/bpf.h and include/linux/filter.h for what Linux adds.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.lean import NamedTuple

__all__ = ("CONFORMANCE_GROUPS", "ROWS", "Row", "explain_unknown", "lookup", "reads", "writes")

CONFORMANCE_GROUPS = {
    "base32": "RFC 9669 section 2.4: 32-bit arithmetic, jumps, loads and stores",
    "base64": "RFC 9669 section 2.4: 64-bit arithmetic, jumps, loads and stores",
    "divmul32": "RFC 9669 section 2.4: 32-bit division, multiplication, modulo",
    "divmul64": "RFC 9669 section 2.4: 64-bit division, multiplication, modulo",
    "atomic32": "RFC 9669 section 2.4: 32-bit atomic operations",
    "atomic64": "RFC 9669 section 2.4: 64-bit atomic operations",
    "packet": "RFC 9669 section 2.4: deprecated packet access",
    "linux": "accepted by Linux, not in RFC 9669",
    "internal": "never accepted from users; the Linux verifier or JIT makes it",
    "llvm": "made by compilers, accepted by no kernel",
}


class Row(NamedTuple):
    """One instruction form.

    `kernel` and `llvm` are text templates (see fields.py). `reads` and `writes` name operands: "dst", "src", "r0".. "r10", "mem",
    "skb". `control` says where execution goes: "" (next), "goto", "cond", "call", "exit", "switch". `slots` is 2 for ld_imm64.
    `group` is a key of CONFORMANCE_GROUPS; `since` the first Linux release.
    """

    name: str
    mask: int
    value: int
    kernel: str
    llvm: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    semantics: str
    group: str
    since: str
    doc: str
    control: str = ""
    slots: int = 1
    nonzero: int = 0

    def matches(self, word: int) -> bool:
        """Is `word` of this form?"""
        return word & self.mask == self.value and (not self.nonzero or word & self.nonzero != 0)


LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
K, X = 0x00, 0x08
SIZES = ((0x10, "8"), (0x08, "16"), (0x00, "32"), (0x18, "64"))
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0
# internal modes, include/linux/filter.h
NOSPEC, PROBE_MEM, PROBE_MEMSX, PROBE_MEM32, PROBE_MEM32SX, PROBE_ATOMIC = 0xC0, 0x20, 0x40, 0xA0, 0xC0, 0xE0

_DST, _SRC, _OFF, _IMM = 0xF00, 0xF000, 0xFFFF0000, 0xFFFFFFFF00000000
_CALLER_SAVED = ("r0", "r1", "r2", "r3", "r4", "r5")
_ARGUMENTS = ("r1", "r2", "r3", "r4", "r5")


def _bits(
    code: int, dst: int | None = None, src: int | None = None, off: int | None = None, imm: int | None = None
) -> tuple[int, int]:
    """(mask, value) of a form; None leaves the field free."""
    mask, value = 0xFF, code
    for field, width_mask, shift in ((dst, _DST, 8), (src, _SRC, 12), (off, _OFF, 16), (imm, _IMM, 32)):
        if field is not None:
            mask |= width_mask
            value |= field << shift & width_mask
    return mask, value


_OPERATIONS = (
    ("add", 0x00, "+=", "dst + {s}"),
    ("sub", 0x10, "-=", "dst - {s}"),
    ("mul", 0x20, "*=", "dst * {s}"),
    ("div", 0x30, "/=", "{s} ? dst / {s} : 0"),
    ("or", 0x40, "|=", "dst | {s}"),
    ("and", 0x50, "&=", "dst & {s}"),
    ("lsh", 0x60, "<<=", "dst << ({s} & {bits})"),
    ("rsh", 0x70, ">>=", "dst >> ({s} & {bits})"),
    ("mod", 0x90, "%=", "{s} ? dst % {s} : dst"),
    ("xor", 0xA0, "^=", "dst ^ {s}"),
    ("arsh", 0xC0, "s>>=", "(signed)dst >> ({s} & {bits})"),
)
_SIGNED = (
    ("sdiv", 0x30, "s/=", "{s} ? (signed)dst / (signed){s} : 0"),
    ("smod", 0x90, "s%=", "{s} ? (signed)dst % (signed){s} : dst"),
)


def _arithmetic() -> Iterator[Row]:
    """ALU and ALU64: RFC 9669 section 4.1."""
    for alu, width, w in ((ALU64, "64", ""), (ALU, "32", "w")):
        yield from _operations(alu, width, w)
        yield from _moves(alu, width, w)


def _operations(alu: int, width: str, w: str) -> Iterator[Row]:
    """Operations of two operands, in one width."""
    doc = "RFC 9669 section 4.1"
    cast = "" if width == "64" else "(u32)"
    mask = int(width) - 1
    for name, op, symbol, meaning in _OPERATIONS:
        group = ("divmul" if name in ("mul", "div", "mod") else "base") + width
        since = "v3.18"
        effect = f"dst = {cast}({meaning})"
        yield Row(
            f"{name}{width}_imm", *_bits(op | K | alu, src=0, off=0),
            f"{{{w}dst}} {symbol} {{imm}}", f"{{{w}dst}} {symbol} {{ximm}}",
            ("dst",), ("dst",), effect.format(s="imm", bits=mask), group, since, doc,
        )
        yield Row(
            f"{name}{width}_reg", *_bits(op | X | alu, off=0, imm=0),
            f"{{{w}dst}} {symbol} {{{w}src}}", f"{{{w}dst}} {symbol} {{{w}src}}",
            ("dst", "src"), ("dst",), effect.format(s="src", bits=mask), group, since, doc,
        )
    for name, op, symbol, meaning in _SIGNED:
        effect = f"dst = {cast}({meaning})"
        yield Row(
            f"{name}{width}_imm", *_bits(op | K | alu, src=0, off=1),
            f"{{{w}dst}} {symbol} {{imm}}", f"{{{w}dst}} {symbol} {{ximm}}",
            ("dst",), ("dst",), effect.format(s="imm"), f"divmul{width}", "v6.6", doc,
        )
        yield Row(
            f"{name}{width}_reg", *_bits(op | X | alu, off=1, imm=0),
            f"{{{w}dst}} {symbol} {{{w}src}}", f"{{{w}dst}} {symbol} {{{w}src}}",
            ("dst", "src"), ("dst",), effect.format(s="src"), f"divmul{width}", "v6.6", doc,
        )


def _moves(alu: int, width: str, w: str) -> Iterator[Row]:
    """Negation and moves, in one width."""
    doc = "RFC 9669 section 4.1"
    cast = "" if width == "64" else "(u32)"
    yield Row(
        f"neg{width}", *_bits(0x80 | alu, src=0, off=0, imm=0),
        f"{{{w}dst}} = -{{{w}dst}}", f"{{{w}dst}} = -{{{w}dst}}",
        ("dst",), ("dst",), f"dst = {cast}(-dst)", f"base{width}", "v3.18", doc,
    )
    yield Row(
        f"mov{width}_imm", *_bits(0xB0 | K | alu, src=0, off=0),
        f"{{{w}dst}} = {{imm}}", f"{{{w}dst}} = {{ximm}}",
        (), ("dst",), f"dst = {cast}imm", f"base{width}", "v3.18", doc,
    )
    yield Row(
        f"mov{width}_reg", *_bits(0xB0 | X | alu, off=0, imm=0),
        f"{{{w}dst}} = {{{w}src}}", f"{{{w}dst}} = {{{w}src}}",
        ("src",), ("dst",), f"dst = {cast}src", f"base{width}", "v3.18", doc,
    )
    for narrow in (8, 16, 32):
        if narrow < int(width):
            yield Row(
                f"movsx{narrow}_{width}", *_bits(0xB0 | X | alu, off=narrow, imm=0),
                f"{{{w}dst}} = (s{narrow}){{{w}src}}", f"{{{w}dst}} = (s{narrow}){{{w}src}}",
                ("src",), ("dst",), f"dst = {cast}(s{narrow})src", f"base{width}", "v6.6", doc,
            )


def _byte_orders() -> Iterator[Row]:
    """END: RFC 9669 section 4.2."""
    doc = "RFC 9669 section 4.2"
    for bits in (16, 32, 64):
        group = "base64" if bits == 64 else "base32"
        for name, code, since in (("le", 0xD4, "v3.18"), ("be", 0xDC, "v3.18"), ("bswap", 0xD7, "v6.6")):
            how = "swapped" if name == "bswap" else {"le": "little-endian", "be": "big-endian"}[name]
            text = f"{{dst}} = {name}{bits} {{dst}}"
            yield Row(
                f"{name}{bits}", *_bits(code, src=0, off=0, imm=bits), text, text,
                ("dst",), ("dst",), f"dst = (u{bits})dst, bytes {how}", group, since, doc,
            )


def _casts() -> Iterator[Row]:
    """Forms of mov and of mov32 that Linux gives another meaning."""
    yield Row(
        "addr_space_cast", *_bits(0xB0 | X | ALU64, off=1),
        "{dst} = addr_space_cast({src}, {hi16}, {lo16})", "{dst} = addr_space_cast({src}, {xhi16}, {xlo16})",
        ("src",), ("dst",), "dst = src, moved from address space imm & 0xffff to imm >> 16",
        "linux", "v6.9", "include/uapi/linux/bpf.h BPF_ADDR_SPACE_CAST",
    )
    yield Row(
        "mov_percpu", *_bits(0xB0 | X | ALU64, off=0xFFFF, imm=0),
        "{dst} = &(void __percpu *)({src})", "{dst} = &(void __percpu *)({src})",
        ("src",), ("dst",), "dst = src + per-CPU base of this CPU",
        "internal", "v6.10", "include/linux/filter.h BPF_ADDR_PERCPU",
    )
    yield Row(
        "zext", *_bits(0xB0 | X | ALU, off=0, imm=1),
        "{wdst} = zext {wsrc}", "{wdst} = zext {wsrc}",
        ("src",), ("dst",), "dst = (u32)src, marker for JITs that must zero-extend",
        "internal", "v5.3", "include/linux/filter.h BPF_ZEXT_REG",
    )


_CONDITIONS = (
    ("jeq", 0x10, "==", "", "v3.18"),
    ("jgt", 0x20, ">", "", "v3.18"),
    ("jge", 0x30, ">=", "", "v3.18"),
    ("jset", 0x40, "&", "", "v3.18"),
    ("jne", 0x50, "!=", "", "v3.18"),
    ("jsgt", 0x60, "s>", "(signed)", "v3.18"),
    ("jsge", 0x70, "s>=", "(signed)", "v3.18"),
    ("jlt", 0xA0, "<", "", "v4.14"),
    ("jle", 0xB0, "<=", "", "v4.14"),
    ("jslt", 0xC0, "s<", "(signed)", "v4.14"),
    ("jsle", 0xD0, "s<=", "(signed)", "v4.14"),
)


def _conditions() -> Iterator[Row]:
    """Conditional JMP and JMP32: RFC 9669 section 4.3."""
    doc = "RFC 9669 section 4.3"
    for jmp, width, w in ((JMP, "64", ""), (JMP32, "32", "w")):
        for name, op, symbol, sign, since in _CONDITIONS:
            release = since if jmp == JMP else "v5.1"
            plain = symbol.lstrip("s")
            low = "" if jmp == JMP else "(u32)"
            yield Row(
                f"{name}{width}_imm", *_bits(op | K | jmp, src=0),
                f"if {{{w}dst}} {symbol} {{uimm}} goto {{jump}}", f"if {{{w}dst}} {symbol} {{ximm}} goto {{xjump}}",
                ("dst",), (), f"if {sign}{low}dst {plain} {sign}{low}imm: pc += off", f"base{width}", release, doc, "cond",
            )
            yield Row(
                f"{name}{width}_reg", *_bits(op | X | jmp, imm=0),
                f"if {{{w}dst}} {symbol} {{{w}src}} goto {{jump}}", f"if {{{w}dst}} {symbol} {{{w}src}} goto {{xjump}}",
                ("dst", "src"), (), f"if {sign}{low}dst {plain} {sign}{low}src: pc += off", f"base{width}", release, doc, "cond",
            )


def _gotos() -> Iterator[Row]:
    """Jumps that are taken always, or as the kernel sees fit."""
    doc = "RFC 9669 section 4.3"
    yield Row(
        "ja", *_bits(0x00 | JMP, dst=0, src=0, imm=0), "goto {jump}", "goto {xjump}",
        (), (), "pc += off", "base32", "v3.18", doc, "goto",
    )
    yield Row(
        "gotol", *_bits(0x00 | JMP32, dst=0, src=0, off=0), "gotol {jumpl}", "gotol {xjumpl}",
        (), (), "pc += imm", "base32", "v6.6", doc, "goto",
    )
    yield Row(
        "may_goto", *_bits(0xE0 | JMP, dst=0, src=0, imm=0), "may_goto {jump}", "may_goto {xjump}",
        (), (), "if the iteration budget is used up: pc += off", "linux", "v6.9", "include/uapi/linux/bpf.h BPF_JCOND", "cond",
    )
    yield Row(
        "gotox", *_bits(0x00 | X | JMP, src=0, off=0, imm=0), "gotox {dst}", "gotox {dst}",
        ("dst",), (), "pc = dst, an address out of an instruction array", "linux", "v6.19", "Documentation/bpf: BPF_JA | BPF_X", "switch",
    )


def _calls() -> Iterator[Row]:
    """Calls and exit."""
    doc = "RFC 9669 section 4.3"
    yield Row(
        "call_helper", *_bits(0x80 | JMP, dst=0, src=0, off=0), "call {helper}#{imm}", "call {uimm}",
        _ARGUMENTS, _CALLER_SAVED, "r0 = helper imm (r1 .. r5)", "base32", "v3.18", "RFC 9669 section 4.3.1", "call",
    )
    yield Row(
        "call_subprog", *_bits(0x80 | JMP, dst=0, src=1, off=0), "call {jumpl}", "call {xjumpl}",
        _ARGUMENTS, _CALLER_SAVED, "r0 = function at pc + imm + 1 (r1 .. r5)", "base32", "v4.16", "RFC 9669 section 4.3.2", "call",
    )
    yield Row(
        "call_subprog_xlated", *_bits(0x80 | JMP, dst=0, src=1), "call {jump}#{imm}", "call {xjump}#{ximm}",
        _ARGUMENTS, _CALLER_SAVED, "r0 = function number imm at pc + off + 1 (r1 .. r5)",
        "internal", "v4.16", "kernel/bpf/verifier.c jit_subprogs: how a loaded program's calls are dumped", "call", 1, _OFF,
    )
    yield Row(
        "call_kfunc", *_bits(0x80 | JMP, dst=0, src=2, off=0), "call kernel-function#{imm}", "call kfunc {ximm}",
        _ARGUMENTS, _CALLER_SAVED, "r0 = kernel function with BTF id imm (r1 .. r5)", "base32", "v5.13",
        "RFC 9669 section 4.3.1; include/uapi/linux/bpf.h BPF_PSEUDO_KFUNC_CALL", "call",
    )
    yield Row(
        "call_kfunc_module", *_bits(0x80 | JMP, dst=0, src=2), "call kernel-function#{imm} module_btf#{soff}",
        "call kfunc {ximm} module_btf#{soff}",
        _ARGUMENTS, _CALLER_SAVED, "r0 = function with BTF id imm of the module whose BTF fd is fd_array[off] (r1 .. r5)",
        "linux", "v5.16", "include/uapi/linux/bpf.h BPF_PSEUDO_KFUNC_CALL", "call", 1, _OFF,
    )
    yield Row(
        "callx", *_bits(0x80 | X | JMP, src=0, off=0, imm=0), "callx {dst}", "callx {dst}",
        ("dst", *_ARGUMENTS), _CALLER_SAVED, "r0 = function at address dst (r1 .. r5)", "llvm", "none", "LLVM BPFInstrInfo.td JALX", "call",
    )
    yield Row(
        "call_args", *_bits(0xE0 | JMP, dst=0, src=1), "call_args {jump}#{imm}", "call_args {xjump}#{ximm}",
        _ARGUMENTS, _CALLER_SAVED, "r0 = function at pc + off + 1, by interpreter __bpf_call_base_args + imm",
        "internal", "v4.16", "include/linux/filter.h BPF_CALL_ARGS", "call",
    )
    yield Row(
        "tail_call", *_bits(0xF0 | JMP, dst=0, src=0, off=0), "tail_call #{imm}", "tail_call #{ximm}",
        ("r1", "r2", "r3"), _CALLER_SAVED, "tail call of r2[r3] with context r1; imm - 1: its place in the JIT's poke table",
        "internal", "v4.2", "include/linux/filter.h BPF_TAIL_CALL", "call",
    )
    yield Row(
        "exit", *_bits(0x90 | JMP, dst=0, src=0, off=0, imm=0), "exit", "exit",
        ("r0",), (), "return r0", "base32", "v3.18", doc, "exit",
    )


def _loads_and_stores() -> Iterator[Row]:
    """LDX, ST, STX: RFC 9669 sections 5.2 to 5.3; probe modes: include/linux/filter.h."""
    modes = (
        (MEM, "", "", "v3.18", "RFC 9669 section 5.1"),
        (PROBE_MEM, "probe_mem", "internal", "v5.5", "include/linux/filter.h BPF_PROBE_MEM: a fault reads as 0"),
        (PROBE_MEM32, "probe_mem32", "internal", "v6.9", "include/linux/filter.h BPF_PROBE_MEM32: arena, 32-bit address"),
    )
    for mode, prefix, group, since, doc in modes:
        for size, bits in SIZES:
            name, lead = f"{prefix}_" if prefix else "", f"{prefix} " if prefix else ""
            where = group or ("base64" if bits == "64" else "base32")
            yield Row(
                f"{name}ldx{bits}", *_bits(LDX | mode | size, imm=0),
                f"{lead}{{dst}} = *(u{bits} *)({{src}} {{off}})", f"{lead}{{dst}} = *(u{bits} *)({{src}} {{xoff}})",
                ("src", "mem"), ("dst",), f"dst = *(u{bits} *)(src + off)", where, since, doc,
            )
            if mode == PROBE_MEM:
                continue
            yield Row(
                f"{name}st{bits}", *_bits(ST | mode | size, src=0),
                f"{lead}*(u{bits} *)({{dst}} {{off}}) = {{imm}}", f"{lead}*(u{bits} *)({{dst}} {{xoff}}) = {{ximm}}",
                ("dst",), ("mem",), f"*(u{bits} *)(dst + off) = imm", where, since, doc,
            )
            yield Row(
                f"{name}stx{bits}", *_bits(STX | mode | size, imm=0),
                f"{lead}*(u{bits} *)({{dst}} {{off}}) = {{src}}", f"{lead}*(u{bits} *)({{dst}} {{xoff}}) = {{src}}",
                ("dst", "src"), ("mem",), f"*(u{bits} *)(dst + off) = src", where, since, doc,
            )
    signed = (
        (MEMSX, "", "base32", "v6.6", "RFC 9669 section 5.2"),
        (PROBE_MEMSX, "probe_memsx", "internal", "v6.6", "include/linux/filter.h BPF_PROBE_MEMSX"),
        (PROBE_MEM32SX, "probe_mem32sx", "internal", "v6.18", "include/linux/filter.h BPF_PROBE_MEM32SX"),
    )
    for mode, prefix, group, since, doc in signed:
        for size, bits in SIZES[:3]:
            name, lead = f"{prefix}_" if prefix else "", f"{prefix} " if prefix else ""
            yield Row(
                f"{name}ldsx{bits}", *_bits(LDX | mode | size, imm=0),
                f"{lead}{{dst}} = *(s{bits} *)({{src}} {{off}})", f"{lead}{{dst}} = *(s{bits} *)({{src}} {{xoff}})",
                ("src", "mem"), ("dst",), f"dst = *(s{bits} *)(src + off)", group, since, doc,
            )
    yield Row(
        "nospec", *_bits(ST | NOSPEC, dst=0, src=0, off=0, imm=0), "nospec", "nospec",
        (), (), "speculation barrier", "internal", "v5.14", "include/linux/filter.h BPF_ST_NOSPEC",
    )


def _atomics() -> Iterator[Row]:
    """STX with mode ATOMIC: RFC 9669 section 5.3; load-acquire and store-release are Linux v6.15."""
    operations = (("add", 0x00, "+"), ("or", 0x40, "|"), ("and", 0x50, "&"), ("xor", 0xA0, "^"))
    for mode, prefix in ((ATOMIC, ""), (PROBE_ATOMIC, "probe_atomic")):
        name, lead = f"{prefix}_" if prefix else "", f"{prefix} " if prefix else ""
        doc = "include/linux/filter.h BPF_PROBE_ATOMIC: atomic in an arena" if prefix else "RFC 9669 section 5.3"
        for size, bits, w, kernel_width in ((0x18, "64", "", "64"), (0x00, "32", "w", "")):
            group = "internal" if prefix else f"atomic{bits}"
            code = STX | mode | size
            place, llvm_place = f"(u{bits} *)({{dst}} {{off}})", f"(u{bits} *)({{dst}} {{xoff}})"
            cast = "" if bits == "64" else "(u32)"
            for op, imm, symbol in operations:
                since = "v6.10" if prefix else "v3.18" if op == "add" else "v5.12"
                yield Row(
                    f"{name}atomic_{op}{bits}", *_bits(code, imm=imm),
                    f"{lead}lock *{place} {symbol}= {{src}}", f"{lead}lock *{llvm_place} {symbol}= {{{w}src}}",
                    ("dst", "src", "mem"), ("mem",), f"*(u{bits} *)(dst + off) {symbol}= {cast}src, atomically", group, since, doc,
                )
                since = "v6.10" if prefix else "v5.12"
                yield Row(
                    f"{name}atomic_fetch_{op}{bits}", *_bits(code, imm=imm | 1),
                    f"{lead}{{src}} = atomic{kernel_width}_fetch_{op}({place}, {{src}})",
                    f"{lead}{{{w}src}} = atomic_fetch_{op}({llvm_place}, {{{w}src}})",
                    ("dst", "src", "mem"), ("src", "mem"),
                    f"atomically: old = *(u{bits} *)(dst + off); *(u{bits} *)(dst + off) = old {symbol} {cast}src; src = old",
                    group, since, doc,
                )
            since = "v6.10" if prefix else "v5.12"
            llvm_name = "_64" if bits == "64" else "32_32"
            yield Row(
                f"{name}atomic_xchg{bits}", *_bits(code, imm=0xE1),
                f"{lead}{{src}} = atomic{kernel_width}_xchg({place}, {{src}})",
                f"{lead}{{{w}src}} = xchg{llvm_name}({{dst}} {{xoff}}, {{{w}src}})",
                ("dst", "src", "mem"), ("src", "mem"),
                f"atomically: old = *(u{bits} *)(dst + off); *(u{bits} *)(dst + off) = {cast}src; src = old", group, since, doc,
            )
            r0 = "w0" if w else "r0"
            yield Row(
                f"{name}atomic_cmpxchg{bits}", *_bits(code, imm=0xF1),
                f"{lead}r0 = atomic{kernel_width}_cmpxchg({place}, r0, {{src}})",
                f"{lead}{r0} = cmpxchg{llvm_name}({{dst}} {{xoff}}, {r0}, {{{w}src}})",
                ("dst", "src", "r0", "mem"), ("r0", "mem"),
                f"atomically: old = *(u{bits} *)(dst + off); if old == {cast}r0: *(u{bits} *)(dst + off) = {cast}src; r0 = old",
                group, since, doc,
            )
        for size, bits in SIZES:
            w = "" if bits == "64" else "w"
            code = STX | mode | size
            group = "internal" if prefix else "linux"
            doc_order = "include/uapi/linux/bpf.h BPF_LOAD_ACQ" if not prefix else doc
            yield Row(
                f"{name}load_acquire{bits}", *_bits(code, imm=0x100),
                f"{lead}{{dst}} = load_acquire((u{bits} *)({{src}} {{off}}))",
                f"{lead}{{{w}dst}} = load_acquire((u{bits} *)({{src}} {{xoff}}))",
                ("src", "mem"), ("dst",), f"dst = *(u{bits} *)(src + off), acquire", group, "v6.15", doc_order,
            )
            doc_order = "include/uapi/linux/bpf.h BPF_STORE_REL" if not prefix else doc
            yield Row(
                f"{name}store_release{bits}", *_bits(code, imm=0x110),
                f"{lead}store_release((u{bits} *)({{dst}} {{off}}), {{src}})",
                f"{lead}store_release((u{bits} *)({{dst}} {{xoff}}), {{{w}src}})",
                ("dst", "src"), ("mem",), f"*(u{bits} *)(dst + off) = src, release", group, "v6.15", doc_order,
            )


def _ld() -> Iterator[Row]:
    """LD: 64-bit immediates (RFC 9669 section 5.4) and packet access (section 5.5)."""
    doc = "RFC 9669 section 5.4"
    linux = "include/uapi/linux/bpf.h"
    code = LD | IMM | 0x18
    pseudo = (
        ("ld_imm64", 0, "{imm64}", "{ximm64} ll", "imm64", "base64", "v3.18", doc),
        ("ld_map_fd", 1, "map[{map}:{imm}]{next}", "", "map with fd (once loaded: id) imm",
         "base64", "v3.18", f"{doc}; {linux} BPF_PSEUDO_MAP_FD"),
        ("ld_map_value", 2, "map[{map}:{imm}][0]{nimm}", "", "address of byte next.imm in the value of the map with fd (id) imm",
         "base64", "v5.2", f"{doc}; {linux} BPF_PSEUDO_MAP_VALUE"),
        ("ld_btf_id", 3, "ksym[btf_id:{imm}]{next}", "", "address of the kernel variable or function with BTF id imm",
         "base64", "v5.10", f"{doc}; {linux} BPF_PSEUDO_BTF_ID"),
        ("ld_func", 4, "subprog[{simm}]{next}", "", "address of the function at pc + imm + 1",
         "base64", "v5.13", f"{doc}; {linux} BPF_PSEUDO_FUNC"),
        ("ld_map_idx", 5, "map[idx:{imm}]{next}", "", "map with fd fd_array[imm]", "base64", "v5.14", f"{doc}; {linux} BPF_PSEUDO_MAP_IDX"),
        ("ld_map_idx_value", 6, "map[idx:{imm}]{nimm}", "", "address of byte next.imm in the value of the map with fd fd_array[imm]",
         "base64", "v5.14", f"{doc}; {linux} BPF_PSEUDO_MAP_IDX_VALUE"),
    )
    for name, src, kernel, llvm, meaning, group, since, source in pseudo:
        yield Row(
            name, *_bits(code, src=src, off=0), f"{{dst}} = {kernel}",
            f"{{dst}} = {llvm}" if llvm else f"ld_pseudo {{dst}}, {src:#x}, {{ximm64}}",
            (), ("dst",), f"dst = {meaning}", group, since, source, "", 2,
        )
    for size, bits in SIZES[:3]:
        yield Row(
            f"ld_abs{bits}", *_bits(LD | ABS | size, dst=0, src=0, off=0),
            f"r0 = *(u{bits} *)skb[{{imm}}]", f"r0 = *(u{bits} *)skb[{{ximm}}]",
            ("r6", "skb"), _CALLER_SAVED, f"r0 = u{bits} of the packet at imm, in host order; leaves the program where it is too short",
            "packet", "v3.18", "RFC 9669 section 5.5",
        )
        yield Row(
            f"ld_ind{bits}", *_bits(LD | IND | size, dst=0, off=0),
            f"r0 = *(u{bits} *)skb[{{src}}{{index}}]", f"r0 = *(u{bits} *)skb[{{src}}{{xindex}}]",
            ("r6", "src", "skb"), _CALLER_SAVED,
            f"r0 = u{bits} of the packet at src + imm, in host order; leaves the program where it is too short",
            "packet", "v3.18", "RFC 9669 section 5.5",
        )


ROWS: tuple[Row, ...] = (
    *_arithmetic(), *_byte_orders(), *_casts(), *_conditions(), *_gotos(), *_calls(), *_loads_and_stores(), *_atomics(), *_ld(),
)  # fmt: skip

_by_code: list[list[Row]] = [[] for _ in range(256)]
for _row in ROWS:
    _by_code[_row.value & 0xFF].append(_row)


def lookup(word: int) -> Row | None:
    """The row of a 64-bit instruction word, None where it is of no known form."""
    for row in _by_code[word & 0xFF]:
        if word & row.mask == row.value and (not row.nonzero or word & row.nonzero):
            return row
    return None


def reads(word: int) -> frozenset[str]:
    """What an instruction reads: "r0" .. "r11", "mem", "skb". An unknown word reads nothing."""
    row = lookup(word)
    return _operands(row.reads, word) if row is not None else frozenset()


def writes(word: int) -> frozenset[str]:
    """What an instruction writes, calls with what they clobber: "r0" .. "r11", "mem". An unknown word writes nothing."""
    row = lookup(word)
    return _operands(row.writes, word) if row is not None else frozenset()


def _operands(names: tuple[str, ...], word: int) -> frozenset[str]:
    registers = {"dst": f"r{word >> 8 & 15}", "src": f"r{word >> 12 & 15}"}
    return frozenset(registers.get(name, name) for name in names)


def explain_unknown(word: int) -> str:
    """Why a word that matches no row does not: the unknown opcode, or the reserved fields that are not as they must be."""
    rows = _by_code[word & 0xFF]
    if not rows:
        return f"unknown opcode {word & 0xFF:#04x}"
    if word & 0xFFFFFFFF == 0x8D and 0 < word >> 32 <= 10:  # LLVM 14; LLVM 19 has the register in dst_reg
        return f"callx r{word >> 32} as older LLVM encodes it, which no kernel takes"
    best: tuple[str, ...] = ()
    for row in rows:
        wrong = []
        for name, field, shift, width in (("dst_reg", _DST, 8, 4), ("src_reg", _SRC, 12, 4), ("off", _OFF, 16, 16), ("imm", _IMM, 32, 32)):
            if (word ^ row.value) & row.mask & field:
                found = word >> shift & (1 << width) - 1
                wrong.append(f"{name} {found:#x}" if width > 4 else f"{name} {found}")
        if not best or len(wrong) < len(best):
            best = tuple(wrong)
    return f"opcode {word & 0xFF:#04x} has no form with {', '.join(best)}"

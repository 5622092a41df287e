"""Why the verifier refuses, by its message: what it checked, in words, and the usual remedies.

Messages: kernel/bpf/verifier.c, check_mem_access, check_packet_access, check_map_access, check_stack_read, check_helper_call, check_cfg,
adjust_ptr_min_max_vals, do_check, check_reference_leak, check_return_code; their wording has changed little from 4.14 to 7.3.
"""

from __future__ import annotations

import re

from bpflens.lean import NamedTuple

__all__ = ("REFUSALS", "Refusal", "refusal_for")


class Refusal(NamedTuple):
    """A row: `sign` is searched in the message; `words` may use its groups; `register` is the number of the group that names one."""

    sign: re.Pattern[str]
    words: str
    remedies: tuple[str, ...] = ()
    register: int | None = None


def _row(sign: str, words: str, *remedies: str, register: int | None = None) -> Refusal:
    return Refusal(re.compile(sign), words, remedies, register)


_NULL = "Compare the pointer with NULL right after the call, and use it only where it is not."
_BOUND = "Compare the pointer plus the size of the access with data_end first, and use that same pointer."
_CLAMP = "Bound the variable first: `if (n >= SIZE) return 0;` or `n &= SIZE - 1;`, both ends if it is signed."
_ASM = 'If the source does test it, the compiler may have tested a copy: keep it in one variable with asm volatile("" : "+r"(n)).'

REFUSALS = (
    _row(
        r"invalid access to packet, off=(-?\d+) size=(\d+), R(\d+)\(.*?\br=(\d+)\)",
        "it accesses {2} bytes at offset {1} of packet pointer R{3}, but only {4} bytes are known to be there",
        _BOUND,
        "Adding a variable to a packet pointer loses what was known of it: compare with data_end again afterwards.",
        register=3,
    ),
    _row(r"R(\d+) invalid mem access '(\w+)_or_null'", "it uses R{1}, a {2} that may be NULL", _NULL, register=1),
    _row(
        r"R(\d+) invalid mem access '(?:scalar|inv)'",
        "it uses R{1} as a pointer, but it is a number to the verifier",
        "Kernel memory behind a pointer that was read is reached by bpf_probe_read_kernel or BPF_CORE_READ.",
        "A pointer that was cut to 32 bits, multiplied or kept in a map is a number afterwards.",
        register=1,
    ),
    _row(r"R(\d+) invalid mem access '(\w+)'", "it cannot access memory through R{1}, which is {2}", register=1),
    _row(
        r"R(\d+) !read_ok",
        "it reads R{1}, which nothing has set on this path",
        "A call leaves only R0 and R6 to R9: values in R1 to R5 are gone.",
        "Give the variable a value on every path.",
        register=1,
    ),
    _row(
        r"invalid (?:indirect )?(?:read from|access to) stack (?:R\d+ )?off (-?\d+)\+(\d+) size (\d+)",
        "it reads {3} bytes of the stack at {1}, of which byte {2} was never written",
        "Set the whole structure first, padding too: `struct s x = {{}};` or __builtin_memset.",
    ),
    _row(
        r"invalid read from stack",
        "it reads bytes of the stack that were never written",
        "Set the whole structure first, padding too: __builtin_memset.",
    ),
    _row(
        r"invalid access to map value, value_size=(\d+) off=(-?\d+) size=(\d+)",
        "it accesses {3} bytes at {2} of a map value that has {1} bytes",
        _CLAMP,
        _ASM,
    ),
    _row(
        r"R(\d+) (min|max) value is (outside of the allowed memory range|negative)",
        "the {2} value of R{1} leads outside of the memory",
        _CLAMP,
        _ASM,
        register=1,
    ),
    _row(r"R(\d+) unbounded memory access", "nothing bounds R{1}, which is a size or an offset", _CLAMP, _ASM, register=1),
    _row(
        r"math between (\S+) pointer and register with unbounded min value", "it adds to a {1} pointer a number that nothing bounds", _CLAMP
    ),
    _row(
        r"R(\d+) .*pointer arithmetic .* prohibited|R(\d+) pointer (?:\S+ )?(?:pointer )?prohibited",
        "it computes with a pointer in a way that is not allowed",
        "Only adding and subtracting bounded numbers is allowed, and only on some pointers; test for NULL before the arithmetic.",
    ),
    _row(r"R(\d+) 32-bit pointer arithmetic prohibited", "it computes with a pointer in 32 bits", "Cast to long, not to int.", register=1),
    _row(
        r"back-edge from insn (\d+) to (\d+)",
        "instruction {1} jumps back to {2}: this kernel takes no loops, or this one not from here",
        "Unroll the loop, or use bpf_loop() or a kernel from 5.3 on.",
    ),
    _row(
        r"infinite loop detected at insn (\d+)",
        "the loop at {1} comes back with nothing changed",
        "Let a bounded counter decide when it ends.",
    ),
    _row(
        r"(?:too complex|BPF program is too large|too many states|program is too large)",
        "the program is too complex: too many ways through it",
        "Split it by tail calls or global functions, put loops into bpf_loop(), make branches join early.",
    ),
    _row(r"unreachable insn (\d+)", "instruction {1} can never be reached", "Older kernels refuse dead code: compile with optimisation."),
    _row(r"jump out of range from insn (\d+) to (\d+)", "instruction {1} jumps to {2}, outside of the program"),
    _row(r"last insn is not an exit or jmp", "execution can run past the end of the function"),
    _row(
        r"unknown func (\S+?)#(\d+)|invalid func (\S+?)#(\d+)",
        "this kernel has no such helper",
        "Test for it: bpf_core_enum_value_exists(enum bpf_func_id, ...), or use a newer kernel.",
    ),
    _row(
        r"program of this type cannot use helper (\S+?)#(\d+)",
        "programs of this type may not call {1}",
        '"bpftool feature probe" lists what each type may call.',
    ),
    _row(
        r"cannot call GPL-restricted function|cannot call GPL only function",
        "the helper is for programs under the GPL only",
        'Declare `char _license[] SEC("license") = "GPL";`.',
    ),
    _row(
        r"R(\d+) type=(\S+) expected=(.+)",
        "argument {1} of the call is {2}, but must be {3}",
        "Test for NULL first, or pass the pointer itself and not a copy of the data.",
        register=1,
    ),
    _row(
        r"invalid bpf_context access off=(\d+) size=(\d+)",
        "programs of this type may not access {2} bytes at {1} of their context",
        "The field may be for other types, read only, or be read in its own size only.",
    ),
    _row(
        r"dereference of modified ctx ptr R(\d+) off=(-?\d+)",
        "it accesses the context through a pointer that was changed",
        "Use the context's fields directly, and do not pass the address of one.",
        register=1,
    ),
    _row(
        r"Unreleased reference id=(\d+) alloc_insn=(\d+)",
        "what was taken at instruction {2} is not given back on every path",
        "Release it (bpf_sk_release, bpf_ringbuf_submit or _discard, ...) before each return.",
    ),
    _row(r"misaligned (\w+) access", "the {1} access is not aligned", "Copy with __builtin_memcpy, or mark the structure as packed."),
    _row(
        r"combined stack size of (\d+) calls is (\d+)",
        "{1} functions together use {2} bytes of stack; there are 512",
        "Put large structures into a per-CPU array map.",
    ),
    _row(
        r"invalid (?:write to )?stack.* off=?(-?\d+) size=?(\d+)",
        "it accesses the stack at {1}, outside of its 512 bytes",
        "Put large structures into a per-CPU array map.",
    ),
    _row(r"cannot pass map_type (\d+) into func (\S+)", "maps of type {1} do not go into {2}"),
    _row(
        r"At (?:program|callback|async callback) exit the register R0 .*?should have been in (.+)",
        "it returns a value that is not among {1}",
        "Return only values that this program type knows.",
    ),
    _row(r"R(\d+) leaks addr(?:ess)? (?:as return value|into \w+)", "it would give the address in R{1} away", register=1),
    _row(r"R(\d+) (?:is not a known scalar|must be a known constant|must have a known)", "R{1} must be a constant here", register=1),
    _row(r"helper access to the packet is not allowed", "this helper may not read packet memory", "Copy the bytes to the stack first."),
    _row(r"tail_calls? (?:are|is) not allowed", "tail calls are not allowed here"),
    _row(r"(?:sleepable|bpf_rcu|spin_lock|lock)", "a rule of locks, RCU or sleeping is broken"),
)


def refusal_for(message: str) -> tuple[Refusal, re.Match[str]] | None:
    """The first row that fits a message."""
    for row in REFUSALS:
        found = row.sign.search(message)
        if found is not None:
            return row, found
    return None

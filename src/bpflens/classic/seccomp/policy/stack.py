"""A stack of seccomp filters as one diagram: what the kernel does with a system call that passes all of them.

    [newest, older]  ──►  one diagram over the words of struct seccomp_data; its terminals are the actions taken

Here also: which programs are seccomp filters at all, and the bytes of struct seccomp_data for running them."""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Field
from bpflens.classic.diagrams.nodes import terminal
from bpflens.classic.diagrams.symbolic import SECCOMP, run_in, value_terms
from bpflens.classic.seccomp.policy.actions import ALLOW, canonical, precedence
from bpflens.classic.seccomp.policy.values import DATA
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.syscalls import Arch

__all__ = ("ARCH", "IP_OFFSET", "NR", "WORD", "Insns", "is_seccomp", "run_stack", "seccomp_data", "stack_node")

NR = Field(DATA, 0, 32)
ARCH = Field(DATA, 4, 32)
IP_OFFSET, ARGS_OFFSET = 8, 16
WORD = 0xFFFFFFFF

Insns = Sequence[SockFilter]


def is_seccomp(insns: Insns) -> bool:
    """Whether a program looks like a seccomp filter: valid as one, loads of seccomp_data's words, returns that are actions.

    A filter on packets could look so too; what loads nothing is taken for one unless it returns nothing but actions other than 0.
    """
    from bpflens.isa.classic.check import check

    if check(insns, "seccomp"):
        return False
    loads = [insn.k for insn in insns if insn.code == 0x20]
    returns = [insn.k for insn in insns if insn.code == 0x06]
    known = all(value & 0xFFFF0000 in _ACTIONS for value in returns)
    if not known or any(insn.code == 0x16 for insn in insns):
        return False
    if not any(value & 0xFFFF0000 for value in returns):
        return False
    return bool(loads) or len(insns) == 1


_ACTIONS = frozenset((0x80000000, 0, 0x30000, 0x50000, 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000))


def stack_node(store: Store, stack: Sequence[Insns]) -> int:
    """The diagram of a stack of filters, oldest first as they were installed; its terminals are the actions taken."""
    result = terminal(ALLOW)
    for insns in reversed(stack):  # the newest runs first
        result = _stricter(store, result, run_in(store, insns, SECCOMP))
    terms = value_terms(store)
    return store.map_terminals(result, lambda value: value if value in terms else canonical(value))


def _stricter(store: Store, newer: int, older: int) -> int:
    """For each system call the action of lower precedence value; the newer one's where they are the same."""
    result = newer
    for value in store.terminals(older):
        beats = store.conj(store.where(older, value), _weaker(store, newer, precedence(value)))
        result = store.ite(beats, terminal(value), result)
    return result


def _weaker(store: Store, node: int, limit: int) -> int:
    """The system calls for which an action of a higher precedence value than `limit` is taken."""
    return store.map_terminals(node, lambda value: limit < precedence(value))


def seccomp_data(arch: Arch, number: int, args: Sequence[int] = (), instruction_pointer: int = 0) -> bytes:
    """struct seccomp_data as a filter's loads see it: each 32-bit word most significant byte first, for the interpreter."""
    words = [number & WORD, arch.audit]
    for value in (instruction_pointer, *args, *(0,) * (6 - len(args))):
        low, high = value & WORD, value >> 32 & WORD
        words += [high, low] if arch.big_endian else [low, high]
    return b"".join(word.to_bytes(4, "big") for word in words)


def run_stack(stack: Sequence[Insns], data: bytes) -> int:
    """The action that a stack of filters (oldest first) takes for one system call, by running them as the kernel does."""
    from bpflens.classic.machine.interpreter import run
    action = ALLOW
    for insns in reversed(stack):
        value = run(insns, data)
        if precedence(value) < precedence(action):
            action = value
    return canonical(action)

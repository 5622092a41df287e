"""A seccomp filter explained: a policy on system calls, in one sentence for each architecture, in place of an expression.

The one place where it is chosen whether a classic program decides on packets or on system calls.
"""

from __future__ import annotations

from bpflens.classic.diagrams.nodes import TooComplex
from bpflens.classic.explanation import Explanation, Proof
from bpflens.classic.hooks import hook_of
from bpflens.isa.classic.insn import SockFilter
from bpflens.program import Program

__all__ = ("explain_policy", "is_policy")


def is_policy(program: Program, insns: tuple[SockFilter, ...], linktype: str | None) -> bool:
    """Whether a program is a seccomp filter: its origin or the user says so, or, where nobody says anything, its code."""
    if program.origin.source == "seccomp" or (linktype or program.origin.linktype or "").upper() == "SECCOMP":
        return True
    if linktype is not None or program.origin.source == "pcap":
        return False
    bare_list = program.origin.source == "bytecode"  # "4,40 0 0 12,...": iptables and tc take it, and people write seccomp filters so
    if not bare_list and hook_of(program).name != "socket":
        return False
    if any(insn.code & 7 == 0 and insn.code not in (0x00, 0x20, 0x60, 0x80) for insn in insns) or len(insns) == 1:
        return False  # it loads bytes or halves: the ordinary packet filter is told at a glance
    from bpflens.classic.seccomp.policy.stack import is_seccomp

    return is_seccomp(insns) and (not bare_list or _asks_for_an_architecture(insns))


def _asks_for_an_architecture(insns: tuple[SockFilter, ...]) -> bool:
    """Whether the word at offset 4 is loaded and a comparison names a known AUDIT_ARCH_ value."""
    from bpflens.isa.classic.syscalls import ARCHES

    known = {arch.audit for arch in ARCHES}
    loaded = any(insn.code == 0x20 and insn.k == 4 for insn in insns)
    return loaded and any(insn.code == 0x15 and insn.k in known for insn in insns)


def explain_policy(program: Program, insns: tuple[SockFilter, ...]) -> Explanation:
    """A seccomp filter has a policy instead of an expression."""
    from bpflens.classic.seccomp.words import policy_in_short, policy_of, policy_words

    reason = "a seccomp filter decides on system calls: it has a policy and no expression"
    short = ""
    try:
        found = policy_of(insns)
        words, short = policy_words(found), policy_in_short(found)
        if found.unconfirmed is not None:
            reason += f"; the policy is only what its decision diagram says ({found.unconfirmed})"
    except TooComplex as error:
        words, reason = (f"Not explained: too complex: {error}.",), f"too complex: {error}"
    proof = Proof("none", "", "", "SECCOMP", reason=reason)
    told = program.origin.source == "seccomp" or program.origin.linktype == "SECCOMP"
    taken = "taken for a seccomp filter by its loads and return values (--linktype: the packets of another one)"
    known = "a seccomp filter" if told else taken
    return Explanation(program.origin.where, program.name, len(insns), "SECCOMP", (), None, None, words, known, "", proof, short=short)

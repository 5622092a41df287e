"""Seccomp filters that tests share: of real programs, an allowlist by hand, random ones."""

from __future__ import annotations

import textwrap

from hypothesis import assume
from hypothesis import strategies as st

from bpflens.classic.seccomp.policy.rules import Rule
from bpflens.isa.classic.asm import assemble
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.syscalls import find_arch
from classic_oracles import corpus

X86_64, I386, X32, ARM64, S390X = (find_arch(name) for name in ("x86_64", "i386", "x32", "arm64", "s390x"))
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50001, 0x50026
CORPUS = {str(c["name"]): [SockFilter(*insn) for insn in c["insns"]] for c in corpus() if c["kind"] == "seccomp"}  # type: ignore[attr-defined]
DOCKER = CORPUS["docker-default-x86_64"]


def program(text: str) -> list[SockFilter]:
    return list(assemble(textwrap.dedent(text)))


ALLOWLIST = program("""
    ld [4]
    jne #0xc000003e, kill
    ld [0]
    jge #0x40000000, kill
    jeq #1, write
    jeq #60, allow
    jeq #56, clone
    ret #0x50001
    write: ld [20]
    jne #0, deny
    ld [16]
    jgt #2, deny
    allow: ret #0x7fff0000
    clone: ld [16]
    jset #0x10000000, deny, allow2
    allow2: ret #0x7fff0000
    deny: ret #0x50026
    kill: ret #0x80000000
""")


@st.composite
def filters(draw: st.DrawFn) -> list[SockFilter]:
    """Valid seccomp filters: comparisons, masks and arithmetic of single words."""
    actions = (ALLOW, KILL, 0, EPERM, ENOSYS, 0x7FF00005, 0x30001, 0x7FFC0000, 0x7FC00000)
    count = draw(st.integers(2, 16))
    insns: list[SockFilter] = []
    word = st.sampled_from((0, 4, 8, 16, 20, 24, 28, 36, 60))
    value = st.one_of(st.integers(0, 70), st.sampled_from((0xC000003E, 0x40000003, 0x40000000, 0x10000000, 0xFFFFFFFF, 0x8000, 0x7E020000)))
    while len(insns) < count - 1:
        left = count - len(insns) - 2
        kind = draw(st.sampled_from(("load", "jump", "jump", "and", "ret", "add", "len")))
        if kind == "load" or not insns:
            insns.append(SockFilter(0x20, 0, 0, draw(word)))
        elif kind == "jump":
            code = draw(st.sampled_from((0x15, 0x25, 0x35, 0x45)))
            insns.append(SockFilter(code, draw(st.integers(0, left)), draw(st.integers(0, left)), draw(value)))
        elif kind == "and":
            insns.append(SockFilter(0x54, 0, 0, draw(value)))
        elif kind == "add":
            insns.append(SockFilter(0x04, 0, 0, draw(st.integers(0, 3))))
        elif kind == "len":
            insns.append(SockFilter(0x80, 0, 0, 0))
        else:
            insns.append(SockFilter(0x06, 0, 0, draw(st.sampled_from(actions))))
    return [*insns, SockFilter(0x06, 0, 0, draw(st.sampled_from(actions)))]


def holds(rule: Rule, args: list[int], pointer: int) -> int:
    """The action that a rule gives for arguments."""
    for arm in rule.arms:
        assume(not any(test.text for test in arm.tests))  # a condition in words: the soak's judge leaves it out, too
        verdicts = [test.values.holds(pointer if test.argument < 0 else args[test.argument]) for test in arm.tests]
        assume(None not in verdicts)  # a set without a short form is said as that, with an example
        if all(verdicts):
            return arm.action
    return rule.otherwise

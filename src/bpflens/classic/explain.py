"""What a classic filter does: expression, words, name, and the proof that they are right.

    explain(program)   ──►   ip and udp dst port 68
                             IPv4 UDP packets to port 68 (bootpc). Implied: not a later fragment; no VLAN tag in the frame's bytes.
                             a DHCP client; proved equal for all packets (libpcap 1.10.3, EN10MB)

The program becomes a decision diagram, the search finds an expression with the same diagram, libpcap compiles that expression again, and
the two programs are proved equal. What the language cannot say is said in the extension and in words. Nothing found is said as plainly.

What a return value means is the hook's affair (hooks.py): a verdict has an expression for each meaning, a number has none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.linktypes import PAYLOADS, linktype_name
from bpflens.classic.diagrams.nodes import TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, Loop
from bpflens.classic.explain_filter import REJECT, FilterExplainer
from bpflens.classic.explain_policy import explain_policy, is_policy
from bpflens.classic.explanation import Explanation, Outcome, Proof
from bpflens.classic.expression.cooked import COOKED, as_linux_sll
from bpflens.classic.expression.find import Compiler
from bpflens.classic.hooks import Hook, hook_of
from bpflens.classic.proof import equal as prove
from bpflens.errors import InputError
from bpflens.isa.classic.insn import SockFilter, decode
from bpflens.isa.classic.table import SKF_AD_OFF
from bpflens.lean import replace
from bpflens.program import Isa, Program

__all__ = ("Explanation", "Outcome", "Proof", "explain")

_NOT_TOLD = "every packet is an Ethernet frame"
_SOCKET_DOES_NOT_SAY = "every packet is an Ethernet frame (the socket does not say)"


def explain(program: Program, given: Sequence[str] = (), linktype: str | None = None, deadline: float = 10.0) -> Explanation:
    """Explain a classic program. `given`: expressions that hold for every packet (default: what the program's origin says).

    `linktype`: libpcap's name (default: the origin's, else EN10MB, which is an assumption then). `deadline`: the steps of the search, in
    seconds of an idle machine (nodes.STEPS_PER_SECOND); the best answer so far is given. Raises InputError for an extended program, an
    unknown link type or assumption, and what is no program.
    """
    if program.isa is not Isa.CLASSIC:
        raise InputError(program.origin.where, "is an extended (eBPF) program; explain speaks about classic filters")
    insns = decode(program.code)
    if not insns:
        raise InputError(program.origin.where, "has no instructions")
    start = time.monotonic()
    if is_policy(program, insns, linktype):
        result = explain_policy(program, insns)
    else:
        result = _packet_filter(program, insns, given, linktype, deadline)
    return replace(result, seconds=time.monotonic() - start)


def _packet_filter(
    program: Program, insns: tuple[SockFilter, ...], given: Sequence[str], linktype: str | None, deadline: float
) -> Explanation:
    """A filter on packets, as its hook reads what it returns."""
    told = linktype or program.origin.linktype
    chosen = linktype_name(told or "EN10MB")
    hook = hook_of(program)
    cooked = as_linux_sll(insns) if told is None and program.origin.note == COOKED else None
    if cooked is not None:
        insns, chosen = cooked, "LINUX_SLL"
    if hook.kind == "verdict":
        from bpflens.classic.verdicts import verdicts

        result = verdicts(program, insns, hook, lambda code: _on_packets(program, code, given, chosen, deadline))
    else:
        result = _on_packets(program, insns, given, chosen, deadline)
    if hook.kind == "number":
        result = _as_number(result, hook, insns)
    if cooked is not None:
        note = "a cooked socket: its packets begin with the network header, as with tcpdump -i any"
        result = replace(result, notes=(*result.notes, note))
    if told is None and cooked is None and _reads_packets(insns):
        # An unbound packet socket gets what each device gives; so it does on a device whose link type has no name.
        assumption = _SOCKET_DOES_NOT_SAY if program.origin.source == "socket/packet" else _NOT_TOLD
        result = _assuming(result, assumption)
    return replace(result, hook=hook.name)


def _assuming(result: Explanation, assumption: str) -> Explanation:
    """With an assumption as part of every grade."""

    def noted(proof: Proof) -> Proof:
        return replace(proof, assumptions=(*proof.assumptions, assumption))

    outcomes = tuple(replace(o, proof=noted(o.proof)) if o.proof is not None else o for o in result.outcomes)
    return replace(result, proof=noted(result.proof), outcomes=outcomes)


def _reads_packets(insns: tuple[SockFilter, ...]) -> bool:
    """Whether the answer depends on what the packets begin with: on any of their bytes."""
    return any(insn.code & 7 in (0, 1) and insn.code & 0xE0 in (0x20, 0x40, 0xA0) and insn.k < SKF_AD_OFF for insn in insns)


def _on_packets(
    program: Program, insns: tuple[SockFilter, ...], given: Sequence[str], linktype: str, deadline: float
) -> Explanation:
    """What a filter accepts, where a value that is not 0 accepts."""
    result, steps = None, 0
    if program.origin.given and not given:
        # What the origin says of the packets is only assumed where it makes the answer plainer.
        result = FilterExplainer(program, insns, (), linktype, deadline / 2).run()
        steps = result.steps
        if result.expression is None or "[" in result.expression or result.proof.grade == "none":
            result = None
    if result is None:
        result = FilterExplainer(program, insns, tuple(given) or program.origin.given, linktype, deadline, steps).run()
    if program.origin.given and not given and not result.given and _accepts_nothing(insns, program.origin.given, linktype):
        shown = " and ".join(program.origin.given)
        but = f"But only packets that satisfy `{shown}` come to it, and it accepts none of them: proved."
        result = replace(result, words=(*result.words, but))
    shown = result.expression or ""
    if ("link[" in shown or "ether[" in shown) and not (result.given or result.outcomes):
        result = _with_plainer_assumption(result, shown, program, insns, linktype, deadline)
    return result


def _with_plainer_assumption(
    result: Explanation, shown: str, program: Program, insns: tuple[SockFilter, ...], linktype: str, deadline: float
) -> Explanation:
    """With a note of the assumption under which the language has names for what the filter reads, where there is one that helps."""
    best: tuple[int, str, str, str] | None = None
    for assumption, version in (("ip", "IPv4"), ("ip6", "IPv6")):
        plainer, steps = _if_only(assumption, program, insns, linktype, deadline)
        result = replace(result, steps=result.steps + steps)
        if plainer is not None and len(plainer) < len(shown):
            candidate = (_without_names(plainer), plainer, assumption, version)
            best = candidate if best is None or candidate[0] < best[0] else best
        if best is not None and not best[0]:
            break
    if best is None:
        return result
    note = f"if only {best[3]} packets come to it (--given {best[2]}), it is the same as: {best[1]}"
    return replace(result, notes=(*result.notes, note))


def _as_number(result: Explanation, hook: Hook, insns: tuple[SockFilter, ...]) -> Explanation:
    """The value is used as it is: there is no expression for the whole, and one for each value at most."""
    values = {insn.k for insn in insns if insn.code == 0x06}
    outcomes = result.outcomes
    if not outcomes and len(values) > 1 and all(insn.code != 0x16 for insn in insns):
        value = str(next(iter(values - {0})))
        outcomes = (Outcome(value, result.expression or result.extended, result.expression is None, result.words, result.proof),)
    words = [f"Its value is no verdict: {hook.what} {'the value' if len(values) != 1 else next(iter(values))}."]
    if outcomes and 0 in values:
        words.append("Everything else: 0.")
    proof = replace(result.proof, grade="none", method="", witness=None, reason="the value is a number, which no expression states")
    return replace(result, expression=None, extended=None, words=tuple(words), known=None, accepts="", outcomes=outcomes, proof=proof)


def _accepts_nothing(insns: tuple[SockFilter, ...], given: tuple[str, ...], linktype: str) -> bool:
    """Whether it is proved that no packet satisfies both the program and what its context says of the packets."""
    try:
        assumed = Compiler(Store(), linktype).program(" and ".join(f"({text})" for text in given))
        return prove.compare(insns, REJECT, KERNEL, given=assumed).grade != "none"
    except (InputError, Loop, TooComplex):
        return False


def _without_names(shown: str) -> int:
    """How much of a text is bytes of a header; those that are no field count twice."""
    from bpflens.classic.words.field_names import constraint

    tests = [part.strip("()") for part in re.split(r" (?:and|or) ", shown) if "[" in part]
    return sum(2 if constraint(test).startswith(("byte", "the byte", "`")) else 1 for test in tests)


def _if_only(
    assumption: str, program: Program, insns: tuple[SockFilter, ...], linktype: str, deadline: float
) -> tuple[str | None, int]:
    """(expression under the assumption that a filter without a test of the IP version often makes, None where it is no plainer; steps)."""
    if linktype in PAYLOADS or deadline <= 0.5:
        return None, 0
    try:
        result = FilterExplainer(program, insns, (assumption,), linktype, min(deadline, 2.0)).run()
    except InputError:
        return None, 0
    if result.expression is None or result.expression == "1 = 1" or result.proof.grade == "none":
        return None, result.steps
    return None if "link[" in result.expression or "ether[" in result.expression else result.expression, result.steps

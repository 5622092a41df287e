"""Classic filters in one line each, for listings: what is known of each distinct filter is found once, all within one time budget.

    Summaries(2.0)(program)   ──►   Summary("ip and udp dst port 68 (a DHCP client)", expression="ip and udp dst port 68", ...)

A filter that is a sign of an intruder begins with the warning. What the answer rests on stands before it ("if Ethernet: ...").
"""

from __future__ import annotations

from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.program import Program

if TYPE_CHECKING:
    from bpflens.classic.explanation import Explanation

__all__ = ("Summaries", "Summary")

_CHOICES = {"reuseport": "the index of a socket", "fanout": "the index of a socket", "team/hash": "a hash"}  # neither accept nor reject
_PROGRAM_SECONDS = 0.5  # for each: a hard one does not take the others' time
_WARNING_SECONDS = 6.0  # for all that raise a suspicion: the one row that everybody wants to know of may take longer than its share
_LEAST_SECONDS = 0.01  # of which a program takes at least so much


class Summary(NamedTuple):
    """`text` for a table. `warning`: the part of it, from its start, that must never be cut; "" where nothing is to be warned of.

    `expression` is tcpdump's language, None where there is none; `reason` then says why: "no packet" (it accepts none), "no time",
    "no expression" (the language cannot say it), "no packets known" (what they begin with), "policy" (a seccomp filter), "choice" (its
    value is no verdict). `known` names a known filter; `assumptions` are what the answer rests on beside what the kernel says.
    `outcomes`: where the values are verdicts (tc direct-action ...), packets and their verdict; the packets of the last are "else".
    """

    text: str
    warning: str = ""
    expression: str | None = None
    known: str | None = None
    assumptions: tuple[str, ...] = ()
    reason: str | None = None
    outcomes: tuple[tuple[str, str], ...] = ()


class Summaries:
    """Summaries of programs, within `seconds` for all of them together; `late` counts those for which nothing was left.

    The seconds are those of the clock of steps (diagrams/nodes.py), so which filters are explained does not depend on the machine.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._left_for_warnings = _WARNING_SECONDS if seconds > 0 else 0.0
        self.late = 0
        self._known: dict[tuple[object, ...], Summary] = {}

    def __call__(self, program: Program) -> Summary:
        from bpflens.classic.hooks import hook_of

        origin = program.origin
        key = (program.code, origin.source, origin.linktype, origin.given, origin.note, hook_of(program).name)
        if key not in self._known:
            self._known[key] = self._summary(program)
        return self._known[key]

    def _summary(self, program: Program) -> Summary:
        from bpflens.classic.words.suspicion import suspicion_of

        kind, linktype, starts_at = program.origin.source, program.origin.linktype, program.origin.note
        if kind in _CHOICES:
            return Summary(f"(returns {_CHOICES[kind]}: no expression)", reason="choice")
        suspicion = suspicion_of(program.code)
        unknown = linktype is None and kind not in ("seccomp", "socket/packet") and starts_at != "network header"
        if unknown and program.insn_count > 1:  # one instruction returns, whatever comes
            summary = Summary(f"(begins with {starts_at or 'what nobody knows'}: no expression)", reason="no packets known")
        elif suspicion is not None and self._left_for_warnings > _LEAST_SECONDS:
            before = self._left
            summary = self._explained(program, max(self._left_for_warnings, min(self._left, _PROGRAM_SECONDS)))
            self._left_for_warnings -= before - self._left
            self._left = before
        elif self._left <= _LEAST_SECONDS:
            self.late += 1
            summary = Summary("(no time left to explain it)", reason="no time")
        else:
            summary = self._explained(program, min(self._left, _PROGRAM_SECONDS))
        if suspicion is not None and not summary.warning:
            warning = f"WARNING: {suspicion}"
            summary = summary._replace(text=f"{warning}: {summary.text}", warning=warning, known=summary.known or suspicion)
        return summary

    def _explained(self, program: Program, seconds: float) -> Summary:
        """The summary that a search of so many seconds finds, which are paid for."""
        from bpflens.classic.diagrams.nodes import STEPS_PER_SECOND

        summary, steps = _explained(program, seconds)
        self._left -= max(steps / STEPS_PER_SECOND, _LEAST_SECONDS)
        return summary


def _explained(program: Program, seconds: float) -> tuple[Summary, int]:
    """(summary, steps of the search). For a program that cannot be explained the reason stands in its place, in parentheses."""
    from bpflens.classic.explain import explain
    from bpflens.errors import BpflensError

    try:
        result = explain(program, deadline=seconds)
    except BpflensError as error:
        return Summary(f"({error.reason})", reason="no expression"), 0
    return _summary_of(program, result), result.steps


def _summary_of(program: Program, result: Explanation) -> Summary:
    from bpflens.classic.diagrams.linktypes import PAYLOADS
    from bpflens.classic.hooks import VERDICT_HOOKS
    from bpflens.classic.words.suspicion import is_suspicious

    if result.proof.linktype == "SECCOMP":
        return Summary(result.short or result.words[0].rstrip("."), known=result.known, reason="policy")
    if result.hook in VERDICT_HOOKS:
        return _verdicts(result)
    assumptions = result.proof.assumptions
    condition = "if Ethernet: " if any("Ethernet" in text for text in assumptions) else ""
    found = result.expression if result.expression is not None else result.extended
    reason: str | None
    if found is None:
        reason, shown = _why_none(result.words, result.proof.reason)
    else:
        reason = None if result.expression is not None else "no expression"
        shown = "every packet" if found == "1 = 1" else found
        shown += " (not proved)" if result.proof.grade == "none" else ""
    header = PAYLOADS.get(program.origin.linktype or "")
    shown = shown.replace("link[", f"{header}[") if header else shown
    if result.known and is_suspicious(result.known):
        warning = f"WARNING: {result.known}, {condition}".rstrip(", :")
        return Summary(f"{warning}: {shown}", warning, result.expression, result.known, assumptions, reason)
    known = f" ({result.known})" if result.known else ""
    return Summary(f"{condition}{shown}{known}", "", result.expression, result.known, assumptions, reason)


def _verdicts(result: Explanation) -> Summary:
    """A filter whose values are verdicts: each with the packets that get it."""
    condition = "if Ethernet: " if any("Ethernet" in text for text in result.proof.assumptions) else ""
    outcomes = tuple(
        ("every packet" if one.expression == "1 = 1" else one.expression or "else", one.value) for one in result.outcomes
    )
    shown = ", ".join(f"{packets}: {value}" for packets, value in outcomes) or result.words[0].rstrip(".")
    if result.outcomes and result.proof.grade == "none":
        shown += " (not proved)"
    reason = None if result.expression is not None else "no expression"
    return Summary(f"{condition}{shown}", "", result.expression, None, result.proof.assumptions, reason, outcomes)


def _why_none(words: tuple[str, ...], reason: str) -> tuple[str, str]:
    """(`Summary.reason`, text) of a filter without an expression."""
    if words and words[0].startswith("No packet"):
        return "no packet", words[0].rstrip(".")
    if "in time" in reason:
        return "no time", f"({reason})"
    return "no expression", f"({reason})" if reason else words[0].rstrip(".")

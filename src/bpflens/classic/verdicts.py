"""A filter whose return values are verdicts: for each verdict the packets that get it.

    ldh [12]; jeq #0x800, 1, 0; ret #0; ret #2    in direct-action mode    ──►   TC_ACT_SHOT (dropped) for `ip`, else TC_ACT_OK (passed)

For each verdict the program is changed to one that accepts exactly the packets that get it: its `ret #k` instructions return 1 or 0, and
a value that it computes is compared with each verdict at its end. So each verdict has an expression with a proof of its own, as every
filter has.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.classic.explanation import Explanation, Outcome
from bpflens.classic.hooks import Hook
from bpflens.isa.classic.insn import SockFilter
from bpflens.lean import replace
from bpflens.program import Program

__all__ = ("by_outcome", "verdicts")

_RET_K, _RET_A, _JA, _JEQ_K = 0x06, 0x16, 0x05, 0x15
_MOST = 24
_GRADES = {"all-packets": 2, "untruncated": 1, "none": 0}


def by_outcome(insns: tuple[SockFilter, ...], hook: Hook, wanted: int | None = None) -> tuple[SockFilter, ...]:
    """The program with each value that it returns replaced by its outcome; with `wanted`, by 1 for that outcome and 0 for others.

    `ret a` becomes a jump behind the program, where A is compared with the verdicts, unless every value is an outcome of its own."""

    def shown(outcome: int) -> int:
        return outcome if wanted is None else int(outcome == wanted)

    def changed(pc: int, insn: SockFilter) -> SockFilter:
        if insn.code == _RET_A and hook.others is not None:
            return SockFilter(_JA, 0, 0, len(insns) - pc - 1)
        return insn._replace(k=shown(hook.outcome(insn.k))) if insn.code == _RET_K else insn

    end: list[SockFilter] = []
    if hook.others is not None and computes(insns):
        for verdict in hook.verdicts:
            end += [SockFilter(_JEQ_K, 0, 1, verdict), SockFilter(_RET_K, 0, 0, shown(verdict))]
        end.append(SockFilter(_RET_K, 0, 0, shown(hook.others)))
    return (*(changed(pc, insn) for pc, insn in enumerate(insns)), *end)


def computes(insns: tuple[SockFilter, ...]) -> bool:
    """Whether a value that is returned is computed."""
    return any(insn.code == _RET_A for insn in insns)


def verdicts(
    program: Program, insns: tuple[SockFilter, ...], hook: Hook, accepts: Callable[[tuple[SockFilter, ...]], Explanation]
) -> Explanation:
    """The explanation of a program of a hook with verdicts; `accepts` explains a filter that accepts or not."""
    possible = {hook.outcome(insn.k) for insn in insns if insn.code == _RET_K}
    if computes(insns):
        if hook.others is None:
            return _computed(accepts(insns), hook)
        possible |= {*hook.verdicts, hook.others}
    outcomes = sorted(possible)
    if len(outcomes) == 1:
        meaning = hook.words(outcomes[0])
        whole = accepts(by_outcome(insns, hook, outcomes[0]))
        every = whole.expression == "1 = 1"
        words = (f"Every packet{'' if every else ' that is long enough for its loads'}: {meaning}.",)
        only = Outcome(meaning, whole.expression or whole.extended, whole.expression is None, words, whole.proof)
        return replace(whole, words=words + _too_short(insns, hook, outcomes), known=None, accepts="", outcomes=(only,))
    rest = _rest(outcomes)
    found: list[tuple[int, Explanation]] = []
    for outcome in [o for o in outcomes if o != rest][:_MOST]:
        found.append((outcome, accepts(by_outcome(insns, hook, outcome))))
    shown = [_outcome(hook, outcome, e) for outcome, e in found if not e.words[:1] or not e.words[0].startswith("No packet")]
    else_ = Outcome(hook.words(rest), None, False, ("Everything else.",))
    weakest = min((e for _, e in found), key=lambda e: _GRADES[e.proof.grade])
    one = found[0][1] if len(found) == 1 else None
    sentences = tuple(f"{o.value[0].upper()}{o.value[1:]}: {' '.join(o.words)}" for o in (*shown, else_))
    notes = weakest.notes
    if len(outcomes) - 1 > _MOST:
        notes = (*notes, f"{len(outcomes) - 1 - _MOST} further return values are not listed")
    expression, extended, known = (one.expression, one.extended, one.known) if one else (None, None, None)
    told = (*sentences, *_too_short(insns, hook, outcomes))
    outcome_list = (*shown, else_)
    return replace(
        weakest, expression=expression, extended=extended, words=told, known=known, accepts="", outcomes=outcome_list, notes=notes,
        steps=sum(e.steps for _, e in found),
    )  # fmt: skip


def _too_short(insns: tuple[SockFilter, ...], hook: Hook, outcomes: list[int]) -> tuple[str, ...]:
    """What a packet gets for which a load fails, where that is none of the outcomes: the program returns 0 then."""
    zero = hook.outcome(0)
    loads = any(insn.code & 7 in (0, 1) and insn.code & 0xE0 in (0x20, 0x40, 0xA0) for insn in insns)
    return (f"A packet that is too short for a load: {hook.words(zero)}.",) if loads and zero not in outcomes else ()


def _rest(outcomes: list[int]) -> int:
    """The outcome of what matches nothing: 0 (passed, no match) or, where no packet gets that, no verdict."""
    return 0 if 0 in outcomes else outcomes[-1]


def _outcome(hook: Hook, outcome: int, e: Explanation) -> Outcome:
    return Outcome(hook.words(outcome), e.expression if e.expression is not None else e.extended, e.expression is None, e.words, e.proof)


def _computed(result: Explanation, hook: Hook) -> Explanation:
    """A value that the program computes: what its numbers mean is said, which packets get which is not proved."""
    words = tuple(f"It returns {o.value}: {' '.join(o.words) or 'not in words'}" for o in result.outcomes)
    note = f"the program computes its return value, which is a verdict here ({hook.name})"
    proof = replace(result.proof, grade="none", method="", witness=None, reason="a computed verdict has no expression")
    return replace(
        result, expression=None, extended=None, words=words or ("The verdict is computed.",), known=None, accepts="",
        notes=(*result.notes, note), proof=proof,
    )  # fmt: skip

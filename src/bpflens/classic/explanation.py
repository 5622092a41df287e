"""What an explanation of a classic filter consists of: expression, words, outcomes, and the proof of the expression."""

from __future__ import annotations

from bpflens.classic.proof.verdict import Grade, Witness
from bpflens.lean import frozen

__all__ = ("Explanation", "Outcome", "Proof")


@frozen
class Proof:
    """How far the expression is proved to be the program. `grade`: "all-packets", "untruncated" (not cut short), or "none".

    `libpcap` is the version that compiled the expression, `linktype` and `given` what was assumed of the packets, `assumptions`
    further ones in words. `witness`: a packet on which they differ (for "untruncated": one too short), where one is known.
    `reason`: why it is not proved.
    """

    grade: Grade
    method: str
    libpcap: str
    linktype: str
    given: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    witness: Witness | None = None
    reason: str = ""


@frozen
class Outcome:
    """Packets for which one value is returned, or several with one meaning.

    `value`: the number as text, or where the hook gives it a meaning that ("TC_ACT_SHOT (dropped)"). `expression` (None: none found, or
    `words` say that it is the rest), `extended` whether it has `@` terms, `words`. `proof` of the expression where it has one of its own.
    """

    value: str
    expression: str | None
    extended: bool
    words: tuple[str, ...]
    proof: Proof | None = None


@frozen
class Explanation:
    """The result. `expression` is tcpdump's language and None where that cannot say it; `extended` is our `@` syntax then.

    `outcomes`: one per return value where a program returns several. `known`: the name of a known filter with this meaning.
    `accepts`: what is delivered of a matching packet. `notes`: further facts (why a kernel would refuse the program ...). `hook`: whose
    meaning of return values was taken (classic/hooks.py). `short`: a seccomp policy in a few words, for a table. `steps`: of the
    search, in which budgets are counted (diagrams/nodes.py).
    """

    where: str
    name: str
    insns: int
    linktype: str
    given: tuple[str, ...]
    expression: str | None
    extended: str | None
    words: tuple[str, ...]
    known: str | None
    accepts: str
    proof: Proof
    outcomes: tuple[Outcome, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    steps: int = 0
    hook: str = "socket"
    short: str = ""

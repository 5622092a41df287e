"""A verifier log explained: which check failed, where, what was known of the register, and where that came from on the path."""

from __future__ import annotations

from bpflens.analysis.refusals import refusal_for
from bpflens.formats.dumps.listings.verifier_log import Step, VerifierLog
from bpflens.lean import frozen

__all__ = ("RefusedLoad", "explain_refusal")

_NONE_KNOWN = "this message has no explanation here"
_SHOWN_CHANGES = 4


@frozen
class RefusedLoad:
    """`message` is the verifier's; `words` say what it checked ("" where the message is not known here). `changes`: the steps of the path
    that set what is known of `register`, with what was known afterwards, oldest first.
    """

    message: tuple[str, ...]
    words: str
    at: Step | None
    register: str
    known: str
    changes: tuple[tuple[Step, str], ...]
    remedies: tuple[str, ...]
    processed: int | None


def explain_refusal(log: VerifierLog) -> RefusedLoad | None:
    """The refusal in words; None where the program was accepted, or the log does not say."""
    if not log.refusal:
        return None
    found = next((hit for line in log.refusal if (hit := refusal_for(line)) is not None), None)
    words, register = "", ""
    remedies: tuple[str, ...] = ()
    if found is not None:
        row, match = found
        groups = ["", *(group or "" for group in match.groups())]
        words, remedies = row.words.format(*groups), row.remedies
        register = f"R{match[row.register]}" if row.register is not None else ""
    path = log.path()
    changes = _changes(path, register) if register else []
    known = changes[-1][1] if changes else ""
    at = path[-1] if path else None
    return RefusedLoad(log.refusal, words, at, register, known, tuple(changes[-_SHOWN_CHANGES:]), tuple(remedies), log.processed)


def _changes(path: tuple[Step, ...], register: str) -> list[tuple[Step, str]]:
    """Each step after which something new was known of the register."""
    out: list[tuple[Step, str]] = []
    for step in path:
        known = dict(step.known).get(register)
        if known is not None and (not out or out[-1][1] != known):
            out.append((step, known))
    return out

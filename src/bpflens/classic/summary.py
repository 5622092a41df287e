"""A classic filter in one line, for listings.

    one_line(program, 0.2)   ──►   ip and udp dst port 68 (a DHCP client)
"""

from __future__ import annotations

from bpflens.errors import BpflensError
from bpflens.program import Program

__all__ = ("one_line",)


def one_line(program: Program, budget_s: float = 0.5) -> str:
    """The expression, or the extension's, with the name of a known filter; else the first words. Takes about `budget_s` seconds at most.

    Never raises for a program that cannot be explained: the reason stands in its place, in parentheses.
    """
    from bpflens.classic.explain import explain

    try:
        result = explain(program, deadline=budget_s)
    except BpflensError as error:
        return f"({error.reason})"
    shown = result.expression if result.expression is not None else result.extended
    if shown is None:
        return result.words[0].rstrip(".") if result.proof.linktype == "SECCOMP" or not result.proof.reason else f"({result.proof.reason})"
    if shown == "1 = 1":
        shown = "every packet"
    if result.proof.grade == "none":
        shown += " (not proved)"
    return f"{shown} ({result.known})" if result.known else shown

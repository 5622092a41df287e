"""Conditions of a seccomp filter that tie several words together, as text over args[i], nr and arch.

    ("zero", args[0] low + args[1] low)   ──►   args[0].low + args[1].low == 0
"""

from __future__ import annotations

from bpflens.classic.diagrams.term import MASK, Length, Linear, Load, Op, Term, a_term

__all__ = ("condition_text",)

_SIGNS = {"and": "&", "or": "|", "xor": "^", "lsh": "<<", "rsh": ">>", "mul": "*", "div": "/", "mod": "%"}
_WORDS = {0: "nr", 4: "arch", 8: "instruction_pointer[0]", 12: "instruction_pointer[1]"}


def condition_text(condition: object, holds: bool) -> str:
    """A condition of classic/condition.py, or its opposite. Words of 64-bit members are numbered in memory order."""
    match condition:
        case ("zero", term):
            return f"{_text(a_term(term))} {'==' if holds else '!='} 0"
        case ("gt", left, right):
            return f"{_text(a_term(left))} {'>' if holds else '<='} {_text(a_term(right))}"
    return f"{'' if holds else 'not '}{condition}"


def _text(term: Term) -> str:
    if type(term) is int:
        return str(term) if term < 4096 else hex(term)
    if type(term) is Load:
        word = term.offset & ~3
        return _WORDS.get(word) or f"args[{(word - 16) // 8}][{word // 4 & 1}]"
    if type(term) is Length:
        return "64"
    if type(term) is Linear:
        pieces = [_text(t) if c == 1 else f"-{_text(t)}" if c == MASK else f"{c}*{_text(t)}" for t, c in term.parts]
        if term.constant:
            pieces.append(_text(term.constant) if term.constant <= MASK // 2 else f"-{(1 << 32) - term.constant}")
        return "(" + " + ".join(pieces).replace("+ -", "- ") + ")"
    assert type(term) is Op
    return f"({_text(term.a)} {_SIGNS[term.op]} {_text(term.b)})"

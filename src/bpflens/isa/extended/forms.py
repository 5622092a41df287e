"""The form of a line of assembler text: what a template and a line of it have in common, so that one finds the other.

    "{dst} = *(u32 *)({src} {off})"   and   "r1 = *(u32 *)(r2 +8)"   ──►   "R = * ( u32 * ) ( R N )"
"""

from __future__ import annotations

import re
from collections.abc import Collection

from bpflens.isa.extended.fields import FIELDS, NAMES
from bpflens.lean import NamedTuple

__all__ = ("Token", "skeleton", "skeletons", "tokens")


class Token(NamedTuple):
    """`kind` as in Field.kind for registers (R, W), numbers (N), jump targets (@); "" for what must be equal to the template."""

    kind: str
    text: str


_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<at>pc[+-](?:0[xX][0-9a-fA-F]+|\d+)\b)"
    r"|(?P<reg>[rw](?:1[0-5]|\d)\b)"
    r"|(?P<op>s?>>=|<<=|s?[<>]=|s[<>]|s[/%]=|[-+*/%&|^!=]=)"
    r"|(?P<num>[+-]?\s*(?:0[xX][0-9a-fA-F]+|\d+)\b)"
    r"|(?P<word>[A-Za-z_.$@][\w.$@-]*)"
    r"|(?P<mark>[-+*&()\[\],:#=<>{}])"
    r")"
)


def tokens(text: str) -> list[Token] | None:
    """The tokens of a line without label and comment; None where a character belongs to none."""
    out: list[Token] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        at = found.end()
        kind = found.lastgroup or ""
        body = found[kind]
        if kind == "reg":
            out.append(Token(body[0].upper(), body[1:]))
        elif kind == "num":
            body = body.replace(" ", "").replace("\t", "")
            if out and out[-1] == ("", "+"):  # "skb[r1 + -5]"
                out.pop()
            out.append(Token("N", body))
        elif kind == "at":
            out.append(Token("@", body[2:]))
        else:
            out.append(Token("", body))
    return out


_PLACEHOLDERS = {"R": "r15", "W": "w15", "N": "+424242", "@": "pc+424242", "M": "id", "I": "unknown", "N?": "+424242", "#N?": "#+424242"}
_PLACED = ("15", "+424242")


def skeletons(template: str) -> list[tuple[str, tuple[str, ...]]]:
    """(skeleton, what each operand token is), one or, with an optional field, two. An operand is a field's name or "=literal"."""
    names = [name for name in NAMES.findall(template) if FIELDS[name].sets]
    optional = [name for name in names if FIELDS[name].kind.endswith("?")]
    out = []
    for absent in ([], optional) if optional else ([],):
        line = tokens(_filled(template, absent)) or []
        fields = iter(name for name in names if name not in absent)
        operands = tuple(next(fields) if token.text in _PLACED else f"={token.text}" for token in line if token.kind)
        out.append((skeleton(line), operands))
    return out


def _filled(template: str, absent: Collection[str]) -> str:
    """A template with a placeholder for each field, nothing for those that are absent."""
    return NAMES.sub(lambda found: "" if found[1] in absent else _PLACEHOLDERS[FIELDS[found[1]].kind], template)


def skeleton(line: list[Token]) -> str:
    """The form of a line: kinds of its operands, and everything else as it stands."""
    return " ".join(token.kind or ("id" if token.text == "fd" else token.text) for token in line)

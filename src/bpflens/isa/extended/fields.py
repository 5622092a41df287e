"""The operands of the table's templates: how each is printed from the instruction word, and how its text sets the word's bits.

    "{dst} += {src}"   word 0x210f  ──►  "r1 += r2"   ──►  word 0x210f

Printing is compiled per template into one expression on first use, because it runs once per distinct word of a program. Reading
works on the sequence of a line's tokens: a template and a line of its form have the same `skeleton`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

__all__ = ("FIELDS", "Field", "Render", "Token", "compile_template", "skeletons", "tokens")

Render = Callable[[int, int, str], str]
"""(word, word of the second slot or 0, "id" or "fd") -> text."""

_IMM = "((w >> 32 ^ 0x80000000) - 0x80000000)"
_OFF = "((w >> 16 & 0xFFFF ^ 0x8000) - 0x8000)"
_NEXT = "((v >> 32 ^ 0x80000000) - 0x80000000)"
_IMM64 = "(v >> 32 << 32 | w >> 32)"


class Field(NamedTuple):
    """`print`: % format; `value`: expression over w and v; `kind`: the token it is read from; `sets`: the bits that this sets."""

    print: str
    value: str
    kind: str
    sets: str


FIELDS = {
    "dst": Field("r%d", "(w >> 8 & 15)", "R", "dst"),
    "src": Field("r%d", "(w >> 12 & 15)", "R", "src"),
    "wdst": Field("w%d", "(w >> 8 & 15)", "W", "dst"),
    "wsrc": Field("w%d", "(w >> 12 & 15)", "W", "src"),
    "imm": Field("%d", _IMM, "N", "imm"),
    "simm": Field("%+d", _IMM, "N", "imm"),
    "uimm": Field("0x%x", "(w >> 32)", "N", "imm"),
    "ximm": Field("%#x", _IMM, "N", "imm"),
    "hi16": Field("%d", "(w >> 48)", "N", "hi16"),
    "lo16": Field("%d", "(w >> 32 & 0xFFFF)", "N", "lo16"),
    "xhi16": Field("%#x", "(w >> 48)", "N", "hi16"),
    "xlo16": Field("%#x", "(w >> 32 & 0xFFFF)", "N", "lo16"),
    "off": Field("%+d", _OFF, "N", "off"),
    "soff": Field("%d", _OFF, "N", "off"),
    "xoff": Field("%s", f"('- %#x' % -{_OFF} if w >> 31 & 1 else '+ %#x' % (w >> 16 & 0xFFFF))", "N", "off"),
    "index": Field(" + %d", _IMM, "N", "imm"),
    "xindex": Field("%s", f"('' if w >> 32 == 0 else ' + %#x' % {_IMM} if w >> 63 == 0 else ' - %#x' % -{_IMM})", "N?", "imm"),
    "jump": Field("pc%+d", _OFF, "@", "off"),
    "xjump": Field("%+#x", _OFF, "@", "off"),
    "jumpl": Field("pc%+d", _IMM, "@", "imm"),
    "xjumpl": Field("%+#x", _IMM, "@", "imm"),
    "imm64": Field("0x%x", _IMM64, "N", "imm64"),
    "ximm64": Field("%#x", f"(({_IMM64} ^ 1 << 63) - (1 << 63))", "N", "imm64"),
    "nimm": Field("%+d", _NEXT, "N", "next"),
    "next": Field("%s", f"('' if v >> 32 == 0 else '#%d' % {_NEXT})", "#N?", "next"),
    "map": Field("%s", "m", "M", ""),
    "helper": Field("%s", f"helper_name({_IMM}, 'unknown')", "I", ""),
}

_FIELD = re.compile(r"\{(\w+)\}")


@cache
def compile_template(template: str) -> Render:
    """The printer of a template."""
    from bpflens.isa.extended.helpers import name_or

    values = []

    def take(found: re.Match[str]) -> str:
        field = FIELDS[found[1]]
        values.append(field.value)
        return field.print

    pattern = _FIELD.sub(take, template.replace("%", "%%"))
    source = f"lambda w, v, m: {pattern!r} % ({', '.join(values)},)" if values else f"lambda w, v, m: {pattern % ()!r}"
    render: Render = eval(source, {"helper_name": name_or})
    return render


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
    names = [name for name in _FIELD.findall(template) if FIELDS[name].sets]
    optional = [name for name in names if FIELDS[name].kind.endswith("?")]
    out = []
    for absent in ([], optional) if optional else ([],):
        text = _FIELD.sub(lambda found, absent=absent: "" if found[1] in absent else _PLACEHOLDERS[FIELDS[found[1]].kind], template)  # type: ignore[misc]
        line = tokens(text) or []
        fields = iter(name for name in names if name not in absent)
        operands = tuple(next(fields) if token.text in _PLACED else f"={token.text}" for token in line if token.kind)
        out.append((skeleton(line), operands))
    return out


def skeleton(line: list[Token]) -> str:
    """The form of a line: kinds of its operands, and everything else as it stands."""
    return " ".join(token.kind or ("id" if token.text == "fd" else token.text) for token in line)

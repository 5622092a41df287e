"""The operands of the table's templates: how each is printed from the instruction word, and how its text sets the word's bits.

    "{dst} += {src}"   word 0x210f  ──►  "r1 += r2"   ──►  word 0x210f

Printing is compiled per template into one expression on first use, because it runs once per distinct word of a program. Reading is
in forms.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from bpflens.lean import NamedTuple

__all__ = ("FIELDS", "NAMES", "Field", "Render", "compile_template")

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

NAMES = re.compile(r"\{(\w+)\}")


@cache
def compile_template(template: str) -> Render:
    """The printer of a template."""
    from bpflens.isa.extended.helpers import name_or

    values = []

    def take(found: re.Match[str]) -> str:
        field = FIELDS[found[1]]
        values.append(field.value)
        return field.print

    pattern = NAMES.sub(take, template.replace("%", "%%"))
    source = f"lambda w, v, m: {pattern!r} % ({', '.join(values)},)" if values else f"lambda w, v, m: {pattern % ()!r}"
    render: Render = eval(source, {"helper_name": name_or})
    return render

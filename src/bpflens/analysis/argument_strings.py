"""Strings that a call is given in memory: built on the stack by stores of constants, or constants of the object.

    *(u64 *)(r10 -80) = 0x7361702f6374652f          ("/etc/pas")
    *(u64 *)(r10 -72) = 6584179                     ("swd")
    r2 = r10; r2 += -80
    call bpf_map_lookup_elem                 ──►    44: ['key "/etc/passwd"']

What a helper declares as a string is said by slot_notes.py; this looks at every pointer of every call, which costs a walk backwards for
each. Short runs of letters are numbers as often as words, so that four characters are the least.
"""

from __future__ import annotations

import re

from bpflens.analysis.call_strings import pointed_by
from bpflens.analysis.data_places import quoted
from bpflens.analysis.references import References
from bpflens.isa.extended.helpers import helper_prototype
from bpflens.isa.extended.opcodes import CALL_CODE
from bpflens.program import Program

__all__ = ("argument_strings",)

_LEAST = 4
_NAME = re.compile(r"\*\s*(\w+)\s*\Z|(\w+)\s*\Z")


def argument_strings(program: Program) -> dict[int, list[str]]:
    """Slot of a call -> what its pointers point to, where that is text."""
    references = References(program)
    found: dict[int, list[str]] = {}
    for slot in references.referring(0, references.count):
        word = references.word(slot)
        if word & 0xFF != CALL_CODE:
            continue
        said = [text for register in range(1, 6) if (text := _argument(references, slot, word, register))]
        if said:
            found[slot] = said
    return found


def _argument(references: References, slot: int, word: int, register: int) -> str:
    parameter = _parameter(word, register)
    if parameter is None or parameter.startswith("const char *"):
        return ""
    pointed = pointed_by(references, slot, register)
    if pointed is None:
        return ""
    text = quoted(pointed) if isinstance(pointed, bytes) else references.places(pointed[0]).string(pointed[1])
    if not text or len(text) < _LEAST + 2:
        return ""
    name = _NAME.search(parameter)
    return f"{(name[1] or name[2]) if name else f'r{register}'} {text}"


def _parameter(word: int, register: int) -> str | None:
    """The parameter as the helper declares it, `r2` of other calls; None where the call has none there."""
    kind, number = word >> 12 & 15, word >> 32
    if kind:
        return f"r{register}"
    prototype = helper_prototype(number)
    if prototype is None:
        return f"r{register}"
    parameters = prototype[prototype.index("(") + 1 : -1].split(", ")
    return parameters[register - 1] if register <= len(parameters) and "*" in parameters[register - 1] else None

"""The lowest level: a naked function of the very instructions, which compiles with every clang and every -mcpu.

"r1 = counts ll;"              what refers to something is text, for the assembler to relocate
".8byte 0x00000001000000b7;"   the rest are its bytes, with its text beside it
"""

from __future__ import annotations

from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.c_text.signature import prototype_of
from bpflens.decompile.lift.lift import Unsayable
from bpflens.decompile.result import Line
from bpflens.decompile.unit import Code
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.text import format_word

__all__ = ("assembly_lines",)


def assembly_lines(code: Code, signature: Signature, scope: UnitScope) -> list[Line]:
    """The lines of a function; Unsayable where what a slot refers to has no name."""
    head = prototype_of(code, signature, scope).split("\n")
    head[-1] = f"__attribute__((naked, noinline, used)) {head[-1].replace('__attribute__((noinline)) ', '')}"
    lines = [Line(text) for text in (*head, "{")]
    body: list[Line] = []
    operands: dict[str, None] = {}
    slot = code.start
    while slot < code.end:
        insn = code.insns[slot - code.start]
        ref = code.references.get(slot)
        wide = insn.code == op.LD_IMM64
        following = code.insns[slot + 1 - code.start].word if wide and slot + 1 < code.end else None
        text = format_word(insn.word, following, "kernel")
        if ref is None or (ref.kind == "core" and ref.core is not None):
            if ref is not None:
                raise Unsayable("a CO-RE relocation in assembly")
            body.append(Line(f'\t\t".8byte {insn.word:#018x};" /* {text} */', (slot,)))
            if wide and following is not None:
                body.append(Line(f'\t\t".8byte {following:#018x};"', (slot,)))
        else:
            body.append(Line(f'\t\t"{_relocated(code, scope, slot, operands)};"', (slot,)))
        slot += 2 if wide else 1
    lines.append(Line("\tasm volatile("))
    lines += body
    lines.append(Line(f"\t\t:: {', '.join(operands)});" if operands else "\t);"))
    lines.append(Line("}"))
    return lines


def _relocated(code: Code, scope: UnitScope, slot: int, operands: dict[str, None]) -> str:
    """The text of an instruction that refers to something; an "i" operand, so that clang keeps it."""
    insn, ref = code.insns[slot - code.start], code.references[slot]
    if insn.code == op.CALL_CODE:
        if ref.kind == "kfunc":
            scope.used_kfuncs[ref.name] = None
        name = _operand(operands, ref.name)
        return f"call {name}"
    if ref.kind == "map":
        target = _operand(operands, scope.map(ref.name).text)
    elif ref.kind == "data":
        found = scope.find(ref.name, ref.offset)
        scope.used_sections[ref.name] = None
        if found is None:
            raise Unsayable(f"slot {slot} refers to data without a name")
        inside = ref.offset - found.offset
        target = _operand(operands, f"(void *)&{found.name} + {inside}" if inside else f"&{found.name}")
    elif ref.kind == "func":
        target = _operand(operands, ref.name)
    elif ref.kind in ("ksym", "kconfig") and ref.name:
        scope.used_symbols[ref.name] = None
        target = _operand(operands, f"&{ref.name}")
    else:
        raise Unsayable(f"slot {slot} refers to something that is not known")
    return f"r{insn.dst} = {target} ll"


def _operand(operands: dict[str, None], what: str) -> str:
    """The number of an operand of the asm statement."""
    entry = f'"i"({what})'
    if entry not in operands:
        operands[entry] = None
    return f"%{list(operands).index(entry)}"

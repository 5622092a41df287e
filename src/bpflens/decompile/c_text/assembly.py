"""The lowest level: a function of the very instructions, which compiles with every clang and every -mcpu.

"r1 = %2 ll;"                  what refers to something is text with an operand, for the assembler to relocate
".8byte 0x00000001000000b7;"   the rest are its bytes, with its text beside it

The arguments are inputs in their registers, r0 is the output, and one exit is C's own `return`. (A naked function would do without, but
clang leaves the names of its parameters out of BTF, and the kernel then refuses all BTF of the file.)

A number that the loader takes from the kernel's types (CO-RE) cannot be an operand: it comes from a function of its own that returns it
(assembly_core.py), and jumps over that call get longer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bpflens.analysis.cfg import jump_target
from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.c_text.assembly_core import core_function, core_piece, saved_registers
from bpflens.decompile.c_text.signature import prototype_of
from bpflens.decompile.lift.blocks import Unsayable
from bpflens.decompile.result import Line
from bpflens.decompile.unit import Code
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.text import format_word

__all__ = ("assembly_lines", "byte_lines")


@dataclass(frozen=True, slots=True)
class _Piece:
    """What an instruction becomes: (text of the assembler, comment), and how many slots that takes."""

    slot: int
    lines: tuple[tuple[str, str], ...]
    size: int
    exits: bool = False


def assembly_lines(code: Code, signature: Signature, scope: UnitScope, arities: Mapping[str, int], depth: int) -> list[Line]:
    """The lines of a function. `depth`: bytes of the frame that it uses. Unsayable where what a slot refers to cannot be written."""
    operands: dict[str, None] = {}
    before, pieces = _pieces(code, scope, operands, arities, depth)
    return [*(Line(text) for text in (*before, *_calls_of_kfuncs(code, scope))), *_function(code, signature, scope, pieces, operands)]


def byte_lines(code: Code, signature: Signature, scope: UnitScope) -> list[Line]:
    """A function of the bytes alone, for what refers to something that is nowhere: it compiles, and does not load."""
    pieces = [
        _Piece(code.start + at, _bytes(code, code.start + at, insn, False), 1, insn.code == op.EXIT_CODE)
        for at, insn in enumerate(code.insns)
    ]
    return _function(code, signature, scope, pieces, {})


def _function(code: Code, signature: Signature, scope: UnitScope, pieces: list[_Piece], operands: Mapping[str, None]) -> list[Line]:
    head = prototype_of(code, signature).split("\n")
    head[-1] = f"__attribute__((noinline, used)) {head[-1].replace('__attribute__((noinline)) ', '')}"
    lines = [Line(text) for text in (*head, "{")]
    inputs = []
    if signature.result is not None:
        lines.append(Line('\tregister __u64 r0 asm("r0");'))
    for number, _ in enumerate(signature.parameters, 1):
        argument = "ctx" if code.role == "entry" else f"a{number}"
        lines.append(Line(f'\tregister __u64 r{number} asm("r{number}") = (__u64){argument};'))
        inputs.append(f'"r"(r{number})')
    first = len(inputs) + (signature.result is not None)  # operands of the text come after the registers
    pieces, left = _without_one_exit(pieces)
    lines.append(Line("\tasm volatile("))
    for piece in pieces:
        lines += [
            Line(f'\t\t"{_numbered(text, first)};"{f" /* {comment} */" if comment else ""}', (piece.slot,)) for text, comment in piece.lines
        ]
    output = ': "=r"(r0)' if signature.result is not None else ":"
    lines.append(Line(f'\t\t{output} : {", ".join((*inputs, *operands))} : "memory");'))
    lines.append(Line(f"\treturn{' r0' if signature.result is not None else ''};", left))
    lines.append(Line("}"))
    return lines


def _numbered(text: str, first: int) -> str:
    """The text with its operands counted from `first`."""
    return re.sub(r"%(\d+)", lambda found: f"%{int(found[1]) + first}", text)


def _without_one_exit(pieces: list[_Piece]) -> tuple[list[_Piece], tuple[int, ...]]:
    """The pieces without the exit that C's return makes, and its slot: the last one, else the one that then jumps to the end."""
    exits = [index for index, piece in enumerate(pieces) if piece.exits]
    if not exits:
        return pieces, ()
    last = exits[-1]
    if last == len(pieces) - 1:
        return pieces[:-1], (pieces[-1].slot,)
    distance = sum(piece.size for piece in pieces[last + 1 :])
    if distance > 32767:
        raise Unsayable("the end of the function is too far from its last exit")
    word = Insn.make(op.GOTO, 0, 0, distance, 0).word
    instead = _Piece(pieces[last].slot, ((f".8byte {word:#018x}", "exit"),), 1)
    return [*pieces[:last], instead, *pieces[last + 1 :]], (pieces[last].slot,)


def _pieces(
    code: Code, scope: UnitScope, operands: dict[str, None], arities: Mapping[str, int], depth: int
) -> tuple[list[str], list[_Piece]]:
    """Functions that must stand before, and the pieces."""
    relocated = [slot for slot, ref in code.references.items() if ref.kind == "core" and ref.core is not None]
    saved = saved_registers(code, relocated, arities) if relocated else {}
    before: list[str] = []
    pieces: list[_Piece] = []
    slot = code.start
    while slot < code.end:
        insn = code.insns[slot - code.start]
        wide = insn.code == op.LD_IMM64 and slot + 1 < code.end
        ref = code.references.get(slot)
        if slot in saved and ref is not None:
            name = f"core_{slot}_of_{code.name}"
            before += core_function(scope, insn, ref, name)
            lines = core_piece(insn, _operand(operands, name), saved[slot], depth)
            pieces.append(_Piece(slot, tuple((text, "") for text in lines), len(lines)))
        else:
            if ref is None and insn.code == op.CALL_CODE and insn.src == op.PSEUDO_CALL:
                raise Unsayable(f"the call at {slot} leaves the program")
            text = _relocated(code, scope, slot, operands) if ref is not None and ref.kind != "core" else ""
            lines_ = ((text, ""),) if text else _bytes(code, slot, insn, wide)
            pieces.append(_Piece(slot, lines_, 2 if wide else 1, insn.code == op.EXIT_CODE))
        slot += 2 if wide else 1
    return before, _laid_out(code, pieces) if relocated else pieces


def _bytes(code: Code, slot: int, insn: Insn, wide: bool) -> tuple[tuple[str, str], ...]:
    following = code.insns[slot + 1 - code.start].word if wide else None
    said = format_word(insn.word, following, "kernel").replace("*/", "* /")
    first = (f".8byte {insn.word:#018x}", said)
    return (first, (f".8byte {following:#018x}", "")) if following is not None else (first,)


def _laid_out(code: Code, pieces: list[_Piece]) -> list[_Piece]:
    """The pieces with the distances of jumps mended."""
    places, at = {}, 0
    for piece in pieces:
        places[piece.slot] = at
        at += piece.size
    out = []
    for piece in pieces:
        insn = code.insns[piece.slot - code.start]
        target = jump_target(insn, piece.slot)
        if target is None:
            out.append(piece)
            continue
        if target not in places:
            raise Unsayable(f"the jump at {piece.slot} leaves the function or enters an instruction")
        distance = places[target] - places[piece.slot] - 1
        if insn.code == op.GOTOL:
            word = Insn.make(insn.code, insn.dst, insn.src, insn.off, distance).word
        elif -32768 <= distance <= 32767:
            word = Insn.make(insn.code, insn.dst, insn.src, distance, insn.imm).word
        else:
            raise Unsayable(f"the jump at {piece.slot} would become too long")
        out.append(_Piece(piece.slot, ((f".8byte {word:#018x}", format_word(word, None, "kernel")),), 1))
    return out


def _calls_of_kfuncs(code: Code, scope: UnitScope) -> list[str]:
    """A function that is never called: clang describes kernel functions in BTF, as the loader needs it, only where C calls them."""
    from bpflens.decompile.c_expression.core import kfunc_signature

    calls = []
    for name in dict.fromkeys(ref.name for ref in code.references.values() if ref.kind == "kfunc" and ref.name):
        signature = kfunc_signature(scope, name)
        calls.append(f"{name}({', '.join('0' for _ in signature.parameters) if signature is not None else ''});")
    if not calls:
        return []
    return [f"static __attribute__((noinline, used)) void kfuncs_of_{code.name}(void) {{ {' '.join(calls)} }}"]


def _relocated(code: Code, scope: UnitScope, slot: int, operands: dict[str, None]) -> str:
    """The text of an instruction that refers to something; an "i" operand, so that clang keeps it. "" where its bytes say it: BTF ids
    without a name.
    """
    insn, ref = code.insns[slot - code.start], code.references[slot]
    live = code.program.origin.source != "elf"
    if insn.code == op.CALL_CODE:
        if not ref.name and live:
            return ""
        if ref.kind != "call":
            if not ref.name:
                raise Unsayable(f"the call at {slot} names a function that is not known")
            scope.used_kfuncs[ref.name] = None
        return f"call {_operand(operands, ref.name)}"
    if insn.code != op.LD_IMM64:
        raise Unsayable(f"slot {slot} refers to something that is not known")
    if ref.kind == "map":
        target = _operand(operands, scope.map(ref.name).text)
    elif ref.kind == "data":
        target = _operand(operands, _data(scope, ref.name, ref.offset))
    elif ref.kind == "func":
        target = _operand(operands, ref.name)
    elif ref.kind in ("ksym", "kconfig", "unknown") and ref.name:
        scope.used_symbols[ref.name] = None
        target = _operand(operands, f"&{ref.name}")
    elif live:
        return ""
    else:
        raise Unsayable(f"slot {slot} refers to something that is not known")
    return f"r{insn.dst} = {target} ll"


def _data(scope: UnitScope, section: str, offset: int) -> str:
    """An address of global data as a constant expression; from the nearest variable where it lies in none."""
    scope.used_sections[section] = None
    found = scope.find(section, offset)
    if found is None:
        known = scope.globals.get(section)
        if not known:
            raise Unsayable(f"section {section} has no data that are known")
        found = known[min(known, key=lambda start: abs(start - offset))]
    inside = offset - found.offset
    return f"(void *)&{found.name} {'+' if inside > 0 else '-'} {abs(inside)}" if inside else f"&{found.name}"


def _operand(operands: dict[str, None], what: str) -> str:
    """The number of an operand of the asm statement."""
    entry = f'"i"({what})'
    if entry not in operands:
        operands[entry] = None
    return f"%{list(operands).index(entry)}"

"""Basic blocks as Python functions, made when they are first run.

    5: r1 += 4                      def block(r):
    6: if r1 > r2 goto +3    ──►        r1 = r[1]; r2 = r[2]
                                        r1 = (r1 + 4) & 0xffffffffffffffff
                                        r[1] = r1
                                        return 10 if (r1 > r2) else 7

A block takes the list of registers and gives the slot to go on at. What ends a path (exit) and what needs the machine (calls of functions,
tail calls, packet loads) are calls of functions that the machine puts into the namespace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bpflens.execute.interpreter.memory import Fault
from bpflens.execute.interpreter.semantics import condition, statement
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.table import lookup

__all__ = ("END", "Block", "compile_block", "namespace")

END = -1
Block = Callable[[list[int]], int]
_MAX_BLOCK = 400  # instructions of one Python function
_REGISTER = re.compile(r"\br(\d+)\b")
_CHANGED = re.compile(r"\br(\d+) = ")


def sdiv(a: int, b: int) -> int:
    """Signed division that truncates; by zero gives 0."""
    return 0 if not b else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def smod(a: int, b: int) -> int:
    """The remainder of `sdiv`, with the sign of the dividend."""
    return a - b * sdiv(a, b) if b else a


def swap2(value: int) -> int:
    """Bytes swapped."""
    return value >> 8 | (value & 0xFF) << 8


def swap4(value: int) -> int:
    """Bytes swapped."""
    return int.from_bytes(value.to_bytes(4, "little"), "big")


def swap8(value: int) -> int:
    """Bytes swapped."""
    return int.from_bytes(value.to_bytes(8, "little"), "big")


def namespace(machine: Mapping[str, Any]) -> dict[str, Any]:
    """The names that blocks use: `machine` gives loads, stores, helper, enter, leave, packet, budget, and addresses."""
    return {"sdiv": sdiv, "smod": smod, "swap2": swap2, "swap4": swap4, "swap8": swap8, **machine}


def compile_block(
    words: Sequence[int], start: int, heads: frozenset[int] | set[int], addresses: Mapping[int, int], names: dict[str, Any],
    trace: bool = False, watched: bool = False,
) -> tuple[Block, int, list[int]]:  # fmt: skip
    """(function, number of instructions, slot of each line of the source) of the block at `start`. `addresses`: what each ld_imm64 loads.

    `trace`: call seen((slot, left, right)) before each condition. `watched`: call running(slot) at the start, calling(slot) before helpers.

    Fault for a slot outside of the code and for words that are no instruction.
    """
    lines: list[str] = []
    slots: list[int] = []
    slot, count, ended = start, 0, False
    while not ended:
        if not 0 <= slot < len(words):
            raise Fault(f"execution leaves the code at slot {slot}")
        insn = Insn(words[slot])
        line, following, ended = _line(words, slot, insn, addresses)
        if trace and ended and "if" in line and "budget" not in line:
            right = insn.imm & 0xFFFFFFFFFFFFFFFF if not insn.code & op.X else f"r{insn.src}"
            line = f"seen(({slot}, r{insn.dst}, {right}))\n{line}"
        if watched and "helper(" in line:
            line = f"calling({slot})\n{line}"
        if watched and slot == start:
            line = f"running({slot})\n{line}"
        lines.append(line)
        slots.append(slot)
        slot, count = following, count + 1
        if not ended and (slot in heads or count >= _MAX_BLOCK):
            lines.append(f"return {slot}")
            slots.append(slot)
            ended = True
    return _function(lines, slots, names), count, slots


def _line(words: Sequence[int], slot: int, insn: Insn, addresses: Mapping[int, int]) -> tuple[str, int, bool]:
    """(source, slot after it, whether the block ends)."""
    row = lookup(insn.word)
    if insn.code == op.LD_IMM64:
        if slot + 1 >= len(words):
            raise Fault(f"half an instruction at slot {slot}")
        value = addresses.get(slot)
        if value is None:
            value = insn.word >> 32 | words[slot + 1] >> 32 << 32
        return f"r{insn.dst} = {value}", slot + 2, False
    if row is None:
        raise Fault(f"no instruction at slot {slot}")
    if row.control == "goto":
        return f"return {slot + 1 + (insn.imm if insn.code == op.GOTOL else insn.off)}", slot, True
    if row.control == "exit":
        return "return leave(r)", slot, True
    if row.name == "may_goto":
        return f"return {slot + 1} if budget() else {slot + 1 + insn.off}", slot, True
    if row.control == "cond":
        return f"return {slot + 1 + insn.off} if {condition(row, insn)} else {slot + 1}", slot, True
    if row.control == "call":
        return _call(slot, insn, row.name)
    if row.name.startswith(("ld_abs", "ld_ind")):
        size = int(row.name[6:]) // 8
        where = f"r{insn.src} + {insn.imm} & {0xFFFFFFFF}" if row.name.startswith("ld_ind") else str(insn.imm & 0xFFFFFFFF)
        return f"r0 = packet({where}, {size}, r6)\nif r0 is None: r[0] = 0; return leave(r)", slot + 1, False
    text = statement(row, insn)
    if text is None:
        if row.name == "addr_space_cast":
            return f"r{insn.dst} = arena(r{insn.src}, {insn.imm})", slot + 1, False
        raise Fault(f"{row.name} at slot {slot} can't be interpreted")
    return text, slot + 1, False


def _call(slot: int, insn: Insn, name: str) -> tuple[str, int, bool]:
    if name == "call_subprog":
        return f"return enter(r, {slot + 1 + insn.imm}, {slot + 1})", slot, True
    if name == "call_helper" and insn.imm == 12:
        return f"return tail_call(r, r1, r2, r3, {slot + 1})", slot, True
    if name == "call_helper":
        return f"r0 = helper({insn.imm}, r1, r2, r3, r4, r5)", slot + 1, False
    if name.startswith("call_kfunc"):
        return f"r0 = kfunc({insn.imm}, r1, r2, r3, r4, r5)", slot + 1, False
    raise Fault(f"{name} at slot {slot} can't be interpreted")


def _function(lines: list[str], slots: list[int], names: dict[str, Any]) -> Block:
    """One Python function: registers in locals, written back before it is left. `slots` becomes the slot of each line of its source."""
    text = "\n".join(lines)
    used = sorted({int(n) for n in _REGISTER.findall(text)})
    changed = sorted({int(n) for n in _CHANGED.findall(text)})
    save = "".join(f"r[{n}] = r{n}; " for n in changed)
    source = ["def block(r):", " " + ("; ".join(f"r{n} = r[{n}]" for n in used) or "pass")]
    numbered = [-1, -1]
    for line, slot in zip(lines, slots, strict=True):
        for part in line.split("\n"):
            if part.startswith("return "):
                part = save + part
            elif part.startswith("if r0 is None: "):
                part = part.replace("if r0 is None: ", f"if r0 is None: r0 = 0; {save}")
            source.append(" " + part)
            numbered.append(slot)
    scope: dict[str, Any] = {}
    exec(compile("\n".join(source), "<block>", "exec"), names, scope)
    slots[:] = numbered
    block: Block = scope["block"]
    return block

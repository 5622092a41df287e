"""The level below structured C: one statement per instruction, registers as variables, gotos.

    3: r2 = r1                ──►   r2 = r1;
    4: r2 += 14                     r2 += 14;
    5: if r2 > r3 goto L9           if (r2 > r3) goto L9;

Context accesses go through a one-line assembly macro, because clang would merge two of them into one with a computed offset, which the
verifier refuses. Nothing is inferred, so nothing can be inferred wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.decompile import ir
from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.types import ADD, POINTER, PRIMARY, U64, CText
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.c_text.signature import head_of
from bpflens.decompile.c_text.statement import FunctionScope, as_assigned, statement_lines
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Block
from bpflens.decompile.lift.lift import MAY_GOTO_VAR
from bpflens.decompile.result import Line
from bpflens.decompile.unit import Code

__all__ = ("instruction_lines",)


class _Registers(FunctionScope):
    """Registers as variables of 64 bits, the frame as an array of bytes."""

    used: set[int]

    def variable(self, id: int) -> CText:
        """A register."""
        self.used.add(id)
        return CText("again" if id == MAY_GOTO_VAR else f"r{id}", PRIMARY, U64)

    def frame(self, ref: ir.FrameRef | ir.StackRef) -> CText:
        """An address in the frame."""
        offset = ref.offset
        self.used.add(10)
        if not offset:
            return CText("r10", PRIMARY, POINTER)
        return CText(f"r10 {'-' if offset < 0 else '+'} {abs(offset)}", ADD, POINTER)


def instruction_lines(
    code: Code, function: Function, scope: UnitScope, signatures: Mapping[str, Signature], depth: int
) -> tuple[list[Line], int]:
    """The lines of a lifted function, and how many of its statements are assembly. `depth`: bytes of its frame."""
    registers = _Registers(scope, dict(signatures))
    registers.used = set()
    body: list[Line] = []
    order = sorted(function.blocks.values(), key=lambda block: block.start)
    targets = _targets(order)
    for index, block in enumerate(order):
        following = order[index + 1].id if index + 1 < len(order) else None
        if block.id in targets:
            body.append(Line(f"L{block.id}:;"))
        for statement in block.statements:
            body += [Line(f"\t{text}", statement.slots) for text in statement_lines(registers, statement)]
            if type(statement) is ir.Assign and type(statement.value) is ir.DataRef and scope.read_only(statement.value.section):
                # clang knows what is in a constant, the loader may have put something else there
                body.append(Line(f"\t{scope.macro('barrier_var')}(r{statement.var});", statement.slots))
        body += _end(registers, block, following, signatures[code.name])
    used = registers.used
    lines = [Line(text) for text in head_of(code, signatures[code.name])]
    names = [f"r{number}" for number in sorted(used) if number < 10]
    if names:
        lines.append(Line(f"\t__u64 {', '.join(names)};"))
    if MAY_GOTO_VAR in used:
        lines.append(Line("\t__u64 again;"))
    if 10 in used:
        size = max(8, -(-depth // 8) * 8)
        lines.append(Line(f"\t__u8 stack[{size}] __attribute__((aligned(8)));"))
        lines.append(Line(f"\tvoid *r10 = stack + {size};"))
    lines.append(Line(""))
    for number, parameter in enumerate(signatures[code.name].parameters, 1):
        if number in used:
            argument = "ctx" if code.role == "entry" else f"a{number}"
            lines.append(Line(f"\tr{number} = {'(__u64)' if parameter.pointer else ''}{argument};"))
    return [*lines, *body, Line("}")], registers.asm_statements


def _targets(order: list[Block]) -> set[int]:
    """The blocks that a goto names: all successors but those that simply follow."""
    out = set()
    for index, block in enumerate(order):
        following = order[index + 1].id if index + 1 < len(order) else None
        if len(block.successors) == 2:
            out.add(block.successors[1])
        if block.successors and block.successors[0] != following:
            out.add(block.successors[0])
    return out


def _end(registers: _Registers, block: Block, following: int | None, signature: Signature) -> list[Line]:
    lines = []
    if block.result is not None:
        text = as_assigned(registers, block.result, signature.result or U64)
        lines.append(Line(f"\treturn{' ' + text if signature.result is not None else ''};", block.end_slots))
    elif block.condition is not None:
        lines.append(Line(f"\tif ({registers.condition(block.condition)}) goto L{block.successors[1]};", block.end_slots))
        if block.successors[0] != following:
            lines.append(Line(f"\tgoto L{block.successors[0]};", block.end_slots))
    elif block.successors and block.successors[0] != following:
        lines.append(Line(f"\tgoto L{block.successors[0]};", block.end_slots))
    return lines

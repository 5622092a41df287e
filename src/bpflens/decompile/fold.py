"""Expressions put together: a value that is used once goes where it is used, constants and addresses go everywhere.

    v1 = *(u8 *)(p + 23)
    if (v1 == 6) ...          ──►   if (*(u8 *)(p + 23) == 6) ...

What is substituted:
  constants, addresses and copies      wherever they are used
  pure expressions used once           anywhere, if all their variables have a single definition
  expressions with loads, or with      within their block, if nothing between writes memory, calls, or assigns one of their variables
  variables assigned more than once
Never substituted: packet pointers read from the context (the verifier wants one pointer, checked and used), divisions by a variable.

Uses are counted anew in every round. Cost: linear per round; at most six rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Atomic, Block, Call, Const, Expr, Statement, Var, join_slots, size_of, variables_of
from bpflens.decompile.lift.regions import postorder
from bpflens.decompile.lift.webs import Webs, has_load, map_inputs, with_var, written
from bpflens.decompile.simplify import deeply, substitute
from bpflens.decompile.types.bits import known_bits

__all__ = ("Widths", "count_uses", "drop_unused", "fold", "widths_of")

_ROUNDS = 6
_MAX_PURE = 24
_MAX_LOADED = 16
_EVERYWHERE = (Const, ir.MapRef, ir.DataRef, ir.FuncRef, ir.SymRef, ir.FrameRef, ir.StackRef)


class Widths:
    """How many low bits of each web may be set."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}

    def of(self, web: int) -> int:
        """1 to 64."""
        return self.known.get(web, 64)


def count_uses(function: Function) -> dict[int, int]:
    """How often each web is read."""
    uses: dict[int, int] = {}
    for expr in _expressions(function):
        for var in variables_of(expr):
            uses[var] = uses.get(var, 0) + 1
    return uses


def _expressions(function: Function) -> Iterator[Expr]:
    for block in function.blocks.values():
        for statement in block.statements:
            yield from ir.inputs(statement)
        if block.condition is not None:
            yield block.condition
        if block.result is not None:
            yield block.result


def widths_of(function: Function, webs: Webs, results: Callable[[Call], int]) -> Widths:
    """Known bits of every web: what all of its definitions allow. Three rounds, each from what the one before found."""
    widths = Widths()
    definitions: dict[int, list[Statement]] = {}
    for block in function.blocks.values():
        for statement in block.statements:
            var = written(statement)
            if var is not None:
                definitions.setdefault(var, []).append(statement)
    arguments = set(webs.arguments.values())
    for _ in range(3):
        found: dict[int, int] = {}
        for web, statements in definitions.items():
            if web in arguments:
                continue
            widest = 1
            for statement in statements:
                if type(statement) is Assign:
                    widest = max(widest, known_bits(statement.value, widths.of))
                elif type(statement) is Call:
                    widest = max(widest, results(statement))
                elif type(statement) is Atomic and statement.op != "cmpxchg":
                    widest = max(widest, 8 * statement.size)
                else:
                    widest = 64
                if widest == 64:
                    break
            found[web] = widest
        if found == widths.known:
            break
        widths.known = found
    return widths


def fold(
    function: Function, webs: Webs, results: Callable[[Call], int], named: Callable[[Expr], bool], inline: bool = True,
    barred: frozenset[int] = frozenset(),
) -> Widths:  # fmt: skip
    """Substitute until nothing changes. `named`: expressions that must stay in a variable; `barred`: webs that must stay. `inline` False
    substitutes only what is no computation.
    """
    widths = widths_of(function, webs, results)
    for _ in range(_ROUNDS):
        _simplify_all(function, widths)
        changed = _everywhere(function, webs, widths, named, inline, barred)
        if inline:
            changed |= _within_blocks(function, webs, widths, named, barred)
        changed |= drop_unused(function)
        widths = widths_of(function, webs, results)
        if not changed:
            break
    return widths


def _simplify_all(function: Function, widths: Widths) -> None:
    bits = widths.of
    for block in function.blocks.values():
        block.statements = [map_inputs(s, lambda e: deeply(e, bits)) if _compound(s) else s for s in block.statements]
        if block.condition is not None:
            block.condition = deeply(block.condition, bits)
        if block.result is not None:
            block.result = deeply(block.result, bits)


def _compound(statement: Statement) -> bool:
    return any(ir.children(e) for e in ir.inputs(statement))


def _divides(expr: Expr) -> bool:
    pending = [expr]
    while pending:
        node = pending.pop()
        if type(node) is ir.Binary and node.op[-1] in "/%" and type(node.right) is not Const:
            return True
        pending.extend(ir.children(node))
    return False


def relocates(expr: Expr) -> bool:
    """Has it a CO-RE number in it? Clang takes no relocated access within another."""
    pending = [expr]
    while pending:
        node = pending.pop()
        if type(node) is ir.CoreRef:
            return True
        pending.extend(ir.children(node))
    return False


def _everywhere(
    function: Function, webs: Webs, widths: Widths, named: Callable[[Expr], bool], inline: bool, barred: frozenset[int]
) -> bool:
    """Substitute what has the same value wherever it is used. In reverse postorder definitions come before their uses."""
    uses = count_uses(function)
    chosen: dict[int, tuple[Expr, ir.Slots]] = {}
    changed = False

    def of(web: int) -> Expr | None:
        known = chosen.get(web)
        return None if known is None else known[0]

    for id in postorder(function.blocks, function.entry):
        block = function.blocks[id]
        statements: list[Statement] = []
        for statement in block.statements:
            statement = _substituted(statement, of, chosen, widths)
            if type(statement) is Assign and webs.single(statement.var) and statement.var not in barred:
                count = uses.get(statement.var, 0)
                if count and _goes_everywhere(statement.value, count, webs, named, inline):
                    chosen[statement.var] = (statement.value, statement.slots)
                    if type(statement.value) is Var:
                        webs.copies.append((statement.var, statement.value.id))
                    changed = True
                    continue
            statements.append(statement)
        block.statements = statements
        for what in ("condition", "result"):
            expr = getattr(block, what)
            if expr is not None:
                made = substitute(expr, of, widths.of)
                if made is not expr:
                    block.end_slots = join_slots(block.end_slots, _slots_of(expr, chosen))
                    setattr(block, what, made)
    return changed


def _slots_of(expr: Expr, chosen: dict[int, tuple[Expr, ir.Slots]]) -> ir.Slots:
    """The instructions of what is substituted into an expression."""
    slots: ir.Slots = ()
    for var in variables_of(expr):
        if var in chosen:
            slots = join_slots(slots, chosen[var][1])
    return slots


def _substituted(
    statement: Statement, of: Callable[[int], Expr | None], chosen: dict[int, tuple[Expr, ir.Slots]], widths: Widths
) -> Statement:
    slots = statement.slots
    touched = False
    for expr in ir.inputs(statement):
        for var in variables_of(expr):
            if var in chosen:
                touched = True
                slots = join_slots(slots, _slots_of(Var(var), chosen))
    if not touched:
        return statement
    made = map_inputs(statement, lambda e: substitute(e, of, widths.of))
    return _with_slots(made, slots)


def _with_slots(statement: Statement, slots: ir.Slots) -> Statement:
    return replace(statement, slots=slots) if slots != statement.slots else statement


def _goes_everywhere(expr: Expr, count: int, webs: Webs, named: Callable[[Expr], bool], inline: bool) -> bool:
    if isinstance(expr, _EVERYWHERE):
        return True
    if isinstance(expr, Var):
        return webs.single(expr.id)
    if not inline or count != 1 or has_load(expr) or relocates(expr) or named(expr) or size_of(expr) > _MAX_PURE or _divides(expr):
        return False
    return all(webs.single(var) for var in variables_of(expr))


def _within_blocks(function: Function, webs: Webs, widths: Widths, named: Callable[[Expr], bool], barred: frozenset[int]) -> bool:
    uses = count_uses(function)
    changed = False
    for block in function.blocks.values():
        changed |= _Forward(block, webs, widths, named, uses, barred).run()
    return changed


class _Forward:
    """One block: values that wait to be used, in the order of their assignments."""

    def __init__(
        self, block: Block, webs: Webs, widths: Widths, named: Callable[[Expr], bool], uses: dict[int, int], barred: frozenset[int]
    ) -> None:
        self.block, self.webs, self.widths, self.named, self.uses, self.barred = block, webs, widths, named, uses, barred
        self.waiting: dict[int, tuple[int, Expr, ir.Slots]] = {}  # web -> place in the output, value, slots
        self.readers: dict[int, set[int]] = {}  # web -> waiting webs whose value reads it
        self.loading: set[int] = set()
        self.out: list[Statement | None] = []
        self.changed = False

    def run(self) -> bool:
        for statement in self.block.statements:
            statement = self.take(statement)
            var = written(statement)
            if var is not None:
                for waiting in list(self.readers.get(var, ())):
                    self.forget(waiting)
                self.forget(var)
            if type(statement) is not Assign:
                for waiting in list(self.loading):
                    self.forget(waiting)
            self.out.append(statement)
            if type(statement) is Assign and self.fits(statement):
                self.wait(statement, len(self.out) - 1)
        for what in ("condition", "result"):
            expr = getattr(self.block, what)
            if expr is not None:
                made, slots = self.used(expr, self.block.end_slots)
                if made is not expr:
                    setattr(self.block, what, made)
                    self.block.end_slots = slots
        self.block.statements = [s for s in self.out if s is not None]
        return self.changed

    def fits(self, statement: Assign) -> bool:
        var, expr = statement.var, statement.value
        return (
            self.uses.get(var, 0) == 1
            and self.webs.single(var)
            and var not in self.barred
            and size_of(expr) <= _MAX_LOADED
            and not self.named(expr)
            and not _divides(expr)
        )

    def wait(self, statement: Assign, place: int) -> None:
        var, expr = statement.var, statement.value
        self.waiting[var] = (place, expr, statement.slots)
        for read in variables_of(expr):
            self.readers.setdefault(read, set()).add(var)
        if has_load(expr):
            self.loading.add(var)

    def forget(self, web: int) -> None:
        if web in self.waiting:
            _, expr, _ = self.waiting.pop(web)
            for read in variables_of(expr):
                self.readers[read].discard(web)
            self.loading.discard(web)

    def take(self, statement: Statement) -> Statement:
        """The statement with what waits for it put in."""
        slots = statement.slots
        made = statement
        if any(var in self.waiting for e in ir.inputs(statement) for var in variables_of(e)):
            gathered = [slots]

            def of(e: Expr) -> Expr:
                new, more = self.used(e, ())
                gathered.append(more)
                return new

            made = map_inputs(statement, of)
            for more in gathered:
                slots = join_slots(slots, more)
            made = _with_slots(made, slots)
        return made

    def used(self, expr: Expr, slots: ir.Slots) -> tuple[Expr, ir.Slots]:
        wanted = [var for var in variables_of(expr) if var in self.waiting]
        if not wanted:
            return expr, slots
        values: dict[int, Expr] = {}
        relocated = relocates(expr)
        for var in sorted(wanted, key=lambda v: type(self.waiting[v][1]) is not ir.CoreRef):
            place, value, more = self.waiting[var]
            if size_of(expr) + size_of(value) > 2 * _MAX_PURE or (relocated and relocates(value)):
                continue
            relocated = relocated or relocates(value)
            values[var] = value
            slots = join_slots(slots, more)
            self.out[place] = None
            self.forget(var)
            self.changed = True
        return substitute(expr, values.get, self.widths.of), slots


def drop_unused(function: Function) -> bool:
    """Remove assignments that nobody reads, and calls' results."""
    changed = False
    while True:
        uses: set[int] = set()
        for block in function.blocks.values():
            for statement in block.statements:
                own = written(statement) if type(statement) is Assign else None
                for expr in ir.inputs(statement):
                    uses.update(var for var in variables_of(expr) if var != own)
            for end in (block.condition, block.result):
                if end is not None:
                    uses.update(variables_of(end))
        removed = False
        for block in function.blocks.values():
            kept = []
            for statement in block.statements:
                var = written(statement)
                if type(statement) is Assign and statement.value == Var(statement.var):  # what both sides of a join have already
                    removed = True
                    continue
                if var is not None and var not in uses:
                    if type(statement) is Assign:
                        removed = True
                        continue
                    statement = with_var(statement, None)
                kept.append(statement)
            block.statements = kept
        changed |= removed
        if not removed:
            return changed

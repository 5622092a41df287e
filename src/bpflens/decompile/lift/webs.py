"""Registers and promoted stack slots as C variables: each web of definitions and uses that belong together is one.

    r0 = 1; use(r0); r0 = call f(); use(r0)     ──►   v0 = 1; use(v0); v1 = f(); use(v1)

A web is what pruned SSA form would join by phis: all definitions that reach a common use. So there are no phis to get rid of, no copies
and none of their problems. Algorithm: liveness over bit sets; then union-find of the last definition in each predecessor with what is live
into a block. Assignments whose result is dead go. Cost: linear in the live variables at the ends of blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Asm, Assign, Atomic, Block, Call, Expr, Load, Statement, Var
from bpflens.decompile.lift.regions import postorder
from bpflens.decompile.simplify import substitute

__all__ = ("Webs", "find_webs", "has_load", "live_in", "map_inputs", "with_var", "written")


@dataclass(slots=True)
class Webs:
    """What is known of each web: `definitions` (with the entry, where something undefined may reach a use), `undefined` ones, `arguments`
    (web of each argument register that is read); `places` where they are defined, arguments at the instruction before the first.
    """

    count: int = 0
    definitions: dict[int, int] = field(default_factory=dict)
    undefined: set[int] = field(default_factory=set)
    arguments: dict[int, int] = field(default_factory=dict)
    copies: list[tuple[int, int]] = field(default_factory=list)  # (copy, of what) that were put in place of each other
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # (instruction, variable before there were webs)

    def single(self, web: int) -> bool:
        """Has the web one definition, which is before every use?"""
        return self.definitions.get(web, 0) == 1


def written(statement: Statement) -> int | None:
    """The variable that a statement assigns."""
    return None if isinstance(statement, ir.Store) else statement.var


def _reads(exprs: tuple[Expr, ...]) -> int:
    bits = 0
    for expr in exprs:
        for var in ir.variables_of(expr):
            bits |= 1 << var
    return bits


def _ends(block: Block) -> tuple[Expr, ...]:
    if block.condition is not None and len(block.successors) == 2:
        return (block.condition,)
    return (block.result,) if block.result is not None else ()


def _pure(statement: Statement) -> bool:
    return type(statement) is Assign


def live_in(blocks: Mapping[int, Block], order: list[int]) -> dict[int, int]:
    """The variables that are read before they are written, from the start of each block on, as bits."""
    uses: dict[int, int] = {}
    defs: dict[int, int] = {}
    for id in order:
        block = blocks[id]
        use = _reads(_ends(block))
        kill = 0
        for statement in reversed(block.statements):
            var = written(statement)
            if var is not None:
                use &= ~(1 << var)
                kill |= 1 << var
            use |= _reads(ir.inputs(statement))
        uses[id], defs[id] = use, kill
    live = dict(uses)
    pending = list(order)
    queued = set(order)
    while pending:
        id = pending.pop()
        queued.discard(id)
        out = 0
        for next in blocks[id].successors:
            out |= live[next]
        new = uses[id] | (out & ~defs[id])
        if new != live[id]:
            live[id] = new
            for source in blocks[id].predecessors:
                if source not in queued:
                    queued.add(source)
                    pending.append(source)
    return live


def _drop_dead(blocks: Mapping[int, Block], live: Mapping[int, int]) -> bool:
    """Remove assignments that nobody reads; whether there were any."""
    changed = False
    for block in blocks.values():
        alive = 0
        for next in block.successors:
            alive |= live[next]
        alive |= _reads(_ends(block))
        kept: list[Statement] = []
        for statement in reversed(block.statements):
            var = written(statement)
            if var is not None and not alive >> var & 1:
                if _pure(statement):
                    changed = True
                    continue
                if type(statement) in (Call, Atomic, Asm):
                    statement = with_var(statement, None)
            elif var is not None:
                alive &= ~(1 << var)
            alive |= _reads(ir.inputs(statement))
            kept.append(statement)
        kept.reverse()
        block.statements = kept
    return changed


class _Joined:
    """Definitions, joined where they reach a common use (union-find)."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.numbers: dict[int, int] = {}

    def fresh(self) -> int:
        """A definition of its own."""
        self.parent.append(len(self.parent))
        return len(self.parent) - 1

    def find(self, node: int) -> int:
        """The one that stands for all that are joined with it."""
        parent = self.parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(self, one: int, other: int) -> None:
        """Both reach a common use."""
        a, b = self.find(one), self.find(other)
        if a != b:
            self.parent[a] = b

    def number(self, node: int) -> int:
        """The web of a definition, numbered as they are asked for."""
        return self.numbers.setdefault(self.find(node), len(self.numbers))


def find_webs(function: Function) -> Webs:
    """Rename the variables of a function to webs."""
    blocks = function.blocks
    order = postorder(blocks, function.entry)
    live = live_in(blocks, order)
    for _ in range(4):
        if not _drop_dead(blocks, live):
            break
        live = live_in(blocks, order)
    joined = _Joined()
    heads, defined = _join_definitions(blocks, order, live, joined)
    webs, number = Webs(), joined.number
    for var, node in heads[function.entry].items():
        if 1 <= var <= function.arity:
            webs.arguments[var] = number(node)
            webs.places.setdefault(number(node), []).append((function.blocks[function.entry].start - 1, var))
        else:
            webs.undefined.add(number(node))
        webs.definitions[number(node)] = webs.definitions.get(number(node), 0) + 1
    for node, place in defined:
        webs.definitions[number(node)] = webs.definitions.get(number(node), 0) + 1
        webs.places.setdefault(number(node), []).append(place)
    for id in order:
        block = blocks[id]
        block.statements = [_numbered(s, lambda node: Var(number(node)), number) for s in block.statements]
        _replace_ends(block, lambda node: Var(number(node)))
    webs.count = len(joined.numbers)
    function.arguments = webs.arguments
    return webs


def _join_definitions(
    blocks: Mapping[int, Block], order: list[int], live: Mapping[int, int], joined: _Joined
) -> tuple[dict[int, dict[int, int]], list[tuple[int, tuple[int, int]]]]:
    """Give each definition a name of its own in all that it reaches within its block, then join over the edges between blocks.

    Returns (the definitions at the start of each block, by variable; those that statements make, each with (instruction, variable)).
    """
    heads: dict[int, dict[int, int]] = {}
    tails: dict[int, dict[int, int]] = {}
    defined: list[tuple[int, tuple[int, int]]] = []
    for id in order:
        bits, head = live[id], {}
        while bits:
            low = bits & -bits
            head[low.bit_length() - 1] = joined.fresh()
            bits ^= low
        heads[id] = head
        current = dict(head)
        statements: list[Statement] = []
        for statement in blocks[id].statements:
            renamed = map_inputs(statement, lambda expr: substitute(expr, _reader(current)))  # noqa: B023
            var = written(statement)
            if var is not None:
                node = joined.fresh()
                defined.append((node, (statement.slots[-1] if statement.slots else -1, var)))
                current[var] = node
                renamed = with_var(renamed, node)
            statements.append(renamed)
        blocks[id].statements = statements
        _replace_ends(blocks[id], _reader(current))
        tails[id] = current
    for id in order:
        for source in blocks[id].predecessors:
            for var, node in heads[id].items():
                joined.join(node, tails[source][var])
    return heads, defined


def _replace_ends(block: Block, value: Callable[[int], Expr | None]) -> None:
    """Rename the variables in what ends a block."""
    if block.condition is not None:
        block.condition = substitute(block.condition, value)
    if block.result is not None:
        block.result = substitute(block.result, value)


def _reader(current: dict[int, int]) -> Callable[[int], Expr | None]:
    return lambda var: Var(current[var])


def _numbered(statement: Statement, named: Callable[[int], Expr | None], number: Callable[[int], int]) -> Statement:
    made = map_inputs(statement, lambda expr: substitute(expr, named))
    var = written(made)
    return made if var is None else with_var(made, number(var))


def map_inputs(statement: Statement, of: Callable[[Expr], Expr]) -> Statement:
    """The statement with each expression that it reads replaced."""
    if isinstance(statement, Assign):
        return Assign(statement.var, of(statement.value), statement.slots)
    if isinstance(statement, ir.Store):
        return ir.Store(statement.size, of(statement.address), of(statement.value), statement.place, statement.slots)
    if isinstance(statement, Atomic):
        s = statement
        expected = None if s.expected is None else of(s.expected)
        return Atomic(s.var, s.op, s.size, of(s.address), of(s.value), expected, s.place, s.slots)
    args = tuple(of(arg) for arg in statement.args)
    if isinstance(statement, Call):
        return Call(statement.var, statement.kind, statement.name, statement.number, args, statement.slots)
    return Asm(statement.var, statement.text, args, statement.slots)


def with_var(statement: Statement, var: int | None) -> Statement:
    """The statement with another variable for its result."""
    if isinstance(statement, Assign):
        assert var is not None
        return Assign(var, statement.value, statement.slots)
    return statement if isinstance(statement, ir.Store) else replace(statement, var=var)


def has_load(expr: Expr) -> bool:
    """Does an expression read memory?"""
    pending = [expr]
    while pending:
        node = pending.pop()
        if type(node) is Load:
            return True
        pending.extend(ir.children(node))
    return False

"""A walk over the structured tree that notes, for all that a function does, under which conditions it does it.

    if (a) return 2; x(); return 0;    ──►   Returned(2, [a]), Called(x, [not a]), Returned(0, [not a])

One pass, in the order of the text. What follows an early return has that return's condition negated. Behind a label only what all
ways to it share still holds; within loops what the loop changes is unknown.
`complete` is False where the tree is deeper than the walk goes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.bits import Bit, Source, byte_run
from bpflens.decompile.summary.walk.choices import MOST_CHOICES, Choice, Choices, computed, joined, put, same
from bpflens.decompile.summary.walk.claims import KeyPart
from bpflens.decompile.summary.walk.conditions import Condition, Kind, condition_of, layers_of
from bpflens.decompile.summary.walk.frame_changes import follow_frame
from bpflens.decompile.summary.walk.joins import UNSAID, added, leaves, met
from bpflens.decompile.summary.walk.keys import compared_text, key_parts, key_phrase
from bpflens.decompile.summary.walk.pointed import kernel_place
from bpflens.decompile.summary.walk.reading import note_reads
from bpflens.decompile.summary.walk.sources import Frame, Scope
from bpflens.decompile.summary.walk.written import Written
from bpflens.decompile.summary.words.layers import value_text
from bpflens.decompile.summary.words.naming import NO_LAYERS, Layers, Namer
from bpflens.decompile.tree import Break, Continue, DoWhile, For, ForEver, Goto, If, Label, Node, Return, Simple, Switch, Tree, While

__all__ = ("Done", "Returned", "Walk", "walk")

_DEEPEST = 120


@dataclass(frozen=True, slots=True)
class Returned:
    """A return: `value` None where it is computed; `what` it is then, in words, "" where it has none."""

    value: int | None
    conditions: tuple[Condition, ...]
    slots: ir.Slots
    may: bool = False
    what: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A call, a store or an atomic operation, `written` as it stands in the tree. `texts` are the arguments of a call in words; `key` what
    a map is asked for, in bytes `parts`. `value`: what is stored, or read from the kernel, in words, "" where it has none.
    """

    statement: ir.Statement
    written: ir.Statement
    conditions: tuple[Condition, ...]
    texts: tuple[str, ...] = ()
    key: str = ""
    may: bool = False
    parts: tuple[KeyPart, ...] = ()
    value: str = ""
    layers: Layers = NO_LAYERS


@dataclass(slots=True)
class Walk:
    """All that a function does, in order."""

    returns: list[Returned] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    read: dict[str, ir.Slots] = field(default_factory=dict)
    complete: bool = True


def walk(tree: Tree, scope: Scope, namer: Namer) -> Walk:
    """Walk over a function's tree."""
    walker = _Walker(scope, namer)
    walker.block(tree, (), 0)
    return walker.out


@dataclass(slots=True)
class _State:
    """What is known at a point."""

    frame: Frame
    choices: Choices
    bindings: dict[int, ir.Expr]
    written: Written

    def copy(self) -> _State:
        """The same, to go on with alone."""
        return _State(self.frame.copy(), dict(self.choices), dict(self.bindings), self.written.copy())


class _Walker:
    def __init__(self, scope: Scope, namer: Namer) -> None:
        self.scope, self.namer = scope, namer
        scope.name = lambda source, byte, size: namer.name_bytes(source, byte, size, namer.layers).text
        self.out = Walk()
        self.to_label: dict[int, tuple[Condition, ...]] = {}
        self.choices: Choices = {}
        self.label_choices: dict[int, Choices] = {}
        self.label_written: dict[int, Written] = {}
        self.may = 0  # loops and unknown joins around

    def block(self, tree: Tree, conditions: tuple[Condition, ...], depth: int) -> tuple[Condition, ...] | None:
        """Walk a sequence; the conditions behind it, None where nothing goes on there."""
        if depth > _DEEPEST:
            self.out.complete = False
            return conditions
        here: tuple[Condition, ...] | None = conditions
        for node in tree:
            if here is None and not isinstance(node, Label):
                continue
            here = self.node(node, here, depth)
            if here is not None and not isinstance(node, Simple):
                self.settle()
        return here

    def node(self, node: Node, here: tuple[Condition, ...] | None, depth: int) -> tuple[Condition, ...] | None:
        if isinstance(node, Label):
            there = self.to_label.get(node.label)
            self.scope.frame.forget()
            self.scope.bindings = {}
            from_gotos = self.label_choices.get(node.label)
            if (written := self.label_written.get(node.label)) is not None:
                if here is None:
                    self.scope.written = written
                else:
                    self.scope.written.join(written)
            if from_gotos is not None:
                self.choices = from_gotos if here is None else joined(self.choices, from_gotos)
            return there if here is None else here if there is None else met(here, there)
        assert here is not None
        self.namer.layers = layers_of(here, self.namer)
        match node:
            case Simple():
                self.statement(node.statement, here)
            case Return():
                self.out.returns += self.returned(node, here)
                return None
            case If():
                return self.branch(node, here, depth)
            case Switch():
                return self.switch(node, here, depth)
            case Goto():
                known = self.to_label.get(node.label)
                self.to_label[node.label] = here if known is None else met(known, here)
                chosen = self.label_choices.get(node.label)
                self.label_choices[node.label] = dict(self.choices) if chosen is None else joined(chosen, self.choices)
                self.label_written.setdefault(node.label, self.scope.written.copy()).join(self.scope.written)
                return None
            case Break() | Continue():
                return None
            case ForEver() | While() | DoWhile() | For():
                return self.loop(node, here, depth)
        return here

    def state(self) -> _State:
        """What is known here."""
        return _State(self.scope.frame, self.choices, self.scope.bindings, self.scope.written)

    def go_on_with(self, state: _State) -> None:
        """Know this from here on."""
        self.scope.frame, self.choices, self.scope.bindings, self.scope.written = state.frame, state.choices, state.bindings, state.written

    def branch(self, node: If, here: tuple[Condition, ...], depth: int) -> tuple[Condition, ...] | None:
        condition = self.scope.now(node.condition)
        yes = condition_of(condition, True, self.scope, self.namer, node.slots)
        no = condition_of(condition, False, self.scope, self.namer, node.slots)
        note_reads(condition, node.slots, self.scope, self.namer, self.out.read)
        before = self.state().copy()
        then = self.block(node.then, here + yes, depth + 1)
        after = self.state()
        self.go_on_with(before)
        other = self.block(node.other, here + no, depth + 1) if node.other else here + no
        if then is None:
            return other
        if other is None:
            self.go_on_with(after)
            return then
        self.scope.frame.join(after.frame)
        self.scope.written.join(after.written)
        self.scope.bindings = same(self.scope.bindings, after.bindings)
        self.choices = joined(after.choices, self.choices, then, other)
        return here if then == here + yes and other == here + no else met(then, other)

    def returned(self, node: Return, here: tuple[Condition, ...]) -> Iterator[Returned]:
        """A return, once for each value that its variable may have been given, with the conditions of that."""
        value = self.scope.constant(self.scope.now(node.value))
        expr = self.scope.stored(self.scope.now(node.value))
        while isinstance(expr, ir.Zext):
            expr = self.scope.stored(expr.operand)
        if isinstance(expr, ir.Compare | ir.Not | ir.And | ir.Or):
            for result, holds in ((1, True), (0, False)):
                said = condition_of(expr, holds, self.scope, self.namer, node.slots)
                yield Returned(result, here + said, node.slots, self.may > 0)
            return
        choices = self.given(expr) if value is None else None
        if choices is None and value is None and (halves := self.by_bit(expr, node.slots)):
            yield from (Returned(number, (*here, said), node.slots, self.may > 0) for number, said in halves)
            return
        if choices is None:
            call = self.scope.call_of(expr) if value is None else None
            named = self.argument(expr) if value is None and call is None else ""
            what = f"what {call.name} gives" if call is not None else named.removeprefix("a computed value")
            yield Returned(value, here, node.slots, self.may > 0, what)
            return
        for chosen, conditions in choices:
            yield Returned(chosen, conditions + added(conditions, here), node.slots, self.may > 0)

    def by_bit(self, expr: ir.Expr, slots: ir.Slots) -> list[tuple[int, Condition]]:
        """The two numbers that an expression may be where it depends on a single bit, and what that bit is then."""
        bits = self.scope.bits(expr) or ()
        single = {bit for bit in bits if isinstance(bit, Bit)}
        if len(single) != 1:
            return []
        [bit] = single
        return [(sum((value if isinstance(each, Bit) else each) << n for n, each in enumerate(bits)),
                 Condition(Kind.TELLING, bits=((bit, value),), slots=slots)) for value in (0, 1)]  # fmt: skip

    def given(self, expr: ir.Expr) -> Choice | None:
        """The values of an expression over a variable that has one of several."""
        several = {var for var in ir.variables_of(expr) if var in self.choices}
        if len(several) != 1:
            return None
        var = several.pop()
        if isinstance(expr, ir.Var):
            return self.choices[var]
        if ir.size_of(expr) > MOST_CHOICES:
            return None
        return tuple((None if number is None else self.number(put(expr, var, number)), known) for number, known in self.choices[var])

    def number(self, expr: ir.Expr) -> int | None:
        """The number that an expression always is."""
        found = self.scope.constant(expr)
        return computed(expr) if found is None else found

    def switch(self, node: Switch, here: tuple[Condition, ...], depth: int) -> tuple[Condition, ...] | None:
        value = self.scope.now(node.value)
        note_reads(value, node.slots, self.scope, self.namer, self.out.read)
        ends: list[tuple[Condition, ...]] = []
        whole = True  # every case goes on behind the switch
        before = self.state().copy()
        after: list[_State] = []
        others: tuple[Condition, ...] = ()
        for case in node.cases:
            for number in case.values:
                others += condition_of(ir.Compare("==", value, ir.Const(number), False, 64), False, self.scope, self.namer, node.slots)
        default = any(not case.values for case in node.cases)
        for case in node.cases:
            alternatives = tuple(
                condition_of(ir.Compare("==", value, ir.Const(number), False, 64), True, self.scope, self.namer, node.slots)
                for number in case.values
            )
            said = others if not alternatives else alternatives[0] if len(alternatives) == 1 else (
                Condition(Kind.TELLING, alternatives=alternatives, slots=node.slots),)  # fmt: skip
            self.go_on_with(before.copy())
            end = self.block(case.body, here + said, depth + 1)
            whole = whole and end == here + said
            if end is not None:
                ends.append(end)
                after.append(self.state())
        if not default:
            ends.append(here + others)
            after.append(before.copy())
        self.go_on_with(after[0] if after else before)
        for each in after[1:]:
            self.choices = joined(self.choices, each.choices)
            self.scope.written.join(each.written)
        self.scope.frame.forget()
        self.scope.bindings = {}
        if not ends:
            return None
        return here if whole else functools.reduce(met, ends)

    def loop(self, node: ForEver | While | DoWhile | For, here: tuple[Condition, ...], depth: int) -> tuple[Condition, ...]:
        self.forget()
        self.scope.written.note_all((node,))
        self.may += 1
        self.block(node.body, here, depth + 1)
        self.may -= 1
        self.forget()
        return (*here, UNSAID) if leaves(node.body) else here

    def settle(self) -> None:
        """A variable that has one of several values where ways have met gets a name for just that."""
        for var in [var for var in self.choices if var in self.scope.definitions.several and var not in self.scope.bindings]:
            met = self.scope.bindings[var] = self.scope.fresh()
            self.choices[met.id] = self.choices[var]

    def forget(self) -> None:
        """Nothing that may have changed is known any more."""
        self.scope.frame.forget()
        self.choices, self.scope.bindings = {}, {}

    def statement(self, written: ir.Statement, here: tuple[Condition, ...]) -> None:
        statement = self.current(written)
        for expr in ir.inputs(written):
            note_reads(self.scope.now(expr), statement.slots, self.scope, self.namer, self.out.read)
        if not isinstance(statement, ir.Store) and statement.var is not None:
            self.choices.pop(statement.var, None)
            if isinstance(written, ir.Assign) and written.var in self.scope.definitions.several:
                self.choose(written, here)
            self.scope.bind(statement.var, statement)
        if isinstance(statement, ir.Atomic):
            self.scope.keep_old(statement)
        self.scope.written.note(statement)
        if isinstance(statement, ir.Assign):
            return
        texts: tuple[str, ...] = ()
        key = ""
        parts: tuple[KeyPart, ...] = ()
        if isinstance(statement, ir.Call) and statement.name == "bpf_strncmp" and (compared := compared_text(statement, self.scope)):
            self.scope.keys[statement.slots] = compared
        value = self.stored_words(statement) if isinstance(statement, ir.Store) else ""
        if isinstance(statement, ir.Call):
            texts = tuple(self.argument(arg) for arg in statement.args)
            if statement.name.startswith("bpf_probe_read") and len(texts) > 2 and (field := self.scope.kernel_source(statement.args[2])):
                value = self.namer.name_bytes(field, 0, 8, self.namer.layers).text
            first = self.scope.resolved(statement.args[0]) if statement.args else None
            if isinstance(first, ir.MapRef) and statement.kind == "helper":
                key = self.scope.keys[statement.slots] = key_phrase(statement, self.scope, self.namer)
                parts = self.scope.key_parts[statement.slots] = key_parts(statement, self.scope)
        self.out.done += self.by_index(Done(statement, written, here, texts, key, self.may > 0, parts, value, self.namer.layers))
        follow_frame(statement, self.scope)

    def stored_words(self, store: ir.Store) -> str:
        """What is put into a field of the packet or the context: a number as the field's are written, or the name of what it comes from."""
        place = store.place
        if place.kind == "":
            at = kernel_place(store.address, store.size, self.scope)
            number = self.scope.constant(store.value)
            return f"{at} to {number}" if at and number is not None else at
        if place.kind not in ("packet", "ctx") or place.offset is None:
            return ""
        named = self.namer.name_bytes(Source(place.kind, place.what), place.offset, store.size, self.namer.layers)
        number = self.scope.constant(store.value)
        if number is not None:
            number &= (1 << 8 * store.size) - 1
            size = store.size
            if named.big_endian:
                extent = self.namer.field_extent(place.offset) if place.kind == "ctx" else None
                size = min(size, extent[1]) if extent is not None else size
                number = int.from_bytes(number.to_bytes(store.size, "little")[:size], "big")
            return value_text(named.format, number, size)
        bits = self.scope.bits(store.value)
        run = byte_run((*bits[: 8 * store.size], *[0] * (64 - 8 * store.size))) if bits is not None else None
        return f"the {self.namer.name_bytes(run[0], run[1], run[2], self.namer.layers).text}" if run is not None else ""

    def by_index(self, done: Done) -> Iterator[Done]:
        """A tail call, once for each index that it may have."""
        call = done.statement
        choices = None
        if isinstance(call, ir.Call) and call.name == "bpf_tail_call" and len(call.args) > 2:
            index = self.scope.stored(call.args[2])
            choices = self.given(index) if self.scope.constant(index) is None else None
        if choices is None:
            yield done
            return
        for number, conditions in choices:
            index_text = "a computed value" if number is None else str(number)
            texts = (*done.texts[:2], index_text, *done.texts[3:])
            yield replace(done, conditions=conditions + added(conditions, done.conditions), texts=texts)

    def current(self, statement: ir.Statement) -> ir.Statement:
        """The statement with its inputs in terms of now."""

        def now(expr: ir.Expr) -> ir.Expr:
            return self.scope.kept(self.scope.now(expr))

        match statement:
            case ir.Assign():
                value = now(statement.value)
                return statement if value is statement.value else replace(statement, value=value)
            case ir.Store():
                return replace(statement, address=now(statement.address), value=now(statement.value))
            case ir.Atomic():
                expected = None if statement.expected is None else now(statement.expected)
                return replace(statement, address=now(statement.address), value=now(statement.value), expected=expected)
        return replace(statement, args=tuple(map(now, statement.args)))

    def choose(self, statement: ir.Assign, here: tuple[Condition, ...]) -> None:
        """A variable with several assignments gets one of its values."""
        source = self.scope.resolved(self.scope.now(statement.value))
        copied = self.choices.get(source.id) if isinstance(source, ir.Var) else None
        self.choices[statement.var] = copied or ((self.scope.constant(self.scope.now(statement.value)), here),)

    def argument(self, expr: ir.Expr) -> str:
        """An argument in words."""
        value = self.scope.constant(expr)
        if value is not None:
            return str(value if value < 1 << 63 else value - (1 << 64))
        found = self.scope.resolved(expr)
        if isinstance(found, ir.MapRef | ir.SymRef | ir.FuncRef):
            return found.name
        bits = self.scope.bits(expr)
        run = byte_run(bits) if bits is not None else None
        return f"the {self.namer.name_bytes(run[0], run[1], run[2], self.namer.layers).text}" if run else "a computed value"

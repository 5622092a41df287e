"""The structured tree as lines of C.

Each line has the instructions of what it says; lines of declarations and closing braces have none.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from bpflens.decompile import ir
from bpflens.decompile.c_expression.indexed import indexed_place
from bpflens.decompile.c_expression.packet_names import beside, field_text
from bpflens.decompile.c_expression.places import Named, named_place, struct_member
from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.types import ADD, OBJECT, POINTER, PRIMARY, U64, UNARY, CText, CType
from bpflens.decompile.c_expression.unit_scope import UnitScope, context_field, context_type
from bpflens.decompile.c_text.declarations import declarations, direct_parameters
from bpflens.decompile.c_text.kernel_style import named_labels, without_braces
from bpflens.decompile.c_text.macros import VERDICTS
from bpflens.decompile.c_text.signature import WORDS, head_of
from bpflens.decompile.c_text.statement import FunctionScope, as_assigned, assigned, compound, relocated, statement_lines
from bpflens.decompile.c_text.stored_bytes import Run, initial_values, literal, run_at
from bpflens.decompile.function import Function
from bpflens.decompile.result import Line
from bpflens.decompile.structure.shape import leaves
from bpflens.decompile.tree import Break, Continue, DoWhile, For, ForEver, Goto, If, Label, Return, Simple, Switch, Tree, While
from bpflens.decompile.types.packet_headers import PacketFields, meaning_of
from bpflens.decompile.types.source_names import unused_name
from bpflens.decompile.unit import Code
from bpflens.isa.extended.contexts import context_struct

__all__ = ("Structured", "structured_lines")


class Structured(FunctionScope):
    """Names inside of a structured function: `types` of webs, `widths` in bits, `context_web` the variable that is ctx."""

    def __init__(
        self, unit: UnitScope, signatures: dict[str, Signature], code: Code, function: Function, types: Mapping[int, CType],
        widths: Mapping[int, int], ctx_macro: bool, pointees: Mapping[int, int] = MappingProxyType({}),
        narrow: frozenset[int] = frozenset(), fields: PacketFields | None = None, source_names: Mapping[int, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        super().__init__(unit, signatures)
        self.fields = fields or PacketFields()
        self.big_endian = unit.unit.big_endian
        self.pointees = pointees
        self.members_hidden = 0
        self.narrow = narrow
        self.pointer_places: set[str] = set()
        self.code = code
        self.function_ = function
        self.types = types
        self.widths = widths
        self.ctx_macro = ctx_macro
        self.context = context_struct(code.prog_type)
        self.names: dict[int, str] = {}
        self.used_objects: dict[int, None] = {}
        first = function.arguments.get(1)
        if code.role == "entry" and first is not None and types[first].pointer:
            self.names[first] = "ctx"
            self.types = {**types, first: signatures[code.name].parameters[0]}
            if type_id := context_type(unit.unit, self.context):
                self.pointees = {**pointees, first: type_id}
        self.source_names = source_names
        given = enumerate(signatures[code.name].parameters, 1) if code.role != "entry" else ()
        webs = function.arguments
        self.parameters = {webs[n]: f"a{n}" for n, type in given if n in webs and self.types[webs[n]] == type and not type.pointer}
        self.taken = {*unit.taken_names(), *(("ctx",) if code.role == "entry" else ())}
        for start, found in function.objects.items():
            if found.read:
                function.objects[start] = replace(found, name=self.free_name(found.name))

    def free_name(self, wanted: str) -> str:
        """A name that debug information has for a local variable, with a number where it is taken."""
        name = unused_name(wanted, self.taken)
        self.taken.add(name)
        return name

    def variable(self, id: int) -> CText:
        """A variable, named when it is first seen."""
        name = self.names.get(id)
        if name is None:
            known = self.source_names.get(id)
            name = self.names[id] = self.free_name(known) if known else self.parameters.get(id) or f"v{len(self.names)}"
        return CText(name, PRIMARY, self.types[id])

    def terse(self) -> bool:
        """Is a test whether a number is 0 written as the kernel does?"""
        return self.unit.style == "kernel"

    def bits_of(self, id: int) -> int:
        """How many low bits of a variable may be set."""
        return self.widths.get(id, 64)

    def frame(self, ref: ir.FrameRef | ir.StackRef) -> CText:
        """An address in a stack object."""
        if type(ref) is ir.FrameRef:
            from bpflens.decompile.lift.blocks import Unsayable

            raise Unsayable(f"an address of the frame ({ref.offset}) that no object has")
        assert type(ref) is ir.StackRef
        found = self.function_.objects[ref.start]
        self.used_objects[ref.start] = None
        if found.type_id or found.members:
            if not ref.offset:
                return CText(f"&{found.name}", UNARY, OBJECT)
            member = next((name for at, _, name in found.members if at == ref.offset and name), None)
            if member is not None and not self.members_hidden:
                return CText(f"&{found.name}.{member.partition('[')[0]}", UNARY, OBJECT)
            return CText(f"(void *)&{found.name} {'-' if ref.offset < 0 else '+'} {abs(ref.offset)}", ADD, POINTER)
        if not ref.offset:
            return CText(found.name, PRIMARY, POINTER)
        sign = "-" if ref.offset < 0 else "+"
        return CText(f"(void *){found.name} {sign} {abs(ref.offset)}", ADD, POINTER)

    def member(self, load: ir.Load, need: int) -> CText | None:
        """A context field, a global variable."""
        in_context = load.place.kind == "ctx" and load.place.offset is not None and not relocated(load.address)
        if in_context and load.place.offset is not None and self.code.role == "entry" and not self.ctx_macro and not self.members_hidden:
            word = self.context_word(load.place.offset, load.size)
            if word is not None and not load.signed:
                return CText(word, PRIMARY, U64)
            field = self.context_member(load.place.offset, load.size)
            if field is not None and (field[1] == load.signed or need <= 8 * load.size):
                return CText(f"{self.context_name()}->{field[0]}", PRIMARY, CType(8 * load.size, field[1]))
        if in_context:
            base = self.context_name() if self.code.role == "entry" else None
            if base is not None:
                kind = f"{'s' if load.signed else 'u'}{8 * load.size}"
                if load.signed:
                    return CText(f"(s{8 * load.size}){self.macro('CTX_LOAD')}(u{8 * load.size}, {base}, {load.place.offset})", UNARY,
                                 CType(8 * load.size, True))  # fmt: skip
                return CText(f"{self.macro('CTX_LOAD')}({kind}, {base}, {load.place.offset})", PRIMARY, U64)
        header = self.fields.loads.get(load.slot)
        named = Named(field_text(self, load.address, header)) if header is not None else self.place(load.address, load.size)
        if named is not None:
            text = f"{self.macro('CORE')}({named.text})" if named.relocated else named.text
            level = UNARY if text.startswith("*") else PRIMARY
            if named.pointer:
                return CText(text, level, OBJECT)
            made = CText(text, level, CType(8 * load.size, named.signed))
            if named.signed == load.signed or need <= 8 * load.size:
                return made
            return self.as_type(made, CType(8 * load.size, load.signed))
        if isinstance(load.address, ir.DataRef) and self.unit.read_only(load.address.section):
            sign = "s" if load.signed else "u"
            return CText(self.address(load.address, f"const volatile {sign}{8 * load.size}"), UNARY, CType(8 * load.size, load.signed))
        return None

    def place(self, address: ir.Expr, size: int) -> Named | None:
        """A memory access by name."""
        if self.members_hidden:
            return None
        cast = relocated(address)
        for web in ir.variables_of(address):
            if web in self.pointees or (cast and self.types[web].bits == 64):
                self.variable(web)
        return self.constant_place(address, size) or indexed_place(
            address, lambda constant: self.constant_place(constant, size), lambda index: self.text(index).text
        )

    def constant_place(self, address: ir.Expr, size: int) -> Named | None:
        """A memory access at a constant offset by name."""
        found = named_place(self.unit, address, size, self.function_.objects, self.pointees, self.names)
        if found is not None and isinstance(address, ir.StackRef):
            self.used_objects[address.start] = None
        return found

    def lvalue(self, size: int, address: ir.Expr, place: ir.Place) -> str | None:
        """A memory access by name, for stores and atomics."""
        found = self.place(address, size)
        if found is None or found.relocated:
            return None
        if found.pointer:
            self.pointer_places.add(found.text)
        return found.text

    def points(self, named: str) -> bool:
        """Is a named place a pointer?"""
        return named in self.pointer_places

    def unnamed(self, expr: ir.Expr) -> CText:
        """The expression without any access of a member in it."""
        self.members_hidden += 1
        made = self.text(expr)
        self.members_hidden -= 1
        return made

    def beside(self, expr: ir.Expr, value: int) -> CText | None:
        """A name for a number that stands beside an expression."""
        return None if self.big_endian else beside(self, meaning_of(expr, self.fields), value)

    def swap_name(self, expr: ir.Swap) -> str:
        """`bpf_ntohs` for what is in network order, as far as that is known."""
        order = {16: ("be16", "bpf_ntohs"), 32: ("be32", "bpf_ntohl")}.get(expr.bits)
        known = order is not None and meaning_of(expr.operand, self.fields) in (order[0], "ethertype" if expr.bits == 16 else "")
        return self.macro(order[1]) if order is not None and known and meaning_of(expr.operand, self.fields) else super().swap_name(expr)

    def narrowed(self, id: int) -> bool:
        """Is a variable kept in fewer bits than its values have?"""
        return id in self.narrow

    def store_place(self, store: ir.Store) -> str | None:
        """Stores to the context."""
        if store.place.kind == "ctx" and self.code.role == "entry" and store.place.offset is not None and not relocated(store.address):
            field = self.context_member(store.place.offset, store.size)
            value = self.text(store.value, 8 * store.size)
            if value.type.pointer:
                value = CText(f"(__u64)({value.text})", UNARY, U64)
            if not self.ctx_macro and field is not None:
                return f"{self.context_name()}->{field[0]} = {value.text};"
            macro = self.macro("CTX_STORE")
            return f"{macro}(u{8 * store.size}, {self.context_name()}, {store.place.offset}, {value.text});"
        header = self.fields.stores.get(store.slots)
        if header is not None:
            value = self.text(store.value, 8 * store.size)
            if isinstance(store.value, ir.Const) and not self.big_endian:
                value = beside(self, header.meaning, store.value.value) or value
            if value.type.pointer:
                value = CText(f"(__u64)({value.text})", UNARY, U64)
            return f"{compound(field_text(self, store.address, header), value.text, store.value)};"
        return super().store_place(store)

    def context_word(self, offset: int, size: int) -> str | None:
        """`ctx[2]`, where the context is an array of words."""
        if self.code.prog_type in WORDS and size == 8 and offset % 8 == 0:
            return f"{self.context_name()}[{offset // 8}]"
        return None

    def context_member(self, offset: int, size: int) -> tuple[str, bool] | None:
        """(path, signed) of a field of the context."""
        if self.context:
            return context_field(self.unit.unit, self.context, offset, size)
        web, btf = self.function_.arguments.get(1, -1), self.unit.unit.btf
        if web in self.pointees and btf is not None:
            found = struct_member(btf, self.pointees[web], offset, size)
            if found is not None and found[0] and not found[2]:
                self.unit.used_types[self.pointees[web]] = None
                return found[0], found[1]
        return None

    def verdict(self, value: ir.Expr) -> str | None:
        """A result by the name that the program type gives it."""
        names = VERDICTS.get(self.code.prog_type, ())
        if self.code.role == "entry" and isinstance(value, ir.Const) and value.value < len(names):
            return self.macro(names[value.value])
        return None

    def context_name(self) -> str:
        """The context, which is never assigned."""
        return "ctx"


def structured_lines(
    scope: Structured, code: Code, tree: Tree, signature: Signature, undefined: Iterable[int], barred: frozenset[int] = frozenset()
) -> list[Line]:
    """The lines of a function. `undefined`: webs to initialise; `barred`: webs that clang must not see through."""
    initial, tree = initial_values(tree, scope.function_, scope.unit.unit.btf)
    for start, value in initial.items():
        scope.used_objects[start] = None
        if value.is_text:
            scope.function_.objects[start] = replace(scope.function_.objects[start], members=(), chars=True)
    body = _body(scope, tree, signature, barred)
    lines = [Line(text) for text in head_of(code, signature, direct_parameters(scope, code, signature))]
    lines += declarations(scope, code, signature, set(undefined), initial)
    lines += [*body, Line("}")]
    return named_labels(without_braces(lines)) if scope.terse() else lines


_Steps: TypeAlias = Generator["Line | _Steps", None, None]


def _body(scope: Structured, tree: Tree, signature: Signature, barred: frozenset[int]) -> list[Line]:
    """The lines of a tree: generators that yield generators, run by a loop, because trees nest deeper than Python does."""
    writer = _Writer(scope, signature, barred)
    lines: list[Line] = []
    stack: list[_Steps] = [writer.tree(tree, 1)]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
        elif isinstance(step, Line):
            lines.append(step)
        else:
            stack.append(step)
    return lines


class _Writer:
    """A tree being written."""

    def __init__(self, scope: Structured, signature: Signature, barred: frozenset[int]) -> None:
        self.scope, self.signature, self.barred = scope, signature, barred

    def tree(self, nodes: Tree, depth: int) -> _Steps:
        """The lines of a list of nodes."""
        pad = "\t" * depth
        skip = 0
        for index, node in enumerate(nodes):
            if skip:
                skip -= 1
            elif isinstance(node, Simple) and (run := run_at(nodes, index)) is not None:
                skip = run.length - 1
                yield Line(pad + self.stored(run), run.slots)
            elif isinstance(node, Simple):
                yield from self.simple(node.statement, pad)
            elif isinstance(node, Return):
                yield Line(pad + self.returned(node), node.slots)
            elif isinstance(node, If):
                yield self.choice(node, depth)
            elif isinstance(node, Switch):
                yield self.switch(node, depth)
            elif isinstance(node, Label):
                yield Line(f"{pad[1:]}L{node.label}:;", node.slots)
            elif isinstance(node, Goto):
                yield Line(f"{pad}goto L{node.label};", node.slots)
            elif isinstance(node, (Break, Continue)):
                yield Line(f"{pad}{'break' if isinstance(node, Break) else 'continue'};", node.slots)
            else:
                yield self.loop(node, depth)

    def simple(self, statement: ir.Statement, pad: str) -> Iterator[Line]:
        """A statement, and what keeps clang from seeing through its result."""
        for text in statement_lines(self.scope, statement):
            yield Line(pad + text, statement.slots)
        var = getattr(statement, "var", None)
        if var is not None and var in self.barred and not self.scope.types[var].pointer:
            yield Line(f"{pad}{self.scope.macro('barrier_var')}({self.scope.variable(var).text});", statement.slots)

    def stored(self, run: Run) -> str:
        """Strings or zeros that are stored into the stack."""
        target = self.scope.plain(ir.StackRef(run.start, run.offset))
        text = literal(run.data)
        if text is None:
            return f"__builtin_memset({target}, 0, {len(run.data)});"
        zeros = len(run.data) - len(run.data.rstrip(b"\0"))
        padded = text[:-1] + "\\0" * max(0, zeros - 1) + text[-1]
        return f"__builtin_memcpy({target}, {padded}, {len(run.data)});"

    def returned(self, node: Return) -> str:
        """A return statement."""
        if self.signature.result is None:
            return "return;"
        named = self.scope.verdict(node.value)
        return f"return {named or as_assigned(self.scope, node.value, self.signature.result)};"

    def choice(self, node: If, depth: int) -> _Steps:
        """if, else if, else."""
        pad = "\t" * depth
        yield Line(f"{pad}if ({self.scope.condition(node.condition)}) {{", node.slots)
        yield self.tree(node.then, depth + 1)
        other = node.other
        while len(other) == 1 and type(other[0]) is If:
            inner = other[0]
            yield Line(f"{pad}}} else if ({self.scope.condition(inner.condition)}) {{", inner.slots)
            yield self.tree(inner.then, depth + 1)
            other = inner.other
        if other:
            yield Line(f"{pad}}} else {{")
            yield self.tree(other, depth + 1)
        yield Line(f"{pad}}}")

    def loop(self, node: While | DoWhile | For | ForEver, depth: int) -> _Steps:
        """The loops."""
        pad, scope = "\t" * depth, self.scope
        closing = f"{pad}}}"
        if type(node) is While:
            yield Line(f"{pad}while ({scope.condition(node.condition)}) {{", node.slots)
        elif type(node) is For:
            first = assigned(scope, node.first.var, node.first.value) if node.first is not None else ""
            step = assigned(scope, node.step.var, node.step.value)
            slots = ir.join_slots(node.slots, node.step.slots)
            slots = ir.join_slots(slots, node.first.slots) if node.first is not None else slots
            yield Line(f"{pad}for ({first}; {scope.condition(node.condition)}; {step}) {{", slots)
        else:
            yield Line(f"{pad}{'do' if type(node) is DoWhile else 'for (;;)'} {{")
        yield self.tree(node.body, depth + 1)
        if type(node) is DoWhile:
            yield Line(f"{closing} while ({scope.condition(node.condition)});", node.slots)
        else:
            yield Line(closing)

    def switch(self, node: Switch, depth: int) -> _Steps:
        """A switch; its cases end with break."""
        pad = "\t" * depth
        yield Line(f"{pad}switch ({self.scope.plain(node.value)}) {{", node.slots)
        for case in node.cases:
            for value in case.values:
                named = self.scope.beside(node.value, value)
                yield Line(f"{pad}case {named.text if named is not None else self.scope.plain(ir.Const(value))}:", node.slots)
            if not case.values:
                yield Line(f"{pad}default:")
            yield self.tree(case.body, depth + 1)
            if not leaves(case.body):
                yield Line(f"{pad}\tbreak;")
        yield Line(f"{pad}}}")

"""What expressions, blocks and trees of the decompiler compute, by the book and slowly: the model that the passes are compared with."""

from __future__ import annotations

from bpflens.decompile import ir, tree
from bpflens.decompile.lift.lift import lift
from bpflens.decompile.unit import make_unit
from bpflens.isa.extended.asm import assemble
from bpflens.program import Isa, Origin, Program

MASK = (1 << 64) - 1
CONTEXT, FRAME = 0x10_0000, 0x20_0000
STEPS = 5000


class TooLong(Exception):
    """More than STEPS statements."""


def unit_of(text_or_words, prog_type=31, source="test", **more):
    """The unit of one program; `source` "elf": relocations say what its slots refer to."""
    if isinstance(text_or_words, str):
        code = assemble(text_or_words)
    else:
        code = b"".join(word.to_bytes(8, "little") for word in text_or_words)
    return make_unit([Program(Isa.EXTENDED, code, Origin(source, "test"), name="f", type=prog_type, **more)], "test")


def code_of(text_or_words, prog_type=31, **more):
    """Its first function."""
    unit = unit_of(text_or_words, prog_type, **more)
    return next(code for code in unit.codes.values() if code.start == 0)


def lifted(text_or_words, arity=1, places=None, prog_type=31):
    """Its statements."""
    return lift(code_of(text_or_words, prog_type), arity, {}, places)


def signed(number, width):
    number &= (1 << width) - 1
    return number - (1 << width) if number >= 1 << (width - 1) else number


def arithmetic(op, a, b, width):
    a, b = a % (1 << width), b % (1 << width)
    if op in ("s/", "s%"):
        x, y = signed(a, width), signed(b, width)
        if y == 0:
            return 0 if op == "s/" else a
        quotient = abs(x) // abs(y)
        quotient = quotient if (x < 0) == (y < 0) else -quotient
        return (quotient if op == "s/" else x - quotient * y) % (1 << width)
    made = {
        "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "&": lambda: a & b, "|": lambda: a | b, "^": lambda: a ^ b,
        "/": lambda: a // b if b else 0, "%": lambda: a % b if b else a, "<<": lambda: a << b % width, ">>": lambda: a >> b % width,
        "s>>": lambda: signed(a, width) >> b % width,
    }[op]()  # fmt: skip
    return made % (1 << width)


def holds(op, a, b, is_signed, width):
    a, b = a % (1 << width), b % (1 << width)
    if op == "&":
        return a & b != 0
    if is_signed:
        a, b = signed(a, width), signed(b, width)
    return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def read(memory, address, size):
    return int.from_bytes(bytes(memory.get(address + n & MASK, 0) for n in range(size)), "little")


def write(memory, address, size, number):
    for n, byte in enumerate((number % (1 << 8 * size)).to_bytes(size, "little")):
        memory[address + n & MASK] = byte


def value(expr, variables, memory=None):
    """The number that an expression is; `variables` by id, memory by address."""
    memory = {} if memory is None else memory

    def of(part):
        return value(part, variables, memory)

    match expr:
        case ir.Const(number):
            return number
        case ir.Var(id):
            return variables.get(id, 0)
        case ir.Binary(op, left, right, width):
            return arithmetic(op, of(left), of(right), width)
        case ir.Negate(operand, width):
            return -of(operand) % (1 << width)
        case ir.Zext(bits, operand):
            return of(operand) % (1 << bits)
        case ir.Sext(bits, operand):
            return signed(of(operand), bits) & MASK
        case ir.Swap(bits, operand):
            return int.from_bytes((of(operand) % (1 << bits)).to_bytes(bits // 8, "little"), "big")
        case ir.Load(size, is_signed, address):
            number = read(memory, of(address), size)
            return signed(number, 8 * size) & MASK if is_signed else number
        case ir.Compare(op, left, right, is_signed, width):
            return int(holds(op, of(left), of(right), is_signed, width))
        case ir.Not(operand):
            return int(not of(operand))
        case ir.And(left, right):
            return int(bool(of(left) and of(right)))
        case ir.Or(left, right):
            return int(bool(of(left) or of(right)))
        case ir.FrameRef(offset):
            return FRAME + offset
        case ir.StackRef(start, offset):
            return FRAME + start + offset
    raise AssertionError(expr)


def execute(statement, variables, memory):
    """Assignments, stores and atomics."""
    match statement:
        case ir.Assign(var, what):
            variables[var] = value(what, variables, memory)
        case ir.Store(size, address, what):
            write(memory, value(address, variables, memory), size, value(what, variables, memory))
        case ir.Atomic(var, op, size, address, what, expected):
            at, operand = value(address, variables, memory), value(what, variables, memory)
            old = read(memory, at, size)
            wanted = None if expected is None else value(expected, variables, memory) % (1 << 8 * size)
            if op == "cmpxchg":
                new = operand if old == wanted else old
            elif op == "load_acquire":
                new = old
            else:
                new = operand if op in ("xchg", "store_release") else arithmetic(op, old, operand, 8 * size)
            write(memory, at, size, new)
            if var is not None:
                variables[var] = old
        case _:
            raise AssertionError(statement)


def run(function, context, argument=None):
    """(the result, the context afterwards) of a function of blocks; `argument`: the variable that holds the context's address."""
    variables, memory = _begin(function, context, argument)
    id, steps = function.entry, 0
    while True:
        block = function.blocks[id]
        for statement in block.statements:
            execute(statement, variables, memory)
        steps += 1 + len(block.statements)
        if steps > STEPS:
            raise TooLong
        if block.result is not None:
            return value(block.result, variables, memory), _end(memory, context)
        if len(block.successors) == 1:
            (id,) = block.successors
        else:
            id = block.successors[value(block.condition, variables, memory)]


def _begin(function, context, argument):
    if argument is None:
        argument = function.arguments.get(1, 1)
    return {argument: CONTEXT}, {CONTEXT + n: byte for n, byte in enumerate(context)}


def _end(memory, context):
    return bytes(memory[CONTEXT + n] for n in range(len(context)))


def run_tree(nodes, function, context):
    """The same of a tree."""
    flat = _Flat()
    flat.tree(nodes, None, None)
    variables, memory = _begin(function, context, None)
    at = steps = 0
    while True:
        kind, what, label = flat.lines[at]
        at, steps = at + 1, steps + 1
        if steps > STEPS:
            raise TooLong
        if kind == "do":
            execute(what, variables, memory)
        elif kind == "return":
            return value(what, variables, memory), _end(memory, context)
        elif kind == "goto" or (kind == "unless" and not value(what, variables, memory)):
            at = flat.labels[label]


class _Flat:
    """A tree as a list of lines and the places of its labels: (("do", statement) ("return", value) ("unless", condition, label) ...)."""

    def __init__(self):
        self.lines, self.labels = [], {}

    def add(self, kind, what=None, label=None):
        self.lines.append((kind, what, label))

    def here(self, label):
        assert label not in self.labels
        self.labels[label] = len(self.lines)

    def tree(self, nodes, leave, again):
        for node in nodes:
            self.node(node, leave, again)

    def node(self, node, leave, again):
        before, after = ("before", len(self.lines), object()), ("after", len(self.lines), object())
        match node:
            case tree.Simple(statement):
                self.add("do", statement)
            case tree.Return(what):
                self.add("return", what)
            case tree.If(condition, then, other):
                self.add("unless", condition, before)
                self.tree(then, leave, again)
                self.add("goto", label=after)
                self.here(before)
                self.tree(other, leave, again)
            case tree.ForEver(body):
                self.here(before)
                self.tree(body, after, before)
                self.add("goto", label=before)
            case tree.While(condition, body):
                self.here(before)
                self.add("unless", condition, after)
                self.tree(body, after, before)
                self.add("goto", label=before)
            case tree.DoWhile(condition, body):
                self.here(before)
                self.tree(body, after, None)
                self.add("unless", condition, after)
                self.add("goto", label=before)
            case tree.For(first, condition, step, body):
                if first is not None:
                    self.add("do", first)
                test, next = (*before, "test"), (*before, "next")
                self.here(test)
                self.add("unless", condition, after)
                self.tree(body, after, next)
                self.here(next)
                self.add("do", step)
                self.add("goto", label=test)
            case tree.Switch(what, cases):
                self.switch(what, cases, again, after)
            case tree.Goto(label):
                self.add("goto", label=label)
            case tree.Label(label):
                self.here(label)
            case tree.Break():
                self.add("goto", label=leave)
            case tree.Continue():
                self.add("goto", label=again)
        self.here(after)

    def switch(self, what, cases, again, after):
        """Breaks in a case would leave the switch in C: there are none of a loop around it."""
        marks = [(after, n) for n in range(len(cases))]
        for case, mark in zip(cases, marks, strict=True):
            for number in case.values:
                self.add("unless", ir.Compare("!=", what, ir.Const(number), False, 64), mark)
        default = [mark for case, mark in zip(cases, marks, strict=True) if not case.values]
        self.add("goto", label=default[0] if default else after)
        for case, mark in zip(cases, marks, strict=True):
            self.here(mark)
            self.tree(case.body, None, again)
            self.add("goto", label=after)

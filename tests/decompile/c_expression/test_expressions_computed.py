"""C of expressions computes what they mean: random ones, compiled by clang, run, and compared with the plain model."""

from __future__ import annotations

from random import Random

import objects
from bpflens.decompile import ir
from bpflens.decompile.c_expression.expression import Scope
from bpflens.decompile.c_expression.types import PRIMARY, S32, S64, U8, U16, U32, U64, CText
from bpflens.decompile.c_text.macros import macro_text
from bpflens.decompile.c_text.types import basic_types, words_of
from bpflens.decompile.ir import Binary, Compare, Const, Negate, Sext, Swap, Var, Zext
from bpflens.decompile.simplify import deeply
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.result import Input
from bpflens.execute.subject import subjects
from decompile.plain_ir import MASK, value

TYPES = (U64, S64, U32, S32, U16, U8)
"""Of variable 0, 1 ...; one of 32 bits, signed or not, has zeros above in what it stands for."""
EDGES = (0, 1, 2, 7, 31, 0x7F, 0x80, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, 1 << 63, MASK, MASK - 4094)
OPS = ("+", "-", "*", "/", "%", "s/", "s%", "&", "|", "^", "<<", ">>", "s>>")


class Plain(Scope):
    """Variables v0 to v5 and the macros that are used."""

    def __init__(self):
        self.macros = {}

    def variable(self, id):
        return CText(f"v{id}", PRIMARY, TYPES[id])

    def bits_of(self, id):
        return TYPES[id].bits

    def macro(self, name):
        self.macros[name] = None
        return name


def expression(rnd, depth):
    if depth == 0 or rnd.random() < 0.1:
        return Var(rnd.randrange(len(TYPES))) if rnd.random() < 0.75 else Const(rnd.choice(EDGES))
    inner = expression(rnd, depth - 1)
    width = rnd.choice((32, 64))
    how = rnd.randrange(10)
    if how < 5:
        return Binary(rnd.choice(OPS), inner, expression(rnd, depth - 1), width)
    if how < 7:
        op = rnd.choice(("<<", ">>", "s>>"))
        return Binary(op, inner, Const(rnd.randrange(width)), width)
    if how == 7:
        return Zext(rnd.choice((8, 16, 32)), inner)
    if how == 8:
        return Sext(rnd.choice((8, 16, 32)), inner)
    return rnd.choice((Swap(rnd.choice((16, 32, 64)), inner), Negate(inner, width)))


def condition(rnd, depth):
    """Conditions stand in no expression: only whether they hold matters."""
    op = rnd.choice(("==", "!=", "<", "<=", ">", ">=", "&"))
    made = Compare(op, expression(rnd, depth), expression(rnd, depth), rnd.random() < 0.5, rnd.choice((32, 64)))
    if rnd.random() < 0.7:
        return made
    return rnd.choice((ir.And, ir.Or))(made, ir.Not(condition(rnd, depth)))


def test_random_expressions():
    rnd, scope = Random(8), Plain()
    cases, functions = [], []
    variables = "\n".join(f"  {scope.type_name(type)} v{n} = c[{n}];" for n, type in enumerate(TYPES))
    for number in range(150):
        holds = number % 3 == 0
        expr = deeply(condition(rnd, number % 2) if holds else expression(rnd, 1 + number % 4), scope.bits_of)
        need = 64 if holds else rnd.choice((64, 64, 32, 16))
        text = scope.text(expr, need).text
        result = f"({text}) ? 1 : 0" if holds else text
        functions.append(f'SEC("syscall") int f{number}(__u64 *c) {{\n{variables}\n  c[6] = {result};\n  return 0; }}')
        cases.append((expr, need))
    body = "\n".join(functions)
    macros = [macro_text(name) for name in scope.macros]
    types = basic_types(words_of(["__u8 __u16 __u32 __u64 __s32 __s64", body, *macros]))
    head = '#define SEC(name) __attribute__((section(name), used))\nchar l[] SEC("license") = "GPL";'
    made = subjects(objects.compiled("\n".join([*types, head, *macros, body])), "x.o")
    for number, (expr, need) in enumerate(cases):
        program = InterpretedProgram(made[f"f{number}"])
        for _ in range(4):
            words = [rnd.choice(EDGES) if rnd.random() < 0.6 else rnd.getrandbits(64) for _ in TYPES]
            outcome = program.run(Input(ctx=b"".join(word.to_bytes(8, "little") for word in (*words, 0))))
            assert not outcome.error
            values = {n: word % (1 << type.bits) for n, (word, type) in enumerate(zip(words, TYPES, strict=True))}
            got, wanted = int.from_bytes(outcome.ctx[48:56], "little"), value(expr, values)
            assert (got - wanted) % (1 << need) == 0, (expr, need, values, functions[number])

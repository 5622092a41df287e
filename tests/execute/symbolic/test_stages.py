"""The stages of a proof: what is comparable, numbers of CO-RE, alignment with questions to z3, the second key."""

from __future__ import annotations

import random

import pytest

import needs
from bpflens.execute.symbolic.align import Alignment, effects_of
from bpflens.execute.symbolic.comparable import comparable, with_constants
from bpflens.execute.symbolic.equal import prove_equal
from bpflens.execute.symbolic.interpretation import Interpretation
from bpflens.execute.symbolic.machine.code import Code
from bpflens.execute.symbolic.machine.regions import Refused
from bpflens.execute.symbolic.relocated import same_offsets
from bpflens.execute.symbolic.result import ASSUMPTIONS, Difference, Equality
from bpflens.execute.symbolic.values.bits import bitwise, ext, minus, multiply, plus, zext
from bpflens.execute.symbolic.values.comparisons import equal, less
from bpflens.execute.symbolic.values.diagrams import ite
from bpflens.execute.symbolic.values.formula import Formulas
from bpflens.execute.symbolic.values.shifts import shift
from bpflens.execute.symbolic.values.terms import WORLD, const, make, session, symbol
from bpflens.isa.extended.insn import decode
from bpflens.program import Declared, Map, Relocation
from execute.symbolic.plain_programs import XDP, program
from execute.symbolic.values import test_canonical_forms as forms

X, Y, Z = (lambda: symbol(64, "x")), (lambda: symbol(64, "y")), (lambda: symbol(64, "z"))

# --- comparable ---

CONSTANTS = {"type": 2, "key_size": 4, "value_size": 4, "max_entries": 1, "flags": 1 << 7}
HASH = Map("m", 1, 4, 8, 16)


def code(*maps, prog_type=XDP, section="xdp", **more):
    return Code(program("r0 = 0\nexit", prog_type, maps=maps, declared=Declared(section=section), **more))


def test_maps_and_constants_of_both():
    found = comparable(code(HASH), code(HASH))
    assert (found.inlined, found.assumed) == (frozenset(), {"maps"})
    same, other = (Map(".rodata", **CONSTANTS, data=data) for data in (b"\1\0\0\0", b"\2\0\0\0"))
    assert comparable(code(same), code(same)).inlined == frozenset()
    assert comparable(code(same), code(other)).inlined == comparable(code(same), code()).inlined == {".rodata"}
    assert "constants" in comparable(code(same), code(Map(".rodata", **CONSTANTS))).assumed
    fixed = with_constants(comparable(code(same), code(same)), code(same), code(same))
    assert fixed.inlined == {".rodata"} and "constants" in fixed.assumed


def test_booleans_and_relocations():
    data = Map(".bss", 2, 4, 8, 1, data=bytes(8), datasec={0: ("flag", 1, "bool"), 1: ("n", 1, "u8"), 4: ("wide", 4, "bool")})
    found = comparable(code(data), code(data))
    assert found.booleans == {".bss": {0}} and "data" in found.assumed
    assert "core" in comparable(code(relocations=(Relocation(0, "core", "x"),)), code()).assumed


DATA = Map(".data", 2, 4, 8, 1, data=bytes(8), datasec={0: ("a", 4, "int"), 4: ("b", 4, "int")})
MOVED = Map(".data", 2, 4, 8, 1, data=bytes(8), datasec={0: ("b", 4, "int"), 4: ("a", 4, "int")})


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (lambda: code(xlated=True), code, "image of the running kernel"),
        (code, lambda: code(prog_type=3), "different types"),
        (lambda: code(section=".text"), code, "subprogram"),
        (lambda: code(HASH), lambda: code(Map("m", 1, 4, 8, 17)), "m is defined in two ways"),
        (lambda: code(DATA), lambda: code(MOVED), "lies at another place"),
        (lambda: code(DATA), lambda: code(Map(".data", 2, 4, 8, 1, data=b"\1" + bytes(7))), "other contents"),
    ],
)
def test_what_is_not_comparable(a, b, reason):
    with pytest.raises(Refused, match=reason):
        comparable(a(), b())


# --- CO-RE ---


def related(text, *fields):
    relocations = tuple(Relocation(slot, "core", "x", 0, f"CO-RE byte_off of {name}") for slot, name in fields)
    return program(text, relocations=relocations)


def numbers(made):
    return [(insn.off, insn.imm) for insn in decode(made.code)]


def test_one_name_is_one_number():
    a = related("r1 = *(u32 *)(r1 + 1232)\nr2 = 40\nexit", (0, "task_struct.pid"), (1, "task_struct.tgid"))
    b = related("r2 = -1\nr1 = *(u32 *)(r1 + 0)\nexit", (1, "task_struct___mine.pid"), (0, "task_struct.tgid"))
    (x,), (y,) = same_offsets([a], [b])
    assert x.code == a.code and numbers(y) == [(0, 40), (1232, 0), (0, 0)]


def test_a_number_of_64_bits():
    a = related("r1 = 0x1122334455667788 ll\nexit", (0, "s.x"))
    b = related("r1 = 0 ll\nexit", (0, "s.x"))
    assert same_offsets([a], [b])[1][0].code == a.code


def test_names_that_only_one_has():
    with pytest.raises(Refused, match=r"only one program refers to .*s\.y"):
        same_offsets([related("r1 = 1\nexit", (0, "s.x"))], [related("r1 = 1\nexit", (0, "s.y"))])
    with pytest.raises(Refused, match="cannot hold"):
        same_offsets([related("r1 = 70000\nexit", (0, "s.x"))], [related("r1 = *(u8 *)(r1 + 0)\nexit", (0, "s.x"))])


# --- formulas and alignment ---


def z3_value(formulas, formula, env):
    z3 = formulas.z3
    known = [(variable, z3.BitVecVal(env[str(name)], variable.size())) for name, variable in env_variables(formulas, env)]
    return z3.simplify(z3.substitute(formula, *known)).as_long()


def env_variables(formulas, env):
    return [(name, formulas(symbol(64, name))) for name in env]


def test_formulas_have_the_value_of_their_terms():
    needs.module("z3")
    r = random.Random(5)
    for _ in range(12):
        with session(10_000_000):
            formulas = Formulas()
            for _ in range(6):
                env = {name: r.choice([0, 1, 0xFF, 1 << 31, 1 << 63, r.getrandbits(64)]) for name in "xyz"}
                term, value = forms.expression(r, 3, env)
                assert z3_value(formulas, formulas(term), env) == value, term


def test_what_was_proved_equal_is_one_variable():
    needs.module("z3")
    with session(10_000):
        formulas = Formulas()
        formulas.identify(X(), Y())
        assert formulas.root(Y()) is X() and formulas(Y()) is formulas(X())
        length = formulas(zext(symbol(32, "length"), 64))
        assert length is not None and len(formulas.facts) == 1


def aligned(a, b):
    needs.module("z3")
    alignment = Alignment()
    return alignment.equal(a, b), alignment.queries


def effect(name, *given, after=None):
    return make("effect", WORLD, (name, *given, symbol(WORLD, "start") if after is None else after))


def test_terms_that_only_z3_takes_for_equal():
    with session(1_000_000):
        a = plus(bitwise("and", X(), Y()), bitwise("or", X(), Y()))
        assert aligned(a, plus(X(), Y())) == (True, 1)
        assert aligned(a, plus(X(), Z()))[0] is False
        assert aligned(X(), X()) == (True, 0)
        assert aligned(X(), ext(X(), 0, 32)) == (False, 0)
        assert aligned(make("batom", -1, (X(),)), make("batom", -1, (Y(),)))[0] is False


def test_decisions_are_walked_side_by_side():
    with session(1_000_000):
        c = less(X(), const(64, 9))
        sum_, other = plus(bitwise("xor", X(), Y()), const(64, 1)), minus(bitwise("or", X(), Y()), bitwise("and", X(), Y()))
        effects = [ite(c, effect("a", value), effect("b")) for value in (sum_, plus(other, const(64, 1)), other)]
        assert aligned(effects[0], effects[1])[0] is True
        assert aligned(effects[0], effects[2])[0] is False
        under = ite(equal(X(), const(64, 4)), effect("a", multiply(X(), X())), effect("b"))
        assert aligned(under, ite(equal(X(), const(64, 4)), effect("a", const(64, 16)), effect("b")))[0] is True


def test_histories_in_order():
    with session(100_000):
        first = effect("a", X())
        second = effect("b", Y(), after=first)
        assert list(effects_of(ite(equal(Z(), const(64, 1)), second, first))) == [first, second]
        assert aligned(second, effect("a", X(), after=effect("b", Y())))[0] is False


def test_alignment_never_takes_different_functions_for_equal():
    """Random pairs: what differs under some numbers is not aligned."""
    needs.module("z3")
    r = random.Random(7)
    differed = 0
    for _ in range(4):
        with session(10_000_000):
            alignment = Alignment()
            for _ in range(4):
                env = dict.fromkeys("xyz", 0)
                (a, _), (b, _) = forms.expression(r, 2, env), forms.expression(r, 2, env)
                if any(Interpretation(seed)(a) != Interpretation(seed)(b) for seed in range(6)):
                    differed += 1
                    assert not alignment.equal(a, b), (a, b)
                shifted = shift("lshr", shift("shl", a, const(64, 8)), const(64, 8))
                assert alignment.equal(shifted, bitwise("and", a, const(64, (1 << 56) - 1)))
    assert differed > 8


# --- the whole ---


def proved(a, b, **more):
    return prove_equal(program(a, XDP), program(b, XDP), **more)


LOADED = "r0 = *(u32 *)(r1 + 12)\n{}exit"


def test_grades():
    made = proved(LOADED.format("r0 <<= 3\n"), LOADED.format("r0 *= 8\n"), z3=False)
    assert (made.grade, made.method, made.proved) == ("proved", "terms", True)
    assert made.checked_by.endswith("runs of the evaluator") and [len(names) for names in made.functions] == [1, 1]
    made = proved(LOADED.format("r0 += 1\n"), LOADED.format("r0 += 2\n"))
    assert made.grade == "different" and made.difference.what == "return value" and made.difference.confirmed_by == "the evaluator"
    assert proved("call 9999\nexit", "r0 = 0\nexit").reason.startswith("helper")
    assert proved("r0 = 0\ngoto -1", "r0 = 0\nexit", steps=5000).grade == "unknown"
    assert proved(LOADED.format(""), LOADED.format(""), steps=5).reason.startswith("budget")


def test_the_callers_runs_are_a_second_key():
    seen = Difference("packet", "1", "2", "the kernel")
    made = proved(LOADED.format(""), LOADED.format(""), run_both=lambda: seen)
    assert made.grade == "unknown" and made.reason == "contradiction: proved by terms, but a run differs in the packet"
    made = proved(LOADED.format("r0 += 1\n"), LOADED.format("r0 += 2\n"), run_both=lambda: seen)
    assert made.grade == "different" and made.difference is seen


def test_conditions_are_said_with_an_answer_only():
    made = proved(LOADED.format(""), LOADED.format(""))
    assert set(made.assumptions) <= set(ASSUMPTIONS.values()) and ASSUMPTIONS["verifier"] in made.assumptions
    assert proved("call 9999\nexit", "r0 = 0\nexit").assumptions == ()
    assert not Equality("unknown").proved

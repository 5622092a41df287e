"""Diagrams are the programs: against the interpreter, z3 and the running kernel, for random programs."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.classic.diagrams.condition import test as condition
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import Base, Field
from bpflens.classic.diagrams.nodes import FALSE, TRUE, TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, LIBPCAP, Loop, run, run_in
from bpflens.classic.diagrams.term import Load, binary
from bpflens.classic.machine import interpreter
from bpflens.errors import InputError
from classic_oracles import corpus, kernel_filter, programs
from diagram_reader import Reader

sys.setrecursionlimit(20_000)  # as a Store does; set before hypothesis looks at it

PACKET = Base("packet")
packets = st.binary(max_size=80)


@settings(max_examples=60)
@given(programs(), st.lists(packets, min_size=4, max_size=8))
def test_a_diagram_returns_what_the_interpreter_returns(program: list[tuple[int, int, int, int]], samples: list[bytes]) -> None:
    diagram = run(program, KERNEL)

    for packet in samples:
        assert Reader(packet).value(diagram.store, diagram.node) == interpreter.run(program, packet)


@settings(max_examples=40)
@given(programs(net_relative=True), st.lists(packets, min_size=4, max_size=8))
def test_also_where_offsets_wrap(program: list[tuple[int, int, int, int]], samples: list[bytes]) -> None:
    diagram = run(program, KERNEL)

    for packet in samples:
        assert Reader(packet).value(diagram.store, diagram.node) == interpreter.run(program, packet)


@pytest.mark.live
@settings(max_examples=40)
@given(programs(), st.lists(st.binary(min_size=1, max_size=80), min_size=3, max_size=5))
def test_the_kernel_agrees(program: list[tuple[int, int, int, int]], samples: list[bytes]) -> None:
    diagram = run(program, KERNEL)

    with kernel_filter(program) as kernel:
        for packet in samples:
            value = Reader(packet).value(diagram.store, diagram.node)

            assert kernel.delivered(packet) == (min(value, len(packet)) if value else None)


@settings(max_examples=12)
@given(programs(max_insns=10), programs(max_insns=10))
def test_z3_agrees_on_equality(a: list[tuple[int, int, int, int]], b: list[tuple[int, int, int, int]]) -> None:
    z3 = pytest.importorskip("z3")
    from bpflens.classic.proof import z3_formula
    from bpflens.classic.proof.z3_world import World

    store = Store()
    one, two = (run_in(store, p, KERNEL, accept=True) for p in (a, b))
    world = World(z3, KERNEL, arrays=True, apart=True)
    solver = z3.SolverFor("QF_ABV")
    solver.set("timeout", 5000)
    solver.add(z3.ULE(world.length, 200))
    solver.add(z3_formula.formula(a, world) != z3_formula.formula(b, world))
    answer = str(solver.check())

    if one == two:
        assert answer in ("unsat", "unknown")


@settings(max_examples=10)
@given(programs(max_insns=12), packets)
def test_the_formula_returns_what_the_interpreter_returns(program: list[tuple[int, int, int, int]], packet: bytes) -> None:
    z3 = pytest.importorskip("z3")
    from bpflens.classic.proof import z3_formula
    from bpflens.classic.proof.z3_world import World

    world = World(z3, KERNEL, arrays=True, apart=False)
    value = z3_formula.formula(program, world, values=True)
    solver = z3.SolverFor("QF_ABV")
    solver.set("timeout", 10000)
    solver.add(world.length == len(packet))
    for i, byte in enumerate(packet):
        solver.add(world.byte("packet", i) == byte)
    solver.add(value != interpreter.run(program, packet))

    assert str(solver.check()) in ("unsat", "unknown")


@settings(max_examples=60)
@given(
    st.sampled_from(("jeq", "jgt", "jge", "jset")),
    st.lists(
        st.tuples(st.sampled_from(("add", "sub", "and", "or", "xor", "lsh", "rsh", "mul", "div", "mod")), st.integers(1, 40)), max_size=4
    ),
    st.sampled_from((1, 2, 4)),
    st.one_of(st.integers(0, 300), st.integers(0, 0xFFFFFFFF)),
    st.binary(min_size=4, max_size=4),
)
def test_a_condition_on_arithmetic_is_the_arithmetic(op: str, steps: list[tuple[str, int]], size: int, k: int, packet: bytes) -> None:
    store = Store()
    term = Load(PACKET, 0, size)
    value = int.from_bytes(packet[:size], "big")
    for name, operand in steps:
        operand &= 31 if name in ("lsh", "rsh") else 0xFF
        operand = operand or 1
        term = binary(name, term, operand)  # type: ignore[assignment]
        value = {
            "add": value + operand,
            "sub": value - operand,
            "and": value & operand,
            "or": value | operand,
            "xor": value ^ operand,
            "lsh": value << operand,
            "rsh": value >> operand,
            "mul": value * operand,
            "div": value // operand,
            "mod": value % operand,
        }[name] & 0xFFFFFFFF
    wanted = {"jeq": value == k, "jgt": value > k, "jge": value >= k, "jset": value & k != 0}[op]

    assert Reader(packet).value(store, condition(store, op, term, k)) == wanted


def test_equal_functions_are_one_node() -> None:
    store = Store()
    one = run_in(store, [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 1), (6, 0, 0, 0)], bounds=False)
    two = run_in(
        store,
        [(0x30, 0, 0, 13), (0x15, 0, 3, 0), (0x30, 0, 0, 12), (0x15, 0, 1, 8), (6, 0, 0, 1), (6, 0, 0, 0)],
        bounds=False,
    )

    assert one == two
    assert store.conj(one, store.negate(one)) == FALSE
    assert store.disj(one, store.negate(one)) == TRUE


def test_split_gives_the_values_of_a_field() -> None:
    diagram = run([(0x28, 0, 0, 2), (0x25, 1, 0, 300), (6, 0, 0, 7), (6, 0, 0, 9)], bounds=False)

    assert [(low, high, ~node) for low, high, node in diagram.store.split(diagram.node, Field(PACKET, 2, 16))] == [
        (0, 300, 7),
        (301, 0xFFFF, 9),
    ]


def test_libpcap_returns_0_where_an_offset_wraps() -> None:
    program = [(0x01, 0, 0, 0xFFFFFFF0), (0x50, 0, 0, 0x10), (6, 0, 0, 1)]

    assert run(program, LIBPCAP).terminals() == {0}
    assert run(program, KERNEL).terminals() == {0, 1}


def test_a_backward_jump_is_a_loop() -> None:
    with pytest.raises(Loop, match="instruction 1 jumps backward"):
        run([(0, 0, 0, 0), (5, 0, 0, 0xFFFFFFFE), (6, 0, 0, 0)])


@pytest.mark.parametrize(
    "program",
    [
        [],
        [(0, 0, 0, 0)],
        [(5, 0, 0, 9), (6, 0, 0, 0)],
        [(0x15, 200, 0, 0), (6, 0, 0, 0)],
        [(0xFF, 0, 0, 0), (6, 0, 0, 0)],
        [(0x0E, 0, 0, 0)],
    ],
)
def test_what_is_no_program_is_an_input_error(program: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(InputError):
        run(program)


def test_a_budget_ends_a_hopeless_diagram() -> None:
    # every pair of bytes compared: the states multiply
    program: list[tuple[int, int, int, int]] = []
    for i in range(60):
        program += [(0x30, 0, 0, 2 * i), (7, 0, 0, 0), (0x30, 0, 0, 2 * i + 1), (0x1D, 0, 1, 0), (0x02, 0, 0, i % 16), (0x60, 0, 0, 0)]
    program.append((0x16, 0, 0, 0))

    with pytest.raises(TooComplex):
        run(program, store=Store(max_nodes=20_000), max_states=2_000)


def test_real_programs_have_small_diagrams() -> None:
    for entry in corpus():
        insns = [tuple(insn) for insn in entry["insns"]]  # type: ignore[attr-defined]
        if entry["kind"] != "seccomp":
            diagram = run(insns)  # type: ignore[arg-type]

            assert len(diagram.store.reachable(diagram.node)) < 1000, entry["name"]


def test_a_long_filter_needs_no_deep_recursion() -> None:
    program = [(0x30, 0, 0, i) for i in range(2000)] + [(6, 0, 0, 1)]

    assert run(program).terminals() == {0, 1}

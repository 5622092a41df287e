"""Where addresses lead, memories as terms, states that meet, arguments of calls, and how a program is read."""

from __future__ import annotations

from random import Random

import pytest

from bpflens.execute.symbolic.interpretation import Interpretation
from bpflens.execute.symbolic.machine.access import constant_bytes, load, memories, store
from bpflens.execute.symbolic.machine.addresses import addresses
from bpflens.execute.symbolic.machine.buffers import add_buffer, add_plain, add_string, add_varargs, label_of, map_of, size_of
from bpflens.execute.symbolic.machine.call_term import Call
from bpflens.execute.symbolic.machine.code import Code, Meaning
from bpflens.execute.symbolic.machine.helper_effects import CALLBACKS, LOOKUPS, POINTER_RESULTS, Argument, arguments, conversions
from bpflens.execute.symbolic.machine.memory import Overlay, base, canonical, select, split
from bpflens.execute.symbolic.machine.regions import Ambiguous, Refused, conditional, depends_on, is_pointer, region_of
from bpflens.execute.symbolic.machine.state import choose, merge, uninitialised
from bpflens.execute.symbolic.values.bits import ext, offset_by, plus, zext
from bpflens.execute.symbolic.values.comparisons import equal
from bpflens.execute.symbolic.values.diagrams import ite, negate
from bpflens.execute.symbolic.values.terms import TRUE, WORLD, const, make, session, symbol
from bpflens.isa.extended.helpers import HELPER_COUNT, helper_prototype
from bpflens.program import Function, Map, Relocation
from execute.symbolic.plain_programs import XDP, program, setting, start

HASH, OUTER = Map("m", 1, 4, 8, 4), Map("outer", 12, 4, 4, 4, fields={"inner": Map("", 1, 2, 6, 1)})
RODATA = Map(".rodata", 2, 4, 8, 1, flags=1 << 7, data=b"%d %llx\0")


@pytest.fixture(autouse=True)
def terms():
    with session(1_000_000):
        yield


def reg(*name):
    return symbol(64, *name)


def condition(name):
    return equal(symbol(64, name), const(64, 1))


def called(helper, *given):
    return make("ret", 64, (make("call", WORLD, (helper, "", tuple(given), (), symbol(WORLD, "w"), symbol(WORLD, "w"))),))


# --- regions and addresses ---

TYPES = {"m": 1, "outer": 12}


def test_regions():
    lookup = called(1, reg("map", "m"))
    for address, region in (
        (reg("fp", 0), ("stack", 0)), (offset_by(reg("ctx"), 8), "ctx"), (plus(reg("packet"), zext(symbol(32, "x"), 64)), "packet"),
        (lookup, "map:m"), (reg("constant", ".rodata"), "constant:.rodata"), (reg("loaded"), "kernel"), (const(64, 8), "null"),
        (called(131), "reservation"), (called(194), "kernel"), (reg("data", ".bss"), "map:.bss"),
    ):  # fmt: skip
        assert region_of(address, TYPES, False) == region, address
    assert region_of(lookup, TYPES, True) == region_of(reg("loaded"), TYPES, True) == "memory"
    assert region_of(reg("ctx"), TYPES, True) == "ctx"


def test_pointers_that_may_be_of_several_regions_want_one():
    inner = called(1, reg("map", "outer"))
    for address in (inner, called("bpf_some_kfunc")):
        with pytest.raises(Ambiguous):
            region_of(address, TYPES, False)
        assert region_of(address, TYPES, True) == "memory"


def test_addresses_that_are_refused():
    choice = make("cat", 64, (ext(ite(condition("c"), reg("x"), reg("y")), 0, 32), const(32, 0)))
    for address in (plus(reg("ctx"), reg("fp", 0)), make("add", 64, (0, ((reg("ctx"), (1 << 64) - 1),))), plus(reg("given", 0), reg("x"))):
        with pytest.raises(Refused, match="pointer"):
            region_of(address, TYPES, False)
    assert conditional(ite(condition("c"), reg("x"), reg("y"))) and not conditional(reg("x")) and not conditional(None)
    assert choice.op in ("cat", "ite")


def test_what_a_value_depends_on():
    value = plus(reg("fp", 0), zext(symbol(32, "x"), 64))
    assert depends_on(value, "fp", "buf") and not depends_on(value, "ctx") and depends_on(value, "x")
    assert depends_on((const(64, 1), value), "x")
    assert not depends_on(make("sel", 8, (base(symbol(WORLD, "w"), "ctx"), reg("fp", 0), 0)), "fp")  # a byte that is read is no address
    assert is_pointer(reg("packet")) and not is_pointer(reg("x")) and is_pointer(called(1, reg("map", "m")))


def test_addresses_of_a_choice():
    c = condition("c")
    first, second = offset_by(reg("ctx"), 4), reg("packet")
    found = addresses(ite(c, first, second), TRUE)
    assert {(when, leaf) for when, leaf in found} == {(c, first), (negate(c), second)}
    null = ite(c, called(1, reg("map", "m")), const(64, 0))
    assert [leaf for _, leaf in addresses(null, TRUE)] == [called(1, reg("map", "m"))]
    loaded = ite(c, reg("loaded"), const(64, 0))
    assert {leaf for _, leaf in addresses(loaded, TRUE)} == {reg("loaded"), const(64, 0)}  # may be null in a load


def test_a_choice_of_offsets_is_one_place_unless_they_are_constants():
    c, x = condition("c"), zext(symbol(32, "x"), 64)
    assert len(addresses(plus(reg("packet"), ite(c, x, const(64, 20))), TRUE)) == 1
    assert [leaf for _, leaf in addresses(plus(reg("packet"), ite(c, const(64, 4), const(64, 20))), TRUE)] in (
        [offset_by(reg("packet"), 4), offset_by(reg("packet"), 20)], [offset_by(reg("packet"), 20), offset_by(reg("packet"), 4)],
    )  # fmt: skip


# --- memories ---


def test_addresses_are_split_and_written_bytes_are_read():
    anchor, offset = split(offset_by(reg("packet"), 14))
    assert (anchor, offset) == (reg("packet"), 14) and split(const(64, 5)) == (None, 5)
    memory = Overlay(base(symbol(WORLD, "w"), "packet"))
    before = memory.read(anchor, 3)
    memory.write(anchor, 3, const(8, 7))
    assert memory.read(anchor, 3) is const(8, 7) and memory.read(anchor, 4) is select(memory.base, anchor, 4)
    assert memory.copy().freeze() is memory.freeze()
    memory.write(anchor, 3, before)
    assert memory.freeze() is memory.base  # nothing has changed


def test_a_write_at_another_anchor_may_be_at_the_same_place():
    memory = Overlay(base(symbol(WORLD, "w"), "packet"))
    a, b = reg("packet"), plus(reg("packet"), zext(symbol(32, "x"), 64))
    memory.write(a, 3, const(8, 7))
    memory.write(split(b)[0], 0, const(8, 9))
    assert memory.read(a, 3).op == "sel"  # not known to be 7


@pytest.mark.parametrize("seed", range(6))
def test_canonical_memories_hold_the_same(seed):
    """Random writes under conditions, read back under random inputs."""
    rnd = Random(seed)
    start_of = base(symbol(WORLD, "w"), "packet")
    conditions = [condition(name) for name in "abc"]

    def written(memory, depth):
        if depth == 0:
            out = Overlay(memory)
            for _ in range(rnd.randrange(3)):
                out.write(reg("packet"), rnd.randrange(4), symbol(8, rnd.choice("xyz")))
            return out.freeze()
        return ite(rnd.choice(conditions), written(memory, depth - 1), written(memory, depth - 1))

    memory = written(start_of, 3)
    joined = canonical(memory)
    assert canonical(joined) is joined
    for number in range(8):
        numbers = Interpretation(number)
        assert numbers(memory) == numbers(joined)
        assert all(numbers(select(memory, reg("packet"), n)) == numbers(select(joined, reg("packet"), n)) for n in range(4))


def test_states_that_meet_are_one_or_the_other():
    first = start()
    second = first.copy()
    c = condition("c")
    first.guard, second.guard = c, negate(c)
    first.registers[0], second.registers[0] = const(64, 1), const(64, 2)
    first.registers[2] = const(64, 3)
    first.frames[0, -8] = (const(64, 5), 0)
    first.memory("packet").write(reg("packet"), 0, const(8, 9))
    out = merge(first, second, "a")
    assert out.registers[0] is ite(c, const(64, 1), const(64, 2)) and out.registers[2] is None and out.guard is TRUE
    value, index = out.frames[0, -8]
    assert ext(value, 8 * index, 8) is ite(c, const(8, 5), uninitialised("a", 0, -8))
    assert out.memory("packet").read(reg("packet"), 0).op == "ite"


def test_bytes_that_were_never_written():
    assert uninitialised("a", 0, -8) is not uninitialised("b", 0, -8) is not uninitialised("b", 0, -7)
    assert uninitialised("", 0, -8) is uninitialised("", 3, -1)
    with pytest.raises(Refused, match="widths"):
        choose(condition("c"), const(8, 1), const(16, 1))


# --- loads and stores ---


def here(**more):
    return setting(program("exit", XDP, maps=(HASH, OUTER, RODATA), **more))


def test_loads_give_what_was_stored():
    made, state = here(), start()
    fp = offset_by(reg("fp", 0), -8)
    store(made, state, fp, 8, reg("x"))
    assert load(made, state, fp, 8) is reg("x") and load(made, state, offset_by(fp, 4), 2) is ext(reg("x"), 32, 16)
    assert load(made, state, reg("ctx"), 4) is state.packet[0] and load(made, state, offset_by(reg("ctx"), 4), 4) is state.packet[1]
    value = called(1, reg("map", "m"))
    store(made, state, value, 4, symbol(32, "y"))
    assert load(made, state, value, 4) is symbol(32, "y") and [region for region, _ in memories(state)] == ["map:m"]


def test_stores_to_one_of_two_places_change_the_one():
    made, state, c = here(), start(), condition("c")
    first, second = offset_by(reg("fp", 0), -8), offset_by(reg("fp", 0), -16)
    for place, number in ((first, 1), (second, 2)):
        store(made, state, place, 8, const(64, number))
    store(made, state, ite(c, first, second), 8, const(64, 9))
    assert load(made, state, first, 8) is ite(c, const(64, 9), const(64, 1))
    assert load(made, state, second, 8) is ite(c, const(64, 2), const(64, 9))


@pytest.mark.parametrize("address", [lambda: const(64, 0), lambda: reg("constant", ".rodata"), lambda: reg("key", "m", 0)])
def test_stores_that_are_refused(address):
    with pytest.raises(Refused, match="store"):
        store(here(), start(), address(), 4, const(32, 1))


def test_a_part_of_a_packet_pointer_is_refused():
    with pytest.raises(Refused, match="part of a pointer"):
        load(here(), start(), offset_by(reg("ctx"), 2), 2)


def test_constants_of_the_file():
    made = here()
    assert constant_bytes(made, offset_by(reg("constant", ".rodata"), 3), 4) == b"%llx"
    assert constant_bytes(made, reg("constant", ".rodata"), None) == RODATA.data and made.assumed == {"constants"}
    assert constant_bytes(made, offset_by(reg("constant", ".rodata"), 6), 4) is None
    assert constant_bytes(made, reg("ctx"), 4) is None


# --- arguments of calls ---


def test_labels_maps_and_sizes():
    made, state = here(), start()
    assert label_of(reg("map", "m")) == "m" and label_of(reg("ctx")) == "" == label_of(None)
    assert map_of(made, reg("map", "m")) is HASH and map_of(made, called(1, reg("map", "outer"))).value_size == 6
    assert map_of(made, ite(condition("c"), reg("map", "m"), reg("map", "outer"))) is None
    assert size_of(state, 1, "k", 0, HASH) == (4, True) and size_of(state, 1, "v", 0, HASH) == (8, True)
    assert size_of(state, 1, "v", 0, None) == (None, False) and size_of(state, 1, "R", 16, None) == (16, True)
    state.registers[3] = const(64, 20)
    assert size_of(state, 1, "r", 0, None) == (20, True)
    state.registers[3] = zext(symbol(8, "n"), 64)
    assert size_of(state, 1, "r", 0, None) == (255, False)


def test_buffers_of_the_stack_are_their_bytes():
    made, state = here(), start()
    fp = offset_by(reg("fp", 0), -8)
    store(made, state, fp, 8, reg("x"))
    call = Call(1)
    add_buffer(made, state, call, 1, "k", (4, True), fp)
    assert call.shape == ["s4"] and call.terms == [ext(reg("x"), 0, 32)]
    call = Call(4)
    add_buffer(made, state, call, 0, "w", (8, True), fp)
    assert call.shape == ["o8"] and call.outputs[0][2:] == (8, True)
    call = Call(1)
    add_buffer(made, state, call, 1, "k", (4, True), reg("packet"))
    assert (call.shape, call.terms) == (["a"], [reg("packet")])
    call = Call(6)
    add_buffer(made, state, call, 0, "r", (8, True), reg("constant", ".rodata"))
    assert call.shape == ["s8"] and call.terms == [const(64, int.from_bytes(RODATA.data, "little"))]


def test_formats_say_how_many_arguments_follow():
    made, state = here(), start()
    call = Call(6)
    add_buffer(made, state, call, 0, "r", (8, True), reg("constant", ".rodata"))
    state.registers[3], state.registers[4], state.registers[5] = reg("x"), reg("y"), reg("z")
    add_varargs(state, call)
    assert call.terms[1:] == [ext(reg("x"), 0, 32), reg("y")]
    call = Call(182)
    add_string(made, call, reg("constant", ".rodata"))
    assert call.shape == ["t8"]


@pytest.mark.parametrize(
    "add",
    [
        lambda made, state: add_plain(Call(1), "n", reg("fp", 0)),
        lambda made, state: add_buffer(made, state, Call(1), 1, "k", (None, False), reg("fp", 0)),
        lambda made, state: add_buffer(made, state, Call(4), 0, "w", (600, True), reg("fp", 0)),
    ],
)
def test_arguments_that_are_refused(add):
    with pytest.raises(Refused, match="call"):
        add(here(), start())


# --- the table of helpers ---


TASK_PT_REGS = 175  # its prototype says long


def test_every_helper_has_as_many_letters_as_parameters():
    for helper in range(1, HELPER_COUNT + 1):
        known, prototype = arguments(helper), helper_prototype(helper)
        inside = prototype[prototype.index("(") + 1 : -1]
        count = 5 if "..." in inside else 0 if inside == "void" else inside.count(",") + 1
        assert known is not None and len(known) == count, (helper, prototype, known)
        if helper in POINTER_RESULTS and helper != TASK_PT_REGS:
            assert "*" in prototype.partition("(")[0], prototype
    assert arguments(9999) is None and arguments(105)[3] == Argument("W", 8)


def test_look_ups_and_callbacks_are_what_the_table_says():
    assert all(arguments(helper)[0].kind == "m" for helper in LOOKUPS)
    with_functions = {helper for helper in range(1, HELPER_COUNT + 1) if any(argument.kind == "f" for argument in arguments(helper))}
    assert with_functions == set(CALLBACKS)


@pytest.mark.parametrize(
    ("format", "widths"), [(b"%d %u\0%d", [32, 32]), (b"%lx %llx %p %s", [64, 64, 64, 64]), (b"100%% %-05c", [32]), (b"", [])]
)
def test_what_a_format_takes(format, widths):
    assert conversions(format) == widths


# --- how a program is read ---


def test_blocks_of_a_loop_come_before_what_follows_it():
    code = Code(program("r0 = 0\nr0 += 1\nif r0 == 9 goto +2\nr0 += 1\ngoto -4\nexit"))
    function = code.function(code.entry)
    assert function.ends == {0: 1, 1: 3, 3: 5, 5: 6}
    assert sorted(function.order, key=function.order.get) == [0, 1, 3, 5]


def test_what_slots_mean():
    text = "r1 = 0 ll\nr2 = 0x1122334455667788 ll\nr3 = 0 ll\ncall 1\ncall pc+1\nexit\nr0 = 0\nexit"
    relocations = (Relocation(0, "map", "m"), Relocation(4, "data", "x", 4, section=".rodata"))
    made = program(text, maps=(HASH, RODATA), relocations=relocations, functions=(Function(0, "f"),))
    code = Code(made)
    function = code.function(code.entry)
    assert function.meanings == {
        0: Meaning("map", "m"), 2: Meaning("number", value=0x1122334455667788), 4: Meaning("constant", ".rodata", 4),
        6: Meaning("helper", value=1), 7: Meaning("call", place=("", 9)),
    }  # fmt: skip
    assert len(function.insns) == 9 and [f.name for f in code.functions()] == ["f"]
    assert code.map_types == {"m": 1, ".rodata": 2} and code.constant(".rodata") == RODATA.data and code.constant("m") is None


def test_programs_that_cannot_be_read():
    with pytest.raises(Refused, match="no function g"):
        Code(program("exit"), entry="g")
    twice = Code(program("exit", maps=(Map("m", 1, 4, 4, 4, id=1), Map("m", 1, 4, 4, 4, id=2))))
    with pytest.raises(Refused, match="two are called m"):
        _ = twice.maps
    with pytest.raises(Refused, match="outside of the code"):
        Code(program("exit")).function(("", 7))

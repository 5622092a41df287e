"""BTF that the kernel takes, memory that pointers lead into, inputs at the edges of conditions."""

from __future__ import annotations

from random import Random

import pytest

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.build import EXTERN, BtfBuilder
from bpflens.execute.inputs.slope import sloped
from bpflens.execute.inputs.solve import explored, solved
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.loadable_btf import loadable_btf
from bpflens.execute.objects import KERNEL, SIZE, USER, made_memory, pointers
from bpflens.execute.result import Input, Scene
from bpflens.execute.subject import Subject
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.program import Map

XDP, SYSCALL = 6, 31

# --- BTF ---


def test_externs_become_what_a_kernel_takes():
    build = BtfBuilder()
    number = build.add_int("int", 4, 1)
    proto = build.add_func_proto(number, [("", number), ("named", number)])
    function = build.add_func("bpf_rcu_read_lock", proto, EXTERN)
    variable = build.add_var("CONFIG_HZ", build.add_int("long", 8), EXTERN)
    section = build.add_datasec(".kconfig", 0, [(variable, 0, 8)])
    functions = build.add_datasec(".ksyms", 4, [(function, 0, 4)])
    made = Btf.parse(loadable_btf(build.build()))

    assert made.linkage(function) == 1 and made.linkage(variable) == 1
    assert made.type(variable).ref == number
    assert [parameter.name for parameter in made.params(proto)] == ["bpf_rcu_read_lock", "named"]
    for id in (section, functions):
        assert made.kind(id) is Kind.STRUCT and made.size(id) == 4 and [member.type_id for member in made.members(id)] == [number]


def test_what_is_taken_already_or_malformed_stays():
    build = BtfBuilder()
    number = build.add_int("int", 4, 1)
    own = build.add_var("own", number)
    build.add_datasec(".data", 4, [(own, 0, 4)])
    assert loadable_btf(build.build()) == build.build()
    assert loadable_btf(b"no BTF") == b"no BTF"
    assert loadable_btf(BtfBuilder().build()) == BtfBuilder().build()


# --- memory ---


def test_made_memory_is_repeatable_and_leads_into_itself():
    memory = made_memory(Random(4), (0xABCD1234, 77))
    assert memory == made_memory(Random(4), (0xABCD1234, 77)) != made_memory(Random(5), (1, 2)) and len(memory) == SIZE
    found = {int.from_bytes(memory[at : at + 8], "little") for at in range(0, SIZE, 8)}
    led = {word for word in found if word >> 16 in (KERNEL >> 16, USER >> 16)}
    assert led and all((word & 0xFFFF) < SIZE // 2 for word in led)
    assert any(word & 0xFFFFFFFF == 0xABCD1234 for word in found)


def test_pointers_lie_in_the_windows():
    assert {address >> 16 for address in pointers()} == {KERNEL >> 16, USER >> 16}
    assert all((address & 0xFFFF) < SIZE // 2 for address in pointers())


# --- edges ---


def subject(text, prog_type=SYSCALL, **more):
    return Subject(tuple(words(assemble(text))), prog_type, **more)


def results(subject, scenes):
    program = InterpretedProgram(subject)
    found = set()
    for scene in scenes:
        program.set(scene.maps, scene.memory)
        found.add(program.run(scene.inputs[-1]).retval)
    return found


@pytest.mark.parametrize(
    ("read", "wanted"),
    [("*(u32 *)(r1 + 4)", 0xDEADBEEF), ("*(u16 *)(r1 + 8)", 0x1F90), ("*(u64 *)(r1 + 0)", 0x123456789ABCDEF0)],
)
def test_numbers_that_chance_does_not_find(read, wanted):
    program = subject(f"r2 = {read}\nr3 = {wanted:#x} ll\nr0 = 1\nif r2 == r3 goto +1\nr0 = 0\nexit")
    seeds = [Scene((Input(ctx=bytes(range(1, 17))),))]
    assert results(program, seeds) == {0}
    found = solved(program, seeds, Random(1), 200, 1000)
    assert results(program, found) == {0, 1}


def test_both_sides_of_a_boundary():
    program = subject("r2 = *(u32 *)(r1 + 0)\nr0 = 1\nif r2 > 1000 goto +1\nr0 = 0\nexit")
    found = solved(program, [Scene((Input(ctx=bytes((5, 0, 0, 0, 9, 9, 9, 9))),))], Random(1), 200, 1000)
    values = {int.from_bytes(scene.inputs[-1].ctx[:4], "little") for scene in found}
    assert {999, 1000, 1001} <= values


def test_lengths_of_packets():
    text = "r2 = *(u32 *)(r1 + 4)\nr1 = *(u32 *)(r1 + 0)\nr1 += 100\nr0 = 1\nif r1 > r2 goto +1\nr0 = 2\nexit"
    found = solved(subject(text, XDP), [Scene((Input(bytes(60)),))], Random(1), 100, 1000)
    assert {99, 100, 101} <= {len(scene.inputs[-1].packet) for scene in found}


def test_numbers_in_maps():
    text = ("r2 = r10\nr2 += -4\n*(u32 *)(r10 - 4) = 7\nr1 = 0 ll\ncall 1\nif r0 == 0 goto +4\nr1 = *(u64 *)(r0 + 0)\nr0 = 1\n"
            "if r1 == 987654 goto +2\ngoto +0\nr0 = 0\nexit")  # fmt: skip
    program = subject(text, maps={"m": Map("m", 1, 4, 8, 4)}, map_at={3: "m"})
    seeds = [Scene((Input(ctx=bytes(8)),), {"m": {(7).to_bytes(4, "little"): (55).to_bytes(8, "little")}})]
    assert results(program, solved(program, seeds, Random(1), 200, 1000)) == {0, 1}


def test_limits_of_sums_are_met_by_what_a_number_changes():
    text = ("r2 = r10\nr2 += -4\n*(u32 *)(r10 - 4) = 7\nr1 = 0 ll\ncall 1\nif r0 == 0 goto +7\nr1 = *(u64 *)(r0 + 0)\nr1 *= 3\nr1 += 40\n"
            "r0 = 1\nif r1 > 1000 goto +2\ngoto +0\nr0 = 0\nexit")  # fmt: skip
    program = subject(text, maps={"m": Map("m", 1, 4, 8, 4)}, map_at={3: "m"})
    seeds = [Scene((Input(ctx=bytes(8)),), {"m": {(7).to_bytes(4, "little"): (55).to_bytes(8, "little")}})]
    found = explored(program, seeds, Random(1), 200, 1000)

    values = {int.from_bytes(scene.maps["m"][(7).to_bytes(4, "little")], "little") for scene in found.scenes}
    assert 320 in values  # 3 * 320 + 40 is the limit; 1001 is no value of the sum
    assert found.unmet == 1


def test_the_runs_are_bounded():
    program = subject("r2 = *(u32 *)(r1 + 0)\nif r2 == 77 goto +0\nr0 = 0\nexit")
    assert solved(program, [Scene((Input(ctx=bytes(8)),))], Random(1), 1, 100) == []


# --- limits of sums ---


class Compared:
    slot = 5

    def __init__(self, distance):
        self.distance = distance


def met(scene, distance_of):
    """Scenes that meet the limit, where `distance_of` gives how far a scene is from it."""
    found = []
    missing = lambda slot: [] if found else [0]  # noqa: E731
    for made in sloped([scene], lambda seen: [Compared(distance_of(seen))], missing, Random(1)):
        if distance_of(made) == 0:
            found.append(made)
    return found


def test_a_number_is_moved_by_as_much_as_its_slope_asks_for():
    number = lambda seen: int.from_bytes(seen.maps["m"][b"k"], "little")  # noqa: E731
    scene = Scene((Input(b"\5\6"),), {"m": {b"k": (7).to_bytes(4, "little")}})
    assert [number(made) for made in met(scene, lambda seen: 3 * number(seen) + 40 - 1000)] == [320]
    assert met(scene, lambda seen: 3 * number(seen) + 41 - 1000) == []  # no whole number gives it
    assert met(scene, lambda seen: -5) == []
    (made,) = met(scene, lambda seen: 100 - 2 * seen.inputs[-1].packet[1])
    assert made.inputs[-1].packet == b"\5\x32"
    assert met(scene, lambda seen: 10_000 - seen.inputs[-1].packet[1]) == []  # no byte is that large

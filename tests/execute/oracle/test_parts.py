"""The parts of the oracle that need no kernel: editing code, records of calls, poison, mutants, what is mined, packets, states."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import objects
from bpflens.execute.edit import edit, piece
from bpflens.execute.effects import made_repeatable, said_of_effect, scalar_arguments
from bpflens.execute.inputs.mine import mine
from bpflens.execute.inputs.mutate import KINDS, mutants
from bpflens.execute.inputs.packets import checksum, random_packet
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.oracle.coverage import COVERAGE, instrumented
from bpflens.execute.oracle.oracle import compare
from bpflens.execute.oracle.states import declared_differently, plan, settable
from bpflens.execute.poison import PATTERNS, poisoned
from bpflens.execute.result import Input, Scene, Verdict
from bpflens.execute.subject import Subject, from_program, malformed, subject_of, to_program
from bpflens.isa.extended.insn import Insn
from execute import c_programs


def program(name: str) -> Subject:
    """A C program of the table, compiled."""
    return subject_of(objects.compiled(c_programs.source(name), "-mcpu=v3"), name, "entry")


def same_runs(a: Subject, b: Subject) -> bool:
    """Whether two programs do the same on a hundred packets, in the interpreter."""
    first, second, rnd = InterpretedProgram(a), InterpretedProgram(b), Random(3)
    for _ in range(100):
        input = Input(random_packet(rnd))
        if first.run(input) != second.run(input):
            return False
    mine, theirs = first.read(), second.read()
    return all(theirs[name] == state for name, state in mine.items())


def test_code_put_in_changes_no_run() -> None:
    nothing = piece(Insn.make(5))
    for name in ("switch", "functions", "loop callback", "bounded loop", "strings"):
        subject = program(name)
        slots = [n for n, word in enumerate(subject.words) if word & 0xFF and not (n and subject.words[n - 1] & 0xFF == 0x18)]
        longer = edit(subject, dict.fromkeys(slots, nothing * 3), {}, {})
        assert longer is not None and len(longer.words) > 3 * len(slots)
        assert same_runs(subject, longer)


def test_jumps_that_get_too_long_are_refused() -> None:
    subject = Subject((Insn.make(0x15, 0, off=1).word, Insn.make(5).word, Insn.make(0x95).word), 6)
    assert edit(subject, {1: piece(Insn.make(5)) * 40000}, {}, {}) is None


def test_counting_blocks_changes_no_run() -> None:
    for name in ("switch", "hash", "longest prefix"):
        made = instrumented(program(name))
        assert made is not None and made.blocks > 3 and COVERAGE in made.subject.maps
        first = program(name)
        kept = {name: map for name, map in made.subject.maps.items() if not name.startswith("*")}
        assert kept == first.maps


def test_a_branch_without_a_block_of_its_own_is_counted() -> None:
    """r0 = 1; if r1 == 0 goto out; r0 = 2; out: exit. Three blocks are run by r1 = 1 alone; the jump is a fourth thing to see."""
    code = (Insn.make(0xB7, 0, imm=1), Insn.make(0x15, 1, off=1), Insn.make(0xB7, 0, imm=2), Insn.make(0x95))
    made = instrumented(Subject(tuple(insn.word for insn in code), 6))
    assert made is not None and (made.blocks, made.uncounted) == (4, 0)
    without = instrumented(Subject(tuple(insn.word for insn in code), 6), branches=False)
    assert without is not None and (without.blocks, without.uncounted) == (3, 1)


def test_poison_changes_no_run_of_a_program_that_writes_what_it_reads() -> None:
    for name in ("hash", "functions", "stack memory"):
        assert same_runs(program(name), poisoned(program(name), PATTERNS[0]))


def test_arguments_that_are_numbers() -> None:
    assert scalar_arguments(23) == ((1, 4), (2, 8))
    assert scalar_arguments(9) == ((2, 4), (4, 4), (5, 8))
    assert said_of_effect(8 * (5 * 23)) == "argument 1 of bpf_redirect"


def test_results_of_chance_are_constants() -> None:
    made = made_repeatable(Subject((Insn.make(0x85, imm=7).word, Insn.make(0x95).word), 6), record=False)
    assert made is not None and InterpretedProgram(made).run(Input(bytes(64))).retval == 0x1234567


def test_mutants_are_all_different() -> None:
    subject = program("hash")
    found = list(mutants(subject, Random(1), 60))
    assert len({mutant.subject.words for mutant in found}) == len(found) > 40
    assert subject.words not in {mutant.subject.words for mutant in found}
    assert {mutant.kind for mutant in found} <= KINDS.keys()


def test_the_interpreter_catches_mutants() -> None:
    caught = total = 0
    for name in ("packet", "hash", "switch"):
        for mutant in mutants(program(name), Random(2), 8):
            result = compare(program(name), mutant.subject, inputs=200, engine="interpreter")
            total += 1
            caught += result.verdict is Verdict.DIFFERENT
    assert caught >= 0.6 * total  # some are no change: the upper half of a register that is not used


def test_what_the_code_says_of_its_inputs() -> None:
    found = mine(program("switch"))
    assert {6, 0xDD, 8} <= set(found.constants)
    assert (13, 1) in found.packet


def test_packets_are_the_same_for_a_seed_and_well_formed_ipv4_has_a_checksum() -> None:
    assert [random_packet(Random(5)) for _ in range(3)] == [random_packet(Random(5)) for _ in range(3)]
    assert checksum(bytes.fromhex("4500003000000000400600000a0000010a000002")) == 0x66C6
    assert all(len(random_packet(Random(n))) >= 14 for n in range(200))


def test_a_subject_as_a_program_and_back() -> None:
    subject = program("hash")
    again = from_program(to_program(subject))
    assert (again.map_at, again.func_info, again.prog_type) == (subject.map_at, subject.func_info, subject.prog_type)
    assert same_runs(subject, again)
    assert malformed(replace(subject, map_at={0: "table"})) is not None


def test_maps_and_constants_of_two_programs() -> None:
    subject = program("globals")
    assert settable(subject, subject)[".rodata"] == ((0, 4),)
    assert set(plan(subject, subject).whole) >= {".bss", ".data"}
    other = replace(subject, maps={**subject.maps, ".rodata": replace(subject.maps[".rodata"], value_size=8)})
    assert settable(subject, other) == {} and declared_differently(subject, other) is None


def test_both_programs_on_one_input() -> None:
    """What a symbolic check asks: do they part here?"""
    subject = program("switch")
    words = list(subject.words)
    at = next(n for n, word in enumerate(words) if Insn(word).code in (0x15, 0x16) and Insn(word).imm == 6)
    words[at] = words[at] + (1 << 32)
    other = replace(subject, words=tuple(words))
    scene = Scene((Input(bytes(13) + b"\x06" + bytes(20)),))
    assert compare(subject, other, inputs=[scene], engine="interpreter").verdict is Verdict.DIFFERENT
    assert compare(subject, other, inputs=[Scene((Input(bytes(34)),))], engine="interpreter").verdict is Verdict.EQUAL

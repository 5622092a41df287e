"""The interpreter against the kernel's test runs: random programs, and C programs with every feature, on the same inputs and maps."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import objects
from bpflens.execute.effects import CALLS, OUTSIDE
from bpflens.execute.inputs.guide import guided
from bpflens.execute.inputs.inputs import InputMaker
from bpflens.execute.inputs.mine import mine
from bpflens.execute.interpreter.engine import InterpretedProgram
from bpflens.execute.kernel_engine import Way, load, ways
from bpflens.execute.kernel_maps import ARRAY, LPM_TRIE, PERCPU_ARRAY, PERCPU_HASH, MapState
from bpflens.execute.result import Input
from bpflens.execute.subject import Subject, subject_of
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.kernel.maps.map_data import possible_cpus
from bpflens.kernel.programs.test_run import SYSCALL, one_cpu
from bpflens.program import Map
from execute import c_programs, random_programs

pytestmark = pytest.mark.live
_SLEEPABLE = 16


@given(st.integers(0, 1 << 40))
@settings(max_examples=120)
def test_random_programs(seed: int) -> None:
    rnd = Random(seed)
    subject = Subject(tuple(random_programs.program(rnd, rnd.randrange(6, 80))), SYSCALL, flags=_SLEEPABLE)
    interpreted = InterpretedProgram(subject)
    with load(subject, Way(SYSCALL, "kernel")) as kernel:
        for _ in range(6):
            input = Input(ctx=random_programs.context(rnd))
            assert interpreted.run(input) == kernel.run(input)


@pytest.mark.parametrize(
    ("name", "cpu"),
    [(name, "v3") for name in c_programs.PROGRAMS] + [(name, "v2") for name in ("packet", "hash", "switch", "functions")],
)
def test_c_programs(name: str, cpu: str) -> None:
    subject = subject_of(objects.compiled(c_programs.source(name), f"-mcpu={cpu}"), name, "entry")
    maker = InputMaker(mine(subject), subject.prog_type, subject.prog_type, subject.maps, Random(7))
    interpreted = InterpretedProgram(subject)
    found = guided(interpreted, maker, 200)
    assert found.coverage is not None and found.coverage.reached > 0.7 * found.coverage.blocks
    way = replace(next(ways(subject.prog_type)), record=False)
    ran = 0
    with one_cpu() as number, load(subject, way) as kernel:
        for scene in found.scenes:
            kernel.set(scene.maps)
            interpreted.set(scene.maps)
            for input in scene.inputs:
                want, got = kernel.run(input), interpreted.run(input)
                assert (got.retval, got.packet, bool(got.error)) == (want.retval, want.packet, bool(want.error)), (input, want, got)
                ran += not want.error
            states = interpreted.read()
            states.pop(CALLS), states.pop(OUTSIDE)
            want_states = kernel.read()
            for key, state in states.items():
                assert _one_cpu(subject.maps[key], state) == _one_cpu(subject.maps[key], want_states[key], number), key
    assert ran >= 120


TEXTS = (
    b"", b"-", b"0xg", b"0x", b"12 ", b" -0x1F", b"-0x8000000000000000", b"9223372036854775808", b"-9223372036854775808",
    b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616", b"-99999999999999999999", b"\xa0 7", b"00x1", b"+5",
)  # fmt: skip


@pytest.mark.parametrize("helper", [105, 106])
@pytest.mark.parametrize("base", [0, 8, 10, 16, 7, 32])
def test_numbers_in_texts(helper: int, base: int) -> None:
    """bpf_strtol and bpf_strtoul: result and what is written, of texts that are no numbers too."""
    copy = "".join(f"r2 = *(u64 *)(r6 + {8 * n})\n*(u64 *)(r10 - {64 - 8 * n}) = r2\n" for n in range(4))
    call = f"r1 = r10\nr1 += -64\nr2 = 32\nr3 = {base}\nr4 = r10\nr4 += -8\ncall {helper}\n"
    result = "r1 = *(u64 *)(r10 - 8)\n*(u64 *)(r6 + 32) = r1\n*(u64 *)(r6 + 40) = r0\nr0 = 0\nexit"
    subject = Subject(tuple(words(assemble(f"r6 = r1\n{copy}*(u64 *)(r10 - 8) = -1\n{call}{result}"))), SYSCALL, flags=_SLEEPABLE)
    interpreted = InterpretedProgram(subject)
    with load(subject, Way(SYSCALL, "kernel")) as kernel:
        for text in TEXTS:
            input = Input(ctx=text.ljust(32, b"\0") + bytes(16))
            assert interpreted.run(input) == kernel.run(input), text


def _one_cpu(map: Map, state: MapState, cpu: int | None = None) -> object:
    """A state with the values of one CPU only (None: it has no others), and prefixes without the bits behind them."""
    stride = map.value_size + 7 & ~7
    if cpu is not None and map.type == PERCPU_ARRAY and isinstance(state, bytes):
        return b"".join(state[at : at + stride] for at in range(stride * cpu, len(state), stride * possible_cpus()))
    if cpu is not None and map.type == PERCPU_HASH and isinstance(state, dict):
        return {key: value[stride * cpu :][: map.value_size] for key, value in state.items()}
    if map.type == LPM_TRIE and isinstance(state, dict):
        return {(k[0], int.from_bytes(k[4:], "big") >> 8 * len(k[4:]) - k[0]): value for k, value in state.items()}
    assert map.type != ARRAY or isinstance(state, bytes)
    return state

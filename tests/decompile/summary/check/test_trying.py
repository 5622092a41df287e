"""What is tried and how runs are looked at: conditions in runs, inputs made for them, the judge's counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bpflens.decompile import ir
from bpflens.decompile.ir import Call, Store
from bpflens.decompile.summary.check.draft import Draft, make
from bpflens.decompile.summary.check.judge import Judge, main_slot
from bpflens.decompile.summary.check.trials import Trials, holds_pointers
from bpflens.decompile.summary.check.world import World, all_of, key_of
from bpflens.decompile.summary.sentence import Path, Says
from bpflens.decompile.summary.walk.bits import Bit, Bits, Source, read_bits
from bpflens.decompile.summary.walk.claims import Between, Gives, HasEntry, KeyPart, Length, Relation
from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.decompile.summary.walk.walk import Done
from bpflens.execute.interpreter.recorded import Chosen, HelperCall, Run
from bpflens.execute.objects import pointers
from bpflens.execute.result import Input, Outcome, Scene
from bpflens.execute.subject import Subject
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.program import Map
from decompile.plain_ir import code_of

XDP, TC, CGROUP_SKB, KPROBE = 6, 3, 8, 2
LOOKUP, PID = 1, 14
PACKET = Source("packet")
MAPS = {"h": Map("h", 1, 4, 8, 16), "a": Map("a", 2, 4, 8, 5)}


def run(packet=bytes(64), ctx=b"", calls=(), maps=None, data=None, retval=0, slots=(), error=""):
    scene = Scene((Input(packet, ctx),), maps or {})
    return Run(scene, Chosen(), Outcome(retval, error=error), packet, ctx, data or {}, tuple(calls), frozenset(slots))


def world(*args, shift=0, network=14, **more):
    return World(run(*args, **more), shift, network, MAPS)


def equals(source, byte, number, size=1, negated=False):
    bits = tuple((bit, number >> n & 1) for n, bit in enumerate(read_bits(source, byte, size)[: 8 * size]) if isinstance(bit, Bit))
    return Condition(Kind.TELLING, bits=bits, negated=negated)


def claims(claim):
    return Condition(Kind.TELLING, "said", claim=claim)


def number(value: int) -> Bits:
    return tuple(value >> n & 1 for n in range(64))


def entry(key: Sequence[KeyPart], there=True, map="h", slots=(4,)):
    return HasEntry(map, 4, tuple(key), there, slots)


KEY = (KeyPart(0, 2, read_bits(PACKET, 2, 2)), KeyPart(2, 2, number(0)))

# --- runs ---


def test_three_values():
    assert (all_of([True, True]), all_of([True, None]), all_of([None, False]), all_of([])) == (True, None, False, True)


SEEN = bytes(12) + b"\x08\0" + b"\x46" + bytes(30)


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        (equals(PACKET, 12, 8, 2), True),
        (equals(PACKET, 12, 8, 2, negated=True), False),
        (equals(PACKET, 100, 0), None),
        (equals(Source("packet", "", "transport"), 0, 0), True),
        (equals(Source("ctx"), 1, 7), True),
        (equals(Source("data", ".bss"), 0, 9), True),
        (equals(Source("data", ".none"), 0, 9), None),
        (equals(Source("call", "bpf_get_current_pid_tgid"), 4, 77), True),
        (equals(Source("call", "bpf_get_current_pid_tgid", "7"), 0, 5), True),
        (equals(Source("call", "bpf_get_current_pid_tgid", "8"), 0, 5), None),
        (equals(Source("value", "h"), 0, 3), True),
        (claims(Relation(read_bits(PACKET, 14, 1), "<", number(0x47), False, 8)), True),
        (claims(Relation(number(0xFF), "<", number(0), True, 1)), True),
        (claims(Relation(read_bits(PACKET, 99, 1), "<", number(0), False, 8)), None),
        (claims(Between(read_bits(PACKET, 14, 1), 0x45, 0x46, True)), True),
        (claims(Between(read_bits(PACKET, 14, 1), 0x45, 0x46, False)), False),
        (claims(Gives("bpf_get_current_pid_tgid", (7,), ">", 0)), True),
        (claims(Gives("x", (9,), ">", 0)), None),
        (claims(Length(45, False)), True),
        (claims(Length(46, True)), True),
        (claims(entry(KEY)), True),
        (claims(entry((KeyPart(0, 4, number(1)),))), False),
        (claims(entry((KeyPart(0, 4, number(1)),), there=False)), True),
        (claims(entry((KeyPart(0, 4, number(4)),), map="a")), True),
        (claims(entry((KeyPart(0, 4, number(5)),), map="a")), False),
        (claims(entry((), slots=(4,))), True),
        (claims(entry((), slots=(5,))), None),
        (Condition(Kind.TELLING, alternatives=((equals(PACKET, 100, 0),), (equals(PACKET, 12, 8),))), True),
        (Condition(Kind.TELLING, alternatives=((equals(PACKET, 100, 0),), (equals(PACKET, 12, 9),))), None),
        (Condition(Kind.TELLING, alternatives=((equals(PACKET, 12, 1),), (equals(PACKET, 12, 9),))), False),
        (Condition(Kind.UNKNOWN, "?"), None),
    ],
)
def test_conditions_in_a_run(condition, held):
    calls = (
        HelperCall(4, LOOKUP, (0,), 1, "h", bytes(4), b"\3" + bytes(7)), HelperCall(7, PID, (), 77 << 32 | 5),
    )  # fmt: skip
    seen = world(SEEN, b"\0\7", calls, {"h": {bytes(4): bytes(8)}}, {".bss": b"\x09"})
    assert seen.holds(condition) is held
    assert seen.holds(condition) is held  # as it was kept


def test_the_key_that_is_said():
    assert key_of(entry(KEY), world(b"\0\0\x12\x34")) == b"\x12\x34\0\0"
    assert key_of(entry(KEY[:1]), world(b"\0\0\x12\x34")) is None
    assert key_of(entry(KEY), world(b"\0\0")) is None


def test_slots_of_a_function_are_shifted():
    calls = (HelperCall(14, PID, (), 3),)
    assert World(run(calls=calls), 10, 14, MAPS).call((4,)) is calls[0]
    assert World(run(calls=calls * 2), 10, 14, MAPS).call((4,)) is None


# --- drafts ---


def draft(prog_type=XDP, frame=bytes(64), ctx=b""):
    return Draft(prog_type, bytearray(frame), bytearray(ctx), {})


def made(condition, holds, here, ctx=bytes(192), **more):
    """Whether the draft could be changed; `ctx`: as the program saw it."""
    return make(condition, holds, here, world(bytes(here.frame)[here.view() :], ctx, **more))


@pytest.mark.parametrize("prog_type", [XDP, TC, CGROUP_SKB])
@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize(
    "condition",
    [
        equals(PACKET, 12, 0x0608, 2),
        equals(PACKET, 12, 0x0608, 2, negated=True),
        claims(Relation(read_bits(PACKET, 30, 2), ">=", number(700), False, 8)),
        claims(Relation(read_bits(PACKET, 30, 1), "!=", number(7), False, 8)),
        claims(Between(read_bits(PACKET, 30, 1), 5, 9, True)),
        claims(Length(80, False)),
        claims(Length(40, True)),
        Condition(Kind.TELLING, alternatives=((equals(PACKET, 20, 3), equals(PACKET, 21, 4)), (equals(PACKET, 20, 5),))),
    ],
)
def test_the_packet_is_made_so(prog_type, holds, condition):
    here = draft(prog_type)
    assert made(condition, holds, here)
    after = world(bytes(here.frame)[here.view() :])
    assert after.holds(condition) is holds


def test_what_cannot_be_made():
    assert not made(claims(Relation(read_bits(PACKET, 30, 1), "<", number(0), False, 8)), True, draft())
    assert not made(claims(Relation(number(5), "==", number(6), False, 8)), True, draft())
    assert not made(equals(PACKET, 5000, 1), True, draft())
    assert not made(claims(Length(5000, False)), True, draft())
    assert not made(Condition(Kind.UNKNOWN, "?"), True, draft())
    assert not made(claims(entry(KEY, map="a")), True, draft())


def test_the_context_is_set_or_patched():
    here = draft(KPROBE, b"", bytes(8))
    assert made(equals(Source("ctx"), 12, 7), True, here) and here.ctx == bytes(12) + b"\7" and here.in_kernel
    assert not made(equals(Source("ctx"), 12, 7), True, draft(KPROBE), ctx=bytes(8))
    here = draft(XDP)
    assert made(equals(Source("ctx"), 12, 7), True, here) and here.patch == {12: 7} and not here.in_kernel
    here = draft(TC)
    assert made(equals(Source("ctx"), 8, 7), True, here) and here.ctx[8] == 7 and here.in_kernel  # mark
    assert made(equals(Source("ctx"), 16, 0xDD86, 2), True, here) and here.frame[12:14] == b"\x86\xdd"


def test_entries_results_and_buffers():
    calls = (HelperCall(4, LOOKUP, (0,), 0, "h", b"\1\2\0\0"), HelperCall(7, PID, (), 5), HelperCall(9, 16, (), 0, filled=b"old\0"))
    here = draft()
    assert made(claims(entry(KEY)), True, here, calls=calls) and here.maps == {"h": {bytes(4): bytes(8)}}
    assert made(claims(entry(KEY)), False, here, calls=calls) and here.maps == {"h": {}}
    assert made(claims(entry(())), True, here, calls=calls) and here.maps == {"h": {b"\1\2\0\0": bytes(8)}}
    assert made(equals(Source("value", "h"), 1, 6), True, here, calls=calls)
    assert here.maps["h"][b"\1\2\0\0"] == b"\0\6" + bytes(6)
    assert made(claims(Gives("x", (7,), "<", 0)), True, here, calls=calls) and here.results == {7: (1 << 64) - 1}
    assert made(claims(Gives("x", (7,), "<", 0)), False, here, calls=calls) and here.results == {7: 0}
    assert made(equals(Source("call", "bpf_get_current_pid_tgid"), 4, 2), True, here, calls=calls) and here.results == {7: 2 << 32}
    name = int.from_bytes(b"evil", "little")
    assert made(equals(Source("buffer", "bpf_get_current_comm"), 0, name, 4), True, here, calls=calls) and here.filled == {9: b"evil"}
    assert here.chosen() == Chosen(here.results, here.filled, {})


def test_global_data_is_a_map_of_one_entry():
    here = draft()
    assert made(equals(Source("data", ".rodata"), 1, 6), True, here, data={".rodata": b"\1\2\3\4"})
    assert here.maps == {".rodata": {bytes(4): b"\1\6\3\4"}}
    assert not made(equals(Source("data", ".rodata"), 9, 6), True, here, data={".rodata": b"\1\2\3\4"})


def test_a_copy_goes_on_alone():
    first = draft()
    first.maps["h"] = {bytes(4): bytes(8)}
    second = first.copy()
    second.maps["h"].clear()
    second.frame[0] = 1
    assert first.maps == {"h": {bytes(4): bytes(8)}} and not first.frame[0]
    assert first.scene() == Scene((Input(bytes(64)),), {"h": {bytes(4): bytes(8)}})


# --- the judge ---

CODE = code_of("r1 = 1\ncall bpf_ktime_get_ns\n*(u32 *)(r10 - 4) = r0\nr0 = 0\nexit", XDP)
TCP, OTHER = equals(PACKET, 0, 6), equals(PACKET, 1, 1)


def judged(says, *runs, retval=None):
    judge = Judge(says, {"f": CODE}, {"f": 0}, "f")
    for each in runs:
        judge.hold(each, {"f": World(each, 0, 14, MAPS)}, retval)
    return judge.counts


DROPS = Says("f", "returns", 1, (Path((TCP, OTHER)),))
ELSE = Says("f", "returns", 2, (Path((equals(PACKET, 0, 6, negated=True),)), Path((equals(PACKET, 1, 1, negated=True),))), rest=True)


def test_verdicts_that_are_as_said():
    counts = judged([DROPS, ELSE], run(b"\6\1", retval=1), run(b"\6\2", retval=2), run(b"\7\1", retval=2), run(b"\7\7", retval=2))
    assert [count.contradiction for count in counts] == ["", ""]
    assert [count.seen for count in counts] == [1, 3]
    assert counts[0].turned == {TCP, OTHER} == counts[0].told


@pytest.mark.parametrize(
    ("packet", "retval", "which", "why"),
    [
        (b"\6\1", 2, 0, "returned 2, where all conditions of 1 hold"),
        (b"\6\2", 1, 0, "returned 1, where none of its conditions hold"),
        (b"\6\2", 3, 1, "returned 3, where all conditions of 2 hold"),
    ],
)
def test_verdicts_that_contradict(packet, retval, which, why):
    wrong = run(packet, retval=retval)
    count = judged([DROPS, ELSE], wrong)[which]
    assert count.contradiction == why and count.witness is wrong


def test_a_verdict_that_nobody_says():
    counts = judged([DROPS], run(b"\7\7", retval=0xFFFFFFFF))
    assert counts[0].contradiction == "returned -1, which no sentence says"


def test_what_a_run_does_not_tell_contradicts_nothing():
    may = Says("f", "returns", 1, (Path((TCP,), may=True),))
    assert judged([may, ELSE], run(b"\6\2", retval=2))[0].contradiction == ""
    assert judged([DROPS, ELSE], run(b"", retval=1))[0].contradiction == ""
    assert judged([DROPS, ELSE], run(b"\6\1", retval=2, error="fault"))[0].contradiction == ""
    computed = Says("f", "returns", None, (Path(()),))
    assert judged([DROPS, computed], run(b"\7\7", retval=77))[0].contradiction == ""


def test_the_kernels_verdict_is_held_too_but_not_counted():
    counts = judged([DROPS, ELSE], run(b"\6\1", retval=2), retval=1)
    assert counts[0].contradiction == "" and counts[0].seen == 0


CALL = Call(None, "helper", "bpf_ktime_get_ns", 5, (), (0, 1))


def does(statement, conditions, texts=()):
    done = Done(statement, statement, conditions, texts)
    return Says("f", "does", paths=(Path(conditions),), done=(done,))


def test_deeds():
    said = does(CALL, (TCP,))
    ran, not_ran = run(b"\6", slots=(0, 1)), run(b"\7", slots=(0,))
    counts = judged([said], ran, not_ran)
    assert (counts[0].seen, counts[0].contradiction, counts[0].turned) == (1, "", {TCP})
    assert judged([said], run(b"\6", slots=(0,)))[0].contradiction == "did not call bpf_ktime_get_ns, where all conditions hold"
    assert judged([said], run(b"\7", slots=(0, 1)))[0].contradiction == "did call bpf_ktime_get_ns, where not all conditions hold"
    assert judged([said], run(b"\6", slots=()))[0].contradiction == ""  # the function was not called


def test_numbers_that_are_said_of_a_call():
    said = does(CALL, (), ("7",))
    calls = (HelperCall(1, 5, (9, 0, 0, 0, 0), 0),)
    assert judged([said], run(slots=(0, 1), calls=calls))[0].contradiction == "called bpf_ktime_get_ns with 9 as argument 1, not with 7"
    calls = (HelperCall(1, 5, (1 << 32 | 7, 0, 0, 0, 0), 0),)
    assert judged([said], run(slots=(0, 1), calls=calls))[0].contradiction == ""  # 32 bits are said


def test_the_instruction_that_does_it():
    assert main_slot(CALL, CODE) == 1
    assert main_slot(Store(4, ir.FrameRef(-4), ir.Var(0), slots=(1, 2, 3)), CODE) == 2
    assert main_slot(ir.Assign(0, ir.Const(0), (3,)), CODE) == 3


# --- trials ---


def test_paths_are_reached_and_turned():
    text = "r2 = *(u32 *)(r1 + 4)\nr1 = *(u32 *)(r1 + 0)\nr3 = r1\nr3 += 14\nr0 = 2\nif r3 > r2 goto +3\nr3 = *(u16 *)(r1 + 12)\n"
    subject = Subject(tuple(words(assemble(f"{text}if r3 != 0x608 goto +1\nr0 = 1\nexit"))), XDP)
    trials = Trials(subject, {}, 14)
    arp = equals(PACKET, 12, 0x0608, 2)
    trials.paths([Path((claims(Length(14, False)), arp))], 0)
    results = [(trials.world(each.run, 0).holds(arp), each.run.outcome.retval) for each in trials.tried]
    assert (True, 1) in results and (False, 2) in results and all(each.in_kernel for each in trials.tried)
    trials.at_random()
    assert len(trials.tried) > len(results) and trials.assumed() == ()


def test_contexts_with_addresses_are_not_for_the_kernel():
    window = next(iter(pointers()))
    assert holds_pointers(bytes(8) + window.to_bytes(8, "little")) and not holds_pointers(bytes(64))

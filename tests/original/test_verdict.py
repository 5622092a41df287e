"""Attempts and their verdicts on images made by hand, with a kernel that is one only by name."""

from __future__ import annotations

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.lean import replace
from bpflens.original import attempts
from bpflens.original.attempts import Case, Claim
from bpflens.original.image.image import Image
from bpflens.original.image.image_check import ImageCheck, check_image
from bpflens.original.invert.question import Options
from bpflens.original.invert.reconstruction import lay_out
from bpflens.original.invert.segment import segment
from bpflens.original.reload import Reloaded
from bpflens.original.result import Grade, Original
from bpflens.original.rewrites.template import Group
from bpflens.original.to_program import notes_of, to_program
from bpflens.original.verdict import verdict
from bpflens.program import Map
from original.plain_kernel import PlainKernel, code, image, words

STEPS = 2000
GUARDED = "r1 = 7\nr0 = 9\nif r1 != 0 goto pc+2\nw0 ^= w0\ngoto pc+1\nr0 /= r1\nexit"
PLAIN = "r1 = 7\nr0 = 9\nr0 /= r1\nexit"


def case(one: Image, kernel: PlainKernel | None = None, steps: int = STEPS) -> Case:
    return Case(one, kernel or PlainKernel(), steps, False)


# --- attempts by tag ---


def test_the_likeliest_reading_has_the_tag() -> None:
    one = case(image(GUARDED, original=PLAIN))
    claim = attempts.readings_by_tag(one)
    assert claim is not None and claim.grade is Grade.EXACT and list(claim.found.words) == words(PLAIN)
    assert claim.found.algorithm == "sha256" and one.tags >= 1 and one.first is claim.found


def test_an_odder_reading_has_the_tag() -> None:
    """-r0 was a division by -1: it costs more tags."""
    text, odd = "r0 = 9\nr0 = -r0\nexit", "r0 = 9\nr0 s/= -1\nexit"
    likely, odder = case(image(text, original=text)), case(image(text, original=odd))
    assert attempts.readings_by_tag(likely) and attempts.readings_by_tag(odder)
    assert odder.tags > likely.tags
    none = case(image(text, original="r0 = 1\nexit"))
    assert attempts.readings_by_tag(none) is None and none.first is not None and none.grade is Grade.UNPROVEN


def test_spills_that_were_removed() -> None:
    text = "r2 = 5\ncall 8\nr0 += r2\nexit"
    spilled = "r2 = 5\n*(u64 *)(r10 -8) = r2\ncall 8\nr2 = *(u64 *)(r10 -8)\nr0 += r2\nexit"
    one = case(image(text, original=spilled))
    assert attempts.spills_by_tag(one) is None, "nothing was read yet"
    assert attempts.readings_by_tag(one) is None
    claim = attempts.spills_by_tag(one)
    assert claim is not None and list(claim.found.words) == words(spilled)


def test_a_jump_over_nothing_that_was_removed() -> None:
    """Asked only where the kernel walked a few instructions more than the reconstruction has."""
    text, original = "r0 = 1\nr0 = 2\nexit", "r0 = 1\ngoto pc+0\nr0 = 2\nexit"
    one = case(replace(image(text, original=original), verified_insns=4))
    assert attempts.readings_by_tag(one) is None and one.first is not None
    assert attempts.jumps_over_nothing_by_tag(one) is None, "nothing is equivalent yet"
    one.claim = Claim(Grade.EQUIVALENT, one.first, Reloaded(True, "", None, verified_insns=3))
    claim = attempts.jumps_over_nothing_by_tag(one)
    assert claim is not None and list(claim.found.words) == words(original)
    for walked in (3, 300):
        one.image = replace(one.image, verified_insns=walked)
        assert attempts.jumps_over_nothing_by_tag(one) is None
    one.image, one.steps = replace(one.image, verified_insns=None), 0
    assert attempts.jumps_over_nothing_by_tag(one) is None, "no steps are left"


def test_what_the_image_is_taken_for() -> None:
    """As it is; as blinded, where zeros may be such; without lines, where they may belong to other functions."""
    plain, zeros = image("r0 = 1\nexit"), image("r0 ^= r0\nexit")
    assert attempts.as_it_is(plain) is plain and attempts.as_if_blinded(plain) is None
    suspect = attempts.as_if_blinded(zeros)
    assert suspect is not None and suspect.blinded and attempts.as_if_blinded(suspect) is None
    assert attempts.without_line_info(replace(plain, lines=frozenset((1,)))) is None
    two = replace(plain, functions=(0, 1), lines=frozenset((1,)), line_info=((1, 0, 0, 0),))
    without = attempts.without_line_info(two)
    assert without is not None and without.lines == frozenset() and without.line_info == ()


# --- verdicts ---


def judged(one: Image, kernel: PlainKernel | None = None) -> Original:
    made = case(one, kernel)
    made.claim = attempts.readings_by_tag(made)
    return verdict(made)


def test_exact() -> None:
    found = judged(image(GUARDED, original=PLAIN))
    assert found.grade is Grade.EXACT and found.code == code(words(PLAIN)) and found.algorithm == "sha256"
    assert found.reason == f"its tag (SHA-256) is {found.image.tag}, the program's"


def test_equivalent() -> None:
    one = case(image("r0 = 1\nexit", original="r0 = 2\nexit"))
    attempts.readings_by_tag(one)
    assert one.first is not None
    one.claim = Claim(Grade.EQUIVALENT, one.first, Reloaded(True, "", None, verified_insns=2))
    found = verdict(one)
    assert found.grade is Grade.EQUIVALENT and found.algorithm == ""
    assert found.reason.startswith("loaded again with the same maps and types it becomes the identical image; the tag differs")
    one.image = replace(one.image, blinded=True)
    assert "but for the blinding of constants" in verdict(one).reason


def test_unproven_says_what_is_missing() -> None:
    no_tag, hidden = judged(image("r0 = 1\nexit")), judged(image("call 0\nexit", original="call 5\nexit"))
    assert no_tag.grade is Grade.UNPROVEN and no_tag.reason == "the dump has no tag"
    trap = [*words("exit"), Insn.make(op.GOTO, off=-1).word]
    assert judged(image(trap)).reason.startswith("1 dead instructions are traps")
    assert hidden.grade is Grade.EXACT, "a few readings suffice"
    one = case(image("call 0\ncall 0\ncall 0\nexit", original="r0 = 1\nexit"), steps=3)
    assert attempts.readings_by_tag(one) is None
    found = verdict(one)
    assert found.reason.startswith("the kernel hides call targets") and found.code == code(words("call 0\ncall 0\ncall 0\nexit"))
    named = judged(image("call 4711\nexit", original="call 5\nexit"))
    assert named.reason.startswith("1 call targets have no name; no reading has the tag") and named.unknown == {0: "helper"}
    one = case(image("r0 = 1\nexit"))
    attempts.readings_by_tag(one)
    one.unsure = tuple(range(20))
    assert verdict(one).reason.endswith("unsure are the instructions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and others")
    one.first, one.misfit = None, "a jump leads nowhere"
    assert verdict(one).reason == "no reading of the image makes a program: a jump leads nowhere"


# --- what the tag does not cover ---


def checked(
    one: Image, groups: tuple[tuple[int, int, Group], ...] = (), btf: Btf | None = None, kernel: PlainKernel | None = None
) -> ImageCheck:
    layout = lay_out(one, segment(one, PlainKernel(), Options()))
    return check_image(one, layout._replace(groups=groups), kernel or PlainKernel(), btf)


def test_references_between_functions() -> None:
    """Distance and number of a function stand twice in an image, and must agree; unused fields are zero."""
    call, helper = Insn.make(op.CALL_CODE, 0, op.PSEUDO_CALL, 1, 1).word, words("call 5")[0]
    good = image([call, *words("exit\nr0 = 1\nexit")], func_info=((0, 1), (2, 2)))
    assert checked(good) == ImageCheck()
    for bit in (33, 17):  # the number, the distance
        wrong = image([call ^ 1 << bit, *words("exit\nr0 = 1\nexit")], func_info=((0, 1), (2, 2)))
        assert checked(wrong).altered == (0,)
    odd = image([helper | 1 << 16, Insn.make(op.LD_IMM64, 1, off=3).word, 0, *words("exit")])
    assert checked(odd).altered == (0, 1)


def test_references_to_maps() -> None:
    one = image("r1 = map[id:7]\nr2 = 5 ll\nexit")
    assert checked(one).maps == (0,)


def array_lookup(limit: int, size: int) -> Group:
    return Group(1, (), "inlined map_lookup_elem (array)", 0, (("value", 312), ("max", limit), ("factor", size)))


def test_numbers_of_an_array() -> None:
    """Where its values begin, how many and how long they are; of what is not known nothing is said."""
    one = image("r0 = 1\nexit")
    groups = ((0, 0, array_lookup(10, 24)),)
    assert checked(one, groups).unchecked == (0,)
    builder = BtfBuilder()
    builder.add_struct("bpf_array", 400, [("value", builder.add_int("char", 1), 8 * 312)])
    btf = Btf.parse(builder.build())
    known = replace(one, maps={7: Map("m", MapType.ARRAY, 4, 20, 10, id=7)})
    assert checked(known, groups, btf) == ImageCheck()
    assert checked(known, ((0, 0, array_lookup(11, 24)),), btf).altered == (0,)
    assert checked(known, ((0, 0, array_lookup(10, 12)),), btf).altered == (0,), "values have whole words"
    other = BtfBuilder()
    other.add_struct("bpf_array", 400, [("value", other.add_int("char", 1), 8 * 320)])
    assert checked(known, groups, Btf.parse(other.build())).altered == (0,)


def test_one_number_everywhere() -> None:
    """The address of a per-cpu variable is the same at every place."""
    def group(address: int) -> Group:
        return Group(1, (), "inlined get_smp_processor_id", 0, (("cpu_number", address),))

    one = image("r0 = 1\nr0 = 2\nexit")
    assert checked(one, ((0, 0, group(5)), (1, 1, group(5)))) == ImageCheck(unchecked=(0, 1))
    assert checked(one, ((0, 0, group(5)), (1, 1, group(6)))) == ImageCheck(altered=(1,), unchecked=(0,))


def test_the_prologue_of_a_classifier() -> None:
    """What it returns where the packet cannot be pulled depends on the program's type."""
    from bpflens.original.invert.segment import PROLOGUE

    group = ((0, 0, Group(1, (), PROLOGUE, 0, (("drop", 2), ("mask", 1), ("pull", 99)))),)
    kernel = PlainKernel(imms={"bpf_skb_pull_data": 99, "sk_skb_pull_data": 99})
    assert checked(image("r0 = 1\nexit", ProgType.SCHED_CLS), group, kernel=kernel) == ImageCheck()
    assert checked(image("r0 = 1\nexit", ProgType.SK_SKB), group, kernel=kernel).altered == (0,)


# --- as a program ---


def test_as_a_program() -> None:
    """With the name, the license and the maps of the image; a reference by index is told its map beside it."""
    map = Map("counts", MapType.HASH, 4, 8, 10, id=7)
    one = replace(image(GUARDED, ProgType.XDP, PLAIN), name="my_prog", id=12, map_ids=(7, 8), maps={7: map})
    one = replace(one, gpl=False, expected_attach_type=37)
    found = judged(one)
    program = to_program(found)
    assert (program.code, program.name, program.type, program.id, program.tag) == (code(words(PLAIN)), "my_prog", ProgType.XDP, 12, one.tag)
    assert program.license == "Proprietary" and program.expected_attach_type == 37 and [map.id for map in program.maps] == [7]
    assert program.origin.note == f"exact: {found.reason}" and [function.name for function in program.functions] == ["my_prog"]
    assert notes_of(found, program) == {}
    by_index = image([Insn.make(op.LD_IMM64, 1, op.PSEUDO_MAP_IDX, 0, 7).word, 0, *words("exit")])
    by_index = replace(by_index, map_ids=(7,), maps={7: map})
    found = judged(by_index)
    assert notes_of(found, to_program(found)) == {0: ["map counts"]}
    recorded = replace(found, program=program, notes={1: ("removed when loaded",)})
    assert to_program(recorded) is program and notes_of(recorded, program) == {1: ["removed when loaded"]}

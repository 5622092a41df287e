"""What registers point to, and what the stack frame is made of."""

from __future__ import annotations

import pytest

from bpflens.decompile import ir
from bpflens.decompile.ir import Assign, Call, Const, FrameRef, Place, Sext, StackRef, Var, Zext
from bpflens.decompile.lift.blocks import Unsayable, split_blocks
from bpflens.decompile.lift.lift import lift
from bpflens.decompile.lift.regions import Region, analyse_regions, join, postorder
from bpflens.decompile.lift.stack import FIRST_SLOT, lay_out, place_in_frame
from bpflens.program import Map, Relocation
from decompile.plain_ir import unit_of

XDP = 6
KEY_OF_8 = Map("m", 1, 8, 16, 4)


def regions_of(text, prog_type=XDP, **more):
    unit = unit_of(text, prog_type, **more)
    code = unit.codes["f"]
    blocks = split_blocks(code)
    slots = {id: block.end_slots for id, block in blocks.items()}
    return unit, code, analyse_regions(code, blocks, 0, slots, 1, {})


def framed(text, promote=True, prog_type=XDP, **more):
    """The function of a text after its stack pass."""
    unit, code, regions = regions_of(text, prog_type, **more)
    function = lift(code, 1, {}, regions.places)
    place_in_frame(function, lay_out(code, unit, regions, promote), regions)
    return function


def test_places_of_accesses():
    _, _, regions = regions_of(
        """
        r6 = r1
        r2 = *(u32 *)(r6 + 0)
        r3 = *(u32 *)(r6 + 4)
        r4 = r2
        r4 += 14
        if r4 > r3 goto +4
        r0 = *(u8 *)(r2 + 13)
        *(u64 *)(r10 - 8) = r2
        r5 = *(u64 *)(r10 - 8)
        r0 = *(u8 *)(r5 + 1)
        r0 = 0
        exit
        """
    )
    assert regions.places == {
        1: Place("ctx", "", 0), 2: Place("ctx", "", 4), 6: Place("packet", "", 13), 7: Place("frame", "", -8), 8: Place("frame", "", -8),
        9: Place("packet", "", 1),
    }  # fmt: skip
    assert regions.direct == {(-8, 8)}
    assert not regions.loose and not regions.unknown


def test_paths_that_disagree():
    frame = Region("frame", "", -8, frozenset((-8,)))
    other = Region("frame", "", -16, frozenset((-16,)))
    zero = Region("const", "", 0)
    value = Region("value", "m", 0)
    assert join(frame, frame) == frame
    assert join(frame, other) == Region("frame", "", None, frozenset((-8, -16)))
    assert join(value, zero) == Region("value", "m", 0, frozenset(), True) == join(zero, value)
    assert join(value, Region("value", "n", 4)) == Region("value", "", None)
    assert join(zero, Region("const", "", 5)) == Region("number")
    assert join(frame, value) == Region("mixed", "", None, frozenset((-8,)))
    assert join(frame, None) is None


def test_postorder_reversed():
    blocks = {id: ir.Block(id, id) for id in range(4)}
    for id, successors in {0: [1, 2], 1: [3], 2: [3], 3: [0]}.items():
        blocks[id].successors = successors
    order = postorder(blocks, 0)
    assert order[0] == 0 and order[-1] == 3 and sorted(order) == [0, 1, 2, 3]


def test_numbers_that_were_added_to_pointers_are_known():
    _, _, regions = regions_of("r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 16)\nr2 += r3\nr0 = *(u8 *)(r2 + 0)\nexit")
    assert regions.indexes == {(2, 3)}
    assert regions.places[3] == Place("packet", "", None)


def test_a_slot_that_is_only_loaded_and_stored_is_a_variable():
    function = framed("*(u64 *)(r10 - 8) = r1\n*(u32 *)(r10 - 12) = r1\nr2 = *(u64 *)(r10 - 8)\nr0 = *(s32 *)(r10 - 12)\nexit")
    first, second = FIRST_SLOT + 1, FIRST_SLOT
    assert function.blocks[0].statements == [
        Assign(first, Var(1), (0,)), Assign(second, Zext(32, Var(1)), (1,)), Assign(2, Var(first), (2,)),
        Assign(0, Sext(32, Var(second)), (3,)),
    ]  # fmt: skip
    assert function.objects == {}


def test_without_promotion_it_stays_an_object():
    function = framed("*(u64 *)(r10 - 8) = r1\nr0 = *(u64 *)(r10 - 8)\nexit", promote=False)
    assert [(o.start, o.size, o.name) for o in function.objects.values()] == [(-8, 8, "stack_8")]
    assert function.blocks[0].statements[0] == ir.Store(8, StackRef(-8, 0), Var(1), Place("frame", "", -8), (0,))


def test_accesses_of_two_widths_are_an_object():
    function = framed("*(u64 *)(r10 - 8) = r1\nr0 = *(u8 *)(r10 - 7)\nexit")
    assert [(o.start, o.size) for o in function.objects.values()] == [(-8, 8)]
    load = function.blocks[0].statements[1].value
    assert load.address == StackRef(-8, 1)


COMM = """
    r1 = r10
    r1 += -24
    r2 = {size}
    call bpf_get_current_comm
    *(u64 *)(r10 - 8) = 7
    r0 = *(u64 *)(r10 - 8)
    exit
"""


def test_the_length_argument_says_how_far_an_object_reaches():
    function = framed(COMM.format(size=16))
    assert [(o.start, o.size) for o in function.objects.values()] == [(-24, 16)]
    call = function.blocks[0].statements[3]
    assert isinstance(call, Call) and call.args == (StackRef(-24, 0), Var(2))
    assert function.blocks[0].statements[4] == Assign(FIRST_SLOT, Const(7), (4,))


def test_the_map_says_how_far_its_key_reaches():
    text = "r2 = r10\nr2 += -16\nr1 = 0 ll\ncall bpf_map_lookup_elem\nr0 = 0\nexit"
    function = framed(text, source="elf", maps=(KEY_OF_8,), relocations=(Relocation(2, "map", "m"),))
    assert [(o.start, o.size) for o in function.objects.values()] == [(-16, 8)]


def test_an_unknown_length_reaches_to_the_top_of_the_frame():
    function = framed(COMM.format(size="*(u32 *)(r1 + 0)"))
    assert [(o.start, o.size) for o in function.objects.values()] == [(-24, 24)]


def test_an_address_that_is_stored_somewhere_is_loose():
    _, _, regions = regions_of("r2 = r10\nr2 += -16\n*(u64 *)(r1 + 0) = r2\nr0 = 0\nexit")
    assert regions.loose == {-16}


def test_deep_or_upward_frames_are_unsayable():
    with pytest.raises(Unsayable, match="600 bytes down"):
        framed("*(u64 *)(r10 - 600) = r1\nr0 = 0\nexit")
    with pytest.raises(Unsayable, match="above its frame"):
        framed("r0 = *(u64 *)(r10 + 0)\nexit")


def test_an_object_that_no_byte_belongs_to_stays_an_address():
    unit, code, regions = regions_of("r0 = 0\nexit")
    frame = lay_out(code, unit, regions)
    assert frame.object_at(-8) is None
    assert frame.objects == {} and FrameRef(-8) == FrameRef(-8)

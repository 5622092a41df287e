"""What the tag does not cover: images that the kernel did not make of their exact original are told of, and what nothing tells is said."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bpflens.isa.extended.asm import assemble
from bpflens.original.image.image import of_code, of_id
from bpflens.original.kernels.running import live_kernel
from bpflens.original.recover import recover
from original.load import loaded
from original.matrix import ROWS

pytestmark = pytest.mark.live
CHECKED = {row.name: row for row in ROWS if row.grade == "exact" and row.name != "jump over nothing"}


def elsewhere(image, words):
    """The image as a dump of another machine has it."""
    code = b"".join(word.to_bytes(8, "little") for word in words)
    made = of_code(code, image.prog_type, tag=image.tag, func_info=image.func_info, line_info=image.line_info)
    return replace(made, map_ids=image.map_ids, maps=image.maps, expected_attach_type=image.expected_attach_type)


@pytest.fixture(scope="module")
def images():
    found = {}
    for name, row in CHECKED.items():
        try:
            with loaded(row) as one:
                found[name] = of_id(one.id)
        except Exception:
            continue
    return found


def test_an_image_as_the_kernel_made_it_is_not_called_altered(images):
    for name, image in images.items():
        original = recover(elsewhere(image, image.words), live_kernel())
        assert original.grade == "exact", f"{name}: {original.reason}"
        assert not original.check.altered, f"{name}: {original.check}"


NAMES = ("array look-up", "array look-up, odd size", "hash look-up", "LRU look-up", "prologue for packet writes", "may_goto",
         "calls across grown code", "callback of for_each", "helper", "sk of the packet")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_told_or_said_not_to_be_covered(images, name):
    image = images[name]
    chance = random.Random(name)
    for _ in range(120):
        slot, bit = chance.randrange(len(image)), chance.randrange(64)
        words = list(image.words)
        words[slot] ^= 1 << bit
        original = recover(elsewhere(image, words), live_kernel(), steps=0)
        if original.grade != "exact":
            continue
        check = original.check
        covered_by = {at + half for at in (*check.maps, *check.unchecked) for half in (0, 1)}
        groups = {at: group.length for at, _, group in original.layout.groups}
        covered_by |= {at + inner for at in check.unchecked for inner in range(groups.get(at, 1))}
        assert check.altered or slot in covered_by, (slot, bit)


@pytest.mark.parametrize("name", ("sk_storage_get", "task_storage_get"))
def test_allocation_flags_of_another_kernel_are_said_not_to_be_covered(images, name):
    """GFP_ATOMIC has had two values: an image with the other one is one that some kernel makes of this original."""
    image = images[name]
    (slot,) = (at for at, word in enumerate(image.words) if word & 0xFF == 0xB7 and word >> 32 in (0x820, 0xA20))
    words = list(image.words)
    words[slot] ^= 0x200 << 32
    original = recover(elsewhere(image, words), live_kernel(), steps=0)

    assert original.grade == "exact" and slot in original.check.unchecked
    assert f"what the kernel put into slot {slot} of the image could not be checked" in original.reason


def test_the_words_of_the_grade():
    """Swapped maps are exact: the tag does not cover them, and the reason says so."""
    code = assemble("r0 = 2\nr2 = map[id:24822][0]+0\nr1 = map[id:24820]\nr0 = 1\nexit\n", "kernel")
    from bpflens.original.image.tag import tags

    words = [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]
    image = of_code(code, 1, tag=tags(words)[0])
    swapped = of_code(code.replace((24822).to_bytes(4, "little"), (24821).to_bytes(4, "little")), 1, tag=image.tag)

    for one in (image, swapped):
        original = recover(one, live_kernel())
        assert original.grade == "exact"
        assert original.reason.endswith("the tag does not cover which maps, and which offsets, stand at slots 1, 3 of the image")


def test_an_altered_image_is_told_with_its_slot(images):
    image = images["array look-up"]
    at = next(slot for slot, insn in enumerate(image.insns) if insn.code == 0x07 and insn.dst == 1)  # r1 += offset of the values
    words = list(image.words)
    words[at] ^= 1 << 37
    original = recover(elsewhere(image, words), live_kernel())

    assert original.grade == "exact"
    assert f"the original is exact, the image was altered at slot {at}" in original.reason


def test_maps_of_a_live_program_are_those_of_the_kernel(images):
    image = images["map"]
    assert "does not cover" not in recover(image, live_kernel(), reload=False).reason
    assert "does not cover" in recover(replace(image, live=False), live_kernel()).reason

"""Is the image what the kernel makes of the original? What the tag does not cover, as far as known rules tell.

    r1 += 312; r0 = *(u32*)(r2+0) ...    call map_lookup_elem: the tag says nothing of 312, the kernel's types do
    r1 = map[id:7]                       the tag says nothing of 7, and nothing else does: `uncovered`

A rewrite has numbers of the kernel's own code in it, which the original does not have: each is compared with what the kernel's types or
symbols give for it, or with the same number elsewhere in the image. References between functions stand twice in an image and must agree.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterator, Mapping
from functools import cache

from bpflens.btf.fields import member_offset
from bpflens.errors import BpflensError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.lean import NamedTuple
from bpflens.original.image.image import Image
from bpflens.original.invert.reconstruction import Layout, code_of
from bpflens.original.invert.segment import PROLOGUE
from bpflens.original.rewrites.calls import ALLOCATION
from bpflens.original.rewrites.kernel_protocol import Kernel
from bpflens.original.rewrites.template import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("ImageCheck", "check_image")

_MAP_REFERENCES = tuple(op.LD_IMM64 | source << 12 for source in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE))
_WIDTH, _LOW = 0xFFFF, 0xFFFFFFFF
_ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.ARRAY_OF_MAPS)
_IN_ARENA = ("address in the arena", "atomic that may fault")
# Numbers that are one and the same wherever an image has them
_SAME_EVERYWHERE = frozenset(("ref", "aux", "cpu_number", "current", "address", "address_hi", "pull", "snapshot"))


class ImageCheck(NamedTuple):
    """`altered`: slots that are not what the kernel makes of the original. `maps`: slots that refer to maps: which ones, and offsets into
    their values, nothing tells. `unchecked`: slots with other numbers that too little was known of to compare them exactly.
    """

    altered: tuple[int, ...] = ()
    maps: tuple[int, ...] = ()
    unchecked: tuple[int, ...] = ()


class Verdict(enum.Enum):
    """What is known of a number."""

    RIGHT = enum.auto()
    WRONG = enum.auto()
    UNKNOWN = enum.auto()


def check_image(image: Image, layout: Layout, kernel: Kernel, btf: Btf | None) -> ImageCheck:
    """Compare what the tag does not cover. `btf`: the types of the kernel that made the image, where they are known."""
    altered = {*_references(image), *_odd_words(image)}
    unchecked: set[int] = set()
    maps = {slot for slot in _wide_and_calls(image) if image.words[slot] & 0xF0FF in _MAP_REFERENCES}
    seen: dict[str, int] = {}  # number -> its value where it was met first
    for slot, _, group in layout.groups:
        if group.rewrite in _IN_ARENA:
            known = [known.type for known in image.maps.values()]
            (altered if known and MapType.ARENA not in known else maps if group.length == 2 else unchecked).add(slot)
        if group.rewrite.startswith(ALLOCATION):
            unchecked.add(slot)  # kernels have had several values, and their types do not tell which
        numbers = dict(group.loose)
        for name, value in group.loose:
            found = _judge(name, value, numbers, group, image, kernel, btf)
            if found is Verdict.UNKNOWN and name in _SAME_EVERYWHERE and seen.setdefault(name, value) != value:
                found = Verdict.WRONG
            if found is not Verdict.RIGHT:
                (altered if found is Verdict.WRONG else unchecked).add(slot)
    return ImageCheck(tuple(sorted(altered)), tuple(sorted(maps)), tuple(sorted(unchecked - altered)))


def _references(image: Image) -> Iterator[int]:
    """Calls and addresses of functions whose two halves disagree: the distance, and the number of the function."""
    number = {start: index for index, start in enumerate(image.functions)}
    for slot in _wide_and_calls(image):
        insn, target = image.insns[slot], image.targets[slot]
        if target not in number:
            continue
        if insn.code == op.CALL_CODE and insn.src == op.PSEUDO_CALL:
            if insn.imm != number[target] or insn.off & _WIDTH != target - slot - 1 & _WIDTH:
                yield slot
        elif insn.code == op.LD_IMM64 and insn.src == op.PSEUDO_FUNC and image.words[slot + 1] != number[target] << 32:
            yield slot


def _odd_words(image: Image) -> Iterator[int]:
    """Calls and 64-bit constants with something in the fields that they do not use."""
    for slot in _wide_and_calls(image):
        insn = image.insns[slot]
        if insn.code == op.CALL_CODE and (insn.dst or insn.src > op.PSEUDO_KFUNC_CALL or (insn.src == 0 and insn.off)):
            yield slot
        if insn.code == op.LD_IMM64 and (insn.off or image.words[slot + 1] & _LOW):
            yield slot


def _wide_and_calls(image: Image) -> Iterator[int]:
    """Slots of calls and of 64-bit constants."""
    opcodes = code_of(array("Q", image.words))[::8]
    for code, end in ((op.CALL_CODE, len(image)), (op.LD_IMM64, len(image) - 1)):
        slot = opcodes.find(code)
        while 0 <= slot < end:
            yield slot
            slot = opcodes.find(code, slot + 1)


def _judge(
    name: str, value: int, numbers: Mapping[str, int], group: Group, image: Image, kernel: Kernel, btf: Btf | None
) -> Verdict:
    """A number of a rewrite, by what is known of it."""
    rewrite = group.rewrite
    if rewrite == PROLOGUE:
        return _judge_prologue(name, value, image, kernel, btf)
    if name == "depth":
        return _is(value == (numbers["slot"] ^ 0x8000) - 0x8000 & _LOW)
    if rewrite == "may_goto" or rewrite == "inlined bpf_loop":
        return Verdict.RIGHT  # targets of jumps and calls, slots of the frame: the layout rests on them
    if "(array" in rewrite or "(percpu_array" in rewrite:
        return _judge_array(name, value, numbers, image, btf)
    offsets = _offsets(btf) if btf is not None else {}
    if "_hash" in rewrite or "(hash" in rewrite:
        if name == "ref":
            return _is(value == offsets["ref"]) if "ref" in offsets else Verdict.UNKNOWN
        if "key" in offsets and (value < offsets["key"] or (value - offsets["key"]) % 8):
            return Verdict.WRONG
        sizes = {(known.key_size + 7) // 8 * 8 for known in image.maps.values()}
        return _is(value - offsets["key"] in sizes) if "key" in offsets and sizes else Verdict.UNKNOWN
    if "(xskmap" in rewrite and name == "value" and "xskmap" in offsets:
        return _is(value == offsets["xskmap"])
    return Verdict.UNKNOWN


def _judge_prologue(name: str, value: int, image: Image, kernel: Kernel, btf: Btf | None) -> Verdict:
    if name == "drop":
        return _is(value == (0 if image.prog_type == ProgType.SK_SKB else 2))  # SK_DROP, TC_ACT_SHOT, BPF_DROP
    if name == "mask":
        return _is(value == 1)
    if name == "pull":
        wanted = kernel.imm_of("sk_skb_pull_data" if image.prog_type == ProgType.SK_SKB else "bpf_skb_pull_data")
        return _is(value == wanted & _LOW) if wanted is not None else Verdict.UNKNOWN
    offsets = _offsets(btf) if btf is not None else {}
    return _is(value == offsets["cloned"]) if name == "cloned" and "cloned" in offsets else Verdict.UNKNOWN


def _judge_array(name: str, value: int, numbers: Mapping[str, int], image: Image, btf: Btf | None) -> Verdict:
    """Look-ups in arrays: where the values begin, how many and how long they are (array_map_gen_lookup)."""
    if name == "value":
        offsets = _offsets(btf) if btf is not None else {}
        return _is(value == offsets["value"]) if "value" in offsets else Verdict.UNKNOWN
    if name == "mask":
        return _is(value == (1 << (numbers["max"] - 1).bit_length()) - 1)
    if numbers.get("shift", 0) > 31:
        return _is(name == "max")
    size = 1 << numbers["shift"] if "shift" in numbers else numbers["factor"]
    if size % 8 or ("shift" in numbers) != (size & size - 1 == 0):
        return _is(name == "max")
    arrays = [known for known in image.maps.values() if known.type in _ARRAYS]
    if not arrays:
        return Verdict.UNKNOWN
    sizes = {(known.max_entries, 8 if known.type != MapType.ARRAY else (known.value_size + 7) // 8 * 8) for known in arrays}
    return _is((numbers["max"], size) in sizes)


def _is(right: bool) -> Verdict:
    return Verdict.RIGHT if right else Verdict.WRONG


@cache
def _offsets(btf: Btf) -> Mapping[str, int]:
    """Offsets in the kernel's structures that rewrites hold, as far as its types have them."""
    wanted = {
        "value": (("bpf_array", "value"),), "xskmap": (("xsk_map", "xsk_map"),), "key": (("htab_elem", "key"),),
        "ref": (("htab_elem", "lru_node"), ("bpf_lru_node", "ref")), "cloned": (("sk_buff", "__cloned_offset"),),
    }  # fmt: skip
    out = {}
    for name, chain in wanted.items():
        try:
            out[name] = sum(member_offset(btf, struct, member) for struct, member in chain)
        except BpflensError:
            continue
    return out

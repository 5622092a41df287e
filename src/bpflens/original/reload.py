"""Proof by reload: the kernel rewrites a reconstruction to the identical image, so the two programs are equivalent.

The reconstruction is loaded with the same maps (by id), BTF, function info, and one line_info record per instruction (the "dye"): the
kernel hands the records back with rewritten offsets and so reports where each instruction went. Nothing is attached, everything is
closed again (kernel/programs/load_copy.py). Only the addresses that the kernel gives the program itself (prog->aux as hidden argument of
timers and work queues) may differ, and only in the slots where the reconstruction has such a call.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence

from bpflens.errors import BpflensError, KernelError
from bpflens.isa.extended import opcodes as op
from bpflens.kernel.programs.load_attributes import F_SLEEPABLE, Attributes
from bpflens.lean import frozen
from bpflens.original.image.image import Image
from bpflens.original.invert.opcode_readings import PROGRAM_ARGUMENT
from bpflens.original.invert.reconstruction import Layout
from bpflens.original.kernels.attach_types import ATTACH_TYPES, NONE
from bpflens.original.records import original_funcs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.programs.load_copy import Copy
    from bpflens.kernel.programs.prog_info import ProgDump

__all__ = ("Reloaded", "candidates", "reload")

_COLUMN = 0x3FFFFF  # line_col has 22 bits for the line: the number of the instruction


@frozen
class Reloaded:
    """`identical`: the image is the same. `confirmed`: every instruction went where the reconstruction says (None: not asked, the program
    has no BTF). `tag`: of the program that was loaded. `reason`: why it is not identical. `differs_at`: the first slot of the image that
    differs; `refused_at`: the instruction of the reconstruction at which the verifier stopped. `attributes`: with which it was loaded.
    `went`: instruction -> slot of the image, as the kernel reports it; instructions that were removed are missing (None without BTF).
    """

    identical: bool
    reason: str = ""
    tag: str = ""
    verified_insns: int | None = None
    confirmed: bool | None = None
    attributes: Attributes | None = None
    went: Mapping[int, int] | None = None
    differs_at: int | None = None
    refused_at: int | None = None


def candidates(image: Image) -> Iterator[Attributes]:
    """Load attributes to try where the program's own can't be read."""
    for attach in ATTACH_TYPES.get(image.prog_type, (NONE,)):
        for flags in (0, F_SLEEPABLE):
            yield Attributes(attach, flags, image.attach_btf_id)


def reload(
    image: Image, layout: Layout, attributes: Sequence[Attributes], func_info: Sequence[tuple[int, int]] | None = None
) -> Reloaded:
    """Load the reconstruction with each of `attributes` until one gives the identical image. `func_info`: of the reconstruction, where it
    is not the image's own.
    """
    from bpflens.kernel.programs.load_copy import Copy, Like

    if image.calls_hidden:  # two programs that call different functions have one image then
        return Reloaded(False, "loaded again it could not be compared, for calls are hidden")
    like = Like(image.prog_type, image.gpl, image.ifindex, image.btf_id, image.attach_btf_id, image.attach_btf_obj_id)
    best = Reloaded(False, "no attributes to load it with are known")
    try:
        funcs = original_funcs(image, layout) if func_info is None else func_info
        with Copy(layout.words, like, funcs, _dye(layout)) as copy:
            for wanted in attributes:
                result = _loaded(copy, image, layout, wanted)
                if result.identical:
                    return result
                if result.tag or not best.tag:  # a copy that differs tells more than one that is refused
                    best = result
    except (KernelError, BpflensError) as error:
        return Reloaded(False, f"cannot be loaded again: {error}")
    return best


def _loaded(copy: Copy, image: Image, layout: Layout, attributes: Attributes) -> Reloaded:
    """The copy with these attributes, compared with the image."""
    from bpflens.original.image.blinding import plain_dump

    try:
        dump = copy.dump(attributes)
    except KernelError as error:
        return Reloaded(False, f"the kernel refuses it: {error.reason}", attributes=attributes, refused_at=_stopped_at(error.log))
    dump, blinded = plain_dump(dump)
    slot, difference = _difference(image, layout, dump, blinded)
    went = _where(dump.line_info) if image.btf_id and not difference else None
    confirmed = _confirmed(layout, went) if went is not None and layout.starts else None
    return Reloaded(not difference, difference, dump.info.tag, dump.info.verified_insns, confirmed, attributes, went, slot)


def _stopped_at(log: str) -> int | None:
    """The last instruction that a log of the verifier names: the one that it refused."""
    numbers = [line.partition(": (")[0] for line in log.splitlines() if ": (" in line]
    return next((int(number) for number in reversed(numbers) if number.isdecimal()), None)


def _dye(layout: Layout) -> bytes:
    """One record per instruction: its number in the line column, which the kernel carries along without looking at it."""
    records = []
    wide = False
    for index, word in enumerate(layout.words):
        if not wide:
            records.append(struct.pack("=IIII", index, 0, 0, (index & _COLUMN) << 10 | 1))
        wide = word & 0xFF == op.LD_IMM64 and not wide
    return b"".join(records)


def _where(line_info: Sequence[tuple[int, int, int, int]]) -> dict[int, int]:
    """Instruction -> slot; a record of removed code that the kernel gave to the next instruction is not counted."""
    by_slot = {off: line_col >> 10 for off, _, _, line_col in line_info}
    return {index: off for off, index in by_slot.items()}


def _confirmed(layout: Layout, went: Mapping[int, int]) -> bool:
    """Did every instruction go to the slot where its group starts?"""
    empty = {slot for slot, _, group in layout.groups if not group.items}
    for slot, start in enumerate(layout.starts[:-1]):
        if start >= 0 and slot not in empty and went.get(start & _COLUMN, slot) != slot:
            return False
    return True


def _difference(image: Image, layout: Layout, dump: ProgDump, blinded: bool) -> tuple[int | None, str]:
    """(first slot where the new image differs from the old one, the difference in words); (None, "") where it does not. Where constants
    were blinded in one of them, ways to set a register to zero are not told apart.
    """
    from bpflens.isa.extended.insn import words
    from bpflens.original.image.blinding import canonical_zeros

    new, old = words(dump.xlated), array("Q", image.words)
    if blinded or image.blinded:
        new, old = canonical_zeros(new), canonical_zeros(old)
    if new == old:
        return None, ""
    hidden = {slot + half for slot, _, group in layout.groups if group.rewrite == PROGRAM_ARGUMENT for half in (0, 1)}
    first = next(
        (slot for slot, (a, b) in enumerate(zip(old, new, strict=False)) if a != b and not (slot in hidden and (a ^ b) & 0xFFFFFFFF == 0)),
        None,
    )
    if len(new) != len(old):
        return min(len(new), len(old)) if first is None else first, f"loaded again it has {len(new)} slots, the program {len(old)}"
    return (None, "") if first is None else (first, f"loaded again it differs at slot {first} of {len(old)}")

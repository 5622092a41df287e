"""Proof by reload: the kernel rewrites a reconstruction to the identical image, so the two programs are equivalent.

The reconstruction is loaded with the same maps (by id), BTF, function info, and one line_info record per instruction (the "dye"): the
kernel hands the records back with rewritten offsets and so reports where each instruction went. Nothing is attached, everything is
closed again. Only the addresses that the kernel gives the program itself (prog->aux as hidden argument of timers and work queues) may
differ, and only in the slots where the reconstruction has such a call.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bpflens.errors import BpflensError, KernelError
from bpflens.isa.extended import opcodes as op
from bpflens.kernel.load_attributes import F_SLEEPABLE, Attributes
from bpflens.kernel.sys.bpf import close, cmd, fd_by_id
from bpflens.original.image.image import Image
from bpflens.original.invert.reconstruction import Layout

__all__ = ("Reloaded", "candidates", "original_funcs", "original_lines", "reload")

HIDDEN_ARGUMENT = "program as hidden argument"

# Expected attach types that a program of a type may have, where they can't be read (enum bpf_attach_type, v6.18).
_ATTACH_TYPES = {
    18: (8, 9, 10, 11, 14, 15, 19, 20, 29, 30, 31, 32, 49, 50, 51, 52, 53), 8: (0, 1), 9: (2, 34, 12, 13), 14: (0, 4, 5, 38), 25: (21, 22),
    6: (0, 37, 33, 35), 13: (3,), 23: (18,), 15: (6,), 16: (7,), 30: (36,), 21: (39, 40), 22: (17,), 26: (23, 28, 24, 25, 26, 57),
    2: (0, 42, 48, 56), 32: (45,), 20: (16,), 29: (27, 43), 27: tuple(range(64)), 3: (0, 46, 47, 54, 55),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reloaded:
    """`identical`: the image is the same. `confirmed`: every instruction went where the reconstruction says (None: not asked, the program
    has no BTF). `tag`: of the program that was loaded. `reason`: why it is not identical. `attributes`: with which it was loaded. `went`:
    instruction -> slot of the image, as the kernel reports it; instructions that were removed are missing (None without BTF).
    """

    identical: bool
    reason: str = ""
    tag: str = ""
    verified_insns: int | None = None
    confirmed: bool | None = None
    attributes: Attributes | None = None
    went: Mapping[int, int] | None = None


def candidates(image: Image) -> Iterator[Attributes]:
    """Load attributes to try where the program's own can't be read."""
    for attach in _ATTACH_TYPES.get(image.prog_type, (0,)):
        for flags in (0, F_SLEEPABLE):
            yield Attributes(attach, flags, image.attach_btf_id)


def reload(
    image: Image, layout: Layout, attributes: Sequence[Attributes], func_info: Sequence[tuple[int, int]] | None = None
) -> Reloaded:
    """Load the reconstruction with each of `attributes` until one gives the identical image. `func_info`: of the reconstruction, where it
    is not the image's own.
    """
    from bpflens.kernel.load import load_program
    from bpflens.kernel.prog_info import prog_dump
    from bpflens.original.image.blinding import plain_dump

    if image.calls_hidden:  # two programs that call different functions have one image then
        return Reloaded(False, "loaded again it could not be compared, for calls are hidden")
    fds: list[int] = []
    best = Reloaded(False, "no attributes to load it with are known")
    try:
        try:
            code = _with_descriptors(layout, fds)
            options = _options(image, layout, fds, func_info)
        except (KernelError, BpflensError) as error:
            return Reloaded(False, f"cannot be loaded again: {error}")
        for wanted in attributes:
            try:
                target = _target(image, wanted, fds)
                fd = load_program(
                    code,
                    image.prog_type,
                    license="GPL" if image.gpl else "Proprietary",
                    expected_attach_type=wanted.expected_attach_type,
                    flags=wanted.flags,
                    attach_btf_id=image.attach_btf_id,
                    attach_fd=target,
                    ifindex=image.ifindex,
                    **options,  # type: ignore[arg-type]
                )
            except KernelError as error:
                if not best.tag:
                    best = Reloaded(False, f"the kernel refuses it: {error.reason}", attributes=wanted)
                continue
            try:
                dump = prog_dump(fd)
            finally:
                close(fd)
            dump, blinded = plain_dump(dump)
            difference = _difference(image, layout, dump.xlated, blinded)
            went = _where(layout, dump.line_info) if options.get("line_info") and not difference else None
            confirmed = _confirmed(layout, went) if went is not None and layout.starts else None
            result = Reloaded(not difference, difference, dump.info.tag, dump.info.verified_insns, confirmed, wanted, went)
            if result.identical:
                return result
            best = result
    finally:
        close(*fds)
    return best


def original_funcs(image: Image, layout: Layout) -> tuple[tuple[int, int], ...]:
    """func_info in slots of the reconstruction: (insn_off, type_id)."""
    return tuple((layout.starts[off], type_id) for off, type_id in image.func_info if off < len(layout.starts) and layout.starts[off] >= 0)


def original_lines(image: Image, layout: Layout) -> tuple[tuple[int, int, int, int], ...]:
    """line_info in slots of the reconstruction; records of removed code are gone, those that fell on one instruction are one."""
    out: list[tuple[int, int, int, int]] = []
    for off, *rest in image.line_info:
        at = layout.starts[off] if off < len(layout.starts) else -1
        if at >= 0 and (not out or at > out[-1][0]):
            out.append((at, rest[0], rest[1], rest[2]))
    return tuple(out)


def _with_descriptors(layout: Layout, fds: list[int]) -> bytes:
    """The reconstruction with descriptors in place of map ids."""
    words = array("Q", layout.words)
    by_id: dict[int, int] = {}
    for index, word in enumerate(words):
        if word & 0xFF == op.LD_IMM64 and word >> 12 & 0xF in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE):
            id = word >> 32
            if id not in by_id:
                by_id[id] = fd_by_id(cmd.MAP_GET_FD_BY_ID, id, f"map:{id}")
                fds.append(by_id[id])
            words[index] = word & 0xFFFFFFFF | by_id[id] << 32
    return Layout(words, [], ()).code()


def _options(image: Image, layout: Layout, fds: list[int], func_info: Sequence[tuple[int, int]] | None) -> dict[str, object]:
    """BTF, func_info, one line_info record per instruction, and the descriptors of module BTF that kfunc calls index."""
    options: dict[str, object] = {}
    if image.btf_id:
        btf = fd_by_id(cmd.BTF_GET_FD_BY_ID, image.btf_id, f"BTF {image.btf_id}")
        fds.append(btf)
        options["btf_fd"] = btf
        options["func_info"] = original_funcs(image, layout) if func_info is None else tuple(func_info)
        options["line_info"] = _dye(layout)
    array_of_fds = _module_fds(layout, fds)
    if array_of_fds:
        options["fd_array"] = array_of_fds
    return options


def _dye(layout: Layout) -> bytes:
    """One record per instruction: its number in the line column, which the kernel carries along without looking at it."""
    records = []
    wide = False
    for index, word in enumerate(layout.words):
        if not wide:
            records.append(struct.pack("=IIII", index, 0, 0, (index & 0x3FFFFF) << 10 | 1))
        wide = word & 0xFF == op.LD_IMM64 and not wide
    return b"".join(records)


def _where(layout: Layout, line_info: Sequence[tuple[int, int, int, int]]) -> dict[int, int]:
    """Instruction -> slot; a record of removed code that the kernel gave to the next instruction is not counted."""
    went: dict[int, int] = {}
    by_slot: dict[int, int] = {}
    for off, _, _, line_col in line_info:
        by_slot[off] = line_col >> 10
    for off, index in by_slot.items():
        went[index] = off
    return went


def _confirmed(layout: Layout, went: Mapping[int, int]) -> bool:
    """Did every instruction go to the slot where its group starts?"""
    empty = {slot for slot, _, group in layout.groups if not group.items}
    for slot, start in enumerate(layout.starts[:-1]):
        if start >= 0 and slot not in empty and went.get(start & 0x3FFFFF, slot) != slot:
            return False
    return True


def _module_fds(layout: Layout, fds: list[int]) -> list[int]:
    """fd_array for kfuncs of modules: their calls have an index into it in `off`."""
    indexes: dict[int, int] = {}
    for word in layout.words:
        if word & 0xFF == op.CALL_CODE and word >> 12 & 0xF == op.PSEUDO_KFUNC_CALL and word >> 16 & 0xFFFF:
            indexes[word >> 16 & 0xFFFF] = word >> 32
    if not indexes:
        return []
    from bpflens.kernel.btf import btf_ids, btf_info

    modules = [id for id in btf_ids() if (info := btf_info(id)).kernel and info.name != "vmlinux"]
    out = [0] * (max(indexes) + 1)
    for index, type_id in indexes.items():
        for id in modules:
            if _has_func(id, type_id):
                out[index] = fd_by_id(cmd.BTF_GET_FD_BY_ID, id, f"BTF {id}")
                fds.append(out[index])
                break
    return out


def _has_func(btf_id: int, type_id: int) -> bool:
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import btf_by_id

    btf = btf_by_id(btf_id)
    return btf.first_id <= type_id <= len(btf.types) and btf.kind(type_id) == Kind.FUNC


def _target(image: Image, attributes: Attributes, fds: list[int]) -> int:
    """attach_prog_fd or attach_btf_obj_fd: the program that was attached to, or the module whose BTF has the function."""
    if attributes.target_prog_id:
        fd = fd_by_id(cmd.PROG_GET_FD_BY_ID, attributes.target_prog_id, f"id:{attributes.target_prog_id}")
        fds.append(fd)
        return fd
    if not image.attach_btf_obj_id:
        return 0
    from bpflens.kernel.btf import btf_info

    info = btf_info(image.attach_btf_obj_id)
    if info.kernel and info.name == "vmlinux":
        return 0
    fd = fd_by_id(cmd.BTF_GET_FD_BY_ID, image.attach_btf_obj_id, f"BTF {image.attach_btf_obj_id}")
    fds.append(fd)
    return fd


def _difference(image: Image, layout: Layout, xlated: bytes, blinded: bool) -> str:
    """Where the new image differs from the old one; "" where it does not. Where constants were blinded in one of them, ways to set a
    register to zero are not told apart.
    """
    from bpflens.isa.extended.insn import words
    from bpflens.original.image.blinding import canonical_zeros

    new = words(xlated)
    if len(new) != len(image):
        return f"loaded again it has {len(new)} slots, the program {len(image)}"
    old = array("Q", image.words)
    if blinded or image.blinded:
        new, old = canonical_zeros(new), canonical_zeros(old)
    if new == old:
        return ""
    hidden = {slot + half for slot, _, group in layout.groups if group.rewrite == HIDDEN_ARGUMENT for half in (0, 1)}
    for slot, (a, b) in enumerate(zip(old, new, strict=True)):
        if a != b and not (slot in hidden and (a ^ b) & 0xFFFFFFFF == 0):
            return f"loaded again it differs at slot {slot} of {len(image)}"
    return ""

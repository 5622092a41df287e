"""The capability: a program of the kernel -> the program as it was loaded, with the proof.

    image ─► segment ─► search by tag ─► exact
                             └─► reload ─► equivalent, else unproven; and what is known of removed code

Each step is a file of this package. What costs time is only done where the step before did not settle the matter.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bpflens.errors import BpflensError, KernelError
from bpflens.isa.extended.opcodes import CALL_CODE
from bpflens.original.image.image import Image, of_dump
from bpflens.original.image.tag import ALGORITHMS, tag, tags
from bpflens.original.invert.opcode_readings import BLINDED_ZERO
from bpflens.original.invert.reconstruction import Layout, Misfit
from bpflens.original.invert.segment import Kernel, Options, segment
from bpflens.original.invert.tag_search import Budget, Found, search
from bpflens.original.invert.traces import removed
from bpflens.original.reload import Reloaded, candidates, original_funcs, original_lines
from bpflens.original.reload import reload as load_again
from bpflens.original.result import Grade, Original

if TYPE_CHECKING:
    from bpflens.btf.btf import Btf
    from bpflens.kernel.load_attributes import Attributes

__all__ = ("live_image", "recover", "recover_id")

_CALL_MASK = 0xFFFFFFFF0000F0FF  # code, src and imm: a helper call whose imm is 0
_TRAP = 0xFFFF0005  # goto -1: sanitize_dead_code()
_FEW_INSNS = 8  # so many verified instructions more: perhaps a jump over nothing was removed, not a branch
_LOW = 0xFFFFFFFF
_ZEROS = frozenset(0xAF | register << 8 | register << 12 for register in range(10))  # rD ^= rD
_CAST = 0x10BF  # r0 = r1, the low half of its word


def recover_id(prog_id: int, budget: Budget | None = None, reload: bool = True) -> Original:
    """The original of a live program; `reload` allows proof by loading the reconstruction.

    NotFound where it is gone, NotPermitted where its instructions may not be read.
    """
    from bpflens.original.kernels.running import live_kernel

    kernel = live_kernel()
    try:
        return recover(live_image(prog_id), kernel, budget, live=reload)
    finally:
        kernel.save()


def live_image(prog_id: int) -> Image:
    """The image of a live program."""
    from bpflens.errors import NotPermitted
    from bpflens.kernel.prog_info import open_prog, prog_dump

    with open_prog(prog_id) as fd:
        dump = prog_dump(fd, f"id:{prog_id}", tags=True)
    if "xlated" in dump.hidden:
        why = "constants are blinded and kernel addresses may not be seen" if dump.info.xlated_len else "needs CAP_BPF"
        raise NotPermitted(f"id:{prog_id}", f"the kernel does not show its instructions: {why}", 'run "bpflens doctor"')
    return of_dump(dump)


def recover(image: Image, kernel: Kernel, budget: Budget | None = None, live: bool = False) -> Original:
    """The original of an image. `live`: the program runs in this kernel, so that a reconstruction may be loaded beside it as proof."""
    with _collector_off():
        return _recover(image, kernel, budget or Budget(), live)


@contextmanager
def _collector_off() -> Iterator[None]:
    """Without cyclic garbage collection: it goes through all groups again and again, and none of them is garbage."""
    import gc

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _recover(image: Image, kernel: Kernel, budget: Budget, live: bool) -> Original:
    original = _attempt(image, kernel, budget, live)
    if original.grade is not Grade.EXACT and not image.blinded and any(word & _LOW in _ZEROS for word in image.words):
        blinded = _attempt(replace(image, blinded=True), kernel, budget, live)  # a program whose only constants are zeros does not show it
        if blinded.grade is Grade.EXACT or (original.grade is Grade.UNPROVEN and blinded.grade is not Grade.UNPROVEN):
            return blinded
    if original.grade is Grade.UNPROVEN and len(image.functions) > 1 and image.lines:
        # Blinding programs of several functions spares their image, but shifts their line_info, which it has no business to: the records
        # belong to all functions and each that is blinded moves those of the next (bpf_adj_linfo, kernel/bpf/core.c).
        bare = _attempt(replace(image, lines=frozenset(), line_info=()), kernel, budget, live)
        if bare.grade is not Grade.UNPROVEN:
            return bare
    return original


def _attempt(image: Image, kernel: Kernel, budget: Budget, live: bool) -> Original:
    found, unknown, misfit = None, {}, ""
    for options in _options(image):
        segmentation = segment(image, kernel, options)
        unknown = segmentation.unknown
        try:
            attempt = search(image, segmentation, budget, kernel.algorithm())
        except Misfit as error:
            misfit = misfit or str(error)
            continue
        if found is None or attempt.matched:
            found = attempt
        if attempt.matched:
            break
    if found is None:
        return Original(image, Grade.UNPROVEN, f"no reading of the image makes a program: {misfit}", b"", None, unknown=unknown)
    if not found.matched and not unknown:
        found = _with_spills(image, found, kernel, budget)
    if found.matched:
        return _exact(image, found, budget)
    return _inexact(image, found, kernel, budget, unknown, live)


def _with_spills(image: Image, found: Found, kernel: Kernel, budget: Budget) -> Found:
    """With the spills around inlined calls that the kernel removed, where that has the tag."""
    for layout in _spilled(found.layout, kernel):
        budget.spent += 1
        for name, got in zip(ALGORITHMS, tags(layout.words), strict=True):
            if got == image.tag:
                return Found(layout, layout.words, True, name)
    return found


def _spilled(layout: Layout, kernel: Kernel) -> Iterator[Layout]:
    """The layout with spills and fills around the inlined calls that registers outlive: without them the kernel would refuse it."""
    from bpflens.original.invert.put_back import fastcall_layouts

    kfuncs = frozenset(id for name in ("bpf_cast_to_kern_ctx", "bpf_rdonly_cast") if (id := kernel.kfunc_id(name)) is not None)
    yield from fastcall_layouts(layout, kfuncs)


def _with_nop(image: Image, found: Found, budget: Budget, algorithm: str) -> Found:
    """With one jump over nothing that the kernel removed, where that has the tag."""
    from bpflens.original.invert.put_back import nop_layout, nop_layouts

    names = (algorithm,) if algorithm else ALGORITHMS
    for words, layout in nop_layouts(found.layout):
        for name in names:
            if tag(words, name) == image.tag:
                whole = nop_layout(layout, words)
                return Found(whole, words, True, name)
        if not budget.left():
            break
    return found


def _options(image: Image) -> list[Options]:
    """Whole-program readings, likeliest first."""
    options = [Options()]
    if any(word & 0xFFFFFFFF == _CAST for word in image.words):
        options.append(Options(casts=True))
    if image.blinded:
        options += [replace(one, narrow_zeros=True) for one in options]
    return options


def _exact(image: Image, found: Found, budget: Budget) -> Original:
    layout = found.layout
    name = {"sha256": "SHA-256", "sha1": "SHA-1"}[found.algorithm]
    return Original(
        image,
        Grade.EXACT,
        f"its tag ({name}) is {image.tag}, the program's",
        Layout(found.words, [], ()).code(),
        layout,
        original_funcs(image, layout),
        original_lines(image, layout),
        found.algorithm,
        tags_tried=budget.spent,
    )


def _inexact(image: Image, found: Found, kernel: Kernel, budget: Budget, unknown: dict[int, str], live: bool) -> Original:
    layout = found.layout if not image.calls_hidden else _without_guesses(image, found.layout)
    proof: Reloaded | None = None
    attributes: Attributes | None = None
    btf = None
    complete = found.complete
    if live:
        proof = _prove(image, layout, unknown)
        if not proof.identical and not unknown:
            for spilled in _spilled(layout, kernel):
                again = _prove(image, spilled, unknown)
                if again.identical:
                    layout, proof, complete = spilled, again, False
                    break
        attributes = proof.attributes if proof.identical else None
        missing = (image.verified_insns or 0) - (proof.verified_insns or 0)
        if proof.identical and 0 < missing <= _FEW_INSNS:
            budget.tags += 2 * len(layout.words)
            with_nop = _with_nop(image, found, budget, kernel.algorithm())
            if with_nop.matched:
                return _exact(image, with_nop, budget)
        btf = _btf(image)
    traces = removed(image, layout, btf, proof.verified_insns if proof is not None and proof.identical else None)
    if proof is not None and proof.identical:
        grade, reason = Grade.EQUIVALENT, "loaded again with the same maps and types it becomes the identical image"
        if image.blinded:
            reason += " but for the blinding of constants"
        reason += f"; the tag differs: {_why(bool(traces) or complete)}"
        if image.blinded and any(group.rewrite == BLINDED_ZERO for _, _, group in layout.groups):
            reason += "; whether rN = 0 was wN = 0 is not known then"
    else:
        grade = Grade.UNPROVEN
        reason = _unproven(image, proof, unknown)
    return Original(
        image, grade, reason, layout.code(), layout, original_funcs(image, layout), original_lines(image, layout), "", attributes, proof,
        traces, tags_tried=budget.spent, unknown=unknown,
    )  # fmt: skip


def _without_guesses(image: Image, layout: Layout) -> Layout:
    """Hidden calls as what they are in the image: no reading of them has been proved."""
    words = array("Q", layout.words)
    guessed = {
        index for slot, index, group in layout.groups if not group.rewrite and image.words[slot] & _CALL_MASK == CALL_CODE
    }
    for index in guessed:
        words[index] = CALL_CODE
    return replace(layout, words=words)


def _prove(image: Image, layout: Layout, unknown: dict[int, str]) -> Reloaded:
    from bpflens.kernel.load_attributes import read_attributes

    if image.calls_hidden:
        return Reloaded(False)
    if unknown:
        return Reloaded(False, "it calls functions that have no name here")
    known = read_attributes(image.id) if image.id else None
    return load_again(image, layout, [known] if known is not None else list(candidates(image)))


def _why(certain: bool) -> str:
    if certain:
        return "code was removed when it was loaded"
    return "code was removed when it was loaded, without a trace, or it has an odder reading than those that were tried"


def _unproven(image: Image, proof: Reloaded | None, unknown: dict[int, str]) -> str:
    parts = []
    traps = image.words.count(_TRAP)
    if traps:
        parts.append(f"{traps} dead instructions are traps (it was loaded without privilege): what they were is lost")
    if image.calls_hidden:
        parts.append("the kernel hides call targets from this process (needs CAP_SYSLOG and CAP_PERFMON)")
    elif unknown:
        parts.append(f"{len(unknown)} call targets have no name")
    if not image.tag:
        parts.append("the dump has no tag")
    else:
        parts.append(f"no reading has the tag {image.tag}")
    if proof is not None and proof.reason:
        parts.append(proof.reason)
    return "; ".join(parts)


def _btf(image: Image) -> Btf | None:
    if not image.btf_id:
        return None
    from bpflens.kernel.btf import btf_by_id

    try:
        return btf_by_id(image.btf_id)
    except (KernelError, BpflensError):
        return None

"""From a case to the result: the grade that was established, the reason in words, and what is known of removed code."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from bpflens.errors import BpflensError
from bpflens.isa.extended.opcodes import CALL_CODE
from bpflens.original.attempts import Case, Claim
from bpflens.original.image.image import Image
from bpflens.original.image.image_check import check_image
from bpflens.original.invert.opcode_readings import BLINDED_ZERO
from bpflens.original.invert.reconstruction import Layout, code_of
from bpflens.original.records import original_funcs, original_lines
from bpflens.original.result import Grade, Original

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("HASH_NAMES", "verdict")

HASH_NAMES = {"sha256": "SHA-256", "sha1": "SHA-1"}
_CALL_MASK = 0xFFFFFFFF0000F0FF  # code, src and imm: a helper call whose imm is 0
_SHOWN = 12  # unsure instructions that the reason names
_TRAP = 0xFFFF0005  # goto -1: sanitize_dead_code()


def verdict(case: Case) -> Original:
    """The result of a case that was tried."""
    if case.claim is not None and case.claim.grade is Grade.EXACT:
        return _exact(case, case.claim)
    if case.first is None:
        reason = f"no reading of the image makes a program: {case.misfit}"
        return Original(case.image, Grade.UNPROVEN, reason, b"", None, unknown=case.unknown)
    if case.claim is not None and case.claim.grade is Grade.EQUIVALENT:
        return _equivalent(case, case.claim)
    return _unproven(case)


def _exact(case: Case, claim: Claim) -> Original:
    image, found = case.image, claim.found
    check = check_image(image, found.layout, case.kernel, None if image.live else case.kernel.types())
    reason = f"its tag ({HASH_NAMES[found.algorithm]}) is {image.tag}, the program's"
    if check.altered:
        reason += f"; the original is exact, the image was altered at {_slots(check.altered)}: the kernel does not make this of it"
    if check.maps and not image.live:
        reason += f"; the tag does not cover which maps, and which offsets, stand at {_slots(check.maps)} of the image"
    if check.unchecked and not image.live:
        reason += f"; what the kernel put into {_slots(check.unchecked)} of the image could not be checked"
    return Original(
        image,
        Grade.EXACT,
        reason,
        code_of(found.words),
        found.layout,
        original_funcs(image, found.layout),
        original_lines(image, found.layout),
        found.algorithm,
        tags_tried=case.tags,
        check=check,
    )


def _slots(slots: Sequence[int]) -> str:
    """ "slot 3", "slots 3, 7 and 9 others"."""
    shown = ", ".join(map(str, slots[:_SHOWN]))
    more = f" and {len(slots) - _SHOWN} others" if len(slots) > _SHOWN else ""
    return f"slot{'s' if len(slots) > 1 else ''} {shown}{more}"


def _equivalent(case: Case, claim: Claim) -> Original:
    from bpflens.original.invert.traces import removed

    image, layout, proof = case.image, claim.found.layout, claim.proof
    assert proof is not None
    traces = removed(image, layout, _btf(image), proof.verified_insns)
    reason = "loaded again with the same maps and types it becomes the identical image"
    if image.blinded:
        reason += " but for the blinding of constants"
    reason += "; the tag differs: code was removed when it was loaded"
    if not (traces or claim.found.complete):
        reason += ", without a trace, or it has an odder reading than those that were tried"
    if image.blinded and any(group.rewrite == BLINDED_ZERO for _, _, group in layout.groups):
        reason += "; whether rN = 0 was wN = 0 is not known then"
    return Original(
        image, Grade.EQUIVALENT, reason, layout.code(), layout, original_funcs(image, layout), original_lines(image, layout), "",
        proof.attributes, proof, traces, tags_tried=case.tags,
    )  # fmt: skip


def _unproven(case: Case) -> Original:
    from bpflens.original.invert.traces import removed

    assert case.first is not None
    image = case.image
    layout = case.first.layout if not image.calls_hidden else _without_guesses(image, case.first.layout)
    traces = removed(image, layout, _btf(image) if case.may_load else None)
    return Original(
        image, Grade.UNPROVEN, _what_is_missing(case), layout.code(), layout, original_funcs(image, layout),
        original_lines(image, layout), "", None, case.proof, traces, tags_tried=case.tags, unknown=case.unknown, unsure=case.unsure,
    )  # fmt: skip


def _without_guesses(image: Image, layout: Layout) -> Layout:
    """Hidden calls as what they are in the image: no reading of them has been proved."""
    words = array("Q", layout.words)
    for slot, index, group in layout.groups:
        if not group.rewrite and image.words[slot] & _CALL_MASK == CALL_CODE:
            words[index] = CALL_CODE
    return layout._replace(words=words)


def _what_is_missing(case: Case) -> str:
    image, parts = case.image, []
    traps = image.words.count(_TRAP)
    if traps:
        parts.append(f"{traps} dead instructions are traps (it was loaded without privilege): what they were is lost")
    if image.calls_hidden:
        parts.append("the kernel hides call targets from this process (needs CAP_SYSLOG and CAP_PERFMON)")
    elif case.unknown:
        parts.append(f"{len(case.unknown)} call targets have no name")
    parts.append(f"no reading has the tag {image.tag}" if image.tag else "the dump has no tag")
    if case.proof is not None and case.proof.reason:
        parts.append(case.proof.reason)
    if case.unsure:
        shown = ", ".join(map(str, case.unsure[:_SHOWN])) + (" and others" if len(case.unsure) > _SHOWN else "")
        parts.append(f"unsure are the instructions {shown}")
    return "; ".join(parts)


def _btf(image: Image) -> Btf | None:
    if not image.btf_id:
        return None
    from bpflens.kernel.btf import btf_by_id

    try:
        return btf_by_id(image.btf_id)
    except BpflensError:
        return None

"""Notes for a listing of an image: what each run of slots was before the verifier's rewriting.

    r3 = *(u64 *)(r6 +16)              skb->ifindex (2 insns)
    r3 = *(u32 *)(r3 +224)
    if r3 != 0x0 goto pc+2             division guard, added (4 insns)

By segmentation alone: the likeliest reading, not proved. Fields of kernel structures come from analysis/annotate.py.
"""

from __future__ import annotations

from bpflens.analysis.access_notes import annotate
from bpflens.errors import BpflensError
from bpflens.program import Program

__all__ = ("image_notes",)

_ADDED = ("guard", "barrier", "mask", "prologue", "extension", "counter")


def image_notes(program: Program) -> dict[int, list[str]]:
    """Notes by slot, for images of the running kernel and for code as loaded."""
    notes = annotate(program)
    if not program.xlated or program.origin.source != "kernel" or program.type is None:
        return notes
    from bpflens.original.image.image import of_program
    from bpflens.original.invert.segment import segment
    from bpflens.original.kernels.running import live_kernel

    kernel = live_kernel()
    image = of_program(program)
    try:
        result = segment(image, kernel)
    except BpflensError:
        return notes
    finally:
        kernel.save()
    slot = 0
    while slot < result.end:
        readings = result.readings[slot]
        if readings is None:
            slot += 1
            continue
        group = readings[0]
        if group.rewrite:
            text = group.rewrite
            if any(word in text for word in _ADDED):
                text += ", added"
            if group.length > 1:
                text += f" ({group.length} insns)"
            notes[slot] = [text, *(note for note in notes.get(slot, ()) if "->" not in group.rewrite)]
        slot += group.length
    return notes

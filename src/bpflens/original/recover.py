"""The capability: a loaded program, or a dump of one -> the program as it was loaded, with the proof.

    found = recover(12)                 # a program of this kernel by its id, a Program that a source read, or an Image
    found.grade, found.reason           # exact, equivalent, unproven; why
    found.code, found.origins           # the original instructions; which of them each slot of the image was made of

ATTEMPTS is the whole plan: what costs more is only tried where the attempts before it did not settle the matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bpflens.original import attempts
from bpflens.original.attempts import Case
from bpflens.original.image.image import Image, of_id, of_program
from bpflens.original.invert.tag_search import STEPS
from bpflens.original.result import Grade, Original
from bpflens.original.rewrites.kernel_protocol import Kernel
from bpflens.original.verdict import verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.program import Program

__all__ = ("recover",)

# What is tried on an image, in this order: (attempt, the grade below which it is worth while)
ATTEMPTS = (
    (attempts.readings_by_tag, Grade.EXACT),  # the likeliest reading, then others, until one has the tag
    (attempts.spills_by_tag, Grade.EXACT),  # with spills around inlined calls put back: the kernel removes them
    (attempts.first_reading_by_reload, Grade.EQUIVALENT),  # load it: the kernel makes the identical image of it, or says where not
    (attempts.spills_by_reload, Grade.EQUIVALENT),  # without them the kernel refuses a program whose registers outlive an inlined call
    (attempts.other_readings_by_reload, Grade.EQUIVALENT),  # where the image differs, or where the verifier stopped
    (attempts.jumps_over_nothing_by_tag, Grade.EXACT),  # the kernel removes them too, but counts them among the verified instructions
)
# What the image is taken for, in this order
IMAGES = (
    (attempts.as_it_is, Grade.EXACT),
    (attempts.as_if_blinded, Grade.EXACT),  # a program whose only constants are zeros does not show that it was blinded
    (attempts.without_line_info, Grade.EQUIVALENT),  # blinding programs of several functions shifts their line_info
)


def recover(what: int | Program | Image, kernel: Kernel | None = None, *, steps: int = STEPS, reload: bool = True) -> Original:
    """The original of a program of this kernel (by id), or of an image that was dumped elsewhere.

    `kernel`: what is known of the kernel that made the image, by default the running one. `steps`: what a search may cost (tag_search.py).
    `reload`: whether reconstructions may be loaded as proof, for a moment. NotFound where the program is gone, NotPermitted where its
    instructions may not be read.
    """
    image = _image(what)
    with _known(kernel) as known, _collector_off():
        return _recover(image, known, steps, reload)


def _recover(image: Image, kernel: Kernel, steps: int, reload: bool) -> Original:
    best: Case | None = None
    for taken_for, wanted in IMAGES:
        if best is not None and best.grade.rank >= wanted.rank:
            continue
        variant = taken_for(image)
        if variant is None:
            continue
        case = Case(variant, kernel, steps, reload and image.live)
        for attempt, worth in ATTEMPTS:
            if case.grade.rank < worth.rank:
                case.claim = attempt(case) or case.claim
        if best is None or case.grade.rank > best.grade.rank:
            best = case
    assert best is not None  # every image can be taken as it is
    return verdict(best)


def _image(what: int | Program | Image) -> Image:
    if isinstance(what, Image):
        return what
    if isinstance(what, int):
        return of_id(what)
    if what.id and what.origin.source == "kernel":
        return of_id(what.id)
    return of_program(what)


@contextmanager
def _known(kernel: Kernel | None) -> Iterator[Kernel]:
    """What is known of the kernel; of the running one, what was learnt is kept."""
    if kernel is not None:
        yield kernel
        return
    from bpflens.original.kernels.running import live_kernel

    live = live_kernel()
    try:
        yield live
    finally:
        live.save()


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

"""The attempts at a proof, in the order in which recover.py makes them: each takes a case and returns the claim that it proved, or None.

    by tag      the hash of a reconstruction is the program's tag: it is the program that was loaded
    by reload   the kernel makes the identical image of a reconstruction: it is equivalent to the program
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.lean import NamedTuple, replace
from bpflens.original.image.image import Image
from bpflens.original.image.tag import ALGORITHMS, tag, tags
from bpflens.original.invert.question import Options
from bpflens.original.invert.reconstruction import Layout, Misfit
from bpflens.original.invert.segment import Segmentation, segment
from bpflens.original.invert.tag_search import Budget, Found, search
from bpflens.original.result import Grade
from bpflens.original.rewrites.kernel_protocol import Kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.programs.load_attributes import Attributes
    from bpflens.original.reload import Reloaded

__all__ = ("Case", "Claim")

_LOW = 0xFFFFFFFF
_CAST = 0x10BF  # r0 = r1, the low half of its word
_ZEROS = frozenset(0xAF | register << 8 | register << 12 for register in range(10))  # rD ^= rD
_FEW_INSNS = 8  # so many verified instructions more: perhaps a jump over nothing was removed, not a branch
_MAX_LOADS = 64  # of one program, to find the readings of which the kernel makes the image


class Claim(NamedTuple):
    """What was established: `found` is the program (EXACT, by its tag), or equivalent to it (`proof`)."""

    grade: Grade
    found: Found
    proof: Reloaded | None = None


class Case:
    """An image at work. `first`: its likeliest reading; `segmentation` has the others, `choice` the one that was got to (slot -> index of
    the reading where it is not the likeliest). `proof`: what came of loading. `tags`: hashes made.
    """

    def __init__(self, image: Image, kernel: Kernel, steps: int, may_load: bool) -> None:
        self.image = image
        self.kernel = kernel
        self.steps = steps
        self.may_load = may_load
        self.claim: Claim | None = None
        self.first: Found | None = None
        self.segmentation: Segmentation | None = None
        self.proof: Reloaded | None = None
        self.misfit = ""
        self.tags = 0
        self.unsure: tuple[int, ...] = ()
        self._attributes: list[Attributes] = []

    @property
    def grade(self) -> Grade:
        """The grade so far."""
        return self.claim.grade if self.claim else Grade.UNPROVEN

    @property
    def unknown(self) -> dict[int, str]:
        """Calls without a name: slot -> what they call."""
        return self.segmentation.unknown if self.segmentation else {}

    def load(self, layout: Layout) -> Reloaded:
        """The reconstruction, loaded for a moment with the program's attributes, or with those that it may have."""
        from bpflens.kernel.programs.load_attributes import read_attributes
        from bpflens.original.reload import candidates, reload

        if not self._attributes:
            known = read_attributes(self.image.id)
            self._attributes = [known] if known is not None else list(candidates(self.image))
        return reload(self.image, layout, self._attributes)

    def loadable(self) -> Found | None:
        """The likeliest reading, where loading it can prove anything."""
        return self.first if self.may_load and not self.image.calls_hidden and not self.unknown else None


# --- what the image is taken for


def as_it_is(image: Image) -> Image | None:
    """The image itself."""
    return image


def as_if_blinded(image: Image) -> Image | None:
    """The image with its `rD ^= rD` as blinded zeros; None where it has none, or is known to be blinded."""
    suspect = not image.blinded and any(word & _LOW in _ZEROS for word in image.words)
    return replace(image, blinded=True) if suspect else None


def without_line_info(image: Image) -> Image | None:
    """The image without its line_info. Blinding programs of several functions spares their image, but shifts their records: these belong to
    all functions, and each that is blinded moves those of the next (bpf_adj_linfo, kernel/bpf/core.c, v6.18).
    """
    return replace(image, lines=frozenset(), line_info=()) if len(image.functions) > 1 and image.lines else None


# --- by tag


def readings_by_tag(case: Case) -> Claim | None:
    """The likeliest reading, and others by their cost."""
    for options in _options(case.image):
        segmentation = segment(case.image, case.kernel, options)
        budget = Budget(case.steps)
        try:
            found = search(case.image, segmentation, budget, case.kernel.algorithm())
        except Misfit as error:
            case.misfit = case.misfit or str(error)
            continue
        finally:
            case.tags += budget.tags
        if case.first is None or found.matched:
            case.first, case.segmentation = found, segmentation
        if found.matched:
            return Claim(Grade.EXACT, found)
    return None


def _options(image: Image) -> Iterator[Options]:
    """Whole-program readings, likeliest first."""
    yield Options()
    casts = any(word & _LOW == _CAST for word in image.words)
    if casts:
        yield Options(casts=True)
    if image.blinded:
        yield Options(narrow_zeros=True)
        if casts:
            yield Options(casts=True, narrow_zeros=True)


def spills_by_tag(case: Case) -> Claim | None:
    """With the spills around inlined calls that the kernel removed."""
    if case.first is None or case.unknown:
        return None
    for layout in _spilled(case):
        case.tags += 1
        for name, got in zip(ALGORITHMS, tags(layout.words), strict=True):
            if got == case.image.tag:
                return Claim(Grade.EXACT, Found(layout, layout.words, True, name))
    return None


def _spilled(case: Case) -> Iterator[Layout]:
    """The reconstruction with spills and fills around the inlined calls that registers outlive."""
    from bpflens.original.invert.put_back import fastcall_layouts

    if case.first is None:
        return
    names = ("bpf_cast_to_kern_ctx", "bpf_rdonly_cast")
    inlined = frozenset(id for name in names if (id := case.kernel.kfunc_id(name)) is not None)
    yield from fastcall_layouts(case.first.layout, inlined)


def jumps_over_nothing_by_tag(case: Case) -> Claim | None:
    """With one jump over nothing that the kernel removed: it walked a few instructions more than the reconstruction has."""
    from bpflens.original.invert.put_back import nop_layout, nop_layouts

    if case.claim is None or case.claim.proof is None:
        return None
    walked = case.image.verified_insns  # told since Linux aba64c7da983 ("bpf: Add verified_insns to bpf_prog_info and fdinfo"), v5.16
    if walked is not None and not 0 < walked - (case.claim.proof.verified_insns or 0) <= _FEW_INSNS:
        return None
    name = case.kernel.algorithm()
    names = (name,) if name else ALGORITHMS
    budget = Budget(case.steps)
    try:
        for words, layout in nop_layouts(case.claim.found.layout):
            for name in names:
                if not budget.hash(len(words)):
                    return None
                if tag(words, name) == case.image.tag:
                    whole = nop_layout(layout, words)
                    return Claim(Grade.EXACT, Found(whole, words, True, name))
        return None
    finally:
        case.tags += budget.tags


# --- by reload


def first_reading_by_reload(case: Case) -> Claim | None:
    """The likeliest reading."""
    found = case.loadable()
    if found is None:
        return None
    case.proof = case.load(found.layout)
    return Claim(Grade.EQUIVALENT, found, case.proof) if case.proof.identical else None


def spills_by_reload(case: Case) -> Claim | None:
    """With the spills around inlined calls that the kernel removed."""
    if case.loadable() is None:
        return None
    for layout in _spilled(case):
        proof = case.load(layout)
        if proof.identical:
            return Claim(Grade.EQUIVALENT, Found(layout, layout.words, False), proof)
    return None


def other_readings_by_reload(case: Case) -> Claim | None:
    """Other readings, in an order told by where the image of the reload differs, or where the verifier stopped (guided.py)."""
    from bpflens.original.guided import readings_where_it_differs, unsure_insns

    found = case.loadable()
    if found is None or case.segmentation is None or case.proof is None:
        return None
    guided = readings_where_it_differs(case.image, case.kernel, found.layout, case.proof, case.load)
    if guided is None:
        case.unsure = unsure_insns(case.segmentation, found.layout, case.proof)
        return None
    budget = Budget(case.steps)
    better = search(case.image, segment(case.image, case.kernel, guided.options), budget, case.kernel.algorithm())
    case.tags += budget.tags
    return Claim(Grade.EXACT, better) if better.matched else Claim(Grade.EQUIVALENT, better, guided.proof)

"""What a reading of a slot may depend on: the image, the kernel that made it, and options that concern the whole program."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bpflens.lean import NamedTuple, field, frozen
from bpflens.original.image.image import Image
from bpflens.original.rewrites.kernel_protocol import Kernel

__all__ = ("PLAIN", "Options", "Question")


class Options(NamedTuple):
    """Readings that concern the whole program: `casts`: `r0 = r1` of a context is bpf_cast_to_kern_ctx. `keep_last`: the two last slots
    are the program's own even if they look like the hidden exception handler. `narrow_zeros`: in a blinded image `r1 ^= r1` is `w1 = 0`.
    `picks`: slot -> index of the reading that is taken there; at these slots every kind of pointer may be the base of an access.
    """

    casts: bool = False
    keep_last: bool = False
    narrow_zeros: bool = False
    picks: Mapping[int, int] = MappingProxyType({})


PLAIN = Options()


@frozen
class Question:
    """The image that is read. `arenas`: (first address, end, map id) of those that it uses. `unknown` collects what has no name: slot ->
    "helper", "kfunc", or "hidden" where the kernel shows no addresses.
    """

    image: Image
    kernel: Kernel
    options: Options
    arenas: tuple[tuple[int, int, int], ...] = ()
    unknown: dict[int, str] = field(default_factory=dict)

"""An id that the kernel's list does not give, looked for among the program images in kernel memory: is there one all the same?"""

from __future__ import annotations

from bpflens.inventory.facts.context import Context
from bpflens.inventory.memory.judge import HIDDEN, Finds, Judged, judge
from bpflens.inventory.memory.open_reader import open_reader
from bpflens.inventory.memory.vmalloc import areas
from bpflens.kernel.programs.loaded import prog_heads

__all__ = ("hidden_image",)


def hidden_image(id: int) -> Judged | None:
    """The image with this id that no list has; None where there is none, or where kernel memory may not be read."""
    reader = open_reader(Context())
    if reader is None:
        return None
    try:
        before = prog_heads()
        found = areas(reader) or []
        images = judge(reader, found, {**before, **prog_heads()}, Finds(frozenset(), (), frozenset()))
    except OSError:
        return None
    finally:
        reader.close()
    return next((image for image in images if image.id == id and image.verdict == HIDDEN), None)

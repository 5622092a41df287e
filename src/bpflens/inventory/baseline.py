"""Images that an audit did not account for and somebody has looked at: kept in a file, so that the next audit tells what is new.

    bpflens ls --audit --baseline FILE     the first time FILE is written; later the images are compared with those in it

In one boot an image is the same if address, id, type, length and load time are. After another boot only types and lengths can be compared.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence

from bpflens.errors import InputError
from bpflens.inventory.memory.judge import Judged
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("SCHEMA", "Comparison", "compare")

SCHEMA = "audit-baseline/1"
_MOST_BYTES = 16 << 20
_FIELDS = ("address", "size", "id", "type", "insns", "load_time")


class Comparison(NamedTuple):
    """`same`: images that are in the baseline; `new`: those that are not; `gone`: how many of the baseline's are no more.

    `taken`: when the baseline was written, in seconds since 1970. `written`: it is this one.
    """

    path: str
    taken: float
    same_boot: bool
    same: int
    new: tuple[Judged, ...]
    gone: int
    written: bool = False

    @property
    def unchanged(self) -> bool:
        """Whether no image is there that the baseline does not have."""
        return not self.new

    def text(self) -> str:
        """One sentence."""
        if self.written:
            return f"baseline: {self.same} images that are not accounted for were written to {self.path}; later audits compare with them"
        when = time.strftime("%A %Y-%m-%d %H:%M", time.localtime(self.taken))
        gone = f"; {self.gone} of the baseline are gone" if self.gone else ""
        boot = "" if self.same_boot else " (another boot: only types and lengths can be compared)"
        if self.unchanged:
            return f"baseline: the same {self.same} as on {when}{boot}{gone}"
        return f"baseline: {len(self.new)} are NEW since {when}, {self.same} are the same{boot}{gone}"


def compare(path: str, images: Sequence[Judged]) -> Comparison:
    """The images beside those of the file, which is written where it does not exist. InputError for a file that is none."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read(_MOST_BYTES)
    except FileNotFoundError:
        return _write(path, images)
    try:
        stored = json.loads(raw)
        if stored["schema"] != SCHEMA:
            raise ValueError
        taken, boot = float(stored["taken"]), str(stored["boot"])
        known = [Judged(verdict="", **{field: int(image[field]) for field in _FIELDS}) for image in stored["images"]]
    except (ValueError, KeyError, TypeError):
        raise InputError(path, f"is not a baseline of an audit ({SCHEMA})") from None
    same_boot = boot == _boot()
    left = Counter(_key(image, same_boot) for image in known)
    new = []
    for image in images:
        key = _key(image, same_boot)
        if left[key]:
            left[key] -= 1
        else:
            new.append(image)
    return Comparison(path, taken, same_boot, len(images) - len(new), tuple(new), left.total())


def _key(image: Judged, same_boot: bool) -> tuple[int, ...]:
    return image.identity if same_boot else (image.type, image.insns)


def _write(path: str, images: Sequence[Judged]) -> Comparison:
    taken = time.time()
    value: dict[str, Any] = {"schema": SCHEMA, "taken": taken, "boot": _boot()}
    value["images"] = [{field: getattr(image, field) for field in _FIELDS} for image in images]
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".bpflens-")
    try:
        with open(descriptor, "w", encoding="ascii") as stream:
            json.dump(value, stream, indent=1)
            stream.write("\n")
        os.link(temporary, path)  # refused where somebody else has made it meanwhile
    finally:
        os.unlink(temporary)
    return Comparison(path, taken, True, len(images), (), 0, written=True)


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()

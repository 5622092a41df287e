"""Was every program found? Each program image in the kernel, judged by its own address and fields (memory/judge.py).

The images that exist at one moment are listed; then walks are made until each is accounted for or has gone. What is left was there all the
time and nothing found stands for it: a program that is kept out of the kernel's lists (a vendor's monitor, a rootkit), or a classic filter
whose holder was not found. Programs that come and go meanwhile do not matter: the statement is about those of that moment.

Two keys: the addresses come from the kernel's lists of memory areas, and their number must be that of /proc/vmallocinfo. `baseline` has the
images that somebody has looked at before.
"""

from __future__ import annotations

import time

from bpflens.inventory.facts.context import UNSEEN_PROCESSES, Context
from bpflens.inventory.facts.records import Inventory
from bpflens.inventory.memory.judge import (
    CLASSIC,
    EXPLAINED,
    FUNCTION,
    HIDDEN,
    LISTED,
    OF_HIDDEN,
    OURS,
    SHIM,
    Identity,
    Judged,
    finds_of,
    judge,
)  # fmt: skip
from bpflens.inventory.memory.open_reader import open_reader
from bpflens.inventory.memory.vmalloc import Area, areas, count_areas
from bpflens.inventory.walk import in_own_thread, strip_addresses, walk
from bpflens.kernel.memory.reader import Reader
from bpflens.lean import NamedTuple

__all__ = ("Verdict", "audit")

_MOST_WALKS, _MOST_LISTINGS = 4, 40
_REST_SECONDS, _POLL_SECONDS = 0.25, 0.03  # what is freed goes when an RCU grace period is over


class Verdict(NamedTuple):
    """`established`: every image could be judged; `complete`: all are accounted for. `unexplained`: those that are not.

    `images` is their number at the moment of the statement; `extended`, `functions`, `classic` and `shims` (hooks of lsm_cgroup programs)
    are those that something found stands for. The rest had gone before the end.
    """

    established: bool
    complete: bool
    reason: str
    images: int = 0
    extended: int = 0
    functions: int = 0
    classic: int = 0
    shims: int = 0
    walks: int = 0
    unexplained: tuple[Judged, ...] = ()

    @property
    def missing(self) -> int:
        """Images that nothing found stands for."""
        return len(self.unexplained)

    def text(self) -> str:
        """The sentence to rely on."""
        if not self.established:
            return f"audit: cannot be established: {self.reason}"
        parts = f"{self.extended} extended programs, {self.functions} functions of them, {self.classic} classic programs"
        if self.shims:
            parts += f", {self.shims} hooks of lsm_cgroup programs"
        if self.complete:
            return f"audit: all {self.images} program images in the kernel are accounted for: {parts}"
        return f"audit: {self.missing} of {self.images} program images in the kernel are NOT accounted for; found: {parts}"


def audit() -> tuple[Inventory, Verdict]:
    """A deep walk of the machine, and whether it found every image."""
    return in_own_thread(_audit)


def _audit() -> tuple[Inventory, Verdict]:
    inventory = walk(None, deep=True, everything=True)
    if inventory.programs is None or not inventory.deep:
        why = "the loaded programs could not be listed" if inventory.programs is None else "kernel memory could not be read"
        return strip_addresses(inventory), Verdict(False, False, why)
    first: list[Judged] = []
    pending: set[Identity] = set()
    walks = 1
    for look in range(2 * _MOST_WALKS):  # two looks at the images for each walk: the second without what was only on its way out
        if look:
            time.sleep(_REST_SECONDS)
        if look and look % 2 == 0:
            inventory = walk(None, deep=True, everything=True)
            walks += 1
        try:
            images = _images(inventory)
        except OSError as error:
            why = f"the images cannot be listed: {error.strerror or error}"
            return strip_addresses(inventory), Verdict(False, False, why, walks=walks)
        open_now = {image.identity for image in images if image.verdict not in EXPLAINED}
        if not look:
            first, pending = [image for image in images if image.verdict != OURS], open_now
        pending &= open_now
        certain = {image.identity for image in images if image.verdict in (HIDDEN, OF_HIDDEN)}
        if not pending or (look and pending <= certain):
            break
    latest = {image.identity: image for image in images}
    unexplained = tuple(latest[identity] for identity in sorted(pending))
    verdict = _verdict(first, unexplained, walks)
    if any(not image.id for image in unexplained) and any(denial.what == UNSEEN_PROCESSES for denial in inventory.denied):
        why = "what processes outside of this pid namespace, or hidden by hidepid, have cannot be seen"
        verdict = verdict._replace(established=False, complete=False, reason=why)
    return strip_addresses(inventory), verdict


def _verdict(first: list[Judged], unexplained: tuple[Judged, ...], walks: int) -> Verdict:
    count = {verdict: sum(image.verdict == verdict for image in first) for verdict in (LISTED, FUNCTION, CLASSIC, SHIM)}
    numbers = (len(first), count[LISTED], count[FUNCTION], count[CLASSIC], count[SHIM], walks)
    return Verdict(True, not unexplained, "", *numbers, unexplained)


def _images(inventory: Inventory) -> list[Judged]:
    """Every image there is now, judged by what the walk found and by what is listed now. OSError where they cannot be had."""
    from bpflens.kernel.programs.loaded import prog_heads

    context = Context()
    reader = open_reader(context)
    if reader is None or not reader.can_read_memory:
        raise PermissionError(1, "kernel memory could not be read")
    try:
        before = prog_heads()
        listed = _settled_areas(reader)
        programs = {**before, **prog_heads()}
        return judge(reader, listed, programs, finds_of(inventory.rows, {**(inventory.programs or {}), **programs}))
    finally:
        reader.close()


def _settled_areas(reader: Reader) -> list[Area]:
    """The images, listed at a moment when both ways to count them agree."""
    for _ in range(_MOST_LISTINGS):
        before = count_areas()
        found = areas(reader)
        if found is None:
            raise PermissionError(1, "their addresses are hidden (kernel.kptr_restrict=1 shows them), and no list of them was found")
        if len({area.address for area in found}) == before == count_areas():
            return found
        time.sleep(_POLL_SECONDS)
    raise OSError(16, "the kernel's lists of memory areas and /proc/vmallocinfo do not agree on their number")

"""Was every program found? The kernel's own count against ours.

Every program image, classic or extended, main program or function, is a vmalloc area made by bpf_prog_alloc() or its like, and
/proc/vmallocinfo names the maker of each area. So the number of these areas must equal what was found:

    extended programs (ids)  +  their functions  +  classic programs  +  one for each hook of lsm_cgroup programs

Functions: a program of N > 1 functions has an area for each and one more (kernel/bpf/verifier.c, jit_subprogs). Classic programs are
counted by the address of their image where kernel memory has it, so that sockets that share a filter count once; filters of tc, iptables
and team have one each. A kernel can keep programs out of its own lists (a vendor's monitor, a rootkit): those are images that are not
accounted for. The count holds only if nothing came or went meanwhile, so it is repeated until the machine held still.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from bpflens.inventory.facts.context import UNSEEN_PROCESSES
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.walk import in_own_thread, strip_addresses, walk
from bpflens.kernel.sys import procfs

__all__ = ("Verdict", "audit", "count_images", "images_of")

_MAKERS = (b" bpf_prog_alloc", b" bpf_prog_realloc", b" bpf_prog_clone", b" bpf_jit_blind_constants")
_SECONDS, _QUIET_WALKS, _REST_SECONDS = 20.0, 4, 0.25
_SETTLE_SECONDS, _POLL_SECONDS = 0.6, 0.02  # unloading is put off until an RCU grace period is over
_COUNTED_BY_ROW = ("tc/", "xt_bpf", "team/")


class Verdict(NamedTuple):
    """`established`: the count could be made; `complete`: it came out even. `images` is the kernel's number, the rest is what was found."""

    established: bool
    complete: bool
    reason: str
    images: int = 0
    extended: int = 0
    functions: int = 0
    classic: int = 0
    shims: int = 0
    attempts: int = 0

    @property
    def missing(self) -> int:
        """Images that nothing found stands for."""
        return self.images - self.extended - self.functions - self.classic - self.shims

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

    def json(self) -> str:
        """One line of schema audit/1."""
        import json

        return json.dumps({"schema": "audit/1", **self._asdict()})


def count_images() -> int:
    """Program images in the kernel now. PermissionError without root."""
    text = procfs.read("/proc/vmallocinfo")
    if not text:
        raise FileNotFoundError(2, "/proc/vmallocinfo is empty")
    return sum(text.count(maker) for maker in _MAKERS)


def audit(seconds: float = _SECONDS) -> tuple[Inventory, Verdict]:
    """A deep walk during which nothing came or went, and whether it found every image. It is tried again for at most `seconds`."""
    return in_own_thread(lambda: _audit(seconds))


def _audit(seconds: float) -> tuple[Inventory, Verdict]:
    """An image outlives its program until an RCU grace period is over, our own readers' too, so a surplus is believed only when the best of
    several quiet walks has it; a count that comes out even is believed at once.
    """
    until = time.monotonic() + seconds
    best: tuple[Inventory, Verdict] | None = None
    quiet = attempts = 0
    while True:
        attempts += 1
        try:
            before = count_images()
        except OSError as error:
            why = f"/proc/vmallocinfo cannot be read ({error.strerror}), which needs CAP_SYS_ADMIN as root"
            return strip_addresses(walk(None, deep=True, everything=True)), Verdict(False, False, why, attempts=attempts)
        inventory = walk(None, deep=True, everything=True)
        if inventory.programs is None or not inventory.deep:
            why = "the loaded programs could not be listed" if inventory.programs is None else "kernel memory could not be read"
            return strip_addresses(inventory), Verdict(False, False, why, before, attempts=attempts)
        verdict = _verdict(inventory, before, attempts)
        if verdict.missing > 0 and any(denial.what == UNSEEN_PROCESSES for denial in inventory.denied):
            why = "what processes outside of this pid namespace, or hidden by hidepid, have cannot be counted"
            return strip_addresses(inventory), verdict._replace(established=False, complete=False, reason=why)
        if _still(before, set(inventory.programs)):
            quiet += 1
            if best is None or abs(verdict.missing) < abs(best[1].missing):
                best = inventory, verdict
        if best is not None and (best[1].complete or quiet >= _QUIET_WALKS or time.monotonic() > until):
            return strip_addresses(best[0]), best[1]._replace(attempts=attempts)
        if time.monotonic() > until:
            why = f"programs came and went all the time ({attempts} attempts)"
            return strip_addresses(inventory), Verdict(False, False, why, before, attempts=attempts)
        time.sleep(_REST_SECONDS)


def _still(before: int, ids: set[int]) -> bool:
    """Whether the kernel has the same images and programs as before the walk, once our own are gone."""
    from bpflens.kernel.prog_info import prog_ids

    until = time.monotonic() + _SETTLE_SECONDS
    while True:
        if count_images() == before:
            return set(prog_ids()) == ids
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_SECONDS)


def images_of(rows: Iterable[InventoryRow]) -> int:
    """Number of classic images that the rows stand for."""
    addresses: set[int] = set()
    single = 0
    for row in rows:
        if row.prog_id is not None:
            continue
        if "addresses" in row.details:
            addresses.update(row.details["addresses"])
        elif "address" in row.details:
            addresses.add(row.details["address"])
        elif row.classic is not None and row.kind.startswith(_COUNTED_BY_ROW):
            single += 1
    return len(addresses) + single


def _verdict(inventory: Inventory, images: int, attempts: int) -> Verdict:
    heads = (inventory.programs or {}).values()
    functions = sum(head.nr_jited_ksyms for head in heads if head.nr_jited_ksyms > 1)
    classic = images_of(inventory.rows)
    lsm = {row.prog_id for row in inventory.rows if row.kind == "lsm_cgroup"}
    shims = len({(head.attach_btf_obj_id, head.attach_btf_id) for head in heads if head.id in lsm})
    extended = len(inventory.programs or {})
    found = extended + functions + classic + shims
    if found > images:
        why = f"{found} programs were found, but the kernel has {images} images: something was counted twice"
        return Verdict(False, False, why, images, extended, functions, classic, shims, attempts)
    return Verdict(True, found == images, "", images, extended, functions, classic, shims, attempts)

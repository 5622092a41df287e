"""Keep the originals of programs as they are loaded.

    for kept in record(Store("/var/lib/bpflens/records"), seconds=60): ...

The kernel's own copy is taken before the verifier changes it (kernel/recorder/). A load is known by its load_time, its id by the same time
in bpf_prog_info, and the tag of the kernel's info proves the record; what came in without its instructions is counted, not kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bpflens.isa.extended.insn import words
from bpflens.kernel.recorder.recorder import RING_BYTES, Load, Recorder
from bpflens.original.image.tag import tags
from bpflens.original.record_store import Recorded, Store

__all__ = ("Kept", "record")

_LOOK_EVERY_MS = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """One load. `tag` is None where the program was gone before its tag could be asked for and the record rests on its own hash;
    `new`: its code was not in the store; `complete` False: instructions were lost, and nothing was kept.
    """

    load: Load
    id: int | None
    tag: str | None
    new: bool
    complete: bool


def record(
    store: Store, seconds: float | None = None, ring_bytes: int = RING_BYTES, recorder: Recorder | None = None
) -> Iterator[Kept]:
    """Record until `seconds` are over, None for ever. KernelError where the recorder cannot be attached."""
    end = None if seconds is None else time.monotonic() + seconds
    own = recorder or Recorder(ring_bytes)
    known: dict[int, tuple[int, str]] = {}
    try:
        while True:
            own.wait(_LOOK_EVERY_MS)
            loads = own.loads()
            if loads:
                _learn_ids(known)
            for load in loads:
                yield _keep(store, load, known.get(load.load_time))
            if end is not None and time.monotonic() >= end:
                return
    finally:
        if recorder is None:
            own.close()


def _learn_ids(known: dict[int, tuple[int, str]]) -> None:
    """load_time -> (id, tag) of the programs that are loaded now."""
    from bpflens.kernel.programs.loaded import prog_heads

    known.clear()
    known.update({info.load_time: (id, info.tag) for id, info in prog_heads().items()})


def _keep(store: Store, load: Load, found: tuple[int, str] | None) -> Kept:
    if not load.complete:
        return Kept(load, found[0] if found else None, None, False, False)
    own = tags(words(load.code))
    if found is not None and found[1] not in own:
        return Kept(load, found[0], None, False, False)  # relocated after the copy was taken, or damaged: not what was loaded
    tag = found[1] if found is not None else own[0] if _sha256() else own[-1]
    entry = Recorded(
        tag, load.name, load.type, load.expected_attach_type, load.license, load.code, load.attr.hex(), bytes(load.parts[3]).hex(),
        bytes(load.parts[4]).hex(),
    )  # fmt: skip
    return Kept(load, found[0] if found else None, found[1] if found else None, store.add(entry, _said(load, found)), True)


def _sha256() -> bool:
    """The running kernel makes tags by SHA-256."""
    from bpflens.original.kernels.running import live_kernel

    return live_kernel().algorithm() == "sha256"


def _said(load: Load, found: tuple[int, str] | None) -> dict[str, Any]:
    from bpflens.inventory.facts.processes import process

    loader = process(load.pid)
    return {
        "id": found[0] if found else None, "load_time": load.load_time, "boot_id": _boot_id(), "time": int(time.time()), "name": load.name,
        "pid": load.pid, "uid": load.uid, "comm": load.comm, "exe": loader.exe, "unit": loader.unit, "container": loader.container,
        "insns": load.insn_count,
    }  # fmt: skip


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


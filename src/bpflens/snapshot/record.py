"""Keep the originals of programs as they are loaded.

    for kept in record(store_at("/var/lib/bpflens/records"), seconds=60): ...

The kernel's own copy is taken before the verifier changes it (kernel/recorder/). A load is known by its load_time, its id by the same time
in bpf_prog_info, and the tag of the kernel's info proves the record. What was loaded before, or found no room, is noticed by its id and
read from its image; what that does not prove is said.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from bpflens.kernel.recorder.load import Load
from bpflens.kernel.recorder.recorder import RING_BYTES, Recorder
from bpflens.original.store.store import MAX_BYTES, Store, spool_of
from bpflens.snapshot.record_keeper import Keeper, Kept

__all__ = ("Kept", "record", "store_at")

_LOOK_EVERY_MS = 100
_SWEEP_EVERY_S = 1.0
_QUIET_S = 0.3
_PENDING_BYTES = 1 << 25
_BATCH_BYTES = 1 << 20
_SWEEP_SHARE = 20  # a sweep takes at most one part of so many of the time


def store_at(directory: str, max_bytes: int = MAX_BYTES) -> Store:
    """A store with its spool."""
    return Store(directory, max_bytes, spool_of(directory))


def record(
    store: Store,
    seconds: float | None = None,
    ring_bytes: int = RING_BYTES,
    recorder: Recorder | None = None,
    *,
    full: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Kept]:
    """Record until `seconds` are over or `stop` says so. `full`: full copies at once. KernelError where the recorder cannot be attached."""
    from bpflens.original.kernels.running import live_kernel

    end = None if seconds is None else time.monotonic() + seconds
    own = recorder or Recorder.working(ring_bytes)
    keeper = Keeper(store, live_kernel().algorithm(), full)
    pending = _Pending(own)
    next_sweep, quiet_from = 0.0, 0.0
    try:
        while not stop():
            own.wait(0 if pending.loads else _LOOK_EVERY_MS // 10 if keeper.busy else _LOOK_EVERY_MS)
            batch = pending.some()
            if batch:
                quiet_from = time.monotonic() + _QUIET_S
            yield from keeper.receive(batch)
            if (began := time.monotonic()) >= next_sweep and not pending.loads:
                keeper.sweep()
                next_sweep = time.monotonic() + max(_SWEEP_EVERY_S, _SWEEP_SHARE * (time.monotonic() - began))
            if time.monotonic() >= quiet_from:  # what takes long has to wait until nobody loads at full speed
                yield from keeper.work()
            if end is not None and time.monotonic() >= end:
                break
        while batch := pending.some():
            yield from keeper.receive(batch)
        yield from keeper.finish()
    finally:
        for _ in keeper.finish():
            pass
        store.close()
        if recorder is None:
            own.close()


class _Pending:
    """Loads that were taken out of the ring and are not dealt with: the ring is emptied first, as far as memory is bounded."""

    def __init__(self, recorder: Recorder) -> None:
        self.loads: deque[Load] = deque()
        self._recorder, self._bytes = recorder, 0

    def some(self) -> list[Load]:
        """The next ones, about a MiB of instructions."""
        if self._bytes < _PENDING_BYTES:
            for load in self._recorder.loads(_PENDING_BYTES):
                self.loads.append(load)
                self._bytes += 8 * load.insn_count
        batch, size = list[Load](), 0
        while self.loads and size < _BATCH_BYTES:
            load = self.loads.popleft()
            batch.append(load)
            size += 8 * load.insn_count
        self._bytes -= size
        return batch

"""Attack restore(save(x)) = x: random maps with random contents are saved, removed, restored and read back by the plain interface.

    python bench/soak_snapshot.py [--seconds 60] [--seed 1]

Prints how many of each type came back; ends with 1 at the first that did not, with its seed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from bpflens.errors import KernelError
from bpflens.kernel.maps.map_data import items, update, value_stride
from bpflens.kernel.pins import opened_pin
from bpflens.kernel.programs.load import create_map
from live.snapshot_lab import failures, id_of, snapshot_lab

HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU, LPM = 1, 2, 5, 6, 9, 11
NO_PREALLOC = 1


def make(dice: random.Random) -> tuple[int, int, int, int]:
    """(descriptor, type, key size, value size) of a random map with contents."""
    type = dice.choice((HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU, LPM))
    key_size = dice.choice((1, 2, 3, 4, 5, 8, 12, 16, 37))
    if type in (ARRAY, PERCPU_ARRAY, LPM):
        key_size = 4 + (dice.randint(1, 16) if type == LPM else 0)
    value_size = dice.choice((1, 2, 3, 4, 7, 8, 12, 16, 24, 100, 255, 1024))
    entries = 1 << 16 if type == LRU else dice.choice((1, 2, 7, 100, 1000, 5000))
    flags = NO_PREALLOC if type == LPM or (type in (HASH, PERCPU_HASH) and dice.random() < 0.5) else 0
    fd = create_map(type, key_size, value_size, entries, name="bl_soak", flags=flags)
    stride = value_stride(type, value_size)
    for number in range(dice.randint(0, min(entries, 1000))):
        if type in (ARRAY, PERCPU_ARRAY):
            key = number.to_bytes(4, "little")
        elif type == LPM:
            key = dice.randint(0, 8 * (key_size - 4)).to_bytes(4, "little") + dice.randbytes(key_size - 4)
        else:
            key = dice.randbytes(key_size)
        try:
            update(fd, key, dice.randbytes(stride))
        except KernelError:
            break  # full
    return fd, type, key_size, value_size


def contents(fd: int) -> list[tuple[bytes, bytes | None]]:
    """All elements by the plain interface, in an order of its own."""
    return sorted((key, value) for key, value in items(fd))


def main() -> int:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.seconds
    seen: Counter[int] = Counter()
    seed = arguments.seed
    with tempfile.TemporaryDirectory() as where, snapshot_lab(Path(where)) as lab:
        while time.monotonic() < until:
            fd, type, _, _ = make(random.Random(seed))
            lab.fd(fd)
            before = contents(fd)
            saved = lab.save(f"map:{id_of(fd)}", hashes=False)
            lab.unload(saved)
            restored, _ = lab.restore(saved.path)
            with opened_pin(restored.pins[0]) as now:
                same = contents(now) == before
            wrong = failures(restored)
            os.unlink(saved.path)
            lab.close()
            if wrong or not same:
                print(f"seed {seed}: type {type}: {wrong or 'other contents'}")
                return 1
            seen[type] += 1
            seed += 1
    print(f"{sum(seen.values())} maps came back, by type: {dict(sorted(seen.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

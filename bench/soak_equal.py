"""Try to make "equal" and "different" lie: pairs of filters aimed at the seams of the proofs, judged by others.

    bench/soak_equal.py --pairs 100000 --seed 1 [--outside 0.03]

The pairs and the packets come from tests/seams.py. A verdict of "equal" is judged by a plain interpreter (tests/plain_machine.py), by the
running kernel (a socket pair with SO_ATTACH_FILTER) and, for the machine of libpcap, by libpcap's own bpf_filter(); packets of up to 64
bytes, built of words at which sums wrap. A verdict of "different" is judged by its packet. No judge shares code with the product.
Printed: pairs, verdicts by method, false ones (each with its programs). Exit code 1 where there is a false one.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from seams_judge import Judge


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--packets", type=int, default=30, help="packets for each pair that is called equal")
    parser.add_argument("--outside", type=float, default=1.0, help="share of the pairs for z3 that is looked at (1: all)")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this time")
    args = parser.parse_args()
    judge = Judge(random.Random(args.seed), args.packets, outside=args.outside)
    start = told = time.monotonic()
    done = 0
    while done < args.pairs and time.monotonic() - start < args.seconds:
        done += judge.one_pair() is not None
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            tell(judge, done, told - start)
    tell(judge, done, time.monotonic() - start)
    return 1 if judge.lies else 0


TOLD_EVERY_S = 300


def tell(judge: Judge, done: int, seconds: float) -> None:
    """What was found so far: a run that is broken off has said something."""
    counts: collections.Counter[str] = judge.counts
    print(f"{done} pairs in {seconds:.0f} s")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")
    for lie in judge.lies:
        print("FALSE:", lie)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Try to make a seccomp policy lie: filters aimed at the seams, every rule and every other architecture judged by a plain interpreter.

    bench/soak_seccomp.py --samples 1000000 --seed 1

Filters and system calls come from tests/seccomp_seams.py; the judge, a plain interpreter, shares no code with the product. Printed:
policies, samples, what could not be judged (conditions that tie words together), false answers. Exit code 1 where there is a false one.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from seccomp_seams import PolicyJudge


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=1000, help="samples for each policy")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    judge = PolicyJudge(random.Random(args.seed), args.each)
    start = told = time.monotonic()
    while judge.counts["samples"] < args.samples:
        judge.one_policy()
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            tell(judge, told - start)
    tell(judge, time.monotonic() - start)
    return 1 if judge.lies else 0


TOLD_EVERY_S = 300


def tell(judge: PolicyJudge, seconds: float) -> None:
    """What was found so far: a run that is broken off has said something."""
    print(f"{seconds:.0f} s")
    for name, count in sorted(judge.counts.items()):
        print(f"  {name}: {count}")
    for lie in judge.lies[:20]:
        print("FALSE:", lie)
    print(f"false answers: {len(judge.lies)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

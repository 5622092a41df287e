"""How much of an object comes back as C that is compiled, loaded and compared with the original (root; no attaching).

    bench/check_decompile.py [--inputs N] [--only-worse] OBJECT…

Runs `bpflens decompile --check` on each object. Prints each function whose C is not tested or proved, then the counts by level and badge.
Objects that this kernel does not load count as what they are: compiled only.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys


def main() -> int:
    """Check the objects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("objects", nargs="+")
    args = parser.parse_args()
    count: collections.Counter[tuple[str, str]] = collections.Counter()
    failed = 0
    for name in args.objects:
        command = [sys.executable, "-m", "bpflens", "decompile", "--check", "--inputs", str(args.inputs), "--json", name]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        except subprocess.TimeoutExpired:
            print(f"{name}: not finished in 600 s", flush=True)
            failed += 1
            continue
        if not ran.stdout:
            print(f"{name}: {ran.stderr.strip().splitlines()[-1] if ran.stderr else 'no output'}", flush=True)
            failed += 1
            continue
        for line in ran.stdout.splitlines():
            record = json.loads(line)
            if record["schema"] != "decompile/1" or record["role"] != "entry":
                continue
            count[record["level"], record["badge"]] += 1
            if record["badge"] not in ("proved", "tested") or record["level"] != "structured":
                print(f"{name}#{record['function']}: {record['level']}, {record['badge']}: {record['reason']}", flush=True)
    for (level, badge), number in sorted(count.items()):
        print(f"{number:6} {level}, {badge}")
    print(f"{failed:6} objects without an answer")
    return 0


if __name__ == "__main__":
    sys.exit(main())

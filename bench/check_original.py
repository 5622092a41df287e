"""Originals of programs from files: each is loaded, its image read back and inverted, and the result compared with what was loaded.

    python bench/check_original.py FILE_OR_DIRECTORY...      root; objects, and executables, libraries and wheels with objects inside

What was loaded is what libbpf gave to the kernel. Code was removed where the reconstruction is shorter than that. Prints, for distinct
tags, how many came back exact, how many equivalent with and without removed code, how many unproven; the bad ones by name.
Exit code 1 where an exact one differs from what was loaded, one without removed code is not exact, or one is unproven.
"""

from __future__ import annotations

import argparse
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from bpflens.errors import BpflensError
from bpflens.formats.elf.embedded import find_embedded
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.original.image.tag import blanked, tags
from bpflens.original.recover import recover
from original.libbpf import loaded


def main() -> int:
    """Check every object in the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    wrong: list[str] = []
    spent = 0.0
    for path in args.paths:
        for name, blob in blobs(path):
            counts["objects"] += 1
            with loaded(blob) as programs:
                counts["objects of which nothing loads here"] += not programs
                for program in programs:
                    tag = prog_info_by_fd(program.fd).tag
                    if tag in seen:
                        continue
                    seen.add(tag)
                    start = time.process_time()
                    kind = judged(program.fd, program.insns, tag)
                    spent += time.process_time() - start
                    counts[kind] += 1
                    if kind not in GOOD:
                        wrong.append(f"{name}: {program.name}: {kind}")
                        print(wrong[-1], flush=True)
    print(f"{len(seen)} distinct programs, {spent / max(1, len(seen)) * 1e3:.1f} ms of CPU each")
    for kind, count in sorted(counts.items()):
        print(f"  {kind}: {count}")
    return 1 if wrong else 0


GOOD = ("exact", "equivalent, code was removed")


def judged(fd: int, insns: bytes, tag: str) -> str:
    """The grade of a loaded program, compared with the instructions that were given."""
    given = list(blanked(words(insns)))
    if tag not in tags(given):
        return "not judged: the kernel relocated what it was given"
    try:
        found = recover(prog_info_by_fd(fd).id)
    except BpflensError as error:
        return f"error: {error}"
    got = list(blanked(words(found.code)))
    if found.grade == "exact":
        return "exact" if got == given else "FALSE: exact, and not what was loaded"
    if found.grade == "equivalent":
        return "equivalent, code was removed" if len(got) < len(given) else "equivalent, nothing was removed"
    return f"unproven{', code was removed' if len(got) < len(given) else ''}: {found.reason}"


def words(code: bytes) -> list[int]:
    """64-bit words of instructions."""
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]


def blobs(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the BPF objects in a file, below a directory, in the members of a wheel."""
    if path.is_dir():
        for inner in sorted(path.rglob("*")):
            if inner.is_file() and not inner.is_symlink():
                yield from blobs(inner)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                yield from ((f"{path}:{member}", blob) for _, blob in find_embedded(archive.read(member)))
    else:
        yield from ((str(path), blob) for _, blob in find_embedded(path.read_bytes()))


if __name__ == "__main__":
    sys.exit(main())

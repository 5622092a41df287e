"""Try to make the sources fail: damaged dumps, sources, objects, captures, type information and snapshots, each read as a target would be.

    python bench/soak_sources.py [--inputs 1000000] [--seed 1] [--more DIRECTORY...]

Every input begins as a real one: texts and objects of tests/, what tcpdump, llvm-objdump and clang make of them where they are installed,
and the files of further directories. One to eight edits follow: bytes changed, pieces cut out, put in, doubled, moved in from another
input, numbers made long, lines repeated. What it is read as depends on how it began. Judged: nothing but an error of the tree of errors
(or a program) comes out, in less than two seconds of CPU time and a gigabyte of memory. What comes out is decoded and printed too.

Prints how many of each kind were read and refused, the slowest, and each failure with the file that repeats it. Exit code 1 where there
is a failure.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from bpflens.btf.btf import Btf
from bpflens.errors import BpflensError
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.elf.programs import read_maps_of
from bpflens.formats.pcap.capture import Capture
from bpflens.program import Isa, Program
from bpflens.view.listing.classic import classic_listing

SLOW_S, MEMORY_BYTES, LONGEST = 2.0, 1 << 30, 1 << 16
KINDS = {"text": 6, "object": 2, "capture": 1, "btf": 1}  # with their shares
NUMBERS = (b"0", b"-1", b"255", b"256", b"65536", b"4294967295", b"4294967296", b"9" * 30, b"7" * 4400, b"0x7fffffff")
PIECES = (
    b"\0", b"\xff", b"\x1b[31m", b"\n", b"\r\n", b"\t", b" ", b"0x", b"-", b"'", b'"', b"{", b"}", b"[", b"]", b"(", b")", b",", b";", b"#",
    b"//", b"/*", b"*/", b"\\\n", b"9" * 4301, b"0" * 5000, b"0x" + b"f" * 4000, b"-1", b"4294967296", b"18446744073709551616", b"\xc3\x28",
    b"BPF_STMT(", b"BPF_JUMP(", b"bytecode '", b"--bytecode \"", b"bpf filter (", b"jt 255", b"call -1", b"#define A A\n", b"\x7fELF",
    b"goto pc-1", b"[ ", b"<a>:\n", b"sizeof(", b"((((((((((((((((", b"\xe2\x80\x8b", b"1e999", b"...", b"null", b"true",
)  # fmt: skip


def main() -> int:
    """Attack until so many inputs were read; 1 where one made something fail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--more", nargs="*", default=[], metavar="DIRECTORY", help="with files to begin with")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY_BYTES, 4 * MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as directory:
        soak = Soak(random.Random(args.seed), list(seeds(Path(directory), args.more)), Path(directory))
        start = time.process_time()
        for _ in range(args.inputs):
            soak.one()
        took = time.process_time() - start
    for kind, count in sorted(soak.counts.items()):
        print(f"  {kind}: {count}")
    print(f"{args.inputs} inputs in {took:.0f} s of CPU time, {args.inputs / took:.0f} in a second; the slowest took {soak.slowest:.2f} s")
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB; failures: {len(soak.failures)}")
    return 1 if soak.failures else 0


def seeds(directory: Path, more: list[str]) -> Iterator[tuple[str, bytes]]:
    """(kind, bytes) of real inputs: "text", "object", "capture", "btf"."""
    from seeds_of_sources import captures, objects, texts

    for data in texts():
        yield "text", data
    for data in objects():
        yield "object", data
        if (types := section(data, ".BTF")) is not None:
            yield "btf", types
    for data in captures():
        yield "capture", data
    for name in more:
        for path in sorted(Path(name).rglob("*")):
            if path.is_file() and path.stat().st_size < LONGEST:
                data = path.read_bytes()
                yield "object" if data.startswith(b"\x7fELF") else "text", data
    yield from tools(directory)


def section(data: bytes, name: str) -> bytes | None:
    """The contents of a section of an object, None without it, or where the object is damaged."""
    from bpflens.formats.elf.file import ElfFile

    try:
        elf = ElfFile.parse(data, "seed")
        found = elf.section(name)
        return elf.bytes_of(found) if found is not None else None
    except BpflensError:
        return None


def tools(directory: Path) -> Iterator[tuple[str, bytes]]:
    """What installed tools make of a filter and of a program in C."""
    if shutil.which("tcpdump"):
        for option in ("-d", "-dd", "-ddd"):
            command = ["tcpdump", "-y", "EN10MB", option, "tcp port 80 and host 10.1.2.3"]
            yield "text", subprocess.run(command, capture_output=True).stdout
    if shutil.which("clang"):
        source, made = directory / "p.c", directory / "p.o"
        source.write_text(PROGRAM)
        if subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-c", source, "-o", made], capture_output=True).returncode == 0:
            yield "object", made.read_bytes()
            for options in (("-d",), ("-d", "-r", "-S"), ("-d", "--no-show-raw-insn")):
                yield "text", subprocess.run(["llvm-objdump", *options, made], capture_output=True).stdout


PROGRAM = """
struct { int (*type)[1]; int (*max_entries)[4]; int *key; long *value; } counts __attribute__((section(".maps"), used));
static void *(*lookup)(void *, const void *) = (void *) 1;
struct ctx { unsigned a, b; };
int __attribute__((section("tc"))) prog(struct ctx *c) { int k = c->a; long *v = lookup(&counts, &k); if (v) *v += c->b; return 0; }
char license[] __attribute__((section("license"))) = "GPL";
"""


class Soak:
    """The inputs that the others are made of, what was counted, what failed."""

    def __init__(self, dice: random.Random, seeds: list[tuple[str, bytes]], directory: Path) -> None:
        self.dice = dice
        self.seeds = {kind: [data for other, data in seeds if data and other == kind] for kind in KINDS}
        self.small = [data for _, data in seeds if 0 < len(data) < 4096]
        self.directory = directory
        self.counts: Counter[str] = Counter()
        self.failures: list[Path] = []
        self.seen: set[str] = set()
        self.slowest = 0.0

    def one(self) -> None:
        """Make an input, read it, judge what comes of it."""
        kind = self.dice.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        data = self.edited(self.dice.choice(self.seeds[kind]))
        took = self.read(kind, data)
        if took > SLOW_S:  # again, for the first time may have been that of importing a reader, or of others on a busy machine
            took = self.read(kind, data)
        self.slowest = max(self.slowest, took)
        if took > SLOW_S:
            self.fail(kind, data, f"slow: {took:.1f} s")

    def read(self, kind: str, data: bytes) -> float:
        """Seconds of CPU time that reading took."""
        start = time.process_time()
        try:
            READERS[kind](data, self.dice)
            self.counts[f"{kind} read"] += 1
        except BpflensError:
            self.counts[f"{kind} refused"] += 1
        except BaseException as error:  # whatever it is: it is what is looked for
            if isinstance(error, KeyboardInterrupt):
                raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.fail(kind, data, f"{type(error).__name__} at {place.filename}:{place.lineno}: {str(error)[:100]}")
        return time.process_time() - start

    def fail(self, kind: str, data: bytes, why: str) -> None:
        """Keep the input, once for each reason."""
        reason = re.sub(r"\d+\.\d s|: .*", "", why)
        if reason in self.seen:
            return
        self.seen.add(reason)
        path = Path(tempfile.gettempdir()) / f"soak-sources-{len(self.failures)}-{kind}"
        path.write_bytes(data)
        self.failures.append(path)
        print(f"FAILED: {why}; {path}", flush=True)

    def edited(self, data: bytes) -> bytes:
        """One to eight edits, few more often than many."""
        out = bytearray(data)
        for _ in range(min(self.dice.randint(1, 8), self.dice.randint(1, 8))):
            self.dice.choice(EDITS)(out, self)
        return bytes(out[:LONGEST])


def change(out: bytearray, soak: Soak) -> None:
    """One byte."""
    if out:
        out[soak.dice.randrange(len(out))] = soak.dice.choice((0, 0xFF, 0x7F, 0x80, 1, soak.dice.randrange(256)))


def word(out: bytearray, soak: Soak) -> None:
    """Four bytes that are an aligned number: what sizes and offsets are."""
    if len(out) >= 4:
        at = soak.dice.randrange(len(out) // 4) * 4
        value = soak.dice.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, len(out), len(out) - at, soak.dice.randrange(1 << 32)))
        out[at : at + 4] = value.to_bytes(4, "little")


def cut(out: bytearray, soak: Soak) -> None:
    """A piece taken out."""
    at = soak.dice.randint(0, len(out))
    del out[at : at + soak.dice.choice((1, 1, 4, 40, len(out)))]


def insert(out: bytearray, soak: Soak) -> None:
    """A piece put in."""
    at = soak.dice.randint(0, len(out))
    out[at:at] = soak.dice.choice(PIECES)


def double(out: bytearray, soak: Soak) -> None:
    """A piece of it again, somewhere else."""
    at, other = soak.dice.randint(0, len(out)), soak.dice.randint(0, len(out))
    out[at:at] = out[other : other + soak.dice.randint(1, 200)]


def splice(out: bytearray, soak: Soak) -> None:
    """A piece of another input."""
    other = soak.dice.choice(soak.small)
    at, start = soak.dice.randint(0, len(out)), soak.dice.randint(0, len(other))
    out[at:at] = other[start : start + soak.dice.randint(1, 400)]


def number(out: bytearray, soak: Soak) -> None:
    """A number changed."""
    start = soak.dice.randint(0, len(out))
    found = re.compile(rb"\d+").search(out, start)
    if found:
        out[found.start() : found.end()] = soak.dice.choice(NUMBERS)


def line(out: bytearray, soak: Soak) -> None:
    """A line many times, or two lines the other way round."""
    lines = out.split(b"\n")
    at = soak.dice.randrange(len(lines))
    if soak.dice.random() < 0.5:
        lines[at:at] = lines[at : at + 1] * soak.dice.choice((1, 2, 50))
    else:
        other = soak.dice.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    out[:] = b"\n".join(lines)


EDITS = (change, change, word, cut, insert, insert, double, splice, number, number, line)


def read_text(data: bytes, dice: random.Random) -> None:
    """As a target that is a file."""
    for program in read_programs(data, "soak", isa=dice.choice((None, None, None, "classic", "extended"))):
        if dice.random() < 0.1:
            shown(program)


def read_object(data: bytes, dice: random.Random) -> None:
    """Programs, and maps too."""
    for program in read_programs(data, "soak"):
        if dice.random() < 0.1:
            shown(program)
    if dice.random() < 0.3:
        read_maps_of(data, "soak")


def read_capture(data: bytes, dice: random.Random) -> None:
    """Its packets."""
    with Capture(io.BytesIO(data), "soak") as capture:
        for _ in capture:
            pass


def read_btf(data: bytes, dice: random.Random) -> None:
    """Every type by name and size."""
    from bpflens.btf.c_text import declaration

    btf = Btf.parse(data, where="soak")
    for id in range(1, min(len(btf), 200)):
        btf.name(id)
        declaration(btf, id)


def shown(program: Program) -> None:
    """The listing."""
    if program.isa is Isa.CLASSIC:
        for _ in classic_listing(program, "tcpdump"):
            pass
        return
    from bpflens.view.listing.extended import ListingOptions, listing

    for _ in listing(program, ListingOptions(dialect="kernel"), {}):
        pass


READERS: dict[str, Callable[[bytes, random.Random], None]] = {
    "text": read_text, "object": read_object, "capture": read_capture, "btf": read_btf,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

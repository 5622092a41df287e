"""Speed and memory of `bpflens dis` beside llvm-objdump and bpftool, in the same run.

    python bench/bench_dis.py [--insns 1000000] [--runs 5] [--compiled [CLANG ...]]

Whole processes, CPU time (user + system of the child, getrusage), output to /dev/null, runs of the two alternating; the figure is the
median of the ratios. Objects are made here: the instructions of the BPF objects in libbpf-tools and xdp-tools and of two compiled
programs, repeated (as one function, and as functions of 100); and distinct words only; with --compiled also programs that clang compiles
(bench/compiled_objects.py: maps, global variables, bpf_printk, BTF and line information), which takes minutes. Targets are those of the
project's plan.
Modules are compiled once into a cache of its own, as they are where the package is installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

COMMAND = str(Path(sysconfig.get_path("scripts")) / "bpflens")
PYTHON = sys.executable


class Figure(NamedTuple):
    """One line of the table: ours beside a peer's; `limit` is the greatest ratio that is promised, None where none is."""

    name: str
    ours: list[str]
    peer: list[str]
    limit: float | None
    memory_limit: float | None = None


class Cost(NamedTuple):
    """CPU seconds and peak resident KiB of one process."""

    cpu_s: float
    peak_kib: int


def main() -> int:
    """Make the objects, run the pairs, print the table; 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--insns", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--compiled", nargs="*", metavar="CLANG", help="objects of these compilers too (default: clang)")
    args = parser.parse_args()
    kept = True
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(directory / "pyc")
        figures = list(file_figures(directory, args.insns))
        if args.compiled is not None:
            figures += compiled_figures(directory, args.insns, args.compiled or ["clang"])
        with loaded_program() as id:
            if id is not None:
                bpftool = ["bpftool", "prog", "dump", "xlated", "id", id]
                figures.append(Figure("dis id:N, small program", [COMMAND, "dis", f"id:{id}"], bpftool, 1.0))
            figures.append(Figure("--help / python3 -c pass", [COMMAND, "--help"], [PYTHON, "-c", "pass"], 3.0))
            print(f"{platform.machine()}, Python {platform.python_version()}, {args.insns} insns, {args.runs} paired runs, medians")
            print(f"{'':34} {'ours':>8} {'peer':>8} {'ratio':>6} {'limit':>6} {'memory':>15} {'ratio':>6}")
            for figure in figures:
                kept &= report(figure, args.runs)
    return 0 if kept else 1


def file_figures(directory: Path, insns: int) -> list[Figure]:
    """Pairs over object files."""
    base = real_code()
    repeated = (base * (insns * 8 // len(base) + 1))[: insns * 8]
    dice = random.Random(1)
    distinct = b"".join((0x07 | dice.randrange(10) << 8 | n << 32).to_bytes(8, "little") for n in range(insns))
    one = write_object(directory / "one.o", repeated)
    many = write_object(directory / "many.o", repeated, 100)
    no_two = write_object(directory / "distinct.o", distinct)
    objdump = ["llvm-objdump", "-d"]
    plain = [*objdump, "--no-show-raw-insn"]
    return [
        Figure("real code, one function", [COMMAND, "dis", one], [*plain, one], 0.6, 1.0),
        Figure("the same with raw bytes", [COMMAND, "dis", "--opcodes", one], [*objdump, one], 0.7, 1.0),
        Figure("the same, llvm dialect", [COMMAND, "dis", "--dialect", "llvm", one], [*plain, one], 0.6, 1.0),
        Figure("real code, functions of 100", [COMMAND, "dis", many], [*plain, many], 0.6, 1.0),
        Figure("distinct words: time, memory", [COMMAND, "dis", no_two], [*plain, no_two], None, 1.0),
        Figure("distinct / repeated words of ours", [COMMAND, "dis", no_two], [COMMAND, "dis", one], None, 2.0),
    ]


def compiled_figures(directory: Path, insns: int, compilers: list[str]) -> list[Figure]:
    """Pairs over objects as clang makes them."""
    from compiled_objects import SHAPES, build

    figures = []
    for compiler in compilers:
        for shape in SHAPES:
            made = build(directory / f"{Path(compiler).name}-{shape.name}", shape, insns, compiler)
            name = f"{Path(compiler).name}, {shape.name}"[:34]
            figures.append(Figure(name, [COMMAND, "dis", made], ["llvm-objdump", "-d", "--no-show-raw-insn", made], 0.6, 1.0))
    made = str(directory / f"{Path(compilers[0]).name}-{SHAPES[0].name}.o")
    return [*figures, Figure("the first with raw bytes", [COMMAND, "dis", "--opcodes", made], ["llvm-objdump", "-d", made], 0.7, 1.0)]


def real_code() -> bytes:
    """The instructions of every BPF object that the Debian packages of BPF tools hold."""
    from bpflens.errors import BpflensError
    from bpflens.formats.elf.programs import read_object

    listed = subprocess.run(["dpkg", "-L", "libbpf-tools", "xdp-tools"], capture_output=True, text=True, check=True).stdout.split()
    code = b""
    for path in sorted(path for path in listed if "/sbin/" in path or path.endswith(".o")):
        if os.path.isfile(path):
            try:
                code += b"".join(program.code for program in read_object(Path(path).read_bytes(), path))
            except BpflensError:
                continue  # a program without BPF inside
    return code


def write_object(path: Path, code: bytes, function_insns: int = 0) -> str:
    """An ELF object with one section of code, made by llvm-mc; a function symbol every `function_insns` instructions."""
    words = memoryview(code).cast("Q")
    with open(path.with_suffix(".s"), "w") as stream:
        stream.write('.section xdp,"ax"\n')
        for at, word in enumerate(words):
            if at % (function_insns or len(words)) == 0:
                stream.write(f".globl f{at}\n.type f{at},@function\nf{at}:\n")
            stream.write(f".quad {word:#x}\n")
    subprocess.run(["llvm-mc", "-triple", "bpfel", "-filetype=obj", "-o", path, path.with_suffix(".s")], check=True)
    path.with_suffix(".s").unlink()
    return str(path)


class loaded_program:
    """A loaded program of ten instructions, for the length of a with block; gives its id as text, None without the privilege."""

    def __enter__(self) -> str | None:
        from bpflens.errors import BpflensError
        from bpflens.isa.extended.asm import assemble
        from bpflens.kernel.programs.load import load_program
        from bpflens.kernel.programs.prog_info import prog_info_by_fd

        self.fd = -1
        try:
            code = assemble("r6 = r1\ncall bpf_ktime_get_ns\nr1 = r0\nif r1 == 0x0 goto pc+2\nr1 <<= 3\nr1 += 7\nr0 = 0\nexit")
            self.fd = load_program(code, 1)
        except BpflensError as error:
            print(f"dis id:N is left out: {error}", file=sys.stderr)
            return None
        return str(prog_info_by_fd(self.fd).id)

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def report(figure: Figure, runs: int) -> bool:
    """Run the pair and print its line; whether the promise is kept."""
    measure(figure.ours), measure(figure.peer)  # warm caches
    pairs = [(measure(figure.ours), measure(figure.peer)) for _ in range(runs)]
    ratio = statistics.median(ours.cpu_s / max(peer.cpu_s, 0.001) for ours, peer in pairs)
    ours, peer = (statistics.median(pair[side].cpu_s for pair in pairs) for side in (0, 1))
    our_memory, peer_memory = (max(pair[side].peak_kib for pair in pairs) for side in (0, 1))
    kept = (figure.limit is None or ratio <= figure.limit) and (
        figure.memory_limit is None or our_memory <= figure.memory_limit * peer_memory
    )
    limit = "" if figure.limit is None else f"{figure.limit:.1f}"
    memory = f"{our_memory / 1024:.0f}/{peer_memory / 1024:.0f} MiB"
    print(
        f"{figure.name:34} {ours:7.3f}s {peer:7.3f}s {ratio:6.2f} {limit:>6} {memory:>15} {our_memory / peer_memory:6.2f}"
        + ("" if kept else "  NOT KEPT")
    )
    return kept


def measure(argv: list[str]) -> Cost:
    """Run a command to its end; its CPU time and peak memory. The peak is at least that of this process, from which it is forked."""
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.execvp(argv[0], argv)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{argv}: status {status}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


if __name__ == "__main__":
    sys.exit(main())

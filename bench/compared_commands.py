"""The commands that compare_outputs.py runs: help pages, golden cases, the corpora below tests/, objects, live programs of the lab.

    for command in classic(): ...     # Command(argv=("--json", "explain", "-"), stdin=b"4\n40 0 0 12\n...")
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VERBS = (
    "ls", "tree", "show", "dis", "explain", "original", "seccomp", "asm", "diff", "packets", "run", "debug", "doctor", "completion", "help",
)  # fmt: skip
LOOKS = (("-S", "-l", "--prototypes", "--opcodes"), ("-A", "--color=always"), ("--dialect", "llvm"), ("--no-notes", "--no-labels"))
NOWHERE = (
    "/nowhere", "id:99999999", "map:99999999", "pin:/nowhere", "pid:99999999", "dev:nosuch", "pcap:foo bar", "sock:1", "tag:00",
    "name:nosuch",
)  # fmt: skip
OF_A_PROGRAM = (
    ("dis",), ("dis", "--jited"), ("dis", "-A", "-S"), ("show",), ("show", "--no-attachments", "--values"), ("original",),
    ("original", "--side-by-side"), ("original", "--no-reload"), ("explain",), ("ls",), ("tree",),
)  # fmt: skip


class Command(NamedTuple):
    """One command line with what it reads."""

    argv: tuple[str, ...]
    stdin: bytes = b""

    def __str__(self) -> str:
        return " ".join(repr(word) if " " in word else word for word in self.argv)

    @property
    def is_page(self) -> bool:
        return "--help" in self.argv or self.argv[:1] in ((), ("help",), ("completion",))

    @property
    def verb(self) -> str:
        return next((word for word in self.argv if not word.startswith("-")), "") + (" --json" if "--json" in self.argv else "")


def help_pages() -> Iterator[Command]:
    yield from (Command(()), Command(("--help",)), Command(("--version",)), Command(("nosuchverb",)), Command(("--nosuch",)))
    for verb in VERBS:
        yield Command((verb, "--help"))
        yield Command((verb, "--nosuchoption"))
        yield Command(("help", verb))
    for topic in ("classic", "extended", "targets", "proof", "json", "exit", "linktypes", "original", "nosuch"):
        yield Command(("help", topic))
    yield from (Command(("completion", shell)) for shell in ("bash", "zsh", "fish"))


def golden() -> Iterator[Command]:
    """The cases that have a command line; the other texts are read by `dis` and `asm`."""
    import shlex

    import golden

    for path in sorted(golden.DIRECTORY.glob("*.test")):
        for case in golden.read(path):
            if "args" in case.sections:
                yield from both(*shlex.split(case.sections["args"]), stdin=case.input.encode())
            elif path.stem != "extended_asm":
                yield Command(("dis", "-"), case.input.encode())
            else:
                yield Command(("asm", "-"), case.input.encode())


def both(*argv: str, stdin: bytes = b"") -> Iterator[Command]:
    yield Command(argv, stdin)
    yield Command(("--json", *argv), stdin)


def classic() -> Iterator[Command]:
    """Real classic filters in the form of `tcpdump -ddd`, and expressions."""
    texts = []
    for row in json.loads((ROOT / "tests/corpus/cbpf_corpus.json").read_text()):
        text = "\n".join([str(len(row["insns"])), *(" ".join(map(str, insn)) for insn in row["insns"])]).encode()
        texts.append(text)
        seccomp = row["kind"] == "seccomp"
        link = ("--linktype", row["linktype"]) if row.get("linktype") and not seccomp else ()
        for verb in ("dis", "show", "seccomp" if seccomp else "explain"):
            yield from both(verb, *(link if verb == "explain" else ()), "-", stdin=text)
        yield Command(("dis", "--dialect", "kernel", "-"), text)
        yield Command(("explain" if seccomp else "seccomp", "-"), text)
        yield Command(("seccomp", "--findings", "-"), text)
        if seccomp:
            yield from both("seccomp", "--oci", "-", stdin=text)
            yield from both("seccomp", "--syscall", "openat", "-", stdin=text)
    for name in ("pcap_expressions", "more_expressions", "further_expressions"):
        rows = [line.split("\t") for line in (ROOT / f"tests/corpus/{name}.txt").read_text().splitlines() if line[:1] != "#"]
        for number, (link_type, _, _, expression) in enumerate(rows):
            target = ("--linktype", link_type, f"pcap:{expression}")
            yield from both("explain", *target)
            yield Command(("dis", *target))
            yield Command(("packets", *target))
            other = rows[(number + 7) % len(rows)]
            if other[0] == link_type:
                yield from both("diff", *target, f"pcap:{other[3]}")
                yield Command(("diff", "--values", *target, f"pcap:{other[3]}"))


def files(where: str) -> Iterator[Command]:
    """Objects, raw code, listings, logs."""
    import objects

    made = []
    for name in ("MAPS_AND_CALLS", "LEGACY_MAPS"):
        path = os.path.join(where, f"{name.lower()}.o")
        source = os.path.join(where, f"{name.lower()}.c")
        Path(source).write_text(getattr(objects, name))
        include = f"-I{objects.INCLUDE}"
        subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", include, "-c", source, "-o", path], check=True)
        made.append(path)
    packaged = sorted(glob.glob("/usr/lib/*/bpf/*.o"))
    for path in (*made, *packaged, *sorted(map(str, (ROOT / "tests/corpus/objects").iterdir()))):
        for verb in ("dis", "show", "original"):
            yield from both(verb, path)
        for options in LOOKS:
            yield Command(("dis", *options, path))
        yield Command(("explain", path))
        yield Command(("seccomp", path))
        yield Command(("tree", path))
        yield Command(("dis", f"{path}#xdp"))
    for path in (*sorted((ROOT / "tests/corpus/sources").iterdir()), *sorted((ROOT / "tests/corpus/verifier_logs").iterdir())):
        for verb in ("dis", "show", "explain", "original"):
            yield from both(verb, str(path))
    capture = os.path.join(where, "x.pcap")
    make = [sys.executable, "-m", "bpflens", "packets", "pcap:tcp port 80 or arp or icmp", "-w", capture]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    for expression in ("tcp port 80", "arp", "ip and not tcp", "vlan", "ether[12:2] = 0x806", "len > 60"):
        yield from both("run", f"pcap:{expression}", capture)
        for options in (("--total",), ("--returns",), ("--profile",)):
            yield Command(("run", *options, f"pcap:{expression}", capture))
        yield Command(("debug", "-c", "step 3; print; back; continue", f"pcap:{expression}", capture))
        yield Command(("debug", "-c", "help", f"pcap:{expression}", capture))
    for target in NOWHERE:
        for verb in ("dis", "show", "explain", "original", "ls", "tree", "seccomp"):
            yield from both(verb, target)
    yield from both("doctor")


@contextlib.contextmanager
def live() -> Iterator[list[Command]]:
    """Commands on programs of the lab, which lives as long as the context."""
    from live.attach_kinds import KINDS
    from live.attach_lab import Lab, Lacking

    with Lab() as lab:
        commands: list[Command] = []
        ids, objects = set(), set()
        for name, attach in KINDS.items():
            try:
                for row in attach(lab):
                    objects.add((row.object, row.classic is not None))
                    if row.prog_id:
                        ids.add(row.prog_id)
            except (Lacking, OSError) as lacking:
                print(f"not attached: {name}: {lacking}", file=sys.stderr)
        for id in sorted(ids):
            target = f"id:{id}"
            for verb in OF_A_PROGRAM:
                commands += both(*verb, target)
        for object, filter in sorted(objects):
            for verb in ("ls", "show", "dis", *(("explain",) if filter else ())):
                commands += both(verb, object)
        commands += both("ls", f"pid:{os.getpid()}")
        for device in ("v0", "v1"):
            commands += both("ls", f"dev:{device}")
        yield commands

"""What the command prints, beside an older tree: every difference, grouped by kind.

    python bench/compare_outputs.py BASE_TREE                      # as root; about 2,000 commands, some minutes
    python bench/compare_outputs.py BASE_TREE --only explain       # verbs, or any words of the command line
    python bench/compare_outputs.py BASE_TREE --every 10 --show 5  # a sample; five examples of each kind

Each tree has one process that imports its package once and forks for each command, so that start-up is not paid again. Standard output,
standard error and the exit code are compared. Commands: help pages, golden cases, the corpora below tests/, objects that clang makes of
tests/objects.py and those below /usr/lib, and live programs, attachments and filters of the lab of tests/live.

Times and ages are left out of the comparison. A difference of text is a hunk of its lines; one of JSON Lines is a path in the record. Hunks
that are equal but for numbers, names and strings are one kind. The kinds that were meant are a table in docs/outputs.md: a row's pattern is
searched in "VERB TEXT-OF-THE-KIND". Kinds without a row are printed first. The exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import difflib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from compared_commands import Command, classic, files, golden, help_pages, live

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
SECONDS = 60

WORKER = r"""
import base64, json, os, signal, sys, tempfile
source, where = sys.argv[1:]
sys.path.insert(0, source)
os.chdir(where)
import argparse, bpflens
import bpflens.cli.main as command
try:
    import bpflens.targets.open, bpflens.isa.extended.table
except ImportError:
    pass
for line in sys.stdin:
    argv, text = json.loads(line)
    files = [tempfile.TemporaryFile() for _ in range(3)]
    files[0].write(base64.b64decode(text)); files[0].flush(); os.lseek(files[0].fileno(), 0, 0)
    pid = os.fork()
    if pid == 0:
        for fd, file in enumerate(files):
            os.dup2(file.fileno(), fd)
        signal.alarm(SECONDS)
        try:
            code = command.run(argv)
        except SystemExit as stop:
            code = stop.code
        try:
            sys.stdout.flush(); sys.stderr.flush()
        except BaseException:
            pass
        os._exit(code or 0)
    _, status = os.waitpid(pid, 0)
    out = []
    for file in files[1:]:
        file.seek(0)
        out.append(base64.b64encode(file.read()).decode())
    print(json.dumps([os.waitstatus_to_exitcode(status), *out]), flush=True)
""".replace("SECONDS", str(SECONDS))


class Answer(NamedTuple):
    """What came of it."""

    code: int
    out: str
    err: str


class Tree:
    """One tree's package in a process of its own."""

    def __init__(self, tree: Path, where: str) -> None:
        python = tree / ".venv/bin/python"
        environment = {**os.environ, "COLUMNS": "110", "PYTHONHASHSEED": "0"} | {"TERM": "dumb"}
        self.process = subprocess.Popen(
            [python if python.exists() else sys.executable, "-c", WORKER, str(tree / "src"), where],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def ask(self, command: Command) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([command.argv, base64.b64encode(command.stdin).decode()]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Answer:
        assert self.process.stdout
        code, out, err = json.loads(self.process.stdout.readline())
        return Answer(code, *(base64.b64decode(text).decode(errors="replace") for text in (out, err)))


LEFT_OUT = (
    (re.compile(r"\d+ (second|minute|hour|day|min|s|h)s?( \d+ \w+)? ago"), "AGO"),
    (re.compile(r"loaded \S+ \S+ ago"), "loaded AGO"),
    (re.compile(r"\b\d+\.\d+ s\b"), "T s"),
)


KEYS_LEFT_OUT = {"seconds", "loaded_at", "age", "age_seconds"}


def plain(text: str) -> str:
    for pattern, other in LEFT_OUT:
        text = pattern.sub(other, text)
    return text


def kind_of(text: str) -> str:
    """A line without what is particular to it."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '"…"', text)
    text = re.sub(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b|-?\b\d[\d.:,/]*\b", "N", text)
    text = re.sub(r"/[\w./-]+", "PATH", text)
    return re.sub(r"\s+", " ", re.sub(r"(N[ ,]*){2,}", "N ", text))[:160]


def json_kinds(before: str, after: str) -> Iterator[tuple[str, str]]:
    """(kind, example) of two outputs that are JSON Lines; raises ValueError where they are not."""
    left, right = [json.loads(line) for line in before.splitlines()], [json.loads(line) for line in after.splitlines()]
    if len(left) != len(right):
        yield "number of lines", f"{len(left)} -> {len(right)}"
        return
    for a, b in zip(left, right, strict=True):
        yield from value_kinds(a, b, f"{a.get('schema', '')} " if isinstance(a, dict) else "")


def value_kinds(a: Any, b: Any, path: str) -> Iterator[tuple[str, str]]:
    if a == b:
        return
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {**a, **b}:
            if key in KEYS_LEFT_OUT:
                continue
            if key not in b:
                yield f"{path}.{key} is gone", f"{a[key]!r:.200}"
            elif key not in a:
                yield f"{path}.{key} is new", f"{b[key]!r:.200}"
            else:
                yield from value_kinds(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            yield from value_kinds(x, y, f"{path}[]")
    elif isinstance(a, str) and isinstance(b, str):
        yield f"{path}: {kind_of(a)!r:.150} -> {kind_of(b)!r:.150}", f"{a!r:.400} -> {b!r:.400}"
    else:
        yield f"{path}: {type(a).__name__} -> {type(b).__name__}", f"{a!r:.300} -> {b!r:.300}"


def text_kinds(before: str, after: str) -> Iterator[tuple[str, str]]:
    a, b = before.splitlines(), after.splitlines()
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        gone, new = a[i1:i2], b[j1:j2]
        kinds = (dict.fromkeys(kind_of(line) for line in lines) for lines in (gone, new))
        kind = " // ".join(sign + line for sign, lines in zip("-+", kinds, strict=True) for line in list(lines)[:4])
        yield kind, "\n        ".join([f"- {line:.220}" for line in gone[:6]] + [f"+ {line:.220}" for line in new[:6]])


def page_kinds(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Of help pages and completions: the words that are gone, else that the page has changed."""
    gone = set(re.findall(r"--[a-z][\w-]+", before)) - set(re.findall(r"--[a-z][\w-]+", after))
    yield (f"page without {' '.join(sorted(gone))}" if gone else "page", "")


def _first(answer: Answer) -> str:
    """The first line of what was said, in JSON the text of the error."""
    line = next(iter((answer.err.strip() or answer.out).splitlines()), "")
    with contextlib.suppress(ValueError, AttributeError):
        line = json.loads(line).get("error", line)
    return line


def differences(command: Command, before: Answer, after: Answer) -> Iterator[tuple[str, str]]:
    """Kinds of difference of one command with an example of each; what an error changes to is one kind, whatever is printed then."""
    if before.code != after.code and not command.is_page:
        last = [[_first(answer)] for answer in (before, after)]
        kinds = " -> ".join(kind_of(line)[:150] for [line] in last)
        answers = {before.code, after.code} <= {0, 1, 5}
        yield f"exit {before.code} -> {after.code}" + ("" if answers else f": {kinds}"), f"{last[0][0]} -> {last[1][0]}"
        if not answers:
            return
    for name, a, b in (("out", before.out, after.out), ("err", before.err, after.err)):
        found = None
        if command.is_page and a != b:
            found = list(page_kinds(a, b))
        elif "--json" in command.argv and a.strip():
            with contextlib.suppress(ValueError):
                found = list(json_kinds(a, b))
        yield from ((f"{name} {kind}", example) for kind, example in (text_kinds(plain(a), plain(b)) if found is None else found))


def meant() -> list[re.Pattern[str]]:
    """The patterns of the table in docs/outputs.md."""
    path = ROOT / "docs/outputs.md"
    rows = re.findall(r"^\| `(.+?)` \|", path.read_text(), re.M) if path.exists() else []
    return [re.compile(row.replace(r"\|", "|")) for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, metavar="BASE_TREE")
    parser.add_argument("--only", default="", help="a regular expression that the command line must have")
    parser.add_argument("--part", nargs="*", default=("help", "golden", "classic", "files", "live"))
    parser.add_argument("--every", type=int, default=1, help="only each Nth command")
    parser.add_argument("--seconds", type=float, default=3600, help="stop after so many, and print what was found")
    parser.add_argument("--show", type=int, default=1, help="examples of each kind")
    parser.add_argument("--all", action="store_true", help="show the kinds that were meant, too")
    args = parser.parse_args()

    parts = {"help": help_pages, "golden": golden, "classic": classic}
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(tempfile.TemporaryDirectory())
        commands = [command for name, part in parts.items() if name in args.part for command in part()]
        commands += files(where) if "files" in args.part else ()
        commands += stack.enter_context(live()) if "live" in args.part else ()
        wanted = re.compile(args.only)
        commands = [command for command in commands if wanted.search(str(command))][:: args.every]
        trees = Tree(args.base, where), Tree(ROOT, where)
        kinds: dict[str, list[tuple[Command, str]]] = {}
        different, end = 0, time.monotonic() + args.seconds
        for number, command in enumerate(commands):
            if sys.stderr.isatty():
                print(f"\r{number} of {len(commands)}", end="", file=sys.stderr)
            if time.monotonic() > end:
                commands = commands[:number]
                break
            for tree in trees:
                tree.ask(command)
            before, after = (tree.answer() for tree in trees)
            if -signal.SIGALRM in (before.code, after.code):
                print(f"not compared, {SECONDS} s were not enough: bpflens {command}", file=sys.stderr)
                continue
            found = list(differences(command, before, after))
            different += bool(found)
            for kind, example in found:
                kinds.setdefault(f"{command.verb} {kind}", []).append((command, example))

    patterns = meant()
    unmeant = [kind for kind in kinds if not any(pattern.search(kind) for pattern in patterns)]
    for kind in sorted(kinds if args.all else unmeant, key=lambda kind: (kind.split()[0], -len(kinds[kind]))):
        print(f"{len(kinds[kind]):5} x {kind}")
        for command, example in kinds[kind][: args.show]:
            print(f"      bpflens {command}\n        {example}")
    print(f"{len(commands)} commands, {different} differ, {len(kinds)} kinds, {len(unmeant)} of them not in docs/outputs.md")
    return 1 if unmeant else 0


if __name__ == "__main__":
    sys.exit(main())

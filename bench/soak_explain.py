"""Try to make `explain` and `diff` lie: changed filters, their answers run beside them.

    bench/soak_explain.py --seconds 60 --seed 1

Filters (libpcap's code for the lists of expressions, filters of real programs) are changed at one to three places: constants, offsets,
jumps, operations. Those that the kernel accepts are explained, and the answer, compiled by libpcap, runs in the kernel beside the
filter (a socket pair with SO_ATTACH_FILTER; root is not needed) over packets for every path of both, changed and cut short. `diff` of a
filter and its change is checked the same way, and each packet that it shows is run. Everything wrong is printed. Filters relative to
the network header are left out: a socket pair has none.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, run_in
from bpflens.classic.diff import diff
from bpflens.classic.explain import explain
from bpflens.classic.machine.interpreter import run
from bpflens.classic.proof.witness import packets_to
from bpflens.errors import BpflensError
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.program import Isa, Origin, Program
from classic_oracles import KernelFilter, corpus

Insns = list[SockFilter]
LISTS = ("pcap_expressions.txt", "more_expressions.txt", "further_expressions.txt")
OPERATIONS = (0, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xA0)


def filters(generator: random.Random) -> Iterator[tuple[str, Insns]]:
    for name in LISTS:
        for line in (Path(__file__).parent.parent / "tests" / "corpus" / name).read_text().splitlines():
            if not line.startswith("#"):
                linktype, _, _, expression = line.split("\t")
                try:
                    insns = libpcap.compile(expression, libpcap.dlt_value(linktype), generator.random() < 0.7)
                except BpflensError:
                    continue
                if 1 < len(insns) < 120:
                    yield linktype, list(insns)
    for case in corpus():
        if case["kind"] != "seccomp" and case["linktype"] in ("EN10MB", "RAW") and not case.get("netrel"):
            for _ in range(3):
                yield str(case["linktype"]), [SockFilter(*insn) for insn in case["insns"]]  # type: ignore[attr-defined]


def changed(insns: Insns, generator: random.Random) -> Insns:
    result = list(insns)
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        at = generator.randrange(len(result))
        code, jt, jf, k = result[at]
        kind, what = code & 7, generator.randrange(8)
        if kind == 5 and code & 0xF0:
            jt, jf = ((jf, jt), (max(0, jt + generator.choice((-1, 1))), jf), (jt, max(0, jf + generator.choice((-1, 1)))))[what % 3]
            if what > 2:
                jt, jf = result[at][1:3]
                code = code & 0xF | generator.choice((0x10, 0x20, 0x30, 0x40)) if what == 3 else code ^ 8 if what == 4 else code
                k = k + generator.choice((-1, 1, 256)) & 0xFFFFFFFF if what == 5 else k ^ 1 << generator.randrange(16) if what > 5 else k
        elif kind in (0, 1) and code & 0xE0 in (0x20, 0x40, 0xA0):
            k = max(0, k + generator.choice((-2, -1, 1, 2, 4))) if what < 5 else generator.randrange(60)
            code = code & ~0x18 | generator.choice((0, 8, 16)) if what == 4 and kind == 0 else code
        elif kind == 4:
            code = code & 0xF | generator.choice(OPERATIONS) if what < 4 else code ^ 8 if what == 4 else code
            k = (k ^ 1 << generator.randrange(12) if what > 4 else k) or 3
            k = k & 31 if code & 0xF0 in (0x60, 0x70) else k
        elif kind == 6 and what < 4:
            code, k = (0x16, 0) if what == 3 else (code, generator.choice((0, 1, 65535, 0x40000, 40)))
        else:
            code = generator.choice((0x07, 0x87, 0x84, 0x0C, 0x1C, 0x80, 0x54, 0x74))
            result.insert(at, SockFilter(code, 0, 0, generator.choice((1, 3, 15))))
            continue
        result[at] = SockFilter(code, jt, jf, k)
    return result


def packets(one: Insns, two: Insns, generator: random.Random) -> Iterator[bytes]:
    store = Store(deadline=3)
    made = [generator.randbytes(size) for size in (14, 34, 60, 100)]
    try:
        for insns in (one, two):
            node = run_in(store, insns, KERNEL, bounds=True, accept=True)
            made += [packet.data for wanted in (0, 1) for packet in packets_to(store, node, wanted, limit=12)]
    except (TooComplex, RecursionError):
        pass
    for data in made:
        if len(data) < 1500:
            yield data
            yield data[: generator.randrange(len(data) + 1)]
            for _ in range(3):
                other = bytearray(data + bytes(200))
                for _ in range(generator.choice((1, 2))):
                    other[generator.randrange(60)] = generator.choice((0, 1, 6, 8, 17, 255, generator.randrange(256)))
                yield bytes(other)


def program(insns: Insns, linktype: str) -> Program:
    return Program(Isa.CLASSIC, encode(insns), Origin("soak", "filter", linktype=linktype))


def disagree(one: Insns, two: Insns, untruncated: bool, generator: random.Random, counts: collections.Counter[str]) -> bytes | None:
    """A packet on which the kernel's answers differ: a proof or the interpreter is wrong. Answers of the interpreter are checked too."""
    a, b = KernelFilter(one), KernelFilter(two)
    try:
        for packet in packets(one, two, generator):
            data = packet + bytes(max(0, 3000 - len(packet))) if untruncated else packet
            if data:
                counts["packets"] += 1
                answers = a.delivered(data) is not None, b.delivered(data) is not None
                if answers[0] != answers[1] or answers[0] != (run(one, data) != 0):
                    return data
    finally:
        a.close()
        b.close()
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    generator = random.Random(args.seed)
    sources = list(filters(generator))
    counts: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        linktype, base = generator.choice(sources)
        one = changed(base, generator)
        try:
            KernelFilter(one).close()
            KernelFilter(base).close()
        except OSError:
            continue
        answer = explain(program(one, linktype), deadline=3)
        counts["explained"] += 1
        counts[f"explained: {answer.proof.grade if answer.expression or answer.words[0].startswith('No packet') else 'no expression'}"] += 1
        claims = []
        if answer.expression is not None:
            code = libpcap.compile(answer.expression, libpcap.dlt_value(linktype))
            claims.append((list(code), answer.proof.grade))
        elif answer.words[0].startswith("No packet"):
            claims.append(([SockFilter(6, 0, 0, 0)], answer.proof.grade))
        difference = diff(program(base, linktype), program(one, linktype), deadline=2)
        counts[f"diff: {f'equal, {difference.grade}' if difference.equal else 'packet' if difference.witness else 'not decided'}"] += 1
        if difference.equal:
            claims.append((base, difference.grade))
        elif difference.witness is not None and not difference.witness.aux and 0 < len(difference.witness.packet) < 60_000:
            a, b = KernelFilter(base), KernelFilter(one)
            shown = tuple(kernel.delivered(difference.witness.packet) is not None for kernel in (a, b))
            a.close()
            b.close()
            if shown != (difference.witness.a != 0, difference.witness.b != 0) and not any(insn.k >= 0xFFE00000 for insn in (*one, *base)):
                counts["wrong"] += 1
                print("wrong packet of diff:", linktype, base, one, difference.witness)
        for other, grade in claims:
            if grade == "none" or any(insn.k >= 0xFFE00000 and insn.code & 7 < 2 for insn in (*one, *other)):
                continue
            found = disagree(one, other, grade == "untruncated", generator, counts)
            if found is not None:
                counts["wrong"] += 1
                print("wrong:", grade, linktype, one, answer.expression, found.hex()[:600])
    print(", ".join(f"{name}: {counts[name]}" for name in sorted({*counts, "wrong"})))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""Real inputs for soak_sources.py: texts as tools and languages write filters, objects, captures."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import golden
from bpflens.formats.pcap.capture import Packet
from bpflens.formats.pcap.write import write_pcap, write_pcapng

__all__ = ("captures", "objects", "texts")

TESTS = Path(golden.__file__).parent
LONGEST = 12  # instructions: what is wrong with the twelfth is wrong with the hundredth
CASES = ("explain", "diff", "listing", "extended_text", "extended_asm")


def texts() -> Iterator[bytes]:
    """Sources of the tests, the inputs of golden cases, and filters of real programs in every way to write them."""
    for path in sorted((TESTS / "corpus" / "sources").iterdir()):
        yield path.read_bytes()
    for name in CASES:
        for case in golden.read(TESTS / "cases" / f"{name}.test"):
            if case.input.strip():
                yield case.input.encode()
    for row in json.loads((TESTS / "corpus" / "cbpf_corpus.json").read_text()):
        for text in written(row["insns"][:LONGEST]):
            yield text.encode()


def written(insns: list[list[int]]) -> Iterator[str]:
    """A filter as tc, iptables, ss, tcpdump -dd and -ddd, C, strace, hex and JSON have it."""
    count = len(insns)
    quads = ",".join(" ".join(map(str, insn)) for insn in insns)
    yield f"filter protocol all pref 1 bpf chain 0 handle 0x1 flowid 1:1 not_in_hw bytecode '{count},{quads}'\n"
    yield f'-A INPUT -m bpf --bytecode "{count},{quads}" -j DROP\n'
    fields = ", ".join("0x{:02x} {} {} {}".format(*insn) for insn in insns)
    yield f"p_raw UNCONN 0 0 *:eth0 * ino:1 sk:2\n\tbpf filter ({count}):  {fields}\n"
    yield f"{count}\n" + "\n".join(" ".join(map(str, insn)) for insn in insns) + "\n"
    yield "".join("{{ {:#x}, {}, {}, {:#010x} }},\n".format(*insn) for insn in insns)
    macros = [("BPF_JUMP({0:#x}, {3:#x}, {1}, {2})" if insn[0] & 7 == 5 else "BPF_STMT({0:#x}, {3})").format(*insn) for insn in insns]
    rows = "".join(f"    {macro},\n" for macro in macros)
    yield f"#include <linux/filter.h>\n#define N {count}\nstatic struct sock_filter code[N] = {{\n{rows}}};\n"
    yield f"setsockopt(3, SOL_SOCKET, SO_ATTACH_FILTER, {{len={count}, filter=[{', '.join(macros)}]}}, 16) = 0\n"
    code = b"".join(i[0].to_bytes(2, "little") + bytes((i[1], i[2])) + i[3].to_bytes(4, "little") for i in insns)
    yield code.hex(" ", 1) + "\n"
    yield json.dumps([dict(zip(("code", "jt", "jf", "k"), insn, strict=True)) for insn in insns])


def objects() -> Iterator[bytes]:
    """The damaged and odd objects of the tests."""
    for path in sorted((TESTS / "corpus" / "objects").iterdir()):
        yield path.read_bytes()


def captures() -> Iterator[bytes]:
    """pcap and pcapng, plain and compressed."""
    packets = [Packet(bytes(range(14 + length)), 14 + length, length * 1_000_000_007, 1) for length in (0, 20, 40)]
    for write in (lambda out: write_pcap(out, packets, 1, True), lambda out: write_pcapng(out, packets)):
        stream = io.BytesIO()
        write(stream)
        yield stream.getvalue()
        yield gzip.compress(stream.getvalue())

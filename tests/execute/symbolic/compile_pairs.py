"""Programs for the symbolic check: the same C compiled in several ways, or two pieces of C."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

import needs
import objects
from bpflens.execute.symbolic import Equality, prove_equal
from bpflens.formats.elf.programs import read_object
from bpflens.program import Program

HEAD = """
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
char _license[] SEC("license") = "GPL";
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 64); } m SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64[4]); __uint(max_entries, 8); } arr SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 3); } jumps SEC(".maps");
"""


@functools.cache
def object_of(source: str, *flags: str) -> bytes:
    """The object of the C text, compiled with clang."""
    clang = needs.tool("clang")
    with tempfile.TemporaryDirectory() as directory:
        path, out = Path(directory, "x.c"), Path(directory, "x.o")
        path.write_text(source)
        command = [clang, "-target", "bpf", "-g", f"-I{objects.INCLUDE}", *(flags or ("-O2",)), "-c", str(path), "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        return out.read_bytes()


def compiled(source: str, *flags: str) -> tuple[Program, ...]:
    """The programs of the C text."""
    return tuple(read_object(object_of(source, *flags), "x.o"))


def entry_of(programs: tuple[Program, ...]) -> Program:
    """The one program that is not a library of subprograms."""
    return next(program for program in programs if program.section != ".text")


def check(a: tuple[Program, ...], b: tuple[Program, ...], **options: object) -> Equality:
    """Prove the entries of two objects equal."""
    return prove_equal(entry_of(a), entry_of(b), others_a=a, others_b=b, **options)  # type: ignore[arg-type]


def compare(body_a: str, body_b: str, section: str = "xdp", context: str = "xdp_md", **options: object) -> Equality:
    """Two bodies of `int f(struct CONTEXT *ctx)`; what stands before "@@" is declarations."""
    return check(compiled(function_of(body_a, section, context)), compiled(function_of(body_b, section, context)), **options)


def function_of(body: str, section: str, context: str) -> str:
    """The C text of one program with this body."""
    before, _, rest = body.rpartition("@@")
    return f'{HEAD}{before}\nSEC("{section}") int f(struct {context} *ctx) {{ {rest} }}\n'

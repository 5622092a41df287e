"""A program of the kernel, written to an object and loaded again by libbpf, is the same program: the kernel's tag says so."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import needs
import objects
from bpflens.formats.elf.data_maps import from_live
from bpflens.formats.elf.programs import read_object
from bpflens.formats.elf.write import write_object
from bpflens.kernel.maps.map_data import lookup
from bpflens.kernel.maps.maps import open_map
from bpflens.kernel.programs.progs import read_program
from bpflens.program import Map, Program

pytestmark = pytest.mark.live

# Nothing here is rewritten by the verifier, so what the kernel dumps is what was loaded (but for the ids of maps).
SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct value { __u32 a; __u64 b; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, struct value); __uint(max_entries, 9); } plain SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(key_size, 4); __uint(value_size, 24); __uint(max_entries, 2); }
  untyped SEC(".maps");
const volatile int limit = 77;
int counter = 5;
static __attribute__((noinline)) int sub(int x) { return x * limit + counter; }
static __attribute__((noinline)) int other(int x) { return sub(x) - sub(x + 1); }
SEC("socket") int entry(void *ctx) {
  void *first = &plain, *second = &untyped;
  asm volatile("" :: "r"(first), "r"(second));
  return sub(3) + other(limit);
}
char _license[] SEC("license") = "GPL";
"""


@contextlib.contextmanager
def loaded(blob: bytes) -> Iterator[int]:
    """The id of the program of an object, loaded by bpftool and pinned in a BPF filesystem of its own."""
    bpftool = needs.tool("bpftool")
    with tempfile.TemporaryDirectory() as directory:
        path, pins = Path(directory) / "prog.o", Path(directory) / "bpf"
        path.write_bytes(blob)
        pins.mkdir()
        subprocess.run(["mount", "-t", "bpf", "bpf", str(pins)], check=True, timeout=60)
        try:
            done = subprocess.run([bpftool, "prog", "load", str(path), str(pins / "p")], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            said = subprocess.run([bpftool, "-j", "prog", "show", "pinned", str(pins / "p")], capture_output=True, text=True, timeout=60)
            yield json.loads(said.stdout)["id"]
        finally:
            subprocess.run(["umount", str(pins)], check=True, timeout=60)


def with_data(map: Map) -> Map:
    """A one-element array with its content."""
    if map.type != 2 or map.max_entries != 1 or map.id is None:
        return map
    with open_map(map.id) as fd:
        return replace(map, data=lookup(fd, bytes(4)))


def shape(map: Map) -> tuple[object, ...]:
    name = map.name.partition(".")[1] + map.name.partition(".")[2] or map.name
    return name, map.type, map.key_size, map.value_size, map.max_entries, map.flags & ~(1 << 10), map.key, map.value, map.data


@pytest.mark.parametrize("with_btf", [True, False])
def test_round_trip_through_the_kernel(with_btf: bool) -> None:
    """Maps, data, subprograms: same tag, same maps; with BTF the same functions and lines as well."""
    with loaded(objects.compiled(SOURCE, "-mcpu=v3")) as id:
        first = read_program(id)
        maps = tuple(map(with_data, first.maps))
        ready = from_live(replace(first, maps=maps), "socket")
        blob = write_object([ready], ready.maps, first.btf.data if first.btf and with_btf else None)
    with loaded(blob) as id:
        second = read_program(id)
        second = replace(second, maps=tuple(map(with_data, second.maps)))
    assert second.tag == first.tag
    strip = (lambda m: shape(m)) if with_btf else (lambda m: shape(replace(m, key=None, value=None)))
    assert sorted(map(strip, second.maps), key=repr) == sorted(map(strip, maps), key=repr)
    if with_btf:
        assert [(f.start, f.name, f.proto) for f in second.functions] == [(f.start, f.name, f.proto) for f in first.functions]
        assert list(second.lines) == list(first.lines)
    objects_say(blob, first)


def objects_say(blob: bytes, first: Program) -> None:
    """The object itself names the same functions as the kernel did."""
    names = {f.name for program in read_object(blob, "x.o") for f in program.functions}
    assert names >= {f.name for f in first.functions}

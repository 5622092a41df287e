"""Damaged and malicious objects: an answer or InputError, in bounded time and memory, whatever the bytes."""

from __future__ import annotations

import functools
import struct
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import objects
from bpflens.btf.build import BtfBuilder
from bpflens.errors import InputError
from bpflens.formats.elf.btf_ext import CoreRelocation
from bpflens.formats.elf.embedded import find_embedded
from bpflens.formats.elf.programs import read_object
from bpflens.formats.elf.write import write_object
from bpflens.program import Declared, Function, Isa, Origin, Program

SECONDS = 3  # of CPU; what the tests below build would take minutes without the bounds


@functools.cache
def samples() -> tuple[bytes, ...]:
    """Objects with everything in them, one of them big-endian."""
    return (
        objects.compiled(objects.MAPS_AND_CALLS), objects.compiled(objects.MAPS_AND_CALLS, target="bpfeb"), objects.compiled(objects.CORE),
        objects.compiled(objects.EXTERNS), objects.compiled(objects.LEGACY_MAPS, "-g0"),
    )  # fmt: skip


def read(blob: bytes) -> None:
    """Read all of it, also what is made only when asked for; InputError is an answer."""
    try:
        for program in read_object(blob, "x.o"):
            list(program.lines)
            repr(program.maps)
        if program.functions:
            read_object(blob, "x.o", program.functions[0].name)
    except InputError as error:
        assert error.reason


@settings(max_examples=200)
@given(st.data())
def test_damaged_objects(data: st.DataObject) -> None:
    """Bytes set, bits flipped, blocks zeroed, the end cut off."""
    blob = bytearray(data.draw(st.sampled_from(samples())))
    interesting = st.integers(0, 255) | st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(blob) - 1))
        kind = data.draw(st.sampled_from(["set", "flip", "zero"]))
        if kind == "set":
            blob[at] = data.draw(interesting)
        elif kind == "flip":
            blob[at] ^= 1 << data.draw(st.integers(0, 7))
        else:
            end = min(len(blob), at + data.draw(st.integers(1, 64)))
            blob[at:end] = bytes(end - at)
    if data.draw(st.booleans()):
        del blob[data.draw(st.integers(0, len(blob))) :]
    read(bytes(blob))


@settings(max_examples=200)
@given(st.data())
def test_damaged_tables(data: st.DataObject) -> None:
    """The section table and the header are where a changed number does most."""
    blob = bytearray(data.draw(st.sampled_from(samples())))
    order = ">" if blob[5] == 2 else "<"
    table, count = struct.unpack_from(order + "Q", blob, 40)[0], struct.unpack_from(order + "H", blob, 60)[0]
    numbers = st.integers(0, (1 << 64) - 1) | st.integers(0, len(blob)) | st.integers(0, count)
    for _ in range(data.draw(st.integers(1, 4))):
        field, format = data.draw(st.sampled_from([(0, "I"), (4, "I"), (8, "Q"), (24, "Q"), (32, "Q"), (40, "I"), (44, "I"), (56, "Q")]))
        value = data.draw(numbers) & (0xFFFFFFFF if format == "I" else (1 << 64) - 1)
        struct.pack_into(order + format, blob, table + 64 * data.draw(st.integers(0, count - 1)) + field, value)
    read(bytes(blob))


@given(st.integers(0, 4), st.data())
def test_damaged_btf_within_objects(index: int, data: st.DataObject) -> None:
    """Type ids, counts and kinds inside of .BTF and .BTF.ext."""
    blob = bytearray(samples()[index])
    at = blob.find(b"\xeb\x9f\x01" if blob[5] == 2 else b"\x9f\xeb\x01")
    if at < 0:
        return
    for _ in range(data.draw(st.integers(1, 8))):
        place = at + 4 * data.draw(st.integers(0, 600))
        if place + 4 <= len(blob):
            word = data.draw(st.integers(0, 200) | st.integers(0, (1 << 32) - 1))
            struct.pack_into(">I" if blob[5] == 2 else "<I", blob, place, word)
    read(bytes(blob))


@given(st.binary(max_size=400))
def test_any_bytes(body: bytes) -> None:
    """Anything, alone or behind a sound ELF header."""
    read(body)
    read(samples()[0][:64] + body)
    list(find_embedded(body + samples()[4] + body))


# --- malicious on purpose: each is a small file that stands for endless work ---


def program(code: bytes, functions: tuple[Function, ...] = (), name: str = "f", section: str = "xdp") -> Program:
    return Program(Isa.EXTENDED, code, Origin("test", "test"), name=name, declared=Declared(section=section), functions=functions)


EXIT = bytes.fromhex("9500000000000000")


def many_prototypes() -> bytes:
    """Functions whose prototype is as long as C may be, thousands of times."""
    build = BtfBuilder()
    id = build.add_int("int", 4)
    for _ in range(30):
        id = build.add_ptr(build.add_func_proto(id, [("", id)] * 10))
    functions = tuple(Function(n, f"f{n}", None, build.add_func(f"f{n}", build.add_func_proto(0, [("", id)]))) for n in range(1000))
    return write_object([program(EXIT * 1000, functions)], btf=build.build())


def deep_structs() -> bytes:
    """Anonymous structs within each other, doubling at each level, as a map's value."""
    build = BtfBuilder()
    id, size = build.add_int("int", 4), 4
    for _ in range(38):
        size = min(2 * size, 1 << 30)
        id = build.add_struct("", size, [("", id, 0), ("", id, 32)])
    pointer = build.add_ptr(id)
    definition = build.add_struct("", 8, [("value", pointer, 0)])
    build.add_datasec(".maps", 8, [(build.add_var("m", definition), 0, 8)])
    blob = bytearray(write_object([program(EXIT)], btf=build.build()))
    return with_section(blob, "license", b".maps")


def with_section(blob: bytearray, old: str, new: bytes) -> bytes:
    """An object with a section renamed (to no longer a name)."""
    at = blob.index(old.encode() + b"\0")
    blob[at : at + len(old)] = new.ljust(len(old), b"\0")
    return bytes(blob)


def long_chain() -> bytes:
    """Forty thousand typedefs of each other, and a variable of the last."""
    build = BtfBuilder()
    id = build.add_int("int", 4)
    for n in range(40_000):
        id = build.add_typedef(f"t{n % 7}", id + (n % 2))
    build.add_datasec(".data", 8, [(build.add_var("v", id), 0, 8)])
    return write_object([program(EXIT)], btf=build.build())


def many_core_relocations() -> bytes:
    """CO-RE relocations that each walk through structs of 30,000 members."""
    build = BtfBuilder()
    id = build.add_int("int", 4)
    for n in range(60):
        id = build.add_struct("", 8, [("m", id, 0)] * (30_000 if n == 30 else 3))
    core = [CoreRelocation(0, id, ":".join(["0"] + ["1"] * depth), 0) for depth in range(60)] * 200
    return write_object([program(EXIT)], btf=build.build(), core={"xdp": core})


def many_variables() -> bytes:
    """65,000 variables of one enormous struct in `.maps`."""
    build = BtfBuilder()
    number = build.add_ptr(build.add_array(build.add_int("int", 4), 5))
    definition = build.add_struct("", 8, [(f"n{n}", number, 0) for n in range(10_000)])
    var = build.add_var("m", definition)
    build.add_datasec(".maps", 8, [(var, 0, 8)] * 65_000)
    return with_section(bytearray(write_object([program(EXIT)], btf=build.build())), "license", b".maps")


def huge_bss() -> bytes:
    """A .bss of an exabyte."""
    blob = bytearray(objects.compiled(objects.MAPS_AND_CALLS))
    table, count = struct.unpack_from("<Q", blob, 40)[0], struct.unpack_from("<H", blob, 60)[0]
    for index in range(count):
        if struct.unpack_from("<I", blob, table + 64 * index + 4)[0] == 8:
            struct.pack_into("<Q", blob, table + 64 * index + 32, 1 << 60)
    return bytes(blob)


def many_sections() -> bytes:
    """Hundreds of sections of the same name, with one .BTF.ext for all."""
    build = BtfBuilder()
    func = build.add_func("f", build.add_func_proto(0, []))
    programs = [program(EXIT, (Function(0, f"f{n}", None, func),), f"f{n}", f"s{n:04}") for n in range(500)]
    blob = bytearray(write_object(programs, btf=build.build()))
    at = blob.index(b"s0000\0")
    for n in range(500):
        at = blob.index(b"s%04d\0" % n)
        blob[at : at + 5] = b"s0000"
    return bytes(blob)


def magic_everywhere() -> bytes:
    """A file of nothing but ELF headers whose section tables are the rest of the file."""
    header = bytearray(samples()[0][:64])
    struct.pack_into("<Q", header, 40, 64)
    struct.pack_into("<HHH", header, 58, 64, 0xFFFF, 0)
    return b"\0" + bytes(header) * 20_000


@pytest.mark.parametrize(
    "build",
    [many_prototypes, deep_structs, long_chain, many_core_relocations, many_variables, huge_bss, many_sections, magic_everywhere],
    ids=lambda build: build.__name__,
)
def test_bounded_work(build: Callable[[], bytes]) -> None:
    """Seconds, and a few hundred bytes of memory per byte of the file at most."""
    blob = build()
    start = time.process_time()
    read(blob)
    assert time.process_time() - start < SECONDS
    tracemalloc.start()
    try:
        read(blob)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000 + 200 * len(blob)

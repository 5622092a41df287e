"""libbpf reads the same objects: its log must tell of the same functions, maps, relocations and CO-RE relocations as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

import objects
from bpflens.formats.elf.btf_ext import CORE_KINDS
from bpflens.formats.elf.embedded import find_embedded
from bpflens.formats.elf.programs import read_object
from bpflens.formats.elf.write import write_object
from bpflens.program import Program

pytestmark = pytest.mark.live

# libbpf's words for enum bpf_core_relo_kind, in the order of ours (libbpf 1.1, src/relo_core.c)
CORE_NAMES = dict(zip(
    ("byte_off", "byte_sz", "field_exists", "signed", "lshift_u64", "rshift_u64", "local_type_id", "target_type_id", "type_exists",
     "type_size", "enumval_exists", "enumval_value", "type_matches"),
    CORE_KINDS, strict=True,
))  # fmt: skip

PACKAGED = (
    "bindsnoop", "biolatency", "biosnoop", "klockstat", "ksnoop", "runqlat", "tcpconnlat", "tcptracer", "fsdist", "xdp-bench",
    "xdp-dispatcher.o", "xdp-filter", "xdpdump_bpf.o", "xdpfilt_dny_eth.o",
)  # fmt: skip


def compare(blob: bytes) -> str:
    """Assert that libbpf's log of an object agrees with what read_object says of it; the log."""
    log = objects.libbpf_says(blob)
    programs = read_object(blob, "x.o")
    assert set(functions(programs)) == set(their_functions(log))
    assert set(maps(programs)) == set(their_maps(log))
    ours = dict(references(programs))
    theirs_by_place = dict(their_references(log))
    assert ours.keys() == theirs_by_place.keys()
    for place, name in theirs_by_place.items():
        assert name in ours[place], place
    core = list(core_relocations(programs))
    theirs = list(their_core(log))
    assert len(theirs) > 0 or not core or "CO-RE" not in log
    for line in theirs:  # libbpf stops at the first program that it cannot load: what it said before must be there
        assert line in core
    return log


def functions(programs: list[Program]) -> Iterator[tuple[str, str, int, int]]:
    for program in programs:
        ends = [*(f.start for f in program.functions[1:]), program.insn_count]
        for function, end in zip(program.functions, ends, strict=True):
            yield program.section or "", function.name, function.start, end - function.start


def their_functions(log: str) -> Iterator[tuple[str, str, int, int]]:
    for found in re.finditer(r"sec '(.*)': found program '(.*)' at insn offset (\d+) .*, code size (\d+) insns", log):
        yield found[1], found[2], int(found[3]), int(found[4])


def maps(programs: list[Program]) -> Iterator[tuple[str, str, int]]:
    for map in programs[0].maps:
        if map.name.startswith("."):
            continue
        yield map.name, "type", map.type
        if map.max_entries:
            yield map.name, "max_entries", map.max_entries
        if map.key_type_id:
            yield map.name, f"key [{map.key_type_id}]", map.key_size
        if map.value_type_id:
            yield map.name, f"value [{map.value_type_id}]", map.value_size
        if map.flags:
            yield map.name, "map_flags", map.flags


def their_maps(log: str) -> Iterator[tuple[str, str, int]]:
    fields = r"type|max_entries|map_flags|key \[\d+\]|value \[\d+\]"
    for found in re.finditer(rf"map '(\S+)': found ({fields})(?: =|, sz =) (0x[0-9a-f]+|\d+)\.$", log, re.M):
        if not found[1].endswith(".inner"):
            yield found[1], found[2], int(found[3], 0)


def references(programs: list[Program]) -> Iterator[tuple[tuple[str, int], tuple[str, str]]]:
    """(section, slot) and what is meant: the symbol, or its section, which is what libbpf names where the ELF symbol has no name."""
    for program in programs:
        for relocation in program.relocations:
            if relocation.kind != "core":
                yield (program.section or "", relocation.off_insns), (relocation.symbol, relocation.section)


def their_references(log: str) -> Iterator[tuple[tuple[str, int], str]]:
    section = ""
    for line in log.splitlines():
        if found := re.search(r"collecting relocation for section\(\d+\) '(.*)'", line):
            section = found[1]
        elif found := re.search(r"relo #\d+: insn #(\d+) against '(.*)'", line):
            yield (section, int(found[1])), found[2]


def core_relocations(programs: list[Program]) -> Iterator[tuple[str, str]]:
    for program in programs:
        starts = {f.start: f.name for f in program.functions}
        for relocation in program.relocations:
            if relocation.kind == "core":
                name = starts[max(start for start in starts if start <= relocation.off_insns)]
                yield name, relocation.text


def their_core(log: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(r"prog '(.*)': relo #\d+: <(\w+)> \[\d+\] (.*)", log):
        kind, what = CORE_NAMES[found[2]], re.sub(r" \([0-9:]+ @ offset [0-9.]+\)$", "", found[3])
        what = re.sub(r"^typedef |(?<=^struct )<anon>|(?<=^union )<anon>", "", what)
        if kind.startswith("field"):
            root, dot, path = what.partition(".")
            yield found[1], f"CO-RE {kind} of {root} {{ {dot}{path} }}"
        elif kind.startswith("enum"):
            root, _, constant = what.partition("::")
            yield found[1], f"CO-RE {kind} of {root} {{ {constant} }}"
        else:
            yield found[1], f"CO-RE {kind} of {what}"


@pytest.mark.parametrize("cpu", ["v1", "v2", "v3"])
@pytest.mark.parametrize("name", ["MAPS_AND_CALLS", "CORE", "EXTERNS"])
def test_objects_of_clang(name: str, cpu: str) -> None:
    """Maps in maps, subprograms, callbacks, global data, tail calls; all CO-RE kinds that clang 14 has; kfuncs, ksyms and kconfig."""
    log = compare(objects.compiled(getattr(objects, name), f"-mcpu={cpu}"))
    assert objects.loads(log) == (name != "CORE")  # its fields are made up


@pytest.mark.parametrize("name", PACKAGED)
def test_objects_of_packages(name: str) -> None:
    """What Debian ships: objects, and objects inside of executables."""
    files = [path for package in ("libbpf-tools", "xdp-tools", "libxdp1") for path in objects.package_files(package) if path.name == name]
    assert files
    found = list(find_embedded(files[0].read_bytes()))
    assert found
    for _, blob in found[:2]:
        compare(blob)


@pytest.mark.parametrize("name", ["MAPS_AND_CALLS", "EXTERNS"])
@pytest.mark.parametrize("target", ["bpf", "bpfeb"])
def test_written_objects_load(name: str, target: str) -> None:
    """What is read and written again, from either byte order, is taken by libbpf and the kernel, and reads the same."""
    programs = read_object(objects.compiled(getattr(objects, name), target=target), "x.o")
    btf = programs[0].btf
    assert btf is not None
    blob = write_object(programs, programs[0].maps, btf.data, programs[0].license)
    assert objects.loads(compare(blob))
    again = read_object(blob, "x.o")
    assert sorted(map(essence, again)) == sorted(map(essence, programs))


def essence(program: Program) -> tuple[object, ...]:
    """What must survive writing: a call inside of .text becomes a relocation, so its distance is not looked at."""
    code = b"".join(program.code[at : at + (4 if program.code[at] in (0x85, 0x18) else 8)] for at in range(0, len(program.code), 8))
    kept = [r for r in program.relocations if r.kind not in ("core", "call")]
    return program.section, program.name, code, program.functions, [replace(r, value=0) for r in kept], list(program.lines)

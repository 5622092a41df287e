"""The code of real objects (clang, Debian packages): every word has a form, llvm-objdump prints the same, listings read back."""

from __future__ import annotations

from pathlib import Path

import pytest

import needs
import objects
import oracles
from bpflens.formats.elf.programs import read_object
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.isa.extended.table import lookup
from bpflens.isa.extended.text import format_word, is_pair
from bpflens.program import Program
from bpflens.view.listing.extended import ListingOptions, listing


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    found = []
    for source in (objects.MAPS_AND_CALLS, objects.LEGACY_MAPS, objects.CORE, objects.EXTERNS):
        for cpu in ("v1", "v2", "v3"):
            found += read_object(objects.compiled(source, f"-mcpu={cpu}"), f"clang {cpu}")
    for package in ("libbpf-tools", "xdp-tools"):
        for path in objects.package_files(package):
            data = path.read_bytes()
            if b"\x7fELF" in data and b"\xf7\0\1\0\0\0" in data:  # EM_BPF: an object, or an executable with one inside
                found += read_object(data, str(path))
    return found


def distinct(programs: list[Program]) -> dict[tuple[int, int | None], None]:
    """(word, second word) of every instruction, once."""
    found: dict[tuple[int, int | None], None] = {}
    for program in programs:
        slots = words(program.code)
        at = 0
        while at < len(slots):
            following = slots[at + 1] if at + 1 < len(slots) else None
            pair = is_pair(slots[at], following)
            found[slots[at], following if pair else None] = None
            at += 2 if pair else 1
    return found


def test_every_instruction_has_a_form(programs: list[Program]) -> None:
    assert sum(program.insn_count for program in programs) > 20_000
    unknown = [hex(word) for word, _ in distinct(programs) if lookup(word) is None]

    assert not unknown


def test_llvm_objdump_prints_the_same(programs: list[Program], tmp_path: Path) -> None:
    needs.tool("llvm-objdump"), needs.tool("llvm-mc")
    code, expected = b"", {}
    for word, following in distinct(programs):
        row = lookup(word)
        assert row is not None
        if oracles.llvm_fault(row.name) is None:
            expected[len(code) // 8] = format_word(word, following, "llvm")
            code += word.to_bytes(8, "little") + (following.to_bytes(8, "little") if following is not None else b"")
    theirs = oracles.llvm_lines(code, tmp_path)

    assert len(expected) > 2_000
    assert {slot: theirs.get(slot) for slot in expected} == expected


@pytest.mark.parametrize("dialect", ["kernel", "llvm"])
def test_listings_assemble_to_the_same_bytes(programs: list[Program], dialect: str) -> None:
    options = ListingOptions(dialect=dialect, raw_insn=dialect == "llvm", source=True, line_numbers=True, prototypes=True)
    for program in programs[:: 1 if dialect == "kernel" else 7]:
        text = "".join(listing(program, options))

        assert assemble(text, dialect, program.origin.where) == program.code

"""Source lines from DWARF 4 and 5: those that llvm-objdump shows, never an exception where it is damaged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.errors import BpflensError
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.elf.file import ElfFile
from bpflens.formats.elf.programs import read_object
from bpflens.program import SourceLine

SOURCE = """\
typedef unsigned int u32;
static __attribute__((noinline)) int twice(int a, u32 *p) {
    *p += a;
    return a * 2;
}
__attribute__((section("xdp"), used)) int prog(u32 *ctx) {
    if (ctx[0] > 7)
        return 1;
    return twice(ctx[1], ctx);
}
__attribute__((section("tc"), used)) int other(u32 *ctx) {
    return ctx[2] ^ 5;
}
"""


@pytest.fixture(scope="module", params=["-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -gz=zlib"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dwarf")
    (directory / "prog.c").write_text(SOURCE)
    command = ["clang", "-target", "bpf", "-O2", *request.param.split(), "-c", "prog.c", "-o", "prog.o"]
    subprocess.run(command, cwd=directory, check=True)
    return directory / "prog.o"


def _without_btf(data: bytes) -> bytes:
    return data.replace(b".BTF", b".XTF")


def _turns(lines: Sequence[SourceLine]) -> list[tuple[int, int, str]]:
    """(slot, line, text) where another line begins: tables differ in how often they repeat one."""
    told = [(line.off_insns, line.line, line.text) for line in lines]
    return [now for before, now in zip([(0, 0, ""), *told], told, strict=False) if before[1] != now[1]]


def test_the_lines_are_those_that_llvm_objdump_shows(compiled: Path, tmp_path: Path) -> None:
    data = _without_btf(compiled.read_bytes())
    (compiled.parent / "bare.o").write_bytes(data)
    shown = subprocess.run(["llvm-objdump", "-dSl", "bare.o"], cwd=compiled.parent, check=True, capture_output=True).stdout
    theirs = {program.section: _turns(program.lines) for program in read_programs(shown, "-")}
    ours = {program.section: _turns(program.lines) for program in read_object(data, str(compiled))}

    assert set(ours) == {".text", "xdp", "tc"}
    assert ours == theirs


def test_a_source_that_is_not_the_one_compiled(compiled: Path, tmp_path: Path) -> None:
    data = _without_btf(compiled.read_bytes())
    source = compiled.parent / "prog.c"
    try:
        source.write_text(SOURCE.replace("twice", "thrice"))
        later = compiled.stat().st_mtime + 100
        os.utime(source, (later, later))
        lines = {program.section: program.lines for program in read_object(data, str(compiled))}["tc"]
        assert "the file is" in lines[0].text and "prog.c:12" in lines[0].text
        source.unlink()
        lines = {program.section: program.lines for program in read_object(data, str(compiled))}["tc"]
        assert lines[0].text.endswith("prog.c:12")
    finally:
        source.write_text(SOURCE)
        os.utime(source, (0, 0))


@given(st.data())
def test_damage_never_breaks_the_reading(compiled: Path, data: st.DataObject) -> None:
    whole = bytearray(_without_btf(compiled.read_bytes()))
    elf = ElfFile.parse(bytes(whole), "x.o")
    names = [".debug_line", ".debug_info", ".debug_abbrev", ".rel.debug_line", ".debug_line_str"]
    name = data.draw(st.sampled_from([name for name in names if elf.section(name)]))
    section = elf.section(name)
    assert section is not None
    for _ in range(data.draw(st.integers(1, 6))):
        whole[section.offset + data.draw(st.integers(0, section.size - 1))] = data.draw(st.integers(0, 255))
    try:
        for program in read_object(bytes(whole), "x.o"):
            assert all(line.line > 0 for line in program.lines)
    except BpflensError:
        pass

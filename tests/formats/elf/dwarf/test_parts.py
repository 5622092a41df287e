"""DWARF by hand: numbers, sections, directories of units, source files, and small line tables of both layouts."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.formats.elf.dwarf.bytes import SHF_COMPRESSED, DebugBytes, debug_bytes, debug_strings
from bpflens.formats.elf.dwarf.lines import DwarfLines
from bpflens.formats.elf.dwarf.source_files import SourceFile, SourceFiles
from bpflens.formats.elf.dwarf.unit import compile_directories, unit_bytes
from bpflens.formats.elf.emit import OutSection, emit
from bpflens.formats.elf.file import SHF_ALLOC, SHF_EXECINSTR, SHT_PROGBITS, ElfFile, Section
from bpflens.program import SourceLine

SECTION = Section(1, ".debug_x", SHT_PROGBITS, 0, 0, 0, 0, 0, 0)


def bytes_of(data: bytes, order: str = "<") -> DebugBytes:
    return DebugBytes(SECTION, data, order)


def object_of(where: str = "x.o", code: int = 2, flags: int = 0, **sections: bytes) -> ElfFile:
    """An object with code of some slots and sections ".debug_NAME"."""
    out = [OutSection("xdp", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, bytearray(8 * code))]
    out += [OutSection(f".debug_{name}", SHT_PROGBITS, flags, bytearray(data)) for name, data in sections.items()]
    return ElfFile.parse(emit(out, []), where)


# --- bytes ---


def uleb(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value >> 7 else 0))
        value >>= 7
        if not value:
            return bytes(out)


def sleb(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        done = value == (-1 if byte & 0x40 else 0)
        out.append(byte | (0 if done else 0x80))
        if done:
            return bytes(out)


@given(st.integers(0, (1 << 63) - 1), st.integers(-(1 << 62), (1 << 62) - 1))
def test_numbers_of_variable_length(unsigned: int, signed: int) -> None:
    reader = bytes_of(uleb(unsigned) + sleb(signed))
    assert (reader.uleb(), reader.sleb(), reader.at) == (unsigned, signed, len(reader.data))


def test_numbers_and_strings() -> None:
    reader = bytes_of(b"\x01\x02\xff\xfeword\0rest", ">")
    assert (reader.number(2), reader.number(1, signed=True), reader.take(1), reader.string()) == (0x0102, -1, b"\xfe", "word")
    assert bytes_of(b"\x01\x02").number(2) == 0x0201
    assert reader.reader(4).string() == "word" and reader.at == 9


@pytest.mark.parametrize("read", ["uleb", "string", "unit"])
def test_the_end_is_an_error(read: str) -> None:
    for data in (b"", b"\xff\xff\xff", b"\xff" * 20):
        with pytest.raises(IndexError):
            getattr(bytes_of(data), read)()
    with pytest.raises(IndexError):
        bytes_of(b"\x05\0\0\0abc").unit()
    with pytest.raises(IndexError):
        bytes_of(b"ab").take(3)


def test_units() -> None:
    """Where one ends; offsets of 64 bits are announced."""
    assert bytes_of(b"\x03\0\0\0abc").unit() == (7, False)
    assert bytes_of(b"\xff\xff\xff\xff" + (3).to_bytes(8, "little") + b"abc").unit() == (15, True)


def test_sections_with_and_without_compression() -> None:
    packed = struct.pack("<IIQQ", 1, 0, 5, 1) + zlib.compress(b"hello")
    for elf in (object_of(str=b"hello"), object_of(str=packed, flags=SHF_COMPRESSED)):
        found = debug_bytes(elf, ".debug_str")
        assert found is not None and found.data == b"hello" and not found.relocated
        assert debug_strings(elf) == {0x1F: b"", 0x0E: b"hello"}
    damaged = (struct.pack("<IIQQ", 2, 0, 5, 1) + b"zstd", packed[:30] + b"x" * 8, b"short", struct.pack("<IIQQ", 1, 0, 1 << 40, 1))
    assert [debug_bytes(object_of(str=data, flags=SHF_COMPRESSED), ".debug_str") for data in damaged] == [None] * 4
    assert debug_bytes(object_of(), ".debug_str") is None


# --- unit ---

# DW_TAG_compile_unit without children: producer (strp), comp_dir (string), language (data2), stmt_list (sec_offset)
ABBREVIATIONS = b"\x01\x11\x00" + b"\x25\x0e" + b"\x1b\x08" + b"\x13\x05" + b"\x10\x17" + b"\0\0" + b"\0"


def unit(version: int, directory: bytes, table: int, code: int = 1) -> bytes:
    body = struct.pack("<HIB", version, 0, 8) + bytes((code,)) + bytes(4) + directory + b"\0" + b"\x0c\0" + struct.pack("<I", table)
    return struct.pack("<I", len(body)) + body


def test_directories_of_units() -> None:
    """By the offset of their line table; version 5 has the directory in the table itself."""
    info = unit(4, b"/src", 0x20) + unit(5, b"/new", 0x30) + unit(3, b"/old", 0x40) + unit(4, b"/unknown", 0x50, code=9)
    elf = object_of(info=info, abbrev=ABBREVIATIONS, str=b"clang\0")
    assert compile_directories(unit_bytes(elf)) == {0x20: "/src", 0x40: "/old"}
    assert compile_directories(unit_bytes(object_of(info=info))) == {}
    cut = object_of(info=info[:-30] + b"\xff\0\0\0", abbrev=ABBREVIATIONS, str=b"clang\0")
    assert compile_directories(unit_bytes(cut)) == {0x20: "/src", 0x40: "/old"}


# --- source files ---


def test_source_files(tmp_path: Path) -> None:
    """What was compiled: by its MD5, else no younger than the object; beside the object where the MD5 fits."""
    source, object = tmp_path / "a.c", tmp_path / "a.o"
    source.write_text("int a;\n   int b;\n")
    object.write_bytes(b"")
    os.utime(source, (1000, 1000))
    os.utime(object, (2000, 2000))
    md5 = hashlib.md5(source.read_bytes()).digest()

    def line(number: int, path: str = str(source), sum: bytes | None = None) -> str:
        return SourceFiles(str(object)).text(SourceFile("a.c", path, sum), number)

    assert (line(2), line(2, sum=md5), line(2, "/nowhere/a.c", md5)) == ("int b;",) * 3
    assert [line(number) for number in (0, 99)] == ["a.c:0", "a.c:99"]
    assert line(1, "/nowhere/a.c") == "a.c:1" and line(1, str(tmp_path)) == "a.c:1" and line(1, "/dev/zero") == "a.c:1"
    assert line(1, sum=bytes(16)) == "a.c:1 (the file is not the one that was compiled)"
    os.utime(source, (3000, 3000))
    assert line(1) == "a.c:1 (the file is younger than the object)" and line(1, sum=md5) == "int a;"


# --- lines ---

OPERANDS = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1))  # of the standard operations 1 to 9
SET_ADDRESS = b"\0\x09\x02" + bytes(8)
END = b"\0\x01\x01"
# line_base -3, line_range 12, opcode_base 10: special operation 10 + 12 * address + (line + 3)


def special(address: int, line: int) -> bytes:
    return bytes((10 + 12 * address + line + 3,))


PROGRAM = (
    SET_ADDRESS + b"\x05" + uleb(7) + special(0, 4)  # slot 0: line 5, column 7
    + special(8, 2)  # slot 1: line 7
    + b"\x02" + uleb(8) + b"\x03" + sleb(-6) + b"\x01"  # slot 2: line 1
    + b"\x04" + uleb(2) + b"\x03" + sleb(99) + b"\x09" + struct.pack("<H", 8) + b"\x01"  # slot 3: another file, line 100
    + b"\x09" + struct.pack("<H", 16) + b"\x01"  # slot 5: as before, not told again
    + b"\x03" + sleb(-200) + b"\x09" + struct.pack("<H", 8) + b"\x01"  # slot 6: no source
    + END
)  # fmt: skip


def table(version: int) -> bytes:
    header = b"\x01" + (b"\x01" if version >= 4 else b"") + b"\x01" + b"\xfd\x0c\x0a" + OPERANDS
    if version < 5:
        header += b"lib\0/abs\0\0" + b"a.c\0\0\0\0" + b"b.h\0" + b"\x01\0\0" + b"\0"
    else:
        directories = b"\x01\x01\x08" + uleb(2) + b"/src\0" + b"lib\0"
        files = b"\x02\x01\x08\x02\x0b" + uleb(3) + b"zero.c\0\0" + b"a.c\0\0" + b"b.h\0\x01"
        header += directories + files
    body = struct.pack("<H", version) + (b"\x08\0" if version >= 5 else b"") + struct.pack("<I", len(header)) + header + PROGRAM
    return struct.pack("<I", len(body)) + body


def lines_of(elf: ElfFile) -> list[SourceLine]:
    lines = DwarfLines.of(elf)
    code = elf.section("xdp")
    assert lines is not None and code is not None
    return list(lines.of_section(code))


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_a_line_table(version: int) -> None:
    """Special operations, advances, files and columns; the line of one slot is told until another begins."""
    rows = [(0, "a.c", 5, 7), (1, "a.c", 7, 7), (2, "a.c", 1, 7), (3, "lib/b.h", 100, 7)]
    assert lines_of(object_of(line=table(version))) == [SourceLine(*row, f"{row[1]}:{row[2]}") for row in rows]


def test_units_after_each_other_and_damage() -> None:
    """A unit that is damaged ends the reading; what was read stays. A table of another version has no lines."""
    assert len(lines_of(object_of(line=table(4) + table(5)[:-5]))) == 4
    assert lines_of(object_of(line=struct.pack("<IH", 8, 6) + bytes(6))) == []
    without_range = table(4).replace(b"\xfd\x0c\x0a", b"\xfd\x00\x0a")
    assert lines_of(object_of(line=without_range)) == []
    assert DwarfLines.of(object_of()) is None


def test_lines_of_two_sections_need_relocations() -> None:
    """Without them nobody can tell whose address 0 is."""
    out = [OutSection(name, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, bytearray(16)) for name in ("xdp", "tc")]
    elf = ElfFile.parse(emit([*out, OutSection(".debug_line", SHT_PROGBITS, 0, bytearray(table(4)))], []), "x.o")
    assert lines_of(elf) == []

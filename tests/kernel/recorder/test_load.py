"""Loads put together from the recorder's records, and the program's text."""

from __future__ import annotations

import contextlib
import re
import struct

import pytest

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.fields import field
from bpflens.errors import InputError
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.recorder.load import (
    _FIELDS,
    _FUNC_INFO_COUNT,
    _FUNC_INFO_SIZE,
    _LINE_INFO_COUNT,
    _LINE_INFO_SIZE,
    CODE,
    FUNC_INFO,
    LINE_INFO,
    Load,
    load_of,
)
from bpflens.kernel.recorder.program import ATTR_BYTES, FUNCTIONS, HEADER_AT_ATTR, LICENSE_BYTES, Layout, functions_btf, recorder_text

CODE_2 = bytes.fromhex("b700000000000000 9500000000000000")


@pytest.fixture(scope="module")
def layout() -> Layout:
    return Layout(vmlinux())


def attr(**fields: int) -> bytes:
    """union bpf_attr of BPF_PROG_LOAD; records are of the sizes that the kernel knows."""
    offsets = {"prog_flags": 44, "expected_attach_type": 68, "func_info_rec_size": 76, "func_info_cnt": 88, "line_info_rec_size": 92,
               "line_info_cnt": 104, "attach_btf_id": 108}  # fmt: skip
    made = bytearray(ATTR_BYTES)
    for name, value in fields.items():
        struct.pack_into("<I", made, offsets[name], value)
    return bytes(made)


def header(
    layout: Layout, given: bytes = b"", *, call: int = 321, command: int = 5, license: bytes = b"GPL\0", size: int = ATTR_BYTES
) -> bytes:
    """The first record of a load."""
    record = bytearray(layout.header_bytes)
    struct.pack_into("=QQ16s", record, 24, 4711 << 32 | 4712, 5 << 32 | 1000, b"loader")
    struct.pack_into("=QQQQq", record, 56, call, command, 0, size, len(license))
    record[HEADER_AT_ATTR : HEADER_AT_ATTR + len(given)] = given
    record[HEADER_AT_ATTR + ATTR_BYTES : HEADER_AT_ATTR + ATTR_BYTES + len(license)] = license
    struct.pack_into("=Q16s", record, layout.at_load_time, 123456789, b"my_prog")
    struct.pack_into("=II", record, layout.at_prog + layout.type, 6, 37)
    return bytes(record)


@pytest.mark.live
def test_a_header(layout: Layout) -> None:
    load = load_of(header(layout, attr(prog_flags=16, attach_btf_id=99)), 2, layout)
    assert (load.pid, load.uid, load.comm, load.name, load.load_time) == (4711, 1000, "loader", "my_prog", 123456789)
    assert (load.type, load.expected_attach_type, load.insn_count, load.license) == (6, 37, 2, "GPL")
    assert load.attributes == {"prog_flags": 16, "attach_btf_id": 99}
    assert load_of(header(layout, attr(prog_flags=16), size=48), 2, layout).attr == attr(prog_flags=16)[:48], "as long as it was given"


@pytest.mark.live
@pytest.mark.parametrize("other", [{"call": 1}, {"command": 9}])
def test_loaded_by_something_else(layout: Layout, other: dict[str, int]) -> None:
    """A program that another program loads: the registers are of another call."""
    load = load_of(header(layout, attr(prog_flags=16), **other), 2, layout)  # type: ignore[arg-type]
    assert (load.attr, load.license, load.attributes) == (b"", "", {})
    assert load.name == "my_prog"


def load(given: bytes = b"") -> Load:
    return Load(1, 2, 3, "x", "y", 6, 0, 2, given)


def test_pieces() -> None:
    """Complete when all instructions are there; whole when nothing more can come."""
    one = load(attr(func_info_rec_size=8, func_info_cnt=1, line_info_rec_size=16, line_info_cnt=2))
    one.add(CODE, 0, CODE_2[:8], False)
    assert not one.complete and not one.whole
    one.add(CODE, 8, CODE_2[8:], False)
    assert one.complete and not one.whole and one.code == CODE_2
    one.add(FUNC_INFO, 0, struct.pack("<II", 0, 7), False)
    assert not one.whole
    one.add(LINE_INFO, 0, struct.pack("<8I", 0, 1, 2, 3, 1, 5, 6, 7), False)
    assert one.whole and not one.gap
    assert one.func_info == ((0, 7),) and one.line_info == ((0, 1, 2, 3), (1, 5, 6, 7))


def test_a_gap() -> None:
    """After a piece that is missing, or that could not be read, the rest of that part is of no use."""
    for at, failed in ((16, False), (0, True)):
        one = load()
        one.add(CODE, at, CODE_2, failed)
        assert one.gap and not one.complete and one.code == b""
    one = load()
    one.add(9, 0, b"x", False)
    assert one.gap, "a kind that is not known"


def test_records_of_another_size() -> None:
    """A newer loader's are longer: they are not taken for ours."""
    one = load(attr(func_info_rec_size=12, func_info_cnt=1))
    one.add(FUNC_INFO, 0, bytes(12), False)
    assert one.func_info == ()
    assert load().whole is False and load().func_info == load().line_info == ()


@pytest.mark.live
def test_offsets_are_the_kernels() -> None:
    """Those of union bpf_attr, by the types of the running kernel, where it has the field."""
    btf = vmlinux()
    union = next(id for id in range(1, len(btf)) if btf.kind(id) is Kind.UNION and btf.name(id) == "bpf_attr")
    own = {"func_info_rec_size": _FUNC_INFO_SIZE, "func_info_cnt": _FUNC_INFO_COUNT, "line_info_rec_size": _LINE_INFO_SIZE,
           "line_info_cnt": _LINE_INFO_COUNT, **_FIELDS}  # fmt: skip
    for name, at in own.items():
        with contextlib.suppress(InputError):
            assert field(btf, union, name).bit_off == 8 * at, name


@pytest.mark.live
def test_every_number_of_the_text_is_known(layout: Layout) -> None:
    """It assembles; a longer name is not taken for a shorter one that it begins with."""
    text = recorder_text(layout, {"RING": 11, "COUNTS": 12, "TASKS": 13, "EMPTY": 14}, 4096)
    assert not re.search(r"\$[A-Z]", text) and len(assemble(text, "kernel")) % 8 == 0
    assert f"{layout.numbers['AT_PROG_AUX']}" in text
    assert layout.at_prog == HEADER_AT_ATTR + ATTR_BYTES + LICENSE_BYTES + 24 and layout.header_bytes % 8 == 0
    for label in FUNCTIONS:
        assert f"\n{label}:" in text


def test_types_of_the_functions() -> None:
    btf = Btf.parse(functions_btf(("main", "chunk")))
    assert [(btf.kind(id), btf.name(id)) for id in (3, 4)] == [(Kind.FUNC, "main"), (Kind.FUNC, "chunk")]
    assert btf.size(1) == 4

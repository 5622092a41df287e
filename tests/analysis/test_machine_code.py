"""Machine code beside BPF instructions: made-up functions of both machines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bpflens.analysis.machine_code import listing
from bpflens.errors import NotSupported
from bpflens.program import Function, Isa, Jited, Origin, Program, SourceLine

X86 = bytes.fromhex("55 4889e5 7402 31c0 e800000000 c3".replace(" ", ""))
ADDRESS = 0xFFFFFFFFC0001000


def program(arch: str, code: bytes, address: int = ADDRESS, lines: tuple[tuple[int, int], ...] = ()) -> Program:
    return Program(
        Isa.EXTENDED,
        bytes(8 * 6),
        Origin("kernel", "id:1", arch=arch),
        functions=(Function(0, "main"), Function(4, "sub")),
        lines=(SourceLine(0, "a.c", 1, 1, "x"), SourceLine(2, "a.c", 2, 1, "y"), SourceLine(3, "a.c", 3, 1, "z")),
        jited=(Jited("main", address, code, lines),),
    )


def test_offsets_jumps_and_calls_of_x86() -> None:
    lines = list(listing(program("x86_64", X86)))

    assert [line.offset for line in lines] == [0, 1, 4, 6, 8, 13]
    assert b"".join(line.code for line in lines) == X86
    assert [line.address for line in lines] == [ADDRESS + line.offset for line in lines]
    assert lines[2].text == f"je {ADDRESS + 8:#x} <main+0x8>"
    assert lines[4].text == f"callq {ADDRESS + 0xD:#x} <main+0xd>"


def test_instructions_belong_to_lines() -> None:
    lines = list(listing(program("x86_64", X86, lines=((0, 0), (4, 1), (4, 2)))))

    # The record at slot 2 became no code of its own, so slots 2 to 4 begin at byte 4; slot 4 is another function's.
    assert [(line.offset, line.slots, line.line) for line in lines if line.slots] == [(0, (0, 2), 0), (4, (2, 4), 1)]


def test_intel_syntax_and_large_constants() -> None:
    code = bytes.fromhex("48bf00185a0a8188ffff")

    (att,) = listing(program("x86_64", code))
    (intel,) = listing(program("x86_64", code), "intel")
    assert att.text == "movabsq $0xffff88810a5a1800, %rdi"
    assert intel.text == "movabs rdi, 0xffff88810a5a1800"


def test_bytes_that_are_no_instruction() -> None:
    lines = list(listing(program("x86_64", b"\x06\xc3")))

    assert [line.code for line in lines] == [b"\x06", b"\xc3"]
    assert lines[0].text.startswith(".byte")


def test_hidden_address_is_said() -> None:
    lines = list(listing(program("x86_64", bytes.fromhex("e8f0ffff7f"), address=0)))

    assert lines[0].address == 0
    assert "hidden" in lines[0].text


def test_arm64_calls_through_a_register_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    from bpflens.kernel.sys import kallsyms

    table = kallsyms.Kallsyms(b"ffff800080123450 T first\nffff800080123458 T bpf_ktime_get_ns\n")
    monkeypatch.setattr(kallsyms, "_shared", table)
    # mov x10, #-0x7fff...; movk x10, #0x8012, lsl #16; movk x10, #0x8000, lsl #32; blr x10; ret
    words = (0x92800000 | (0xFFFF ^ 0x3458) << 5 | 10, 0xF2B00240 | 10, 0xF2D00000 | 10, 0xD63F0140, 0xD65F03C0)
    code = b"".join(word.to_bytes(4, "little") for word in words)

    lines = list(listing(program("aarch64", code, address=0xFFFF800081000000)))

    assert [line.target for line in lines] == [None, None, None, "bpf_ktime_get_ns", None]
    assert lines[3].text == "blr x10 <bpf_ktime_get_ns>"


def test_unknown_machine() -> None:
    with pytest.raises(NotSupported, match="riscv64"):
        list(listing(program("riscv64", X86)))


def test_missing_capstone(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "capstone", None)
    with pytest.raises(NotSupported, match="capstone is not installed") as caught:
        list(listing(program("x86_64", X86)))
    assert caught.value.hint == "pip install capstone"


def test_program_without_machine_code() -> None:
    assert list(listing(replace(program("x86_64", X86), jited=()))) == []


def test_a_program_without_lines_and_functions() -> None:
    bare = replace(program("x86_64", X86), functions=(), lines=())

    assert [line.slots for line in listing(bare)] == [None] * 6

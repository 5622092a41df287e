"""No grade is ever given that was not established: random programs, damaged images, damaged reconstructions."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.errors import KernelError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, encode
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_dump, prog_info_by_fd
from bpflens.original.image.blinding import unblind
from bpflens.original.image.image import of_code, of_id
from bpflens.original.image.tag import blanked, tags
from bpflens.original.invert.reconstruction import Layout
from bpflens.original.kernels.running import live_kernel
from bpflens.original.recover import recover
from bpflens.original.reload import candidates, reload
from original.image.test_blinding import blinded
from original.load import loaded
from original.matrix import ROWS

pytestmark = pytest.mark.live

SCALARS = (2, 3, 4, 5, 7, 8)
OPERATIONS = (op.ADD, op.SUB, op.MUL, op.DIV, op.OR, op.AND, op.MOD, op.XOR, op.LSH, op.RSH, op.ARSH, op.MOV, op.NEG)
FIELDS = ((0, 4), (4, 4), (8, 4), (16, 4), (16, 2), (18, 1), (24, 4), (32, 4), (40, 4), (44, 4), (48, 4), (52, 2), (68, 4), (152, 8))
CONDITIONS = (op.JEQ, op.JGT, op.JGE, op.JSET, op.JNE, op.JSGT, op.JLT, op.JLE, op.JSLT)

register = st.sampled_from(SCALARS)


@st.composite
def instruction(draw):
    kind = draw(st.integers(0, 7))
    dst, src = draw(register), draw(register)
    if kind <= 1:
        offset, size = draw(st.sampled_from(FIELDS))
        return Insn.make(op.LDX | op.MEM | op.SIZE_CODE[size], dst, 6, offset)
    if kind == 2:
        return Insn.make(op.LDX | op.MEMSX | draw(st.sampled_from((op.B, op.H, op.W))), dst, 10, draw(st.sampled_from((-8, -16))))
    if kind == 3:
        return Insn.make(op.STX | op.MEM | draw(st.sampled_from((op.B, op.H, op.W, op.DW))), 10, src, draw(st.sampled_from((-8, -16))))
    if kind == 4:
        return Insn.make(op.JMP | draw(st.sampled_from(CONDITIONS)) | op.X, dst, src, draw(st.integers(0, 4)))
    alu = draw(st.sampled_from((op.ALU, op.ALU64)))
    operation = draw(st.sampled_from(OPERATIONS))
    signed = draw(st.booleans()) if operation in (op.DIV, op.MOD) else 0
    if operation == op.NEG:
        return Insn.make(alu | op.NEG, dst)
    if kind == 5 and operation not in (op.LSH, op.RSH, op.ARSH):
        return Insn.make(alu | operation | op.K, dst, 0, int(signed), draw(st.integers(-3, 200)) or 1)
    return Insn.make(alu | operation | op.X, dst, src, int(signed))


def program(body):
    start = [Insn.make(op.ALU64 | op.MOV | op.X, 6, 1)]
    start += [Insn.make(op.LDX | op.MEM | op.W, r, 6, 4 * n) for n, r in enumerate(SCALARS) if 4 * n != 20]
    start += [Insn.make(op.LDX | op.MEM | op.W, r, 6, 8) for n, r in enumerate(SCALARS) if 4 * n == 20]
    start += [Insn.make(op.STX | op.MEM | op.DW, 10, 7, -8), Insn.make(op.STX | op.MEM | op.DW, 10, 8, -16)]
    end = [Insn.make(op.ALU64 | op.MOV | op.K, 0)] * 5 + [Insn.make(op.EXIT_CODE)]
    return [*start, *body, *end]


@settings(max_examples=150)
@given(body=st.lists(instruction(), max_size=25))
def test_random_programs_come_back(body):
    insns = program(body)
    try:
        fd = load_program(encode(insns), 3)
    except KernelError:
        return
    try:
        info = prog_info_by_fd(fd)
        original = recover(info.id)
    finally:
        os.close(fd)
    assert info.tag in tags([insn.word for insn in insns])
    if original.grade == "exact":
        assert list(blanked(original.layout.words)) == [insn.word for insn in insns]
    else:
        assert original.grade == "equivalent", original.reason
        assert len(original.code) < 8 * len(insns), f"nothing was removed, yet it is not exact: {original.reason}"


@pytest.fixture(scope="module")
def images():
    """(image, original code) of some rows of the matrix."""
    out = []
    for row in ROWS:
        if row.grade == "exact" and row.row in ("8.1", "8.5", "8.8", "8.11", "8.17", "7", "7.1", "6.5", "6.8", "5.2"):
            with loaded(row) as one:
                out.append((of_id(one.id), [int.from_bytes(one.code[at : at + 8], "little") for at in range(0, len(one.code), 8)]))
    return out


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_image_is_never_exact(images, data):
    image, code = data.draw(st.sampled_from(images), label="image")
    words = list(image.words)
    for _ in range(data.draw(st.integers(1, 3), label="flips")):
        words[data.draw(st.integers(0, len(words) - 1))] ^= 1 << data.draw(st.integers(0, 63))
    changed = b"".join(word.to_bytes(8, "little") for word in words)
    damaged = of_code(changed, image.prog_type, tag=image.tag, func_info=image.func_info, line_info=image.line_info)
    damaged = replace(damaged, map_ids=image.map_ids, maps=image.maps)

    original = recover(damaged, live_kernel())

    if original.grade == "exact":
        assert list(blanked(_words(original.code))) == list(blanked(code)), "another program than the one that was loaded"
    else:
        assert original.grade == "unproven"
        assert original.reason


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_reconstruction_is_never_proved(data):
    row = data.draw(st.sampled_from([row for row in ROWS if row.type != "struct_ops" and not row.target[1]]), label="row")
    with loaded(row) as one:
        original = recover(one.id)
        layout = original.layout
        words = layout.words[:]
        at = data.draw(st.integers(0, len(words) - 1), label="at")
        words[at] ^= 1 << data.draw(st.integers(0, 63), label="bit")
        damaged = Layout(words, layout.starts, layout.groups, layout.references)
        result = reload(original.image, damaged, list(candidates(original.image))[:2])  # a damaged loop costs a million instructions each
        if result.identical:
            independent = _image_of(damaged, original.image, row)
            assert independent is None or independent == _masked(original.image.words, layout)
        if list(blanked(words)) != list(blanked(layout.words)) and original.grade == "exact":
            assert original.image.tag not in tags(words)


def _image_of(layout, image, row):
    """What bpftool would dump of the damaged program, loaded without anything that reload() does; None for programs with maps or BTF."""
    if image.map_ids or image.btf_id:
        return None
    fd = load_program(layout.code(), image.prog_type, expected_attach_type=row.attach, flags=row.flags)
    try:
        return _words(prog_dump(fd).xlated)
    finally:
        os.close(fd)


def _masked(words, layout):
    return list(words)


def _words(code):
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]


def test_the_tag_covers_all_but_map_references():
    words = [Insn.make(op.LD_IMM64, 1, 1, 0, 5).word, 0, Insn.make(op.EXIT_CODE).word]
    other_map = [Insn.make(op.LD_IMM64, 1, 1, 0, 77).word, 0, words[2]]
    by_index = [Insn.make(op.LD_IMM64, 1, 5, 0, 5).word, 0, words[2]]

    assert tags(words) == tags(other_map)
    assert tags(words) != tags(by_index)


def test_a_program_without_a_tag_is_unproven():
    with loaded(next(row for row in ROWS if row.row == "8.1")) as one:
        image = replace(of_id(one.id), tag="")
        assert recover(image, reload=False).grade == "unproven"


WORDS = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.builds(
        lambda code, registers, off, imm: code | registers << 8 | (off & 0xFFFF) << 16 | (imm & 0xFFFFFFFF) << 32,
        st.sampled_from((0x18, 0x85, 0x05, 0x06, 0x15, 0x61, 0x63, 0x7B, 0x79, 0xBF, 0xB7, 0x95, 0xE5, 0xC2, 0xDB, 0x55, 0x07, 0xB4, 0)),
        st.integers(0, 255), st.integers(-4, 8), st.integers(-3, 20),
    ),
)  # fmt: skip


@settings(max_examples=200)
@given(words=st.lists(WORDS, max_size=30), prog_type=st.sampled_from((0, 1, 3, 6, 13, 18, 26, 99)), start=st.integers(0, 40))
def test_any_image_is_answered(words, prog_type, start):
    code = b"".join(word.to_bytes(8, "little") for word in words)
    image = of_code(code, prog_type, tag="0123456789abcdef", func_info=((0, 1), (start, 2)))

    assert recover(image, live_kernel()).grade == "unproven"


@settings(max_examples=100)
@given(data=st.data())
def test_a_damaged_blinded_image_is_never_exact(images, data):
    """The same through the restoration of blinded constants."""
    image, code = data.draw(st.sampled_from(images), label="image")
    random = data.draw(st.randoms(use_true_random=False))
    words, _ = blinded(list(image.words), lambda: random.getrandbits(32))
    words[data.draw(st.integers(0, len(words) - 1))] ^= 1 << data.draw(st.integers(0, 63))
    plain = unblind(words)
    data_of = b"".join(word.to_bytes(8, "little") for word in plain.words)
    damaged = replace(of_code(data_of, image.prog_type, tag=image.tag), map_ids=image.map_ids, maps=image.maps, blinded=True)

    original = recover(damaged, live_kernel())

    assert original.grade in ("exact", "unproven")
    assert original.grade == "unproven" or list(blanked(_words(original.code))) == list(blanked(code))

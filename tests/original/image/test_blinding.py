"""Images with blinded constants (net.core.bpf_jit_harden=2), made here as the kernel makes them: the setting is the whole machine's."""

from __future__ import annotations

import os
from array import array
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.analysis.cfg import jump_target
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.insn import words as words_of
from bpflens.kernel.maps.map_addresses import map_addresses
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map
from bpflens.kernel.programs.prog_info import prog_dump
from bpflens.original.image.blinding import _refer_to_maps, canonical_zeros, unblind
from bpflens.original.image.image import of_dump, of_id
from bpflens.original.image.tag import blanked
from bpflens.original.kernels.running import live_kernel
from bpflens.original.recover import recover
from original.load import loaded
from original.matrix import ROWS

OPERATIONS = (op.MOV, op.ADD, op.SUB, op.AND, op.OR, op.XOR, op.MUL, op.DIV, op.MOD)
CONDITIONS = (op.JEQ, op.JNE, op.JGT, op.JLT, op.JGE, op.JLE, op.JSGT, op.JSLT, op.JSGE, op.JSLE, op.JSET)


def blinded(words, random):
    """The words as bpf_jit_blind_constants() gives them; `random` gives a number at each call."""
    out, moved, jumps = [], [], []
    slot = 0
    while slot < len(words):
        insn = Insn(words[slot])
        moved.append(len(out))
        made = _blind(insn, Insn(words[slot + 1]) if insn.code == op.LD_IMM64 else None, random)
        if insn.code == op.LD_IMM64:
            moved.append(-1)
        target = jump_target(insn, slot)
        if target is not None:
            jumps.append((len(out) + len(made) - 1, target))
        out += made
        slot += 2 if insn.code == op.LD_IMM64 else 1
    moved.append(len(out))
    for at, target in jumps:
        out[at] = out[at] & ~0xFFFF0000 | ((moved[target] - at - 1) & 0xFFFF) << 16
    return out, moved


def _pair(alu, imm, random):
    number = random()
    move = Insn.make(alu | op.MOV | op.K, op.AX, imm=_signed(number ^ imm))
    return [move.word, Insn.make(alu | op.XOR | op.K, op.AX, imm=_signed(number)).word]


def _signed(number):
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


def _blind(insn, second, random):
    code, kind = insn.code, insn.code & 7
    if op.AX in (insn.dst, insn.src):
        return [insn.word]
    if kind in (op.ALU, op.ALU64) and code & 0xF0 == op.MOV and not code & op.X and insn.imm == 0:
        return [Insn.make(op.ALU64 | op.XOR | op.X, insn.dst, insn.dst).word]
    if kind in (op.ALU, op.ALU64) and code & 0xF0 in OPERATIONS and not code & op.X:
        return [*_pair(kind, insn.imm, random), Insn.make(code | op.X, insn.dst, op.AX, insn.off).word]
    if kind in (op.JMP, op.JMP32) and code & 0xF0 in CONDITIONS and not code & op.X:
        return [*_pair(op.ALU64 if kind == op.JMP else op.ALU, insn.imm, random), Insn.make(code | op.X, insn.dst, op.AX, insn.off).word]
    if code == op.LD_IMM64 and insn.src == 0:
        return [
            *_pair(op.ALU64, second.imm, random), Insn.make(op.ALU64 | op.LSH | op.K, op.AX, imm=32).word,
            Insn.make(op.ALU64 | op.MOV | op.X, insn.dst, op.AX).word, *_pair(op.ALU, insn.imm, random),
            Insn.make(op.ALU64 | op.OR | op.X, insn.dst, op.AX).word,
        ]  # fmt: skip
    if code == op.LD_IMM64:
        return [insn.word, second.word]  # a reference that the kernel showed again: here its address is not known
    if kind == op.ST and code & 0xE0 == op.MEM:
        return [*_pair(op.ALU64, insn.imm, random), Insn.make(code & ~7 | op.STX, insn.dst, op.AX, insn.off).word]
    return [insn.word]


REGISTER = st.integers(0, 9)
IMM = st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(-3, 3)
INSN = st.one_of(
    st.builds(lambda alu, o, d, i: [Insn.make(alu | o | op.K, d, 0, 0, i).word], st.sampled_from((op.ALU, op.ALU64)),
              st.sampled_from(OPERATIONS), REGISTER, IMM),
    st.builds(lambda size, d, o, i: [Insn.make(op.ST | op.MEM | op.SIZE_CODE[size], d, 0, o, i).word], st.sampled_from((1, 2, 4, 8)),
              REGISTER, st.integers(-64, 64), IMM),
    st.builds(lambda d, lo, hi: [Insn.make(op.LD_IMM64, d, 0, 0, lo).word, Insn.make(0, imm=hi).word], REGISTER, IMM, IMM),
    st.builds(lambda jmp, c, d, i: [Insn.make(jmp | c | op.K, d, 0, 0, i).word], st.sampled_from((op.JMP, op.JMP32)),
              st.sampled_from(CONDITIONS), REGISTER, IMM),
    st.builds(lambda d, s: [Insn.make(op.ALU64 | op.MOV | op.X, d, s).word], REGISTER, REGISTER),
    st.builds(lambda d, i: [Insn.make(op.ALU64 | op.MOV | op.K, op.AX, imm=i).word, Insn.make(op.ALU64 | op.SUB | op.X, op.AX, d).word],
              REGISTER, IMM),
)  # fmt: skip


@settings(max_examples=200)
@given(body=st.lists(INSN, min_size=1, max_size=20), random=st.randoms(use_true_random=False), data=st.data())
def test_constants_come_back(body, random, data):
    words = [word for piece in body for word in piece] + [Insn.make(op.EXIT_CODE).word]
    heads, slot = [], 0
    while slot < len(words):
        heads.append(slot)
        slot += 2 if words[slot] & 0xFF == op.LD_IMM64 else 1
    for at in heads:
        if words[at] & 7 in (op.JMP, op.JMP32) and words[at] & 0xFF != op.EXIT_CODE:
            target = data.draw(st.sampled_from(heads))
            words[at] = words[at] & ~0xFFFF0000 | ((target - at - 1) & 0xFFFF) << 16

    image, moved = blinded(words, lambda: random.getrandbits(32))
    plain = unblind(image)

    assert list(canonical_zeros(plain.words)) == list(canonical_zeros(words))
    assert plain.blinded == (len(image) != len(words))
    assert all(plain.moved[moved[at]] == at for at in heads)


def test_without_blinding_nothing_changes():
    words = [Insn.make(op.ALU64 | op.MOV | op.K, op.AX, imm=5).word, Insn.make(op.ALU64 | op.SUB | op.X, op.AX, 3).word, 0x95]

    plain = unblind(words)

    assert (plain.words, plain.blinded) == (words, False)


SINGLE = [row for row in ROWS if row.grade == "exact" and not row.functions and "call pc" not in row.text and "subprog" not in row.text]


@pytest.mark.live
@pytest.mark.parametrize("row", SINGLE, ids=lambda row: f"{row.row} {row.name}")
def test_blinded_programs_come_back(row):
    numbers = iter(range(0x12345678, 1 << 32, 0x10001))
    with loaded(row) as one:
        dump = prog_dump(one.fd, tags=True)
        assert not unblind(words_of(dump.xlated)).blinded, "run with net.core.bpf_jit_harden=0"
        image, _ = blinded(list(words_of(dump.xlated)), lambda: next(numbers))
        code = b"".join(word.to_bytes(8, "little") for word in image)
        original = recover(of_dump(dump._replace(xlated=code)), live_kernel())

    assert original.grade == "exact", original.reason
    assert list(blanked(list(words_of(original.code)))) == list(blanked(list(words_of(one.code))))


@pytest.mark.live
def test_shifted_lines_of_programs_of_several_functions_do_not_matter():
    """Their image is spared, but the kernel shifts their line_info with every function that it blinds."""
    row = next(row for row in ROWS if row.name == "bpf_loop")
    with loaded(row) as one:
        image = of_id(one.id)
    shifted = frozenset(range(1, len(image), 3))

    assert recover(replace(image, lines=shifted), live_kernel()).grade == "exact"


@pytest.mark.live
def test_addresses_of_maps_are_references_again():
    """What the kernel shows of blinded references are addresses; the kernel's own iterator has them too."""
    fds = [create_map(2, 4, 64, 1), create_map(1, 4, 8, 4)]
    try:
        ids = [map_by_fd(fd).id for fd in fds]
        places = map_addresses(ids)
        (data, start, end), (table, _, _) = places[ids[0]], places[ids[1]]
        words = array("Q")
        for value in (data, start + 8, table, end):
            words.extend((op.LD_IMM64 | (value & 0xFFFFFFFF) << 32, value >> 32 << 32))
        last = words[6:]
        _refer_to_maps(words, ids)
    finally:
        for fd in fds:
            os.close(fd)

    assert [(word >> 12 & 0xF, word >> 32) for word in words[0:6:2]] == [(1, ids[0]), (2, ids[0]), (1, ids[1])]
    assert words[3] >> 32 == 8
    assert words[6:] == last

"""Patterns as text, rows of rewrites bound to a kernel, accesses to contexts, and which helper a symbol is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.helpers import helper_name
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import ProgType
from bpflens.original.rewrites import alu, calls
from bpflens.original.rewrites.ctx_access import PROBE_IMM, Row, patterns
from bpflens.original.rewrites.helper_symbols import helper_ids, likely_helpers, may_be_helper
from bpflens.original.rewrites.pattern import build, parse, slot_of, unify, with_hidden_register, zeros_by_xor
from bpflens.original.rewrites.template import Group, TemplateSet, distinct, rewrite


def words(text: str) -> list[int]:
    """The words of a program in the kernel's dialect; r11 is written by hand."""
    code = assemble(text, "kernel")
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]


# --- patterns ---

SAME = ("r1 = 5", "w1 = 5", "r1 = r2", "w3 += 7", "r4 s>>= 63", "r1 = -r1", "w1 = -w1", "r1 s/= r2", "w1 s%= 3", "exit")


@pytest.mark.parametrize(("pattern", "text"), [
    *((same, same) for same in SAME),
    ("goto +4", "goto pc+4"), ("if r1 > 5 goto +3", "if r1 > 5 goto pc+3"), ("if w1 s<= w2 goto -2", "if w1 s<= w2 goto pc-2"),
    ("r1 = *(u16*)(r2+8)", "r1 = *(u16 *)(r2 +8)"), ("r1 = *(s8*)(r2-4)", "r1 = *(s8 *)(r2 -4)"),
    ("*(u32*)(r10-4) = r1", "*(u32 *)(r10 -4) = r1"), ("*(u8*)(r1+0) = 7", "*(u8 *)(r1 +0) = 7"), ("call #14", "call 14"),
])  # fmt: skip
def test_the_grammar_is_the_kernels(pattern: str, text: str) -> None:
    """A pattern without placeholders is what the assembler makes of the same instruction."""
    assert list(build(parse(pattern), {})) == words(text)


@pytest.mark.parametrize("text", ["", "rD", "r1 ? r2", "if r1 == goto +1", "r1 = *(u9*)(r2+0)", "nothing here at all", "r1 = {a} l"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="not a pattern"):
        parse(text)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(-(1 << 15), (1 << 15) - 1), st.integers(0, 0xFFFFFFFF))
def test_what_is_built_is_found_again(dst: int, src: int, off: int, number: int) -> None:
    """The placeholders of a pattern, from the words that it makes of them."""
    slots = parse("rD = *(u32*)(rS+{off}); rD += {number}; if rD != 0 goto +2")
    bound = {"D": dst, "S": src, "off": off & 0xFFFF, "number": number}
    made = build(slots, bound)
    assert unify(slots, [0, *made], 1, {}) == bound
    assert Insn(made[0]).off == off and Insn(made[1]).imm & 0xFFFFFFFF == number


def test_a_placeholder_is_one_and_the_same() -> None:
    """Where it occurs again it must bind the same; bindings from before hold; too few words fit nothing."""
    slots = parse("rD += rS; rD = rS")
    one, two, other = Insn.make(0x0F, 1, 2).word, Insn.make(0xBF, 1, 2).word, Insn.make(0xBF, 1, 3).word
    assert unify(slots, [one, two], 0, {}) == {"D": 1, "S": 2}
    assert unify(slots, [one, other], 0, {}) is None
    assert unify(slots, [one, two], 0, {"D": 4}) is None
    assert unify(slots, [one], 0, {}) is None
    assert unify(slots, [one, two | 1 << 32], 0, {}) is None, "a move has no number"


def test_zeros_of_blinded_images() -> None:
    """Every move of zero, of either width; not one to the hidden register, and no other number."""
    before = parse("rD = 0; w3 = 0; r4 = 1; r11 = 0; rD = {number}")
    after = zeros_by_xor(before)
    assert after[:2] == (slot_of(op.ALU64 | op.XOR | op.X, "D", "D"), slot_of(op.ALU64 | op.XOR | op.X, 3, 3))
    assert after[2:] == before[2:]


def test_another_hidden_register() -> None:
    assert with_hidden_register(parse("r11 = r1; rD -= r11; *(u64*)(r11+8) = r2"), 12) == (
        slot_of(0xBF, 12, 1), slot_of(0x1F, "D", 12), slot_of(0x7B, 12, 2, 8),
    )  # fmt: skip


# --- tables of rewrites ---


class Kernel:
    """Numbers of functions as the test has them."""

    def __init__(self, **imms: int) -> None:
        self.imms = imms

    def imm_of(self, name: str) -> int | None:
        return self.imms.get(name)

    def kfunc_id(self, name: str) -> int | None:
        return self.imms.get(f"id_{name}")


def test_calls_are_bound_to_a_kernel() -> None:
    """By the number of the function; a row for a function that the kernel does not have is none."""
    row = rewrite("hidden argument", "r3 = {aux} ll; kcall f", "kcall f")
    bound = row.bound(Kernel(f=1234, id_f=77))
    assert bound is not None and row.bound(Kernel(f=1234)) is None and row.bound(None) is None
    made = [Insn.make(op.LD_IMM64, 3, 0, 0, 5).word, 6 << 32, Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 3, 1234).word]
    found = unify(bound.image, made, 0, {})
    assert found == {"aux": 5, "aux_hi": 6, "kfunc_off": 3}
    assert build(bound.original, found) == (Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 3, 77).word,)
    assert bound.loose(found) == (("aux", 5), ("aux_hi", 6))


def test_every_row_can_be_read() -> None:
    """Of both tables: the text is in the grammar, and what the original has stands in the image too."""
    for row in (*alu.TEMPLATES, *calls.TEMPLATES):
        image = {bind.name for slot in parse(row.image) for bind in slot.binds}
        original = {bind.name for slot in parse(row.original) for bind in slot.binds} if row.original else set()
        assert original <= image, row.name
        assert row.original or row.build or row.name in ("zero extension", "random upper half", "speculation barrier"), row.name


def readings(text: list[int]) -> set[tuple[str, tuple[int, ...]]]:
    """(name, words of the original) of every row of the arithmetic that fits the words as a whole."""
    found = set()
    for template in TemplateSet(alu.TEMPLATES).starting_with(text[0]):
        bound = unify(template.image, text, 0, {})
        if bound is not None and len(template.image) == len(text):
            found.add((template.name, build(template.original, bound)))
    return found


@pytest.mark.parametrize(("image", "name", "original"), [
    ("if r2 != 0 goto pc+2\nw1 ^= w1\ngoto pc+1\nr1 /= r2", "division guard", "r1 /= r2"),
    ("if w2 == 0 goto pc+2\nw1 %= w2\ngoto pc+1\nw1 = w1", "remainder guard", "w1 %= w2"),
    ("if r2 == 0 goto pc+1\nr1 s%= r2", "signed remainder guard", "r1 s%= r2"),
    ("r1 = -r1", "signed division by -1", "r1 s/= -1"),
])  # fmt: skip
def test_guards_of_arithmetic(image: str, name: str, original: str) -> None:
    assert (name, tuple(words(original))) in readings(words(image))


def test_a_guard_of_another_register_is_none() -> None:
    assert readings(words("if r3 != 0 goto pc+2\nw1 ^= w1\ngoto pc+1\nr1 /= r2")) == set()


def test_the_words_that_follow_choose() -> None:
    """Templates by their first two words; those of one word stay."""
    rows = (rewrite("two", "r1 = 5; r2 = {x}", "r1 = 5"), rewrite("one", "r1 = 5", "r1 = 6"), rewrite("other", "r1 = 5; r3 = 0", "r1 = 7"))
    set_ = TemplateSet(rows)
    first, following = words("r1 = 5\nr2 = 9")
    assert [template.name for template in set_.starting_with(first)] == ["two", "one", "other"]
    for _ in "twice":
        assert [template.name for template in set_.starting_with_both(first, following)] == ["two", "one"]
    assert set_.starting_with(words("r1 = 6")[0]) == () and first in set_.words_cached()


def test_variants() -> None:
    """Of blinded images, of other hidden registers, of images whose calls read 0; each is made once."""
    set_ = TemplateSet((rewrite("zero", "r2 = 0; r11 = r2; call f", "r2 = 0"),), Kernel(f=77))
    zero, xor = words("r2 = 0\nr2 ^= r2")
    (blinded,) = set_.blinded().starting_with(xor)
    assert set_.blinded() is set_.blinded() and set_.blinded().starting_with(zero) == ()
    (renumbered,) = set_.hidden_register(12).starting_with(zero)
    assert Insn(renumbered.image[1].value).dst == 12 and set_.hidden_register(op.AX) is set_
    (hidden,) = set_.calls_hidden().starting_with(zero)
    assert [Insn(template.image[2].value).imm for template in (blinded, renumbered, hidden)] == [77, 77, 0]


def test_readings_without_repetitions() -> None:
    """By cost; the same reading at a higher price goes."""
    one, again, longer = Group(1, ((5, -1),), "a", 3), Group(1, ((5, -1),), "b", 1), Group(2, ((5, -1),), "c", 2)
    assert distinct([one, again, longer]) == (again, longer)


# --- contexts ---


def test_a_load_and_its_sign_extension() -> None:
    """Of what was learnt with base r1, value r2 and scratch r9; 8 bytes have no sign extension."""
    image = (Insn.make(0x79, 9, 1, 16).word, Insn.make(0x69, 2, 9, 176).word)
    plain, extended = patterns("__sk_buff", Row("R", 16, 4, False, image))
    assert unify(plain.image, [Insn.make(0x79, 7, 3, 16).word, Insn.make(0x69, 4, 7, 176).word], 0, {}) == {"T": 7, "S": 3, "D": 4}
    assert build(plain.original, {"D": 4, "S": 3}) == (Insn.make(0x61, 4, 3, 16).word,)
    assert build(extended.original, {"D": 4, "S": 3}) == (Insn.make(op.LDX | op.MEMSX | op.W, 4, 3, 16).word,)
    assert extended.image[:2] == plain.image and extended.odd > plain.odd
    assert plain.name == "skb->protocol"
    assert len(list(patterns("__sk_buff", Row("R", 16, 8, False, image)))) == 1


def test_a_load_into_its_base() -> None:
    (plain, _) = patterns("__sk_buff", Row("R", 16, 4, True, (Insn.make(0x69, 1, 1, 176).word,)))
    assert build(plain.original, {"S": 3}) == (Insn.make(0x61, 3, 3, 16).word,)


def test_stores() -> None:
    """Of a register, and of a number, which the image has where the probe's stood."""
    (store,) = patterns("__sk_buff", Row("W", 8, 4, False, (Insn.make(0x63, 1, 2, 164).word,)))
    assert unify(store.image, [Insn.make(0x63, 6, 7, 164).word], 0, {}) == {"S": 6, "D": 7}
    (number,) = patterns("__sk_buff", Row("I", 8, 4, False, (Insn.make(op.ST | op.MEM | op.W, 1, 0, 164, PROBE_IMM).word,)))
    bound = unify(number.image, [Insn.make(op.ST | op.MEM | op.W, 6, 0, 164, 4711).word], 0, {})
    assert bound == {"S": 6, "I": 4711}
    assert build(number.original, bound) == (Insn.make(op.ST | op.MEM | op.W, 6, 0, 8, 4711).word,)


# --- helpers ---


@pytest.mark.parametrize(("symbol", "type", "expected"), [
    ("bpf_map_lookup_elem", ProgType.XDP, "bpf_map_lookup_elem"), ("htab_map_update_elem", ProgType.XDP, "bpf_map_update_elem"),
    ("__htab_lru_percpu_map_update_elem", ProgType.XDP, "bpf_map_update_elem"),
    ("bpf_for_each_array_elem", ProgType.XDP, "bpf_for_each_map_elem"),
    ("xsk_map_redirect", ProgType.XDP, "bpf_redirect_map"), ("bpf_sock_ops_setsockopt", ProgType.SOCK_OPS, "bpf_setsockopt"),
    ("bpf_skb_event_output", ProgType.SCHED_CLS, "bpf_perf_event_output"), ("bpf_skb_event_output", ProgType.TRACING, "bpf_skb_output"),
    ("bpf_xdp_event_output", ProgType.XDP, "bpf_perf_event_output"), ("bpf_xdp_event_output", ProgType.TRACING, "bpf_xdp_output"),
    ("bpf_ktime_get_ns", ProgType.XDP, "bpf_ktime_get_ns"), ("bpf_task_storage_get_recur", ProgType.TRACING, "bpf_task_storage_get"),
])  # fmt: skip
def test_which_helper_a_function_is(symbol: str, type: int, expected: str) -> None:
    assert [helper_name(id) for id in helper_ids(symbol, type)] == [expected]
    assert may_be_helper(symbol)


def test_functions_that_are_no_helpers() -> None:
    assert helper_ids("__pfx_bpf_map_lookup_elem", ProgType.XDP) == () == helper_ids("vfs_read", ProgType.XDP)
    assert not may_be_helper("vfs_read")


def test_likely_helpers() -> None:
    """All of them, each once, the look-up first."""
    found = likely_helpers()
    assert found[0] == 1 and len(set(found)) == len(found)
    assert set(found) == {id for id in range(1, 512) if helper_name(id)}

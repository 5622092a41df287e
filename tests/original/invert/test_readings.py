"""What a single instruction may have been, what was removed without a trace, and the traces of what was removed."""

from __future__ import annotations

import pytest

from bpflens.analysis.pointer_types import Pointer, State
from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import ProgType
from bpflens.lean import replace
from bpflens.original.image.image import Image
from bpflens.original.invert.opcode_readings import BLINDED_ZERO, SPECIAL
from bpflens.original.invert.put_back import NOP, fastcall_layouts, insert, nop_layout, nop_layouts
from bpflens.original.invert.question import PLAIN, Options, Question
from bpflens.original.invert.reconstruction import Layout, Misfit, lay_out
from bpflens.original.invert.segment import segment
from bpflens.original.invert.traces import Removed, removed
from bpflens.original.rewrites.helper_symbols import likely_helpers
from original.plain_kernel import PlainKernel, image, words

KERNEL_ADDRESS = 0xFFFF_FFFF_8000_1000


def readings(
    one: Image, slot: int = 0, kernel: PlainKernel | None = None, state: State | None = None, options: Options = PLAIN, **more: object
) -> tuple[list[tuple[str, int, tuple[int, ...]]], dict[int, str]]:
    """((name, cost, words) of each reading of a slot, what has no name)."""
    ask = Question(one, kernel or PlainKernel(), options, **more)  # type: ignore[arg-type]
    special = SPECIAL[one.insns[slot].code]
    found = special(ask, slot, one.insns[slot], state or {}) if special else None
    return [(group.rewrite, group.cost, tuple(word for word, _ in group.items)) for group in found or ()], ask.unknown


def wide(value: int, dst: int = 1) -> list[int]:
    return [Insn.make(op.LD_IMM64, dst).word | (value & 0xFFFFFFFF) << 32, value >> 32 << 32]


# --- calls ---


def test_calls_of_helpers() -> None:
    """Each helper that the function may be; a helper's own number stays; without a name there is no reading."""
    one = image("call 4711\ncall 14\ncall 4712\nexit")
    kernel = PlainKernel({4711: (1, 2)})
    assert readings(one, 0, kernel)[0] == [("", 0, (words("call 1")[0],)), ("", 1, (words("call 2")[0],))]
    assert readings(one, 1, kernel)[0] == [("", 0, (words("call 14")[0],))]
    assert readings(one, 2, kernel) == ([], {2: "helper"})
    named = replace(one, symbols={2: "bpf_ktime_get_ns"})
    assert readings(named, 2, kernel)[0] == [("", 0, (words("call 5")[0],))], "a dump says the name"


def test_calls_that_the_kernel_hides() -> None:
    """Every helper, the common ones first."""
    found, unknown = readings(image("call 0\nexit"))
    assert [Insn(made[0]).imm for _, _, made in found] == list(likely_helpers()) and unknown == {0: "hidden"}
    assert [cost for _, cost, _ in found] == list(range(len(found)))


def test_calls_of_kfuncs() -> None:
    one = image([Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 3, 77).word, words("exit")[0]])
    assert readings(one, 0, PlainKernel(kfuncs={"f": 77}))[0] == [("", 0, (one.words[0],))]
    assert readings(one) == ([], {0: "kfunc"})


# --- constants ---


def test_constants_that_are_addresses() -> None:
    """A plain number; a place in an arena; a symbol of the kernel, where one has the address."""
    plain = image([*wide(5 << 32 | 7), *words("exit")])
    assert readings(plain)[0] == [("", 0, tuple(plain.words[:2]))]
    (first, second) = readings(plain, arenas=((5 << 32, 6 << 32, 9),))[0]
    assert first[0] == "address in the arena" and Insn(first[2][0]).src == op.PSEUDO_MAP_VALUE
    assert (Insn(first[2][0]).imm, first[2][1] >> 32) == (9, 7) and second == ("", 5, tuple(plain.words[:2]))
    symbol = image([*wide(KERNEL_ADDRESS), *words("exit")])
    found = readings(symbol, kernel=PlainKernel(symbols={KERNEL_ADDRESS: (33, 34)}))[0]
    assert [(name, cost) for name, cost, _ in found] == [("", 0), ("address of a kernel symbol", 2), ("address of a kernel symbol", 3)]
    assert Insn(found[1][2][0]).src == op.PSEUDO_BTF_ID and Insn(found[1][2][0]).imm == 33
    assert readings(image(wide(7)[:1]))[0] == [], "cut off"


def test_an_argument_that_the_program_never_gave() -> None:
    """A kernel address before a kfunc call, with or without a place; not one that something jumps to, nor a known kfunc's."""
    call = Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 0, 77).word
    alone, place = [*wide(KERNEL_ADDRESS, 3), call, *words("exit")], [*wide(KERNEL_ADDRESS, 3), *words("r4 = 8"), call, *words("exit")]
    new = PlainKernel(kfuncs={"new_kfunc": 77})
    assert readings(image(alone), kernel=new)[0][0] == ("program as hidden argument", 0, (call,))
    assert readings(image(place), kernel=new)[0][0] == ("type and offset of the node", 0, (call,))
    assert [name for name, _, _ in readings(image(alone), kernel=PlainKernel(kfuncs={"bpf_obj_drop": 77}))[0]] == [""]
    assert [name for name, _, _ in readings(image([*wide(7, 3), call, *words("exit")]), kernel=new)[0]] == [""]
    jumped = [*words("if r1 == 0 goto pc+2"), *alone]
    assert [name for name, _, _ in readings(image(jumped), 1, new)[0]] == [""]


# --- other instructions ---


def test_a_move_that_may_be_a_cast() -> None:
    kernel = PlainKernel(kfuncs={"bpf_cast_to_kern_ctx": 5, "bpf_rdonly_cast": 6})
    one, context = image("r0 = r1\nexit"), {1: Pointer("ctx")}
    assert readings(one, kernel=kernel)[0] == [
        ("", 0, (one.words[0],)), ("inlined rdonly_cast", 15, (Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 0, 6).word,)),
    ]  # fmt: skip
    names = [name for name, _, _ in readings(one, kernel=kernel, state=context)[0]]
    assert names == ["", "inlined cast_to_kern_ctx", "inlined rdonly_cast"]
    assert readings(one, kernel=kernel, state=context, options=Options(casts=True))[0][1][1] == -1
    assert readings(image("r0 = r2\nexit"), kernel=kernel)[0] == [] == readings(one)[0]


def test_zeros_of_a_blinded_image() -> None:
    """Both ways to move zero became it; which goes first is an option."""
    one = image("r3 ^= r3\nexit")
    assert readings(one)[0] == []
    blinded = replace(one, blinded=True)
    assert readings(blinded)[0] == [
        (BLINDED_ZERO, 0, (words("r3 = 0")[0],)), (BLINDED_ZERO, 1, (words("w3 = 0")[0],)), (BLINDED_ZERO, 6, (one.words[0],)),
    ]  # fmt: skip
    assert readings(blinded, options=Options(narrow_zeros=True))[0][0][2] == (words("w3 = 0")[0],)
    assert readings(replace(image("r3 ^= r4\nexit"), blinded=True))[0] == []


def test_arithmetic_in_a_program_with_an_arena() -> None:
    arenas = ((5 << 32, 6 << 32, 9),)
    assert readings(image("w1 = w2\nexit"))[0] == []
    names = [(name, cost) for name, cost, _ in readings(image("w1 = w2\nexit"), arenas=arenas)[0]]
    assert names == [("cast into the arena", 0), ("", 4)]
    one = image("w1 += 8\nexit")
    assert [cost for _, cost, _ in readings(one, arenas=arenas)[0]] == [6, 0]
    found = readings(one, arenas=arenas, state={1: Pointer("arena")})[0]
    assert [cost for _, cost, _ in found] == [0, 6] and found[0][2] == (words("r1 += 8")[0],)
    assert readings(image("w1 *= 8\nexit"), arenas=arenas)[0] == []


def test_loads_that_may_fault() -> None:
    one = image([Insn.make(op.LDX | op.PROBE_MEMSX | op.H, 1, 2, 8).word, *words("exit")])
    assert readings(one)[0] == [("load that may fault", 0, (Insn.make(op.LDX | op.MEMSX | op.H, 1, 2, 8).word,))]
    one = image([Insn.make(op.STX | op.PROBE_ATOMIC | op.W, 1, 2, 8, 1).word, *words("exit")])
    assert readings(one)[0] == [("atomic that may fault", 0, (Insn.make(op.STX | op.ATOMIC | op.W, 1, 2, 8, 1).word,))]


def test_a_jump_over_nothing() -> None:
    """In a classifier with the context in a register a stored number that was too large; else removed code."""
    one = image("goto pc+0\nexit", ProgType.SCHED_CLS)
    assert readings(image("goto pc+0\nexit"))[0] == []
    assert readings(image("goto pc+1\nexit", ProgType.SCHED_CLS), state={6: Pointer("ctx")})[0] == []
    found = readings(one, state={6: Pointer("ctx")})[0]
    assert found[0] == ("", 8, (NOP,))
    assert [Insn(made[0]).imm for _, _, made in found[1:]] == [-1, 65535] and Insn(found[1][2][0]).dst == 6


# --- put back ---


def layout_of(text: str) -> Layout:
    one = image(text)
    return lay_out(one, segment(one, PlainKernel(), Options()))


def test_words_put_in_move_the_jumps() -> None:
    """Jumps go to what was put in before their target, or past it."""
    layout = layout_of("if r1 == 0 goto pc+1\nr0 = 1\nr0 = 2\nexit")
    (extra,) = words("r3 = 3")
    assert list(insert(layout, {2: (extra,)}).words) == words("if r1 == 0 goto pc+1\nr0 = 1\nr3 = 3\nr0 = 2\nexit")
    assert list(insert(layout, {2: (extra,)}, frozenset((2,))).words) == words("if r1 == 0 goto pc+2\nr0 = 1\nr3 = 3\nr0 = 2\nexit")
    moved = insert(layout, {0: (extra, extra)})
    assert moved.starts == [2, 3, 4, 5, 6] and moved.references == ((2, 4),)
    with pytest.raises(Misfit, match="does not fit in 16 bits"):
        insert(layout, {1: (extra,) * 0x8000})


def test_one_jump_over_nothing_more() -> None:
    """At every place, before or behind what is jumped to; never inside of a 64-bit constant; each is found again."""
    layout = layout_of("if r1 == 0 goto pc+2\nr2 = 5 ll\nr0 = 0\nexit")
    found = [list(made) for made, _ in nop_layouts(layout)]
    assert found == [
        words("goto pc+0\nif r1 == 0 goto pc+2\nr2 = 5 ll\nr0 = 0\nexit"),
        words("if r1 == 0 goto pc+3\ngoto pc+0\nr2 = 5 ll\nr0 = 0\nexit"),
        words("if r1 == 0 goto pc+2\nr2 = 5 ll\ngoto pc+0\nr0 = 0\nexit"),
        words("if r1 == 0 goto pc+3\nr2 = 5 ll\ngoto pc+0\nr0 = 0\nexit"),
        words("if r1 == 0 goto pc+2\nr2 = 5 ll\nr0 = 0\ngoto pc+0\nexit"),
    ]
    for made, of in nop_layouts(layout):
        assert nop_layout(of, made).words == made


def test_spills_around_a_call_that_is_inlined() -> None:
    """For what outlives the call: below the stack that is used, and further below in other guesses."""
    layout = layout_of("*(u64 *)(r10 -8) = r1\nr2 = 5\ncall 8\nr0 += r2\nexit")
    first = next(iter(fastcall_layouts(layout, frozenset())))
    expected = "*(u64 *)(r10 -8) = r1\nr2 = 5\n*(u64 *)(r10 -16) = r2\ncall 8\nr2 = *(u64 *)(r10 -16)\nr0 += r2\nexit"
    assert list(first.words) == words(expected)
    assert list(fastcall_layouts(layout_of("r2 = 5\ncall 8\nexit"), frozenset())) == [], "nothing outlives it"
    assert list(fastcall_layouts(layout_of("r2 = 5\ncall 5\nr0 += r2\nexit"), frozenset())) == [], "no call that is inlined"


# --- traces ---


def types() -> tuple[Btf, int, int]:
    """Types with two functions, strings of source lines behind; (BTF, ids of the functions)."""
    builder = BtfBuilder()
    proto = builder.add_func_proto(0, [])
    kept, gone = builder.add_func("kept", proto, 0), builder.add_func("gone", proto, 0)
    for text in ("file.c", "\tlive = 1;", "\tdead = 2;", "\treturn 0;", "\tother();", "// a comment ("):
        builder.string(text)
    return Btf.parse(builder.build()), kept, gone


def test_traces_of_removed_code() -> None:
    """Maps and functions that nothing refers to, lines that no instruction has: among the program's own, and behind them."""
    btf, kept, _ = types()
    at = {btf.string(offset): offset for offset in range(1, btf.strings_end)}
    lines = ((0, at["file.c"], at["\tlive = 1;"], 1 << 10), (2, at["file.c"], at["\treturn 0;"], 2 << 10))
    one = image("r1 = map[id:7]\ngoto pc+0\nexit", func_info=((0, kept),), line_info=lines)
    one = replace(one, map_ids=(7, 8), verified_insns=9)
    layout = lay_out(one, segment(one, PlainKernel(), Options()))
    assert removed(one, layout, btf, 3) == Removed(
        maps=(8,), functions=("gone",), lines=((2, "dead = 2;"),), others=("other();",), jumps=(2,), verified_insns=(9, 3)
    )
    assert removed(one, layout, None, 9) == Removed(maps=(8,), jumps=(2,))
    assert not Removed(functions=("gone",)) and Removed(maps=(8,))

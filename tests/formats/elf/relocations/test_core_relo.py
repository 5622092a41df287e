"""CO-RE: what a relocation puts into an instruction, between two sets of types that are made here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.build import SIGNED, BtfBuilder
from bpflens.errors import InputError
from bpflens.formats.elf.btf_ext import CORE_KINDS, CoreRelocation
from bpflens.formats.elf.relocations.core_relo import CoreResolver, Value, apply
from bpflens.isa.extended.insn import Insn

KIND = {name: number for number, name in enumerate(CORE_KINDS)}
POISON = Insn.make(0x85, imm=195896080).word


def types(make: Callable[[BtfBuilder], None]) -> Btf:
    build = BtfBuilder()
    make(build)
    return Btf.parse(build.build())


def local_types(build: BtfBuilder) -> None:
    """What a program was compiled with."""
    u32, s32 = build.add_int("unsigned int", 4), build.add_int("int", 4, SIGNED)
    inner = build.add_struct("", 8, [("deep", u32, 0), ("deeper", u32, 32)])
    array = build.add_array(u32, 4)
    build.add_struct("task___mine", 64, [
        ("pid", u32, 0), ("", inner, 32), ("list", array, 96), ("gone", u32, 224), ("sign", s32, 256), ("pointer", build.add_ptr(0), 320),
    ])  # fmt: skip
    build.add_struct("bits", 4, [("low", u32, 0, 3), ("high", s32, 3, 5)])
    build.add_enum("colours", [("RED", 0), ("BLUE___old", 1), ("GREEN", 2)])
    build.add_struct("absent", 4, [("x", u32, 0)])
    build.add_typedef("task_t", build.add_fwd("task"))


def kernel_types(build: BtfBuilder) -> None:
    """What runs: members moved, grown, in other places; constants renumbered."""
    u32, u64, s64 = build.add_int("unsigned int", 4), build.add_int("unsigned long", 8), build.add_int("long", 8, SIGNED)
    nested = build.add_struct("", 16, [("deeper", u64, 0)], union=True)
    build.add_struct("task", 128, [
        ("first", u64, 0), ("pid", u32, 64), ("list", build.add_array(u64, 3), 128), ("", nested, 512), ("deep", u64, 640),
        ("sign", s64, 704), ("pointer", build.add_ptr(u32), 768),
    ])  # fmt: skip
    build.add_struct("bits", 8, [("pad", u32, 0), ("low", u32, 37, 3), ("high", build.add_int("int", 4, SIGNED), 40, 5)])
    build.add_enum("colours", [("BLUE", 40), ("GREEN", 1 << 33)], size=8)
    build.add_fwd("absent")


LOCAL, KERNEL = types(local_types), types(kernel_types)


def resolved(kind: str, name: str, access: str) -> Value:
    id = LOCAL.find(name)
    assert id is not None
    return CoreResolver(LOCAL, KERNEL).resolve(CoreRelocation(0, id, access, KIND[kind]))


@pytest.mark.parametrize(
    ("access", "value"),
    [
        ("0:0", Value(8, old_size=4, new_size=4)),
        ("1:0", Value(8 + 128, old_size=4, new_size=4)),
        ("0:1:0", Value(80, old_size=4, new_size=8)),
        ("0:1:1", Value(64, old_size=4, new_size=8)),
        ("0:2:2", Value(32, old_size=4, new_size=8)),
        ("0:2", Value(16)),
        ("0:2:3", Value(0, poison=True)),
        ("0:3", Value(0, poison=True)),
        ("0:4", Value(88, old_size=4, new_size=8, fixed=True)),
        ("0:5", Value(96, old_size=8, new_size=8)),
    ],
)
def test_fields_are_found_by_name(access: str, value: Value) -> None:
    """Where they moved to, through anonymous structures of either side; an array that is too short has no such element."""
    assert resolved("field byte offset", "task___mine", access) == value


@pytest.mark.parametrize(
    ("kind", "access", "value"),
    [
        ("field byte size", "0:2", 24), ("field existence", "0:0", 1), ("field existence", "0:3", 0), ("field signedness", "0:4", 1),
        ("field signedness", "0:0", 0), ("field left shift", "0:0", 32), ("field right shift", "0:0", 32),
    ],
)  # fmt: skip
def test_what_is_asked_of_fields(kind: str, access: str, value: int) -> None:
    assert resolved(kind, "task___mine", access) == Value(value)


def test_bit_fields() -> None:
    """Offset, size and shifts of the word that holds them: 3 bits from bit 37, 5 from bit 40."""
    asked = ("field byte offset", "field byte size", "field left shift", "field right shift", "field signedness")
    assert [resolved(kind, "bits", "0:0").value for kind in asked] == [4, 4, 64 - 8, 61, 0]
    assert [resolved(kind, "bits", "0:1").value for kind in asked] == [4, 4, 64 - 13, 59, 1]


def test_types_and_constants() -> None:
    assert resolved("type existence", "task___mine", "0") == Value(1) and resolved("type existence", "absent", "0") == Value(0)
    assert resolved("type size", "task___mine", "0") == Value(128) and resolved("type size", "absent", "0") == Value(0, poison=True)
    assert resolved("target type id", "task___mine", "0") == Value(KERNEL.find("task") or 0)
    assert resolved("local type id", "task___mine", "0") == Value(LOCAL.find("task___mine") or 0)
    assert [resolved("enum value", "colours", number) for number in "012"] == [Value(0, poison=True), Value(40), Value(1 << 33)]
    assert [resolved("enum value existence", "colours", number).value for number in "012"] == [0, 1, 1]


def test_types_of_one_name_that_disagree() -> None:
    """libbpf refuses to choose; where all say the same there is nothing to choose."""

    def two(second: int) -> Btf:
        def make(build: BtfBuilder) -> None:
            u32 = build.add_int("unsigned int", 4)
            build.add_struct("absent", 64, [("x", u32, 64)])
            build.add_struct("absent", 32, [("x", u32, second)])

        return types(make)

    relocation = CoreRelocation(0, LOCAL.find("absent") or 0, "0:0", 0)
    assert CoreResolver(LOCAL, two(64)).resolve(relocation).value == 8
    with pytest.raises(InputError, match="types named absent in the kernel disagree"):
        CoreResolver(LOCAL, two(96)).resolve(relocation)


@pytest.mark.parametrize(
    ("name", "access", "kind", "said"),
    [
        ("task___mine", "0:x", 0, "malformed access string"), ("task___mine", "", 0, "malformed access string"),
        ("task___mine", "0:99", 0, "member 99"), ("colours", "9", KIND["enum value"], "has no constant 9"),
        ("task___mine", "0", 12, "type match"),
        ("task___mine", "0", 77, "relocations of kind 77 are not supported"),
    ],
)  # fmt: skip
def test_malformed_relocations(name: str, access: str, kind: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        CoreResolver(LOCAL, KERNEL).resolve(CoreRelocation(0, LOCAL.find(name) or 0, access, kind))


MOV, LOAD, STORE, LD_IMM64, REGISTER = (
    Insn.make(0xB7, 1, imm=4), Insn.make(0x61, 1, 2, off=4), Insn.make(0x62, 1, off=4, imm=9), Insn.make(0x18, 1, imm=4),
    Insn.make(0x0F, 1, 2),
)  # fmt: skip


@pytest.mark.parametrize(
    ("insn", "value", "words"),
    [
        (MOV, Value(12), [Insn.make(0xB7, 1, imm=12)]),
        (LOAD, Value(12, old_size=4, new_size=4), [Insn.make(0x61, 1, 2, off=12)]),
        (LOAD, Value(12, old_size=4, new_size=8), [Insn.make(0x79, 1, 2, off=12)]),
        (STORE, Value(12, old_size=4, new_size=1), [Insn.make(0x72, 1, off=12, imm=9)]),
        (LD_IMM64, Value(1 << 32 | 5), [Insn.make(0x18, 1, imm=5), Insn.make(0, imm=1)]),
        (MOV, Value(12, old_size=4, new_size=8, fixed=True), [Insn.make(0xB7, 1, imm=12)]),
    ],
)
def test_patching(insn: Insn, value: Value, words: list[Insn]) -> None:
    """Immediates, offsets, the size of a load or store; what it has besides stays."""
    out = [insn.word, 0]
    apply(out, 0, value)
    assert out[: len(words)] == [word.word for word in words]


def test_poison() -> None:
    """What the kernel lacks is a call that can't be; so is a load of a signed number whose size changed."""
    for insn, value in ((LOAD, Value(0, True)), (LOAD, Value(12, old_size=4, new_size=8, fixed=True))):
        out = [insn.word, 7]
        apply(out, 0, value)
        assert out == [POISON, 7]
    out = [LD_IMM64.word, 0]
    apply(out, 0, Value(0, True))
    assert out == [POISON, POISON]
    with pytest.raises(InputError, match="can't hold it"):
        apply([REGISTER.word], 0, Value(1))


def test_compatible_types() -> None:
    """A function's type is the same where its parameters are; names do not count, kinds do."""

    def make(pointer: bool) -> Callable[[BtfBuilder], None]:
        def functions(build: BtfBuilder) -> None:
            u32 = build.add_int("unsigned int", 4)
            build.add_typedef("callback", build.add_func_proto(u32, [("a", build.add_ptr(0) if pointer else u32)]))

        return functions

    ours = types(make(True))
    relocation = CoreRelocation(0, ours.find("callback", Kind.TYPEDEF) or 0, "0", KIND["type existence"])
    assert [CoreResolver(ours, types(make(pointer))).resolve(relocation).value for pointer in (True, False)] == [1, 0]

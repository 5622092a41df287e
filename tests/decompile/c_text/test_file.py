"""The head of a C file: only what its functions use, each declared as the object has it."""

from __future__ import annotations

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.c_text.file import file_head, file_tail
from bpflens.decompile.c_text.signature import make_signatures
from bpflens.program import Declared, Map
from decompile.plain_ir import unit_of

BUILD = BtfBuilder()
U32, U64 = BUILD.add_int("unsigned int", 4), BUILD.add_int("unsigned long", 8)
KEY = BUILD.add_struct("key", 8, [("a", U32, 0), ("b", U32, 32)])
LIMIT, SEEN = BUILD.add_var("limit", U32), BUILD.add_var("seen", BUILD.add_array(U64, 2))
RODATA, DATA = BUILD.add_datasec(".rodata", 4, [(LIMIT, 0, 4)]), BUILD.add_datasec(".data", 16, [(SEEN, 0, 16)])
BTF = Btf.parse(BUILD.build())
HASH = Map("counts", 1, 8, 4, 64, flags=1, key_type_id=KEY)
JUMPS = Map("jumps", 3, 4, 4, 3, fields={"values": {1: "f"}})
OUTER = Map("outer", 12, 4, 4, 2, fields={"inner": Map("", 2, 4, 8, 5), "values": {0: "counts"}, "pinning": "by name"})
BLOOM = Map("bloom", 30, 0, 4, 9, fields={"map_extra": 1 << 33})
MAPS = (
    HASH, JUMPS, OUTER, BLOOM, Map("unused", 1, 4, 4, 4),
    Map(".rodata", 2, 4, 4, 1, value_type_id=RODATA, data=b"\x07\0\0\0", datasec={0: ("limit", 4, "u32")}),
    Map(".data", 2, 4, 16, 1, value_type_id=DATA, data=bytes(16), datasec={0: ("seen", 16, "u64[2]")}),
    Map(".data.own", 2, 4, 4, 1, data=b"\1\2\0\0"),
)  # fmt: skip


def head(prog_type=6, maps=(), sections=(), **used):
    unit = unit_of("r0 = 0\nexit", prog_type, source="elf", maps=MAPS, btf=BTF)
    scope = UnitScope.of(unit)
    for name in maps:
        scope.map(name)
    for name in sections:
        scope.data(name, 0)
    for what, names in used.items():
        getattr(scope, what).update(dict.fromkeys(names))
    return "\n".join(line.text for line in file_head(scope, make_signatures(unit, {"f": 1}), ["f"], ["u32 x;"]))


def test_a_file_that_uses_nothing_declares_its_context_and_types():
    text = head()
    assert "typedef unsigned int __u32;" in text and "typedef __u32 u32 __attribute__((may_alias));" in text
    assert "struct xdp_md {\n\t__u32 data;\n\t__u32 data_end;\n\t__u32 data_meta;" in text
    assert "__uint" not in text and "struct key" not in text and "limit" not in text


def test_gaps_of_a_context_are_reserved_and_arrays_are_arrays():
    text = head(3)
    assert "\t__u32 cb[5];\n" in text and "\t__u8 reserved_0[" in text


def test_maps_as_they_are_defined():
    text = head(maps=("counts",))
    assert "struct key {\n\tunsigned int a;\n\tunsigned int b;\n};" in text
    assert (
        "struct {\n\t__uint(type, 1 /* BPF_MAP_TYPE_HASH */);\n\t__uint(max_entries, 64);\n\t__type(key, struct key);\n"
        "\t__uint(value_size, 4);\n\t__uint(map_flags, 0x1); /* BPF_F_NO_PREALLOC */\n} counts SEC(\".maps\");"
    ) in text
    assert "unused" not in text


def test_what_maps_begin_with():
    text = head(maps=("jumps", "outer", "counts", "bloom"))
    assert "int f(struct xdp_md *ctx);" in text
    assert '\t__array(values, int (void *));\n} jumps SEC(".maps") = { .values = { [1] = (void *)&f } };' in text
    assert "\t__array(values, struct {\n\t\t__uint(type, 2 /* BPF_MAP_TYPE_ARRAY */);" in text
    assert '} outer SEC(".maps") = { .values = { [0] = (void *)&counts } };' in text
    assert "\t__uint(pinning, 1);" in text and "\t__ulong(map_extra, 0x200000000ULL);" in text
    assert "= {" not in head(maps=("outer",)).partition("} outer")[2].splitlines()[0]  # the inner map is not in the file


def test_global_variables_with_their_values():
    text = head(sections=(".rodata", ".data", ".data.own"))
    assert "const volatile unsigned int limit = 7;" in text
    assert 'unsigned long seen[2] SEC(".data") = {};' in text
    assert '__u8 section_data_own[4] SEC(".data.own") __attribute__((aligned(8))) = { 1, 2, 0, 0 };' in text


def test_helpers_with_pointers_that_need_no_type():
    text = head(used_helpers=(1, 5, 9999))
    assert "static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;" in text
    assert "bpf_ktime_get_ns)(void) = (void *)5;" in text
    assert "static __u64 (*helper_9999)() = (void *)9999;" in text


def test_symbols_in_their_sections():
    text = head(used_symbols=("CONFIG_HZ", "init_task"))
    assert 'extern const void CONFIG_HZ __attribute__((section(".kconfig"))) __attribute__((weak));' in text
    assert 'extern const void init_task __attribute__((section(".ksyms"))) __attribute__((weak));' in text


def test_the_license_is_a_string():
    unit = unit_of("r0 = 0\nexit", declared=Declared(license='Dual "x"'))
    assert [line.text for line in file_tail(unit)] == [r'char LICENSE[] SEC("license") = "Dual \"x\"";']

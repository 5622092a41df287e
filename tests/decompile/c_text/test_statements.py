"""Statements and functions as lines of C, at each level."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.decompile import ir, tree
from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.types import POINTER, PRIMARY, S32, U32, U64, CText, CType
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.c_text.assembly import assembly_lines, byte_lines
from bpflens.decompile.c_text.assembly_core import core_piece, saved_registers
from bpflens.decompile.c_text.instructions import instruction_lines
from bpflens.decompile.c_text.macros import MACROS, VERDICTS, macro_text
from bpflens.decompile.c_text.signature import make_signatures, prototype_of, section_name
from bpflens.decompile.c_text.statement import FunctionScope, as_assigned, compound, split_offset, statement_lines
from bpflens.decompile.c_text.structured import Structured, structured_lines
from bpflens.decompile.c_text.types import Types, basic_types, words_of
from bpflens.decompile.function import Function, StackObject
from bpflens.decompile.ir import Assign, Atomic, Binary, Call, Compare, Const, DataRef, Load, Place, StackRef, Store, Var
from bpflens.decompile.lift.arity import arities_of
from bpflens.decompile.lift.blocks import Unsayable
from bpflens.decompile.lift.lift import lift
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import decode
from bpflens.program import Declared, Map, Relocation
from decompile.plain_ir import unit_of

XDP, TRACING = 6, 26
FENTRY = 24  # BPF_TRACE_FENTRY
TYPES = {0: ("ctx", POINTER), 1: ("a", U64), 2: ("b", U32), 3: ("p", POINTER), 4: ("s", S32)}
FORMAT = Map(".rodata", 2, 4, 8, 1, data=b"n %d\n\0\0\0")


class Registers(FunctionScope):
    """The variables above."""

    def variable(self, id):
        name, type = TYPES[id]
        return CText(name, PRIMARY, type)


def registers():
    unit = unit_of("r0 = 0\nexit", maps=(FORMAT,))
    return Registers(UnitScope.of(unit), {"g": Signature(U64, (U32, U64))})


CTX = Place("ctx", "", 4)


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (Assign(1, Var(2)), "a = b;"),
        (Assign(1, Binary("+", Var(1), Const(1), 64)), "a++;"),
        (Assign(1, Binary("-", Var(1), Const(3), 64)), "a -= 3;"),
        (Assign(1, Binary("*", Binary("+", Var(1), Const(1), 64), Const(3), 64)), "a = (a + 1) * 3;"),
        (Assign(3, Const(0)), "p = (void *)0;"),
        (Assign(1, Var(3)), "a = (__u64)p;"),
        (Assign(3, Var(1)), "p = (void *)a;"),
        (Store(4, Var(3), Const(1)), "*(u32 *)p = 1;"),
        (Store(2, Binary("+", Var(3), Const(6), 64), Var(1)), "*(u16 *)(p + 6) = a;"),
        (Store(4, Binary("+", Var(0), Const(4), 64), Var(2), CTX), "CTX_STORE(u32, ctx, 4, b);"),
        (Assign(1, Load(4, False, Binary("+", Var(0), Const(4), 64), CTX)), "a = CTX_LOAD(u32, ctx, 4);"),
        (Assign(1, Load(4, True, Binary("+", Var(0), Const(4), 64), CTX)), "a = (s32)CTX_LOAD(u32, ctx, 4);"),
        (Call(3, "helper", "bpf_map_lookup_elem", 1, (ir.MapRef("m"), Var(3))), "p = bpf_map_lookup_elem(&m, p);"),
        (Call(1, "helper", "bpf_map_lookup_elem", 1, (ir.MapRef("m"), Var(3))), "a = (__u64)bpf_map_lookup_elem(&m, p);"),
        (Call(None, "helper", "bpf_ktime_get_ns", 5, ()), "bpf_ktime_get_ns();"),
        (Call(1, "function", "g", 0, (Var(2), Var(2), Var(1))), "a = g(b, b);"),
        (Call(1, "packet", "load_half", 2, (Var(0), Const(12))), "a = load_half(ctx, 12);"),
        (
            Call(None, "helper", "bpf_trace_printk", 6, (DataRef(".rodata", 0), Const(6), Var(1))),
            'bpf_printk("n %d\\n", a);',
        ),
        (
            Call(None, "helper", "bpf_trace_printk", 6, (DataRef(".rodata", 0), Const(5))),
            "bpf_trace_printk((void *)&section_rodata, 5);",
        ),
        (Atomic(None, "+", 8, Var(3), Var(1)), "__sync_fetch_and_add((u64 *)p, a);"),
        (Atomic(1, "|", 8, Var(3), Var(1)), "a = __sync_fetch_and_or((u64 *)p, a);"),
        (Atomic(1, "+", 4, Var(3), Var(2)), "a = atomic_fetch_add32((u32 *)p, b);"),
        (Atomic(None, "&", 4, Var(3), Var(2)), "atomic_and32((u32 *)p, b);"),
        (Atomic(1, "xchg", 8, Var(3), Var(1)), "a = atomic_xchg64((u64 *)p, a);"),
        (Atomic(1, "cmpxchg", 8, Var(3), Var(1), Const(0)), "a = atomic_cmpxchg64((u64 *)p, 0, a);"),
        (Atomic(1, "load_acquire", 2, Var(3), Const(0)), "a = atomic_load_acquire16((u16 *)p);"),
        (Atomic(None, "store_release", 8, Var(3), Var(1)), "atomic_store_release64((u64 *)p, a);"),
        (ir.Asm(1, "may_goto", ()), "a = may_goto();"),
        (ir.Asm(3, "%0 = addr_space_cast(%1, 0, 1)", (Var(3),)), "p = (void *)cast_kern((__u64)p);"),
        (ir.Asm(None, "%0 = addr_space_cast(%1, 1, 0)", (Var(1),)), "cast_user(a);"),
    ],
)
def test_statements(statement, text):
    assert statement_lines(registers(), statement) == [text]


def test_what_a_statement_uses_is_noted():
    scope = registers()
    for statement in (
        Call(None, "helper", "bpf_ktime_get_ns", 5, ()), Atomic(1, "xchg", 4, Var(3), Var(1)), Assign(1, ir.MapRef("m")),
        ir.Asm(1, "may_goto", ()),
    ):  # fmt: skip
        statement_lines(scope, statement)
    assert (list(scope.unit.used_helpers), list(scope.unit.used_maps), scope.asm_statements) == ([5], ["m"], 1)
    assert list(scope.unit.used_macros) == ["atomic_xchg32", "may_goto"]
    assert all(macro_text(name) for name in scope.unit.used_macros)


def test_compound_assignments_only_of_a_single_operand():
    sum = Binary("+", Var(1), Var(2), 64)
    assert compound("a", "a + b", sum) == "a += b"
    assert compound("a", "a + b * c", sum) == "a = a + b * c"
    assert compound("a", "a + (b) * (c)", sum) == "a = a + (b) * (c)"
    assert compound("a", "a + 1", Var(2)) == "a = a + 1"
    assert compound("*p", "*p + 1", sum) == "(*p)++"


def test_values_as_their_targets_want_them():
    scope = registers()
    assert as_assigned(scope, Var(3), U64) == "(__u64)p"
    assert as_assigned(scope, Binary("+", Var(1), Var(2), 64), U32) == "a + b"
    assert split_offset(Binary("+", Var(3), Const((1 << 64) - 8), 64)) == (Var(3), -8)
    assert split_offset(Var(3)) == (Var(3), 0)


def test_macros_are_instructions_with_the_right_bytes():
    word = int(macro_text("atomic_cmpxchg64").split(".8byte ")[1].split(";")[0], 16)
    (insn,) = decode(word.to_bytes(8, "little"))
    assert insn.word == decode(assemble("r0 = cmpxchg_64(r1 + 0, r0, r2)"))[0].word
    for name, text in (
        ("bpf_sdiv64", "r1 s/= r2"), ("bpf_smod32", "w1 s%= w2"), ("atomic_fetch_xor64", "r2 = atomic_fetch_xor((u64 *)(r1 + 0), r2)"),
        ("atomic_store_release16", "store_release((u16 *)(r1 + 0), w2)"), ("atomic_load_acquire32", "w2 = load_acquire((u32 *)(r1 + 0))"),
    ):  # fmt: skip
        word = int(MACROS[name].split(".8byte ")[1].split(";")[0].split('"')[0], 16)
        assert word == decode(assemble(text))[0].word, name
    assert [macro_text(name) for name in VERDICTS[XDP][:2]] == ["#define XDP_ABORTED 0", "#define XDP_DROP 1"]


# --- signatures and types ---

BUILD = BtfBuilder()
INT, LONG = BUILD.add_int("int", 4, 1), BUILD.add_int("unsigned long", 8)
STATE = BUILD.add_struct("state", 16, [("n", LONG, 0), ("m", INT, 64)])
POINTER_ID = BUILD.add_ptr(STATE)
GLOBAL = BUILD.add_func("g", BUILD.add_func_proto(LONG, [("state", POINTER_ID), ("n", INT)]))
BTF = Btf.parse(BUILD.build())


def code(text="r0 = 0\nexit", prog_type=XDP, role=None, **more):
    unit = unit_of(text, prog_type, **more)
    made = unit.codes["f"]
    if role is not None:
        made = unit.codes["f"] = replace(made, role=role, type_id=GLOBAL)
    return unit, made


@pytest.mark.parametrize(
    ("prog_type", "role", "arity", "text"),
    [
        (XDP, None, 1, 'SEC("xdp")\nint f(struct xdp_md *ctx)'),
        (TRACING, None, 1, 'SEC("fentry")\nint f(__u64 *ctx)'),
        (0, None, 1, 'SEC("socket")\nint f(void *ctx)'),
        (XDP, "static", 2, "static __attribute__((noinline)) __u64 f(__u64 a1, __u64 a2)"),
        (XDP, "static", 0, "static __attribute__((noinline)) __u64 f(void)"),
        (XDP, "callback", 2, "static __attribute__((noinline)) long f(__u64 a1, __u64 a2)"),
        (XDP, "global", 2, "__attribute__((noinline)) __u64 f(struct state *a1, int a2)"),
    ],
)
def test_prototypes(prog_type, role, arity, text):
    unit, made = code(prog_type=prog_type, role=role, btf=BTF, expected_attach_type=FENTRY if prog_type == TRACING else 0)
    signature = make_signatures(unit, {"f": arity})["f"]
    assert prototype_of(made, signature) == text


def test_the_own_section_where_libbpf_knows_it():
    for own, expected in (("kprobe/f", "kprobe/f"), ("?xdp.frags", "?xdp.frags"), ("tc/mine", "xdp"), ("nonsense", "xdp")):
        _, made = code(declared=Declared(section=own), source="elf")
        assert section_name(made) == expected


def test_basic_types_that_are_used():
    assert basic_types(words_of(["u32 x;", "__s8 y;"])) == [
        "typedef unsigned int __u32;", "typedef signed char __s8;", "/* memory accesses of one width: may alias any type */",
        "typedef __u32 u32 __attribute__((may_alias));",
    ]  # fmt: skip
    assert basic_types(set()) == []


def test_types_are_whole_declared_or_in_parts():
    whole, pointed, part = Types(BTF), Types(BTF), Types(BTF)
    assert whole.add(STATE) and not whole.add(0) and not Types(None).add(STATE)
    assert whole.text() == ["struct state {\n\tunsigned long n;\n\tint m;\n};"]
    pointed.add_pointed(POINTER_ID)
    assert pointed.text() == ["struct state;"]
    part.add_parts([(STATE, "0:1")])
    assert "int m;" in part.text()[-1] and "unsigned long n;" not in part.text()[-1]
    assert whole.declare(POINTER_ID, "x") == "struct state *x"


# --- the three levels ---


def test_the_level_of_instructions():
    unit, made = code("r2 = r1\nr2 += 14\nr0 = 2\nif r2 > 9 goto +1\nr0 = 1\nexit", role="static")
    arities = {"f": 1}
    lines, count = instruction_lines(made, lift(made, 1, arities), UnitScope.of(unit), make_signatures(unit, arities), 0)
    assert count == 0
    assert [line.text for line in lines[2:]] == [
        "\t__u64 r0, r1, r2;", "", "\tr1 = a1;", "\tr2 = r1;", "\tr2 += 14;", "\tr0 = 2;", "\tif (r2 > 9) goto L5;", "\tr0 = 1;", "L5:;",
        "\treturn r0;", "}",
    ]  # fmt: skip
    assert [line.slots for line in lines[5:]] == [(0,), (1,), (2,), (3,), (4,), (), (5,), ()]


def test_the_frame_at_the_level_of_instructions():
    unit, made = code("*(u64 *)(r10 - 8) = r1\nr0 = 0\nexit", role="static")
    lines, _ = instruction_lines(made, lift(made, 1, {"f": 1}), UnitScope.of(unit), make_signatures(unit, {"f": 1}), 12)
    texts = [line.text for line in lines]
    assert "\t__u8 stack[16] __attribute__((aligned(8)));" in texts and "\tvoid *r10 = stack + 16;" in texts
    assert "\t*(u64 *)(r10 - 8) = r1;" in texts


def assembly(text, **more):
    unit, made = code(text, role="static", **more)
    return [line.text.strip() for line in assembly_lines(made, Signature(U64, (U64,)), UnitScope.of(unit), {"f": 1}, 0)]


def test_the_level_of_assembly():
    lines = assembly("r0 = 1\nr0 += r1\nexit")
    assert lines == [
        "__attribute__((noinline, used)) static __u64 f(__u64 a1)", "{", 'register __u64 r0 asm("r0");',
        'register __u64 r1 asm("r1") = (__u64)a1;', "asm volatile(", '".8byte 0x00000001000000b7;" /* r0 = 1 */',
        '".8byte 0x000000000000100f;" /* r0 += r1 */', ': "=r"(r0) : "r"(r1) : "memory");', "return r0;", "}",
    ]  # fmt: skip


def test_an_exit_in_the_middle_jumps_to_the_end():
    lines = assembly("if r1 == 0 goto +1\nexit\nr0 = 1\ngoto -3")
    assert '".8byte 0x0000000000020005;" /* exit */' in lines


def test_what_refers_to_a_map_is_text():
    relocation = {"source": "elf", "maps": (Map("m", 1, 4, 4, 4),), "relocations": (Relocation(0, "map", "m"),)}
    assert '"r1 = %2 ll;"' in assembly("r1 = 0 ll\nr0 = 0\nexit", **relocation)
    unit, made = code("r1 = 0 ll\nr0 = 0\nexit", role="static", **relocation)
    lines = [line.text.strip() for line in byte_lines(made, Signature(U64, (U64,)), UnitScope.of(unit))]
    assert '".8byte 0x0000000000000118;" /* .quad 0x0000000000000118 */' in lines


def test_a_call_out_of_the_program_is_unsayable():
    with pytest.raises(Unsayable, match="leaves the program"):
        assembly("call pc+100\nexit")


def test_a_relocated_number_comes_from_a_call():
    add, load = (decode(assemble(text))[0] for text in ("r3 += 7", "r1 = *(u64 *)(r2 + 7)"))
    assert core_piece(add, "core", 0b0110, 12) == [
        "*(u64 *)(r10 - 24) = r1", "*(u64 *)(r10 - 32) = r2", "call core", "r1 = r3", ".8byte 0x000000000000010f", "r3 = r1",
        "r1 = *(u64 *)(r10 - 24)", "r2 = *(u64 *)(r10 - 32)",
    ]  # fmt: skip
    assert core_piece(load, "core", 0, 0) == ["r1 = r2", "call core", "r1 = r0"]
    with pytest.raises(Unsayable, match="no room"):
        core_piece(add, "core", 0b1, 512)


def test_the_registers_that_are_needed_after_a_relocated_number():
    _, made = code("r3 = 5\nr4 = r1\nr2 += 7\nr0 = r3\nr0 += r2\nexit")
    assert saved_registers(made, [2], {}) == {2: 0b1100}


# --- structured ---


def structured(nodes, types, prog_type=XDP, objects=(), **more):
    unit, made = code(prog_type=prog_type)
    function = Function("f", {}, 0, 1, {o.start: o for o in objects}, arguments={1: 0})
    signatures = make_signatures(unit, arities_of(unit))
    scope = Structured(UnitScope.of(unit), dict(signatures), made, function, {0: POINTER, **types}, {}, False, **more)
    return [line.text for line in structured_lines(scope, made, nodes, signatures["f"], ())][3:]


C = Compare("==", Var(1), Const(3), False, 64)
SET = tree.Simple(Assign(1, Const(5), (1,)))


@pytest.mark.parametrize(
    ("node", "lines"),
    [
        (tree.If(C, (SET,), (tree.If(C, (tree.Break(),)),)), ["if (v1 == 3) {", "\tv1 = 5;", "} else if (v1 == 3) {", "\tbreak;", "}"]),
        (tree.If(C, (SET,), (SET, SET)), ["if (v1 == 3) {", "\tv1 = 5;", "} else {", "\tv1 = 5;", "\tv1 = 5;", "}"]),
        (tree.While(C, (tree.Continue(),)), ["while (v1 == 3) {", "\tcontinue;", "}"]),
        (tree.DoWhile(C, (SET,)), ["do {", "\tv1 = 5;", "} while (v1 == 3);"]),
        (tree.ForEver((SET,)), ["for (;;) {", "\tv1 = 5;", "}"]),
        (
            tree.For(Assign(1, Const(0)), C, Assign(1, Binary("+", Var(1), Const(1), 64)), (SET,)),
            ["for (v1 = 0; v1 == 3; v1++) {", "\tv1 = 5;", "}"],
        ),
        (
            tree.Switch(Var(1), (tree.Case((1, 2), (SET,)), tree.Case((), (tree.Return(Const(2)),)))),
            ["switch (v1) {", "case 1:", "case 2:", "\tv1 = 5;", "\tbreak;", "default:", "\treturn XDP_PASS;", "}"],
        ),
        (tree.Return(Const(9)), ["return 9;"]),
        (tree.Goto(7), ["goto L7;"]),
    ],
)
def test_nodes_as_lines(node, lines):
    made = structured((node,), {1: U64})
    assert made[-1] == "}"
    body = made[made.index("") + 1 : -1] if "" in made else made[:-1]
    assert [line[1:] for line in body] == lines


def test_labels_stand_one_step_to_the_left():
    assert structured((tree.Label(3), tree.Goto(3)), {}) == ["L3:;", "\tgoto L3;", "}"]


def test_declarations_by_type_and_objects_of_the_frame():
    objects = (
        StackObject(-16, 16, "stack_16", members=((0, 8, "at_0"), (12, 4, "at_12"))),
        StackObject(-24, 8, "stack_24", members=((0, 8, ""),)), StackObject(-28, 4, "stack_28"),
    )  # fmt: skip
    stores = [tree.Simple(Store(4, StackRef(start, offset), Var(1))) for start, offset in ((-16, 12), (-28, 0))]
    wide = tree.Simple(Store(8, StackRef(-24, 0), Var(2)))
    text = structured((*stores, wide), {1: U32, 2: CType(64, False, "struct state *")}, objects=objects)
    assert text == [
        "\t__u8 stack_28[4] __attribute__((aligned(4)));", "\t__u64 stack_24;", "\tstruct {", "\t\t__u64 at_0;", "\t\t__u8 at_8[4];",
        "\t\t__u32 at_12;", "\t} stack_16 __attribute__((aligned(8)));", "\t__u32 v1;", "\tstruct state *v2;", "",
        "\tstack_16.at_12 = v1;", "\t*(u32 *)stack_28 = v1;", "\tstack_24 = (__u64)v2;", "}",
    ]  # fmt: skip


def test_fields_of_the_context_and_words_of_it():
    load = Load(4, False, Binary("+", Var(0), Const(12), 64), Place("ctx", "", 12))
    assert structured((tree.Return(load),), {}) == ["\treturn ctx->ingress_ifindex;", "}"]
    word = Load(8, False, Binary("+", Var(0), Const(16), 64), Place("ctx", "", 16))
    assert structured((tree.Return(word),), {}, TRACING) == ["\treturn ctx[2];", "}"]

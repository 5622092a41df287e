"""What expressions look like in C: no cast more than C needs, no name that is not just that."""

from __future__ import annotations

import pytest

from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.decompile import ir
from bpflens.decompile.c_expression.arithmetic import binary, constant, negative
from bpflens.decompile.c_expression.comparison import compare
from bpflens.decompile.c_expression.expression import Scope
from bpflens.decompile.c_expression.initial import initialiser
from bpflens.decompile.c_expression.names import Names
from bpflens.decompile.c_expression.packet_names import PACKET_MACROS, beside, field_text
from bpflens.decompile.c_expression.types import (
    ADD,
    INT,
    MUL,
    POINTER,
    PRIMARY,
    S32,
    S64,
    U8,
    U16,
    U32,
    U64,
    UNARY,
    CText,
    common,
    int_type,
    promoted,
    wrap,
)
from bpflens.decompile.ir import Binary, Compare, Const, Load, Sext, Var, Zext
from bpflens.decompile.types.demand import TooNarrow
from bpflens.decompile.types.header_fields import HEADERS

VARIABLES = {0: ("a", U64), 1: ("b", U32), 2: ("s", S32), 3: ("p", POINTER), 4: ("h", U16), 5: ("o", U8), 6: ("n", U32)}
A, B, S, P, H, BYTE, N = (Var(n) for n in range(7))
MASK = (1 << 64) - 1


class Plain(Scope):
    """The variables above; n is kept in fewer bits than its values have."""

    def variable(self, id):
        name, type = VARIABLES[id]
        return CText(name, PRIMARY, type)

    def narrowed(self, id):
        return id == 6


SCOPE = Plain()


@pytest.mark.parametrize(
    ("expr", "need", "text"),
    [
        (Binary("+", B, Const(1), 64), 64, "(__u64)b + 1"),
        (Binary("+", B, Const(1), 64), 32, "b + 1"),
        (Binary("+", A, Const(MASK), 64), 64, "a - 1"),
        (Binary("+", A, B, 32), 32, "a + b"),
        (Binary("+", A, B, 32), 64, "(__u32)(a + b)"),
        (Binary("+", P, Const(14), 64), 64, "p + 14"),
        (Binary("+", P, Const(MASK - 7), 64), 64, "p - 8"),
        (Binary("+", A, P, 64), 64, "p + a"),
        (Binary("-", P, P, 64), 64, "(__u64)p - (__u64)p"),
        (Binary("*", Binary("+", A, A, 64), Const(3), 64), 64, "(a + a) * 3"),
        (Binary("&", A, Const(0xFFF), 64), 64, "a & 4095"),
        (Binary("|", Binary("&", A, Const(3), 64), A, 64), 64, "(a & 3) | a"),
        (Binary("<<", B, Const(8), 64), 64, "(__u64)b << 8"),
        (Binary("<<", BYTE, Const(8), 64), 64, "o << 8"),
        (Binary("<<", A, B, 64), 64, "a << (b & 63)"),
        (Binary(">>", B, Const(8), 64), 64, "b >> 8"),
        (Binary(">>", A, Const(8), 32), 64, "(__u32)a >> 8"),
        (Binary("s>>", A, Const(8), 64), 64, "(__s64)a >> 8"),
        (Binary("/", A, Const(10), 64), 64, "a / 10"),
        (Binary("/", A, B, 64), 64, "bpf_div64(a, (__u64)b)"),
        (Binary("s%", A, A, 32), 32, "bpf_smod32((__s32)a, (__s32)a)"),
        (ir.Negate(A, 64), 64, "-a"),
        (Zext(32, A), 64, "(__u32)a"),
        (Zext(32, A), 32, "a"),
        (Zext(16, H), 64, "h"),
        (Sext(8, A), 64, "(__s8)a"),
        (ir.Swap(16, H), 64, "__builtin_bswap16(h)"),
        (Load(4, False, A), 64, "*(u32 *)a"),
        (Load(2, True, Binary("+", P, Const(6), 64)), 64, "*(s16 *)(p + 6)"),
        (S, 64, "(__u32)s"),
        (S, 32, "s"),
        (ir.MapRef("counts"), 64, "&counts"),
        (Compare("==", P, Const(0), False, 64), 64, "p == 0"),
        (Compare("!=", P, Const(0), False, 64), 64, "p != 0"),
        (Compare("<", A, Const(5), True, 64), 64, "(__s64)a < 5"),
        (Compare("<", S, Const(MASK), True, 32), 64, "s < -1"),
        (Compare("==", S, Const(0xFFFFFFFF), False, 32), 64, "s == -1"),
        (Compare(">", A, B, False, 32), 64, "(__u32)a > b"),
        (Compare("&", A, Const(4), False, 64), 64, "(a & 4) != 0"),
        (ir.Not(Compare("&", A, Const(4), False, 64)), 64, "!(a & 4)"),
        (ir.And(Compare("==", A, Const(1), False, 64), ir.Or(Compare("==", A, B, False, 64), P)), 64, "a == 1 && (a == b || p)"),
        (Const(5), 64, "5"),
        (Const(4096), 64, "0x1000"),
        (Const(MASK), 64, "-1"),
        (Const(0xFFFFFFFF), 32, "-1"),
        (Const(0xFFFFFFFF), 64, "0xffffffff"),
        (Const(1 << 40), 64, "0x10000000000ULL"),
        (Const(0x1FF), 8, "255"),
    ],
)
def test_text(expr, need, text):
    assert SCOPE.text(expr, need).text == text


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (Compare("==", P, Const(0), False, 64), "!p"),
        (Compare("!=", P, Const(0), False, 64), "p"),
        (Compare("&", A, Const(4), False, 64), "a & 4"),
        (Compare("==", A, Const(0), False, 64), "a == 0"),
    ],
)
def test_conditions_may_say_it_shorter(expr, text):
    """C asks a condition only whether it is 0; a value must be 0 or 1."""
    assert SCOPE.condition(expr) == text


def test_writers_give_the_type_that_c_gives():
    assert constant(SCOPE, Const(7), 64).type == INT
    assert constant(SCOPE, Const(0x80000000), 64).type == U32
    assert binary(SCOPE, Binary("+", BYTE, H, 64), 64).type == INT
    assert binary(SCOPE, Binary("+", B, B, 32), 32).type == U32
    assert negative(SCOPE, ir.Negate(A, 32), 64).type == U32
    assert compare(SCOPE, Compare("==", A, A, False, 64), 64).type == INT


def test_a_variable_that_is_too_narrow_says_so():
    assert SCOPE.text(N, 32).text == "n"
    with pytest.raises(TooNarrow) as raised:
        SCOPE.text(N, 64)
    assert raised.value.web == 6


def test_types_as_c_converts_them():
    assert [promoted(type) for type in (U8, U16, U32, U64, int_type(8, True), S32)] == [INT, INT, U32, U64, S32, S32]
    assert common(U32, S64) == S64 and common(U64, S64) == U64 and common(U32, S32) == U32
    assert common(U8, U16) == INT and common(U8, S32) == S32
    assert wrap(CText("a + b", ADD, U64), MUL) == "(a + b)" and wrap(CText("a + b", ADD, U64), ADD) == "a + b"


def test_a_piece_becomes_another_type():
    assert SCOPE.as_type(CText("5", PRIMARY, INT), U64).text == "5ULL"
    assert SCOPE.as_type(CText("a + b", ADD, U64), U32) == CText("(__u32)(a + b)", UNARY, U32)
    assert SCOPE.as_type(CText("p", PRIMARY, POINTER), U32).text == "(__u32)(__u64)p"
    assert SCOPE.pointer(B).text == "(void *)(long)b"
    assert SCOPE.address(Binary("+", B, Const(4), 64), "u8") == "*(u8 *)((__u64)b + 4)"
    assert [SCOPE.type_name(type) for type in (INT, U8, S64, POINTER)] == ["__s32", "__u8", "__s64", "void *"]


def test_bytes_into_something_that_c_knows_are_read_by_a_macro():
    class Known(Plain):
        def text(self, expr, need=64):
            return CText("(void *)&v->key + 4", ADD, POINTER)

    assert Known().address(A, "u32") == "mem_at(u32, &v->key, 4)"


def test_names_say_nothing_by_themselves():
    with pytest.raises(NotImplementedError):
        Names().variable(0)
    assert Names().member(Load(4, False, A), 64) is None


# --- packets ---


def test_fields_of_headers():
    port = HEADERS["tcp"][2, 2]
    assert field_text(SCOPE, Binary("+", P, Const(36), 64), port) == "tcp_at(p + 34)->dest"
    assert field_text(SCOPE, P, HEADERS["eth"][0, 1]) == "eth_at(p)->h_dest[0]"


@pytest.mark.parametrize(
    ("meaning", "value", "text"),
    [
        ("protocol", 6, "IPPROTO_TCP"),
        ("protocol", 250, None),
        ("ethertype", 8, "bpf_htons(ETH_P_IP)"),
        ("ethertype", 0x3412, "bpf_htons(0x1234)"),
        ("be16", 0x5000, "bpf_htons(80)"),
        ("be16", 0, None),
        ("be32", 0x0100007F, "bpf_htonl(0x7f000001)"),
        ("", 6, None),
    ],
)
def test_numbers_beside_fields(meaning, value, text):
    made = beside(SCOPE, meaning, value)
    assert (made.text if made is not None else None) == text


def test_the_structs_of_headers_have_their_members_where_they_are():
    text = PACKET_MACROS["ip_at"]
    assert text.startswith("struct iphdr_at {\n\tu8 version_ihl;\n\tu8 tos;\n\tu16 tot_len;")
    assert text.endswith("#define ip_at(p) ((struct iphdr_at *)(p))")
    assert "u8 h_dest[6];\n\tu8 h_source[6];\n\tu16 h_proto;" in PACKET_MACROS["eth_at"]


# --- initial values ---

BUILD = BtfBuilder()
INT_ID, U16_ID, CHAR = BUILD.add_int("int", 4, 1), BUILD.add_int("unsigned short", 2), BUILD.add_int("char", 1, 1)
LONG = BUILD.add_int("unsigned long", 8)
PORTS, NAME, POINTER_ID = BUILD.add_array(U16_ID, 3), BUILD.add_array(CHAR, 8), BUILD.add_ptr(INT_ID)
PAIR = BUILD.add_struct("pair", 8, [("a", U16_ID, 0), ("b", INT_ID, 32)])
PAIRS = BUILD.add_array(PAIR, 2)
BITS = BUILD.add_struct("bits", 4, [("x", INT_ID, 0, 3)])
UNION = BUILD.add_struct("u", 4, [("x", INT_ID, 0)], union=True)
BTF = Btf.parse(BUILD.build())


@pytest.mark.parametrize(
    ("id", "raw", "text"),
    [
        (INT_ID, bytes(4), "0"),
        (PORTS, bytes(6), "{}"),
        (PORTS, bytes.fromhex("5000bb010000"), "{ 80, 443 }"),
        (INT_ID, b"\xff" * 4, "-1"),
        (INT_ID, (4096).to_bytes(4, "little"), "0x1000"),
        (LONG, (1 << 40).to_bytes(8, "little"), "0x10000000000ULL"),
        (NAME, b"et\"h\0\0\0\0", '"et\\"h"'),
        (NAME, b"\x01\x02\0\0\0\0\0\0", "{ 1, 2 }"),
        (NAME, b"\xff\0\0\0\0\0\0\0", "{ -1 }"),
        (PAIR, bytes.fromhex("0100000002000000"), "{ .a = 1, .b = 2 }"),
        (PAIRS, bytes.fromhex("00000000000000000700000000000000"), "{ {}, { .a = 7 } }"),
        (PAIR, bytes.fromhex("0100ff0002000000"), None),
        (POINTER_ID, bytes.fromhex("0100000000000000"), None),
        (BITS, b"\x01\0\0\0", None),
        (UNION, b"\x01\0\0\0", None),
    ],
)
def test_initial_values(id, raw, text):
    assert initialiser(BTF, id, raw) == text

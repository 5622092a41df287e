"""Expressions as C whose value is provably the expression's.

    Binary("+", Var(u32 a), Const(1), 64)              ──►   (__u64)a + 1
    Binary("+", Var(u32 a), Const(1), 64), 32 needed   ──►   a + 1

`text(expr, need)` gives C whose value, converted to __u64, equals the expression modulo 2**need: what the reader of the value needs
(a store of 4 bytes needs 32 bits) decides which casts must be written. Each piece of C carries its type, so that the usual arithmetic
conversions of C are applied knowingly: small unsigned types become a non-negative int, signed ones extend their sign.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bpflens.decompile import ir
from bpflens.decompile.ir import Expr
from bpflens.decompile.types.bits import known_bits
from bpflens.decompile.types.demand import TooNarrow

__all__ = ("INT", "OBJECT", "POINTER", "S32", "S64", "U8", "U16", "U32", "U64", "CText", "CType", "Scope", "int_type")


class CType(NamedTuple):
    """`bits` of an integer type; `signed`; a pointer has its C text in `pointer`. INT is an int whose value is known to be >= 0."""

    bits: int
    signed: bool = False
    pointer: str = ""


U8, U16, U32, U64 = CType(8), CType(16), CType(32), CType(64)
S8, S16, S32, S64 = CType(8, True), CType(16, True), CType(32, True), CType(64, True)
INT = CType(31)  # a C int, not negative
POINTER = CType(64, False, "void *")
OBJECT = CType(64, False, "object *")  # the address of something that C knows the type of: arithmetic on it needs a cast
_UNSIGNED = {8: U8, 16: U16, 32: U32, 64: U64}
_SIGNED = {8: S8, 16: S16, 32: S32, 64: S64}

# precedence of C: higher binds tighter
PRIMARY, UNARY, MUL, ADD, SHIFT, RELATION, EQUAL, BAND, XOR, BOR, AND, OR, CHOICE = 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3
_LEVEL = {
    "*": MUL, "/": MUL, "%": MUL, "s/": MUL, "s%": MUL, "+": ADD, "-": ADD, "<<": SHIFT, ">>": SHIFT, "s>>": SHIFT, "&": BAND, "^": XOR,
    "|": BOR,
}  # fmt: skip
_RELATIONS = {"==": EQUAL, "!=": EQUAL, "<": RELATION, "<=": RELATION, ">": RELATION, ">=": RELATION, "&": BAND}


class CText(NamedTuple):
    """A piece of C, the precedence of its outermost operator, its type."""

    text: str
    level: int
    type: CType


def int_type(bits: int, signed: bool = False) -> CType:
    """The integer type of that width."""
    return (_SIGNED if signed else _UNSIGNED)[bits]


class Scope:
    """What the names in expressions mean: subclassed by the writers of each level."""

    style = "__u64"

    def type_name(self, type: CType) -> str:
        """How the type is written."""
        if type.pointer:
            return type.pointer
        bits = 32 if type.bits == 31 else type.bits
        return f"__{'s' if type.signed or type.bits == 31 else 'u'}{bits}"

    def raw_type(self, size: int, signed: bool = False) -> str:
        """The type of a raw memory access, which may alias everything."""
        return f"{'s' if signed else 'u'}{8 * size}"

    def variable(self, id: int) -> CText:
        """A variable."""
        raise NotImplementedError

    def bits_of(self, id: int) -> int:
        """How many low bits of a variable may be set."""
        type = self.variable(id).type
        return 64 if type.signed or type.pointer else type.bits

    def macro(self, name: str) -> str:
        """A macro of the file's head."""
        return name

    def unnamed(self, expr: Expr) -> CText:
        """The expression without any access of a member in it: clang would relocate those within CORE(), too."""
        return self.text(expr)

    def narrowed(self, id: int) -> bool:
        """Is a variable kept in fewer bits than its values have?"""
        return False

    def map(self, name: str) -> CText:
        """The address of a map."""
        return CText(f"&{name}", UNARY, OBJECT)

    def data(self, ref: ir.DataRef) -> CText:
        """An address in global data."""
        raise NotImplementedError

    def function(self, name: str) -> CText:
        """The address of a function."""
        return CText(name, PRIMARY, OBJECT)

    def symbol(self, name: str) -> CText:
        """The address of a symbol outside of the program."""
        return CText(f"&{name}", UNARY, OBJECT)

    def frame(self, ref: ir.FrameRef | ir.StackRef) -> CText:
        """An address in the stack frame."""
        raise NotImplementedError

    def core(self, ref: ir.CoreRef) -> CText:
        """A CO-RE number."""
        raise NotImplementedError

    def core_address(self, ref: ir.CoreRef, base: CText) -> CText | None:
        """The address of a field whose offset the loader finds."""
        return None

    def member(self, load: ir.Load, need: int) -> CText | None:
        """A memory access by a name, None where it has none."""
        return None

    def lvalue(self, size: int, address: Expr, place: ir.Place) -> str | None:
        """As `member`, for stores."""
        return None

    def constant(self, value: int) -> str | None:
        """A name for a number, where the context gives one."""
        return None

    # --- the writer ---

    def text(self, expr: Expr, need: int = 64) -> CText:
        """C of an expression that is right in its low `need` bits."""
        return _WRITERS[type(expr)](self, expr, need)

    def plain(self, expr: Expr, need: int = 64) -> str:
        """As `text`, only the text."""
        return self.text(expr, need).text

    def atom(self, expr: Expr, need: int, level: int) -> str:
        """As `text`, in parentheses where it binds less tightly than `level`."""
        return wrap(self.text(expr, need), level)

    def number(self, expr: Expr, type: CType) -> CText:
        """The expression as exactly this integer type: a cast where C would not have it by itself."""
        made = self.text(expr, type.bits)
        return self.as_type(made, type)

    def as_type(self, made: CText, type: CType) -> CText:
        """A piece of C cast to an integer type, where it is not of it."""
        if made.type == type:
            return made
        if made.type == INT and not type.signed and made.text.isdigit() and type.bits >= 32:
            return CText(f"{made.text}{'ULL' if type.bits == 64 else 'U'}", PRIMARY, type)
        if made.type.pointer and type.bits < 64:
            made = CText(f"(__u64){wrap(made, UNARY)}", UNARY, U64)
        return CText(f"({self.type_name(type)}){wrap(made, UNARY)}", UNARY, type)

    def pointer(self, expr: Expr) -> CText:
        """The expression as a pointer."""
        made = self.text(expr)
        if made.type.pointer:
            return made
        if made.type.bits < 64:
            made = CText(f"(__u64){wrap(made, UNARY)}", UNARY, U64)
        return CText(f"(void *){wrap(made, UNARY)}", UNARY, POINTER)

    def condition(self, expr: Expr) -> str:
        """A condition for if and while."""
        return self.text(expr).text

    def address(self, expr: Expr, type: str) -> str:
        """`*(TYPE *)ADDRESS`: memory at an address."""
        made = self.text(expr)
        if made.type.bits < 64:
            made = CText(f"(__u64){wrap(made, UNARY)}", UNARY, U64)
        return f"*({type} *){wrap(made, UNARY)}"


def wrap(made: CText, level: int) -> str:
    """The text, in parentheses where its operator binds less tightly than `level`."""
    return f"({made.text})" if made.level < level else made.text


def _const(scope: Scope, expr: ir.Const, need: int) -> CText:
    value = expr.value & ((1 << need) - 1)
    if value < 1 << 31:
        return CText(str(value) if value < 4096 else hex(value), PRIMARY, INT)
    if value >> need - 1 and need in (32, 64) and (1 << need) - value < 4096:
        return CText(f"-{(1 << need) - value}", UNARY, S32)
    if value < 1 << 32:
        return CText(f"{value:#x}", PRIMARY, U32)
    if value >> 63:
        return CText(f"{value:#x}ULL", PRIMARY, U64)
    return CText(f"{value:#x}ULL", PRIMARY, U64)


def _variable(scope: Scope, expr: ir.Var, need: int) -> CText:
    made = scope.variable(expr.id)
    if need > 32 and made.type.bits == 32:
        if scope.narrowed(expr.id):
            raise TooNarrow(expr.id)
        if made.type.signed:  # the variable holds the low half; its value has zeros above
            return scope.as_type(made, U32)
    return made


def _binary(scope: Scope, expr: ir.Binary, need: int) -> CText:
    op = expr.op
    if op in ("+", "-", "*", "&", "|", "^"):
        return _ring(scope, expr, need)
    if op in ("<<", ">>", "s>>"):
        return _shift(scope, expr, need)
    return _division(scope, expr, need)


def _ring(scope: Scope, expr: ir.Binary, need: int) -> CText:
    """Operations whose low bits depend only on the low bits of their operands."""
    op, level = expr.op, _LEVEL[expr.op]
    wanted = min(need, expr.width)
    if expr.width == 64 and op == "+" and type(expr.right) is ir.CoreRef:
        base = scope.unnamed(expr.left)
        found = scope.core_address(expr.right, base if base.type.bits == 64 else scope.as_type(base, U64))
        if found is not None:
            return found
    if expr.width == 64 and need == 64 and op in ("+", "-"):
        moved = _pointer_sum(scope, expr)
        if moved is not None:
            return moved
    left, right = _operand(scope, expr.left, wanted), _operand(scope, expr.right, wanted)
    if type(expr.right) is ir.Const and op == "+":
        negative = -expr.right.value & ((1 << expr.width) - 1)
        if 0 < negative < 1 << expr.width - 1 and (negative < 1 << 31):
            op, level = "-", ADD
            right = _const(scope, ir.Const(negative), wanted)
    if wanted > 32 and left.type.bits < 64 and right.type.bits < 64:
        exact = op in ("&", "|", "^") and not left.type.signed and not right.type.signed
        if not exact and not _fits(scope, expr, left, right):
            left = scope.as_type(left, U64)
    elif op not in ("&", "|", "^") and (_common(left.type, right.type).signed or _common(left.type, right.type) == INT):
        # C's signed arithmetic must not overflow: only sums of small numbers stay signed
        tiny = left.type.bits <= 16 and not left.type.signed and (right.type.bits <= 16 or _small(expr.right)) and not right.type.signed
        if not (tiny and op == "+"):
            left = scope.as_type(left, U64 if 64 in (left.type.bits, right.type.bits) else U32)
    result = _common(left.type, right.type)
    made = CText(f"{wrap(left, level)} {op} {wrap(right, level + 1)}", level, result)
    if level in (BAND, BOR, XOR):  # compilers warn of & within |, readers stumble
        made = CText(f"{wrap(left, UNARY if left.level != level else level)} {op} {wrap(right, UNARY)}", level, result)
    if expr.width == 32 and need > 32:
        return _cut(scope, made, expr)
    return made


def _small(expr: Expr) -> bool:
    return type(expr) is ir.Const and expr.value < 1 << 30


def _fits(scope: Scope, expr: ir.Binary, left: CText, right: CText) -> bool:
    """Does a 64-bit operation on narrower C operands give the same in C's own 32 bits?"""
    if left.type.signed or right.type.signed or expr.op == "-":
        return False
    a, b = known_bits(expr.left, scope.bits_of), known_bits(expr.right, scope.bits_of)
    limit = 32 if 32 in (left.type.bits, right.type.bits) else 31
    total = max(a, b) + 1 if expr.op == "+" else a + b
    return total <= limit


def _cut(scope: Scope, made: CText, expr: Expr) -> CText:
    """The result of a 32-bit operation, extended with zeros: what C has where the type is 32 bits unsigned already."""
    if made.type in (U32, INT) or (not made.type.signed and not made.type.pointer and made.type.bits <= 32):
        return made
    return scope.as_type(made, U32)


def _operand(scope: Scope, expr: Expr, need: int) -> CText:
    """An operand of arithmetic: a pointer as its number."""
    made = scope.text(expr, need)
    if made.type.pointer:
        return CText(f"(__u64){wrap(made, UNARY)}", UNARY, U64)
    return made


def _common(a: CType, b: CType) -> CType:
    """C's usual arithmetic conversions."""
    if a.bits == 64 or b.bits == 64:
        signed = (a.bits < 64 or a.signed) and (b.bits < 64 or b.signed)
        return S64 if signed else U64
    if U32 in (a, b):
        return U32
    return S32 if a.signed or b.signed else INT


def _pointer_sum(scope: Scope, expr: ir.Binary) -> CText | None:
    """pointer + number, as C's arithmetic on void *; None where no operand is a pointer."""
    left = scope.text(expr.left)
    right = scope.text(expr.right)
    if expr.op == "+" and right.type.pointer and not left.type.pointer:
        left, right = right, left
        number: Expr = expr.left
    elif left.type.pointer and not right.type.pointer:
        number = expr.right
    else:
        return None
    base = left if left.type.pointer == "void *" else CText(f"(void *){wrap(left, UNARY)}", UNARY, POINTER)
    op = expr.op
    if type(number) is ir.Const:
        signed = number.value - (1 << 64) if number.value >> 63 else number.value
        if op == "-":
            signed = -signed
        op = "-" if signed < 0 else "+"
        return CText(f"{wrap(base, ADD)} {op} {abs(signed) if abs(signed) < 4096 else hex(abs(signed))}", ADD, POINTER)
    return CText(f"{wrap(base, ADD)} {op} {wrap(right, ADD + 1)}", ADD, POINTER)


def _shift(scope: Scope, expr: ir.Binary, need: int) -> CText:
    op, width = expr.op, expr.width
    count = expr.right
    if type(count) is ir.Const:
        amount = CText(str(count.value & width - 1), PRIMARY, INT)
    elif _below(count, width):
        amount = scope.text(count)
    else:
        inner = _operand(scope, count, 32)
        amount = CText(f"{wrap(inner, UNARY)} & {width - 1}", BAND, INT)
    if op == "<<":
        wanted = min(need, width)
        left = _operand(scope, expr.left, wanted)
        if wanted > 32:
            if left.type.signed or (left.type.bits < 64 and not _shift_fits(scope, expr, left)):
                left = scope.as_type(left, U64)
        elif left.type.signed:
            left = scope.as_type(left, U32)
        elif left.type.bits < 32:
            left = scope.as_type(left, U32) if not _shift_fits(scope, expr, left) else left
        made = CText(f"{wrap(left, SHIFT)} << {wrap(amount, SHIFT + 1)}", SHIFT, _promoted(left.type))
        return _cut(scope, made, expr) if width == 32 and need > 32 else made
    if op == ">>":
        left = scope.text(expr.left, width)
        bits = known_bits(expr.left, scope.bits_of)
        if not (bits <= 32 and not left.type.signed and not left.type.pointer and left.type.bits <= 32) or left.type.bits == 64:
            left = scope.as_type(left, U32 if width == 32 else U64)
        return CText(f"{wrap(left, SHIFT)} >> {wrap(amount, SHIFT + 1)}", SHIFT, _promoted(left.type))
    left = scope.number(expr.left, S32 if width == 32 else S64)
    made = CText(f"{wrap(left, SHIFT)} >> {wrap(amount, SHIFT + 1)}", SHIFT, left.type)
    return scope.as_type(made, U32) if width == 32 and need > 32 else made


def _shift_fits(scope: Scope, expr: ir.Binary, left: CText) -> bool:
    """Does a shift to the left stay within what C computes in?"""
    if type(expr.right) is not ir.Const or left.type.signed or left.type.pointer:
        return False
    limit = 32 if left.type.bits == 32 else 31
    return known_bits(expr.left, scope.bits_of) + (expr.right.value & expr.width - 1) <= limit


def _promoted(type: CType) -> CType:
    return INT if type.bits < 32 and not type.signed else S32 if type.bits < 32 else type


def _below(expr: Expr, limit: int) -> bool:
    return type(expr) is ir.Binary and expr.op == "&" and type(expr.right) is ir.Const and expr.right.value < limit


def _division(scope: Scope, expr: ir.Binary, need: int) -> CText:
    op, width = expr.op, expr.width
    signed = op[0] == "s"
    sign = op[-1]
    type_ = int_type(width, signed)
    left, right = scope.number(expr.left, type_), scope.number(expr.right, type_)
    nonzero = type(expr.right) is ir.Const and expr.right.value & ((1 << width) - 1)
    if signed:
        name = f"bpf_s{'div' if sign == '/' else 'mod'}{width}"
        made = CText(f"{scope.macro(name)}({left.text}, {right.text})", PRIMARY, type_)
        if type(expr.right) is ir.Const and 0 < expr.right.value < 1 << 31:
            made = CText(f"{wrap(left, MUL)} {sign} {expr.right.value}", MUL, type_)
        return scope.as_type(made, U32) if width == 32 and need > 32 else made
    if nonzero:
        plain = scope.text(expr.left, width)
        if not plain.type.signed and not plain.type.pointer and (plain.type.bits <= 32 or width == 64):
            left = plain
        value = expr.right.value & ((1 << width) - 1)  # type: ignore[union-attr]
        right = _const(scope, ir.Const(value), 64)
        if right.type.signed:
            right = CText(f"{value:#x}{'ULL' if width == 64 else 'U'}", PRIMARY, type_)
        return CText(f"{wrap(left, MUL)} {sign} {wrap(right, MUL + 1)}", MUL, _common(left.type, right.type))
    name = f"bpf_{'div' if sign == '/' else 'mod'}{width}"
    return CText(f"{scope.macro(name)}({left.text}, {right.text})", PRIMARY, type_)


def _negate(scope: Scope, expr: ir.Negate, need: int) -> CText:
    wanted = min(need, expr.width)
    inner = scope.number(expr.operand, U64 if wanted > 32 else U32)
    return CText(f"-{wrap(inner, UNARY)}", UNARY, inner.type)


def _zext(scope: Scope, expr: ir.Zext, need: int) -> CText:
    if need <= expr.bits:
        return scope.text(expr.operand, need)
    made = scope.text(expr.operand, expr.bits)
    if not made.type.signed and not made.type.pointer and made.type.bits <= expr.bits:
        return made
    if known_bits(expr.operand, scope.bits_of) <= expr.bits and not made.type.signed and not made.type.pointer:
        exact = scope.text(expr.operand, 64)
        if not exact.type.signed:
            return exact
    if expr.bits not in _UNSIGNED:
        inner = scope.as_type(made, U64)
        return CText(f"{wrap(inner, UNARY)} & {(1 << expr.bits) - 1:#x}", BAND, U64)
    return scope.as_type(made, int_type(expr.bits))


def _sext(scope: Scope, expr: ir.Sext, need: int) -> CText:
    if need <= expr.bits:
        return scope.text(expr.operand, need)
    return scope.number(expr.operand, int_type(expr.bits, True))


def _swap(scope: Scope, expr: ir.Swap, need: int) -> CText:
    name = {16: "__builtin_bswap16", 32: "__builtin_bswap32", 64: "__builtin_bswap64"}[expr.bits]
    made = _operand(scope, expr.operand, expr.bits)
    return CText(f"{name}({made.text})", PRIMARY, int_type(expr.bits))


def _load(scope: Scope, expr: ir.Load, need: int) -> CText:
    named = scope.member(expr, need)
    if named is not None:
        return named
    return CText(scope.address(expr.address, scope.raw_type(expr.size, expr.signed)), UNARY, int_type(8 * expr.size, expr.signed))


def _compare(scope: Scope, expr: ir.Compare, need: int) -> CText:
    width, op = expr.width, expr.op
    level = _RELATIONS[op]
    if op == "&":
        return _any_bit(scope, expr)
    left, right = _compared(scope, expr)
    if op == "==" and right.text == "0" and left.type.pointer:
        return CText(f"!{wrap(left, UNARY)}", UNARY, INT)
    if op == "!=" and right.text == "0" and left.type.pointer:
        return CText(left.text, left.level, INT)
    if width == 64 and left.type.pointer and right.type.pointer and left.type != right.type:
        left = left if left.type == POINTER else CText(f"(void *){wrap(left, UNARY)}", UNARY, POINTER)
    return CText(f"{wrap(left, level + 1)} {op} {wrap(right, level + 1)}", level, INT)


def _any_bit(scope: Scope, expr: ir.Compare) -> CText:
    left, right = _operand(scope, expr.left, expr.width), _operand(scope, expr.right, expr.width)
    if expr.width == 32:  # of two 64-bit pieces the high halves would meet; a sign would extend into the high half
        wide = left.type.bits == 64, right.type.bits == 64
        if all(wide) or (wide[0] and right.type.signed) or (wide[1] and left.type.signed):
            left, right = scope.as_type(left, U32), scope.as_type(right, U32)
    return CText(f"{wrap(left, UNARY)} & {wrap(right, UNARY)}", BAND, INT)


def _compared(scope: Scope, expr: ir.Compare) -> tuple[CText, CText]:
    """Both operands of a comparison, with types that make C compare as the instruction does."""
    width = expr.width
    if expr.signed:
        type_ = int_type(width, True)
        left = _signed(scope, expr.left, type_)
        right = _signed(scope, expr.right, type_)
        return left, right
    left, right = scope.text(expr.left, width), scope.text(expr.right, width)
    if width == 64 and (left.type.pointer or right.type.pointer):
        if left.type.pointer and right.type.pointer:
            return left, right
        if type(expr.right) is ir.Const and expr.right.value == 0 and expr.op in ("==", "!="):
            return left, CText("0", PRIMARY, INT)
        return _operand(scope, expr.left, 64), _operand(scope, expr.right, 64)
    if width == 32 and expr.op in ("==", "!="):  # C compares an int with an unsigned by its bits
        signs = left.type == S32, right.type == S32
        if any(signs) and left.type.bits <= 32 and right.type.bits <= 32 and not (left.type.pointer or right.type.pointer):
            other = expr.right if signs[0] else expr.left
            return (left, _literal(other, right)) if signs[0] else (_literal(other, left), right)
    left, right = _unsigned(scope, expr.left, left, width), _unsigned(scope, expr.right, right, width)
    return left, right


def _literal(expr: Expr, made: CText) -> CText:
    """A constant beside a signed number: -1 rather than 0xffffffff."""
    if type(expr) is ir.Const and expr.value & 0xFFFFFFFF > 0xFFFFF000:
        return CText(str((expr.value & 0xFFFFFFFF) - (1 << 32)), UNARY, S32)
    return made


def _unsigned(scope: Scope, expr: Expr, made: CText, width: int) -> CText:
    """A piece that C compares as an unsigned number of `width` bits."""
    if type(expr) is ir.Const:
        value = expr.value & ((1 << width) - 1)
        if value < 1 << 31:
            return made
        return CText(f"{value:#x}{'ULL' if width == 64 else 'U'}", PRIMARY, U32 if value < 1 << 32 else U64)
    if made.type.pointer:
        made = CText(f"(__u64){wrap(made, UNARY)}", UNARY, U64)
    if not made.type.signed and (made.type.bits <= width):
        return made
    if made.type.bits == 64 and not made.type.signed and known_bits(expr, scope.bits_of) <= width:
        exact = scope.text(expr, 64)
        if not exact.type.signed and not exact.type.pointer:
            return exact
    return scope.as_type(made, U32 if width == 32 else U64)


def _signed(scope: Scope, expr: Expr, type_: CType) -> CText:
    width = type_.bits
    if type(expr) is ir.Const:
        value = expr.value & ((1 << width) - 1)
        value = value - (1 << width) if value >> width - 1 else value
        if -(1 << 31) < value < 1 << 31:
            return CText(str(value) if abs(value) < 4096 else hex(value), PRIMARY if value >= 0 else UNARY, INT if value >= 0 else S32)
    made = scope.text(expr, width)
    if made.type.signed and made.type.bits <= width and not made.type.pointer:
        return made
    if not made.type.pointer and not made.type.signed and made.type.bits < width and made.type.bits < 32:
        return made
    return scope.as_type(made, type_)


def _not(scope: Scope, expr: ir.Not, need: int) -> CText:
    return CText(f"!{scope.atom(expr.operand, 64, UNARY)}", UNARY, INT)


def _both(op: str, level: int, other: int) -> Callable[[Scope, Expr, int], CText]:
    def write(scope: Scope, expr: Expr, need: int) -> CText:
        pieces = []
        for side in ir.children(expr):
            made = scope.text(side)
            # "&&" within "||" in parentheses: compilers warn of it, readers stumble over it
            pieces.append(f"({made.text})" if made.level < level or made.level == other or made.level == BAND else made.text)
        return CText(f" {op} ".join(pieces), level, INT)

    return write


_WRITERS: dict[type, Callable[[Scope, object, int], CText]] = {
    ir.Const: _const,  # type: ignore[dict-item]
    ir.Var: _variable,  # type: ignore[dict-item]
    ir.Binary: _binary,  # type: ignore[dict-item]
    ir.Negate: _negate,  # type: ignore[dict-item]
    ir.Zext: _zext,  # type: ignore[dict-item]
    ir.Sext: _sext,  # type: ignore[dict-item]
    ir.Swap: _swap,  # type: ignore[dict-item]
    ir.Load: _load,  # type: ignore[dict-item]
    ir.MapRef: lambda scope, expr, need: scope.map(expr.name),  # type: ignore[attr-defined]
    ir.DataRef: lambda scope, expr, need: scope.data(expr),  # type: ignore[arg-type]
    ir.FuncRef: lambda scope, expr, need: scope.function(expr.name),  # type: ignore[attr-defined]
    ir.SymRef: lambda scope, expr, need: scope.symbol(expr.name),  # type: ignore[attr-defined]
    ir.FrameRef: lambda scope, expr, need: scope.frame(expr),  # type: ignore[arg-type]
    ir.StackRef: lambda scope, expr, need: scope.frame(expr),  # type: ignore[arg-type]
    ir.CoreRef: lambda scope, expr, need: scope.core(expr),  # type: ignore[arg-type]
    ir.Compare: _compare,  # type: ignore[dict-item]
    ir.Not: _not,  # type: ignore[dict-item]
    ir.And: _both("&&", AND, OR),  # type: ignore[dict-item]
    ir.Or: _both("||", OR, AND),  # type: ignore[dict-item]
}

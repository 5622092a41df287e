"""What the names in expressions mean, and how a piece of C becomes one of another type.

The writers of each level (structured, instructions, assembly) say what variables, maps and memory accesses are called."""

from __future__ import annotations

import re

from bpflens.decompile import ir
from bpflens.decompile.c_expression.types import INT, OBJECT, POINTER, PRIMARY, U64, UNARY, CText, CType, wrap
from bpflens.decompile.ir import Expr

__all__ = ("Names",)


_INSIDE = re.compile(r"\(void \*\)(&?\w+(?:(?:->|\.)\w+)*) ([+-]) (\w+)").fullmatch
"""Something that C knows the type of, and bytes into it."""


class Names:
    """What the names in expressions mean: subclassed by the writers of each level."""

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

    def beside(self, expr: Expr, value: int) -> CText | None:
        """A name for a number that stands beside an expression: a protocol, a port in network order."""
        return None

    def swap_name(self, expr: ir.Swap) -> str:
        """The function that swaps bytes."""
        return f"__builtin_bswap{expr.bits}"

    def text(self, expr: Expr, need: int = 64) -> CText:
        """C of an expression that is right in its low `need` bits."""
        raise NotImplementedError

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
            made = CText(f"({'__u64' if made.type.signed else 'long'}){wrap(made, UNARY)}", UNARY, U64)
        return CText(f"(void *){wrap(made, UNARY)}", UNARY, POINTER)

    def condition(self, expr: Expr) -> str:
        """A condition for if and while."""
        raise NotImplementedError

    def terse(self) -> bool:
        """Is a test whether a number is 0 written as the kernel does?"""
        return False

    def address(self, expr: Expr, type: str) -> str:
        """`*(TYPE *)ADDRESS`: memory at an address."""
        made = self.text(expr)
        if made.type.bits < 64:
            made = CText(f"(__u64){wrap(made, UNARY)}", UNARY, U64)
        inside = _INSIDE(made.text)
        if inside is not None:
            return f"{self.macro('mem_at')}({type}, {inside[1]}, {'-' if inside[2] == '-' else ''}{inside[3]})"
        return f"*({type} *){wrap(made, UNARY)}"

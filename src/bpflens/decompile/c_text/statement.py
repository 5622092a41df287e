"""Statements as lines of C; what a statement needs of the file's head (helpers, macros) is noted in the unit's scope.

Store(4, Var(p), Const(1))                       ──►   *(u32 *)p = 1;
Call(v, "helper", "bpf_map_lookup_elem", ...)    ──►   v = bpf_map_lookup_elem(&counts, &key);
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bpflens.decompile import ir
from bpflens.decompile.c_expression.core import core_address, core_text, kfunc_signature
from bpflens.decompile.c_expression.expression import Scope
from bpflens.decompile.c_expression.helper_constants import argument_name
from bpflens.decompile.c_expression.prototypes import Signature, helper_signature
from bpflens.decompile.c_expression.types import OBJECT, POINTER, U32, U64, UNARY, CText, CType, wrap
from bpflens.decompile.c_expression.unit_scope import UnitScope
from bpflens.decompile.ir import Expr

__all__ = ("FunctionScope", "statement_lines")


_TRACE_PRINTK = 6
_CTX_SIZES = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
# op -> imm of the instruction without FETCH
_ATOMIC_IMM = {"+": 0x00, "|": 0x40, "&": 0x50, "^": 0xA0, "xchg": 0xE1, "cmpxchg": 0xF1, "load_acquire": 0x100, "store_release": 0x110}
_SYNC = {"+": "__sync_fetch_and_add", "|": "__sync_fetch_and_or", "&": "__sync_fetch_and_and", "^": "__sync_fetch_and_xor"}


class FunctionScope(Scope):
    """A scope inside of a function of a unit."""

    def __init__(self, unit: UnitScope, signatures: dict[str, Signature]) -> None:
        self.unit = unit
        self.signatures = signatures
        self.asm_statements = 0
        self.ctx_macro = True

    def macro(self, name: str) -> str:
        """A macro of the file's head."""
        return self.unit.macro(name)

    def map(self, name: str) -> CText:
        """The address of a map."""
        return self.unit.map(name)

    def data(self, ref: ir.DataRef) -> CText:
        """An address in global data."""
        return self.unit.data(ref.section, ref.offset)

    def function(self, name: str) -> CText:
        """The address of a function."""
        return CText(f"&{name}", UNARY, OBJECT)

    def symbol(self, name: str) -> CText:
        """The address of a kernel variable or kconfig value."""
        self.unit.used_symbols[name] = None
        return CText(f"&{name}", UNARY, OBJECT)

    def core(self, ref: ir.CoreRef) -> CText:
        """A CO-RE number."""
        return core_text(self.unit, ref)

    def core_address(self, ref: ir.CoreRef, base: CText) -> CText | None:
        """The address of a field whose offset the loader finds."""
        return core_address(self.unit, ref, base)

    def member(self, load: ir.Load, need: int) -> CText | None:
        """Context accesses through the macro; variables of global data by name."""
        if load.place.kind == "ctx" and self.ctx_macro and not relocated(load.address):
            base, offset = split_offset(load.address)
            kind = _CTX_SIZES[load.size]
            text = f"{self.unit.macro('CTX_LOAD')}({kind}, {self.plain(base)}, {offset})"
            made = CText(text, 15, U64)  # zero extended by the instruction: a cast would be arithmetic on a packet pointer
            return CText(f"(s{8 * load.size}){text}", UNARY, CType(8 * load.size, True)) if load.signed else made
        if type(load.address) is ir.DataRef and self.unit.read_only(load.address.section):
            sign = "s" if load.signed else "u"
            type_ = CType(8 * load.size, load.signed)
            return CText(self.address(load.address, f"const volatile {sign}{8 * load.size}"), UNARY, type_)
        return None

    def points(self, named: str) -> bool:
        """Is a named place a pointer?"""
        return False

    def store_place(self, store: ir.Store) -> str | None:
        """A whole statement that stores, where plain C does not do."""
        if store.place.kind == "ctx" and self.ctx_macro and not relocated(store.address):
            base, offset = split_offset(store.address)
            value = self.text(store.value, 8 * store.size)
            if value.type.pointer:
                value = CText(f"(__u64){wrap(value, UNARY)}", UNARY, U64)
            return f"{self.unit.macro('CTX_STORE')}({_CTX_SIZES[store.size]}, {self.plain(base)}, {offset}, {value.text});"
        return None


def relocated(address: Expr) -> bool:
    """Is it base + CO-RE offset?"""
    return type(address) is ir.Binary and type(address.right) is ir.CoreRef


def split_offset(address: Expr) -> tuple[Expr, int]:
    """base + constant."""
    if type(address) is ir.Binary and address.op == "+" and type(address.right) is ir.Const:
        value = address.right.value
        return address.left, value - (1 << 64) if value >> 63 else value
    return address, 0


def statement_lines(scope: FunctionScope, statement: ir.Statement) -> list[str]:
    """The lines of a statement."""
    if isinstance(statement, ir.Assign):
        return [f"{assigned(scope, statement.var, statement.value)};"]
    if isinstance(statement, ir.Store):
        return [_store(scope, statement)]
    if isinstance(statement, ir.Call):
        return [_call(scope, statement)]
    if isinstance(statement, ir.Atomic):
        return [_atomic(scope, statement)]
    return [_asm(scope, statement)]


def assigned(scope: Scope, var: int, value: Expr) -> str:
    """`v = value`, without the semicolon."""
    target = scope.variable(var)
    return compound(target.text, as_assigned(scope, value, target.type), value)


def compound(target: str, made: str, value: Expr) -> str:
    """`v += x` for `v = v + x`."""
    for op in ("+", "-", "|", "&", "^", "<<", ">>", "*"):
        head = f"{target} {op} "
        if made.startswith(head) and type(value) is ir.Binary and value.op in (op, "-" if op == "+" else "+" if op == "-" else op):
            rest = made[len(head) :]
            if re.fullmatch(r"[\w.>()\-\[\]*& ]+", rest) and _balanced(rest) and _single(rest):
                increment = f"({target})++" if target.startswith("*") else f"{target}++"  # *p++ would move the pointer
                return increment if op == "+" and rest == "1" else f"{target} {op}= {rest}"
    return f"{target} = {made}"


def _single(text: str) -> bool:
    """One operand: a word, a call or something in parentheses."""
    return re.fullmatch(r"-?\w+|\(.*\)|\w+\([^()]*\)|\*?\w+(->\w+)*", text) is not None and not (
        text.startswith("(") and _closes_early(text)
    )


def _closes_early(text: str) -> bool:
    depth = 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and index < len(text) - 1:
            return True
    return False


def _balanced(text: str) -> bool:
    return text.count("(") == text.count(")")


def as_assigned(scope: Scope, value: Expr, type: CType) -> str:
    """C of a value for a variable, parameter or result of that type."""
    if type.pointer:
        made = scope.text(value)
        if value == ir.Const(0):
            return "(void *)0"
        return made.text if made.type.pointer else scope.pointer(value).text
    made = scope.text(value, 32 if type.bits == 31 else type.bits)
    if made.type.pointer:
        return f"(__u64){wrap(made, UNARY)}"
    return made.text


def _store(scope: FunctionScope, store: ir.Store) -> str:
    special = scope.store_place(store)
    if special is not None:
        return special
    named = scope.lvalue(store.size, store.address, store.place)
    target = named or scope.address(store.address, scope.raw_type(store.size))
    value = scope.text(store.value, 8 * store.size)
    if named and scope.points(named):
        value = CText("0", 15, U64) if store.value == ir.Const(0) else CText(f"(void *){wrap(value, UNARY)}", UNARY, POINTER)
    elif value.type.pointer:
        value = CText(f"(__u64){wrap(value, UNARY)}", UNARY, U64)
    if isinstance(store.value, ir.Binary):
        return f"{compound(target, value.text, store.value)};"
    return f"{target} = {value.text};"


def arguments(scope: Scope, args: Sequence[Expr], signature: Signature | None, helper: int = 0) -> list[str]:
    """The arguments of a call, each as the parameter's type wants it."""
    pieces = []
    for index, arg in enumerate(args):
        named = argument_name(helper, index, arg.value) if helper and type(arg) is ir.Const else None
        if named is not None:
            pieces.append(" | ".join(word if word.isdigit() else scope.macro(word) for word in named.split(" | ")))
        elif signature is not None and index < len(signature.parameters):
            pieces.append(as_assigned(scope, arg, signature.parameters[index]))
        else:
            made = scope.text(arg)
            if not (made.type.bits == 64 and not made.type.pointer):
                made = scope.as_type(made, U64)
            pieces.append(made.text)
    return pieces


def _printk(scope: FunctionScope, call: ir.Call) -> list[str] | None:
    """The arguments of bpf_printk: its format as a string, where the call's format is a constant of just that size."""
    if call.kind != "helper" or call.number != _TRACE_PRINTK or len(call.args) < 2:
        return None
    format, size = call.args[:2]
    if type(format) is not ir.DataRef or type(size) is not ir.Const or not scope.unit.read_only(format.section):
        return None
    text = scope.unit.string(format.section, format.offset, size.value)
    return None if text is None else [text, *arguments(scope, call.args[2:], None)]


def _call(scope: FunctionScope, call: ir.Call) -> str:
    unit = scope.unit
    signature: Signature | None
    if call.kind == "helper":
        unit.used_helpers[call.number] = None
        signature = helper_signature(call.number)
    elif call.kind == "packet":
        name = unit.macro(call.name)
        text = f"{name}({scope.pointer(call.args[0]).text}, {scope.plain(call.args[1])})"
        return f"{scope.variable(call.var).text} = {text};" if call.var is not None else f"{text};"
    elif call.kind == "kfunc":
        unit.used_kfuncs[call.name] = None
        signature = kfunc_signature(unit, call.name)
    else:
        signature = scope.signatures.get(call.name)
    args = call.args if signature is None or signature.variadic else call.args[: len(signature.parameters)]
    printk = _printk(scope, call)
    if printk is not None:
        text = f"{unit.macro('bpf_printk')}({', '.join(printk)})"
    else:
        text = f"{call.name}({', '.join(arguments(scope, args, signature, call.number if call.kind == 'helper' else 0))})"
    if call.var is None:
        return f"{text};"
    target = scope.variable(call.var)
    result = signature.result if signature is not None else U64
    if result is None:
        return f"{text};"
    return f"{target.text} = {_converted(text, result, target.type)};"


def _converted(text: str, have: CType, want: CType) -> str:
    """A call's result for a variable."""
    if have.pointer and not want.pointer:
        return f"(__u64){text}"
    if want.pointer and not have.pointer:
        return f"(void *){'(__u64)' if have.bits < 64 else ''}{text}"
    return text


def _atomic(scope: FunctionScope, atomic: ir.Atomic) -> str:
    unit, size = scope.unit, atomic.size
    target = scope.variable(atomic.var) if atomic.var is not None else None
    named = scope.lvalue(size, atomic.address, atomic.place) if atomic.place.kind != "ctx" else None
    pointer = f"&{named}" if named else f"(u{8 * size} *){wrap(scope.pointer(atomic.address), UNARY)}"
    pointer = named[1:] if named and named.startswith("*") else pointer
    value = as_assigned(scope, atomic.value, U64 if size == 8 else U32)
    # of an addition of 0 clang makes other code, which 32 bits do not have
    adds = target is None and atomic.op == "+" and type(atomic.value) is ir.Const and atomic.value.value & 0xFFFFFFFF != 0
    plain = atomic.op in _SYNC and (size == 8 or adds) and atomic.place.kind != "ctx"
    if plain:
        text = f"{_SYNC[atomic.op]}({pointer}, {value})"
    elif atomic.op == "cmpxchg":
        assert atomic.expected is not None
        expected = as_assigned(scope, atomic.expected, U64)
        text = f"{unit.macro(f'atomic_cmpxchg{8 * size}')}({pointer}, {expected}, {value})"
    elif atomic.op == "load_acquire":
        text = f"{unit.macro(f'atomic_load_acquire{8 * size}')}({pointer})"
    elif atomic.op == "store_release":
        text = f"{unit.macro(f'atomic_store_release{8 * size}')}({pointer}, {value})"
    else:
        name = {"+": "add", "|": "or", "&": "and", "^": "xor", "xchg": "xchg"}[atomic.op]
        fetch = "" if atomic.op == "xchg" else "fetch_" if target is not None else ""
        text = f"{unit.macro(f'atomic_{fetch}{name}{8 * size}')}({pointer}, {value})"
    if target is None:
        return f"{text};"
    return f"{target.text} = {_converted(text, U64, target.type)};"


def _asm(scope: FunctionScope, asm: ir.Asm) -> str:
    scope.asm_statements += 1
    unit = scope.unit
    if asm.text == "may_goto":
        assert asm.var is not None
        return f"{scope.variable(asm.var).text} = {unit.macro('may_goto')}();"
    name = "cast_kern" if ", 0, 1)" in asm.text else "cast_user"
    target = scope.variable(asm.var) if asm.var is not None else None
    text = f"{unit.macro(name)}({as_assigned(scope, asm.args[0], U64)})"
    return f"{target.text} = {_converted(text, U64, target.type)};" if target is not None else f"{text};"

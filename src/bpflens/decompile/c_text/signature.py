"""The C signatures of functions, and the lines that declare and open them.

Entries get the context of their program type and return int; other functions take and return 64-bit numbers, except global ones, whose
prototypes the verifier reads from BTF.
"""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import declaration
from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.types import S32, S64, U64, CType
from bpflens.decompile.unit import Code, Unit
from bpflens.formats.elf.sections import SECTIONS
from bpflens.isa.extended.contexts import context_struct
from bpflens.isa.extended.uapi import ProgType

__all__ = ("WORDS", "head_of", "make_signatures", "prototype_of", "section_name")


def make_signatures(unit: Unit, arities: Mapping[str, int]) -> dict[str, Signature]:
    """The signature of every function by name."""
    return {name: _signature(code, arities[name]) for name, code in unit.codes.items()}


def _signature(code: Code, arity: int) -> Signature:
    from bpflens.decompile.c_expression.core import type_of

    btf = code.program.btf
    if code.role == "entry":
        context, pointee = _context(code)
        result: CType | None = S32
        if btf is not None and code.type_id:
            known = type_of(btf, btf.type(btf.type(code.type_id).ref).ref)
            if known is not None and known.bits == 64:
                result = U64
        if code.prog_type == ProgType.STRUCT_OPS:
            result = U64
        return Signature(result, (context,), False, (pointee,))
    if code.role == "global" and btf is not None and code.type_id:
        proto = btf.type(code.type_id).ref
        params = btf.params(proto)[:arity]
        return Signature(type_of(btf, btf.type(proto).ref), tuple(_parameter(btf, p.type_id) for p in params))
    return Signature(S64 if code.role == "callback" else U64, (U64,) * arity)


def _parameter(btf: Btf, type_id: int) -> CType:
    from bpflens.decompile.c_expression.core import type_of

    made = type_of(btf, type_id) or U64
    if made.pointer:
        return CType(64, False, " ".join(declaration(btf, type_id, "", type_tags=False).split()))
    return made


WORDS = frozenset((ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE, ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.LSM))
"""The context is an array of 64-bit arguments."""


def _context(code: Code) -> tuple[CType, int]:
    """The type of the context, and the BTF type that it points to where the program's own types say that."""
    struct = context_struct(code.prog_type)
    if struct:
        return CType(64, False, f"struct {struct} *"), 0
    if code.prog_type in WORDS:
        return CType(64, False, "__u64 *"), 0
    btf = code.program.btf
    if btf is not None and code.type_id:
        params = btf.params(btf.type(code.type_id).ref)
        target = btf.skip_modifiers(params[0].type_id) if params else 0
        if target and btf.kind(target) is Kind.PTR:
            to = btf.type(target).ref
            if btf.kind(btf.skip_modifiers(to)) is Kind.STRUCT and btf.name(to):
                return CType(64, False, " ".join(declaration(btf, to, "*", type_tags=False).split())), to
    return CType(64, False, "void *"), 0


def prototype_of(code: Code, signature: Signature, named: Mapping[int, str] | None = None) -> str:
    """`static __attribute__((noinline)) __u64 f(__u64 a1)`, without semicolon. `named`: other names for parameters, by number from 1."""
    result = _written(signature.result)
    if code.role == "entry":
        return f'SEC("{section_name(code)}")\n{result} {code.name}({signature.parameters[0].pointer}ctx)'
    names = []
    for number, type in enumerate(signature.parameters, 1):
        written = _written(type)
        names.append(f"{written}{'' if written.endswith('*') else ' '}{(named or {}).get(number, f'a{number}')}")
    linkage = "static __attribute__((noinline)) " if code.role != "global" else "__attribute__((noinline)) "
    return f"{linkage}{result} {code.name}({', '.join(names) or 'void'})"


def head_of(code: Code, signature: Signature, named: Mapping[int, str] | None = None) -> list[str]:
    """The lines that open a function."""
    return [*prototype_of(code, signature, named).split("\n"), "{"]


def _written(type: CType | None) -> str:
    if type is None:
        return "void"
    if type.pointer:
        return type.pointer
    if type in (S32, S64):
        return "int" if type == S32 else "long"
    return f"__{'s' if type.signed else 'u'}{type.bits}"


def section_name(code: Code) -> str:
    """The section to declare an entry in: its own where libbpf 1.0 and later know it, else the one of its type."""
    name = code.section.lstrip("?")
    for row in SECTIONS:
        stem = row.name.rstrip("+")
        if name == stem or (row.name.endswith("+") and name.startswith(stem + "/")):
            return code.section
    attach = code.program.expected_attach_type
    of_type = [row for row in SECTIONS if row.prog_type == code.prog_type]
    fits = [row for row in of_type if attach and row.attach_type == attach and not row.flags]
    plain = sorted(fits or of_type, key=lambda row: (bool(row.flags), len(row.name), row.name))  # syscall has flags only
    if plain:
        return plain[0].name.rstrip("+")
    return code.section if not code.section.startswith("#") else "socket"

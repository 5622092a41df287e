"""The passes that make structured C of a function, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import declaration
from bpflens.decompile import ir
from bpflens.decompile.c_expression.prototypes import Signature, helper_signature
from bpflens.decompile.c_expression.types import POINTER, S32, S64, U32, U64, CType
from bpflens.decompile.fold import drop_unused, fold
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Call
from bpflens.decompile.join_bytes import join_bytes
from bpflens.decompile.lift.arity import variable_arguments
from bpflens.decompile.lift.blocks import Unsayable
from bpflens.decompile.lift.copies import join_copies
from bpflens.decompile.lift.lift import lift
from bpflens.decompile.lift.regions import Regions
from bpflens.decompile.lift.stack import lay_out, place_in_frame
from bpflens.decompile.lift.webs import Webs, find_webs
from bpflens.decompile.structure.booleans import known_results, same_tests, split_results, truth_values
from bpflens.decompile.structure.duplicate import duplicate_returns
from bpflens.decompile.structure.ladders import unroll_searches
from bpflens.decompile.structure.reduce import duplicate_tails, reduce_graph
from bpflens.decompile.structure.shape import shape
from bpflens.decompile.structure.structure import gotos, structure
from bpflens.decompile.tree import Tree
from bpflens.decompile.types.demand import demanded_bits, signed_uses
from bpflens.decompile.types.frame_types import type_objects
from bpflens.decompile.types.packet_headers import PacketFields, find_packet_fields
from bpflens.decompile.types.pointees import find_pointees
from bpflens.decompile.types.pointers import find_pointers, is_packet_load
from bpflens.decompile.types.source_names import frame_variables, register_variables, struct_named
from bpflens.decompile.unit import Code, Unit
from bpflens.formats.elf.dwarf.variables import LocalVariable
from bpflens.isa.extended.contexts import context_struct

__all__ = ("Options", "StructuredFunction", "build_structured")

_CHAINED = 4
"""Truth values that are made of each other."""


@dataclass(frozen=True, slots=True)
class Options:
    """Variants of structured C, for what clang or the verifier refuse: context accesses through a macro, no expression folding, numbers
    that are added to pointers hidden from clang, stack slots left in memory.
    """

    ctx_macro: bool = False
    inline: bool = True
    index_barrier: bool = False
    promote: bool = True


@dataclass(slots=True)
class StructuredFunction:
    """A function in its structured form, and what is known of its variables."""

    function: Function
    tree: Tree
    types: dict[int, CType]
    widths: dict[int, int]
    webs: Webs
    barred: frozenset[int]
    pointees: dict[int, int]
    narrow: frozenset[int]
    fields: PacketFields
    source_names: dict[int, str]


def build_structured(
    code: Code, unit: Unit, regions: Regions, arities: Mapping[str, int], signatures: Mapping[str, Signature], options: Options,
    wide: frozenset[int] = frozenset(),
) -> StructuredFunction:  # fmt: skip
    """Run the passes. Unsayable where the function is none that C can say. `wide`: webs that must not be narrowed."""
    arity = arities[code.name]
    context = context_struct(code.prog_type)
    results = _Results(signatures)
    function = lift(code, arity, arities, regions.places, variable_arguments(code, arity))  # instructions to statements
    place_in_frame(function, lay_out(code, unit, regions, options.promote), regions)  # stack slots to variables and objects
    duplicate_returns(function)  # one return for each path that has its own
    webs = find_webs(function)  # registers and slots to variables
    barred = _indexes(function, regions, webs, options.index_barrier)
    named = lambda expr: is_packet_load(expr, context)  # noqa: E731
    fold(function, webs, results.bits, named, options.inline, barred)  # expressions put together
    reduce_graph(function)  # chains, empty blocks, short circuits
    for _ in range(_CHAINED):
        if not truth_values(function, webs):  # what is 1 where a test holds
            break
        reduce_graph(function)
    if unroll_searches(function):  # switches
        reduce_graph(function)
    duplicate_tails(function, gotos, calls=1)  # short shared endings
    if same_tests(function):  # tests that were asked before
        reduce_graph(function)
    drop_unused(function)
    if not unit.big_endian:
        join_bytes(function)  # numbers that were read byte by byte
    widths = fold(function, webs, results.bits, named, options.inline, barred)  # what the smaller graph allows
    reduce_graph(function)
    if known_results(function, widths.of):  # what a test has just told
        widths = fold(function, webs, results.bits, named, options.inline, barred)
    split_results(function)  # numbers made of a test
    join_copies(function, webs, barred)  # variables that are copies
    _check_addresses(function)
    tree = shape(structure(function))  # blocks to a tree of ifs and loops
    in_frame = frame_variables(code, regions)
    in_registers = register_variables(code, webs)
    type_objects(function, unit.maps, unit.btf, in_frame)  # what stack objects are
    pointers = find_pointers(function, webs, context, code.role == "entry", results.pointer)
    pointees = _pointees(code, function, webs, unit, signatures[code.name], in_registers)  # what pointers point to
    result = signatures[code.name].result
    demand = demanded_bits(function, widths.of, results.parameter, result.bits if result is not None else 1)
    narrow = frozenset(
        web for web, bits in demand.items()
        if bits <= 32 and widths.of(web) > 32 and web not in pointers and web not in pointees and web not in barred and web not in wide
    )  # fmt: skip
    signs = signed_uses(function)
    types = {web: _type(web, pointers, pointees, narrow, signs, widths.known, barred, unit) for web in range(webs.count)}
    fields = find_packet_fields(function, webs, code.prog_type, context) if code.role == "entry" else PacketFields()
    return StructuredFunction(
        function, tree, types, widths.known, webs, barred, pointees, narrow, fields, {w: v.name for w, v in in_registers.items()}
    )


def _check_addresses(function: Function) -> None:
    """Unsayable where an address in the frame lies outside the object that it is written with: C would have another object there."""
    for block in function.blocks.values():
        pending = [expr for statement in block.statements for expr in ir.inputs(statement)]
        pending += [end for end in (block.condition, block.result) if end is not None]
        while pending:
            node = pending.pop()
            pending += ir.children(node)
            if isinstance(node, ir.StackRef) and not 0 <= node.offset <= function.objects[node.start].size:
                raise Unsayable(f"an address {node.start + node.offset} in the frame lies in no object that is known")


class _Results:
    """What calls return."""

    def __init__(self, signatures: Mapping[str, Signature]) -> None:
        self.signatures = signatures

    def signature(self, call: Call) -> Signature | None:
        if call.kind == "helper":
            return helper_signature(call.number)
        return self.signatures.get(call.name) if call.kind == "function" else None

    def bits(self, call: Call) -> int:
        """Known bits of a result."""
        if call.kind == "packet":
            return 8 * call.number
        signature = self.signature(call)
        if signature is None or signature.result is None or signature.result.signed or signature.result.pointer:
            return 64
        return signature.result.bits

    def parameter(self, call: Call, index: int) -> int:
        """Bits that an argument is looked at."""
        signature = self.signature(call)
        if signature is None or index >= len(signature.parameters):
            return 64
        return signature.parameters[index].bits

    def pointer(self, call: Call) -> bool:
        """Does it return a pointer?"""
        signature = self.signature(call)
        return signature is not None and signature.result is not None and bool(signature.result.pointer)


def _pointees(
    code: Code, function: Function, webs: Webs, unit: Unit, signature: Signature, source: Mapping[int, LocalVariable]
) -> dict[int, int]:
    """web -> BTF type that it points to, where that can be written."""
    btf = unit.btf
    if btf is None or code.program.btf is not btf:
        return {}
    found = find_pointees(function, webs, unit.maps, btf, {n: t for n, t in enumerate(signature.pointees, 1) if t})
    arguments = set(webs.arguments.values())
    for web, variable in source.items():
        if web not in found and web not in arguments and variable.type.endswith(" *"):
            type_id = struct_named(btf, variable.type[:-2])
            if type_id:
                found[web] = type_id
    return {web: type_id for web, type_id in found.items() if _writable(btf, type_id)}


def _writable(btf: Btf, type_id: int) -> bool:
    """A type with a name: a number, a struct, a typedef."""
    kind = btf.kind(btf.skip_modifiers(type_id))
    if kind in (Kind.STRUCT, Kind.UNION):
        return bool(btf.name(type_id) or btf.name(btf.skip_modifiers(type_id)))
    return kind in (Kind.INT, Kind.ENUM)


def _type(
    web: int, pointers: set[int], pointees: Mapping[int, int], narrow: frozenset[int], signs: Mapping[int, bool],
    widths: Mapping[int, int], barred: frozenset[int], unit: Unit,
) -> CType:  # fmt: skip
    """The C type of a variable."""
    if web in pointees and unit.btf is not None:
        return CType(64, False, " ".join(declaration(unit.btf, pointees[web], "*", type_tags=False).split()))
    if web in pointers:
        return POINTER
    if web in barred:
        return U64
    small = web in narrow or widths.get(web, 64) <= 32
    if signs.get(web):
        return S32 if small else S64
    return U32 if small else U64


def _indexes(function: Function, regions: Regions, webs: Webs, every: bool) -> frozenset[int]:
    """Webs that are added to pointers, where clang would check one copy and use another: those with several definitions, or `every` one."""
    slots = {slot for slot, _ in regions.indexes}
    values: dict[int, ir.Expr] = {}
    pending: list[int] = []
    for block in function.blocks.values():
        for statement in block.statements:
            if type(statement) is ir.Assign:
                values[statement.var] = statement.value
                if slots.intersection(statement.slots):
                    pending += ir.variables_of(statement.value)
    seen: set[int] = set()
    while pending:  # from what is added back to what was checked
        web = pending.pop()
        if web not in seen:
            seen.add(web)
            value = values.get(web)
            if webs.single(web) and isinstance(value, (ir.Binary, ir.Zext, ir.Sext, ir.Var)):
                pending += ir.variables_of(value)
    return frozenset(web for web in seen if every or not webs.single(web))

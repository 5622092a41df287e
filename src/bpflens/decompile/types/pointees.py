"""What the pointers of a function point to, by BTF: map values, context arguments, kernel structures.

    v1 = bpf_map_lookup_elem(&counts, &key)      v1: struct counter *       (the map's value type)
    CORE(&((struct task_struct *)v2)->tgid)      v2: struct task_struct *   (what every CO-RE access of it says)

All definitions of a variable must agree; a copy has the type of what it copies. Cost: linear; at most four rounds.
"""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.btf.btf import Btf, Kind
from bpflens.decompile import ir
from bpflens.decompile.function import Function
from bpflens.decompile.ir import Assign, Call, Const, Expr, MapRef, Statement, Var
from bpflens.decompile.lift.webs import Webs, written
from bpflens.program import Map

__all__ = ("find_pointees",)

_LOOKUPS = (1, 195)
_ROUNDS = 4


def find_pointees(function: Function, webs: Webs, maps: Mapping[str, Map], btf: Btf, arguments: Mapping[int, int]) -> dict[int, int]:
    """web -> BTF type id that it points to. `arguments`: the same for the registers of the function's arguments, 0 where not known."""
    definitions: dict[int, list[Statement]] = {}
    for block in function.blocks.values():
        for statement in block.statements:
            var = written(statement)
            if var is not None:
                definitions.setdefault(var, []).append(statement)
    found: dict[int, int] = {}
    for register, web in webs.arguments.items():
        if arguments.get(register) and webs.definitions.get(web) == 1:
            found[web] = arguments[register]
    for _ in range(_ROUNDS):
        before = len(found)
        for web, statements in definitions.items():
            if web not in found and web not in webs.arguments.values():
                made = {_pointee(s, found, maps) for s in statements if not (isinstance(s, Assign) and s.value == Const(0))}
                if len(made) == 1 and (type_id := made.pop()):
                    found[web] = type_id
        if len(found) == before:
            break
    for web, roots in _core_roots(function).items():
        if web not in found and len(roots) == 1 and web not in webs.arguments.values():
            (root,) = roots
            if btf.kind(root) in (Kind.STRUCT, Kind.UNION) and btf.name(root):
                found[web] = root
    return found


def _pointee(statement: Statement, found: Mapping[int, int], maps: Mapping[str, Map]) -> int:
    if isinstance(statement, Assign) and isinstance(statement.value, Var):
        return found.get(statement.value.id, 0)
    if isinstance(statement, Call) and statement.kind == "helper" and statement.number in _LOOKUPS and statement.args:
        of = statement.args[0]
        m = maps.get(of.name) if isinstance(of, MapRef) else None
        if m is not None and not m.fields.get("inner"):
            return m.value_type_id
    return 0


def _core_roots(function: Function) -> dict[int, set[int]]:
    """web -> root types of the CO-RE accesses through it."""
    out: dict[int, set[int]] = {}
    exprs: list[Expr] = [e for b in function.blocks.values() for s in b.statements for e in ir.inputs(s)]
    for block in function.blocks.values():
        exprs += [e for e in (block.condition, block.result) if e is not None]
    for expr in exprs:
        pending = [expr]
        while pending:
            node = pending.pop()
            if isinstance(node, ir.Binary) and isinstance(node.right, ir.CoreRef) and isinstance(node.left, Var):
                out.setdefault(node.left.id, set()).add(node.right.type_id if node.right.kind == 0 else 0)
            pending.extend(ir.children(node))
    return out

"""Creation attributes of maps that bpf_map_info does not have: NUMA node, template of inner maps; and where the map is in the kernel.

One iterator (programs/iterator.py) over all maps.
"""

from __future__ import annotations

from bpflens.errors import BpflensError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.kernel.programs.iterator import OBJECT, iterate, over
from bpflens.kernel.sys import fact_cache
from bpflens.lean import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("InnerTemplate", "MapAttributes", "map_attributes")

_INNER = ("map_type", "key_size", "value_size", "max_entries", "map_flags")
_COLUMNS = 3 + len(_INNER)  # id, numa_node, address


@frozen
class InnerTemplate:
    """What the inner maps of a map of maps must be like (struct bpf_map, inner_map_meta)."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@frozen
class MapAttributes:
    """`numa_node`: -1 where none was asked for. `address`: of struct bpf_map, 0 where the kernel hides it; never to be printed."""

    numa_node: int
    address: int
    inner: InnerTemplate | None = None


def map_attributes() -> dict[int, MapAttributes]:
    """Map id -> its attributes, for all maps; empty where iterators can't be used."""
    from bpflens.kernel.btf import vmlinux

    known = fact_cache.load("map_attributes")
    try:
        if isinstance(known, dict):
            code, fn_id = bytes.fromhex(known["code"]), known["function"]
        else:
            code, fn_id = _assemble(vmlinux())
            fact_cache.store("map_attributes", {"code": code.hex(), "function": fn_id})
        rows = iterate(code, fn_id, 8 * _COLUMNS)
    except (BpflensError, OSError):
        return {}
    found = {}
    for id, node, address, *inner in rows:
        template = InnerTemplate(*inner) if inner[0] else None
        found[id] = MapAttributes((node ^ 1 << 31) - (1 << 31), address, template)
    return found


def _assemble(btf: Btf) -> tuple[bytes, int]:
    from functools import partial

    from bpflens.btf.fields import member_offset

    offset = partial(member_offset, btf)
    row = 8 * _COLUMNS
    body = [
        Insn.make(op.LDX | op.MEM | op.W, 2, OBJECT, offset("bpf_map", "id")),
        Insn.make(op.STX | op.MEM | op.DW, 10, 2, -row),
        Insn.make(op.LDX | op.MEM | op.W, 2, OBJECT, offset("bpf_map", "numa_node")),
        Insn.make(op.STX | op.MEM | op.DW, 10, 2, 8 - row),
        Insn.make(op.STX | op.MEM | op.DW, 10, OBJECT, 16 - row),
        Insn.make(op.LDX | op.MEM | op.DW, 7, OBJECT, offset("bpf_map", "inner_map_meta")),
    ]
    for index, name in enumerate(_INNER):
        slot = 8 * (index + 3) - row
        body += [
            Insn.make(op.ST | op.MEM | op.DW, 10, 0, slot, 0),
            Insn.make(op.JMP | op.JEQ | op.K, 7, 0, 2, 0),
            Insn.make(op.LDX | op.MEM | op.W, 2, 7, offset("bpf_map", name)),
            Insn.make(op.STX | op.MEM | op.DW, 10, 2, slot),
        ]
    return over(btf, "map", body, row)

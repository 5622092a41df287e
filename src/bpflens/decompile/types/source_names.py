"""What variables are called in the source, where the object has DWARF that says so.

    from instruction 12 on register 7 is pid     ──►   the web that instruction 11 defined in register 7 is pid
    16 bytes above the frame's lowest are key    ──►   the stack object there is key

A register's name is taken only where its definition is in the block that DWARF has the variable in that register from. Where the frame
begins is not in DWARF: it is taken for known only if every variable of the frame then starts at an address that the code uses.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from bpflens.analysis.cfg import jump_target
from bpflens.btf.btf import Btf, Kind
from bpflens.decompile.lift.regions import Regions
from bpflens.decompile.lift.webs import Webs
from bpflens.decompile.unit import Code, identifier
from bpflens.errors import BpflensError
from bpflens.formats.elf.dwarf.variables import LocalVariable
from bpflens.isa.extended import opcodes as op

_GENERATED = re.compile(r"v\d+|stack_\d+|L\d+|out").fullmatch
_LEAVING = (op.JMP | op.JA, op.JMP32 | op.JA, op.JMP | op.EXIT)

__all__ = ("frame_variables", "register_variables", "struct_named", "unused_name")


def frame_variables(code: Code, regions: Regions) -> dict[int, LocalVariable]:
    """Offset from the top of the frame (negative) -> the variable that starts there."""
    found = [v for v in code.locals if v.place == "frame"]
    used = {at for at, _ in regions.direct} | {at for at, _, _ in regions.passed} | regions.loose
    lowest = min(used, default=0)
    if not found or lowest >= 0 or regions.unknown:
        return {}
    depth = -lowest + (lowest % 8)  # LLVM keeps the frame a multiple of 8
    if any(v.number - depth not in used for v in found if v.number >= 0) or any(v.number < 0 for v in found):
        return {}
    out: dict[int, LocalVariable] = {}
    several: set[int] = set()
    for variable in found:
        at = variable.number - depth
        if at in out and (out[at].name, out[at].size) != (variable.name, variable.size):
            several.add(at)
        out.setdefault(at, variable)
    return {at: variable for at, variable in out.items() if at not in several}


def register_variables(code: Code, webs: Webs) -> dict[int, LocalVariable]:
    """web -> the variable of the source that it is; of several the one that it is for most instructions. What has none of its own has that
    of a variable that was a copy of it.
    """
    at = {place: web for web, places in webs.places.items() for place in places}
    joins = _joins(code)
    found: dict[int, dict[str, LocalVariable]] = {}
    for variable in code.locals:
        if variable.place == "register":
            web = _held(code, variable, at, joins)
            if web is not None:
                known = found.setdefault(web, {})
                before = known.get(variable.name)
                if before is None or before.end - before.start < variable.end - variable.start:
                    known[variable.name] = variable
    chosen = {web: max(known.values(), key=lambda v: (v.end - v.start, v.name)) for web, known in found.items()}
    for copy, of in reversed(webs.copies):
        if copy in chosen and of not in chosen:
            chosen[of] = chosen[copy]
    return chosen


def _joins(code: Code) -> set[int]:
    """The instructions that jumps go to."""
    out = set()
    for slot, insn in enumerate(code.insns, code.start):
        target = jump_target(insn, slot)
        if target is not None:
            out.add(target)
    return out


def _held(code: Code, variable: LocalVariable, at: Mapping[tuple[int, int], int], joins: Collection[int]) -> int | None:
    """The web that is in the variable's register where the variable begins to be there: the last definition before, in the same block."""
    slot = variable.start
    while slot > code.start and slot not in joins:
        slot -= 1
        web = at.get((slot, variable.number))
        if web is not None:
            return web
        insn = code.insns[slot - code.start]
        if (insn.code == op.CALL_CODE and variable.number < 6) or insn.code in _LEAVING:
            return None
        if insn.code and insn.dst == variable.number and insn.code & 7 in (op.LDX, op.ALU, op.ALU64, op.LD):
            return None
    return at.get((code.start - 1, variable.number)) if slot == code.start and slot not in joins else None


def struct_named(btf: Btf, type: str, size: int = 0) -> int:
    """The BTF type of a struct that C calls `type`, of `size` bytes where that is not 0; 0 where there is none."""
    kind, _, name = type.partition(" ")
    if kind not in ("struct", "union") or "*" in name:
        return 0
    id = btf.find(name, Kind.STRUCT if kind == "struct" else Kind.UNION)
    try:
        return id if id is not None and btf.type(id).vlen and (not size or btf.size(id) == size) else 0
    except BpflensError:
        return 0


def unused_name(wanted: str, taken: Collection[str]) -> str:
    """A name as a C identifier, with a number where it is taken or looks as if it were inferred."""
    name, number = identifier(wanted), 2
    stem = name
    while name in taken or name.startswith("bpf_") or _GENERATED(name):
        name, number = f"{stem}_{number}", number + 1
    return name

"""How many arguments each function takes: the highest of r1 to r5 that it reads before it writes it.

Prototypes of BTF do not say that: compilers drop arguments of static functions that they do not need. Callbacks get all that the helper
passes. Algorithm: backward liveness in each function, callees first.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.analysis.liveness import live_after, reads_writes, written_before
from bpflens.btf.btf import Kind
from bpflens.decompile.lift.lift import MAX_ARGUMENTS, call_arity
from bpflens.decompile.unit import Code, Unit, kernel_types
from bpflens.isa.extended import opcodes as op

__all__ = ("arities_of", "variable_arguments")

_PRINTK = 6


def arities_of(unit: Unit) -> dict[str, int]:
    """The number of arguments by function name; of kfuncs by "kfunc NAME"."""
    out: dict[str, int] = {}
    _kfuncs(unit, out)
    for name, code in unit.codes.items():
        if code.role == "entry":
            out[name] = 1
        elif code.role == "callback":
            out[name] = MAX_ARGUMENTS
        elif code.role == "global" and _parameters(code) is not None:
            out[name] = _parameters(code) or 0
        else:
            out[name] = _live_in(code, out)
    return out


def _parameters(code: Code) -> int | None:
    btf = code.program.btf
    if btf is None or not code.type_id:
        return None
    return min(len(btf.params(btf.type(code.type_id).ref)), MAX_ARGUMENTS)


def _kfuncs(unit: Unit, out: dict[str, int]) -> None:
    names = {r.name for c in unit.codes.values() for r in c.references.values() if r.kind == "kfunc"}
    if not names:
        return
    for btf in (unit.btf, kernel_types()):
        for name in names:
            id = btf.find(name, Kind.FUNC) if btf is not None else None
            if btf is not None and id is not None and f"kfunc {name}" not in out:
                out[f"kfunc {name}"] = min(len(btf.params(btf.type(id).ref)), MAX_ARGUMENTS)


def _effects(code: Code, arities: dict[str, int]) -> Callable[[int], tuple[int, int] | None]:
    """The registers that a call reads and writes, as bits; None for other instructions."""

    def effect(at: int) -> tuple[int, int] | None:
        insn = code.insns[at]
        if insn.code == op.CALL_CODE:
            slot = code.start + at
            count = call_arity(insn, code.references.get(slot), arities)
            if insn.src == 0 and insn.imm == _PRINTK:
                count = 2
            return (1 << count + 1) - 2, 0b111111
        return None

    return effect


def _live_in(code: Code, arities: dict[str, int]) -> int:
    """The highest argument register that is live at the entry."""
    if not code.insns:
        return 0
    effect = _effects(code, arities)
    first = code.insns[0]
    own = effect(0)
    reads, writes = own if own is not None else reads_writes(first.word)
    live = reads | live_after(code.insns, effect)[0] & ~writes
    return max((number for number in range(1, 6) if live >> number & 1), default=0)


def variable_arguments(code: Code, arity: int) -> dict[int, int]:
    """Slot of each bpf_trace_printk -> how many arguments it has: as many as registers that hold something."""
    slots = [at for at, insn in enumerate(code.insns) if insn.code == op.CALL_CODE and insn.src == 0 and insn.imm == _PRINTK]
    if not slots:
        return {}
    written = written_before(code.insns, {0: (1 << arity + 1) - 2}, lambda slot: False)
    out = {}
    for at in slots:
        count = 2
        while count < MAX_ARGUMENTS and written[at] >> count + 1 & 1:
            count += 1
        out[code.start + at] = count
    return out

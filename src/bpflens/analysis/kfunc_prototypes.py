"""The C prototypes of the kfuncs that a loaded program calls, from the running kernel's types: asked for before a listing is made.

    85 20 .. imm=49881   ──►   {49881: "void bpf_rcu_read_lock(void)"}
"""

from __future__ import annotations

from bpflens.analysis.references import References
from bpflens.errors import BpflensError
from bpflens.isa.extended.opcodes import CALL_CODE, PSEUDO_KFUNC_CALL
from bpflens.program import Isa, Program

__all__ = ("kfunc_prototypes",)


def kfunc_prototypes(program: Program) -> dict[int, str]:
    """BTF id -> prototype; empty for a program that is not loaded here. Ids of a module's BTF (off is not 0) are left out."""
    if program.isa is not Isa.EXTENDED or not program.xlated:
        return {}
    slots = References(program)
    words = {slots.word(slot) for slot in slots.referring()}
    ids = {word >> 32 for word in words if word & 0xFF == CALL_CODE and word >> 12 & 15 == PSEUDO_KFUNC_CALL and not word >> 16 & 0xFFFF}
    if not ids:
        return {}
    from bpflens.btf.c_text import declaration
    from bpflens.kernel.btf import vmlinux

    found = {}
    for id in ids:
        try:
            found[id] = declaration(vmlinux(), id)
        except (BpflensError, LookupError):
            continue
    return found

"""Code that is no filter for anybody: a jump out of it, an unknown instruction, no return at its end."""

from __future__ import annotations

from bpflens.classic.diagrams.symbolic import loops
from bpflens.isa.classic.insn import SockFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("why_nothing_runs",)


def why_nothing_runs(insns: Sequence[SockFilter]) -> str | None:
    """Why a filter on packets is none: neither the kernel nor libpcap runs it. None for one that either does, or that only loops."""
    from bpflens.isa.classic.check import check, runs_in_libpcap

    refusals = check(insns, "socket")
    if not refusals or runs_in_libpcap(insns) or loops(insns):
        return None
    return f"neither the kernel nor libpcap runs this program: {refusals[0]}"

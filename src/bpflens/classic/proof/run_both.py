"""Two programs run on one packet: the only thing that a difference is believed by."""

from __future__ import annotations

from collections.abc import Callable

from bpflens.classic.diagrams.symbolic import Machine
from bpflens.classic.proof.verdict import Insns, Witness
from bpflens.classic.proof.witness import Packet
from bpflens.errors import InputError
from bpflens.isa.classic.table import SKF_LL_OFF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

__all__ = ("runner",)


def runner(
    a: Insns, b: Insns, machine: Machine, given: Insns | None = None, *, values: bool = False, side: int | None = None
) -> Callable[[Packet], Witness | None]:
    """Runs both programs; the Witness where one accepts what the other rejects, for a packet that `given` accepts.

    The witness names the place of the network header where that may matter and is not behind an Ethernet header.
    With `values` they differ where they return different values. With `side` 0 only packets count that `a` alone accepts, with 1
    those that `b` alone accepts.
    """
    from bpflens.classic.machine.interpreter import run as interpret

    model: Literal["kernel", "libpcap"] = "libpcap" if machine.name == "libpcap" else "kernel"

    relative = machine.network_offset is None and any(insn[3] >= SKF_LL_OFF or insn[0] & 0xE7 == 0x40 for insn in (*a, *b))

    def differ(one: int, two: int) -> bool:
        if side is not None:
            return bool((one, two)[side]) and not (one, two)[1 - side]
        return one != two if values else bool(one) != bool(two)

    def once(packet: Packet) -> Witness | None:
        try:
            if given is not None and not interpret(given, packet.data, model=model, aux=packet.aux):
                return None
            one = interpret(a, packet.data, model=model, aux=packet.aux)
            two = interpret(b, packet.data, model=model, aux=packet.aux)
        except InputError:
            return None
        if not differ(one, two):
            return None
        return Witness(packet.data, one, two, {k: v for k, v in packet.aux.items() if k != "network_offset" or (v != 14 and relative)})

    def run(packet: Packet) -> Witness | None:
        found = once(packet)
        return None if found is None else _shortest(found, lambda data: once(Packet(data, packet.aux)))

    return run


_LENGTHS = (1, 2, 4, 8, 14, 20, 34, 40, 54, 64, 96, 128, 256, 512, 1024)


def _shortest(found: Witness, run: Callable[[bytes], Witness | None]) -> Witness:
    """The shortest beginning of the witness that shows the same."""
    data = found.packet
    significant = len(data.rstrip(b"\0"))
    near = (significant + extra for extra in (0, 1, 2, 4, 8, 20, 40, 60))
    for length in sorted({*_LENGTHS, *near}):
        if length < len(data):
            shorter = run(data[:length])
            if shorter is not None and (shorter.a, shorter.b) == (found.a, found.b):
                return shorter
    return found

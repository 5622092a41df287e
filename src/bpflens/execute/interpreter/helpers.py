"""Helpers as the interpreter has them: a table by number, and one model for all that are not in it.

A helper that is not in the table is modelled: memory that it would fill gets numbers that depend on its arguments only, its result is 0
where its prototype says long, a number of its own where it says u32 or u64, and memory of the kernel where it says a pointer. Its numeric
arguments and the memory that it reads are recorded, and its name is in the result.
"""

from __future__ import annotations

from bpflens.execute.effects import FIXED, REPLACED, scalar_arguments
from bpflens.execute.interpreter.map_helpers import MAP_HELPERS
from bpflens.execute.interpreter.maps import ModelError
from bpflens.execute.interpreter.memory_helpers import MEMORY_HELPERS
from bpflens.execute.interpreter.packet import PACKET_HELPERS, absolute
from bpflens.execute.interpreter.state import M32, M64, Arguments, Helper, State, error
from bpflens.isa.extended.helpers import helper_name, helper_prototype
from bpflens.isa.extended.uapi import HelperId

__all__ = ("HELPERS", "call_helper", "call_kfunc", "load_packet")


_FLAGGED = frozenset((
    HelperId.map_update_elem, HelperId.map_push_elem, HelperId.ringbuf_output, HelperId.ringbuf_reserve, HelperId.ringbuf_submit,
    HelperId.ringbuf_discard,
))  # fmt: skip
"""Their flags do not show in the maps afterwards."""


def call_helper(m: State, number: int, *args: *Arguments) -> int:
    """r0 of a call."""
    known = HELPERS.get(number)
    try:
        if known is not None:
            if number in _FLAGGED:
                m.record(number, *(args[n - 1] & (M32 if size == 4 else M64) for n, size in scalar_arguments(number)))
            return known(m, args)
        if number in FIXED:
            m.modelled.add(f"{helper_name(number)} fixed")
            return FIXED[number] & M64
        if number in REPLACED:
            return _replaced(m, number, args)
    except ModelError as refused:
        return error(refused.errno)
    return _unknown(m, number, args)


def call_kfunc(m: State, number: int, *arguments: int) -> int:
    """A kernel function: recorded and modelled as 0, or a pointer to memory of the kernel by its number and arguments."""
    m.modelled.add(f"kernel function {number} returns 0")
    m.record(1 << 16 | number & 0xFFFF)
    return 0


def load_packet(m: State, offset: int, size: int, skb: int) -> int | None:
    """LD_ABS and LD_IND: in host order, None where the packet is too short (bpf_skb_load_helper_*)."""
    found = absolute(m, offset, size)
    return None if found is None else int.from_bytes(found, "big")


def _replaced(m: State, number: int, a: Arguments) -> int:
    row = REPLACED[number]
    widths = dict(scalar_arguments(number))
    numbers = [a[n - 1] & (M32 if widths.get(n) == 4 else M64) for n in row.scalars]
    data = b""
    if row.memory is not None:
        data = m.memory.read(a[row.memory[0] - 1], a[row.memory[1] - 1] & M32)
    m.modelled.add(f"{helper_name(number)} recorded, not called")
    m.record(number, *numbers, data=data)
    return row.result & M64


def _mixed(*numbers: int) -> int:
    value = 0x243F6A8885A308D3
    for number in numbers:
        value = (value ^ number) * 0x9E3779B97F4A7C15 & M64
        value ^= value >> 31
    return value


def _unknown(m: State, number: int, a: Arguments) -> int:
    """The model of all other helpers, by their prototype."""
    name = helper_name(number) or f"helper {number}"
    m.modelled.add(f"{name} modelled")
    prototype = helper_prototype(number) or "long f(void)"
    widths = dict(scalar_arguments(number))
    numbers = [a[n - 1] & (M32 if size == 4 else M64) for n, size in widths.items()]
    parameters = prototype[prototype.find("(") + 1 : prototype.rfind(")")].split(",")
    data = b""
    for at, text in enumerate(parameters[:4]):
        size = a[at + 1] & M32 if at + 2 in widths and "*" in text and ("size" in parameters[at + 1] or "len" in parameters[at + 1]) else 0
        if not size or size > 4096 or "ctx" in text or "skb" in text:
            continue
        if text.strip().startswith("const"):
            data += m.memory.read(a[at], size, probe=True)
        elif a[at]:
            seed = _mixed(number, *numbers)
            m.memory.write(a[at], bytes(seed >> 8 * (n & 7) & 0xFF for n in range(size)))
    m.record(number, *numbers, data=data)
    if prototype.startswith(("long", "void bpf")):
        return 0
    if "*" in prototype[: prototype.find("(")]:
        return 0xFFFF_9000_0000_0000 | _mixed(number, *numbers) & 0xFFFFFFF00
    value = _mixed(number, *numbers)
    return value & M32 if prototype.startswith(("__u32", "int", "__s32")) else value >> 32


HELPERS: dict[int, Helper] = {**MAP_HELPERS, **MEMORY_HELPERS, **PACKET_HELPERS}
"""Helper number -> function of the machine and r1 to r5."""

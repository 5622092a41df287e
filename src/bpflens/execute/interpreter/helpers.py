"""Helpers as the interpreter has them: a table by number, and one model for all that are not in it.

A helper that is not in the table is modelled: memory that it would fill gets numbers that depend on its arguments only, its result is 0
where its prototype says long, a number of its own where it says u32 or u64, and memory of the kernel where it says a pointer. Its numeric
arguments and the memory that it reads are recorded, and its name is in the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from bpflens.execute.effects import FIXED, REPLACED, scalar_arguments
from bpflens.execute.interpreter.maps import HashModel, MapModel, ModelError, OuterModel, QueueModel, RingModel, StorageModel
from bpflens.execute.interpreter.memory import EFAULT, Fault
from bpflens.isa.extended.helpers import helper_name, helper_prototype

if TYPE_CHECKING:
    from bpflens.execute.interpreter.machine import Machine

__all__ = ("HELPERS", "Arguments", "call_helper", "call_kfunc", "error", "load_packet")

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
Arguments: TypeAlias = tuple[int, int, int, int, int]
Helper: TypeAlias = "Callable[[Machine, Arguments], int]"
E2BIG, EINVAL, ENOENT, EAGAIN = 7, 22, 2, 11
_FLAGGED = frozenset({2, 87, 130, 131, 132, 133})  # flags that do not show in the maps afterwards
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MAX_LOOPS = 1 << 23  # BPF_MAX_LOOPS


def error(errno: int) -> int:
    """A negative errno as a register holds it."""
    return -errno & M64


def call_helper(m: Machine, number: int, *arguments: int) -> int:
    """r0 of a call."""
    known = HELPERS.get(number) or _packet_helper(number)
    args: Arguments = arguments  # type: ignore[assignment]
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


def _packet_helper(number: int) -> Helper | None:
    from bpflens.execute.interpreter.packet import PACKET_HELPERS

    return PACKET_HELPERS.get(number)


def call_kfunc(m: Machine, number: int, *arguments: int) -> int:
    """A kernel function: recorded and modelled as 0, or a pointer to memory of the kernel by its number and arguments."""
    m.modelled.add(f"kernel function {number} returns 0")
    m.record(1 << 16 | number & 0xFFFF)
    return 0


def load_packet(m: Machine, offset: int, size: int, skb: int) -> int | None:
    """LD_ABS and LD_IND: in host order, None where the packet is too short (bpf_skb_load_helper_*)."""
    from bpflens.execute.interpreter.packet import absolute

    found = absolute(m, offset, size)
    return None if found is None else int.from_bytes(found, "big")


def _replaced(m: Machine, number: int, a: Arguments) -> int:
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


def _unknown(m: Machine, number: int, a: Arguments) -> int:
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


# --- maps ---


def _map(m: Machine, address: int) -> MapModel:
    model = m.at.get(address) or _inner(m, address)
    if model is None:
        raise Fault(f"{address:#x} is no map")
    return model


def _inner(m: Machine, address: int) -> MapModel | None:
    for model in m.maps.values():
        if isinstance(model, OuterModel):
            for inner in model.inner.values():
                if inner.address == address:
                    return inner
    return None


def _key(m: Machine, model: MapModel, address: int) -> bytes:
    key = m.memory.read(address, model.key_size)
    seen = m.keys.setdefault(model.map.name, [])
    if len(seen) < 64:
        seen.append(key)
    return key


def _lookup(m: Machine, a: Arguments) -> int:
    model = _map(m, a[0])
    return model.lookup(_key(m, model, a[1]))


def _update(m: Machine, a: Arguments) -> int:
    model = _map(m, a[0])
    model.update(_key(m, model, a[1]), m.memory.read(a[2], model.value_size), a[3])
    return 0


def _delete(m: Machine, a: Arguments) -> int:
    model = _map(m, a[0])
    model.delete(_key(m, model, a[1]))
    return 0


def _queue(m: Machine, address: int) -> QueueModel:
    model = _map(m, address)
    if not isinstance(model, QueueModel):
        raise ModelError(EINVAL)
    return model


def _push(m: Machine, a: Arguments) -> int:
    model = _queue(m, a[0])
    model.push(m.memory.read(a[1], model.value_size), a[2])
    return 0


def _take(take: bool) -> Helper:
    def helper(m: Machine, a: Arguments) -> int:
        model = _queue(m, a[0])
        m.memory.write(a[1], model.peek(m.memory.read(a[1], model.value_size), take))
        return 0

    return helper


def _lookup_percpu(m: Machine, a: Arguments) -> int:
    return _lookup(m, a) if a[2] & M32 == 0 else 0


def _for_each(m: Machine, a: Arguments) -> int:
    """bpf_for_each_map_elem: callback(map, key, value, ctx) until it returns 1."""
    if a[3]:
        return error(EINVAL)
    model, count = _map(m, a[0]), 0
    for key in model.walk():
        place = model.lookup(key)
        if not place:
            continue
        count += 1
        if m.call(a[1], (a[0], m.memory.add(bytearray(key)), place, a[2])):
            break
    return count


def _storage_get(m: Machine, a: Arguments) -> int:
    model = _map(m, a[0])
    if not isinstance(model, StorageModel):
        raise ModelError(EINVAL)
    if not a[1]:
        return 0
    initial = m.memory.read(a[2], model.value_size) if a[2] else b""
    return model.get(a[1], bool(a[3] & 1), initial)


def _storage_delete(m: Machine, a: Arguments) -> int:
    model = _map(m, a[0])
    if isinstance(model, HashModel):
        model.delete(a[1].to_bytes(8, "little"))
    return 0


def _local_storage(m: Machine, a: Arguments) -> int:
    model = _map(m, a[0])
    return model.get(0, True, b"") if isinstance(model, StorageModel) else 0


def _ring(m: Machine, address: int) -> RingModel:
    model = _map(m, address)
    if not isinstance(model, RingModel):
        raise ModelError(EINVAL)
    return model


def _ring_output(m: Machine, a: Arguments) -> int:
    ring, size = _ring(m, a[0]), a[2] & M32
    if a[3] & ~3:
        return error(EINVAL)
    if not ring.room(size):
        return error(EAGAIN)
    ring.output(m.memory.read(a[1], a[2]))
    return 0


def _ring_reserve(m: Machine, a: Arguments) -> int:
    ring = _ring(m, a[0])
    return ring.reserve(a[1]) if not a[2] and ring.room(a[1]) else 0


def _ring_finish(keep: bool) -> Helper:
    def helper(m: Machine, a: Arguments) -> int:
        for model in m.maps.values():
            if isinstance(model, RingModel):
                model.finish(a[0], keep)
        return 0

    return helper


def _ring_query(m: Machine, a: Arguments) -> int:
    ring = _ring(m, a[0])
    return {0: ring.used, 1: ring.entries, 3: ring.used}.get(a[1], 0)


def _perf_output(m: Machine, a: Arguments) -> int:
    """The record that goes to user space; the packet bytes that the flags ask for are recorded as their number."""
    m.record(25, a[2], data=m.memory.read(a[3], a[4]))
    m.modelled.add("bpf_perf_event_output recorded, not called")
    return 0


def _redirect_map(m: Machine, a: Arguments) -> int:
    """XDP_REDIRECT where the map has the key, else the action in the flags (__bpf_xdp_redirect_map)."""
    model = _map(m, a[0])
    m.record(51, a[1] & M32, a[2])
    if a[2] & ~0x1B:
        return 0
    return 4 if model.lookup((a[1] & M32).to_bytes(4, "little")) else a[2] & 3


# --- memory ---


def _probe_read(m: Machine, a: Arguments) -> int:
    size = a[1] & M32
    try:
        data = m.memory.read(a[2], size, probe=True)
    except Fault:
        m.memory.write(a[0], bytes(size))
        return EFAULT
    m.memory.write(a[0], data)
    return 0


def _probe_read_str(m: Machine, a: Arguments) -> int:
    size = a[1] & M32
    if not size:
        return 0
    try:
        text = m.memory.text(a[2], size)[: size - 1]
    except Fault:
        m.memory.write(a[0], bytes(size))
        return EFAULT
    m.memory.write(a[0], text + b"\0")
    return len(text) + 1


def _strncmp(m: Machine, a: Arguments) -> int:
    size = a[1] & M32
    one, two = m.memory.text(a[0], size), m.memory.text(a[2], size)
    return (one > two) - (one < two) & M64


def _strtol(signed: bool) -> Helper:
    """bpf_strtol and bpf_strtoul: (text, length, flags with the base, result)."""

    def helper(m: Machine, a: Arguments) -> int:
        text = m.memory.read(a[0], a[1] & M32).split(b"\0")[0]
        base = a[2] & 31
        if base not in (0, 8, 10, 16) or a[2] & ~31:
            return error(EINVAL)
        at = len(text) - len(text.lstrip(b" \t\n\v\f\r"))
        start, negative = at, text[at : at + 1] == b"-"
        if negative and signed:
            at += 1
        if text[at : at + 2].lower() == b"0x" and base in (0, 16):
            at, base = at + 2, 16
        elif base == 0:
            base = 8 if text[at : at + 1] == b"0" else 10
        digits = 0
        while at + digits < len(text) and 0 <= _DIGITS.find(chr(text[at + digits]).lower()) < base:
            digits += 1
        if not digits:
            return error(EINVAL if start <= len(text) else ENOENT)
        value = int(text[at : at + digits], base)
        if value > (M64 >> 1 if signed else M64):
            return error(34)
        m.memory.write(a[3], ((-value if negative and signed else value) & M64).to_bytes(8, "little"))
        return at + digits

    return helper


def _comm(m: Machine, a: Arguments) -> int:
    m.memory.write(a[0], b"bpflens".ljust(a[1] & M32, b"\0")[: a[1] & M32])
    m.modelled.add("bpf_get_current_comm modelled")
    return 0


def _csum_diff(m: Machine, a: Arguments) -> int:
    """bpf_csum_diff: the difference of the sums of 16-bit words, folded to 16 bits since v6.13."""
    if a[1] & 3 or a[3] & 3 or (a[1] | a[3]) & M32 > 512:
        return error(EINVAL)
    total = a[4] & M32
    for address, size, sign in ((a[0], a[1] & M32, -1), (a[2], a[3] & M32, 1)):
        data = m.memory.read(address, size) if size else b""
        for at in range(0, size, 4):
            word = int.from_bytes(data[at : at + 4], "little")
            total += word if sign > 0 else ~word & M32
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


# --- control ---


def _loop(m: Machine, a: Arguments) -> int:
    """bpf_loop: callback(index, ctx) until it returns 1."""
    if a[3]:
        return error(EINVAL)
    count = a[0] & M32
    if count > _MAX_LOOPS:
        return error(E2BIG)
    for index in range(count):
        if m.call(a[1], (index, a[2])):
            return index + 1
    return count


def _nothing(_: Machine, __: Arguments) -> int:
    return 0


def _task_address(_: Machine, __: Arguments) -> int:
    return 0xFFFF_9000_0001_0000


HELPERS: dict[int, Helper] = {
    1: _lookup, 2: _update, 3: _delete, 87: _push, 88: _take(True), 89: _take(False), 195: _lookup_percpu, 164: _for_each,
    107: _storage_get, 108: _storage_delete, 145: _storage_get, 146: _storage_delete, 156: _storage_get, 157: _storage_delete,
    210: _storage_get, 211: _storage_delete, 81: _local_storage,
    130: _ring_output, 131: _ring_reserve, 132: _ring_finish(True), 133: _ring_finish(False), 134: _ring_query, 25: _perf_output,
    51: _redirect_map,
    4: _probe_read, 112: _probe_read, 113: _probe_read, 148: _probe_read, 45: _probe_read_str, 114: _probe_read_str, 115: _probe_read_str,
    182: _strncmp, 105: _strtol(True), 106: _strtol(False), 16: _comm, 28: _csum_diff,
    181: _loop, 93: _nothing, 94: _nothing, 35: _task_address, 158: _task_address,
}  # fmt: skip
"""Helper number -> function of the machine and r1 to r5."""

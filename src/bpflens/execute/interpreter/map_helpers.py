"""Helpers on maps: look up, update, walk, queues, ring buffers, storage, redirection."""

from __future__ import annotations

from bpflens.execute.interpreter.maps import HashModel, MapModel, ModelError, OuterModel, QueueModel, RingModel, StorageModel
from bpflens.execute.interpreter.memory import Fault
from bpflens.execute.interpreter.state import EAGAIN, EINVAL, M32, Arguments, Helper, State, error

__all__ = ("MAP_HELPERS",)


def _map(m: State, address: int) -> MapModel:
    model = m.at.get(address) or _inner(m, address)
    if model is None:
        raise Fault(f"{address:#x} is no map")
    return model


def _inner(m: State, address: int) -> MapModel | None:
    for model in m.maps.values():
        if isinstance(model, OuterModel):
            for inner in model.inner.values():
                if inner.address == address:
                    return inner
    return None


def _key(m: State, model: MapModel, address: int) -> bytes:
    key = m.memory.read(address, model.key_size)
    seen = m.keys.setdefault(model.map.name, [])
    if len(seen) < 64:
        seen.append(key)
    return key


def _lookup(m: State, a: Arguments) -> int:
    model = _map(m, a[0])
    return model.lookup(_key(m, model, a[1]))


def _update(m: State, a: Arguments) -> int:
    model = _map(m, a[0])
    model.update(_key(m, model, a[1]), m.memory.read(a[2], model.value_size), a[3])
    return 0


def _delete(m: State, a: Arguments) -> int:
    model = _map(m, a[0])
    model.delete(_key(m, model, a[1]))
    return 0


def _queue(m: State, address: int) -> QueueModel:
    model = _map(m, address)
    if not isinstance(model, QueueModel):
        raise ModelError(EINVAL)
    return model


def _push(m: State, a: Arguments) -> int:
    model = _queue(m, a[0])
    model.push(m.memory.read(a[1], model.value_size), a[2])
    return 0


def _take(take: bool) -> Helper:
    def helper(m: State, a: Arguments) -> int:
        model = _queue(m, a[0])
        m.memory.write(a[1], model.peek(m.memory.read(a[1], model.value_size), take))
        return 0

    return helper


def _lookup_percpu(m: State, a: Arguments) -> int:
    return _lookup(m, a) if a[2] & M32 == 0 else 0


def _for_each(m: State, a: Arguments) -> int:
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


def _storage_get(m: State, a: Arguments) -> int:
    model = _map(m, a[0])
    if not isinstance(model, StorageModel):
        raise ModelError(EINVAL)
    if not a[1]:
        return 0
    initial = m.memory.read(a[2], model.value_size) if a[2] else b""
    return model.get(a[1], bool(a[3] & 1), initial)


def _storage_delete(m: State, a: Arguments) -> int:
    model = _map(m, a[0])
    if isinstance(model, HashModel):
        model.delete(a[1].to_bytes(8, "little"))
    return 0


def _local_storage(m: State, a: Arguments) -> int:
    model = _map(m, a[0])
    return model.get(0, True, b"") if isinstance(model, StorageModel) else 0


def _ring(m: State, address: int) -> RingModel:
    model = _map(m, address)
    if not isinstance(model, RingModel):
        raise ModelError(EINVAL)
    return model


def _ring_output(m: State, a: Arguments) -> int:
    ring, size = _ring(m, a[0]), a[2] & M32
    if a[3] & ~3:
        return error(EINVAL)
    if not ring.room(size):
        return error(EAGAIN)
    ring.output(m.memory.read(a[1], a[2]))
    return 0


def _ring_reserve(m: State, a: Arguments) -> int:
    ring = _ring(m, a[0])
    return ring.reserve(a[1]) if not a[2] and ring.room(a[1]) else 0


def _ring_finish(keep: bool) -> Helper:
    def helper(m: State, a: Arguments) -> int:
        for model in m.maps.values():
            if isinstance(model, RingModel):
                model.finish(a[0], keep)
        return 0

    return helper


def _ring_query(m: State, a: Arguments) -> int:
    ring = _ring(m, a[0])
    return {0: ring.used, 1: ring.entries, 3: ring.used}.get(a[1], 0)


def _perf_output(m: State, a: Arguments) -> int:
    """The record that goes to user space; the packet bytes that the flags ask for are recorded as their number."""
    m.record(25, a[2], data=m.memory.read(a[3], a[4]))
    m.modelled.add("bpf_perf_event_output recorded, not called")
    return 0


def _redirect_map(m: State, a: Arguments) -> int:
    """XDP_REDIRECT where the map has the key, else the action in the flags (__bpf_xdp_redirect_map)."""
    model = _map(m, a[0])
    m.record(51, a[1] & M32, a[2])
    if a[2] & ~0x1B:
        return 0
    return 4 if model.lookup((a[1] & M32).to_bytes(4, "little")) else a[2] & 3


MAP_HELPERS: dict[int, Helper] = {
    1: _lookup, 2: _update, 3: _delete, 87: _push, 88: _take(True), 89: _take(False), 195: _lookup_percpu, 164: _for_each,
    107: _storage_get, 108: _storage_delete, 145: _storage_get, 146: _storage_delete, 156: _storage_get, 157: _storage_delete,
    210: _storage_get, 211: _storage_delete, 81: _local_storage,
    130: _ring_output, 131: _ring_reserve, 132: _ring_finish(True), 133: _ring_finish(False), 134: _ring_query, 25: _perf_output,
    51: _redirect_map,
}  # fmt: skip
"""Helper number -> function of the machine and r1 to r5."""

"""Memory in regions, and maps as the interpreter has them: what the kernel's maps refuse, what programs see."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.execute.interpreter import map_helpers
from bpflens.execute.interpreter.maps import (
    ArrayModel,
    HashModel,
    LpmModel,
    ModelError,
    OuterModel,
    QueueModel,
    RingModel,
    StorageModel,
    make_model,
)
from bpflens.execute.interpreter.memory import SHIFT, Fault, Memory, is_mapped
from bpflens.execute.interpreter.state import State
from bpflens.execute.kernel_maps import inner_name
from bpflens.execute.subject import Subject
from bpflens.program import Map

ANY, NOEXIST, EXIST = 0, 1, 2
ENOENT, E2BIG, EEXIST, EINVAL = 2, 7, 17, 22

# --- memory ---


def test_an_access_is_inside_of_one_region():
    memory = Memory()
    at = memory.add(bytearray(b"abcdefgh"))
    memory.write(at + 6, b"XY")
    assert memory.read(at + 5, 3) == b"fXY"
    for bad in (lambda: memory.read(at + 6, 3), lambda: memory.write(at + 7, b"zz"), lambda: memory.read(at - 1, 1)):
        with pytest.raises(Fault):
            bad()


def test_read_only_regions_and_strings():
    memory = Memory()
    at = memory.add(b"text\0more")
    assert memory.text(at, 99) == b"text" and memory.text(at, 2) == b"te"
    with pytest.raises(Fault, match="read only"):
        memory.write(at, b"x")


def test_compiled_accesses_are_as_the_others():
    memory = Memory()
    names = memory.accessors()
    at = memory.add(bytearray(range(16)))
    for size in (1, 2, 4, 8):
        assert names[f"load{size}"](at + 3) == int.from_bytes(memory.read(at + 3, size), "little")
        names[f"store{size}"](at + 3, (1 << 8 * size) - 2)
        assert memory.read(at + 3, size) == ((1 << 8 * size) - 2).to_bytes(size, "little")
    with pytest.raises(Fault):
        names["load8"](at + 9)
    with pytest.raises(Fault):
        names["store8"](at + 9, 0)


def test_memory_outside():
    memory = Memory(seed=1, outside=True)
    at = 0xFFFF_9000_0000_1000
    assert memory.read(at, 16) == memory.read(at, 4) + memory.read(at + 4, 12) and memory.read_outside
    assert Memory(seed=1, outside=True).read(at, 64) == memory.read(at, 64) != Memory(seed=2, outside=True).read(at, 64)
    memory.write(at + 1, b"\x77")
    assert memory.read(at + 1, 1) == b"\x77" and memory.written == {at + 1: 0x77}
    assert memory.accessors()["load4"](8) == 0  # a load through a BTF pointer that faults
    with pytest.raises(Fault, match="not mapped"):
        memory.read(8, 4)
    assert [is_mapped(address) for address in (0, 4096, (1 << 47) - 1, 1 << 47, 1 << 63, (1 << 64) - 1)] == [
        False, True, True, False, False, True,
    ]  # fmt: skip


def test_regions_since_a_mark_are_forgotten():
    memory = Memory()
    kept, mark = memory.add(bytearray(1)), memory.mark
    gone = memory.add(bytearray(1))
    memory.drop_after(mark)
    assert memory.read(kept, 1) == b"\0" and gone >> SHIFT not in memory.regions and memory.add(bytearray(2)) == gone


# --- maps ---


def model(type, key=4, value=8, entries=2, **more):
    return make_model(Map("m", type, key, value, entries, **more), Memory())


def key(n):
    return n.to_bytes(4, "little")


def refused(call):
    with pytest.raises(ModelError) as raised:
        call()
    return raised.value.errno


def value_of(model, key):
    place = model.lookup(key)
    return model.memory.read(place, model.value_size) if place else None


def test_arrays_have_all_their_entries():
    array = model(2, value=5)
    assert isinstance(array, ArrayModel) and array.walk() == [key(0), key(1)]
    array.update(key(1), b"hello", ANY)
    assert value_of(array, key(1)) == b"hello" and array.lookup(key(2)) == 0
    assert array.lookup(key(1)) - array.lookup(key(0)) == 8  # rounded up, as the kernel does
    assert refused(lambda: array.update(key(2), bytes(5), ANY)) == E2BIG
    assert refused(lambda: array.update(key(0), bytes(5), NOEXIST)) == EEXIST
    assert refused(lambda: array.update(key(0), bytes(5), 3)) == EINVAL
    assert refused(lambda: array.delete(key(0))) == EINVAL
    array.set({key(0): b"x"})
    assert array.read() == b"x" + bytes(15)


def test_global_data_start_with_what_the_file_has():
    data = make_model(Map(".data", 2, 4, 8, 1, data=b"\1\2"), Memory())
    assert data.read() == b"\1\2" + bytes(6)
    constant = make_model(Map(".rodata", 2, 4, 8, 1, flags=1 << 7, data=b"\1\2"), Memory())
    assert constant.read() is None and value_of(constant, key(0)) == b"\1\2" + bytes(6)
    with pytest.raises(Fault):
        constant.memory.write(constant.lookup(key(0)), b"x")


def test_hashes():
    hash = model(1)
    assert isinstance(hash, HashModel) and hash.lookup(key(7)) == 0
    hash.update(key(7), bytes(7) + b"\1", NOEXIST)
    place = hash.lookup(key(7))
    hash.update(key(7), bytes(7) + b"\2", EXIST)
    assert hash.lookup(key(7)) == place and value_of(hash, key(7)) == bytes(7) + b"\2"
    assert refused(lambda: hash.update(key(7), bytes(8), NOEXIST)) == EEXIST
    assert refused(lambda: hash.update(key(8), bytes(8), EXIST)) == ENOENT
    hash.update(key(8), bytes(8), ANY)
    assert refused(lambda: hash.update(key(9), bytes(8), ANY)) == E2BIG
    hash.delete(key(7))
    assert refused(lambda: hash.delete(key(7))) == ENOENT
    assert hash.memory.read(place, 8) == bytes(7) + b"\2"  # a pointer to it stays good
    assert hash.read() == {key(8): bytes(8)} and hash.walk() == [key(8)]


def test_a_full_lru_map_drops_its_oldest():
    lru = model(9)
    for n in range(3):
        lru.update(key(n), bytes(8), ANY)
    assert lru.walk() == [key(1), key(2)]


def prefix(bits, address):
    return key(bits) + address.to_bytes(4, "big")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 32), st.integers(0, 255)), max_size=6), st.integers(0, 255))
def test_the_longest_prefix_that_fits(prefixes, address):
    trie = model(11, key=8, entries=100)
    assert isinstance(trie, LpmModel)
    expected = {}
    for n, (bits, low) in enumerate(prefixes):
        number = 0xC0000200 | low
        trie.update(prefix(bits, number), n.to_bytes(8, "little"), ANY)
        expected[bits, number >> 32 - bits if bits else 0] = n
    wanted = [(bits, n) for (bits, head), n in expected.items() if (0xC0000200 | address) >> 32 - bits == head or not bits]
    found = value_of(trie, prefix(32, 0xC0000200 | address))
    assert found == (max(wanted)[1].to_bytes(8, "little") if wanted else None)


def test_prefixes_that_are_too_long():
    trie = model(11, key=8)
    assert refused(lambda: trie.update(prefix(33, 0), bytes(8), ANY)) == EINVAL
    assert refused(lambda: trie.delete(prefix(33, 0))) == EINVAL
    trie.update(prefix(8, 0x0A010203), bytes(8), ANY)
    trie.delete(prefix(8, 0x0A000000))  # the bits behind the prefix do not count
    assert trie.walk() == []


@pytest.mark.parametrize(("type", "order"), [(22, [b"a", b"b"]), (23, [b"b", b"a"])])
def test_queues_and_stacks(type, order):
    queue = model(type, key=0, value=1)
    assert isinstance(queue, QueueModel) and refused(lambda: queue.peek(b"", True)) == ENOENT
    queue.push(b"a", ANY)
    queue.push(b"b", ANY)
    assert queue.read() == order and queue.peek(b"", False) == order[0]
    assert refused(lambda: queue.push(b"c", ANY)) == E2BIG
    queue.push(b"c", EXIST)  # the oldest goes
    assert sorted(queue.read()) == [b"b", b"c"]
    assert queue.peek(b"", True) in (b"b", b"c") and len(queue.read()) == 1


def test_a_bloom_filter_knows_what_was_pushed():
    bloom = model(30, key=0, value=1)
    bloom.push(b"a", ANY)
    assert bloom.peek(b"a", False) == b"a" and refused(lambda: bloom.peek(b"b", False)) == ENOENT and bloom.read() is None


def test_ring_buffers_hold_what_was_submitted():
    ring = model(27, key=0, value=0, entries=4096)
    assert isinstance(ring, RingModel) and not ring.room(4096)
    first, second = ring.reserve(4), ring.reserve(4)
    ring.memory.write(first, b"keep")
    ring.finish(first, True)
    ring.finish(second, False)
    ring.output(b"whole")
    assert ring.read() == [b"keep", b"whole"]


def test_maps_of_maps_have_the_contents_of_their_inner_maps():
    outer = model(12, value=4, fields={"inner": Map("", 2, 4, 8, 1)})
    assert isinstance(outer, OuterModel)
    outer.set_inner({key(1): b""}, {inner_name("m", key(1)): {key(0): b"\7"}})
    assert outer.lookup(key(0)) == 0 and outer.lookup(key(1)) == outer.inner[key(1)].address
    assert value_of(outer.inner[key(1)], key(0)) == b"\7" + bytes(7)


def test_storage_is_by_owner():
    storage = model(29)
    assert isinstance(storage, StorageModel) and storage.get(5, False, b"") == 0
    place = storage.get(5, True, b"\1")
    assert storage.memory.read(place, 8) == b"\1" + bytes(7) and storage.get(5, False, b"") == place
    assert storage.read() is None


# --- helpers on maps ---


class Machine(State):
    """Callbacks are Python functions, by number."""

    def __init__(self, *maps):
        super().__init__(Subject((), 31, maps={m.name: m for m in maps}), 0)
        self.callbacks = []

    def call(self, pc, arguments):
        return self.callbacks[pc](*arguments)

    def helper(self, number, *arguments):
        return map_helpers.MAP_HELPERS[number](self, (*arguments, 0, 0, 0, 0, 0)[:5])

    def put(self, data):
        return self.memory.add(bytearray(data))


def test_helpers_by_their_numbers():
    m = Machine(Map("h", 1, 4, 8, 2))
    h, k = m.maps["h"].address, m.put(key(3))
    assert m.helper(1, h, k) == 0
    assert m.helper(2, h, k, m.put(b"\5" + bytes(7)), 0) == 0
    assert m.memory.read(m.helper(1, h, k), 1) == b"\5"
    assert m.helper(195, h, k, 0) == m.helper(1, h, k) and m.helper(195, h, k, 1) == 0
    assert m.helper(3, h, k) == 0 and m.keys == {"h": [key(3)] * 6}
    with pytest.raises(Fault, match="is no map"):
        m.helper(1, 4096, k)


def test_walks_end_where_the_callback_says():
    m = Machine(Map("a", 2, 4, 8, 5))
    seen = []
    m.callbacks.append(lambda map, key, value, ctx: seen.append((m.memory.read(key, 4), ctx)) or len(seen) == 3)
    assert m.helper(164, m.maps["a"].address, 0, 77, 0) == 3
    assert seen == [(key(n), 77) for n in range(3)]
    assert m.helper(164, m.maps["a"].address, 0, 77, 1) == -EINVAL & (1 << 64) - 1


def test_queue_helpers_and_rings():
    m = Machine(Map("q", 22, 0, 4, 1), Map("r", 27, 0, 0, 4096), Map("d", 14, 4, 4, 4))
    q, r, d = (m.maps[name].address for name in "qrd")
    out = m.put(bytes(4))
    assert m.helper(87, q, m.put(b"abcd"), 0) == 0 and m.helper(89, q, out) == 0 and m.memory.read(out, 4) == b"abcd"
    assert m.helper(88, q, out) == 0
    with pytest.raises(ModelError):
        m.helper(88, q, out)
    with pytest.raises(ModelError):
        m.helper(88, r, out)
    record = m.helper(131, r, 4, 0)
    m.memory.write(record, b"data")
    m.helper(132, record, 0)
    assert m.helper(130, r, m.put(b"more"), 4, 0) == 0
    assert m.maps["r"].read() == [b"data", b"more"] and m.helper(134, r, 1) == 4096
    assert m.helper(51, d, 3, 2) == 2 and m.helper(51, d, 3, 1 << 40) == 0
    m.maps["d"].set({key(3): bytes(4)})
    assert m.helper(51, d, 3, 2) == 4

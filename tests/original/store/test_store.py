"""Records of programs: differences that give the original back, files that survive damage and crashes, room that is bounded."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.errors import BpflensError, InputError
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.original.image.tag import tags
from bpflens.original.store.delta import applied, difference
from bpflens.original.store.heads import ATTRIBUTES, Head, Known, read_head, way_bits, write_head
from bpflens.original.store.infos import packed, unpacked
from bpflens.original.store.record import Base, Recorded, Way, decode, encode, numbered
from bpflens.original.store.store import Store

WORDS = st.lists(
    st.one_of(
        st.sampled_from([0x95, 0xB7, 0x05, 0x1_0000_0005, 0x18, 0x1018, 0x4018, 0x85, 0xFFFF_FFFF_0000_1085, 0x0F, 0xFFFE_0015, 0x06]),
        st.integers(0, 2**64 - 1),
    ),
    max_size=60,
)

UINT32 = st.integers(0, 2**32 - 1)


def program(number: int, length: int = 30) -> Recorded:
    """A program of its own."""
    dice = random.Random(number)
    text = "".join(f"r{dice.randrange(1, 6)} = {dice.randrange(1 << 31)}\n" for _ in range(length))
    code = assemble(f"r0 = {number}\n{text}exit", "kernel")
    return Recorded(tags(words(code))[0], f"p{number}", 1, 0, "GPL", code, {"prog_flags": 1}, ((0, 1),), ((0, 1, 2, 3), (4, 1, 9, 1027)))


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
def test_a_difference_gives_the_original_back(image: list[int], original: list[int]) -> None:
    assert applied(image, difference(image, original)) == original


HEADS = st.builds(
    Head, st.text(st.characters(codec="utf-8"), max_size=15), st.integers(0, 40),
    st.sampled_from(["", "GPL", "Dual BSD/GPL", "Proprietary"]),
    st.integers(0, 60), st.dictionaries(st.sampled_from(ATTRIBUTES[1:]), st.integers(1, 2**32 - 1)),
    st.lists(st.integers(0, 300), max_size=9), st.sampled_from(["recorded", "image"]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(HEADS, st.one_of(st.none(), HEADS), st.booleans(), st.booleans(), st.binary(max_size=4))
def test_heads(head: Head, other: Head | None, like: bool, same: bool, behind: bytes) -> None:
    """With or without what the kernel says of the loaded program, which may be the same."""
    known = other and Known(*((head if like else other)[:2]), (head if same else other).maps)
    if head.expected_attach_type:
        head = head._replace(attributes={**head.attributes, "expected_attach_type": head.expected_attach_type})
    if "prog_btf_fd" in head.attributes:
        head.attributes["prog_btf_fd"] = 1  # type: ignore[index]
    data = write_head(head, 2, known)
    assert way_bits(data, 0) == 2
    found, at = read_head(data + behind, 0, known)
    assert (found._replace(maps=list(found.maps)), at) == (head, len(data))
    if known and like and same:
        assert len(data) <= 1 + 9 + 2 + 2 + 5 * len(head.attributes) + len(head.license)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.one_of(st.none(), st.just(Known("x", 1, [1]))))
def test_bytes_that_are_no_head_are_refused(data: bytes, known: Known | None) -> None:
    try:
        read_head(data, 0, known)
    except ValueError:
        pass


def test_the_recorders_fields_are_known() -> None:
    """Or they would be left out of the store."""
    from bpflens.kernel.recorder.load import _FIELDS

    assert set(_FIELDS) <= set(ATTRIBUTES)


@settings(max_examples=100, deadline=None)
@given(WORDS, st.lists(st.integers(0, 59), max_size=10), st.randoms(use_true_random=False))
def test_insertions_are_small(original: list[int], places: list[int], dice: random.Random) -> None:
    image = list(original)
    for place in places:
        image.insert(min(place, len(image)), dice.getrandbits(64))
    delta = difference(image, original)
    assert applied(image, delta) == original


@settings(max_examples=200, deadline=None)
@given(WORDS, st.binary(max_size=80))
def test_bytes_that_are_no_difference_are_refused(image: list[int], delta: bytes) -> None:
    try:
        applied(image, delta)
    except ValueError:
        pass


def test_long_programs_are_aligned_in_linear_time() -> None:
    """A million words; where all are equal, and where nothing is."""
    dice = random.Random(1)
    same = [0xB7 | 7 << 32] * 60_000
    assert applied(same + [5] * 9 + same, difference(same + [5] * 9 + same, same)) == same
    one, other = ([dice.getrandbits(64) for _ in range(20_000)] for _ in range(2))
    assert applied(one, difference(one, other)) == other


@given(st.lists(st.tuples(*[UINT32] * 2), max_size=20), st.lists(st.tuples(*[UINT32] * 4), max_size=20))
def test_info_records_come_back(funcs: list[tuple[int, int]], lines: list[tuple[int, int, int, int]]) -> None:
    assert unpacked(packed(funcs, lines)) == (tuple(funcs), tuple(lines))


def test_each_way_gives_the_record_back() -> None:
    code = numbered(assemble("r1 = map[fd:7]\nr2 = map[fd:9]\nr3 = map[fd:7]\nr0 = 1\nexit", "kernel"))
    assert [struct.unpack_from("<I", code, at)[0] for at in (4, 20, 36)] == [1, 2, 1]
    record = Recorded(tags(words(code))[0], "maps", 6, 37, "Dual BSD/GPL", code, {"attach_btf_id": 5}, ((0, 3),), ((0, 1, 2, 3),))
    base = Base((*words(code)[:4], 0x1234, *words(code)[4:]), ((0, 3),), ((0, 1, 2, 3),))
    assert decode(encode(record, Way.FULL)) == record
    assert decode(encode(record, Way.DELTA, base), base) == record
    assert decode(encode(record, Way.EXACT, base), base, exact=code) == record
    assert decode(encode(record, Way.DELTA, base)) is None
    with pytest.raises(ValueError):
        decode(encode(record, Way.DELTA, base), Base(tuple(words(program(1).code))))


def test_records_come_back_from_the_files(tmp_path: Path) -> None:
    """Also those that need others before them, and by a reader beside the writer."""
    store, reader = Store(tmp_path / "s"), Store(tmp_path / "s")
    records = [program(number, 60) for number in range(150)]
    for record in records:
        store.add(record)
    assert all(reader.get(record.tag) == record for record in records)
    later = program(1000)
    store.add(later)
    assert reader.get(later.tag) == later and reader.get("00" * 8) is None
    with pytest.raises(InputError, match="is no tag"):
        reader.get("../../../etc/x")
    with pytest.raises(BpflensError, match="another process writes"):
        Store(tmp_path / "s").add(later)
    assert all(path.stat().st_mode & 0o77 == 0 for path in (tmp_path / "s").iterdir())


def test_what_is_cut_off_by_a_crash_is_cut_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(program(1))
    store.close()
    (segment,) = tmp_path.glob("*.seg")
    whole = segment.read_bytes()
    store.add(program(2))
    store.close()
    both = segment.read_bytes()
    for end in range(len(whole) + 1, len(both)):
        segment.write_bytes(both[:end])
        assert Store(tmp_path).tags() == {program(1).tag}
    again = Store(tmp_path)
    again.add(program(3))
    assert Store(tmp_path).tags() == {program(1).tag, program(3).tag}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damage_never_gives_wrong_instructions(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    where = tmp_path_factory.mktemp("store")
    store = Store(where)
    records = {record.tag: record for record in (program(number, 5) for number in range(4))}
    for record in records.values():
        store.add(record)
    store.add_loads([{"tag": "x", "id": 1}], {"boot_id": "b"})
    store.close()
    (segment,) = where.glob("*.seg")
    raw = bytearray(segment.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    segment.write_bytes(raw)
    damaged = Store(where)
    list(damaged.loads())
    for tag, record in records.items():
        try:
            found = damaged.get(tag)
        except InputError:
            continue
        assert found is None or found == record


def test_the_oldest_records_go_first_but_not_those_of_loaded_programs(tmp_path: Path) -> None:
    store = Store(tmp_path, max_bytes=20_000)
    records = [program(number, 60) for number in range(120)]
    wanted = {records[0].tag, records[1].tag}
    gone = 0
    for record in records:
        store.add(record)
        gone += store.prune(wanted)
    assert gone and store.total_bytes() <= 20_000
    assert wanted <= store.tags() and records[-1].tag in store.tags() and records[2].tag not in store.tags()
    assert all(store.get(tag) is not None for tag in store.tags())
    assert Store(tmp_path).tags() == store.tags()


def test_a_spool_keeps_what_is_loaded(tmp_path: Path) -> None:
    spool = Store(tmp_path / "s", 1 << 18, level=1)
    records = [program(number, 100) for number in range(300)]
    for record in records:
        spool.add(record)
    before = spool.total_bytes()
    spool.keep_only({record.tag for record in records[:30]})
    assert spool.total_bytes() < before / 4
    assert all(spool.get(record.tag) == record for record in records[:30])
    spool.keep_only(set())
    assert not (tmp_path / "s").exists()
    spool.add(records[0])
    assert spool.get(records[0].tag) == records[0]


def test_loads_are_told_with_their_boot(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_loads([{"tag": "a", "id": 1}, {"tag": "b", "id": None}], {"boot_id": "one"})
    store.close()
    store.add_loads([{"tag": "c", "id": 3}], {"boot_id": "two"})
    assert [(load["tag"], load["boot_id"]) for load in Store(tmp_path).loads()] == [("a", "one"), ("b", "one"), ("c", "two")]


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    from bpflens.kernel.sys import faults

    store = Store(tmp_path)
    store.add(program(1))
    with faults.failing(1, 28), pytest.raises(InputError, match="No space left"):
        store.add(program(2))
    store.add(program(3))
    assert Store(tmp_path).tags() == {program(1).tag, program(3).tag}
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        Store(tmp_path / "file" / "store").add(program(1))
    assert os.listdir(tmp_path)

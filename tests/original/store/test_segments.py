"""Files that only grow: frames, damage, crashes, one writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpflens.errors import BpflensError, InputError
from bpflens.original.store.segments import Frame, Place, Segments

HEADER = 10


def written(directory: Path, *pieces: bytes, segment_bytes: int = 1000) -> list[Place]:
    """A store with these frames, of the kinds 1, 2, 3 ..."""
    store = Segments(directory, segment_bytes)
    try:
        return [store.append(number, piece) for number, piece in enumerate(pieces, 1)]
    finally:
        store.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(pieces=st.lists(st.binary(max_size=40), max_size=12), room=st.integers(1, 120))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], room: int) -> None:
    """In order, at the places that were told, whatever the size of a segment."""
    directory = tmp_path_factory.mktemp("store")
    places = written(directory, *pieces, segment_bytes=room)
    reader = Segments(directory, room)
    frames = [Frame(number, place, piece) for number, (place, piece) in enumerate(zip(places, pieces, strict=True), 1)]
    assert list(reader.frames()) == frames
    assert [reader.read(place) for place in places] == frames
    for number, place in enumerate(places):
        assert list(reader.frames(place)) == frames[number:]
    assert reader.total_bytes() == sum(HEADER + len(piece) for piece in pieces) and not reader.writing


def test_a_segment_is_not_begun_for_nothing(tmp_path: Path) -> None:
    """A frame longer than a segment stands alone, headers do not count; rolling an empty segment does nothing."""
    store = Segments(tmp_path, 20)
    assert [store.append(1, bytes(size)) for size in (50, 5, 3, 30)] == [Place(1, 0), Place(2, 0), Place(2, HEADER + 5), Place(3, 0)]
    assert (store.roll(), store.roll(), store.end()) == (4, 4, Place(4, 0))
    assert (store.drop_oldest(), store.numbers()) == (1, [2, 3, 4])
    store.close()
    alone = Segments(tmp_path / "alone", 20)
    alone.append(1, b"x")
    assert alone.drop_oldest() == 0 and alone.numbers() == [1]
    alone.close()


@pytest.mark.parametrize("damage", ["cut", "flip", "magic", "length"])
def test_damage_ends_a_segment(tmp_path: Path, damage: str) -> None:
    """What is before it, and the next segment, are whole; the next writer cuts it away."""
    first, second, _ = written(tmp_path, b"one", b"twotwo", b"three")
    written(tmp_path / "other", b"x")
    path = tmp_path / "000001.seg"
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        del raw[second.offset + HEADER + 2 :]
    elif damage == "flip":
        raw[second.offset + HEADER] ^= 1
    elif damage == "magic":
        raw[second.offset] ^= 1
    else:
        raw[second.offset + 2 : second.offset + 6] = b"\xff\xff\xff\x7f"
    path.write_bytes(raw)
    (tmp_path / "000002.seg").write_bytes((tmp_path / "other" / "000001.seg").read_bytes())
    reader = Segments(tmp_path, 1000)
    assert [(frame.place.segment, frame.data) for frame in reader.frames()] == [(1, b"one"), (2, b"x")]
    assert reader.read(first).data == b"one"
    with pytest.raises(ValueError, match="checksum is wrong, or it is cut off"):
        reader.read(second)
    with pytest.raises(ValueError, match="No such file"):
        reader.read(Place(9, 0))


def test_a_crash_is_cut_away(tmp_path: Path) -> None:
    written(tmp_path, b"one", b"two")
    path = tmp_path / "000001.seg"
    path.write_bytes(path.read_bytes()[:-1])
    assert written(tmp_path, b"again") == [Place(1, HEADER + 3)]
    assert [frame.data for frame in Segments(tmp_path, 1000).frames()] == [b"one", b"again"]


def test_one_writer(tmp_path: Path) -> None:
    one, two = Segments(tmp_path, 100), Segments(tmp_path, 100)
    one.append(1, b"x")
    with pytest.raises(BpflensError, match="another process writes this store"):
        two.append(1, b"y")
    assert not two.writing and one.writing
    one.close()
    assert two.append(1, b"y") == Place(1, HEADER + 1)
    two.close()


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a frame is taken back, and the next one goes to the same place."""
    store = Segments(tmp_path, 100)
    store.append(1, b"x")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:4]))
    with pytest.raises(InputError, match="No space left on device"):
        store.append(1, b"y")
    monkeypatch.undo()
    assert (tmp_path / "000001.seg").stat().st_size == HEADER + 1
    assert store.append(1, b"z") == Place(1, HEADER + 1)
    store.close()


def test_where_no_directory_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        Segments(tmp_path / "file", 100).append(1, b"x")
    assert Segments(tmp_path / "nothing", 100).numbers() == [] == list(Segments(tmp_path / "nothing", 100).frames())

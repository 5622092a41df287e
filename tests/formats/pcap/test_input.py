"""The bytes of captures: in pieces of any size, through gzip, from what ends or breaks in the middle."""

from __future__ import annotations

import gzip
import io
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.errors import InputError
from bpflens.formats.pcap.input import Gunzip, Input


class Drops(io.RawIOBase):
    """A pipe that hands out a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, size

    def read(self, size: int = -1) -> bytes:
        taken = min(self.size, size)
        piece, self.data = self.data[:taken], self.data[taken:]
        return piece


class Broken(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise OSError(5, "Input/output error")


def drops(data: bytes, size: int) -> BinaryIO:
    return Drops(data, size)  # type: ignore[return-value]


@given(st.binary(max_size=60), st.integers(1, 9), st.lists(st.integers(0, 20), max_size=5))
def test_exact_pieces(data: bytes, size: int, wanted: list[int]) -> None:
    """`take` gives what is asked for, `some` at least that, both less at the end; nothing is lost between."""
    source, at = Input(drops(data, size), "x"), 0
    for count in wanted:
        piece = source.take(count)
        assert piece == data[at : at + count]
        at += len(piece)
    rest = source.some(10)
    assert len(rest) >= min(10, len(data) - at) and rest == data[at : at + len(rest)]
    assert source.piece() == data[at + len(rest) :][:size]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.integers(1, 30), st.integers(1, 7))
def test_gzip(members: list[bytes], size: int, wanted: int) -> None:
    """Of any number of members, cut anywhere on the way; never more than was asked for at once."""
    packed = b"".join(gzip.compress(member) for member in members)
    stream = Gunzip(Input(drops(packed[3:], size), "x"), packed[:3])
    pieces = []
    while piece := stream.read(wanted):
        pieces.append(piece)
    assert b"".join(pieces) == b"".join(members) and all(len(piece) <= wanted for piece in pieces)


def test_gzip_that_is_cut_or_damaged() -> None:
    packed = gzip.compress(b"hello" * 100)
    with pytest.raises(InputError, match="the gzip data is cut short"):
        Input(Gunzip(Input(io.BytesIO(packed[:-10]), "x"), b""), "x").take(1000)
    with pytest.raises(InputError, match="the gzip data is damaged"):
        Input(Gunzip(Input(io.BytesIO(packed[:10] + b"\xff" * 30), "x"), b""), "x").take(1000)


@pytest.mark.parametrize("read", [lambda source: source.take(1), lambda source: source.some(1), lambda source: source.piece()])
def test_errors_of_the_system_name_the_file(read) -> None:
    with pytest.raises(InputError, match=r"a\.pcap: Input/output error"):
        read(Input(Broken(), "a.pcap"))  # type: ignore[arg-type]


def test_closing() -> None:
    stream = io.BytesIO(b"")
    Gunzip(Input(stream, "x"), b"").close()
    assert stream.closed

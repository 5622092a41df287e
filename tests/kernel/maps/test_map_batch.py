"""Records put together and taken apart, in lanes and one by one."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.errors import KernelError
from bpflens.kernel.maps import map_batch
from bpflens.kernel.maps.map_batch import deinterleave, interleave, read_batches, write_batch


@given(st.integers(1, 20), st.integers(1, 90), st.integers(1, 40), st.randoms())
def test_interleave_and_back(key_size: int, stride: int, count: int, random) -> None:
    keys, values = random.randbytes(key_size * count), random.randbytes(stride * count)

    records = bytes(interleave(memoryview(keys), memoryview(values), key_size, stride))

    expected = b"".join(
        keys[at * key_size : (at + 1) * key_size] + values[at * stride : (at + 1) * stride] for at in range(count)
    )  # fmt: skip
    assert records == expected
    assert deinterleave(records, key_size, stride) == (keys, values)


@pytest.mark.live
@pytest.mark.parametrize("room", [1, 7, 1000])
def test_every_element_is_read_once(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a batch has less room than a bucket."""
    from bpflens.kernel.programs.load import create_map

    monkeypatch.setattr(map_batch, "records_in_batch", lambda key_size, stride: room)
    fd = create_map(1, 4, 8, 3000, name="bl_batch")
    try:
        wanted = {number.to_bytes(4, "little"): (number * number).to_bytes(8, "little") for number in range(2500)}
        assert write_batch(fd, b"".join(wanted), b"".join(wanted.values()), len(wanted)) == 2500
        found: dict[bytes, bytes] = {}
        for keys, values, count in read_batches(fd, 4, 8):
            for at in range(count):
                key = bytes(keys[4 * at : 4 * at + 4])
                assert key not in found
                found[key] = bytes(values[8 * at : 8 * at + 8])
        assert found == wanted
    finally:
        os.close(fd)


@pytest.mark.live
def test_what_does_not_fit_is_an_error() -> None:
    from bpflens.kernel.programs.load import create_map

    fd = create_map(1, 4, 8, 10, flags=1, name="bl_batch")
    try:
        with pytest.raises(KernelError, match="cannot write elements"):
            write_batch(fd, b"".join(number.to_bytes(4, "little") for number in range(50)), bytes(400), 50)
    finally:
        os.close(fd)

"""A program as it was loaded, said by its differences from the image that the kernel made of it.

    delta = difference(image, original)      # b"" where they are equal
    applied(image, delta) == original        # words

The verifier replaces, inserts and removes instructions but keeps their order, so that the two align well. Jump distances change everywhere:
they are left out of the comparison and computed again from the alignment; only those that come out otherwise are listed.

    varint length of runs | runs | varint length of odd jumps | odd jumps | the words that the image does not have

A run is `count << 1` (words of the image that are kept) or `count << 1 | 1, inserted` (words that are passed over, words put in).
Alignment is difflib's for programs of usual size, else greedy by pairs of words, in linear time: there may be a million instructions.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from bpflens.isa.extended.opcodes import LD_IMM64

__all__ = ("applied", "difference", "read_varint", "varint")

_SMALL = 1500  # words up to which difflib, whose time may grow by the square, does it
_LOOK_AHEAD = 32  # words of the original that may be missing in a row before the search is given up for them
_FAR = 1 << 14  # words of the image that may be passed over at once
_LOW = 0xFFFFFFFF
_JUMP = 1 << 64
_JA32, _CALL, _PSEUDO_CALL, _PSEUDO_FUNC = 0x06, 0x85, 1, 4
_SHORT = frozenset(op | kind for op in range(0, 0xF0, 0x10) for kind in (0x05, 0x06, 0x0D, 0x0E) if op not in (0x80, 0x90)) - {_JA32}

Run = tuple[int, int, int]  # first word of the image, first word of the original, number of equal words


def difference(image: Sequence[int], original: Sequence[int]) -> bytes:
    """What has to be known beside the image."""
    if list(image) == list(original):
        return b""
    old, new = _jumps(image), _jumps(original)
    runs, at = _align(_keys(image, old), _keys(original, new)), dict[int, int]()
    text, inserted, i, k = bytearray(), list[int](), 0, 0
    for first, second, count in (*runs, (len(image), len(original), 0)):
        if first > i or second > k:
            text += varint(first - i << 1 | 1) + varint(second - k)
            inserted += original[k:second]
        if count:
            text += varint(count << 1)
            at.update(zip(range(first, first + count), range(second, second + count), strict=True))
        i, k = first + count, second + count
    at.setdefault(len(image), len(original))
    odd, last = bytearray(), 0
    for first, second in at.items():
        if first in old and at.get(old[first]) != new[second]:
            odd += varint(second - last) + varint(_zigzag(new[second] - second))
            last = second
    return varint(len(text)) + text + varint(len(odd)) + odd + struct.pack(f"<{len(inserted)}Q", *inserted)


def applied(image: Sequence[int], delta: bytes) -> list[int]:
    """The original. ValueError where this is no delta of this image."""
    if not delta:
        return list(image)
    numbers = _Reader(delta)
    runs = list(numbers.block())
    odd = dict(_odd(list(numbers.block())))
    raw = delta[numbers.at :]
    if len(raw) % 8:
        raise ValueError("it is cut off")
    inserted = struct.unpack(f"<{len(raw) // 8}Q", raw)
    out, at, i, q = list[int](), dict[int, int](), 0, 0
    entries = iter(runs)
    for entry in entries:
        length = entry >> 1
        if i + length > len(image):
            raise ValueError("it is the delta of a longer image")
        if entry & 1:
            put = next(entries, 0)
            out += inserted[q : q + put]
            q += put
        else:
            at.update(zip(range(i, i + length), range(len(out), len(out) + length), strict=True))
            out += image[i : i + length]
        i += length
    if q != len(inserted):
        raise ValueError("it has words that belong nowhere")
    at.setdefault(len(image), len(out))
    for slot, target in _jumps(image).items():
        where = at.get(slot)
        if where is not None:
            goal = where + odd[where] if where in odd else at.get(target)
            if goal is None:
                raise ValueError("it has a jump to nowhere")
            out[where] = _with_distance(image[slot], goal - where - 1)
    return out


def _align(old: Sequence[int], new: Sequence[int]) -> list[Run]:
    if max(len(old), len(new)) > _SMALL:
        return _greedy(old, new)
    from difflib import SequenceMatcher

    return [(block.a, block.b, block.size) for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks() if block.size]


def _greedy(old: Sequence[int], new: Sequence[int]) -> list[Run]:
    """Runs of equal words, ascending in both."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for number, pair in enumerate(zip(old, (*old[1:], -1), strict=True)):
        pairs.setdefault(pair, []).append(number)
    ahead = [*new, -1]
    runs, i, k = list[Run](), 0, 0
    while i < len(old) and k < len(new):
        count = 0
        while i + count < len(old) and k + count < len(new) and old[i + count] == new[k + count]:
            count += 1
        if count:
            runs.append((i, k, count))
            i, k = i + count, k + count
            continue
        best: tuple[int, int, int] | None = None
        for skip in range(min(_LOOK_AHEAD, len(new) - k)):
            if best is not None and skip << 3 >= best[0]:
                break
            places = pairs.get((ahead[k + skip], ahead[k + skip + 1]), ())
            place = bisect_left(places, i)
            if place < len(places) and places[place] - i < _FAR:
                cost = (skip << 3) + (places[place] - i)
                if best is None or cost < best[0]:
                    best = cost, places[place], k + skip
        if best is None:
            k += _LOOK_AHEAD
        else:
            _, i, k = best
    return runs


def _jumps(words: Sequence[int]) -> dict[int, int]:
    """Slots of jumps, calls of own functions and addresses of functions -> the slots that they go to."""
    found: dict[int, int] = {}
    second = False
    for slot, word in enumerate(words):
        code = word & 0xFF
        if second:
            second = False
        elif code in _SHORT:
            distance = word >> 16 & 0xFFFF
            found[slot] = slot + 1 + distance - ((distance & 0x8000) << 1)
        elif code == _JA32 or (code == _CALL and word >> 12 & 0xF == _PSEUDO_CALL):
            found[slot] = slot + 1 + _signed(word >> 32)
        elif code == LD_IMM64:
            second = True
            if word >> 12 & 0xF == _PSEUDO_FUNC:
                found[slot] = slot + 1 + _signed(word >> 32)
    return found


def _keys(words: Sequence[int], jumps: dict[int, int]) -> list[int]:
    """Words to compare: jumps without their distance, and never equal to what is no jump."""
    keys = list(words)
    for slot in jumps:
        keys[slot] = _with_distance(keys[slot], 0) | _JUMP
    return keys


def _with_distance(word: int, distance: int) -> int:
    if word & 0xFF in _SHORT:
        return word & ~0xFFFF0000 | (distance & 0xFFFF) << 16
    return word & _LOW | (distance & _LOW) << 32


def _signed(value: int) -> int:
    return value - ((value & 0x80000000) << 1)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _odd(numbers: list[int]) -> Iterator[tuple[int, int]]:
    last = 0
    for step, distance in zip(numbers[::2], numbers[1::2], strict=True):
        last += step
        yield last, distance >> 1 if not distance & 1 else -(distance + 1 >> 1)


def varint(value: int) -> bytes:
    """Seven bits in a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(the number, where the next one begins); ValueError behind the end."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 35:
            raise ValueError("it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


class _Reader:
    """Varints one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self) -> int:
        value, self.at = read_varint(self.data, self.at)
        return value

    def block(self) -> Iterator[int]:
        end = self.number()
        end += self.at
        if end > len(self.data):
            raise ValueError("it is cut off")
        while self.at < end:
            yield self.number()

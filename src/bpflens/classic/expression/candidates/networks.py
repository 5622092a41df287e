"""Networks of addresses: the prefix of a mask, and the networks that a range is made of."""

from __future__ import annotations

__all__ = ("MAX_SINGLES", "networks", "prefix_length")

MAX_SINGLES = 64  # an address or port range is also offered value by value up to this size


def prefix_length(mask: int) -> int | None:
    """Bits of a netmask (32-bit), None where it is none: 0xffffff00 is 24."""
    inverse = ~mask & 0xFFFFFFFF
    return None if inverse & (inverse + 1) else 32 - inverse.bit_length()


def networks(low: int, high: int, bits: int) -> list[tuple[int, int]]:
    """(address, prefix length) pairs to offer for a range: itself where it is a network, its members where they are few, its parts."""
    size = high - low + 1
    if size & (size - 1) == 0 and low % size == 0:
        found = [(low, bits - size.bit_length() + 1)]
        if 1 < size <= 4:
            found += [(value, bits) for value in range(low, high + 1)]
        return found
    if size <= MAX_SINGLES:
        found = [(value, bits) for value in range(low, high + 1)]
        if size <= 16:
            return found
    else:
        found = []
    parts: list[tuple[int, int]] = []
    while low <= high:
        step = low & -low if low else 1 << bits
        while low + step - 1 > high:
            step >>= 1
        parts.append((low, bits - step.bit_length() + 1))
        low += step
        if len(parts) > 8:
            return found
    return found + parts

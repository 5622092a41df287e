"""Records of func_info and line_info in few bytes: column by column, each number by its difference from the one before.

The kernel gives both back for a loaded program, with other offsets and without removed lines; compressed beside those, little is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.original.store.delta import read_varint, varint

__all__ = ("packed", "unpacked")

Records = Sequence[Sequence[int]]


def packed(func_info: Records, line_info: Records) -> bytes:
    """Both in one."""
    return _columns(func_info, 2) + _columns(line_info, 4)


def unpacked(data: bytes) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int, int, int], ...]]:
    """(func_info, line_info); ValueError where it is no such thing."""
    funcs, at = _records(data, 0, 2)
    lines, at = _records(data, at, 4)
    if at != len(data):
        raise ValueError("there is more behind line_info")
    return tuple((a, b) for a, b in funcs), tuple((a, b, c, d) for a, b, c, d in lines)


def _columns(records: Records, width: int) -> bytes:
    out = bytearray(varint(len(records)))
    for column in range(width):
        last = 0
        for record in records:
            step = record[column] - last
            out += varint(step << 1 if step >= 0 else (-step << 1) - 1)
            last = record[column]
    return bytes(out)


def _records(data: bytes, at: int, width: int) -> tuple[list[tuple[int, ...]], int]:
    count, at = read_varint(data, at)
    if count * width > len(data) - at:
        raise ValueError("it is cut off")
    columns = []
    for _ in range(width):
        column, last = [], 0
        for _ in range(count):
            step, at = read_varint(data, at)
            last += step >> 1 if not step & 1 else -(step + 1 >> 1)
            column.append(last)
        columns.append(column)
    return list(zip(*columns, strict=True)), at

"""Rows as Parquet, with pyarrow. The rows are gone through twice: first for the types of the columns, then to write them.

Integers are int64, or uint64 where one of them needs it; where a column holds both negative numbers and such it is text, as is every column
of several kinds. Memory does not grow with the number of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bpflens.errors import InputError, NotSupported
from bpflens.formats.whole_file import whole_file

__all__ = ("column_types", "write_parquet")

_BATCH = 10_000
_LARGEST = (1 << 63) - 1


def write_parquet(rows: Callable[[], Iterable[Mapping[str, Any]]], path: str) -> int:
    """How many rows were written. InputError where the file cannot be written, NotSupported without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise NotSupported("parquet", "pyarrow is not installed", "pip install 'bpflens[parquet]'") from None
    types = column_types(rows())
    makers = {"int64": pyarrow.int64, "uint64": pyarrow.uint64, "double": pyarrow.float64, "bool": pyarrow.bool_, "string": pyarrow.string}
    schema = pyarrow.schema([(name, makers[type]()) for name, type in types.items()])
    count = 0
    source = iter(rows())
    try:
        with whole_file(path, 0o600) as stream, pyarrow.parquet.ParquetWriter(stream, schema) as writer:
            while batch := list(itertools.islice(source, _BATCH)):
                columns = {name: [_cell(row.get(name), type) for row in batch] for name, type in types.items()}
                writer.write_table(pyarrow.Table.from_pydict(columns, schema=schema))
                count += len(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(path, f"cannot be written: {error}") from None
    return count


def column_types(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Name of each column -> int64, uint64, double, bool or string, in the order in which they come up."""
    kinds: dict[str, set[type]] = {}
    least: dict[str, int] = {}
    most: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            found = kinds.setdefault(name, set())
            if value is None:
                continue
            found.add(type(value))
            if isinstance(value, int):
                least[name] = min(least.get(name, 0), value)
                most[name] = max(most.get(name, 0), value)
    return {name: _type(found, least.get(name, 0), most.get(name, 0)) for name, found in kinds.items()}


def _type(kinds: set[type], least: int, most: int) -> str:
    if kinds == {int} and most <= _LARGEST and least >= -_LARGEST - 1:
        return "int64"
    if kinds == {int} and least >= 0 and most < 1 << 64:
        return "uint64"
    if kinds == {bool}:
        return "bool"
    return "double" if kinds == {float} else "string"


def _cell(value: Any, type: str) -> Any:
    return str(value) if type == "string" and value is not None else value

"""Parquet holds the numbers exactly, and other readers than its writer's read it.

    pip install pyarrow duckdb && pytest tests/snapshot/test_parquet.py      with both readers; without them only the types are tested
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bpflens.snapshot.parquet import column_types, write_parquet

ROWS = [
    {"key": 1, "value.bytes": 2**64 - 1, "value.name": "eth0", "both": -1, "ok": True, "rate": 0.5},
    {"key": -2, "value.bytes": 0, "value.name": 'a "quoted" name', "both": 2**63, "ok": False, "rate": 1.5, "late": 7},
]


def test_types_hold_every_number() -> None:
    assert column_types(ROWS) == {
        "key": "int64", "value.bytes": "uint64", "value.name": "string", "both": "string", "ok": "bool", "rate": "double", "late": "int64",
    }  # fmt: skip
    assert column_types([]) == {}
    assert column_types([{"a": 1}, {"a": "x"}, {"a": None}]) == {"a": "string"}


def its_own_reader(tmp_path: Path) -> None:
    """pyarrow, which writes it."""
    import pyarrow.parquet

    path = str(tmp_path / "x.parquet")
    assert write_parquet(lambda: ROWS * 8000, path) == 16000
    found = pyarrow.parquet.read_table(path).to_pylist()
    assert len(found) == 16000 and found[0]["value.bytes"] == 2**64 - 1 and found[1]["both"] == str(2**63) and found[0]["late"] is None
    assert write_parquet(lambda: iter(()), path) == 0


def another_reader(tmp_path: Path) -> None:
    """DuckDB has a reader of its own."""
    import duckdb

    path = str(tmp_path / "x.parquet")
    write_parquet(lambda: ROWS, path)
    question = f"""select key, "value.bytes", "value.name", "both", ok, rate, late from '{path}' order by key"""
    assert duckdb.sql(question).fetchall() == [
        (-2, 0, 'a "quoted" name', str(2**63), False, 1.5, 7), (1, 2**64 - 1, "eth0", "-1", True, 0.5, None),
    ]  # fmt: skip


if find_spec("pyarrow"):  # an extra that is not needed elsewhere: without it there is nothing to read
    test_its_own_reader = its_own_reader
    if find_spec("duckdb"):
        test_another_reader = another_reader

"""What came of the tests under each kernel, kept in a file, and the table of docs/kernels.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ("outcome", "read", "table", "write")


def outcome(code: int, said: str) -> str:
    """pytest's last line in short: "82 passed, 3 failed, 2 skipped"; else what happened instead."""
    if code == 125:
        return "no end"
    lines = [line for line in said.splitlines() if re.search(r"\d+ \w+.* in [\d.]+s", line)]
    counts = {what: number for number, what in re.findall(r"(\d+) (passed|failed|skipped|errors?)", lines[-1])} if lines else {}
    shown = [f"{counts[what]} {what}" for what in ("passed", "failed", "error", "errors", "skipped") if what in counts]
    return ", ".join(shown) or f"status {code}"


def read(path: Path) -> dict[str, dict[str, str]]:
    """Series -> {"release": ..., suite: outcome}."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, series: str, release: str, suite: str, text: str) -> None:
    """Keep an outcome; those of other builds of the series are forgotten."""
    known = read(path)
    row = known.get(series, {})
    known[series] = {**(row if row.get("release") == release else {}), "release": release, suite: text}
    path.write_text(json.dumps(known, indent=1))


def table(results: dict[str, dict[str, str]], suites: Iterable[str]) -> str:
    """The results as a table in Markdown."""
    names = list(suites)
    rows = [f"| kernel | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for series in sorted(results, key=lambda text: [int(part) for part in text.split(".")]):
        row = results[series]
        rows.append(f"| {row['release']} | {' | '.join(row.get(name, '–') for name in names)} |")
    return "\n".join(rows)

"""At least one small program per row of the catalogue of rewrites: what is loaded, and the grade that must come back.

The rows are in tests/cases/original-matrix.txt:

    [8.1] division by a register          section of the catalogue, name
    type=sched_cls grade=exact            program type; attach, flags, target and functions where the program needs them
        r2 = *(u32 *)(r1 +0)              assembler: {hash} is the descriptor of a map, {kfunc:NAME|OTHER}, {struct:NAME}, {btf:NAME} BTF
        ...                               ids, {member:STRUCT.NAME} an offset, subprog[LABEL] the address of a function

The grade is "exact" unless the row says otherwise: "equivalent" where the rewriting loses something for good.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bpflens.isa.extended.names import PROG_TYPES

TYPE = {name: number for number, name in PROG_TYPES.items()}
FILE = Path(__file__).parent.parent / "cases" / "original-matrix.txt"

# name -> arguments of create_map: type, key size, value size, max entries, flags
MAPS = {
    "hash": (1, 4, 8, 16, 0),
    "array": (2, 4, 8, 4, 0),
    "array1": (2, 4, 8, 1, 0),
    "array_odd": (2, 4, 24, 4, 0),
    "prog_array": (3, 4, 4, 4, 0),
    "percpu_hash": (5, 4, 8, 16, 0),
    "percpu_array": (6, 4, 8, 4, 0),
    "lru": (9, 4, 8, 64, 0),
    "lpm": (11, 8, 8, 16, 1),
    "devmap": (14, 4, 4, 4, 0),
    "sockmap": (15, 4, 4, 4, 0),
    "xskmap": (17, 4, 4, 4, 0),
    "queue": (22, 0, 8, 4, 0),
    "stack": (23, 0, 8, 4, 0),
    "perf": (4, 4, 4, 2, 0),
    "ringbuf": (27, 0, 0, 4096, 0),
    "bloom": (30, 0, 8, 4, 0),
}


@dataclass(frozen=True)
class Row:
    """One program: `row` of the catalogue, `name`, program type, expected attach type, assembler text."""

    row: str
    name: str
    type: str
    text: str
    attach: int = 0
    grade: str = "exact"
    flags: int = 0
    functions: tuple[tuple[str, str], ...] = ()
    target: tuple[str, str] = ("", "")  # attach_btf_id: kind and name of a type of the kernel


def read_rows() -> tuple[Row, ...]:
    """All rows of the file, in its order."""
    rows = []
    for block in re.split(r"\n(?=\[)", FILE.read_text()):
        head, options, *lines = block.rstrip("\n").split("\n")
        match = re.fullmatch(r"\[([\d.]+)\] (.+)", head)
        assert match, head
        given = dict(word.split("=", 1) for word in options.split())
        functions = tuple(tuple(pair.split(":")) for pair in given.get("functions", "").split(",") if pair)
        rows.append(
            Row(
                match.group(1), match.group(2), given["type"], "".join(f"{line.strip()}\n" for line in lines if line.strip()),
                int(given.get("attach", 0)), given.get("grade", "exact"), int(given.get("flags", 0)), functions,  # type: ignore[arg-type]
                tuple(given["target"].split(":")) if "target" in given else ("", ""),  # type: ignore[arg-type]
            )
        )  # fmt: skip
    return tuple(rows)


ROWS = read_rows()

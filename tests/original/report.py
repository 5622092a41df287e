"""The matrix on the running kernel as lines "row <tab> name <tab> result", for the table of docs/original.md.

    python tests/original/report.py
    tests/kernels/run 6.1 --shell "python tests/original/report.py"
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bpflens.errors import BpflensError
from bpflens.original.recover import recover
from original.load import loaded
from original.matrix import ROWS


def main() -> None:
    """Print a line for each row, then the release."""
    for row in ROWS:
        print(f"{row.row}\t{row.name}\t{result(row)}", flush=True)
    print(f"release\t\t{os.uname().release}")


def result(row) -> str:
    """The grade, or why the kernel does not take the program."""
    try:
        with loaded(row) as program:
            original = recover(program.id)
            return str(original.grade) if original.grade == row.grade else f"{original.grade}: {original.reason}"
    except (BpflensError, AssertionError, OSError) as error:
        return f"refused: {str(error)[:100]}"


if __name__ == "__main__":
    main()

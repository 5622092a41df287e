"""All that is known of a program: here of one of a file, with `bpflens.show("id:12")` of one of the kernel."""

import tempfile
from pathlib import Path

import bpflens

with tempfile.TemporaryDirectory() as directory:
    path = Path(directory, "filter")
    path.write_text("2\n48 0 0 0\n6 0 0 1\n")
    found = bpflens.show(str(path))
((program, facts, maps),) = found.programs
print(program.insn_count, facts, maps)
assert program.insn_count == 2

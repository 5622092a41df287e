"""The policy of a seccomp filter: what it does to each system call."""

import tempfile
from pathlib import Path

import bpflens

KILL, ALLOW = 0x80000000, 0x7FFF0000
FILTER = f"""\
7
32 0 0 4
21 0 4 3221225534
32 0 0 0
21 0 1 101
6 0 0 {KILL}
6 0 0 {ALLOW}
6 0 0 {KILL}
"""  # of x86_64: ptrace (101) kills, everything else is allowed

with tempfile.TemporaryDirectory() as directory:
    path = Path(directory, "filter")
    path.write_text(FILTER)
    policy = bpflens.seccomp(str(path))
(x86_64,) = [own for own in policy.arches if own.arch.name == "x86_64"]
killed = [rule.name for rule in x86_64.known if rule.actions == {KILL}]
print(killed)
assert killed == ["ptrace"]

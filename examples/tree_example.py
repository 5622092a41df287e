"""Objects, the programs on them, their maps and tail calls."""

import bpflens

print(bpflens.tree())

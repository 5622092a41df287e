"""Every BPF program of this machine, and what could not be looked at."""

import bpflens

found = bpflens.ls()
for row in found.rows:
    print(row.kind, row.object, row.prog_id, [holder.comm for holder in row.holders])
for denial in found.denied:
    print("not shown:", denial.what, "needs", denial.needs)

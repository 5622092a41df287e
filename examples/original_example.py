"""Programs of the kernel as they were loaded, with the proof: as root."""

import os

import bpflens

if os.geteuid() == 0:
    for row in bpflens.ls("pin").rows[:3]:
        found = bpflens.original(row.prog_id)
        print(found.grade, found.reason)

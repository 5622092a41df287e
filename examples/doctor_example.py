"""What is missing on this machine, what is lost without it, and how to get it."""

import bpflens

for finding in bpflens.doctor():
    if not finding.present:
        print(finding.name, "lost:", finding.lost, "get:", finding.get)

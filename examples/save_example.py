"""A program with its maps in a file, the plan that makes them again, what has changed since, and the elements of a map: as root.

Nothing is changed here: `restore` only makes a plan without `apply=True`.
"""

import os
import tempfile

import bpflens

if os.geteuid() == 0:
    for row in bpflens.ls("pin").rows[:1]:
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/x.bpfsnap"
            saved = bpflens.save(f"id:{row.prog_id}", path)
            print(saved.digest, len(saved.manifest.maps), "maps")
            print(*(step.text for step in bpflens.restore(path).steps), sep="\n")
            print({change.status for change in bpflens.verify(path)})
            for map in saved.manifest.maps:
                if map.data is not None:
                    print(map.name, bpflens.export(path, str(map.id))[:2])

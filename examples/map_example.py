"""The elements of the maps of this machine, decoded by their types: as root. Nothing is changed."""

import os

import bpflens

if os.geteuid() == 0:
    for row in bpflens.ls("pin").rows[:1]:
        for map in bpflens.open(f"id:{row.prog_id}").maps:
            for element in bpflens.map(f"map:{map.id}", limit=3):
                print(map.name, element.key, element.value)

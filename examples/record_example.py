"""Keeps the programs that are loaded within a moment, as they were loaded: as root."""

import os
import tempfile

import bpflens

if os.geteuid() == 0:
    with tempfile.TemporaryDirectory() as directory:
        for kept in bpflens.record(directory, seconds=0.2):
            print(kept.id, kept.load.name, kept.complete)

"""A pytest plugin (`-p without_extras`): the extras cannot be imported, as on a machine without them.

Tests that need one say so with `needs.module`; here they are left out, and everything else must pass.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder

BLOCKED = ("z3", "capstone")


class _Blocked(MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _Blocked())
# Child processes: a sitecustomize that imports this file.
_SITE = os.path.join(os.path.dirname(__file__), "without_extras_site")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_SITE, os.path.dirname(__file__), os.environ.get("PYTHONPATH"))))

"""Imported by child processes of the run without extras (tests/without_extras.py)."""

import without_extras  # noqa: F401

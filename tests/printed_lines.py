"""Every line of JSON that the package makes during a test is compared with its published schema (records/schemas.py).

In this process the encoder of json is watched, for calls from the package; of child processes the output is read.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bpflens.formats.snapshot import manifest
from bpflens.inventory import baseline
from bpflens.original.kernels import exported
from bpflens.records.schemas import problems, schemas

__all__ = ("checked",)

# They are written to files that only bpflens reads; each has its own check where it is read.
_FILES = {exported.SCHEMA, baseline.SCHEMA, manifest.SCHEMA}
_found: list[str] = []
_known = functools.cache(schemas)
_encode, _run = json.JSONEncoder.encode, subprocess.run


@contextmanager
def checked() -> Iterator[list[str]]:
    """What is wrong with the lines that are made within."""
    _found.clear()
    yield _found


def _check(line: Any) -> None:
    name = line.get("schema") if isinstance(line, dict) else None
    if isinstance(name, str) and name in _known():
        _found.extend(problems(line, _known()[name], name))
    elif isinstance(name, str) and name not in _FILES:
        _found.append(f"{name} has no published schema")


def _encoding(self: json.JSONEncoder, value: Any) -> str:
    text = _encode(self, value)
    near, far = sys._getframe(1), sys._getframe(2)  # the caller itself, or json.dumps and its caller
    if any(str(frame.f_globals.get("__name__")).startswith("bpflens.") for frame in (near, far)):
        _check(json.loads(text))
    return text


def _running(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def watched(*args: Any, **options: Any) -> Any:
        done = run(*args, **options)
        command = str(args[0] if args else options.get("args"))
        if "bpflens" in command and "--json" in command:
            for output in (done.stdout, done.stderr):
                _read(output)
        return done

    return watched


def _read(output: str | bytes | None) -> None:
    for line in (output or b"").splitlines():
        try:
            _check(json.loads(line))
        except ValueError:
            continue


json.JSONEncoder.encode = _encoding  # type: ignore[method-assign]
subprocess.run = _running(_run)

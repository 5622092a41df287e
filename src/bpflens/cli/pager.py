"""Long output on a terminal goes through a pager, as git's does.

BPFLENS_PAGER, then PAGER, then less; an empty value or "cat" means none. less gets LESS=FRX where the user has not set it: what fits on one
screen is printed at once, colours work, and the text stays on the screen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("paged", "pager_command")


def pager_command() -> str | None:
    """The shell command of the pager; None where there is none."""
    for name in ("BPFLENS_PAGER", "PAGER"):
        if name in os.environ:
            command = os.environ[name].strip()
            return command if command not in ("", "cat") else None
    return "less" if any(os.access(os.path.join(place, "less"), os.X_OK) for place in os.get_exec_path()) else None


@contextmanager
def paged(wanted: bool) -> Iterator[None]:
    """Standard output, and standard error where that is a terminal too, into the pager for the length of a with statement."""
    command = pager_command() if wanted and sys.stdout.isatty() else None
    if command is None:
        yield
        return
    import subprocess

    from bpflens.view.style.terminal import Terminal

    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    process = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    stdout, stderr = sys.stdout, sys.stderr
    stdout.flush()
    pipe = Terminal(process.stdin, stdout.encoding, "backslashreplace", line_buffering=False)
    sys.stdout = pipe
    if stderr.isatty():
        sys.stderr = pipe
    try:
        yield
        pipe.flush()
    except BrokenPipeError:
        pass  # the reader has seen enough
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        try:
            pipe.close()
        except BrokenPipeError:
            pass
        _wait(process)


def _wait(process: object) -> None:
    import subprocess

    assert isinstance(process, subprocess.Popen)
    while True:
        try:
            process.wait()
            return
        except KeyboardInterrupt:
            continue  # the pager has it too, and decides

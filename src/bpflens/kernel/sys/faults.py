"""Faults on purpose: tests make the n-th system call fail, or the process die there.

    with failing(7, errno=12): ...       # the 7th call that is counted fails with ENOMEM
    counted = with_count(function)       # how many there are

Counted are bpf(2), netlink requests, and the steps of files that are written (`step`). Nothing is counted unless a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ("counting", "failing", "hook", "killing", "step")

Hook = Callable[[str], int]
hook: Hook | None = None
"""Called with the name of each step; returns the errno with which it shall fail, or 0."""


def step(name: str) -> None:
    """A step that is no system call of this package's own: OSError where it shall fail."""
    if hook is not None:
        errno = hook(name)
        if errno:
            raise OSError(errno, os.strerror(errno))


@contextmanager
def counting() -> Iterator[list[str]]:
    """The names of the steps that happen meanwhile."""
    names: list[str] = []

    def note(name: str) -> int:
        names.append(name)
        return 0

    with _hooked(note):
        yield names


@contextmanager
def failing(number: int, errno: int = 12) -> Iterator[list[str]]:
    """Step `number` (from 1) fails; yields the names of the steps so far."""
    names: list[str] = []

    def fail(name: str) -> int:
        names.append(name)
        return errno if len(names) == number else 0

    with _hooked(fail):
        yield names


@contextmanager
def killing(number: int) -> Iterator[None]:
    """The process is killed (SIGKILL) before step `number`."""
    import signal

    count = 0

    def kill(_: str) -> int:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    with _hooked(kill):
        yield


@contextmanager
def _hooked(function: Hook) -> Iterator[None]:
    global hook
    before, hook = hook, function
    try:
        yield
    finally:
        hook = before

"""Points in time among decoded values, told by their members' names and by being possible: `last_seen_ns` 12 s before now.

Programs have bpf_ktime_get_ns() (ns since boot) or, rarely, the time since 1970. A name such as latency_ns is a length and is left alone.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Iterator, Mapping, Sequence

__all__ = ("is_point", "moments")

_POINT = re.compile(
    r"(?:^|_)(?:ts|tstamp|timestamp|when|seen|(?:last|first)_(?:seen|used|time|update|packet|pkt)|(?:start|begin|end|create|expir)\w*_(?:at|ts|time)"
    r"|(?:start|started|created|updated|expires|deadline|ktime))(?:_at|_ts|_time)?(?:_?ns|_?nsec|_?us|_?ms|_?s|_?sec)?$",
    re.IGNORECASE,
)  # fmt: skip
_UNITS = {"ns": 1, "nsec": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "sec": 10**9}
_YEAR_S = 365 * 86400


def moments(value: object) -> list[str]:
    """For instance ["last_seen_ns 12.1 s ago, if from boot"]; empty where nothing is a point in time."""
    return [f"{name} {said}" for name, number in _named(value, "") if is_point(name) and (said := _said(name, number))]


def is_point(name: str) -> bool:
    """A member of this name may be a point in time."""
    return bool(_POINT.search(name))


def _named(value: object, name: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named(item, str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value[:8]:
            yield from _named(item, "")
    elif isinstance(value, int) and not isinstance(value, bool) and name:
        yield name, value


def _said(name: str, value: int) -> str:
    found = re.search(r"(nsec|ns|us|ms|sec|s)$", name)
    unit = _UNITS[found[1]] if found and (name[: found.start()].endswith("_") or len(found[1]) > 1) else 1
    now = time.time()
    for seconds in {value * unit / 1e9, float(value)}:
        if now - 20 * _YEAR_S < seconds < now + 20 * _YEAR_S:
            return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    seconds = value * unit / 1e9
    return f"{_length(boot - seconds)} ago, if from boot" if 0.001 < seconds <= boot else ""


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    return f"{minutes} min" if minutes < 120 else f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} days"

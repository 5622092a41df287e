"""Names and verbs put together, so that nothing is said twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bpflens.decompile.summary.words.phrases import listed

__all__ = ("ends", "folded", "grouped", "merged")

_SHOWN_MEMBERS = 4


def ends(names: Iterable[str]) -> list[str]:
    """Of "real_parent of the current task" and "real_parent->tgid of the current task" the last."""
    all_names = list(names)
    led_through = set()
    for name in all_names:
        path, of, root = name.partition(" of ")
        if of and "->" in path:
            led_through.add(path[: path.rfind("->")] + of + root)
    return [name for name in all_names if name not in led_through]


def grouped(names: Sequence[str]) -> Iterator[str]:
    """ "setting a", "setting b" become "settings a and b"; "sport of the record", "dport of the record" "sport and dport of the record"."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        what, of, whole = name.partition(" of the ")
        if name.startswith("setting "):
            groups.setdefault(("setting", ""), []).append(name.removeprefix("setting "))
        elif of and not what.startswith(("byte", "argument", "return value", "result")):
            groups.setdefault(("", of + whole), []).append(what)
        else:
            groups.setdefault((name, name), [])
    for (before, after), members in groups.items():
        if before == after:
            yield before
        else:
            yield f"{before}{'s' * (bool(before) and len(members) > 1)}{' ' * bool(before)}{listed(members)}{after}"


def folded(actions: Iterable[str]) -> list[str]:
    """ "writes the a", "writes the b[0]", "writes the b[1]" ... become "writes the a, b and 7 more"."""
    written: dict[str, None] = {}
    out = []
    for action in actions:
        if not action.startswith("writes the "):
            out.append(action)
            continue
        if not written:
            out.append("")
        written[re.sub(r"\[\d+\].*", "", action.removeprefix("writes the "))] = None
    names = list(written)
    if len(names) > _SHOWN_MEMBERS:
        names = [*names[: _SHOWN_MEMBERS - 1], f"{len(names) - _SHOWN_MEMBERS + 1} more"]
    return [action or f"writes the {listed(names)}" for action in out]


def merged(verbs: list[str]) -> list[str]:
    """ "rewrites a", "rewrites b" become "rewrites a and b"."""
    groups: dict[str, list[str]] = {}
    for text in verbs:
        verb, _, rest = text.partition(" ")
        groups.setdefault(verb if verb in ("rewrites", "sets", "changes") else text, []).append(rest)
    return [f"{verb} {listed(rests)}" if " " not in verb and rests != [""] else verb for verb, rests in groups.items()]

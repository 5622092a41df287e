"""Which rows are wanted: the words after `bpflens ls`.

    ls socket xdp      rows of these kinds (a kind or its first part: "tc" has "tc/ingress")
    ls dev:eth0        rows on this object; also pid:N (held by), sock:INODE, cgroup:PATH, netns:NAME, map:N, link:N
    ls pin:/sys/fs/bpf rows pinned at this path or below it
    ls comm:python*    rows that processes of this name hold; also exe:PATH, unit:NAME (a systemd unit or a container)
    ls id:12 name:x tag:6d type=xdp    rows of these programs

Kinds are alternatives; everything else must hold. The words also decide which families need to be asked at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bpflens.errors import UsageError
from bpflens.inventory.facts.records import Denial, Inventory, InventoryRow
from bpflens.inventory.families import DEEP_FAMILIES, FAMILIES, Family
from bpflens.inventory.objects import TESTS, Test, cgroup_path, pin_fits, require
from bpflens.isa.extended.names import PROG_TYPES

__all__ = ("KINDS", "SORT_KEYS", "Selection", "sorted_rows")

HELD_KINDS = ("pin", "fd", "held", "image")  # not attached: known only when everything has been looked at
KINDS = tuple(dict.fromkeys([kind for family in FAMILIES + DEEP_FAMILIES for kind in family.kinds] + list(HELD_KINDS)))
_NAMED = 3  # pins that a message names
_DEVICE_KINDS = ("xdp", "tcx", "netkit", "tc", "tap", "tun", "team", "lwt", "seg6local", "socket/packet")


class Selection:
    """The words, understood. UsageError for one that means nothing."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.kinds: list[str] = []
        self._tests: list[Test] = []
        self.objects: list[tuple[str, str]] = []
        self._device = False
        self.cgroup: str | None = None
        self.words = tuple(words)
        for word in words:
            self._add(word)

    def _add(self, word: str) -> None:
        prefix, colon, rest = word.partition(":")
        key, equals, value = word.partition("=")
        if equals and key == "type":
            if value not in PROG_TYPES.values():
                raise UsageError("", f'no program type "{value}"', _close(value, PROG_TYPES.values()))
            self._tests.append(lambda row, all: _type(row, all) == value)
        elif equals and key == "kind":
            self._kind(value)
        elif colon and prefix in TESTS:
            if not rest:
                raise UsageError("", f'"{word}" names nothing', 'see "bpflens ls --help"')
            self._tests.append(TESTS[prefix](rest))
            self.objects.append((prefix, rest))
            self._device = self._device or prefix == "dev"
            if prefix == "cgroup":
                self.cgroup = cgroup_path(rest)
        else:
            self._kind(word)

    def _kind(self, word: str) -> None:
        if not any(kind == word or kind.startswith(word + "/") or word.startswith(kind + "/") for kind in KINDS):
            raise UsageError("", f'no kind or object "{word}"', _close(word, [*KINDS, *(f"{prefix}:..." for prefix in TESTS)]))
        self.kinds.append(word)

    @property
    def maps(self) -> bool:
        """Whether it has to be known who holds maps and which programs use them."""
        return any(prefix in ("map", "pid") for prefix, _ in self.objects)

    def rows(self, inventory: Inventory) -> list[InventoryRow]:
        """The rows that are wanted; NotFound where there are none because what a word names does not exist."""
        found = [row for row in inventory.rows if self.matches(row, inventory)]
        if not found:
            require(self.objects, inventory)
        return found

    @property
    def families(self) -> Callable[[Family], bool] | None:
        """Which families to ask; None for all of them."""
        kinds = self.kinds or (_DEVICE_KINDS if self._device else ())
        if not kinds or any(kind in HELD_KINDS for kind in kinds):
            return None
        return lambda family: any(_overlaps(kind, own) for kind in kinds for own in family.kinds)

    def concerns(self, denial: Denial) -> bool:
        """Whether what could not be looked at may have had rows that are wanted."""
        kinds = self.kinds or (_DEVICE_KINDS if self._device else ())
        return not denial.kinds or not kinds or any(_overlaps(kind, own) for kind in kinds for own in denial.kinds)

    def unopened(self, inventory: Inventory) -> list[Denial]:
        """The pins that are wanted and whose object the kernel does not give: only where pins are asked for, as nothing hangs on them."""
        asked = [rest for prefix, rest in self.objects if prefix == "pin"]
        if not asked and "pin" not in self.kinds:
            return []
        wanted = [path for path in inventory.unopened if all(pin_fits(rest, path) for rest in asked)]
        found = []
        for why in dict.fromkeys(inventory.unopened[path] for path in wanted):
            paths = [path for path in wanted if inventory.unopened[path] == why]
            more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
            what = f"what is pinned at {', '.join(paths[:_NAMED])}{more}"
            found.append(Denial(what, f'a kernel that gives it ({why}); perhaps it is hidden, see "bpflens ls --audit"', ("pin",)))
        return found

    def matches(self, row: InventoryRow, inventory: Inventory) -> bool:
        """Whether a row is wanted."""
        if self.kinds and not any(row.kind == kind or row.kind.startswith(kind + "/") for kind in self.kinds):
            return False
        return all(test(row, inventory) for test in self._tests)


def _overlaps(a: str, b: str) -> bool:
    return a == b or a.startswith(b + "/") or b.startswith(a + "/")


def _close(word: str, words: Iterable[str]) -> str | None:
    import difflib
    import os

    if word.isascii() and word.isdigit() and len(word) < 20:
        return f'did you mean "id:{word}"?'
    if word.endswith(".o") or os.path.isfile(word):
        return f'only the running machine and snapshots are listed; "bpflens show {word}" shows a file'
    prefix, colon, rest = word.partition(":")
    alike = difflib.get_close_matches(prefix.lower(), list(TESTS), 1) if colon else []
    if alike:
        return f'did you mean "{alike[0]}:{rest}"?'
    close = difflib.get_close_matches(word, list(words), 1)
    return f'did you mean "{close[0]}"?' if close else 'see "bpflens ls --help"'


def _type(row: InventoryRow, inventory: Inventory) -> str | None:
    head = (inventory.programs or {}).get(row.prog_id or 0)
    return PROG_TYPES.get(head.type) if head else None


def _of_program(row: InventoryRow, inventory: Inventory, field: str) -> int | str:
    info = (inventory.programs or {}).get(row.prog_id or 0)
    value: int | str = getattr(info, field) if info is not None else ""
    return value


_Key = Callable[[InventoryRow, Inventory], int | str]
SORT_KEYS: dict[str, _Key] = {
    "kind": lambda row, all: row.kind,
    "object": lambda row, all: row.object,
    "netns": lambda row, all: row.netns or 0,
    "id": lambda row, all: row.prog_id or 0,
    "name": lambda row, all: _of_program(row, all, "name"),
    "type": lambda row, all: _type(row, all) or "",
    "age": lambda row, all: -int(_of_program(row, all, "load_time") or 0),
    "runs": lambda row, all: -int(_of_program(row, all, "run_cnt") or 0),
    "time": lambda row, all: -int(_of_program(row, all, "run_time_ns") or 0),
    "holder": lambda row, all: row.holders[0].comm if row.holders else "",
}


def sorted_rows(rows: Iterable[InventoryRow], inventory: Inventory, key: str) -> list[InventoryRow]:
    """The rows by one of SORT_KEYS: the newest program first for "age", the busiest for "runs" and "time"; equal ones as they were."""
    value = SORT_KEYS[key]
    return sorted(rows, key=lambda row: value(row, inventory))

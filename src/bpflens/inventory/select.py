"""Which rows are wanted: the words after `bpflens ls`.

    ls socket xdp      rows of these kinds (a kind or its first part: "tc" has "tc/ingress")
    ls dev:eth0        rows on this object; also pid:N (held by), sock:INODE, cgroup:PATH, netns:NAME, map:N, link:N, pin:PATH
    ls id:12 name:x tag:6d type=xdp    rows of these programs

Kinds are alternatives; everything else must hold. The words also decide which families need to be asked at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from bpflens.errors import InputError, UsageError
from bpflens.inventory.facts.records import Denial, Inventory, InventoryRow
from bpflens.inventory.families import DEEP_FAMILIES, FAMILIES, Family
from bpflens.isa.extended.names import PROG_TYPES
from bpflens.kernel.sys import procfs

__all__ = ("KINDS", "Selection", "cgroup_path", "netns_inode")

HELD_KINDS = ("pin", "fd", "held", "image")  # not attached: known only when everything has been looked at
KINDS = tuple(dict.fromkeys([kind for family in FAMILIES + DEEP_FAMILIES for kind in family.kinds] + list(HELD_KINDS)))
_DEVICE_KINDS = ("xdp", "tcx", "netkit", "tc", "tap", "tun", "team", "lwt", "seg6local", "socket/packet")
_OBJECTS = ("dev", "pid", "sock", "cgroup", "netns", "map", "link", "pin", "id", "name", "tag")
_Test = Callable[[InventoryRow, Inventory], bool]


class Selection:
    """The words, understood. UsageError for one that means nothing."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.kinds: list[str] = []
        self._tests: list[_Test] = []
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
        elif colon and prefix in _OBJECTS:
            self._tests.append(_object_test(prefix, rest))
            self._device = self._device or prefix == "dev"
            if prefix == "cgroup":
                self.cgroup = cgroup_path(rest)
        else:
            self._kind(word)

    def _kind(self, word: str) -> None:
        if not any(kind == word or kind.startswith(word + "/") or word.startswith(kind + "/") for kind in KINDS):
            raise UsageError("", f'no kind or object "{word}"', _close(word, [*KINDS, *(f"{prefix}:..." for prefix in _OBJECTS)]))
        self.kinds.append(word)

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

    def matches(self, row: InventoryRow, inventory: Inventory) -> bool:
        """Whether a row is wanted."""
        if self.kinds and not any(row.kind == kind or row.kind.startswith(kind + "/") for kind in self.kinds):
            return False
        return all(test(row, inventory) for test in self._tests)


def _overlaps(a: str, b: str) -> bool:
    return a == b or a.startswith(b + "/") or b.startswith(a + "/")


def _close(word: str, words: object) -> str | None:
    import difflib

    close = difflib.get_close_matches(word, list(words), 1, 0.6)  # type: ignore[call-overload]
    return f'did you mean "{close[0]}"?' if close else 'see "bpflens ls --help"'


def _type(row: InventoryRow, inventory: Inventory) -> str | None:
    head = (inventory.programs or {}).get(row.prog_id or 0)
    return PROG_TYPES.get(head.type) if head else None


def _number(prefix: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{prefix}:{text}", "is not a number")
    return int(text)


def _object_test(prefix: str, rest: str) -> _Test:
    if prefix == "pid":
        pid = os.getpid() if rest == "self" else _number(prefix, rest)
        return lambda row, all: row.object == f"pid:{pid}" or any(holder.pid == pid for holder in row.holders)
    if prefix == "netns":
        inode = netns_inode(rest)
        return lambda row, all: row.netns == (inode or _named(all, rest))
    if prefix == "dev":
        name, _, place = rest.partition("@")

        def on_device(row: InventoryRow, all: Inventory) -> bool:
            on = row.object == f"dev:{name}" or row.details.get("dev") == name or name in row.details.get("devices", ())
            return on and (not place or row.netns == (netns_inode(place) or _named(all, place)))

        return on_device
    if prefix == "cgroup":
        path = cgroup_path(rest)
        return lambda row, all: row.object == f"cgroup:{path}"
    if prefix == "map":
        return lambda row, all: row.object == f"map:{rest}" or row.object.startswith((f"map:{rest}[", f"map:{rest} "))
    if prefix == "link":
        number = _number(prefix, rest)
        return lambda row, all: row.details.get("link") == number or number in row.details.get("links", ())
    if prefix == "pin":
        return lambda row, all: rest in row.details.get("pins", ())
    if prefix == "id":
        number = _number(prefix, rest)
        return lambda row, all: row.prog_id == number
    if prefix == "sock":
        number = _number(prefix, rest)
        return lambda row, all: row.object == f"sock:{number}" or row.details.get("sock") == number
    field = {"name": "name", "tag": "tag"}[prefix]
    return lambda row, all: row.prog_id is not None and str(getattr((all.programs or {}).get(row.prog_id), field, "")).startswith(rest[:15])


def cgroup_path(name: str) -> str:
    """The path in the cgroup hierarchy; `name` is that already, or where the cgroup's directory is in the file system."""
    path = "/" + name.strip("/")
    for mount in procfs.mounts("self"):
        if mount.type == "cgroup2" and (path + "/").startswith(mount.point.rstrip("/") + "/") and os.path.isdir(path):
            return (mount.root.rstrip("/") + path[len(mount.point.rstrip("/")) :]) or "/"
    return path


def netns_inode(name: str) -> int | None:
    """The inode of a network namespace named by its inode, a path, or a name of "ip netns"; None where it is none of these."""
    if name.isdecimal():
        return int(name)
    for path in (name, f"/run/netns/{name}", f"/var/run/netns/{name}"):
        try:
            return os.stat(path).st_ino
        except OSError:
            continue
    return None


def _named(inventory: Inventory, name: str) -> int | None:
    return next((space.inode for space in inventory.namespaces.values() if space.name == name), None)

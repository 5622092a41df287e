"""Maps as text: the list of all, elements, changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.btf.values import to_text
from bpflens.inventory.map_overview import MapRow
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.maps.change import Change
from bpflens.maps.differences import Difference
from bpflens.maps.parts import Element
from bpflens.view.style.moments import moments
from bpflens.view.style.printable import printable

__all__ = ("change_line", "difference_line", "element_line", "row_lines")


def row_lines(rows: Sequence[MapRow]) -> Iterator[str]:
    """A table of maps."""
    table = [("ID", "TYPE", "NAME", "KEY", "VALUE", "MAX", "MEMORY", "USED BY")]
    for row in rows:
        map = row.map
        users = [f"prog {id}" for id in row.users[:4]] + ["..."] * (len(row.users) > 4)
        users += list(row.pins) + list(dict.fromkeys(f"{holder.comm} (pid {holder.pid})" for holder in row.holders))[:3]
        users += [f"kernel: {by}" for by in row.kernel[:3]]
        entries = f"{row.elements}/{map.max_entries}" if row.elements is not None else str(map.max_entries)
        memory = _size(row.memory_bytes)
        used = ", ".join(users) or "ORPHANED: nothing that was found holds it"
        table.append((str(map.id), type_name(MAP_TYPES, map.type), map.name, str(map.key_size), str(map.value_size), entries, memory, used))
    widths = [max(len(line[column]) for line in table) for column in range(7)]
    for line in table:
        yield printable("  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[-1]]).rstrip())


def _size(bytes_: int | None) -> str:
    if bytes_ is None:
        return "?"
    for unit in ("B", "KiB", "MiB"):
        if bytes_ < 10 << 10:
            return f"{bytes_} {unit}"
        bytes_ >>= 10
    return f"{bytes_} GiB"


def element_line(element: Element) -> str:
    """ "KEY = VALUE"; of per-cpu maps the sum, then the parts that are not 0."""
    key = to_text(element.key) if not isinstance(element.key, str) else element.key
    if element.raw_value is None:
        return printable(f"{key} = (only programs can read it)")
    if isinstance(element.value, list) and element.total is not None:
        parts = [f"cpu {cpu}: {to_text(part)}" for cpu, part in enumerate(element.value) if _counted(part)]
        return printable(f"{key} = {to_text(element.total)}" + (f"   ({', '.join(parts)})" if len(parts) > 1 else ""))
    when = f"   ({', '.join(said)})" if (said := moments(element.value)) else ""
    return printable(f"{key} = {element.value if isinstance(element.value, str) else to_text(element.value)}{when}")


def _counted(value: object) -> bool:
    """Some number in it is not 0."""
    return any(leaf and isinstance(leaf, int) for leaf in _leaves(value))


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    else:
        yield value


def change_line(change: Change, applied: bool) -> str:
    """What a change does, or would do."""
    where = f"map {change.map.id} ({change.map.name})"
    verb = "deleted" if change.raw_value is None else "set"
    before = "not there" if change.before is None else to_text(change.before)
    after = "" if change.raw_value is None else f" -> {to_text(change.after)}"
    key = change.key if isinstance(change.key, str) else to_text(change.key)
    return printable(f"{verb if applied else f'would be {verb}'}: {where} {key}: {before}{after}")


def difference_line(difference: Difference) -> str:
    """One line with a sign in front: + new, - gone, ~ changed."""
    key = difference.key if isinstance(difference.key, str) else to_text(difference.key)
    match difference.kind:
        case "new":
            return printable(f"+ {key} = {to_text(difference.after)}")
        case "gone":
            return printable(f"- {key} = {to_text(difference.before)}")
    return printable(f"~ {key} = {to_text(difference.before)} -> {to_text(difference.after)}")

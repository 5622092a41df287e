"""What a map of maps accepts as inner maps: the kernel shows it nowhere but in memory (map_attributes.py)."""

from __future__ import annotations

from bpflens.kernel.maps.map_attributes import map_attributes
from bpflens.program import Map

__all__ = ("inner_map",)


def inner_map(outer_id: int) -> Map | None:
    """The template of a map of maps; None where it can't be read."""
    attributes = map_attributes().get(outer_id)
    if attributes is None or attributes.inner is None:
        return None
    inner = attributes.inner
    return Map("inner", inner.type, inner.key_size, inner.value_size, inner.max_entries, inner.flags)

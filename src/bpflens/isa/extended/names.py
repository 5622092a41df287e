"""Names of program, map, attach and link types by number: those of uapi.py in lower case.

A number that is not here is newer than this table and is printed as a number: use `type_name`.
"""

from __future__ import annotations

from collections.abc import Mapping

from bpflens.isa.extended.uapi import AttachType, LinkType, MapType, ProgType

__all__ = ("ATTACH_TYPES", "LINK_TYPES", "MAP_FLAGS", "MAP_TYPES", "PROG_TYPES", "flag_names", "flag_number", "type_name", "type_number")


def _names(enum: type) -> dict[int, str]:
    """Number -> name in lower case; of two names the first."""
    found: dict[int, str] = {}
    for name, number in vars(enum).items():
        if not name.startswith("_"):
            found.setdefault(number, name.lower())
    return found


PROG_TYPES = _names(ProgType)
"""enum bpf_prog_type: "sched_cls" is BPF_PROG_TYPE_SCHED_CLS."""

MAP_TYPES = _names(MapType)
"""enum bpf_map_type: "hash" is BPF_MAP_TYPE_HASH."""

ATTACH_TYPES = _names(AttachType)
"""enum bpf_attach_type: "cgroup_inet_ingress" is BPF_CGROUP_INET_INGRESS."""

LINK_TYPES = _names(LinkType)
"""enum bpf_link_type: "xdp" is BPF_LINK_TYPE_XDP."""

MAP_FLAGS = (
    "no_prealloc", "no_common_lru", "numa_node", "rdonly", "wronly", "stack_build_id", "zero_seed", "rdonly_prog", "wronly_prog", "clone",
    "mmapable", "preserve_elems", "inner_map", "link", "path_fd", "vtype_btf_obj_fd", "token_fd", "segv_on_fault", "no_user_conv",
    "rb_overwrite",
)  # fmt: skip
"""BPF_F_* of maps by bit: include/uapi/linux/bpf.h, Linux 6.19, in lower case."""


def type_name(names: Mapping[int, str], value: int | None) -> str:
    """The name of a type, or "type N" for one that is newer than the table, or "" for None."""
    if value is None:
        return ""
    return names.get(value, f"type {value}")


def type_number(names: Mapping[int, str], name: str | None) -> int | None:
    """The number of a type's name, as `type_name` gives it; None for None. ValueError where it is no such name."""
    if name is None:
        return None
    for number, known in names.items():
        if known == name:
            return number
    return int(name.removeprefix("type "))


def flag_number(name: str) -> int:
    """The bit of a name that `flag_names` gives. ValueError where it is no such name."""
    return 1 << MAP_FLAGS.index(name) if name in MAP_FLAGS else int(name, 16)


def flag_names(flags: int) -> list[str]:
    """The names of the flags of a map; a bit newer than the table as a number."""
    return [MAP_FLAGS[bit] if bit < len(MAP_FLAGS) else f"{1 << bit:#x}" for bit in range(flags.bit_length()) if flags >> bit & 1]

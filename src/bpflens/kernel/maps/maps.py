"""Maps of the running kernel: ids, facts, C types of keys and values, variables of global data.

Layout of struct bpf_map_info: include/uapi/linux/bpf.h, filled by bpf_map_get_info_by_fd() (kernel/bpf/syscall.c, v6.18); what it
leaves out (frozen, memlock, owner of a program array) stands in fdinfo (bpf_map_show_fdinfo()). Elements: map_data.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from bpflens.errors import BpflensError
from bpflens.kernel.sys.bpf import Buffer, all_ids, cmd, info_by_fd, opened
from bpflens.lean import replace
from bpflens.program import Map, MapFields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.btf.btf import Btf

__all__ = ("map_by_fd", "map_ids", "open_map", "read_map_info", "with_types")

_INFO = struct.Struct("=IIIIII16sIIQQIIIIQ")


def map_ids() -> list[int]:
    """Ids of all maps, ascending. KernelError without CAP_SYS_ADMIN."""
    return all_ids(cmd.MAP_GET_NEXT_ID)


@contextmanager
def open_map(id: int) -> Iterator[int]:
    """A descriptor of map `id` for the length of a with statement; NotFound where it is gone."""
    with opened(cmd.MAP_GET_FD_BY_ID, id, f"map:{id}") as fd:
        yield fd


def read_map_info(id: int, *, types: bool = True) -> Map:
    """Map `id`. `types`: also the C types of key and value and the variables of a data section, from the map's BTF."""
    with open_map(id) as fd:
        return map_by_fd(fd, f"map:{id}", types=types)


def map_by_fd(fd: int, where: str = "", *, types: bool = True) -> Map:
    """The map behind a descriptor.

    `fields`: map_extra, ifindex, netns_dev, netns_ino, btf_id, btf_vmlinux_id, btf_vmlinux_value_type_id from info; frozen (bool),
    memlock (bytes), owner_prog_type, owner_jited from fdinfo, where the kernel gives them.
    """
    where = where or f"fd {fd}"
    buffer = Buffer(_INFO.size)
    info_by_fd(fd, buffer, where)
    (
        type, id, key_size, value_size, max_entries, flags, raw_name, ifindex, vmlinux_value_type, netns_dev, netns_ino,
        btf_id, key_type, value_type, vmlinux_btf, map_extra,
    ) = _INFO.unpack(buffer.bytes)  # fmt: skip
    optional = {
        "ifindex": ifindex,
        "netns_dev": netns_dev,
        "netns_ino": netns_ino,
        "btf_vmlinux_id": vmlinux_btf,
        "btf_vmlinux_value_type_id": vmlinux_value_type,
    }
    given: Any = {key: value for key, value in optional.items() if value}
    fields: MapFields = {"map_extra": map_extra, "btf_id": btf_id, **given, **_fdinfo(fd)}
    found = Map(
        name=raw_name.split(b"\0", 1)[0].decode("ascii", "replace"),
        type=type,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
        id=id,
        key_type_id=key_type,
        value_type_id=value_type,
        fields=fields,
    )
    return with_types(found) if types else found


def with_types(map: Map) -> Map:
    """A map of the kernel with the C types of key and value and the variables of a data section, from its BTF."""
    from bpflens.btf.c_text import declaration

    btf_id, in_vmlinux = map.fields.get("btf_id", 0), map.fields.get("btf_vmlinux_value_type_id", 0)
    try:
        if in_vmlinux:
            return replace(map, value=_one_line(declaration(_vmlinux(map.fields.get("btf_vmlinux_id", 0)), in_vmlinux)))
        if not btf_id:
            return map
        key, value, datasec = _types(btf_id, map.key_type_id, map.value_type_id)
        return replace(map, key=key, value=value, datasec=datasec)
    except BpflensError as error:
        return replace(map, fields={**map.fields, "btf_error": str(error)})


def _types(btf_id: int, key_type: int, value_type: int) -> tuple[str | None, str | None, dict[int, tuple[str, int, str]]]:
    from bpflens.btf.btf import Kind
    from bpflens.btf.c_text import declaration
    from bpflens.kernel.btf import btf_by_id

    btf = btf_by_id(btf_id)
    key = _one_line(declaration(btf, key_type)) if key_type else None
    if not value_type:
        return key, None, {}
    if btf.kind(value_type) is Kind.DATASEC:
        variables = {}
        for variable in btf.variables(value_type):
            name = btf.name(variable.type_id)
            variables[variable.byte_off] = (name, variable.size, _one_line(declaration(btf, btf.type(variable.type_id).ref)))
        return key, None, variables
    return key, _one_line(declaration(btf, value_type)), {}


def _one_line(declaration: str) -> str:
    return " ".join(declaration.split())


def _vmlinux(btf_id: int) -> Btf:
    from bpflens.kernel.btf import btf_by_id, vmlinux

    return btf_by_id(btf_id) if btf_id else vmlinux()


def _fdinfo(fd: int) -> MapFields:
    """The lines "key:\\tvalue" of fdinfo that info does not have."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as stream:
            text = stream.read()
    except OSError:
        return {}
    facts: MapFields = {}
    for line in text.splitlines():
        key, colon, value = line.partition(b":\t")
        if not colon:
            continue
        if key == b"frozen":
            facts["frozen"] = value == b"1"
        elif key == b"memlock":
            facts["memlock"] = int(value)
        elif key == b"owner_prog_type":
            facts["owner_prog_type"] = int(value)
        elif key == b"owner_jited":
            facts["owner_jited"] = int(value)
    return facts


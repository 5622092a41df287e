"""What bpf_map_info does not tell of maps: templates of inner maps, NUMA nodes, structures of struct_ops maps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import needs
from bpflens.errors import InputError, NotFound
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.maps.map_attributes import InnerTemplate, map_attributes
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.maps.struct_ops import STATES, struct_ops
from bpflens.kernel.programs.load import create_map, load_btf
from bpflens.kernel.recorder.program import functions_btf

pytestmark = pytest.mark.live
NUMA_NODE, NO_PREALLOC = 1 << 2, 1


def id_of(fd: int) -> int:
    id = map_by_fd(fd, types=False).id
    assert id is not None
    return id


def test_templates_and_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an ordinary map, one on a NUMA node, and a map of maps; from a cache too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fds = [create_map(MapType.ARRAY, 4, 8, 5), create_map(MapType.HASH, 4, 24, 7, flags=NO_PREALLOC | NUMA_NODE, numa_node=0)]
    try:
        fds.append(create_map(MapType.ARRAY_OF_MAPS, 4, 4, 3, inner_fd=fds[1]))
        plain, node, outer = map(id_of, fds)
        learnt, remembered = map_attributes(), map_attributes()
        assert list(tmp_path.rglob("map_attributes.json")), "the program was put together once"
        for found in (learnt, remembered):
            assert (found[plain].numa_node, found[plain].inner) == (-1, None)
            assert (found[node].numa_node, found[node].inner) == (0, None)
            assert found[outer].inner == InnerTemplate(MapType.HASH, 4, 24, 7, NO_PREALLOC | NUMA_NODE)
            assert len({found[id].address for id in (plain, node, outer)}) == 3
    finally:
        for fd in fds:
            os.close(fd)


def test_a_structure_without_programs() -> None:
    """A struct_ops map that nothing was put into: nothing is registered."""
    value = vmlinux().find("bpf_struct_ops_tcp_congestion_ops")
    needs.kernel_feature(value is not None, "struct_ops of tcp_congestion_ops")
    assert value is not None
    types = load_btf(functions_btf(()))  # the map wants some types of its maker's
    fd = create_map(MapType.STRUCT_OPS, 4, vmlinux().size(value), 1, btf_fd=types, vmlinux_value_type_id=value)
    os.close(types)
    try:
        found = struct_ops(id_of(fd))
        assert (found.struct, STATES[found.state], found.programs) == ("tcp_congestion_ops", "init", {})
    finally:
        os.close(fd)


def test_maps_without_a_structure() -> None:
    fd = create_map(MapType.ARRAY, 4, 8, 5)
    try:
        id = id_of(fd)
        with pytest.raises(InputError, match="is not a struct_ops map"):
            struct_ops(id)
    finally:
        os.close(fd)
    with pytest.raises(NotFound):
        struct_ops(0x7FFF_FFF0)

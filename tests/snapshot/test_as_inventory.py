"""A snapshot listed as a machine is."""

from __future__ import annotations

import struct
from pathlib import Path

from bpflens.formats.snapshot.manifest import SavedAttachment, SavedHolder, SavedPin
from bpflens.inventory.graph import MapNode, ProgNode
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.programs.loaded import MapHead
from bpflens.snapshot.as_inventory import inventory_of, tree_of
from snapshot.made import archive, data, map, program

JUMPS = struct.pack("=IIII", 0, 13, 3, 14)


def head(id: int, type: int, value: int = 8) -> MapHead:
    return MapHead(id, type, 4, value, 16, 0, f"map{id}", 0)


def test_rows(tmp_path: Path) -> None:
    """Attachments, members of structures, entries of jump tables, and programs that hung on nothing: pinned, held, kept by nothing."""
    jumps = map(8, MapType.PROG_ARRAY, value=4, data=data(8, "records", 2, 4, 4, ids_of="programs"))
    ops = map(9, MapType.STRUCT_OPS, struct="tcp_congestion_ops", members={"init": 15}, holders=(SavedHolder(7, "agent", 3),))
    attachments = (
        SavedAttachment("xdp/native", "dev:eth0", 12, link=4, netns=17, netns_name="blue", details={"ifindex": 2}, pins=(SavedPin("/x"),)),
        SavedAttachment("socket/packet", "sock:7", classic="c.bin", holders=(SavedHolder(8, "dump", 5),)),
        SavedAttachment("struct_ops", "map:9", map=9),
    )
    programs = (
        program(12, maps=(8,)), program(13), program(14), program(15), program(16, pins=(SavedPin("/p"),)),
        program(17, holders=(SavedHolder(9, "held", 6),)), program(18, full_name="prog18_with_a_long_name"),
    )  # fmt: skip
    members = {"maps/8/data.bin": JUMPS, "c.bin": b"classic!"}
    with archive(tmp_path / "x", members, programs=programs, maps=(jumps, ops), attachments=attachments) as opened:
        found = inventory_of(opened)
    assert [(row.kind, row.object, row.prog_id, row.classic) for row in found.rows] == [
        ("xdp/native", "dev:eth0", 12, None), ("socket/packet", "sock:7", None, b"classic!"),
        ("prog_array", "map:8[0]", 13, None), ("prog_array", "map:8[3]", 14, None),
        ("struct_ops", "map:9 tcp_congestion_ops.init", 15, None),
        ("pin", "pin:/p", 16, None), ("fd", "fd:9/6", 17, None), ("held", "(by nothing that is known)", 18, None),
    ]  # fmt: skip
    assert found.rows[0].details == {"ifindex": 2, "link": 4, "pins": ["/x"]} and found.namespaces[17].name == "blue"
    assert [holder.comm for holder in found.rows[1].holders] == ["dump"]
    assert found.notes == ["as saved on box, Linux 6.18.0, 2026-01-01"] and found.full_names == {18: "prog18_with_a_long_name"}
    assert found.maps.users == {8: [12]} and [holder.pid for holder in found.maps.holders[9]] == [7]
    assert found.programs is not None and found.programs[12].gpl_compatible and found.programs[12].nr_map_ids == 1


def test_trees(tmp_path: Path) -> None:
    """As of a machine: a map is shown once; a program that is not in the file has nothing below it."""
    jumps = map(8, MapType.PROG_ARRAY, value=4, data=data(8, "records", 2, 4, 4, ids_of="programs"))
    parts = {"programs": (program(12, maps=(7, 8)), program(13, maps=(8, 9))), "maps": (map(7), jumps)}
    with archive(tmp_path / "x", {"maps/8/data.bin": JUMPS}, **parts) as opened:
        tree = tree_of(opened)(12)
    array = head(8, MapType.PROG_ARRAY, 4)
    below = ProgNode(13, 0, (MapNode(8, array, above=True), MapNode(9, None)))
    assert tree == ProgNode(12, None, (MapNode(7, head(7, MapType.HASH)), MapNode(8, array, (below, ProgNode(14, 3, ())))))

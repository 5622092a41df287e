"""Contents of maps decoded by their types, keys and values as people write them, and everything known of programs and maps."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.attachment import Attachment, Holder
from bpflens.btf.btf import Btf
from bpflens.btf.build import BtfBuilder
from bpflens.errors import InputError
from bpflens.inventory import around
from bpflens.inventory.around import Surroundings
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.map_data import possible_cpus, update
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map, load_btf
from bpflens.maps.contents import Entry, contents
from bpflens.maps.readable import Reader, readable
from bpflens.overview import MapFacts, ProgramFacts, overview
from bpflens.program import Isa, Map, Origin, Program


class Types:
    """A few types, by the names of their C declarations."""

    def __init__(self) -> None:
        build = self.build = BtfBuilder()
        self.u8, self.u16, self.u32, self.u64 = (build.add_int(f"u{8 * size}", size) for size in (1, 2, 4, 8))
        plain = ((16, self.u16), (32, self.u32), (64, self.u64))
        self.be16, self.be32, self.be64 = (build.add_typedef(f"__be{bits}", id) for bits, id in plain)

    def array(self, element: int, count: int) -> int:
        return self.build.add_array(element, count, self.u32)

    def struct(self, name: str, size: int, *members: tuple[str, int, int]) -> int:
        return self.build.add_struct(name, size, [(member, id, 8 * at) for member, id, at in members])

    def btf(self) -> Btf:
        return Btf.parse(self.build.build())


def value(types: Types, id: int, raw: bytes, **options: object) -> object:
    return Reader(types.btf(), id, **options).value(raw)  # type: ignore[arg-type]


# --- as people write them ---


@pytest.mark.parametrize(("name", "raw", "expected"), [
    ("saddr", b"\x0a\0\0\1", "10.0.0.1"), ("dst_ip", b"\x0a\0\0\1", "10.0.0.1"), ("ip4", b"\x0a\0\0\1", "10.0.0.1"),
    ("zip", b"\x0a\0\0\1", 0x0100000A), ("ipx_count", b"\x0a\0\0\1", 0x0100000A), ("addresses", b"\x0a\0\0\1", 0x0100000A),
])  # fmt: skip
def test_addresses_by_the_name(name: str, raw: bytes, expected: object) -> None:
    """A plain number of 4 bytes is an address where its name says so; other names say nothing."""
    types = Types()
    id = types.struct("s", 4, (name, types.u32, 0))
    assert value(types, id, raw) == {name: expected}


def test_numbers_in_network_order() -> None:
    """`__be16`, `__be32` and `__be64` are numbers; with the name of an address the second is one."""
    types = Types()
    id = types.struct("s", 24, ("dport", types.be16, 0), ("mark", types.be32, 4), ("daddr", types.be32, 8), ("id", types.be64, 16))
    raw = b"\0\x50\0\0" + b"\0\0\1\0" + b"\x0a\0\0\1" + bytes(4) + b"\0" * 7 + b"\5"
    assert value(types, id, raw) == {"dport": 80, "mark": 256, "daddr": "10.0.0.1", "id": 5}


def test_hardware_addresses_and_ipv6() -> None:
    types = Types()
    six, sixteen = types.array(types.u8, 6), types.array(types.u8, 16)
    in6 = types.struct("in6_addr", 16, ("s6_addr", sixteen, 0))
    id = types.struct("s", 44, ("h_dest", six, 0), ("counts", six, 6), ("src_addr6", sixteen, 12), ("peer", in6, 28))
    raw = bytes(range(6)) + bytes(range(6)) + bytes(15) + b"\1" + bytes(15) + b"\2"
    found = value(types, id, raw)
    assert isinstance(found, dict)
    assert found == {"h_dest": "00:01:02:03:04:05", "counts": [0, 1, 2, 3, 4, 5], "src_addr6": "::1", "peer": "::2"}


def test_arrays_and_members_without_names() -> None:
    """Within arrays as alone; an unnamed structure's members are its parent's; bits are as they were."""
    types = Types()
    inner = types.build.add_struct("", 4, [("saddr", types.u32, 0)])
    members = [("", inner, 0), ("list", types.array(types.be16, 2), 32), ("flag", types.u32, 64, 3), ("rest", types.u32, 67, 5)]
    id = types.build.add_struct("s", 16, members)
    raw = b"\x0a\0\0\1" + b"\0\1\0\2" + bytes([0b10101_011]) + bytes(7)
    assert value(types, id, raw) == {"saddr": "10.0.0.1", "list": [1, 2], "flag": 0b011, "rest": 0b10101}


@given(st.integers(0, 32), st.ip_addresses(v=4))
def test_prefixes(length: int, address: ipaddress.IPv4Address) -> None:
    """Of a trie's keys, whatever the type says beside."""
    types = Types()
    raw = struct.pack("<I", length) + address.packed
    id = types.struct("key", 8, ("prefixlen", types.u32, 0), ("data", types.u32, 4))
    assert value(types, id, raw, lpm=True) == f"{address}/{length}"
    assert value(types, id, struct.pack("<I", 33) + address.packed, lpm=True) != f"{address}/33"


def test_variables_and_values_without_types() -> None:
    types = Types()
    assert value(types, types.u32, b"\x0a\0\0\1", name="server_ip") == "10.0.0.1" and value(types, types.u32, b"\5\0\0\0") == 5
    assert readable(None, 0, None) is None and readable(None, 0, b"\5\0\0\0") == 5 and readable(None, 0, b"\1\2\3") == "010203"
    assert readable(types.btf(), types.u64, b"\5\0\0\0") == 5, "a type that does not fit is left alone"
    with pytest.raises(InputError):
        value(types, types.u64, b"\5")
    assert Reader(types.btf(), types.u32).plain and not Reader(types.btf(), types.be32).plain


# --- contents ---


@pytest.mark.live
def test_of_the_kernel() -> None:
    """So many elements, and whether there are more; values of all processors; programs of device maps; by types where there are some."""
    types = Types()
    key = types.struct("key", 4, ("saddr", types.u32, 0))
    btf = load_btf(types.build.build())
    fds = [create_map(MapType.HASH, 4, 4, 8, btf_fd=btf, key_type_id=key, value_type_id=types.be32), btf]
    try:
        for number in (1, 2, 3):
            update(fds[0], bytes([10, 0, 0, number]), struct.pack(">I", number))
        one = map_by_fd(fds[0])
        found = contents(one, 2)
        assert len(found.entries) == 2 and found.more and found.reason is None
        whole = contents(one, 3)
        assert not whole.more and {entry.key["saddr"]: entry.value for entry in whole.entries} == {f"10.0.0.{n}": n for n in (1, 2, 3)}
        assert contents(one, 0).entries == ()
        cpus = possible_cpus()
        fds.append(create_map(MapType.PERCPU_ARRAY, 4, 2, 1))
        update(fds[-1], bytes(4), struct.pack("=H6x", 7) * cpus)
        assert contents(map_by_fd(fds[-1]), 9).entries == (Entry(bytes(4), struct.pack("=H6x", 7) * cpus, 0, [7] * cpus),)
        fds.append(create_map(MapType.DEVMAP, 4, 8, 2))
        update(fds[-1], bytes(4), struct.pack("=Ii", 1, -1))
        assert contents(map_by_fd(fds[-1]), 9).entries[0].value == {"ifindex": 1, "prog_id": 0}
        fds.append(create_map(MapType.QUEUE, 0, 4, 2))
        assert "a queue has no keys" in (contents(map_by_fd(fds[-1]), 9).reason or "")
    finally:
        close(*fds)
    assert contents(one, 9).reason is not None, "it has gone"


def test_of_an_object() -> None:
    """Its variables by their types; of other maps a file has nothing."""
    types = Types()
    variable = types.build.add_var("limit", types.u32, 1)
    section = types.build.add_datasec(".data", 8, [(variable, 4, 4)])
    variables = {0: ("a", 4, "int"), 4: ("limit", 4, "u32")}
    map = Map(".data", MapType.ARRAY, 4, 8, 1, value_type_id=section, data=struct.pack("=II", 1, 2), datasec=variables)
    assert contents(map, 9, types.btf()).entries == (Entry(b"", map.data, None, {"a": None, "limit": 2}),)
    assert contents(Map("m", MapType.HASH, 4, 8, 1), 9).reason == "an object file has no contents of this map"


# --- overview ---


def test_everything_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """One walk for all programs and maps; of a file's program nothing is looked for."""
    asked = []
    holder, hook = Holder(7, "agent", 3), Attachment("xdp", "dev:x")
    found = Surroundings({12: (hook,)}, {12: (holder,)}, {12: ("/p",)}, {7: (holder,)}, {7: ("/m",)}, {7: (12,)}, {}, (("x", "CAP_BPF"),))

    def surroundings(prog_ids, map_ids, *, attachments, deep):
        asked.append((set(prog_ids), set(map_ids), attachments, deep))
        return found

    monkeypatch.setattr(around, "surroundings", surroundings)
    monkeypatch.setattr(around, "attach_target", lambda program: "vfs_read")
    monkeypatch.setattr(around, "stats_enabled", lambda: True)
    map, file_map = Map("m", MapType.HASH, 4, 8, 1, id=7), Map("f", MapType.HASH, 4, 8, 1)
    loaded = Program(Isa.EXTENDED, b"", Origin("kernel", "id:12"), id=12, maps=(map,))
    told = Program(Isa.EXTENDED, b"", Origin("elf", "x.o"), maps=(file_map,), holders=(holder,))
    result = overview([loaded, told], [map], deep=False)
    assert asked == [({12}, {7}, True, False)] and result.denied == (("x", "CAP_BPF"),)
    (one, facts, maps), (other, other_facts, other_maps) = result.programs
    assert one.attachments == (hook,) and facts == ProgramFacts("vfs_read", ("/p",), (holder,), True, False)
    assert maps == ((map, MapFacts(("/m",), (holder,), (12,))),) and result.maps == maps
    assert other is told or other == told
    assert other_facts == ProgramFacts(holders=(holder,)) and other_maps == ((file_map, MapFacts()),)
    asked.clear()
    assert overview([told], elements=5).programs[0][2][0][1].contents.reason == "an object file has no contents of this map" and asked == []


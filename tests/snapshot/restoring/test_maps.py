"""Maps, programs and their places made again, one step at a time; descriptors and pins go with the maker."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bpflens.errors import InputError, KernelError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedInner, SavedSymbol, SavedTarget
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import AttachType, MapType, ProgType
from bpflens.kernel.descriptors import close
from bpflens.kernel.maps.map_data import items, lookup, possible_cpus, update
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.pins import get, pin, pinned_object
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.snapshot.restoring import maps, programs
from bpflens.snapshot.restoring.journal import Journal
from bpflens.snapshot.restoring.maker import Maker
from bpflens.snapshot.restoring.options import RestoreOptions
from snapshot.made import RETURN_0, archive, data, map, program

pytestmark = pytest.mark.live
DIRECTORY = f"/sys/fs/bpf/bl_restoring{os.getpid()}"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def maker(
    stack: ExitStack, path: Path, members: dict[str, bytes] | None = None, options: RestoreOptions | None = None, **parts: object
) -> Maker:
    """Of a snapshot; what it makes goes with the stack, journal and all."""
    opened: Archive = stack.enter_context(archive(path, members, **parts))
    made = Maker(opened, options or RestoreOptions())
    stack.callback(made.close)
    return made


def made(stack: ExitStack, path: Path, saved, content: bytes = b"", options: RestoreOptions | None = None) -> tuple[Maker, int]:
    """A maker that has created one map; its descriptor."""
    one = maker(stack, path, {f"maps/{saved.id}/data.bin": content} if content else {}, options, maps=(saved,))
    maps.create(one, saved)
    return one, one.maps[saved.id]


# --- maps ---


def test_attributes(stack: ExitStack, tmp_path: Path) -> None:
    _, fd = made(stack, tmp_path / "x", map(7, MapType.LRU_HASH, 4, 24, 10))
    found = map_by_fd(fd, types=False)
    assert (found.name, found.type, found.key_size, found.value_size, found.max_entries) == ("map7", MapType.LRU_HASH, 4, 24, 10)
    with pytest.raises(KernelError, match="map 8 map8: cannot be created"):
        made(stack, tmp_path / "y", map(8, MapType.HASH, 4, 0, 0))


def test_contents(stack: ExitStack, tmp_path: Path) -> None:
    """Records, values in order, elements of a queue from the oldest on."""
    records = struct.pack("=IQIQ", 5, 50, 7, 70)
    one, fd = made(stack, tmp_path / "h", saved := map(1, data=data(1, "records", 2, 4, 8)), records)
    maps.fill(one, saved)
    assert dict(items(fd)) == {struct.pack("=I", 5): struct.pack("=Q", 50), struct.pack("=I", 7): struct.pack("=Q", 70)}
    saved = map(2, MapType.ARRAY, entries=3, data=data(2, "values", 3, 4, 8))
    one, fd = made(stack, tmp_path / "a", saved, struct.pack("=3Q", 1, 2, 3))
    maps.fill(one, saved)
    assert [lookup(fd, struct.pack("=I", index), 8) for index in range(3)] == [struct.pack("=Q", number) for number in (1, 2, 3)]
    from bpflens.kernel.maps.map_data import pop

    queue = map(3, MapType.QUEUE, 0, 4, 4, data=data(3, "values", 2, 0, 4))
    one, fd = made(stack, tmp_path / "q", queue, struct.pack("=II", 8, 9))
    maps.fill(one, queue)
    assert [pop(fd, 4) for _ in range(2)] == [struct.pack("=I", 8), struct.pack("=I", 9)]


def test_contents_of_another_size(stack: ExitStack, tmp_path: Path) -> None:
    one, _ = made(stack, tmp_path / "x", saved := map(1, data=data(1, "records", 3, 4, 8)), bytes(24))
    with pytest.raises(InputError, match="do not have the size that their number says"):
        maps.fill(one, saved)


@pytest.mark.parametrize("cpus", [1, 64])
def test_values_of_other_cpus(stack: ExitStack, tmp_path: Path, cpus: int) -> None:
    """Parts of processors that are not here are left out; those of more than there were are zero."""
    here = possible_cpus()
    values = [struct.pack(f"={cpus}Q", *range(start, start + cpus)) for start in (100, 200)]
    saved = map(1, MapType.PERCPU_ARRAY, entries=2, data=data(1, "values", 2, 4, 8 * cpus, cpus=cpus))
    one, fd = made(stack, tmp_path / "x", saved, b"".join(values))
    maps.fill(one, saved)
    for index, start in enumerate((100, 200)):
        found = struct.unpack(f"={here}Q", lookup(fd, struct.pack("=I", index), 8 * here) or b"")
        assert found == tuple(start + number if number < cpus else 0 for number in range(here))


def test_frozen(stack: ExitStack, tmp_path: Path) -> None:
    one, fd = made(stack, tmp_path / "x", saved := map(1, MapType.ARRAY, entries=1))
    maps.freeze_map(one, saved)
    with pytest.raises(KernelError):
        update(fd, bytes(4), bytes(8))


def test_elements_that_are_programs(stack: ExitStack, tmp_path: Path) -> None:
    """By their new descriptors; one that was not restored is left out, and said."""
    saved = map(1, MapType.PROG_ARRAY, value=4, data=data(1, "records", 2, 4, 4, ids_of="programs"))
    one, fd = made(stack, tmp_path / "x", saved, struct.pack("=4I", 0, 12, 3, 13))
    one.programs[12] = one.own(load_program(RETURN_0, ProgType.SOCKET_FILTER))
    maps.fill_elements(one, saved)
    assert dict(items(fd)) == {bytes(4): struct.pack("=I", prog_info_by_fd(one.programs[12]).id)}
    assert one.notes == ["map 1 map1: its element 03000000 (program 13) was not restored"] and one.partial == {1}
    update(fd, bytes(4), struct.pack("=I", one.programs[12]))


def test_templates_of_inner_maps(stack: ExitStack, tmp_path: Path) -> None:
    """An inner map that is like the template is the template; else one is made. Inner maps may have more entries."""
    template = SavedInner(MapType.ARRAY, 4, 8, 5)
    inner, longer = map(2, MapType.ARRAY, entries=5), map(3, MapType.ARRAY, entries=9)
    outer = map(1, MapType.ARRAY_OF_MAPS, value=4, inner=template, data=data(1, "records", 1, 4, 4, ids_of="maps"))
    for number, one in ((2, inner), (3, longer)):
        making = maker(stack, tmp_path / str(number), {"maps/1/data.bin": struct.pack("=II", 0, number)}, maps=(outer, one))
        maps.create(making, one)
        maps.create(making, outer)
        if number == 2:
            assert maps._inner(making, outer) == making.maps[2], "no other one was made"
            maps.fill_elements(making, outer)
            assert dict(items(making.maps[1])) == {bytes(4): struct.pack("=I", map_by_fd(making.maps[2], types=False).id)}
    with pytest.raises(KernelError, match="what its inner maps must be like is not known"):
        made(stack, tmp_path / "none", map(4, MapType.ARRAY_OF_MAPS, value=4))


def test_devices_by_their_names(stack: ExitStack, tmp_path: Path) -> None:
    """An index is another one here; a name that is not here is an error; a program that is not restored is left out of the element."""
    saved = map(1, MapType.DEVMAP, value=8, data=data(1, "records", 1, 4, 8, ids_of="device", devices={"5": "lo"}))
    one, fd = made(stack, tmp_path / "x", saved, struct.pack("=III", 2, 5, 77))
    maps.fill_elements(one, saved)
    assert dict(items(fd)) == {struct.pack("=I", 2): struct.pack("=II", 1, 0)} and one.partial == {1}
    one, _ = made(stack, tmp_path / "y", saved, struct.pack("=III", 2, 5, 0), RestoreOptions(devices={"lo": "nosuch0"}))
    with pytest.raises(KernelError, match="there is no device nosuch0 here"):
        maps.fill_elements(one, saved)


# --- pins ---


@pytest.fixture
def bpffs() -> Iterator[str]:
    """A directory of the BPF filesystem."""
    os.mkdir(DIRECTORY)
    yield DIRECTORY
    for base, directories, files in os.walk(DIRECTORY, topdown=False):
        for name in files:
            os.unlink(f"{base}/{name}")
        for name in directories:
            os.rmdir(f"{base}/{name}")
    os.rmdir(DIRECTORY)


def test_a_pinned_map_is_used(stack: ExitStack, tmp_path: Path, bpffs: str) -> None:
    """Where it has the shape of the saved one."""
    fd = create_map(MapType.HASH, 4, 8, 16)
    pin(fd, f"{bpffs}/map")
    id = map_by_fd(fd, types=False).id
    close(fd)
    one = maker(stack, tmp_path / "x", maps=(map(1), map(2, entries=17)))
    maps.use_pinned(one, map(1), f"{bpffs}/map")
    assert map_by_fd(one.maps[1], types=False).id == id and one.reused == {1: f"{bpffs}/map"}
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(KernelError, match="is a map of another shape than the saved map 2 map2"):
        maps.open_pinned(map(2, entries=17), f"{bpffs}/map")
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_what_was_done_is_undone(stack: ExitStack, tmp_path: Path, bpffs: str) -> None:
    """Pins with their directories; unless it is kept."""
    for keep in (False, True):
        one, fd = made(stack, tmp_path / str(keep), map(1))
        one.pin(fd, f"{bpffs}/deep/down/map")
        assert pinned_object(f"{bpffs}/deep/down/map") == ("map", map_by_fd(fd, types=False).id)
        if keep:
            one.keep()
        one.close()
        assert os.path.exists(f"{bpffs}/deep/down/map") == keep and os.path.exists(f"{bpffs}/deep") == keep
        assert one.undone and not os.path.exists(one.journal.path)


def test_a_pin_in_the_way(stack: ExitStack, tmp_path: Path, bpffs: str) -> None:
    """An error, or replaced, and back again where the rest fails."""
    there = create_map(MapType.ARRAY, 4, 8, 1)
    stack.callback(close, there)
    pin(there, f"{bpffs}/map")
    one, fd = made(stack, tmp_path / "a", map(1))
    with pytest.raises(KernelError, match="exists already"):
        one.pin(fd, f"{bpffs}/map")
    one, fd = made(stack, tmp_path / "b", map(1), options=RestoreOptions(replace=True))
    one.pin(fd, f"{bpffs}/map")
    assert pinned_object(f"{bpffs}/map") == ("map", map_by_fd(fd, types=False).id)
    one.close()
    back = get(f"{bpffs}/map")
    assert map_by_fd(back, types=False).id == map_by_fd(there, types=False).id and os.listdir(bpffs) == ["map"]
    close(back)


def test_no_bpf_filesystem(stack: ExitStack, tmp_path: Path) -> None:
    one, fd = made(stack, tmp_path / "x", map(1))
    with pytest.raises(KernelError, match="is not on a BPF filesystem"):
        one.pin(fd, str(tmp_path / "no" / "map"))
    assert not (tmp_path / "no").exists() and isinstance(one.journal, Journal)


# --- programs ---


def load(stack: ExitStack, path: Path, code: bytes, made_maps: tuple[int, ...] = (), **more: object) -> tuple[Maker, int]:
    """(maker, descriptor) of a restored program."""
    saved = program(12, **{"type": ProgType.SOCKET_FILTER, "original": "p.bin", **more})  # type: ignore[arg-type]
    one = maker(stack, path, {"p.bin": code}, programs=(saved,))
    for id in made_maps:
        one.maps[id] = one.own(create_map(MapType.ARRAY, 4, 8, 1))
    programs.load(one, saved)
    return one, one.programs[12]


def test_references_to_maps_are_bound(stack: ExitStack, tmp_path: Path) -> None:
    """By descriptor and by index."""
    by_fd = Insn.make(op.LD_IMM64, 1, op.PSEUDO_MAP_FD, 0, 99)
    by_index = Insn.make(op.LD_IMM64, 1, op.PSEUDO_MAP_IDX, 0, 2)
    for number, first in enumerate((by_fd, by_index)):
        code = b"".join(word.to_bytes(8, "little") for word in (first.word, 0)) + RETURN_0
        one, fd = load(stack, tmp_path / str(number), code, (7,), references=((0, 7),))
        from bpflens.kernel.programs.loaded import prog_map_ids

        assert prog_map_ids(prog_info_by_fd(fd).id) == (map_by_fd(one.maps[7], types=False).id,)


@pytest.mark.parametrize(("more", "message"), [
    ({"references": ((1, 7),)}, "does not stand where the manifest says"), ({"references": ((9, 7),)}, "does not stand where"),
    ({"symbols": (SavedSymbol(77, "kfunc", "f"),)}, "a symbol does not stand where the manifest says"),
    ({"symbols": (SavedSymbol(0, "kfunc", "no_such_function"),)}, "this kernel has no function no_such_function for programs"),
    ({"symbols": (SavedSymbol(0, "ksym", "no_such_variable"),)}, "this kernel has no variable no_such_variable"),
    ({"target": SavedTarget("no_such_function"), "type": ProgType.TRACING}, "this kernel has no no_such_function, which it was loaded for"),
    ({"target": SavedTarget("f", "", 99)}, "the program 99 that it was loaded for is not restored"),
])  # fmt: skip
def test_what_this_kernel_cannot_bind(stack: ExitStack, tmp_path: Path, more: dict[str, object], message: str) -> None:
    with pytest.raises((InputError, KernelError), match=message):
        load(stack, tmp_path / "x", RETURN_0, (7,), **more)


def test_a_map_that_the_snapshot_does_not_have(stack: ExitStack, tmp_path: Path) -> None:
    code = Insn.make(op.LD_IMM64, 1, op.PSEUDO_MAP_FD).word.to_bytes(8, "little") + bytes(8) + RETURN_0
    with pytest.raises(InputError, match="it refers to map 7, which the snapshot does not have"):
        load(stack, tmp_path / "x", code, references=((0, 7),))


def test_loaded_for_a_function(stack: ExitStack, tmp_path: Path) -> None:
    """By its name, whose number is another one in every kernel."""
    _, fd = load(stack, tmp_path / "x", RETURN_0, type=ProgType.TRACING, target=SavedTarget("bpf_iter_task"),
                 expected_attach_type=AttachType.TRACE_ITER)  # fmt: skip
    assert prog_info_by_fd(fd).type == ProgType.TRACING


def test_the_verifiers_words(stack: ExitStack, tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="program 12 prog12: cannot load"):
        load(stack, tmp_path / "x", RETURN_0[8:])

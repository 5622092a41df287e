"""What was restored compared with what was saved: tags, images with map ids mapped, attributes, contents. Used by restore and by verify.

    program 12 xdp_main: tag 6deef7..., image of 47 slots, load attributes    same
    map 7 counters:      attributes, 200 entries                              same

Contents in any order are compared exactly up to `EXACT_RECORDS` elements of `EXACT_BYTES` together; above that by their number and the sum
of a keyed 64-bit hash of each element (SipHash with a key of this process: equal sums of different contents have a chance of 2^-64).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from bpflens.errors import BpflensError, KernelError
from bpflens.formats.snapshot.archive import Archive
from bpflens.formats.snapshot.manifest import SavedData, SavedMap, SavedProgram
from bpflens.isa.extended import opcodes as op
from bpflens.kernel.programs.prog_info import ProgDump, prog_dump
from bpflens.snapshot.restoring.elements import checked_data, records
from bpflens.snapshot.taking.memory import KernelMemory

__all__ = ("EXACT_BYTES", "EXACT_RECORDS", "Check", "check_map", "check_program", "compared_exactly", "id_mapper")

EXACT_RECORDS, EXACT_BYTES = 100_000, 16 << 20
_VALUES_OF = frozenset({op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX, op.PSEUDO_MAP_IDX_VALUE})
_MASK = (1 << 64) - 1
_ATTRIBUTES = (
    "type", "key_size", "value_size", "max_entries", "flags", "map_extra", "numa_node", "key_type_id", "value_type_id", "struct", "frozen",
    "inner", "name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: `what` of `object`; `same` None where it could not be compared; `detail` says what differs, or how it was proved."""

    object: str
    what: str
    same: bool | None
    detail: str = ""


def check_program(archive: Archive, saved: SavedProgram, fd: int, map_ids: Mapping[int, int]) -> list[Check]:
    """The program behind `fd` against the saved one. `map_ids`: new id -> saved id."""
    from bpflens.kernel.programs.load_attributes import read_attributes

    name = f"program {saved.id} {saved.name}".rstrip()
    dump = prog_dump(fd, name)
    checks = [_check_tag(archive, saved, dump, name), _check_image(archive, saved, dump, map_ids, name)]
    attributes = read_attributes(dump.info.id)
    if attributes is None or saved.flags is None:
        checks.append(Check(name, "load attributes", None, "they cannot be read here, or could not when it was saved"))
    else:
        differing = [
            text for text, was, now in (
                ("expected attach type", saved.expected_attach_type, attributes.expected_attach_type),
                ("flags", saved.flags, attributes.flags), ("type", saved.type, dump.info.type),
                ("GPL", saved.license == "GPL", dump.info.gpl_compatible), ("name", saved.name, dump.info.name),
            ) if was != now
        ]  # fmt: skip
        checks.append(Check(name, "load attributes", not differing, ", ".join(differing)))
    return checks


def _check_tag(archive: Archive, saved: SavedProgram, dump: ProgDump, name: str) -> Check:
    if dump.info.tag == saved.tag:
        return Check(name, "tag", True, saved.tag)
    if saved.original is not None:
        from bpflens.isa.extended.insn import words
        from bpflens.original.image.tag import tags

        found = tags(list(words(archive.read(saved.original))))
        if dump.info.tag in found and (saved.tag in found or saved.grade == "equivalent"):
            return Check(name, "tag", True, f"{dump.info.tag}: this kernel hashes the same instructions by another algorithm")
    if saved.grade == "equivalent":
        return Check(name, "tag", None, f"{dump.info.tag} here, {saved.tag} there: code had been removed when it was loaded (equivalent)")
    return Check(name, "tag", False, f"{dump.info.tag} here, {saved.tag} in the snapshot")


def _check_image(archive: Archive, saved: SavedProgram, dump: ProgDump, map_ids: Mapping[int, int], name: str) -> Check:
    if saved.xlated is None or not dump.xlated:
        return Check(name, "image", None, "the kernel does not show it")
    from bpflens.isa.extended.insn import words
    from bpflens.original.image.blinding import canonical_zeros, unblind

    then, now = words(archive.read(saved.xlated)), words(dump.xlated)
    first, own = _difference(then, now, map_ids)
    how = "map ids mapped"
    if first is not None:  # with net.core.bpf_jit_harden constants stand as two random numbers
        plain = unblind(then), unblind(now)
        if plain[0].blinded or plain[1].blinded:
            first, own = _difference(canonical_zeros(plain[0].words), canonical_zeros(plain[1].words), map_ids)
            how += ", without the blinding of constants"
    if first is not None:
        return Check(name, "image", _other_kernel(archive), f"differs from slot {first} on; {len(now)} slots here, {len(then)} there")
    if own:
        how += f", but for {own} address{'es' * (own > 1)} of the program itself"
    return Check(name, "image", True, f"{len(now)} slots, {how}")


def _difference(then: Sequence[int], now: Sequence[int], map_ids: Mapping[int, int]) -> tuple[int | None, int]:
    """(the first slot that differs, None where none does; how many constants are two different kernel addresses).

    The verifier hands timers and work queues the address of the program itself (prog->aux, kernel/bpf/verifier.c, do_misc_fixups).
    """
    if len(then) != len(now):
        return min(len(then), len(now)), 0
    own = slot = 0
    while slot < len(now):
        a, b = then[slot], now[slot]
        wide = b & 0xFF == op.LD_IMM64 and slot + 1 < len(now)
        if wide and b >> 12 & 0xF in _VALUES_OF:
            b = b & 0xFFFFFFFF | map_ids.get(b >> 32, b >> 32) << 32
        second = wide and then[slot + 1] != now[slot + 1]
        if a != b or second:
            if not (wide and a & 0xFFFFFFFF == b & 0xFFFFFFFF and not b >> 12 & 0xF and _is_address(then, slot) and _is_address(now, slot)):
                return slot, own
            own += 1
        slot += 2 if wide else 1
    return None, own


def _is_address(words: Sequence[int], slot: int) -> bool:
    """Whether a 64-bit constant is a heap or vmalloc address of the kernel."""
    value = words[slot + 1] & 0xFFFFFFFF00000000 | words[slot] >> 32
    return 0xFF00_0000_0000_0000 <= value < 0xFFFF_FFFF_8000_0000


def _other_kernel(archive: Archive) -> bool | None:
    """An image that differs is a fault on the same kernel; another one rewrites differently (None: no answer)."""
    from bpflens.snapshot.save import kernel_identity

    here, there = kernel_identity(), archive.manifest.kernel
    same = (here.release, here.version, here.btf_sha256, here.boot_id) == (there.release, there.version, there.btf_sha256, there.boot_id)
    return False if same else None


def check_map(
    archive: Archive, saved: SavedMap, fd: int, memory: KernelMemory, ids: Mapping[str, Mapping[int, int]], *, data: bool = True
) -> list[Check]:
    """The map behind `fd` against the saved one. `ids`: "programs" and "maps", new id -> saved id. `data`: contents too."""
    from bpflens.kernel.maps.maps import map_by_fd
    from bpflens.snapshot.taking.maps import record_of_map

    name = f"map {saved.id} {saved.name}".rstrip()
    live = map_by_fd(fd, name, types=False)
    if live.id not in memory.attributes:
        from bpflens.kernel.maps.map_attributes import map_attributes

        memory.attributes = map_attributes()
    now = record_of_map(live, None, memory)
    unknown = not memory.attributes
    differing = [
        field for field in _ATTRIBUTES
        if getattr(now, field) != getattr(saved, field) and not (unknown and field in ("numa_node", "inner"))
    ]  # fmt: skip
    if saved.btf and not now.btf:
        differing.append("types")
    text = ", ".join(f"{field}: {getattr(now, field, None)} here, {getattr(saved, field, None)} in the snapshot" for field in differing[:3])
    checks = [Check(name, "attributes", not differing, text)]
    if data and saved.data is not None:
        try:
            checks.append(_check_data(archive, saved, fd, memory, ids, name))
        except KernelError as error:
            checks.append(Check(name, "contents", None, error.reason))
        except OSError as error:
            checks.append(Check(name, "contents", None, error.strerror or str(error)))
    return checks


def _check_data(
    archive: Archive, saved: SavedMap, fd: int, memory: KernelMemory, ids: Mapping[str, Mapping[int, int]], name: str
) -> Check:
    from bpflens.kernel.maps.maps import map_by_fd
    from bpflens.snapshot.taking.data import contents

    data = checked_data(archive, saved)
    found = contents(fd, map_by_fd(fd, name, types=False), memory)
    if isinstance(found, str):
        return Check(name, "contents", None, found)
    if (found.layout, found.key_size, found.cpus and data.cpus) != (data.layout, data.key_size, data.cpus):
        return Check(name, "contents", None, "they are read in another form here")
    if data.cpus and found.cpus != data.cpus:
        return Check(name, "contents", None, f"{found.cpus} CPUs here, {data.cpus} there")
    mapped = id_mapper(data, ids)
    now = (mapped(bytes(piece)) for piece in found.pieces()) if mapped else found.pieces()
    then: Iterable[bytes] = archive.pieces(data.member) if data.layout == "value" else records(archive, saved)
    if data.layout == "value":
        return _check_struct_ops(saved, b"".join(bytes(piece) for piece in found.pieces()), b"".join(then), name)
    if data.layout in ("values", "pages"):
        return _check_in_order(name, data, now, then)
    return _check_in_any_order(name, data, now, then, data.key_size + data.value_size)


def _check_struct_ops(saved: SavedMap, now: bytes, then: bytes, name: str) -> Check:
    """Functions by number of members (their programs are compared themselves), data members by bytes."""
    from bpflens.snapshot.restoring.struct_ops import plain_members

    if saved.type != 26:
        return Check(name, "contents", now == then, "")
    try:
        same = plain_members(saved, now) == plain_members(saved, then)
    except BpflensError as error:
        return Check(name, "contents", None, str(error))
    return Check(name, "contents", same, f"{saved.struct}: members that are no functions")


def id_mapper(data: SavedData, ids: Mapping[str, Mapping[int, int]]) -> Callable[[bytes], bytes] | None:
    """Replaces ids of this machine in a piece of live records by the saved ones."""
    if data.ids_of not in ("programs", "maps", "device", "cpu"):
        return None
    table = ids["maps" if data.ids_of == "maps" else "programs"]
    size, at = data.key_size + data.value_size, data.key_size + (0 if data.ids_of in ("programs", "maps") else 4)

    def mapped(piece: bytes) -> bytes:
        if data.value_size < 8 and data.ids_of in ("device", "cpu"):
            return piece
        out = bytearray(piece)
        for start in range(at, len(out), size):
            id = struct.unpack_from("=I", out, start)[0]
            struct.pack_into("=I", out, start, table.get(id, id))
        return bytes(out)

    return mapped


def _check_in_order(name: str, data: SavedData, now: Iterable[bytes | bytearray | memoryview], then: Iterable[bytes]) -> Check:
    import hashlib

    digests = []
    for pieces in (now, then):
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        digests.append(digest.digest())
    if digests[0] != digests[1]:
        return Check(name, "contents", False, "they differ")
    return Check(name, "contents", True, f"{data.entries} {data.layout}, by SHA-256")


def compared_exactly(entries: int, record: int) -> bool:
    """Whether contents of so many records of so many bytes are compared one by one: they are held in memory for that."""
    return entries <= EXACT_RECORDS and entries * record <= EXACT_BYTES


def _check_in_any_order(
    name: str, data: SavedData, now: Iterable[bytes | bytearray | memoryview], then: Iterable[bytes], record: int
) -> Check:
    layout = struct.Struct(f"{record}s")
    if compared_exactly(data.entries, record):
        left = set(chain.from_iterable(layout.iter_unpack(piece) for piece in then))
        more = 0
        for piece in now:
            for element in layout.iter_unpack(piece):
                if element in left:
                    left.discard(element)
                else:
                    more += 1
        if not left and not more:
            return Check(name, "contents", True, f"{data.entries} entries, compared one by one")
        return Check(name, "contents", False, f"{len(left)} of {data.entries} entries are missing or changed, {more} are new or changed")
    counts, sums = [], []
    for pieces in (now, then):
        count = total = 0
        for piece in pieces:
            count += len(piece) // record
            total = total + sum(map(hash, layout.iter_unpack(piece))) & _MASK
        counts.append(count)
        sums.append(total)
    if counts[0] == counts[1] and sums[0] == sums[1]:
        return Check(name, "contents", True, f"{data.entries} entries, by number and sum of a keyed 64-bit hash")
    numbers = f"{counts[0]} entries here, {counts[1]} in the snapshot"
    return Check(name, "contents", False, numbers if counts[0] != counts[1] else "they differ")

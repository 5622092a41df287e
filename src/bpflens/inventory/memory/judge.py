"""What each program image in the kernel is, by its own address and fields.

    a listed id              ──►  listed          an id that no list has      ──►  hidden, certainly
    main program's function  ──►  function        no id, no reference left    ──►  waiting for the end of an RCU grace period
    classic, its address is  ──►  found           classic, and nobody found   ──►  no holder
    among the rows found                          that holds it

Of an image that is not accounted for no more is read than `Judged` has. Members: struct bpf_prog, bpf_prog_aux (include/linux/bpf.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from bpflens.attachment import ProgInfo
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.memory.vmalloc import Area
from bpflens.isa.extended.uapi import ProgType
from bpflens.kernel.memory.reader import Reader
from bpflens.lean import NamedTuple

__all__ = ("EXPLAINED", "Finds", "Identity", "Judged", "finds_of", "judge")

LISTED, FUNCTION, SHIM, CLASSIC, OURS = "listed", "function", "hook of lsm_cgroup", "found", "ours"
HIDDEN, TWICE, OF_HIDDEN = "hidden", "its id is another's", "function of a hidden program"
FREED, LOADING, ORPHAN, UNREAD = "waiting to be freed", "being loaded", "no holder", "unread"
EXPLAINED = frozenset((LISTED, FUNCTION, SHIM, CLASSIC, OURS))
_MOST_FUNCTIONS = 4096
_COUNTED_BY_CODE = ("tc/", "xt_bpf", "team/")


Identity = tuple[int, int, int, int, int]


class Judged(NamedTuple):
    """An image. `insns` is its length, `load_time` in ns since boot (0: not known, or classic). `verdict` is one of the words above."""

    address: int
    size: int
    verdict: str
    id: int = 0
    type: int = 0
    insns: int = 0
    load_time: int = 0

    @property
    def identity(self) -> Identity:
        """What makes it this image and no other that came to the same address later."""
        return self.address, self.id, self.type, self.insns, self.load_time


class Finds(NamedTuple):
    """What a walk found: addresses of classic programs, the code of those that have none, BTF ids that lsm_cgroup programs hook."""

    addresses: frozenset[int]
    codes: tuple[bytes, ...]
    lsm_hooks: frozenset[int]


def finds_of(rows: Iterable[InventoryRow], programs: Mapping[int, ProgInfo]) -> Finds:
    """The classic programs that rows stand for, and the hooks of lsm_cgroup programs."""
    addresses: set[int] = set()
    codes: list[bytes] = []
    hooks: set[int] = set()
    for row in rows:
        if row.kind == "lsm_cgroup" and row.prog_id is not None and row.prog_id in programs:
            hooks.add(programs[row.prog_id].attach_btf_id or 0)
        if row.prog_id is not None:
            continue
        if "addresses" in row.details:
            addresses.update(row.details["addresses"])
        elif "address" in row.details:
            addresses.add(row.details["address"])
        elif row.classic is not None and row.kind.startswith(_COUNTED_BY_CODE):
            codes.append(row.classic)
    return Finds(frozenset(addresses), tuple(codes), frozenset(hooks))


class _Fields(NamedTuple):
    """What is read of an image."""

    area: Area
    id: int
    type: int
    insns: int
    references: int
    load_time: int
    attach_btf_id: int
    functions: int  # address of the array of struct bpf_prog pointers
    function_count: int


def judge(reader: Reader, areas: Iterable[Area], listed: Mapping[int, ProgInfo], finds: Finds) -> list[Judged]:
    """Every image with its verdict."""
    read: list[_Fields | Area] = [_read(reader, area) or area for area in areas]
    images = [image for image in read if isinstance(image, _Fields)]
    functions = {address for image in images if image.id in listed for address in _functions(reader, image)}
    hidden_functions = {address for image in images if image.id and image.id not in listed for address in _functions(reader, image)}
    claimed: set[int] = set()
    judged = [Judged(*area, verdict=UNREAD) for area in read if isinstance(area, Area)]
    for image in images:
        verdict = _verdict(image, reader.own_programs, listed, finds, functions, hidden_functions, claimed)
        judged.append(Judged(*image.area, verdict, image.id, image.type, image.insns, image.load_time))
    return _by_code(reader, judged, finds.codes)


def _verdict(
    image: _Fields, own: set[int], listed: Mapping[int, ProgInfo], finds: Finds, functions: set[int], hidden_functions: set[int],
    claimed: set[int],
) -> str:  # fmt: skip
    address = image.area.address
    if address in functions:
        return FUNCTION
    if address in hidden_functions:
        return OF_HIDDEN
    if image.id:
        if image.id in own:
            return OURS
        if image.id not in listed:
            return HIDDEN
        if image.id in claimed or listed[image.id].type != image.type:
            return TWICE
        claimed.add(image.id)
        return LISTED
    if not image.type:
        return CLASSIC if address in finds.addresses else ORPHAN
    if image.type == ProgType.LSM and image.attach_btf_id in finds.lsm_hooks:
        return SHIM
    return LOADING if image.references else FREED


def _read(reader: Reader, area: Area) -> _Fields | None:
    offset = reader.offset
    try:
        head = reader.read(area.address, offset("bpf_prog", "insnsi"))
        aux = _number(head, offset("bpf_prog", "aux"), 8)
        count_at = "real_func_cnt" if reader.has("bpf_prog_aux", "real_func_cnt") else "func_cnt"
        names = ("id", "refcnt", "load_time", "attach_btf_id", "func", count_at)
        body = reader.read(aux, max(offset("bpf_prog_aux", name) for name in names) + 8)
    except OSError:
        return None  # freed meanwhile
    id, references, load_time, attach, functions, count = (
        _number(body, offset("bpf_prog_aux", name), size) for name, size in zip(names, (4, 8, 8, 4, 8, 4), strict=True)
    )
    return _Fields(
        area, id, _number(head, offset("bpf_prog", "type"), 4), _number(head, offset("bpf_prog", "len"), 4), references, load_time, attach,
        functions, count,
    )  # fmt: skip


def _number(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "little")


def _functions(reader: Reader, image: _Fields) -> tuple[int, ...]:
    """The addresses of a program's functions, which are images of their own (kernel/bpf/verifier.c, jit_subprogs())."""
    if not image.functions or not 0 < image.function_count <= _MOST_FUNCTIONS:
        return ()
    try:
        return struct.unpack(f"<{image.function_count}Q", reader.read(image.functions, 8 * image.function_count))
    except OSError:
        return ()


def _by_code(reader: Reader, judged: list[Judged], codes: tuple[bytes, ...]) -> list[Judged]:
    """Filters of tc, iptables and team devices: no interface gives their address, so each takes one image with what its code becomes."""
    if not codes:
        return judged
    from bpflens.kernel.memory.converted import converted_codes

    wanted = converted_codes(reader, codes)
    left = [wanted[code] for code in codes if code in wanted]
    result = []
    for image in judged:
        if image.verdict == ORPHAN and left:
            try:
                code = reader.read(image.address + reader.offset("bpf_prog", "insnsi"), 8 * image.insns)
            except OSError:
                code = b""
            if code in left:
                left.remove(code)
                image = image._replace(verdict=CLASSIC)
        result.append(image)
    return result

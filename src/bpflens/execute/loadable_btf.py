"""BTF that the kernel takes: compilers describe what is elsewhere (kernel functions, kconfig values) as only a loader understands it.

    FUNC bpf_rcu_read_lock, extern    ──►   FUNC bpf_rcu_read_lock, global
    DATASEC .ksyms, size 0            ──►   STRUCT of as many numbers

Type ids stay what they are. As libbpf 1.x does it (bpf_object__collect_externs, bpf_object__sanitize_btf). Cost: linear in the types.
"""

from __future__ import annotations

import struct

from bpflens.btf.btf import Btf, Kind
from bpflens.errors import BpflensError

__all__ = ("loadable_btf",)

_GLOBAL, _EXTERN = 1, 2
_WORD = struct.Struct("=I")


def loadable_btf(blob: bytes) -> bytes:
    """The blob with externs as the kernel takes them; itself where there are none or where it is malformed."""
    try:
        btf = Btf.parse(blob)
        number = next((id for id in btf.ids(Kind.INT) if btf.size(id) == 4), 0)
        if not number:
            return blob
        out = bytearray(blob)
        for id in btf.ids(Kind.FUNC):
            if btf.linkage(id) == _EXTERN:
                _make_global(btf, id, out)
        for id in btf.ids(Kind.VAR):
            if btf.linkage(id) == _EXTERN:
                _number_of(btf, id, number, out)
        for id in btf.ids(Kind.DATASEC):
            if not btf.type(id).size or any(btf.kind(v.type_id) is Kind.FUNC for v in btf.variables(id)):
                _make_struct(btf, id, number, out)
    except BpflensError:
        return blob
    return bytes(out)


def _at(btf: Btf, id: int) -> int:
    """Where a type starts in the blob."""
    return btf.types_at + 4 * btf.position(id)


def _make_global(btf: Btf, id: int, out: bytearray) -> None:
    """A function of this program, whose parameters have names."""
    at = _at(btf, id)
    _WORD.pack_into(out, at + 4, Kind.FUNC << 24 | _GLOBAL)
    name = _WORD.unpack_from(out, at)[0]
    proto = btf.type(id).ref
    for index, (known, type_id) in enumerate(btf.params(proto)):
        if not known and type_id:
            _WORD.pack_into(out, _at(btf, proto) + 12 + 8 * index, name)


def _number_of(btf: Btf, id: int, number: int, out: bytearray) -> None:
    """A variable of this program."""
    at = _at(btf, id)
    _WORD.pack_into(out, at + 8, number)
    _WORD.pack_into(out, at + 12, _GLOBAL)


def _make_struct(btf: Btf, id: int, number: int, out: bytearray) -> None:
    at, count = _at(btf, id), btf.type(id).vlen
    _WORD.pack_into(out, at, 0)
    _WORD.pack_into(out, at + 4, Kind.STRUCT << 24 | count)
    _WORD.pack_into(out, at + 8, 4 * count)
    for index in range(count):
        struct.pack_into("=III", out, at + 12 + 12 * index, 0, number, 32 * index)

"""struct bpf_prog in kernel memory -> what it is.

An extended program has an id (aux->id). A classic one has none; its original is kept (orig_prog) for socket filters, reuseport groups
and, with CONFIG_CHECKPOINT_RESTORE, seccomp. Of others only the converted image exists, which begins with w0 ^= w0; w7 ^= w7; r6 = r1
(net/core/filter.c, bpf_convert_filter).
"""

from __future__ import annotations

from bpflens.kernel.memory.reader import Reader
from bpflens.lean import NamedTuple

__all__ = ("Image", "image_at")

_MOST_CLASSIC_INSNS, _MOST_INSNS = 4096, 1 << 20


class Image(NamedTuple):
    """A program in the kernel: `address` of its struct bpf_prog, `id` 0 for a classic one, whose code is `classic` or else `image`."""

    address: int
    id: int
    type: int
    classic: bytes | None = None
    image: bytes | None = None


def image_at(reader: Reader, address: int, code: bool = True) -> Image | None:
    """The program at an address; None where there is none. `code`: also the instructions of a classic one. OSError for a stale address."""
    if not address:
        return None
    offset = reader.offset
    head = reader.read(address, offset("bpf_prog", "insnsi"))

    def field(name: str, size: int) -> int:
        at = offset("bpf_prog", name)
        return int.from_bytes(head[at : at + size], "little")

    id = reader.u32(field("aux", 8) + offset("bpf_prog_aux", "id"))
    type, original, count = field("type", 4), field("orig_prog", 8), field("len", 4)
    if id or not code:
        return Image(address, id, type)
    if original:
        length = reader.u16(original + offset("sock_fprog_kern", "len"))
        if 0 < length <= _MOST_CLASSIC_INSNS:
            filter = reader.u64(original + offset("sock_fprog_kern", "filter"))
            return Image(address, 0, type, classic=reader.read(filter, 8 * length))
    if 0 < count <= _MOST_INSNS:
        return Image(address, 0, type, image=reader.read(address + offset("bpf_prog", "insnsi"), 8 * count))
    return Image(address, 0, type)

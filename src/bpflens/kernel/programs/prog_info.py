"""struct bpf_prog_info: what the kernel says of a program, and the arrays behind it, as raw facts.

Layout: include/uapi/linux/bpf.h; filled by bpf_prog_get_info_by_fd() (kernel/bpf/syscall.c, v6.18). Members behind
verified_insns came in v5.18, so an older kernel answers with a shorter structure: those are None then.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from bpflens.attachment import ProgInfo
from bpflens.kernel.sys.bpf import Buffer, all_ids, cmd, info_by_fd, opened
from bpflens.kernel.sys.layouts import Record
from bpflens.kernel.sys.uapi import BPF_PROG_INFO
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

__all__ = (
    "FUNC_INFO", "INFO_BYTES", "LINE_INFO", "ProgDump", "open_prog", "parse_prog_info", "prog_dump", "prog_ids", "prog_info",
    "prog_info_by_fd",
)  # fmt: skip

_INFO = Record(BPF_PROG_INFO)
INFO_BYTES = _INFO.size
_MEMBERS = {"uid": "created_by_uid", "xlated_len": "xlated_prog_len", "jited_len": "jited_prog_len"}  # the others have the kernel's names
_FACTS = _INFO.getter([_MEMBERS.get(field, field) for field in ProgInfo._fields])
_LATE = ("recursion_misses", "verified_insns", "attach_btf_obj_id", "attach_btf_id")  # the last of ProgInfo; they came in v5.12 to v5.18
FUNC_INFO = struct.Struct("=II")  # struct bpf_func_info: insn_off, type_id
LINE_INFO = struct.Struct("=IIII")  # struct bpf_line_info: insn_off, file_name_off, line_off, line_col (line << 10 | column)


class ProgDump(NamedTuple):
    """`info` and the arrays: `xlated` bytes; `map_ids` in order of first use; `func_info` (insn_off, type_id) and `line_info` (insn_off,
    file_name_off, line_off, line_col) in slots of the xlated image; `prog_tags` per function of the rewritten code; the machine code of
    all functions one after the other with `func_lens` and, where addresses may be seen, `ksyms` and `jited_lines` (addresses, one for
    each record of line_info). `hidden`: what the kernel kept back ("xlated", "jited", "ksyms", "jited_lines").
    """

    info: ProgInfo
    xlated: bytes
    map_ids: tuple[int, ...]
    func_info: tuple[tuple[int, int], ...] = ()
    line_info: tuple[tuple[int, int, int, int], ...] = ()
    prog_tags: tuple[str, ...] = ()
    jited: bytes = b""
    func_lens: tuple[int, ...] = ()
    ksyms: tuple[int, ...] = ()
    jited_lines: tuple[int, ...] = ()
    hidden: frozenset[str] = frozenset()


def prog_ids() -> list[int]:
    """Ids of all loaded programs, ascending. KernelError without CAP_SYS_ADMIN (CAP_BPF does not suffice)."""
    return all_ids(cmd.PROG_GET_NEXT_ID)


@contextmanager
def open_prog(id: int) -> Iterator[int]:
    """A descriptor of program `id` for the length of a with statement; NotFound where it is gone."""
    with opened(cmd.PROG_GET_FD_BY_ID, id, f"id:{id}") as fd:
        yield fd


def prog_info(id: int) -> ProgInfo:
    """The facts of program `id`; NotFound where it is gone, NotPermitted without CAP_SYS_ADMIN."""
    with open_prog(id) as fd:
        return prog_info_by_fd(fd, f"id:{id}")


def prog_info_by_fd(fd: int, where: str = "") -> ProgInfo:
    """The facts of the program behind a descriptor."""
    buffer = Buffer(_INFO.size)
    length = info_by_fd(fd, buffer, where or f"fd {fd}")
    return parse_prog_info(buffer.bytes, length)


def prog_dump(fd: int, where: str = "", *, jited: bool = False, tags: bool = False) -> ProgDump:
    """Everything behind a descriptor; the machine code and the tags of functions only where asked for."""
    info = prog_info_by_fd(fd, where)
    xlated = Buffer(info.xlated_len)
    map_ids = Buffer(4 * info.nr_map_ids)
    funcs = Buffer(FUNC_INFO.size * info.nr_func_info)
    lines = Buffer(LINE_INFO.size * info.nr_line_info)
    tag_list = Buffer(8 * info.nr_prog_tags if tags else 0)
    code = Buffer(info.jited_len if jited else 0)
    lens = Buffer(4 * info.nr_jited_func_lens if jited else 0)
    ksyms = Buffer(8 * info.nr_jited_ksyms if jited else 0)
    jited_lines = Buffer(8 * info.nr_jited_line_info if jited else 0)
    request = Buffer(_INFO.pack(
        jited_prog_len=code.size, jited_prog_insns=code.address, xlated_prog_len=xlated.size, xlated_prog_insns=xlated.address,
        nr_map_ids=info.nr_map_ids, map_ids=map_ids.address,
        nr_jited_ksyms=ksyms.size // 8, jited_ksyms=ksyms.address, nr_jited_func_lens=lens.size // 4, jited_func_lens=lens.address,
        func_info_rec_size=FUNC_INFO.size, nr_func_info=info.nr_func_info, func_info=funcs.address,
        line_info_rec_size=LINE_INFO.size, nr_line_info=info.nr_line_info, line_info=lines.address,
        jited_line_info_rec_size=8, nr_jited_line_info=jited_lines.size // 8, jited_line_info=jited_lines.address,
        nr_prog_tags=tag_list.size // 8, prog_tags=tag_list.address,
    ))  # fmt: skip
    info_by_fd(fd, request, where or f"fd {fd}")
    after = _INFO.unpack(request.bytes)
    # A pointer that the kernel set to zero says "you may not see this" (bpf_dump_raw_ok, blinded constants).
    parts = (
        ("jited", "jited_prog_insns", code), ("xlated", "xlated_prog_insns", xlated), ("ksyms", "jited_ksyms", ksyms),
        ("jited_lines", "jited_line_info", jited_lines),
    )  # fmt: skip
    hidden = {what for what, pointer, buffer in parts if buffer.size and not after[pointer]}
    if not info.xlated_len:  # no program is empty: without CAP_BPF all lengths read 0
        hidden |= {"xlated", "jited"}

    def words(what: str, format: Literal["I", "Q"], buffer: Buffer) -> tuple[int, ...]:
        return () if what in hidden else tuple(memoryview(buffer.bytes).cast("B").cast(format))

    return ProgDump(
        info=info,
        xlated=b"" if "xlated" in hidden else xlated.bytes,
        map_ids=words("", "I", map_ids),
        func_info=tuple(FUNC_INFO.iter_unpack(funcs.bytes)),
        line_info=tuple(LINE_INFO.iter_unpack(lines.bytes)),
        prog_tags=tuple(tag_list.bytes[at : at + 8].hex() for at in range(0, tag_list.size, 8)),
        jited=b"" if "jited" in hidden else code.bytes,
        func_lens=words("", "I", lens),
        ksyms=words("ksyms", "Q", ksyms),
        jited_lines=words("jited_lines", "Q", jited_lines),
        hidden=frozenset(hidden),
    )


def parse_prog_info(raw: bytes, length: int) -> ProgInfo:
    """INFO_BYTES of struct bpf_prog_info, of which the kernel filled in `length`: the one place that knows its layout."""
    id, type, tag, name, uid, load_time, gpl_compatible, *rest = _FACTS(raw)
    missing = sum(length <= _INFO.offsets[name] for name in _LATE) if length < INFO_BYTES else 0
    if missing:
        rest[-missing:] = [None] * missing
    text = name.split(b"\0", 1)[0].decode("ascii", "replace")
    return ProgInfo(id, type, tag.hex(), text, uid, load_time, bool(gpl_compatible & 1), *rest)

"""The values that everything passes around: a program, its maps, where it came from, what it hangs on.

Plain frozen records, filled by a source (formats/, kernel/), read by capabilities and views. Absent knowledge is None or empty,
never invented.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bpflens.attachment import Attachment, Holder

if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = (
    "Attachment",
    "Function",
    "Holder",
    "Isa",
    "Jited",
    "Map",
    "Origin",
    "Program",
    "Relocation",
    "SourceLine",
)


class Isa(enum.Enum):
    """Which instruction set a program is written in."""

    CLASSIC = "classic"
    EXTENDED = "extended"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a program was read.

    `source` is the reader's name ("ss", "tcpdump-ddd", "elf", "kernel", "pcap", "seccomp" ...); `where` names the object for messages
    ("id:12", "x.o#xdp", "-:3"); `line` is the original text (several lines joined by newlines) and `lineno` its first line, from 1.
    `linktype` (a DLT name without "DLT_") and `given` (assumptions such as "ip") are what the context says of the packets a
    classic filter sees. `note` is one line for people ("compiled by libpcap 1.10.3"). `warnings` say what of a damaged source
    could not be read, each with the part that is left out.
    """

    source: str
    where: str
    line: str | None = None
    lineno: int | None = None
    linktype: str | None = None
    given: tuple[str, ...] = ()
    note: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A function of an extended program: first slot, name, C prototype where BTF has it, BTF FUNC type id (0: none)."""

    start: int
    name: str
    proto: str | None = None
    type_id: int = 0


@dataclass(frozen=True, slots=True)
class SourceLine:
    """Source line that starts at slot `off_insns`: .BTF.ext line_info. `line` and `col` from 1, 0 where unknown."""

    off_insns: int
    file: str
    line: int
    col: int
    text: str


@dataclass(frozen=True, slots=True)
class Relocation:
    """A reference that the loader would fill in at slot `off_insns`.

    `kind`: "map", "data", "call", "func", "kfunc", "ksym", "extern", "core". `text` says it in words ("CO-RE byte_off of
    struct task_struct::pid"); `value` is the addend (byte offset in the section for data, slot offset for call and func).
    `section` is the section that it points into ("" for what lies outside of the object).
    """

    off_insns: int
    kind: str
    symbol: str
    value: int = 0
    text: str = ""
    section: str = ""


@dataclass(frozen=True, slots=True)
class Map:
    """A map: from an object file (`id` None) or the kernel. Sizes in bytes. `key` and `value` are C declarations where BTF has them.

    `datasec` gives the variables of a global data map: byte offset -> (name, size in bytes, C type).
    `fields` holds what else the source knows (frozen, map_extra, btf ids ...), for the `show` verb.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    id: int | None = None
    key: str | None = None
    value: str | None = None
    key_type_id: int = 0
    value_type_id: int = 0
    data: bytes | None = None
    datasec: Mapping[int, tuple[str, int, str]] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Jited:
    """Machine code of one function of a program: `address` in the kernel (0: hidden), `lines` maps byte offsets to line_info indexes."""

    name: str
    address: int
    code: bytes
    lines: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A BPF program with everything that its source knows.

    `code` is an array of struct sock_filter or struct bpf_insn in little-endian order, whatever the source's byte order was.
    For live extended programs it is the xlated image (`xlated` true). `arch` is the machine of the JITed code or of a seccomp filter.
    `symbols` names what a slot refers to beyond the tables (helper, kfunc or ksym found through kallsyms): slot -> symbol.
    `info` holds further facts of the source, in the kernel's spelling (load_time, run_cnt, uid ...).
    """

    isa: Isa
    code: bytes
    origin: Origin
    name: str = ""
    type: int | None = None
    expected_attach_type: int | None = None
    section: str | None = None
    license: str | None = None
    xlated: bool = False
    id: int | None = None
    tag: str | None = None
    maps: tuple[Map, ...] = ()
    functions: tuple[Function, ...] = ()
    lines: Sequence[SourceLine] = ()
    relocations: Sequence[Relocation] = ()
    symbols: Mapping[int, str] = field(default_factory=dict)
    btf: Btf | None = None
    jited: tuple[Jited, ...] = ()
    arch: str | None = None
    attachments: tuple[Attachment, ...] = ()
    holders: tuple[Holder, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def insn_count(self) -> int:
        """Number of 8-byte slots."""
        return len(self.code) // 8

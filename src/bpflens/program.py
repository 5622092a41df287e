"""The values that everything passes around: a program, its maps, where it came from, what it hangs on.

Plain frozen records, filled by a source (formats/, kernel/), read by capabilities and views. Absent knowledge is None or empty,
never invented.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from bpflens.attachment import Attachment, Holder, ProgInfo
from bpflens.lean import TypedDict, field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:

    from bpflens.btf.btf import Btf

__all__ = (
    "Attachment",
    "Declared",
    "Function",
    "Holder",
    "Isa",
    "Jited",
    "Loaded",
    "Map",
    "MapFields",
    "Origin",
    "ProgInfo",
    "Program",
    "Relocation",
    "SourceLine",
)


class Isa(enum.Enum):
    """Which instruction set a program is written in."""

    CLASSIC = "classic"
    EXTENDED = "extended"


@frozen
class Origin:
    """Where a program was read.

    `source` is the reader's name ("ss", "tcpdump-ddd", "elf", "kernel", "pcap", "seccomp" ...); `where` names the object for messages
    ("id:12", "x.o#xdp", "-:3"); `line` is the original text (several lines joined by newlines) and `lineno` its first line, from 1.
    `linktype` (a DLT name without "DLT_") and `given` (assumptions such as "ip") are what the context says of the packets a
    classic filter sees. `note` is one line for people ("compiled by libpcap 1.10.3"). `warnings` say what of a damaged source
    could not be read, each with the part that is left out. `arch` is the machine that it runs on ("x86_64"), or whose system calls a
    seccomp filter sees. `row`: what a table says of the program, in its own words ("protocol": "ip").
    """

    source: str
    where: str
    line: str | None = None
    lineno: int | None = None
    linktype: str | None = None
    given: tuple[str, ...] = ()
    note: str | None = None
    warnings: tuple[str, ...] = ()
    arch: str | None = None
    row: Mapping[str, str] = field(default_factory=dict)


@frozen
class Declared:
    """What an object file, or a listing of one, declares of a program to the loader.

    `flags`: names that the section's prefix implies ("sleepable", "frags"). `autoload` is False where the section is marked "?".
    `version` is that of the section "version", `byte_order` "little" or "big" as the file had it.
    """

    section: str | None = None
    license: str | None = None
    byte_order: str | None = None
    version: int | None = None
    flags: tuple[str, ...] = ()
    autoload: bool = True


@frozen
class Loaded:
    """A program of the running kernel: what the kernel reports of it beside its code.

    `at`: when it was loaded, in seconds since 1970. `memlock`: kernel memory in bytes, None where fdinfo cannot be read. `prog_tags`: the
    tags of its functions. `notes`: what the kernel kept back from this process, with what would show it.
    """

    info: ProgInfo
    at: float
    memlock: int | None = None
    map_ids: tuple[int, ...] = ()
    prog_tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@frozen
class Function:
    """A function of an extended program: first slot, name, C prototype where BTF has it, BTF FUNC type id (0: none)."""

    start: int
    name: str
    proto: str | None = None
    type_id: int = 0


@frozen
class SourceLine:
    """Source line that starts at slot `off_insns`: .BTF.ext line_info. `line` and `col` from 1, 0 where unknown."""

    off_insns: int
    file: str
    line: int
    col: int
    text: str


@frozen
class Relocation:
    """A reference that the loader would fill in at slot `off_insns`.

    `kind`: "map", "data", "call", "func", "kfunc", "ksym", "extern", "core". `text` says it in words ("CO-RE byte_off of
    struct task_struct::pid"); `value` is the addend (byte offset in the section for data, slot offset for call and func).
    `section` is the section that it points into ("" for what lies outside of the object); of "core", whose `value` is the kind, it is the
    root type's BTF id and the access string ("17 0:1:2").
    """

    off_insns: int
    kind: str
    symbol: str
    value: int = 0
    text: str = ""
    section: str = ""


class MapFields(TypedDict, total=False):
    """What a source may know of a map beside its definition; a key is there only where the source has it.

    The running kernel: `map_extra` to `btf_error`. An object file: `inner` (the definition of the maps in a map), `values` (slot or member
    -> name of the program, map or function put there), `pinning`, `link` (struct_ops that is attached by a link), `id` (of iproute2);
    members of a map's definition that have no name here are kept as numbers under their own. `unknown`: why there is no more. A snapshot:
    the last two.
    """

    map_extra: int
    ifindex: int
    netns_dev: int
    netns_ino: int
    btf_id: int
    btf_vmlinux_id: int
    btf_vmlinux_value_type_id: int
    frozen: bool
    memlock: int
    owner_prog_type: int
    owner_jited: int
    btf_error: str
    inner: Map
    values: Mapping[int, str] | Mapping[str, str]
    pinning: str | int
    link: bool
    id: int
    unknown: str
    saved_id: int
    pins: Sequence[str]


@frozen
class Map:
    """A map: from an object file (`id` None) or the kernel. Sizes in bytes. `key` and `value` are C declarations where BTF has them.

    `datasec` gives the variables of a global data map: byte offset -> (name, size in bytes, C type).
    `fields` holds what else the source knows.
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
    fields: MapFields = field(default_factory=MapFields)


@frozen
class Jited:
    """Machine code of one function of a program: `address` in the kernel (0: hidden), `lines` maps byte offsets to line_info indexes."""

    name: str
    address: int
    code: bytes
    lines: tuple[tuple[int, int], ...] = ()


@frozen
class Program:
    """A BPF program with everything that its source knows.

    `code` is an array of struct sock_filter or struct bpf_insn in little-endian order, whatever the source's byte order was.
    For live extended programs it is the xlated image (`xlated` true). `type` and `expected_attach_type` are the kernel's numbers.
    `symbols` names what a slot refers to beyond the tables (helper, kfunc or ksym found through kallsyms): slot -> symbol.
    `declared` is what an object file says to the loader, `loaded` what the kernel reports: None for what is not loaded here.
    What a capability finds is its result, and never stands here.
    """

    isa: Isa
    code: bytes
    origin: Origin
    name: str = ""
    type: int | None = None
    expected_attach_type: int | None = None
    xlated: bool = False
    id: int | None = None
    tag: str | None = None
    maps: tuple[Map, ...] = ()
    functions: tuple[Function, ...] = ()
    lines: Sequence[SourceLine] = ()
    relocations: Sequence[Relocation] = ()
    symbols: Mapping[int, str] = field(default_factory=dict)
    btf: Btf | None = None
    declared: Declared = field(default_factory=Declared)
    loaded: Loaded | None = None
    jited: tuple[Jited, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    holders: tuple[Holder, ...] = ()

    @property
    def insn_count(self) -> int:
        """Number of 8-byte slots."""
        return len(self.code) // 8

    @property
    def section(self) -> str | None:
        """The section of the object file that it was read from."""
        return self.declared.section

    @property
    def license(self) -> str | None:
        """The license that it declares."""
        return self.declared.license

    @property
    def arch(self) -> str | None:
        """The machine of its JITed code, or of the system calls that a seccomp filter sees."""
        return self.origin.arch

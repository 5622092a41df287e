"""The manifest of a snapshot: what was saved, as frozen records. Its JSON form, its schema and its checks derive from these classes.

    manifest.json  ──read()──►  Manifest(programs=(SavedProgram(id=12, ...),), maps=..., attachments=...)

Numbers named `id` are the kernel's ids when the snapshot was taken: they relate the records to each other and mean nothing elsewhere.
Names of members are paths inside the archive. docs/snapshot.md describes the format, docs/snapshot.schema.json is `json_schema(Manifest)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = (
    "SCHEMA", "Manifest", "Member", "SavedAttachment", "SavedBtf", "SavedData", "SavedHolder", "SavedInner", "SavedKernel", "SavedMap",
    "SavedPin", "SavedProgram", "SavedSymbol", "SavedTarget",
)  # fmt: skip

SCHEMA = "snapshot/1"


@dataclass(frozen=True, slots=True)
class Member:
    """A blob of the archive: its length in bytes and the SHA-256 of its content, in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SavedPin:
    """A path of a BPF filesystem; `device` and `inode` are those of the path."""

    path: str
    device: int = 0
    inode: int = 0


@dataclass(frozen=True, slots=True)
class SavedHolder:
    """A process that held the object by descriptor `fd`; `exe_sha256` is of the file that it ran, `unit` the systemd unit."""

    pid: int
    comm: str
    fd: int | None = None
    exe: str | None = None
    exe_sha256: str | None = None
    unit: str | None = None
    cgroup: str | None = None


@dataclass(frozen=True, slots=True)
class SavedTarget:
    """What a program was verified against: function `name` of the BTF `btf` ("vmlinux" or a module), or of program `program`."""

    name: str
    btf: str = "vmlinux"
    program: int | None = None


@dataclass(frozen=True, slots=True)
class SavedSymbol:
    """Instruction `slot` of the original refers to the kernel's `name`: `kind` "kfunc" or "ksym"; `module` "" for the kernel proper."""

    slot: int
    kind: str
    name: str
    module: str = ""


@dataclass(frozen=True, slots=True)
class SavedBtf:
    """Type information of programs and maps."""

    id: int
    name: str
    member: str


@dataclass(frozen=True, slots=True)
class SavedProgram:
    """A program. `original`, `xlated`, `jited`, `line_info`: members, None where they were not read.

    `grade` and `reason` say how well the original is proved (see docs/original.md). `expected_attach_type` and `flags` are None where they
    could not be read. `references`: (slot of the original, map id) of every map reference. `maps` in the order of first use, `bound`:
    those that no instruction refers to. `func_info`: (slot, type id) in the original. `load_time` in ns since boot.
    """

    id: int
    name: str
    type: int
    type_name: str
    tag: str
    grade: str
    reason: str
    insns: int
    license: str
    full_name: str = ""
    tag_algorithm: str = ""
    original: str | None = None
    xlated: str | None = None
    jited: str | None = None
    line_info: str | None = None
    expected_attach_type: int | None = None
    flags: int | None = None
    ifindex: int = 0
    target: SavedTarget | None = None
    btf: int = 0
    func_info: tuple[tuple[int, ...], ...] = ()
    maps: tuple[int, ...] = ()
    bound: tuple[int, ...] = ()
    references: tuple[tuple[int, ...], ...] = ()
    symbols: tuple[SavedSymbol, ...] = ()
    verified_insns: int | None = None
    run_cnt: int = 0
    run_time_ns: int = 0
    load_time: int = 0
    uid: int = 0
    pins: tuple[SavedPin, ...] = ()
    holders: tuple[SavedHolder, ...] = ()


@dataclass(frozen=True, slots=True)
class SavedInner:
    """The template of a map of maps: what its inner maps must be like."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class SavedData:
    """The contents of a map, in `member`. `layout`:

    * "records": key and value in turn, `key_size` and `value_size` bytes each
    * "values": values only, from the first key on (arrays), or from the oldest on (queues), or from the lowest on (stacks)
    * "value": one structure (struct_ops), or the unread bytes of a ring buffer
    * "pages": number of a page (4 bytes) and its bytes in turn (arenas)

    `cpus`: parts of a per-cpu value, each padded to 8 bytes; `value_size` has them all. `ids_of`: the values are ids of "programs" or
    "maps" of this manifest; "device": an ifindex and a program id; "cpu": a queue size and a program id. `consistency`: "single pass",
    "stable" (two passes were equal), "quiesced" (writers were stopped). `devices`: names of the numbers of devices or cgroups in the
    values; devices are those of the network namespace `netns`, None for that of the process which saved.
    """

    member: str
    layout: str
    entries: int
    key_size: int
    value_size: int
    consistency: str
    cpus: int = 0
    ids_of: str = ""
    devices: dict[str, str] = field(default_factory=dict)
    netns: int | None = None
    netns_name: str | None = None


@dataclass(frozen=True, slots=True)
class SavedMap:
    """A map with its creation attributes. `struct`: the kernel's structure of a struct_ops map ("tcp_congestion_ops"), in `struct_module`.

    `members`: function name of the structure -> program id. `data` is None where nothing was saved, and `why_no_data` says why.
    `numa_node` is None where the flag for it is not set; the kernel does not tell the number everywhere.
    """

    id: int
    name: str
    type: int
    type_name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    map_extra: int = 0
    ifindex: int = 0
    numa_node: int | None = None
    btf: int = 0
    key_type_id: int = 0
    value_type_id: int = 0
    struct: str | None = None
    struct_module: str = ""
    struct_state: int = 0
    members: dict[str, int] = field(default_factory=dict)
    frozen: bool = False
    inner: SavedInner | None = None
    data: SavedData | None = None
    why_no_data: str = ""
    pins: tuple[SavedPin, ...] = ()
    holders: tuple[SavedHolder, ...] = ()


@dataclass(frozen=True, slots=True)
class SavedAttachment:
    """What a program, or a struct_ops map, hung on. `link` is the link's id, None for attachments that are no links.

    `netns`: inode of the network namespace, `netns_name` its name; `device`, `cgroup` (path in the hierarchy) name the object.
    `classic`: member with struct sock_filter bytes. `details`: the rest, in the kernel's words.
    """

    kind: str
    object: str
    program: int | None = None
    map: int | None = None
    link: int | None = None
    link_type: int | None = None
    attach_type: int | None = None
    netns: int | None = None
    netns_name: str | None = None
    own_netns: bool = True
    device: str | None = None
    cgroup: str | None = None
    classic: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    pins: tuple[SavedPin, ...] = ()
    holders: tuple[SavedHolder, ...] = ()


@dataclass(frozen=True, slots=True)
class SavedKernel:
    """The machine: `cpus` are possible CPUs, `btf_sha256` of the kernel's types, `boot_id` tells one boot from another. `uptime_ns`: of
    CLOCK_BOOTTIME when the snapshot was taken, by which load times have an age.
    """

    release: str
    version: str
    machine: str
    byteorder: str
    cpus: int
    page_size: int = 4096
    boot_id: str = ""
    btf_sha256: str = ""
    hostname: str = ""
    uptime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole. `taken`: UTC, from SOURCE_DATE_EPOCH where that is set. `incomplete`: what could not be looked at, in words.

    `redacted`: maps whose data was left out on request. `audit`: the verdict of `ls --audit` when it was asked for.
    `tail_calls`: (prog array, slot, program). `templates`: member with what the kernel's verifier does to instructions, for reading the
    images elsewhere.
    """

    schema: str
    tool: str
    taken: str
    kernel: SavedKernel
    targets: tuple[str, ...] = ()
    programs: tuple[SavedProgram, ...] = ()
    maps: tuple[SavedMap, ...] = ()
    btfs: tuple[SavedBtf, ...] = ()
    attachments: tuple[SavedAttachment, ...] = ()
    tail_calls: tuple[tuple[int, ...], ...] = ()
    redacted: tuple[int, ...] = ()
    incomplete: tuple[str, ...] = ()
    audit: str | None = None
    templates: str | None = None
    members: dict[str, Member] = field(default_factory=dict)

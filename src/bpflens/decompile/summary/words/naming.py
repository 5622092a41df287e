"""What bytes of a source are called, and sentences about what they are.

name_bytes(Source("packet"), 26, 4) with an IPv4 packet known  ──►  "source address"
phrases({bits of "the EtherType is 0x0800, byte 23 is 6"})     ──►  "EtherType is IPv4", "IP protocol is TCP"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bpflens.btf.fields import field_at as member_of
from bpflens.btf.types import Kind
from bpflens.decompile.summary.walk.bits import Bit, Source
from bpflens.decompile.summary.walk.sources import COMM
from bpflens.decompile.summary.words.context_words import word_of
from bpflens.decompile.summary.words.layers import PacketField, field_of, fields_of, network_offset, value_text
from bpflens.decompile.unit import Code, Unit
from bpflens.errors import BpflensError
from bpflens.isa.extended.contexts import access_name, context_struct, field_at
from bpflens.isa.extended.helpers import helper_id, helper_prototype
from bpflens.isa.extended.uapi import ProgType

__all__ = ("ASSUMED", "NO_LAYERS", "STATED", "STRINGS", "Layers", "Named", "Namer")

_CALLS = {
    ("bpf_get_current_pid_tgid", 0, 8): "process and thread id", ("bpf_get_current_uid_gid", 0, 8): "user and group id",
    ("bpf_get_current_pid_tgid", 4, 4): "process id", ("bpf_get_current_pid_tgid", 0, 4): "thread id",
    ("bpf_get_current_uid_gid", 0, 4): "user id", ("bpf_get_current_uid_gid", 4, 4): "group id",
    ("bpf_ktime_get_ns", 0, 8): "time since boot", ("bpf_ktime_get_boot_ns", 0, 8): "time since boot",
    ("bpf_get_prandom_u32", 0, 4): "random number", ("bpf_get_smp_processor_id", 0, 4): "CPU number",
    ("bpf_get_current_cgroup_id", 0, 8): "cgroup id", ("bpf_get_current_task", 0, 8): "current task",
    ("bpf_get_current_task_btf", 0, 8): "current task", ("bpf_get_socket_cookie", 0, 8): "socket's cookie",
    ("bpf_get_attach_cookie", 0, 8): "attach cookie", ("bpf_get_func_ip", 0, 8): "address of the traced function",
    ("bpf_get_socket_uid", 0, 4): "user id of the socket",
}  # fmt: skip
# struct pt_regs of x86-64 (arch/x86/include/uapi/asm/ptrace.h): byte offset -> argument, by the calling convention
_X86_64_ARGUMENTS = {
    112: "argument 1",
    104: "argument 2",
    96: "argument 3",
    88: "argument 4",
    72: "argument 5",
    64: "argument 6",
    80: "return value",
}
PLAIN = "the IPv4 header has no options"
ASSUMED = f" (if {PLAIN})"
STATED = frozenset({PLAIN, "the IP version and header length is 0x45"})
_KPROBE, _TRACEPOINT = ProgType.KPROBE, ProgType.TRACEPOINT
# what a context's data points to, where it is no packet
_DATA = {ProgType.SK_SKB: "the data", ProgType.SK_MSG: "the message", ProgType.CGROUP_SOCKOPT: "the option's value"}
_ARGUMENT_ARRAYS = frozenset((
    ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE, ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.LSM,
))  # fmt: skip  # raw tracepoints, tracing, struct_ops, LSM: the context is an array of u64

READERS = {
    "bpf_probe_read_user": "user memory that was read", "bpf_probe_read_kernel": "kernel memory that was read",
    "bpf_probe_read": "memory that was read", "bpf_skb_load_bytes": "packet data that was read",
}  # fmt: skip
"""Helpers that fill a buffer: what is in it then."""

@dataclass(frozen=True, slots=True)
class Layers:
    """What is known of a packet's layers on a path: the network layer ("IPv4") and the transport layer ("TCP"), "" where nothing is."""

    network: str = ""
    transport: str = ""


NO_LAYERS = Layers()


@dataclass(frozen=True, slots=True)
class Named:
    """`text` follows "the"; `format` is how values are written; `big_endian`: a number in it is in network order."""

    text: str
    format: str = "number"
    big_endian: bool = False


class Namer:
    """The names of one function's sources."""

    def __init__(self, unit: Unit, prog_type: int, section: str, entry: Code | None = None) -> None:
        self.unit, self.prog_type, self.section = unit, prog_type, section
        self.record = _record(unit, entry) if entry is not None and prog_type == _TRACEPOINT else 0
        self.network = network_offset(prog_type)
        self.layers = Layers()  # what is known where the walk is

    def packet_field(self, source: Source, byte: int, size: int, layers: Layers) -> PacketField | None:
        """The field of a known layer at these bytes."""
        if source.base == "transport":
            return field_of(layers.transport or "TCP or UDP", byte, size)
        if self.network is None or source.base:
            return None
        if byte + size <= self.network:
            return field_of("Ethernet", byte, size)
        if layers.network and (found := field_of(layers.network, byte - self.network, size)):
            return found
        if not layers.transport or layers.network not in ("IPv4", "IPv6"):
            return None
        without = 20 if layers.network == "IPv4" else 40
        found = field_of(layers.transport, byte - self.network - without, size)
        if found is None or layers.network == "IPv6":
            return found
        return found._replace(name=f"{found.name}{ASSUMED}")

    def name_bytes(self, source: Source, byte: int, size: int, layers: Layers) -> Named:
        """What these bytes are called."""
        if source.before:
            named = self.name_bytes(source._replace(before=False), byte, size, layers)
            return replace(named, text=f"earlier {named.text}")
        if source.kind == "packet":
            found = self.packet_field(source, byte, size, layers)
            if found is not None:
                return Named(found.name, found.format, True)
            where = "behind the IPv4 header" if source.base == "transport" else f"of {_DATA.get(self.prog_type, 'the packet')}"
            return Named(f"{_run(byte, size)} {where}", "hex" if size > 1 else "number", True)
        if source.kind == "ctx":
            return self._ordered(byte, size) or _plain(self._context(byte, size))
        if source.kind == "parameter":
            return Named(f"parameter {source.what}" if size in (4, 8) and not byte else f"{_run(byte, size)} of parameter {source.what}")
        if source.kind == "kernel":
            return Named(f"{source.what} of the {source.base.partition(chr(0))[0]}")
        if source.kind == "buffer":
            return Named(STRINGS.get(source.what) or f"{READERS.get(source.what, f'what {source.what} gives')} ({_run(byte, size)})")
        if source.kind == "call":
            wide = (helper_prototype(helper_id(source.what) or 0) or "").startswith("__u64")
            part = "" if not byte and size == (8 if wide else size) and size >= 4 else f"{_run(byte, size)} of the "
            return _plain(_CALLS.get((source.what, byte, size)) or f"{part}result of {source.what}")
        if source.kind in ("value", "data"):
            return Named(self._global(source, byte, size) if source.kind == "data" else self._value(source.what, byte, size))
        return Named(f"{size} bytes of {source.what or source.kind}")

    def _ordered(self, byte: int, size: int) -> Named | None:
        """A field of the context that holds a number in network order, or several things in one."""
        struct = context_struct(self.prog_type)
        found = field_at(struct, byte, size) if struct else None
        name = found.name.partition("[")[0] if found else ""
        if struct == "bpf_cgroup_dev_ctx" and byte < 4 and size == 2:
            return Named("device type" if byte == 0 else "access", "devtype" if byte == 0 else "devaccess")
        if found is None or byte != found.offset:
            return None
        word = word_of(struct, found.name) or word_of(struct, name)
        if word is None or size not in (found.size, word.number):
            return None
        return Named(word.text, word.format, bool(word.number))

    def field_extent(self, byte: int) -> tuple[int, int, int] | None:
        """(first byte, size) of the context's field at a byte, of the part that holds a number, and the bytes of all of it."""
        struct = context_struct(self.prog_type)
        found = field_at(struct, byte, 1) if struct else None
        if found is None:
            return None
        if struct == "bpf_cgroup_dev_ctx" and byte < 4:
            return byte & ~1, 2, 2
        word = word_of(struct, found.name)
        return found.offset, word.number if word and word.number and byte < found.offset + word.number else found.size, found.size

    def _context(self, byte: int, size: int) -> str:
        if self.prog_type == _KPROBE and size in (4, 8) and byte in _X86_64_ARGUMENTS:
            return f"{_X86_64_ARGUMENTS[byte]} of the function"
        if self.prog_type in _ARGUMENT_ARRAYS and byte % 8 == 0:
            return f"argument {byte // 8 + 1}"
        if self.prog_type == _TRACEPOINT:
            if "/sys_enter_" in self.section and byte >= 16:
                return f"argument {(byte - 16) // 8 + 1} of the system call"
            if "/sys_exit_" in self.section and byte == 16:
                return "result of the system call"
            member = member_of(self.unit.btf, self.record, byte, size) if self.unit.btf is not None and self.record else None
            if member is not None and self.unit.btf is not None:
                whole_size = member.bit_size // 8 or self.unit.btf.size(self.unit.btf.skip_modifiers(member.type_id))
                return _part(f"{member.path} of the tracepoint's record", byte, size, member.bit_off // 8, whole_size)
            return f"{_run(byte, size)} of the tracepoint's record"
        struct = context_struct(self.prog_type)
        name = access_name(struct, byte, size) if struct else ""
        if not name:
            return f"{_run(byte, size)} of the context"
        word = word_of(struct, name.rpartition("->")[2].rpartition(".")[2])
        whole = field_at(struct, byte, size)
        text = word.text if word is not None else name
        return _part(text, byte, size, whole.offset, whole.size) if whole is not None else text

    def _value(self, map_name: str, byte: int, size: int) -> str:
        map = self.unit.maps.get(map_name)
        member = member_of(self.unit.btf, map.value_type_id, byte, size) if map and self.unit.btf and map.value_type_id else None
        if member and member.path and member.path[0] != "[" and self.unit.btf is not None:  # an element of an array has no name
            whole = member.bit_size // 8 or self.unit.btf.size(self.unit.btf.skip_modifiers(member.type_id))
            return _part(f"{member.path} of the entry of {map_name}", byte, size, member.bit_off // 8, whole)
        whole = map is not None and byte == 0 and size == map.value_size
        return f"value of the entry of {map_name}" if whole else f"{_run(byte, size)} of the entry of {map_name}"

    def _global(self, source: Source, byte: int, size: int) -> str:
        map = self.unit.maps.get(source.what)
        for offset, (name, length, _) in map.datasec.items() if map else ():
            if offset <= byte < offset + max(length, 1):
                kind = "setting" if ".rodata" in source.what else "variable"
                return _part(f"{kind} {name}", byte, size, offset, max(length, 1))
        return f"{_run(byte, size)} of {source.what}"

    def phrases(self, known: Mapping[Bit, int], layers: Layers, negated: bool = False) -> Iterator[str]:
        """Sentences that say what bits are, a field each; negated, that they are not."""
        by_source: dict[Source, dict[int, tuple[int, int]]] = {}
        for bit, value in known.items():
            mask, number = by_source.setdefault(bit.source, {}).get(bit.byte, (0, 0))
            by_source[bit.source][bit.byte] = (mask | 1 << bit.bit, number | value << bit.bit)
        for source, bytes_ in by_source.items():
            if source.kind == "buffer" and (noun := STRINGS.get(source.what)):
                yield _comm(bytes_, negated, noun)
            else:
                yield from self._runs(source, bytes_, layers, negated)

    def _runs(self, source: Source, bytes_: dict[int, tuple[int, int]], layers: Layers, negated: bool) -> Iterator[str]:
        left = dict(sorted(bytes_.items()))
        while left:
            start = next(iter(left))
            size = self._extent(source, start, left, layers)
            whole = size
            if source.kind == "ctx" and (extent := self.field_extent(start)) is not None:
                start, size, whole = extent
            mask = value = 0
            for at in range(start, start + size):
                m, v = left.pop(at, (0, 0))
                mask, value = mask << 8 | m, value << 8 | v
            for at in range(start + size, start + whole):  # what fills the rest of a field that is wider than its number
                left.pop(at, None)
            named = self.name_bytes(source, start, size, layers)
            if not named.big_endian:
                mask, value = (int.from_bytes(n.to_bytes(size, "big"), "little") for n in (mask, value))
            yield _equality(named, mask, value, size, negated)

    def _extent(self, source: Source, start: int, left: Mapping[int, object], layers: Layers) -> int:
        """Bytes from `start` on that are one field, or follow each other."""
        if source.kind == "packet":
            base = 0 if source.base else self.network
            for layer in ("Ethernet" if self.network == 14 else "", layers.network, layers.transport):
                shift = 0 if layer == "Ethernet" or source.base else base if base is not None else -1
                for field in fields_of(layer) if shift >= 0 and bool(source.base) == (layer == layers.transport) else ():
                    if start == field.offset + shift and any(at in left for at in range(start, start + field.size)):
                        return field.size
        end = start + 1
        while end in left and end - start < 8:
            end += 1
        return end - start


STRINGS = {
    COMM: "process name", "bpf_probe_read_user_str": "string of user memory", "bpf_probe_read_kernel_str": "string of kernel memory",
    "bpf_probe_read_str": "string that was read",
}  # fmt: skip
"""Helpers that fill a buffer with a string."""


def _record(unit: Unit, entry: Code) -> int:
    """The BTF id of the structure that a tracepoint's program says its context is; 0 where it says none."""
    btf = unit.btf
    if btf is None or not entry.type_id:
        return 0
    try:
        parameters = btf.params(btf.name_and_ref(entry.type_id)[1])
        pointer = btf.skip_modifiers(parameters[0].type_id) if parameters else 0
        pointed = btf.skip_modifiers(btf.name_and_ref(pointer)[1]) if pointer and btf.kind(pointer) is Kind.PTR else 0
        return pointed if pointed and btf.kind(pointed) is Kind.STRUCT else 0
    except BpflensError:
        return 0


def _plain(text: str) -> Named:
    """A number in host order; results may be negative."""
    return Named(text, "result" if text.startswith(("return value", "result of")) else "number")


def _part(name: str, byte: int, size: int, start: int, whole: int) -> str:
    """The name of something, or of a part of it."""
    return name if (byte, size) == (start, whole) else f"{_run(byte - start, size)} of the {name}"


def _run(byte: int, size: int) -> str:
    return f"byte {byte}" if size == 1 else f"bytes {byte} to {byte + size - 1}"


def _comm(bytes_: Mapping[int, tuple[int, int]], negated: bool, noun: str) -> str:
    """A string of which bytes are known."""
    text = bytearray()
    for at in range(64):
        mask, value = bytes_.get(at, (0, 0))
        if mask != 0xFF:
            break
        text.append(value)
    never = "not " * negated
    if len(text) < len(bytes_):
        return f"some bytes of the {noun} are {never}as expected"
    whole = 0 in text or (len(text) == 15 and noun == STRINGS[COMM])
    shown = bytes(text).split(b"\0")[0].decode("utf-8", "backslashreplace")
    if whole:
        return f'the process is {never}named "{shown}"' if noun == STRINGS[COMM] else f'the {noun} is {never}"{shown}"'
    return f'the {noun} {"does not begin" if negated else "begins"} with "{shown}"'


def _equality(named: Named, mask: int, value: int, size: int, negated: bool) -> str:
    full = (1 << 8 * size) - 1
    what = f"the {named.text}"
    if (special := _special(named, mask, value, size, negated)) is not None:
        return special
    if mask == full and size >= 3 and named.format in ("number", "hex") and (text := _printable(named, value, size)):
        return f'{what} {"are" if named.text.startswith("bytes") else "is"} {"not " * negated}"{text}"'
    if mask == full:
        verb = "are" if named.text.startswith("bytes") else "is"
        return f"{what} {verb} {'not ' * negated}{value_text(named.format, value, size)}"
    length = _prefix(mask, 8 * size)
    if length is not None and named.format in ("ipv4", "ipv6"):
        return f"{what} is {'not ' * negated}in {value_text(named.format, value, size)}/{length}"
    if named.format == "tcpflags":
        wanted, without = value, mask & ~value
        parts = [f"{value_text('tcpflags', wanted)} set"] * bool(wanted) + [f"{value_text('tcpflags', without)} clear"] * bool(without)
        return f"{what} do {'not ' * negated}have {' and '.join(parts)}" if negated else f"{what} have {' and '.join(parts)}"
    if bin(mask).count("1") == 1 and named.format in ("number", "hex"):
        return f"{what} has bit {mask:#x} {'set' if bool(value) != negated else 'clear'}"
    verb = "are" if named.text.startswith("bytes") else "is"
    return f"{what} under the mask {mask:#x} {verb} {'not ' * negated}{value:#x}"


def _printable(named: Named, value: int, size: int) -> str:
    """Bytes of memory that are a text; "" where they are none, or are known to be a number."""
    data = value.to_bytes(size, "big" if named.big_endian else "little")
    is_bytes = named.text.startswith("bytes") or "memory that was read" in named.text
    return data.decode() if is_bytes and all(0x20 < byte < 0x7F for byte in data) else ""


def _special(named: Named, mask: int, value: int, size: int, negated: bool) -> str | None:
    """Words for what has a name of its own."""
    never = "not " * negated
    if named.format == "ipvhl" and mask == 0x0F:
        return PLAIN if value == 5 and not negated else f"the IPv4 header is {never}{4 * value} bytes long"
    if named.format == "devaccess" and mask in (1, 2, 4):
        return f"the access {'includes' if bool(value) != negated else 'does not include'} {value_text('devaccess', mask)}"
    if named.format == "vlantci" and mask == 0xFFF:
        return f"the VLAN id is {never}{value}"
    if named.format == "present" and value == 0 and mask == (1 << 8 * size) - 1:
        return f"the packet has {'a' if negated else 'no'} VLAN tag"
    if named.format == "mac" and size == 6:
        if mask == 1 << 40:
            return f"the {named.text} is {'not ' * (negated == bool(value))}a group address"
        length = _prefix(mask, 48)
        if length and length < 48 and not length % 8:
            begins = "does not begin" if negated else "begins"
            return f"the {named.text} {begins} with {':'.join(f'{byte:02x}' for byte in value.to_bytes(6, 'big')[: length // 8])}"
    return None


def _prefix(mask: int, bits: int) -> int | None:
    """The length of a prefix that a mask is."""
    ones = bin(mask).count("1")
    return ones if ones and mask == ((1 << ones) - 1) << bits - ones else None

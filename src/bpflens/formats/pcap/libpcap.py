"""The system's libpcap, through ctypes: its filter compiler, link type names, and its interpreter for validated programs.

    compile_program("tcp port 80")      Program, origin "pcap", note "compiled by libpcap 1.10.3"
    compile("tcp port 80", 1)           the instructions alone: tens of microseconds for a small expression

The library is found by the dynamic loader's own search (no ldconfig, no compiler); BPFLENS_LIBPCAP names another file. pcap_compile is
not thread-safe before libpcap 1.8: call from one thread.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import struct
import sys

from bpflens.errors import InputError, NotSupported
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.program import Isa, Origin, Program

__all__ = ("Libpcap", "compile", "compile_program", "dlt_name", "dlt_value", "load", "run", "validate", "version")

PCAP_NETMASK_UNKNOWN = 0xFFFFFFFF
MAX_SNAPLEN = 262144
_NAMES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so", "libpcap.dylib")
_MAX_DLT = 400  # names are searched below this; libpcap 1.11 ends at 301
_NATIVE = struct.Struct("=HBBI")


class _Program(ctypes.Structure):
    """struct bpf_program (pcap/bpf.h)."""

    _fields_ = (("bf_len", ctypes.c_uint), ("bf_insns", ctypes.c_void_p))


class Libpcap:
    """One loaded libpcap. `version` is "1.10.3"; open handles are kept per (link type, snapshot length)."""

    def __init__(self, path: str) -> None:
        """Load the library at `path` (a file or a name for the loader); OSError where it cannot be loaded."""
        lib = ctypes.CDLL(path)
        self.path = path
        self._open_dead = lib.pcap_open_dead
        self._open_dead.restype = ctypes.c_void_p
        self._open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
        self._geterr = lib.pcap_geterr
        self._geterr.restype = ctypes.c_char_p
        self._geterr.argtypes = (ctypes.c_void_p,)
        self._compile = lib.pcap_compile
        self._compile.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint)
        self._freecode = lib.pcap_freecode
        self._freecode.argtypes = (ctypes.c_void_p,)
        self._freecode.restype = None
        self._name_to_val = lib.pcap_datalink_name_to_val
        self._name_to_val.argtypes = (ctypes.c_char_p,)
        self._val_to_name = lib.pcap_datalink_val_to_name
        self._val_to_name.restype = ctypes.c_char_p
        self._val_to_name.argtypes = (ctypes.c_int,)
        self._validate = lib.bpf_validate
        self._validate.argtypes = (ctypes.c_char_p, ctypes.c_int)
        self._filter = lib.bpf_filter
        self._filter.restype = ctypes.c_uint
        self._filter.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint)
        lib.pcap_lib_version.restype = ctypes.c_char_p
        self.version = _version_number(lib.pcap_lib_version().decode("ascii", "replace"))
        self._handles: dict[tuple[int, int], int] = {}
        self._code = _Program()
        self._code_ref = ctypes.byref(self._code)

    def compile(
        self, expression: str, dlt: int, optimize: bool = True, snaplen: int = MAX_SNAPLEN, netmask: int = PCAP_NETMASK_UNKNOWN
    ) -> tuple[SockFilter, ...]:
        """Instructions of a pcap expression for link type number `dlt`; InputError with libpcap's own message.

        `snaplen` (bytes) is what a matching packet returns. `netmask` is the network's IPv4 mask in host order, for `ip broadcast`.
        """
        try:
            text = expression.encode()
        except UnicodeEncodeError:
            raise InputError("pcap:" + ascii(expression), "not valid text") from None
        if b"\0" in text:
            raise InputError("pcap:" + ascii(expression), "has a NUL character")
        handle = self._handles.get((dlt, snaplen)) or self._open(dlt, snaplen)
        code = self._code
        if self._compile(handle, self._code_ref, text, optimize, netmask) != 0:
            reason = self._geterr(handle)
            raise InputError("pcap:" + expression, (reason or b"libpcap gives no reason").decode("utf-8", "replace"))
        image = ctypes.string_at(code.bf_insns, code.bf_len * 8)
        self._freecode(self._code_ref)
        return tuple(map(SockFilter._make, _NATIVE.iter_unpack(image)))

    def _open(self, dlt: int, snaplen: int) -> int:
        if not (0 <= dlt < 1 << 31 and 0 < snaplen < 1 << 31):
            raise InputError(f"link type {dlt}, snapshot length {snaplen}", "out of range")
        handle: int | None = self._open_dead(dlt, snaplen)
        if not handle:
            raise InputError(f"link type {dlt}", "libpcap cannot open it")
        self._handles[dlt, snaplen] = handle
        return handle

    def dlt_value(self, name: str) -> int:
        """Number of a link type given by name ("EN10MB", "DLT_RAW", any case) or number; InputError, with near names, otherwise."""
        plain = name.strip()
        if plain.isascii() and plain.isdigit():
            if len(plain) > 9:
                raise InputError(f"link type {name}", "out of range")
            return int(plain)
        value = self._name_to_val(plain.encode("utf-8", "replace").replace(b"\0", b"?"))
        if value < 0 and plain.upper().startswith("DLT_"):
            value = self._name_to_val(plain[4:].encode("utf-8", "replace").replace(b"\0", b"?"))
        if value >= 0:
            return int(value)
        from difflib import get_close_matches

        near = get_close_matches(plain.upper().removeprefix("DLT_"), _ALIASES | self.dlt_names(), 3, 0.5)
        names = list(dict.fromkeys(_ALIASES.get(candidate, candidate) for candidate in near))
        hint = f"did you mean {' or '.join(names)}?" if names else "see LINK-LAYER HEADER TYPES in pcap-linktype(7)"
        raise InputError(f"link type {plain or repr(name)}", "unknown to libpcap " + self.version, hint)

    def dlt_name(self, value: int) -> str:
        """Name of a link type without "DLT_"; its number in decimal where libpcap has no name."""
        name = self._val_to_name(value) if 0 <= value < 1 << 31 else None
        return name.decode("ascii", "replace") if name else str(value)

    def dlt_names(self) -> dict[str, int]:
        """Every link type name that this libpcap knows -> number."""
        names = ((self._val_to_name(value), value) for value in range(_MAX_DLT))
        return {name.decode("ascii", "replace"): value for name, value in names if name}

    def validate(self, insns: tuple[SockFilter, ...]) -> bool:
        """What bpf_validate says of a program."""
        return bool(self._validate(_native(insns), len(insns)))

    def run(self, insns: tuple[SockFilter, ...], packet: bytes, length: int | None = None) -> int:
        """What bpf_filter returns for a packet; `length` is its length on the wire, in bytes.

        InputError where the program could crash or hang the process: bpf_filter does not check what it runs.
        """
        from bpflens.isa.classic.check import check, runs_in_libpcap

        if not runs_in_libpcap(insns):
            refusals = check(insns, "libpcap")
            raise InputError("program", str(refusals[0]) if refusals else "libpcap's interpreter would abort on it or loop")
        wire = len(packet) if length is None else length
        return int(self._filter(_native(insns), packet, wire, len(packet)))


_ALIASES = {
    "ETHERNET": "EN10MB",
    "ETHER": "EN10MB",
    "IP": "RAW",
    "WIFI": "IEEE802_11",
    "RADIOTAP": "IEEE802_11_RADIO",
    "COOKED": "LINUX_SLL",
}
"""What people call a link type -> libpcap's name; only for suggestions."""


def _native(insns: tuple[SockFilter, ...]) -> bytes:
    return encode(insns) if sys.byteorder == "little" else b"".join(_NATIVE.pack(*insn) for insn in insns)


def _version_number(text: str) -> str:
    """ "libpcap version 1.10.3 (with TPACKET_V3)" -> "1.10.3"."""
    match = re.search(r"version (\S+)", text)
    return match[1] if match else text


@functools.cache
def load() -> Libpcap:
    """The system's libpcap, loaded once; NotSupported where there is none."""
    names = (os.environ["BPFLENS_LIBPCAP"],) if os.environ.get("BPFLENS_LIBPCAP") else _NAMES
    reasons = []
    for name in names:
        try:
            return Libpcap(name)
        except (OSError, AttributeError) as error:
            reasons.append(str(error))
    raise NotSupported(names[0] if len(names) == 1 else "libpcap", reasons[0], "install the package libpcap0.8 (Debian) or libpcap")


def version() -> str:
    """Version of the system's libpcap, such as "1.10.3"."""
    return load().version


def compile(expression: str, dlt: int, optimize: bool = True, netmask: int = PCAP_NETMASK_UNKNOWN) -> tuple[SockFilter, ...]:
    """Instructions of a pcap expression for link type number `dlt`; InputError with libpcap's own message."""
    return load().compile(expression, dlt, optimize, netmask=netmask)


def compile_program(expression: str, linktype: str = "EN10MB", optimize: bool = True, snaplen: int = MAX_SNAPLEN) -> Program:
    """A pcap expression as a Program; `linktype` is a DLT name or number. InputError names the expression or the link type."""
    lib = load()
    dlt = lib.dlt_value(linktype)
    note = f"compiled by libpcap {lib.version}" + ("" if optimize else ", not optimized")
    try:
        insns = lib.compile(expression, dlt, optimize, snaplen)
    except InputError as error:
        if "netmask not known" not in error.reason:
            raise
        insns = lib.compile(expression, dlt, optimize, snaplen, netmask=0)
        note += ", for netmask 0.0.0.0 as tcpdump -d"
    origin = Origin("pcap", f"pcap:{expression}", line=expression, linktype=lib.dlt_name(dlt), note=note)
    return Program(Isa.CLASSIC, encode(insns), origin)


def dlt_value(name: str) -> int:
    """Number of a link type given by name or number; InputError, with near names, where libpcap does not know it."""
    return load().dlt_value(name)


def dlt_name(value: int) -> str:
    """Name of a link type without "DLT_"; its number in decimal where libpcap has no name."""
    return load().dlt_name(value)


def validate(insns: tuple[SockFilter, ...]) -> bool:
    """What libpcap's bpf_validate says of a program."""
    return load().validate(insns)


def run(insns: tuple[SockFilter, ...], packet: bytes, length: int | None = None) -> int:
    """What libpcap's bpf_filter returns for a packet; InputError for programs that are not safe to run."""
    return load().run(insns, packet, length)

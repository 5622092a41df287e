"""A filter over a capture file at the speed of libpcap: its reader and its interpreter, with no Python in the loop.

Problem: a callback into Python for each matching packet costs ten times what the packet costs, and pcap_dispatch() does not say how
many packets there were (before libpcap 1.10 it returns 0 at the end of a file). So the callback is sem_post() of the C library: it adds 1
to the semaphore that its first argument points to, and what else libpcap passes is ignored. Where matches are written, the callback
is libpcap's own pcap_dump().

Only programs for which isa.classic.check.runs_in_libpcap() holds are run: libpcap's interpreter does not check what it runs. A file that
libpcap does not read to its end gives None: formats/pcap.py reads it, and says what is wrong with it.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

from bpflens.errors import InputError
from bpflens.formats.pcap.libpcap import load
from bpflens.formats.whole_file import whole_file
from bpflens.isa.classic.check import runs_in_libpcap
from bpflens.isa.classic.insn import SockFilter

__all__ = ("count_matches", "count_packets", "write_matches")

# sem_post() fails at SEM_VALUE_MAX (2^31 - 1): the semaphore is read before it could get there
_BATCH = 1 << 30
_NANO = 1  # PCAP_TSTAMP_PRECISION_NANO


class _Code(ctypes.Structure):
    """struct bpf_program (pcap/bpf.h)."""

    _fields_ = (("bf_len", ctypes.c_uint), ("bf_insns", ctypes.c_char_p))


class _Libraries:
    """The functions of libpcap and of the C library that are called here; AttributeError where one is missing."""

    def __init__(self) -> None:
        pcap, c = ctypes.CDLL(load().path), ctypes.CDLL(None)
        pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        self.open = _typed(pcap.pcap_open_offline_with_tstamp_precision, pointer, text, ctypes.c_uint, pointer)
        self.close = _typed(pcap.pcap_close, None, pointer)
        self.setfilter = _typed(pcap.pcap_setfilter, integer, pointer, pointer)
        self.dispatch = _typed(pcap.pcap_dispatch, integer, pointer, integer, pointer, pointer)
        self.geterr = _typed(pcap.pcap_geterr, text, pointer)
        self.dump_open = _typed(pcap.pcap_dump_open, pointer, pointer, text)
        self.dump_fopen = _typed(pcap.pcap_dump_fopen, pointer, pointer, pointer)
        self.dump_flush = _typed(pcap.pcap_dump_flush, integer, pointer)
        self.dump_close = _typed(pcap.pcap_dump_close, None, pointer)
        self.fdopen = _typed(c.fdopen, pointer, integer, text)
        self.sem_init = _typed(c.sem_init, integer, pointer, integer, ctypes.c_uint)
        self.sem_getvalue = _typed(c.sem_getvalue, integer, pointer, pointer)
        self.sem_post = ctypes.cast(c.sem_post, pointer)
        self.dump = ctypes.cast(pcap.pcap_dump, pointer)


def _typed(function: ctypes._NamedFuncPointer, result: object, *arguments: object) -> ctypes._NamedFuncPointer:
    function.restype = result  # type: ignore[assignment] # the stubs of ctypes have no public name for a type of C
    function.argtypes = arguments  # type: ignore[assignment]
    return function


def count_matches(path: str, insns: Sequence[SockFilter]) -> int | None:
    """How many packets of the capture file the program accepts."""
    if not runs_in_libpcap(insns):
        return None
    return _over_file(path, insns, None)


def count_packets(path: str) -> int | None:
    """How many packets the capture file has."""
    return _over_file(path, None, None)


def write_matches(path: str, insns: Sequence[SockFilter], output: str, nanoseconds: bool = False) -> int | None:
    """Write the packets that the program accepts to a new pcap file, "-" for standard output; returns how many.

    `nanoseconds` is the precision of the times written. InputError where the output can't be written.
    """
    if not runs_in_libpcap(insns):
        return None
    written = _over_file(path, insns, output, nanoseconds)
    return written if written is None or written > 0 else _over_file(path, insns, None)  # libpcap before 1.10 does not say how many


def _over_file(path: str, insns: Sequence[SockFilter] | None, output: str | None, nanoseconds: bool = False) -> int | None:
    try:
        libraries = _Libraries()
    except AttributeError:
        return None
    error = ctypes.create_string_buffer(256)
    handle = libraries.open(os.fsencode(path), _NANO if nanoseconds else 0, error)
    if not handle:
        return None
    try:
        if insns is not None:
            code = _Code(len(insns), b"".join(struct.pack("=HBBI", *insn) for insn in insns))
            if libraries.setfilter(handle, ctypes.byref(code)) != 0:
                return None
        return _count(libraries, handle) if output is None else _write(libraries, handle, output)
    finally:
        libraries.close(handle)


def _count(libraries: _Libraries, handle: int) -> int | None:
    semaphore = ctypes.create_string_buffer(64)  # sem_t has 32 bytes at most
    value = ctypes.c_int()
    libraries.sem_init(semaphore, 0, 0)
    total = 0
    while (done := libraries.dispatch(handle, _BATCH, libraries.sem_post, semaphore)) == _BATCH:
        total += _BATCH
        libraries.sem_init(semaphore, 0, 0)
    libraries.sem_getvalue(semaphore, ctypes.byref(value))
    return total + value.value if done >= 0 else None


def _write(libraries: _Libraries, handle: int, output: str) -> int | None:
    if output == "-":
        return _write_to(libraries, handle, output, 1)
    with whole_file(output) as stream:
        return _write_to(libraries, handle, output, stream.fileno())


def _write_to(libraries: _Libraries, handle: int, output: str, descriptor: int) -> int | None:
    # a duplicate: closing the output must not close the process's own
    dumper = libraries.dump_fopen(handle, libraries.fdopen(os.dup(descriptor), b"w"))
    if not dumper:
        reason = libraries.geterr(handle).decode("utf-8", "replace")
        raise InputError(output, reason.removeprefix(f"{output}: "))
    try:
        done = libraries.dispatch(handle, -1, libraries.dump, dumper)
        if libraries.dump_flush(dumper) != 0:
            raise InputError(output, "cannot be written")
    finally:
        libraries.dump_close(dumper)
    return None if done < 0 else int(done)

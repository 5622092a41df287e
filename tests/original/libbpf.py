"""Real programs: the BPF objects inside executables, loaded by libbpf itself (through ctypes), program by program where not all can be."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bpflens.formats.elf.embedded import find_embedded

_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_QUIET = _PRINT(lambda level, text, arguments: 0)
_HANDLE = ctypes.c_void_p
_PERF_EVENT_ARRAY, _STACK_TRACE = 4, 7


@dataclass(frozen=True)
class Program:
    """A loaded program: `insns` are what libbpf gave to the kernel, descriptors of maps included."""

    name: str
    section: str
    fd: int
    insns: bytes


@cache
def library() -> Any:
    """libbpf, with the types of the functions that are used; None where it is not installed."""
    name = ctypes.util.find_library("bpf")
    if name is None:
        return None
    lib = ctypes.CDLL(name)
    for function in ("bpf_object__open_mem", "bpf_object__next_program", "bpf_object__next_map", "bpf_program__insns"):
        getattr(lib, function).restype = _HANDLE
    for function in ("bpf_program__name", "bpf_program__section_name"):
        getattr(lib, function).restype = ctypes.c_char_p
    lib.bpf_program__insn_cnt.restype = ctypes.c_size_t
    lib.libbpf_set_print(_QUIET)
    return lib


def objects_in(path: Path) -> list[bytes]:
    """The BPF objects of a file."""
    return [blob for _, blob in find_embedded(path.read_bytes())]


@contextmanager
def loaded(blob: bytes) -> Iterator[list[Program]]:
    """The programs of an object that this kernel accepts: all at once, or each on its own where that fails."""
    lib = library()
    handles: list[Any] = []
    try:
        programs = _load(lib, blob, None, handles)
        if not programs:
            for name in _names(lib, blob):
                programs += _load(lib, blob, name, handles)
        yield programs
    finally:
        for handle in handles:
            lib.bpf_object__close(_HANDLE(handle))


def _programs(lib: Any, handle: Any) -> Iterator[Any]:
    program = lib.bpf_object__next_program(_HANDLE(handle), None)
    while program:
        yield _HANDLE(program)
        program = lib.bpf_object__next_program(_HANDLE(handle), _HANDLE(program))


def _names(lib: Any, blob: bytes) -> list[str]:
    handle = lib.bpf_object__open_mem(blob, ctypes.c_size_t(len(blob)), None)
    if not handle:
        return []
    names = [lib.bpf_program__name(program).decode() for program in _programs(lib, handle)]
    lib.bpf_object__close(_HANDLE(handle))
    return names


def _load(lib: Any, blob: bytes, only: str | None, handles: list[Any]) -> list[Program]:
    handle = lib.bpf_object__open_mem(blob, ctypes.c_size_t(len(blob)), None)
    if not handle:
        return []
    map = lib.bpf_object__next_map(_HANDLE(handle), None)
    while map:  # what the tools set before they load: sizes that depend on the machine, no pins
        lib.bpf_map__set_pin_path(_HANDLE(map), None)
        if not lib.bpf_map__max_entries(_HANDLE(map)):
            lib.bpf_map__set_max_entries(_HANDLE(map), 16)
        if lib.bpf_map__type(_HANDLE(map)) == _STACK_TRACE and not lib.bpf_map__value_size(_HANDLE(map)):
            lib.bpf_map__set_value_size(_HANDLE(map), 8 * 127)
        map = lib.bpf_object__next_map(_HANDLE(handle), _HANDLE(map))
    for program in _programs(lib, handle):
        if only is not None:
            lib.bpf_program__set_autoload(program, ctypes.c_bool(lib.bpf_program__name(program).decode() == only))
    if lib.bpf_object__load(_HANDLE(handle)):
        lib.bpf_object__close(_HANDLE(handle))
        return []
    handles.append(handle)
    out = []
    for program in _programs(lib, handle):
        fd = lib.bpf_program__fd(program)
        if fd >= 0:
            count = lib.bpf_program__insn_cnt(program)
            code = ctypes.string_at(lib.bpf_program__insns(program), 8 * count)
            out.append(Program(lib.bpf_program__name(program).decode(), lib.bpf_program__section_name(program).decode(), fd, code))
    return out

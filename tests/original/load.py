"""Loading the programs of the matrix: maps, kfunc ids and BTF made as a row needs them, and all of it gone afterwards."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bpflens.btf.btf import Kind
from bpflens.btf.build import BtfBuilder
from bpflens.btf.fields import member_offset
from bpflens.errors import NotSupported
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.programs.load import create_map, load_btf, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.sys.syscalls import libc
from original.matrix import MAPS, TYPE, Row

STATIC, GLOBAL = 0, 1
ARENA_START = 1 << 44
# name -> map type, type of the value, its size, flags
SPECIAL = {
    "timer": (2, "timer_value", 24, 0),
    "wq": (2, "wq_value", 24, 0),
    "kptr": (2, "kptr_value", 16, 0),
    "list": (2, "list_value", 24, 0),
    "sk_storage": (24, "int", 4, 1),
    "task_storage": (29, "int", 4, 1),
}


@dataclass(frozen=True)
class Loaded:
    """A loaded program: `code` as it was given to the kernel."""

    fd: int
    id: int
    tag: str
    code: bytes


@contextmanager
def loaded(row: Row) -> Iterator[Loaded]:
    """The row's program, loaded for the length of a with statement."""
    fds: list[int] = []
    try:
        names: dict[str, int] = {}
        text = row.text
        types = Types(row, fds)
        for name in dict.fromkeys(re.findall(r"\{(\w+)\}", text)):
            names[name] = _map(name, fds, types)
        for whole, name in re.findall(r"(\{btf:(\w+)\})", text):
            text = text.replace(whole, str(types.ids[name]))
        for whole, name, member in re.findall(r"(\{member:(\w+)\.(\w+)\})", text):
            text = text.replace(whole, str(member_offset(vmlinux(), name, member)))
        for whole, kind, name in re.findall(r"(\{(kfunc|struct):([\w|]+)\})", text):
            found = (vmlinux().find(one, Kind.FUNC if kind == "kfunc" else Kind.STRUCT) for one in name.split("|"))
            id = next((id for id in found if id is not None), None)
            if id is None:
                raise NotSupported(name, "this kernel does not have it")
            text = text.replace(whole, str(id))
        for name, fd in names.items():
            text = text.replace(f"{{{name}}}", str(fd))
        options: dict[str, object] = {}
        if "map[idx:" in text:
            options["fd_array"] = [_map("hash", fds, types), _map("array1", fds, types)]
        code = assemble(_labels(text), "kernel")
        if row.functions:
            options.update(btf_fd=types.fd(), func_info=types.records(row, text))
        if row.target[1]:
            options["attach_btf_id"] = vmlinux().find(row.target[1], Kind[row.target[0]])
        fd = load_program(code, TYPE[row.type], expected_attach_type=row.attach, flags=row.flags, **options)  # type: ignore[arg-type]
        fds.append(fd)
        info = prog_info_by_fd(fd)
        yield Loaded(fd, info.id, info.tag, code)
    finally:
        for fd in fds:
            os.close(fd)


def _map(name: str, fds: list[int], types: Types) -> int:
    """A map of the matrix; those that need BTF, an inner map or memory are made here."""
    if name in MAPS:
        fds.append(create_map(*MAPS[name][:4], flags=MAPS[name][4]))
    elif name in ("hash_of_maps", "array_of_maps"):
        fds.append(create_map(2, 4, 8, 4))
        fds.append(create_map(13 if name == "hash_of_maps" else 12, 4, 4, 4, inner_fd=fds[-1]))
    elif name == "arena":
        fds.append(create_map(33, 0, 0, 4, flags=1 << 10, map_extra=ARENA_START))
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap(ctypes.c_void_p(ARENA_START), ctypes.c_size_t(4 * 4096), 3, 0x11, fds[-1], ctypes.c_long(0))
    else:
        map_type, value, size, flags = SPECIAL[name]
        entries = 1 if map_type == 2 else 0
        key, of = types.ids["int"], types.ids[value]
        fds.append(create_map(map_type, 4, size, entries, flags=flags, btf_fd=types.fd(), key_type_id=key, value_type_id=of))
    return fds[-1]


def _slots(text: str) -> dict[str, int]:
    """Slot of every label."""
    out, slot = {}, 0
    for line in text.splitlines():
        if line.endswith(":"):
            out[line[:-1]] = slot
        elif line.strip():
            slot += 2 if re.search(r"= (map\[|subprog\[|ksym\[|0x)", line) else 1
    return out


def _labels(text: str) -> str:
    """`subprog[label]` with its distance."""
    slots = _slots(text)
    out, slot = [], 0
    for line in text.splitlines():
        match = re.search(r"subprog\[(\w+)\]", line)
        if match:
            line = line.replace(match.group(0), f"subprog[+{slots[match.group(1)] - slot - 1}]")
        out.append(line)
        if line.strip() and not line.endswith(":"):
            slot += 2 if re.search(r"= (map\[|subprog\[|ksym\[|0x)", line) else 1
    return "\n".join(out) + "\n"


class Types:
    """BTF with the types that maps and programs of the matrix need, and a function per entry of `row.functions`: (label, shape)."""

    def __init__(self, row: Row, fds: list[int]) -> None:
        self.fds = fds
        self.loaded = -1
        self.build = build = BtfBuilder()
        number = build.add_int("int", 4, 1)
        u32 = build.add_int("unsigned int", 4)
        u64 = build.add_int("unsigned long", 8)
        two = build.add_array(u64, 2)
        lock = build.add_struct("bpf_spin_lock", 4, [("val", u32, 0)])
        timer = build.add_struct("bpf_timer", 16, [("__opaque", two, 0)])
        work = build.add_struct("bpf_wq", 16, [("__opaque", two, 0)])
        node = build.add_struct("bpf_list_node", 24, [("__opaque", build.add_array(u64, 3), 0)])
        head = build.add_struct("bpf_list_head", 16, [("__opaque", two, 0)])
        task = build.add_ptr(build.add_modifier(Kind.TYPE_TAG, build.add_struct("task_struct", 0, []), "kptr"))
        self.ids = {
            "int": number,
            "timer_value": build.add_struct("timer_value", 24, [("t", timer, 0), ("c", u64, 128)]),
            "wq_value": build.add_struct("wq_value", 24, [("w", work, 0), ("c", u64, 128)]),
            "kptr_value": build.add_struct("kptr_value", 16, [("p", task, 0), ("c", u64, 64)]),
            "list_value": build.add_struct("list_value", 24, [("lock", lock, 0), ("head", head, 64)]),
            "foo": build.add_struct("foo", 32, [("node", node, 0), ("x", u64, 192)]),
            "plain": build.add_struct("plain", 8, [("x", u64, 0)]),
        }
        build.add_decl_tag("contains:foo:node", self.ids["list_value"], 1)
        pointer = build.add_ptr(0)
        self.shapes = {
            "prog": [("ctx", pointer)],
            "cb": [("map", pointer), ("key", pointer), ("value", pointer), ("ctx", pointer)],
            "loop": [("index", u64), ("ctx", pointer)],
        }

        protos = {shape: build.add_func_proto(number, params) for shape, params in self.shapes.items()}
        self.functions = [build.add_func(label, protos[shape], GLOBAL if shape == "prog" else STATIC) for label, shape in row.functions]

    def fd(self) -> int:
        """The BTF, loaded once for the program and its maps."""
        if self.loaded < 0:
            self.loaded = load_btf(self.build.build())
            self.fds.append(self.loaded)
        return self.loaded

    def records(self, row: Row, text: str) -> list[tuple[int, int]]:
        """func_info."""
        slots = _slots(text)
        return [(slots.get(label, 0), type_id) for (label, _), type_id in zip(row.functions, self.functions, strict=True)]

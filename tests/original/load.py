"""Loading the programs of the matrix: maps, kfunc ids and BTF made as a row needs them, and all of it gone afterwards."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bpflens.formats.btf import Kind
from bpflens.formats.btf_build import BtfBuilder
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.load import create_map, load_btf, load_program
from bpflens.kernel.prog_info import prog_info_by_fd

from original.matrix import MAPS, TYPE, Row

STATIC, GLOBAL = 0, 1


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
        for name in dict.fromkeys(re.findall(r"\{(\w+)\}", text)):
            fds.append(create_map(*MAPS[name][:4], flags=MAPS[name][4]))
            names[name] = fds[-1]
        for whole, kind, name in re.findall(r"(\{(kfunc|struct):(\w+)\})", text):
            id = vmlinux().find(name, Kind.FUNC if kind == "kfunc" else Kind.STRUCT)
            assert id is not None, f"this kernel has no {name}"
            text = text.replace(whole, str(id))
        for name, fd in names.items():
            text = text.replace(f"{{{name}}}", str(fd))
        options: dict[str, object] = {}
        if "map[idx:" in text:
            options["fd_array"] = [_map("hash", fds), _map("array1", fds)]
        code = assemble(_labels(text), "kernel")
        if row.functions:
            options.update(_btf(row, code, text, fds))
        fd = load_program(code, TYPE[row.type], expected_attach_type=row.attach, flags=row.flags, **options)  # type: ignore[arg-type]
        fds.append(fd)
        info = prog_info_by_fd(fd)
        yield Loaded(fd, info.id, info.tag, code)
    finally:
        for fd in fds:
            os.close(fd)


def _map(name: str, fds: list[int]) -> int:
    fds.append(create_map(*MAPS[name][:4], flags=MAPS[name][4]))
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


def _btf(row: Row, code: bytes, text: str, fds: list[int]) -> dict[str, object]:
    """BTF with a function per entry of `row.functions`: (label, shape)."""
    build = BtfBuilder()
    number = build.add_int("int", 4, 1)
    wide = build.add_int("unsigned long", 8)
    pointer = build.add_ptr(0)
    shapes = {
        "prog": [("ctx", pointer)],
        "cb": [("map", pointer), ("key", pointer), ("value", pointer), ("ctx", pointer)],
        "loop": [("index", wide), ("ctx", pointer)],
        "exception": [("cookie", wide)],
    }
    slots = _slots(text)
    records = []
    for label, shape in row.functions:
        proto = build.add_func_proto(number, shapes[shape])
        records.append((slots.get(label, 0), build.add_func(label, proto, GLOBAL if shape == "prog" else STATIC)))
    fds.append(load_btf(build.build()))
    return {"btf_fd": fds[-1], "func_info": records}

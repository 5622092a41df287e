"""Load attributes that bpf_prog_info does not have: expected attach type, sleepable, frags, target program.

Read exactly from the kernel by an iterator over all programs (iterator.py), which is loaded, read, and closed; 1 ms.
Where iterators can't be used, `oracle` asks by offering probe programs to a program array whose owner the program is made for a moment.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bpflens.errors import BpflensError, KernelError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, encode
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel.descriptors import close
from bpflens.kernel.programs.iterator import OBJECT, iterate, over
from bpflens.kernel.sys import fact_cache
from bpflens.kernel.sys.bpf import Buffer, bpf_errno, cmd
from bpflens.lean import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("Attributes", "oracle", "read_attributes", "sleepable_flag")

F_SLEEPABLE, F_XDP_HAS_FRAGS, F_XDP_DEV_BOUND_ONLY = 1 << 4, 1 << 5, 1 << 6
# (name, struct, field); the first struct that has the field is read (sleepable moved from aux to the program in v6.9)
_COLUMNS = (
    ("expected_attach_type", "bpf_prog", "expected_attach_type"),
    ("sleepable", "bpf_prog", "sleepable"),
    ("sleepable", "bpf_prog_aux", "sleepable"),
    ("xdp_has_frags", "bpf_prog_aux", "xdp_has_frags"),
    ("dev_bound", "bpf_prog_aux", "dev_bound"),
    ("attach_btf_id", "bpf_prog_aux", "attach_btf_id"),
)


@frozen
class Attributes:
    """`flags` as in BPF_PROG_LOAD (sleepable, frags, device bound); `target_prog_id`: the program that an EXT, fentry or fexit program
    was loaded for, 0 for none.
    """

    expected_attach_type: int
    flags: int = 0
    attach_btf_id: int = 0
    target_prog_id: int = 0


def sleepable_flag(sleepable: bool) -> int:
    """The load flag of a sleepable program."""
    return F_SLEEPABLE if sleepable else 0


def read_attributes(prog_id: int) -> Attributes | None:
    """The attributes of a loaded program, exactly; None where iterators can't be used here or the program is gone."""
    plan = _plan()
    if plan is None:
        return None
    code, fn_id, names = plan
    try:
        rows = iterate(code, fn_id, 8 * (len(names) + 1))
    except (KernelError, OSError):
        return None
    for row in rows:
        values = dict(zip(names, row, strict=False))
        if values["id"] == prog_id:
            flags = sleepable_flag(bool(values.get("sleepable")))
            flags |= F_XDP_HAS_FRAGS if values.get("xdp_has_frags") else 0
            flags |= F_XDP_DEV_BOUND_ONLY if values.get("dev_bound") else 0
            return Attributes(values["expected_attach_type"], flags, values.get("attach_btf_id", 0), row[-1])
    return None


def oracle(prog_fd: int, prog_type: int, candidates: Sequence[tuple[int, int]], attach_btf_id: int = 0) -> list[tuple[int, int]]:
    """Which (expected attach type, flags) among `candidates` the program has, by __bpf_prog_map_compatible(): all that the kernel can't
    tell apart; empty where the program can't be put into a program array. No kernel memory is read.

    Exact since Linux 4540aed51b12 ("bpf: Enforce expected_attach_type for tailcall compatibility"), v6.18; the program is held by a
    private array for microseconds.
    """
    from bpflens.kernel.programs.load import create_map, load_program

    array = create_map(MapType.PROG_ARRAY, 4, 4, 2)
    try:
        if not _put(array, 0, prog_fd):
            return []
        return_1 = encode((Insn.make(op.ALU64 | op.MOV | op.K, imm=1), Insn.make(op.EXIT_CODE)))
        return_0 = encode((Insn.make(op.ALU64 | op.MOV | op.K), Insn.make(op.EXIT_CODE)))
        fits = []
        for attach, flags in candidates:
            for code in (return_1, return_0):
                try:
                    probe = load_program(code, prog_type, expected_attach_type=attach, flags=flags, attach_btf_id=attach_btf_id)
                except KernelError:
                    continue
                try:
                    if _put(array, 1, probe):
                        fits.append((attach, flags))
                finally:
                    close(probe)
                break
        return fits
    finally:
        close(array)


def _put(array: int, index: int, fd: int) -> bool:
    key, value = Buffer(index.to_bytes(4, "little")), Buffer(fd.to_bytes(4, "little"))
    result, _, _ = bpf_errno(cmd.MAP_UPDATE_ELEM, struct.pack("=IIQQQ", array, 0, key.address, value.address, 0))
    return result >= 0


def _plan() -> tuple[bytes, int, list[str]] | None:
    """The iterator program for this kernel: code, BTF id of its function, names of the columns that it writes."""
    known = fact_cache.load("attributes")
    if isinstance(known, dict):
        return bytes.fromhex(known["code"]), known["function"], known["columns"]
    from bpflens.kernel.btf import vmlinux

    try:
        code, fn_id, names = _assemble(vmlinux())
    except BpflensError:
        return None
    fact_cache.store("attributes", {"code": code.hex(), "function": fn_id, "columns": names})
    return code, fn_id, names


def _assemble(btf: Btf) -> tuple[bytes, int, list[str]]:
    from functools import partial

    from bpflens.btf.fields import member_offset
    from bpflens.errors import InputError

    offset = partial(member_offset, btf)
    columns: list[tuple[str, str, int, int, int]] = [("id", "bpf_prog_aux", *_member(btf, "bpf_prog_aux", "id"))]
    for name, struct_name, member in _COLUMNS:
        if name in (column[0] for column in columns):
            continue
        try:
            columns.append((name, struct_name, *_member(btf, struct_name, member)))
        except InputError:
            continue
    row_bytes = 8 * (len(columns) + 1)
    body = [Insn.make(op.LDX | op.MEM | op.DW, 7, OBJECT, offset("bpf_prog", "aux"))]
    for index, (_, struct_name, byte_off, bit, size) in enumerate(columns):
        base = OBJECT if struct_name == "bpf_prog" else 7
        bits = size if bit >= 0 else 0
        body.append(Insn.make(op.LDX | op.MEM | (op.B if bits else op.SIZE_CODE[size]), 2, base, byte_off))
        if bits:
            body.append(Insn.make(op.ALU64 | op.RSH | op.K, 2, imm=bit))
            body.append(Insn.make(op.ALU64 | op.AND | op.K, 2, imm=(1 << bits) - 1))
        body.append(Insn.make(op.STX | op.MEM | op.DW, 10, 2, 8 * index - row_bytes))
    body += [
        Insn.make(op.ALU64 | op.MOV | op.K, 2),
        Insn.make(op.LDX | op.MEM | op.DW, 3, 7, offset("bpf_prog_aux", "dst_prog")),
        Insn.make(op.JMP | op.JEQ | op.K, 3, 0, 2, 0),
        Insn.make(op.LDX | op.MEM | op.DW, 3, 3, offset("bpf_prog", "aux")),
        Insn.make(op.LDX | op.MEM | op.W, 2, 3, offset("bpf_prog_aux", "id")),
        Insn.make(op.STX | op.MEM | op.DW, 10, 2, -8),
    ]
    return *over(btf, "prog", body, row_bytes), [column[0] for column in columns]


def _member(btf: Btf, struct_name: str, member: str) -> tuple[int, int, int]:
    """(byte offset, lowest bit of a bit-field or -1, size in bytes or in bits)."""
    from bpflens.btf.fields import field

    found = field(btf, btf.struct_id(struct_name), member)
    if found.bit_size:
        return found.bit_off // 8, found.bit_off % 8, found.bit_size
    return found.bit_off // 8, -1, btf.size(found.type_id)

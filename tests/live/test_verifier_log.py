"""Every form of the extended set that this kernel accepts: a probe program with it is loaded, and the verifier log has our text."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import oracles
from bpflens.btf.btf import Kind
from bpflens.errors import KernelError
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.isa.extended.table import ROWS, Row, lookup
from bpflens.isa.extended.text import format_word, is_pair
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.programs.load import create_map, load_btf, load_program_log

pytestmark = pytest.mark.live

SOCKET_FILTER, SCHED_CLS, SYSCALL = 1, 3, 31
ARRAY, ARENA = 2, 33
MMAPABLE, SLEEPABLE = 1 << 10, 1 << 4

REFUSED = {
    "callx": "no kernel calls registers",
    "gotox": "new in v6.19",
    "mov_percpu": "made by the verifier only",
    "zext": "made by the verifier only",
    "nospec": "made by the verifier only",
    "call_args": "made by the verifier only",
    "call_subprog_xlated": "made by the verifier only",
    "tail_call": "made by the JIT only",
    "call_kfunc_module": "this machine has no module with BTF kfuncs",
}


def probe(row: Row) -> str:
    """A program with one instruction of the row, that the verifier accepts."""
    text = format_word(_word(row), 0 if row.slots == 2 else None, "kernel")
    setup = "r6 = r1\nr3 = 7\nr4 = 2\n*(u64 *)(r10 -8) = 5\n"
    name = row.name
    if row.control == "exit":
        return "r0 = 0\nexit"
    if name.startswith("ld_"):
        return f"r6 = r1\nr4 = 2\n{text}\nr0 = 0\nexit"
    if row.control in ("goto", "cond"):
        return f"{setup}r0 = 0\n{text}\nr0 = 1\nexit"
    if name == "call_subprog":
        return f"{setup}call pc+1\nexit\nr0 = 3\nexit"
    if name == "call_helper":
        return f"{setup}call bpf_get_prandom_u32#7\nr0 = 0\nexit"
    if "cmpxchg" in name:
        setup += "r0 = 5\n"
    return f"{setup}{text}\nr0 = 0\nexit"


def _word(row: Row) -> int:
    """dst r3 or the stack, src r4 or the stack; offset and immediate that are accepted."""
    ahead = 0 if row.control == "goto" else 1
    fields = {"dst": 3, "src": 4, "off": ahead if row.control else 0, "imm": ahead if "goto" in row.kernel else 3}
    if row.value & 7 in (1, 2, 3):
        fields["off"] = -8 & 0xFFFF
        if row.value & 7 == 1 or "load_acquire" in row.name:
            fields["src"] = 10
        else:
            fields["dst"] = 10
    word = fields["dst"] << 8 | fields["src"] << 12 | fields["off"] << 16 | fields["imm"] << 32
    return row.value | word & ~row.mask


@pytest.fixture(scope="module")
def fds() -> Iterator[dict[str, int]]:
    """An array map and an arena."""
    with ExitStack() as stack:
        found = {"array": create_map(ARRAY, 4, 8, 1)}
        stack.callback(os.close, found["array"])
        try:
            found["arena"] = create_map(ARENA, 0, 0, 1, flags=MMAPABLE, map_extra=1 << 32)
            stack.callback(os.close, found["arena"])
        except KernelError:
            pass
        yield found


def compare(code: bytes, log: str, name: str = "") -> None:
    """Every instruction that the log shows has our text; the one of the row is among them."""
    slots = words(code)
    shown = oracles.verifier_lines(log)
    assert shown, log
    for slot, (opcode, kernel) in shown.items():
        following = slots[slot + 1] if slot + 1 < len(slots) and is_pair(slots[slot], slots[slot + 1]) else None
        ours = format_word(slots[slot], following, "kernel")

        assert slots[slot] & 0xFF == opcode
        assert oracles.as_the_log_has_it(ours, kernel) == kernel
    if name:
        assert name in {row.name for slot in shown if (row := lookup(slots[slot])) is not None}


def load(code: bytes, type: int = SOCKET_FILTER, **options) -> str:
    """The log of a program that the kernel accepts."""
    fd, log = load_program_log(code, type, log_level=2, **options)
    os.close(fd)
    return log


PLAIN = [row for row in ROWS if row.name not in REFUSED and row.group != "internal" and row.name not in (
    "ld_map_fd", "ld_map_value", "ld_map_idx", "ld_map_idx_value", "ld_btf_id", "ld_func", "call_kfunc", "addr_space_cast",
)]  # fmt: skip


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: row.name)
def test_form_is_printed_as_the_verifier_does(row: Row) -> None:
    code = assemble(probe(row), "kernel")

    compare(code, load(code), row.name)


@pytest.mark.parametrize("name", ["ld_map_fd", "ld_map_value", "ld_map_idx", "ld_map_idx_value"])
def test_map_references(name: str, fds: dict[str, int]) -> None:
    fd = fds["array"]
    text = {
        "ld_map_fd": f"map[fd:{fd}]",
        "ld_map_value": f"map[fd:{fd}][0]+4",
        "ld_map_idx": "map[idx:0]",
        "ld_map_idx_value": "map[idx:0]+4",
    }[name]
    code = assemble(f"r1 = {text}\nr0 = 0\nexit")

    compare(code, load(code, fd_array=[fd]), name)


def test_kernel_symbol() -> None:
    """A function: variables are only found by kernels with CONFIG_KALLSYMS_ALL."""
    symbol = vmlinux().find("schedule", Kind.FUNC)
    assert symbol is not None
    code = assemble(f"r1 = ksym[btf_id:{symbol}]\nr0 = 0\nexit")

    compare(code, load(code), "ld_btf_id")


def test_kfunc_call() -> None:
    lock, unlock = (vmlinux().find(f"bpf_rcu_read_{what}", Kind.FUNC) for what in ("lock", "unlock"))
    code = assemble(f"call kernel-function#{lock}\ncall kfunc bpf_rcu_read_unlock#{unlock}\nr0 = 0\nexit")

    compare(code, load(code, SCHED_CLS), "call_kfunc")


def test_function_reference(fds: dict[str, int]) -> None:
    """bpf_for_each_map_elem with a callback; it needs BTF with the two functions."""
    code = assemble(
        f"r1 = map[fd:{fds['array']}]\nr2 = subprog[callback]\nr3 = 0\nr4 = 0\ncall bpf_for_each_map_elem\nr0 = 0\nexit\n"
        "callback: r0 = 0\nexit"
    )
    btf = load_btf(minimal_btf())
    try:
        log = load(code, SCHED_CLS, btf_fd=btf, func_info=[(0, 3), (9, 4)])
    finally:
        os.close(btf)

    compare(code, log, "ld_func")


def test_arena_cast(fds: dict[str, int]) -> None:
    if "arena" not in fds:
        pytest.skip("this kernel lacks arenas")
    code = assemble(
        f"r1 = map[fd:{fds['arena']}]\nr2 = 0\nr1 = addr_space_cast(r2, 0, 1)\nr3 = *(u32 *)(r1 +0)\nr0 = 0\nexit"
    )

    compare(code, load(code, SYSCALL, flags=SLEEPABLE), "addr_space_cast")


@pytest.mark.parametrize("name", sorted({*REFUSED, *(row.name for row in ROWS if row.group == "internal")}))
def test_what_is_refused_is_refused(name: str) -> None:
    """Forms that are left out above: the kernel really does not take them."""
    row = next(row for row in ROWS if row.name == name)
    if name == "call_kfunc_module":
        return  # depends on the machine's modules
    word = _word(row)
    word |= 1 << 16 if row.nonzero else 0
    code = assemble(f"r6 = r1\nr3 = 7\nr4 = 2\n*(u64 *)(r10 -8) = 5\nr0 = 5\n.quad {word:#x}\nr0 = 0\nexit")

    with pytest.raises(KernelError):
        load(code)


def minimal_btf() -> bytes:
    """int; int (*)(void); FUNC main (global), FUNC callback (static), with 4 parameters for the callback's own prototype."""
    strings = b"\0int\0main\0callback\0a\0b\0c\0d\0"
    at = {name: strings.index(b"\0" + name.encode() + b"\0") + 1 for name in ("int", "main", "callback", "a", "b", "c", "d")}
    types = struct.pack("<IIII", at["int"], 1 << 24, 4, 1 << 24 | 32)  # 1: int
    types += struct.pack("<III", 0, 13 << 24 | 0, 1)  # 2: int (void)
    types += struct.pack("<III", at["main"], 12 << 24 | 1, 2)  # 3: FUNC main, global
    types += struct.pack("<III", at["callback"], 12 << 24 | 0, 5)  # 4: FUNC callback, static
    types += struct.pack("<III", 0, 13 << 24 | 4, 1)  # 5: int (a, b, c, d)
    types += b"".join(struct.pack("<II", at[name], 1) for name in "abcd")
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings

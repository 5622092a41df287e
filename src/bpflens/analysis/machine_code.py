"""Machine code of a JITed program, with the BPF instructions that each piece came from.

    Jited(code, lines)  +  line_info   ──►   JitedLine(0x13, "callq 0xffffffff81516eb0 <__htab_map_lookup_elem>", slots=(5, 8))

Decoded by capstone (x86-64, arm64). The kernel's jited_line_info gives one address for each record of line_info
(bpf_prog_fill_jited_linfo(), kernel/bpf/core.c, Linux 6.18): from there the code of the BPF instructions up to the next record begins, so a
program without line_info is shown function by function only. Cost: linear; targets are looked up in kallsyms once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from bpflens.errors import NotSupported
from bpflens.lean import frozen
from bpflens.program import Jited, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("JitedLine", "listing")

_TARGET = re.compile(r"(#?0x)([0-9a-f]+)$")
_BIG_DECIMAL = re.compile(r"(?<![\w.])\d{6,}\b")  # capstone prints large constants of AT&T syntax in decimal
_BRANCHES = {
    "x86_64": re.compile(r"call|j|loop|xbegin"),
    "aarch64": re.compile(r"bl?$|b\.|cbn?z|tbn?z"),
}
_INDIRECT_ARM = re.compile(r"(?:blr|br) (x\d+)$")
_MOVE_ARM = re.compile(r"(mov|movz|movn|movk) (x\d+), #(-?(?:0x)?[0-9a-f]+)(?:, lsl #(\d+))?$")


@frozen
class JitedLine:
    """One machine instruction: `offset` in bytes from the start of `function`, `address` in the kernel (0: hidden), bytes and `text`.

    `slots`: the BPF instructions (first slot, end exclusive) whose machine code begins here, None within; `line` the index of
    their first record in the program's `lines`. `target`: the symbol that the text refers to.
    """

    function: str
    offset: int
    address: int
    code: bytes
    text: str
    target: str | None = None
    slots: tuple[int, int] | None = None
    line: int | None = None


def listing(program: Program, syntax: str = "att") -> Iterator[JitedLine]:
    """Every machine instruction of the program, function by function. `syntax`: "att" or "intel", for x86.

    NotSupported where capstone is missing or does not know the machine. Bytes that it cannot decode are `.byte` lines.
    """
    machine = "aarch64" if program.arch == "arm64" else program.arch or "x86_64"
    decoder = _decoder(machine, syntax, program.origin.where)
    decoded = [list(decoder.disasm_lite(jited.code, jited.address)) for jited in program.jited]
    branches = _BRANCHES[machine]
    targets = [_targets(insns, branches, machine) for insns in decoded]
    names = _names(program.jited, (address for found in targets for address in found.values()))
    ends = _slot_ends(program)
    for jited, insns, found in zip(program.jited, decoded, targets, strict=True):
        begins: dict[int, list[int]] = {}  # several where instructions became no code at all
        for at, record in jited.lines:
            if record < len(program.lines):
                begins.setdefault(at, []).append(record)
        for address, size, mnemonic, operands in insns:
            offset = address - jited.address
            target, text = found.get(address), _BIG_DECIMAL.sub(_hex, f"{mnemonic} {operands}".rstrip())
            symbol = None
            if target is not None and jited.address and jited.address < target < jited.address + len(jited.code):
                text += f" <{jited.name}+{target - jited.address:#x}>"
            elif target is not None and not jited.address and 0 <= target < len(jited.code):
                text += f" <{jited.name}+{target:#x}>"
            elif target is not None and jited.address:
                symbol = names.get(target)
                text += f" <{symbol}>" if symbol else ""
            elif target is not None:
                text = f"{mnemonic} (target hidden: needs CAP_SYSLOG)"
            records = begins.get(offset)
            slots = (program.lines[records[0]].off_insns, ends[program.lines[records[-1]].off_insns]) if records else None
            code = jited.code[offset : offset + size]
            yield JitedLine(jited.name, offset, address if jited.address else 0, code, text, symbol, slots, records[0] if records else None)


def _hex(match: re.Match[str]) -> str:
    return f"{int(match[0]):#x}"


def _decoder(machine: str, syntax: str, where: str) -> Any:
    try:
        import capstone
    except ImportError:
        reason = "machine code cannot be shown: the Python module capstone is not installed"
        raise NotSupported(where, reason, "pip install capstone") from None
    if machine == "x86_64":
        decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        decoder.syntax = capstone.CS_OPT_SYNTAX_ATT if syntax == "att" else capstone.CS_OPT_SYNTAX_INTEL
    elif machine == "aarch64":
        decoder = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    else:
        raise NotSupported(where, f"machine code of {machine} cannot be shown, only that of x86_64 and aarch64")
    decoder.skipdata = True
    return decoder


_Decoded = tuple[int, int, str, str]


def _targets(insns: Iterable[_Decoded], branches: re.Pattern[str], machine: str) -> dict[int, int]:
    """Address of a call or jump -> where it goes. On arm64 also calls of a register that was just loaded with a constant."""
    found: dict[int, int] = {}
    registers: dict[str, int] = {}
    for address, _, mnemonic, operands in insns:
        match = _TARGET.search(operands)
        if match and branches.match(mnemonic):
            found[address] = int(match[2], 16)
        elif machine == "aarch64":
            _follow_register(address, f"{mnemonic} {operands}", registers, found)
    return found


def _follow_register(address: int, text: str, registers: dict[str, int], found: dict[int, int]) -> None:
    """emit_call() of the arm64 JIT loads the address in up to four parts (arch/arm64/net/bpf_jit_comp.c, Linux 6.18)."""
    call = _INDIRECT_ARM.match(text)
    if call:
        if call[1] in registers:
            found[address] = registers[call[1]]
        registers.clear()
        return
    move = _MOVE_ARM.match(text)
    if move:
        value, shift = int(move[3], 0), int(move[4] or 0)
        if move[1] == "movk" and move[2] in registers:
            registers[move[2]] = registers[move[2]] & ~(0xFFFF << shift) | value << shift
        elif move[1] != "movk":
            value <<= shift
            registers[move[2]] = (~value if move[1] == "movn" else value) & 0xFFFF_FFFF_FFFF_FFFF


def _names(functions: Iterable[Jited], targets: Iterable[int]) -> Mapping[int, str]:
    own = {jited.address: jited.name for jited in functions if jited.address}
    others = {address for address in targets if address not in own and address >= 1 << 47}
    if others:
        from bpflens.kernel.sys.kallsyms import kallsyms

        own.update(kallsyms().names(others))
    return own


def _slot_ends(program: Program) -> dict[int, int]:
    """First slot of a line_info record -> the slot where the next record, or the next function, begins."""
    starts = sorted({line.off_insns for line in program.lines} | {function.start for function in program.functions})
    return dict(zip(starts, [*starts[1:], program.insn_count], strict=False))  # without lines there is one end too many

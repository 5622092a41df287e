"""The listing of a JITed program: machine code, with the BPF instructions that each piece was made of above it.

    bpf_prog_3b185187f1855c4c_xdp_pass:
    ; 0: (b7) r0 = 2
       0:  f3 0f 1e fa              endbr64
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.analysis.machine_code import listing
from bpflens.isa.extended.insn import words
from bpflens.isa.extended.text import format_word, is_pair, with_name
from bpflens.program import Program
from bpflens.view.style.colours import DIM, OFF
from bpflens.view.style.printable import printable

__all__ = ("jited_listing",)

_BYTES_WIDTH = 32


def jited_listing(program: Program, raw_insn: bool = True, source: bool = False, color: bool = False) -> Iterator[str]:
    """The lines of a program's machine code, each with its newline. NotSupported where it cannot be decoded."""
    code = words(program.code)
    dim, plain = (DIM, OFF) if color else ("", "")
    function = None
    for line in listing(program):
        if line.function != function:
            yield f"{'' if function is None else chr(10)}{printable(line.function)}:\n"
            function = line.function
        if line.slots is not None:
            if source and line.line is not None:
                yield f"{dim}; {printable(program.lines[line.line].text.strip())}{plain}\n"
            slot = line.slots[0]
            while slot < min(line.slots[1], len(code)):
                following = code[slot + 1] if slot + 1 < len(code) else None
                text = format_word(code[slot], following, "kernel", "id" if program.xlated else "fd")
                text = with_name(text, printable(program.symbols.get(slot, "")))
                yield f"{dim}; {slot}: ({code[slot] & 0xFF:02x}) {text}{plain}\n"
                slot += 2 if is_pair(code[slot], following) else 1
        place = f"{line.address:x}" if line.address else f"{line.offset:x}"
        columns = f"{line.code.hex(' '):<{_BYTES_WIDTH}} " if raw_insn else ""
        target = f" <{line.target}>" if line.target and f"<{line.target}>" not in line.text else ""
        yield f"{place:>8}:  {columns}{printable(line.text + target)}\n"

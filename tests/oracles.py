"""Other tools that say what extended code is, and the one place where their spelling is brought to ours.

Every difference that is taken away here is named; what is left must be equal.
"""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

LLVM_14_FAULTS = {
    "imm_store": "does not know stores of immediates (cpu v4)",
    "movsx": "prints movsx as mov: the offset is ignored",
    "sdiv": "prints signed division and modulo as unsigned: the offset is ignored",
    "address": "prints addr_space_cast and per-CPU mov as mov: the offset is ignored",
    "zext": "prints the zero-extension marker as mov: the immediate is ignored",
    "new": "does not know bswap, gotol, may_goto, ldsx, load_acquire, store_release, jset, callx by dst, or internal forms",
    "call": "prints calls of helpers, functions and kfuncs alike",
    "mod": "does not know unsigned modulo",
    "pseudo": "leaves out the second half of ld_pseudo",
    "index": "leaves out the constant of an indirect packet load",
}


def llvm_fault(name: str) -> str | None:
    """The named fault of llvm-objdump 14 with a row of our table, None where it is right."""
    if re.match(r"st\d", name):
        return "imm_store"
    if name.startswith("movsx"):
        return "movsx"
    if name.startswith(("sdiv", "smod")):
        return "sdiv"
    if name in ("addr_space_cast", "mov_percpu"):
        return "address"
    if name == "zext":
        return "zext"
    if name.startswith(("call_subprog", "call_kfunc")):
        return "call"
    if re.match(r"mod\d", name):
        return "mod"
    if name.startswith(("ld_map", "ld_btf_id", "ld_func")):
        return "pseudo"
    if name.startswith("ld_ind"):
        return "index"
    if name.startswith(("bswap", "ldsx", "jset", "load_acquire", "store_release", "probe_")) or name in (
        "gotol", "may_goto", "gotox", "callx", "call_args", "tail_call", "nospec",
    ):  # fmt: skip
        return "new"
    return None


def llvm_lines(code: bytes, directory: Path) -> dict[int, str]:
    """slot -> text of llvm-objdump 14, hexadecimal, in our spelling of the llvm dialect."""
    source = directory / "code.s"
    source.write_text('.section prog,"ax"\n' + "".join(f".quad {word:#x}\n" for (word,) in struct.iter_unpack("<Q", code)))
    target = directory / "code.o"
    subprocess.run(["llvm-mc", "-triple", "bpfel", "-filetype=obj", "-o", target, source], check=True)
    out = subprocess.run(
        ["llvm-objdump", "-d", "--no-show-raw-insn", "--print-imm-hex", "--mattr=+alu32", target],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    lines = {}
    for line in out.splitlines():
        found = re.match(r"\s*(\d+):\s+(.*)", line)
        if found:
            lines[int(found[1])] = _llvm_spelling(found[2])
    return lines


def _llvm_spelling(text: str) -> str:
    text = re.sub(r"\s+", " ", re.sub(r"\s<[\w.$+@-]+>\s*$", "", text)).strip()
    # with 32-bit registers LLVM prints plain loads and stores of up to 32 bits on w registers; ours are on r, as without them
    text = re.sub(r"^w(\d+) = \*\(u(8|16|32) \*\)\(", r"r\1 = *(u\2 *)(", text)
    text = re.sub(r"^(\*\(u(?:8|16|32) \*\)\(.*\)) = w(\d+)$", r"\1 = r\2", text)
    # helpers are called by number: LLVM prints it signed, we unsigned, because a sign marks a distance
    return re.sub(r"^call -0x([0-9a-f]+)$", lambda m: f"call {(1 << 32) - int(m[1], 16):#x}", text)


_LOG_LINE = re.compile(r"^(\d+): \(([0-9a-f]{2})\) (.*?)\s*(?:;.*)?$")


def verifier_lines(log: str) -> dict[int, tuple[int, str]]:
    """slot -> (opcode, text) of a verifier log of level 2, as the kernel printed it the first time it came by."""
    lines: dict[int, tuple[int, str]] = {}
    for line in log.splitlines():
        found = _LOG_LINE.match(line)
        if found:
            lines.setdefault(int(found[1]), (int(found[2], 16), found[3]))
    return lines


def as_the_log_has_it(text: str, kernel: str) -> str:
    """Our text of an instruction with what the log says otherwise, by design, in the log's words.

    The log prints the address that the loader put into a ld_imm64 where we print what it refers to, and the name of a kfunc.
    """
    address = re.fullmatch(r"(r\d+ = )0x[0-9a-f]+", kernel)
    if address and re.match(r"r\d+ = (?:map|ksym|subprog)\[", text):
        return re.sub(r"= .*", "= ", text).strip() + kernel[len(address[1]) - 1 :]
    name = re.fullmatch(r"call ([\w.]+)#(-?\d+)", kernel)
    if name:
        text = text.replace("call kernel-function#", f"call {name[1]}#").split(" module_btf#")[0]
    return text

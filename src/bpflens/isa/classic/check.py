"""Validity of classic programs by the rules of their three consumers; every refusal with its pc and reason.

* "socket": bpf_check_classic and check_load_and_stores (net/core/filter.c), for every kernel use of sock_fprog. Not modelled: the
  kernel also refuses a program whose conversion has a jump over more than 32767 extended instructions (BPF_EMIT_JMP in
  bpf_convert_filter, same file), which takes thousands of packet loads between a `ja` and its target, and one
  that is too large for net.core.optmem_max.
* "seccomp": the same and then seccomp_check_filter (kernel/seccomp.c)
* "libpcap": bpf_validate (bpf_filter.c of libpcap 1.10). It looks only at class, mode and operation bits, so it lets codes pass on
  which bpf_filter aborts the process: run foreign programs only where `runs_in_libpcap` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.table import ANCILLARY_BY_OFFSET, BY_CODE, MAXINSNS, MEMWORDS, SECCOMP_DATA_SIZE, SKF_AD_OFF, Form
from bpflens.lean import NamedTuple

__all__ = ("RULES", "Refusal", "check", "runs_in_libpcap")


class Refusal(NamedTuple):
    """Why a program is refused; `pc` None where it is not one instruction's fault."""

    pc: int | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.pc is None else f"insn {self.pc}: {self.reason}"


def check(insns: Sequence[SockFilter], rules: str = "socket") -> list[Refusal]:
    """All refusals by `rules` ("socket", "seccomp", "libpcap"), in order of pc; empty where the program is valid. Linear time."""
    return list(RULES[rules](insns))


def runs_in_libpcap(insns: Sequence[SockFilter]) -> bool:
    """True where libpcap's bpf_filter neither aborts, nor traps, nor loops: valid, no code that it does not know, no backward jump."""
    known = all((row := BY_CODE.get(insn.code)) is not None and row.libpcap for insn in insns)
    forward = all(insn.code != 0x05 or insn.k < 0x80000000 for insn in insns)
    # bpf_filter knows ldx len (0x81) only since libpcap 1.11; 1.10 aborts on it.
    return known and forward and all(insn.code != 0x81 for insn in insns) and not check(insns, "libpcap")


def _socket(insns: Sequence[SockFilter]) -> Iterator[Refusal]:
    count = len(insns)
    if not 0 < count <= MAXINSNS:
        yield Refusal(None, f"{count} instructions; a kernel filter has 1 to {MAXINSNS}")
        return
    for pc, insn in enumerate(insns):
        reason = _socket_insn(insn, pc, count)
        if reason is not None:
            yield Refusal(pc, reason)
    last = insns[-1].code
    if last not in (0x06, 0x16):
        yield Refusal(count - 1, "the last instruction is not ret #k or ret a")
    yield from _scratch_memory(insns)


def _socket_insn(insn: SockFilter, pc: int, count: int) -> str | None:
    row = BY_CODE.get(insn.code)
    if row is None:
        return f"unknown code {insn.code:#06x}"
    k = insn.k
    match row.form:
        case _ if not row.socket:
            return f"{row.mnemonic} {row.operand} is not allowed in a kernel filter"
        case Form.ALU_K if row.operation in ("/", "%") and k == 0:
            return f"{row.mnemonic} by constant 0"
        case Form.ALU_K if row.operation in ("<<", ">>") and k >= 32:
            return f"{row.mnemonic} by {k}; the register has 32 bits"
        case Form.MEM if k >= MEMWORDS:
            return f"scratch memory word {k}; there are {MEMWORDS}"
        case Form.JA if k >= count - pc - 1:
            return f"jump by {k} leaves the program of {count} instructions (backward jumps are not allowed)"
        case Form.JUMP_K | Form.JUMP_X:
            return _conditional(insn, pc, count)
        case Form.ABS if k >= SKF_AD_OFF and k not in ANCILLARY_BY_OFFSET:
            return f"unknown ancillary load SKF_AD_OFF + {k - SKF_AD_OFF}"
    return None


def _conditional(insn: SockFilter, pc: int, count: int) -> str | None:
    for branch, skip in (("true", insn.jt), ("false", insn.jf)):
        if pc + 1 + skip >= count:
            return f"{branch} branch jumps to {pc + 1 + skip}; the program ends at {count - 1}"
    return None


def _scratch_memory(insns: Sequence[SockFilter]) -> Iterator[Refusal]:
    """Reads of M[] that some path reaches without a write, exactly as coarse as check_load_and_stores.

    Code behind a `ret` counts as reached with the words that were valid before it: the kernel does not reset its mask there.
    """
    count = len(insns)
    every = (1 << MEMWORDS) - 1
    masks = [every] * count
    valid = 0

    def join(target: int) -> None:
        if target < count:
            masks[target] &= valid

    for pc, insn in enumerate(insns):
        valid &= masks[pc]
        row = BY_CODE.get(insn.code)
        if row is None:
            continue
        if row.form is Form.MEM and insn.k < MEMWORDS:
            bit = 1 << insn.k
            if "M" in row.writes:
                valid |= bit
            elif not valid & bit:
                yield Refusal(pc, f"M[{insn.k}] is read but not written on every path to here")
        elif row.form is Form.JA:
            join(pc + 1 + insn.k)
            valid = every
        elif row.form in (Form.JUMP_K, Form.JUMP_X):
            join(pc + 1 + insn.jt)
            join(pc + 1 + insn.jf)
            valid = every


def _seccomp(insns: Sequence[SockFilter]) -> Iterator[Refusal]:
    refusals = list(_socket(insns))
    for pc, insn in enumerate(insns):
        row = BY_CODE.get(insn.code)
        if row is None or not row.socket:
            continue  # refused above
        if not row.seccomp:
            refusals.append(Refusal(pc, f"{row.mnemonic} ({row.form.value}) is not allowed in a seccomp filter"))
        elif row.form is Form.ABS and (insn.k >= SECCOMP_DATA_SIZE or insn.k & 3):
            refusals.append(Refusal(pc, f"load at {insn.k}; struct seccomp_data has aligned words at 0 to {SECCOMP_DATA_SIZE - 4}"))
    yield from sorted(refusals, key=lambda refusal: -1 if refusal.pc is None else refusal.pc)


_LIBPCAP_MODES = frozenset({0x00, 0x20, 0x40, 0x60, 0x80, 0xA0})
_LIBPCAP_ALU = frozenset({0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xA0})
_LIBPCAP_JUMPS = frozenset({0x10, 0x20, 0x30, 0x40})


def _libpcap(insns: Sequence[SockFilter]) -> Iterator[Refusal]:
    count = len(insns)
    if count < 1:
        yield Refusal(None, "no instructions")
        return
    for pc, insn in enumerate(insns):
        reason = _libpcap_insn(insn, pc, count)
        if reason is not None:
            yield Refusal(pc, reason)
    if insns[-1].code & 7 != 6:
        yield Refusal(count - 1, "the last instruction is not a ret")


def _libpcap_insn(insn: SockFilter, pc: int, count: int) -> str | None:
    code, k = insn.code, insn.k
    match code & 7:
        case 0 | 1:
            if code & 0xE0 not in _LIBPCAP_MODES:
                return f"unknown load mode in code {code:#06x}"
            if code & 0xE0 == 0x60 and k >= MEMWORDS:
                return f"scratch memory word {k}; there are {MEMWORDS}"
        case 2 | 3 if k >= MEMWORDS:
            return f"scratch memory word {k}; there are {MEMWORDS}"
        case 4:
            if code & 0xF0 not in _LIBPCAP_ALU:
                return f"unknown operation in code {code:#06x}"
            if code & 0xF0 in (0x30, 0x90) and not code & 8 and k == 0:
                return "division by constant 0"
        case 5:
            if code & 0xF0 == 0:
                if (pc + 1 + k) & 0xFFFFFFFF >= count:  # wraps: libpcap allows backward jumps for protochain
                    return f"jump by {(k ^ 0x80000000) - 0x80000000} leaves the program of {count} instructions"
            elif code & 0xF0 in _LIBPCAP_JUMPS:
                return _conditional(insn, pc, count)
            else:
                return f"unknown jump in code {code:#06x}"
    return None


RULES: dict[str, Callable[[Sequence[SockFilter]], Iterator[Refusal]]] = {"socket": _socket, "seccomp": _seccomp, "libpcap": _libpcap}

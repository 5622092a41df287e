"""A classic program as a Python function: what interp.run() computes, several times faster, for runs over many packets.

    (000) ldh [12]                         def verdict(p, w):
    (001) jeq #0x800  jt 2  jf 4               n = len(p)
    (002) ldb [23]                             if n < 14: return 0
    (003) jeq #0x6    jt 5  jf 4      ──►      a = p[12] << 8 | p[13]
    (004) ret #0                               if a != 0x800: return 0
    (005) ret #65535                           ...

Every block of the program is written once: inside an `if` where one jump leads to it, as a function of its own where several do (`ret #k`
is repeated instead). All paths end in `return`, so the smaller branch goes inside the `if` and the larger one goes on at its level:
the text is as long as the program, and not deeply nested. For a profile each straight stretch counts in a list; a load that fails ends
its stretch. Programs that are not plain forward code of known instructions (protochain's loops) fall back on the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bpflens.classic.machine.interpreter import ANCILLARY, MAX_STEPS, Machine, Model, nlattr
from bpflens.errors import InputError
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.table import BY_CODE, SKF_AD_OFF, SKF_LL_OFF, SKF_NET_OFF

__all__ = ("CompiledFilter", "compile_filter")

_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_OPERATORS = {0x04: "+", 0x14: "-", 0x24: "*", 0x34: "//", 0x44: "|", 0x54: "&", 0x64: "<<", 0x74: ">>", 0x94: "%", 0xA4: "^"}
_TESTS = {0x15: ("==", "!="), 0x25: (">", "<="), 0x35: (">=", "<")}
_FALLIBLE = frozenset((0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xB1, 0x3C, 0x9C))
_MAX_DEPTH = 40


class CompiledFilter(NamedTuple):
    """`verdict(packet, length)` is the returned value; `hits()` the executions of each instruction so far, where compiled for a profile."""

    verdict: Callable[[bytes, int], int]
    hits: Callable[[], tuple[int, ...]]
    source: str


def compile_filter(
    insns: Sequence[SockFilter], model: Model = "kernel", aux: Mapping[str, int | None] | None = None, profile: bool = False
) -> CompiledFilter:
    """The program as a function of (packet, length on the wire); `aux` as for interp.run()."""
    if not _plain(insns):
        return _interpreted(insns, model, aux)
    writer = _Writer(insns, model, aux or {}, profile)
    source = writer.write()
    counts = [0] * len(insns)
    scope: dict[str, Any] = {"h": counts, "W": _word, "relative": writer.relative, "nlattr": nlattr}
    exec(compile(source, "<filter>", "exec"), scope)
    leader = writer.leader
    return CompiledFilter(scope["verdict"], lambda: tuple(counts[leader[pc]] for pc in range(len(insns))), source)


def _word(packet: bytes, offset: int) -> int:
    return int.from_bytes(packet[offset : offset + 4], "big")


def _plain(insns: Sequence[SockFilter]) -> bool:
    """Known instructions, forward jumps inside the program, an end: what generated code can't go wrong on."""
    count = len(insns)
    for pc, insn in enumerate(insns):
        row = BY_CODE.get(insn.code)
        if row is None or not (row.socket or row.libpcap):
            return False
        code, k = insn.code, insn.k
        if code & 7 == 5:
            last = k if code == 0x05 else max(insn.jt, insn.jf)
            if pc + 1 + last >= count:
                return False
            continue
        unknown_ancillary = code in (0x20, 0x28, 0x30) and k >= SKF_AD_OFF and k - SKF_AD_OFF not in ANCILLARY
        if unknown_ancillary or (code in (0x34, 0x94) and k == 0) or (code in (0x02, 0x03, 0x60, 0x61) and k > 15):
            return False
    return count > 0 and insns[-1].code in (0x06, 0x16)


def _interpreted(insns: Sequence[SockFilter], model: Model, aux: Mapping[str, int | None] | None) -> CompiledFilter:
    counts = [0] * len(insns)

    def verdict(packet: bytes, length: int) -> int:
        machine = Machine(insns, packet, length, model, aux)
        for _ in range(MAX_STEPS):
            pc = machine.pc
            machine.step()
            counts[pc] += 1
            if machine.result is not None:
                return machine.result
        raise InputError(f"insn {machine.pc}", f"the program has not returned after {MAX_STEPS} instructions")

    return CompiledFilter(verdict, lambda: tuple(counts), "")


class _Writer:
    """Writes the text of one program."""

    def __init__(self, insns: Sequence[SockFilter], model: Model, aux: Mapping[str, int | None], profile: bool) -> None:
        self.insns = insns
        self.libpcap = model == "libpcap"
        self.aux = aux
        self.profile = profile
        self.lines: list[str] = []
        self.pending: list[int] = []
        self.functions: set[int] = set()
        self.registers = ["a", "x", *(f"m{cell}" for cell in sorted({i.k for i in insns if i.code in (0x02, 0x03, 0x60, 0x61)}))]
        self.arguments = "p, n, w, " + ", ".join(self.registers)
        self.incoming, self.sizes = self._shape()
        self.leader = self._leaders()

    def _targets(self, pc: int) -> tuple[int, ...]:
        code, jt, jf, k = self.insns[pc]
        if code & 7 == 6:
            return ()
        if code == 0x05:
            return (pc + 1 + k,)
        if code & 7 == 5:
            return (pc + 1 + jt, pc + 1 + jf)
        return (pc + 1,)

    def _shape(self) -> tuple[list[int], list[int]]:
        """For each instruction how many lead to it, and about how much code follows from it (to choose the smaller branch)."""
        count = len(self.insns)
        incoming, sizes = [0] * count, [0] * count
        for pc in range(count - 1, -1, -1):
            for target in self._targets(pc):
                incoming[target] += 1
                sizes[pc] = max(sizes[pc], sizes[target] + 1)
        return incoming, sizes

    def _leaders(self) -> list[int]:
        """For each instruction the first one of its straight stretch."""
        starts = {0}
        for pc, insn in enumerate(self.insns):
            if insn.code & 7 in (5, 6) or insn.code in _FALLIBLE:
                starts.update((pc + 1, *self._targets(pc)))
        leader, current = [], 0
        for pc in range(len(self.insns)):
            current = pc if pc in starts else current
            leader.append(current)
        return leader

    def write(self) -> str:
        self.lines = ["def verdict(p, w):", "    n = len(p)", "    w &= 0xffffffff", f"    {' = '.join(self.registers)} = 0"]
        self._block(0, 1, 0)
        while self.pending:
            start = self.pending.pop()
            self.lines.append(f"def b{start}({self.arguments}):")
            self._block(start, 1, 0)
        return "\n".join(self.lines) + "\n"

    def _block(self, pc: int, depth: int, known_bytes: int) -> None:
        """The code from `pc` on, at an indentation of `depth`, for packets of at least `known_bytes` bytes."""
        indent = "    " * depth
        emit = self.lines.append
        while True:
            if self.profile and self.leader[pc] == pc:
                emit(f"{indent}h[{pc}] += 1")
            code, jt, jf, k = self.insns[pc]
            if code == 0x06:
                emit(f"{indent}return {k}")
                return
            if code == 0x16:
                emit(f"{indent}return a")
                return
            if code & 7 != 5:
                known_bytes = self._straight(pc, indent, known_bytes)
                pc += 1
            elif code == 0x05:
                pc += 1 + k
            else:
                taken, other = pc + 1 + jt, pc + 1 + jf
                if taken == other:
                    pc = taken
                else:
                    smaller, pc = (taken, other) if self.sizes[taken] < self.sizes[other] else (other, taken)
                    emit(f"{indent}if {self._test(code, k, smaller == taken)}:")
                    self._go(smaller, depth + 1, known_bytes)
            if self.incoming[pc] > 1:
                self._go(pc, depth, known_bytes)
                return

    def _go(self, pc: int, depth: int, known_bytes: int) -> None:
        """Reach `pc`: as text in place, or through a function."""
        alone = self.insns[pc].code in (0x06, 0x16)
        if alone or (self.incoming[pc] == 1 and depth < _MAX_DEPTH):
            self._block(pc, depth, known_bytes)
            return
        if pc not in self.functions:
            self.functions.add(pc)
            self.pending.append(pc)
        self.lines.append(f"{'    ' * depth}return b{pc}({self.arguments})")

    def _test(self, code: int, k: int, when: bool) -> str:
        operand = "x" if code & 8 else str(k)
        if code & ~8 == 0x45:
            return f"{'' if when else 'not '}a & {operand}"
        return f"a {_TESTS[code & ~8][0 if when else 1]} {operand}"

    def _straight(self, pc: int, indent: str, known_bytes: int) -> int:
        """One instruction that is no jump; returns how many bytes the packet has at least after it."""
        code, _, _, k = self.insns[pc]
        emit = self.lines.append
        kind = code & 7
        if code in (0x20, 0x28, 0x30, 0xB1):
            return self._absolute(code, k, indent, known_bytes)
        if code in (0x40, 0x48, 0x50):
            size = _SIZES[code & 0x18]
            if self.libpcap:
                emit(f"{indent}i = x + {k}")
                emit(f"{indent}if i + {size} > n: return 0")
            else:
                emit(f"{indent}i = x + {k} & 0xffffffff")
                emit(f"{indent}if i >= 0x80000000: i = relative(i)")
                emit(f"{indent}if i < 0 or i + {size} > n: return 0")
            emit(f"{indent}a = {_value(size, 'i')}")
        elif code in (0x00, 0x01):
            emit(f"{indent}{'ax'[code]} = {k}")
        elif code in (0x80, 0x81):
            emit(f"{indent}{'ax'[code & 1]} = w")
        elif code in (0x60, 0x61):
            emit(f"{indent}{'ax'[code & 1]} = m{k}")
        elif kind in (2, 3):
            emit(f"{indent}m{k} = {'ax'[kind - 2]}")
        elif code == 0x07:
            emit(f"{indent}x = a")
        elif code == 0x87:
            emit(f"{indent}a = x")
        elif code == 0x84:
            emit(f"{indent}a = -a & 0xffffffff")
        else:
            self._arithmetic(code, k, indent)
        return known_bytes

    def _arithmetic(self, code: int, k: int, indent: str) -> None:
        emit = self.lines.append
        operation = code & ~8
        operand = "x" if code & 8 else str(k & 31 if operation in (0x64, 0x74) else k)
        if code in (0x3C, 0x9C):
            emit(f"{indent}if not x: return 0")
        if code in (0x6C, 0x7C):
            shift = f"a {_OPERATORS[operation]} (x & 31) & 0xffffffff"
            emit(f"{indent}a = {f'0 if x > 31 else {shift}' if self.libpcap else shift}")
            return
        wraps = operation in (0x04, 0x14, 0x24, 0x64)
        emit(f"{indent}a = {f'(a {_OPERATORS[operation]} {operand}) & 0xffffffff' if wraps else f'a {_OPERATORS[operation]} {operand}'}")

    def _absolute(self, code: int, k: int, indent: str, known_bytes: int) -> int:
        emit = self.lines.append
        size = _SIZES[code & 0x18]
        if code != 0xB1 and k >= SKF_AD_OFF:
            emit(f"{indent}{self._ancillary(ANCILLARY[k - SKF_AD_OFF], size)}")
            return known_bytes
        offset = k
        if k >= 0x80000000:
            offset = -1 if self.libpcap else self.relative(k)
        if offset < 0:
            emit(f"{indent}return 0")
            return known_bytes
        if offset + size > known_bytes:
            known_bytes = offset + size
            emit(f"{indent}if n < {known_bytes}: return 0")
        emit(f"{indent}x = (p[{offset}] & 15) << 2" if code == 0xB1 else f"{indent}a = {_value(size, str(offset), offset)}")
        return known_bytes

    def _ancillary(self, name: str, size: int) -> str:
        if self.libpcap and not (size == 1 and name in ("vlan_tag", "vlan_tag_present") and name in self.aux):
            return "return 0"
        if name == "alu_xor_x":
            return "a ^= x"
        if name in ("nlattr", "nlattr_nest"):
            return f"a = nlattr(p, a, x, {name == 'nlattr_nest'})"
        value = self.aux.get(name, 0)
        if value is None:
            return "return a" if name in ("ifindex", "hatype") and not self.libpcap else "return 0"
        return f"a = {value & 0xFFFFFFFF}"

    def relative(self, k: int) -> int:
        """The kernel's negative offsets: where they lie in the packet, -1 for nowhere."""
        start: int | None = None
        if k >= SKF_NET_OFF:
            start, base = self.aux.get("network_offset", 14), SKF_NET_OFF
        elif k >= SKF_LL_OFF:
            start, base = self.aux.get("link_offset", 0), SKF_LL_OFF
        return -1 if start is None else start + k - base


def _value(size: int, at: str, offset: int | None = None) -> str:
    """The big-endian number at `at`; `offset` where that is a constant."""
    if size == 4:
        return f"W(p, {at})"
    if size == 1:
        return f"p[{at}]"
    return f"p[{at}] << 8 | p[{f'{at} + 1' if offset is None else offset + 1}]"

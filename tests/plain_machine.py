"""A plain interpreter of classic code: the judge of the proofs, written from the kernel's source and sharing no code with the product.

    execute(program, packet)  ──►  the return value

__bpf_prog_run() over what bpf_convert_filter() makes (net/core/filter.c, 6.18), and with `model="libpcap"` bpf_filter() (bpf_filter.c,
libpcap 1.10). Slow and dull on purpose: one branch for each opcode.
"""

from __future__ import annotations

from collections.abc import Sequence

Insns = Sequence[tuple[int, int, int, int]]
M32 = 2**32 - 1


class Ends(Exception):
    """The program returns this value here."""

    def __init__(self, value: int) -> None:
        self.value = value


def execute(
    program: Insns,
    packet: bytes,
    model: str = "kernel",
    net: int = 14,
    link: int = 0,
    device: bool = True,
    aux: dict[int, int] | None = None,
) -> int:
    """The value that the program returns. `net`, `link`: where those headers start; `aux`: SKF_AD number -> value."""
    a = x = pc = 0
    m = [0] * 16
    aux = aux or {}

    def at(offset: int, size: int) -> int:
        """A load at an offset of 32 bits."""
        if offset >= 2**31:
            if model == "libpcap" or offset < 0xFFE00000:
                raise Ends(0)
            offset = offset - 0xFFF00000 + net if offset >= 0xFFF00000 else offset - 0xFFE00000 + link
        if offset < 0 or offset + size > len(packet):
            raise Ends(0)
        return int.from_bytes(packet[offset : offset + size], "big")

    def beyond(offset: int) -> int:
        """SKF_AD_OFF + offset."""
        if model == "libpcap":
            raise Ends(0)
        if offset == 40:
            return a ^ x
        if offset in (8, 28) and not device:
            raise Ends(a)
        return aux.get(offset, 0)

    try:
        while True:
            code, jt, jf, k = program[pc]
            pc += 1
            if code in (0x20, 0x28, 0x30):
                a = beyond(k - 0xFFFFF000) if k >= 0xFFFFF000 else at(k, {0x20: 4, 0x28: 2, 0x30: 1}[code])
            elif code in (0x40, 0x48, 0x50):
                if model == "libpcap" and x + k > M32:
                    return 0
                a = at((x + k) % 2**32, {0x40: 4, 0x48: 2, 0x50: 1}[code])
            elif code == 0xB1:
                x = (at(k, 1) & 15) * 4
            elif code == 0x00:
                a = k
            elif code == 0x01:
                x = k
            elif code == 0x80:
                a = len(packet)
            elif code == 0x81:
                x = len(packet)
            elif code == 0x60:
                a = m[k]
            elif code == 0x61:
                x = m[k]
            elif code == 0x02:
                m[k] = a
            elif code == 0x03:
                m[k] = x
            elif code == 0x07:
                x = a
            elif code == 0x87:
                a = x
            elif code == 0x06:
                return k
            elif code == 0x16:
                return a
            elif code == 0x05:
                pc += k
            elif code & 7 == 5:
                b = x if code & 8 else k
                kind = code & 0xF0
                taken = a == b if kind == 0x10 else a > b if kind == 0x20 else a >= b if kind == 0x30 else a & b != 0
                pc += jt if taken else jf
            else:
                a = _alu(code, a, x if code & 8 else k, model)
    except Ends as ends:
        return ends.value


def _alu(code: int, a: int, b: int, model: str) -> int:
    kind = code & 0xF0
    if kind == 0x00:
        return (a + b) % 2**32
    if kind == 0x10:
        return (a - b) % 2**32
    if kind == 0x20:
        return a * b % 2**32
    if kind in (0x30, 0x90):
        if b == 0:
            raise Ends(0)
        return a // b if kind == 0x30 else a % b
    if kind == 0x40:
        return a | b
    if kind == 0x50:
        return a & b
    if kind == 0xA0:
        return a ^ b
    if kind == 0x80:
        return -a % 2**32
    if model == "libpcap" and code & 8 and b >= 32:
        return 0
    b %= 32
    return a * 2**b % 2**32 if kind == 0x60 else a // 2**b

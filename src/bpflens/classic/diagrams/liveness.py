"""Which of A, X and M[] a classic program still reads, per instruction: states that agree on these are one state.

    ldh [12]; jeq #0x800, ...   ──►   neither A nor X is live in front of the load
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.isa.classic.table import SKF_AD_OFF, Ad

__all__ = ("READS_A_AND_X", "RETURNS_A", "liveness")

READS_A_AND_X = (Ad.NLATTR, Ad.NLATTR_NEST, Ad.ALU_XOR_X)
"""SKF_AD_NLATTR, SKF_AD_NLATTR_NEST and SKF_AD_ALU_XOR_X compute from A and X."""
RETURNS_A = (Ad.IFINDEX, Ad.HATYPE)
"""SKF_AD_IFINDEX and SKF_AD_HATYPE end the program of a packet without a device, and it returns what A holds then.

convert_bpf_extensions() of net/core/filter.c, Linux 6.18, emits a bare exit, and A is the register of the return value.
"""


def liveness(insns: Sequence[Sequence[int]]) -> list[tuple[bool, bool, int]]:
    """Per pc: whether A and X are read before they are written, and the bit set of such M[] slots."""
    count = len(insns)
    live: list[tuple[bool, bool, int]] = [(False, False, 0)] * (count + 1)
    for pc in range(count - 1, -1, -1):
        code, jt, jf, k = insns[pc]
        kind = code & 7
        if kind == 6:
            live[pc] = (code & 0x18 == 0x10, code & 0x18 == 0x08, 0)
            continue
        if kind == 5:
            targets = [pc + 1 + k] if code & 0xF0 == 0 else [pc + 1 + jt, pc + 1 + jf]
            after = [live[t] for t in targets if t <= count]
            a, x = any(s[0] for s in after), any(s[1] for s in after)
            m = 0
            for s in after:
                m |= s[2]
            if code & 0xF0 and jt != jf:
                a, x = True, x or bool(code & 8)
            live[pc] = (a, x, m)
            continue
        a, x, m = live[pc + 1]
        if kind == 0:
            a, x = False, x or code & 0xE0 == 0x40
            if code & 0xE0 == 0x60:
                m |= 1 << (k & 15)
            if code & 0xE0 == 0x20:
                number = k - SKF_AD_OFF
                x = x or number in READS_A_AND_X
                a = number in READS_A_AND_X or number in RETURNS_A
        elif kind == 1:
            x = False
            if code & 0xE0 == 0x60:
                m |= 1 << (k & 15)
        elif kind in (2, 3):
            read = bool(m >> (k & 15) & 1)
            m &= ~(1 << (k & 15))
            a, x = a or (kind == 2 and read), x or (kind == 3 and read)
        elif kind == 4:
            # X also decides whether a division returns 0
            x = x or (bool(code & 8) and code & 0xF0 != 0x80 and (a or code & 0xF0 in (0x30, 0x90)))
            a = a or (bool(code & 8) and code & 0xF0 in (0x30, 0x90))
        elif code & 0x80:
            a, x = False, x or a
        else:
            a, x = a or x, False
        live[pc] = (a, x, m)
    return live

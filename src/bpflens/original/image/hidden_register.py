"""The register of the kernel's own rewriting: r11, or r12 where r11 is the base of stack arguments (see opcodes.PARAMS).

    r12 = r3; r12 += 1; if r12 > 1 goto +4 ...     the guard of a signed division, v7.2
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.isa.extended import opcodes as op

__all__ = ("hidden_register",)

_CONSTANT = op.LD_IMM64


def hidden_register(words: Iterable[int]) -> int:
    """Which register is the hidden one, as far as an image shows: programs never use r12, so that its presence tells. Where neither is
    used the answer does not matter.
    """
    for word in set(words):
        if word & 0xFF != _CONSTANT and op.AX_BESIDE_PARAMS in (word >> 8 & 0xF, word >> 12 & 0xF):
            return op.AX_BESIDE_PARAMS
    return op.AX

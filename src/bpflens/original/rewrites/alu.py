"""Arithmetic that the verifier guards: division, remainder, pointer arithmetic of programs without CAP_PERFMON (do_misc_fixups)."""

from __future__ import annotations

from bpflens.original.rewrites.template import Rewrite, rewrite

__all__ = ("TEMPLATES",)

_SANITIZE = "r11 -= rF; r11 |= rF; r11 = -r11; r11 s>>= 63; r11 &= rF"
_LAST_RESORT = 60


_GUARD = "pointer arithmetic guard"

# off_reg is F; `D = S` appears where the pointer was the source operand (commutative add); do_misc_fixups().
_ALU_SANITATION = tuple(
    rewrite(_GUARD, image, original)
    for image, original in (
        (f"w11 = {{limit}}; {_SANITIZE}; rD += r11", "rD += rF"),
        (f"w11 = {{limit}}; {_SANITIZE}; rD -= r11", "rD -= rF"),
        (f"w11 = {{limit}}; {_SANITIZE}; rF = rS; rF += r11", "rF += rS"),
        (f"rF *= -1; w11 = {{limit}}; {_SANITIZE}; rD -= r11; rF *= -1", "rD += rF"),
        (f"rF *= -1; w11 = {{limit}}; {_SANITIZE}; rD += r11; rF *= -1", "rD -= rF"),
        (f"rF *= -1; w11 = {{limit}}; {_SANITIZE}; rF = rS; rF -= r11", "rF += rS"),
    )
)


def _constant_readings() -> tuple[Rewrite, ...]:
    """A constant offset leaves no trace of its register (it held the constant): every register is a reading, the tag decides."""
    rows = []
    for register in range(10):
        for kind, same, other in (("+=", "+=", "-="), ("-=", "-=", "+=")):
            rows.append(rewrite(_GUARD, f"w11 = {{limit}}; rD {kind} r11", f"rD {same} r{register}", cost=register))
            rows.append(rewrite(_GUARD, f"w11 = {{limit}}; rD {kind} r11", f"rD {other} r{register}", cost=10 + register))
    rows.append(rewrite(_GUARD, "w11 = {limit}; rD = rS; rD += r11", "rD += rS"))
    rows.append(rewrite(_GUARD, "w11 = {limit}; rD = rS; rD -= r11", "rD += rS"))
    return tuple(rows)


TEMPLATES = (
    rewrite("division guard", "if rS != 0 goto +2; wD ^= wD; goto +1; rD /= rS", "rD /= rS"),
    rewrite("division guard", "if wS != 0 goto +2; wD ^= wD; goto +1; wD /= wS", "wD /= wS"),
    rewrite("remainder guard", "if rS == 0 goto +1; rD %= rS", "rD %= rS"),
    rewrite("remainder guard", "if wS == 0 goto +2; wD %= wS; goto +1; wD = wD", "wD %= wS"),
    # since Linux 7dd34d7b7dcf ("bpf: Fix a sdiv overflow issue"), v6.11; before that as for unsigned division
    rewrite(
        "signed division guard",
        "r11 = rS; r11 += 1; if r11 > 1 goto +4; if r11 == 0 goto +1; rD = 0; rD = -rD; goto +1; rD s/= rS",
        "rD s/= rS",
    ),
    rewrite(
        "signed division guard",
        "r11 = rS; w11 += 1; if w11 > 1 goto +4; if w11 == 0 goto +1; wD = 0; wD = -wD; goto +1; wD s/= wS",
        "wD s/= wS",
    ),
    rewrite(
        "signed remainder guard",
        "r11 = rS; r11 += 1; if r11 > 1 goto +3; if r11 == 1 goto +3; wD = 0; goto +1; rD s%= rS",
        "rD s%= rS",
    ),
    rewrite(
        "signed remainder guard",
        "r11 = rS; w11 += 1; if w11 > 1 goto +3; if w11 == 1 goto +4; wD = 0; goto +1; wD s%= wS; goto +1; wD = wD",
        "wD s%= wS",
    ),
    rewrite("signed division guard", "if rS != 0 goto +2; wD ^= wD; goto +1; rD s/= rS", "rD s/= rS"),
    rewrite("signed division guard", "if wS != 0 goto +2; wD ^= wD; goto +1; wD s/= wS", "wD s/= wS"),
    rewrite("signed remainder guard", "if rS == 0 goto +1; rD s%= rS", "rD s%= rS"),
    rewrite("signed remainder guard", "if wS == 0 goto +2; wD s%= wS; goto +1; wD = wD", "wD s%= wS"),
    rewrite("signed division by -1", "rD = -rD", "rD s/= -1", cost=_LAST_RESORT),
    rewrite("signed division by -1", "wD = -wD", "wD s/= -1", cost=_LAST_RESORT),
    rewrite("signed remainder by -1", "wD = 0", "rD s%= -1", cost=_LAST_RESORT),
    rewrite("signed remainder by -1", "wD = 0", "wD s%= -1", cost=_LAST_RESORT + 1),
    # cmpxchg32 whose r0 is used as 64 bits, and 32-bit definitions where the JIT wants it said (opt_subreg_zext_lo32_rnd_hi32)
    rewrite("zero extension", "wD = zext wD"),
    # BPF_F_TEST_RND_HI32
    rewrite("random upper half", "w11 = {random}; r11 <<= 32; rD |= r11"),
    # barriers of programs without CAP_PERFMON
    rewrite("speculation barrier", "nospec"),
    *_ALU_SANITATION,
    *_constant_readings(),
)

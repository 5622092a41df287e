"""Helpers on memory and numbers: probe reads, strings, checksums, loops."""

from __future__ import annotations

from bpflens.execute.interpreter.memory import EFAULT, Fault
from bpflens.execute.interpreter.state import E2BIG, EINVAL, ERANGE, M32, M64, Arguments, Helper, State, error

__all__ = ("MEMORY_HELPERS",)

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SPACES = b" \t\n\v\f\r\xa0"  # isspace() of lib/ctype.c
_MOST_DIGITS = 63  # with the prefix of the base
_MAX_LOOPS = 1 << 23  # BPF_MAX_LOOPS


def _probe_read(m: State, a: Arguments) -> int:
    size = a[1] & M32
    try:
        data = m.memory.read(a[2], size, probe=True)
    except Fault:
        m.memory.write(a[0], bytes(size))
        return EFAULT
    m.memory.write(a[0], data)
    return 0


def _probe_read_str(m: State, a: Arguments) -> int:
    size = a[1] & M32
    if not size:
        return 0
    try:
        text = m.memory.text(a[2], size)[: size - 1]
    except Fault:
        m.memory.write(a[0], bytes(size))
        return EFAULT
    m.memory.write(a[0], text + b"\0")
    return len(text) + 1


def _strncmp(m: State, a: Arguments) -> int:
    size = a[1] & M32
    one, two = m.memory.text(a[0], size), m.memory.text(a[2], size)
    return (one > two) - (one < two) & M64


def _strtol(signed: bool) -> Helper:
    """bpf_strtol and bpf_strtoul: (text, length, flags with the base, result), __bpf_strtoull() of kernel/bpf/helpers.c, Linux 6.18.

    The result is 0 where the text is no number.
    """

    def helper(m: State, a: Arguments) -> int:
        text, base = m.memory.read(a[0], a[1] & M32), a[2]
        m.memory.write(a[3], bytes(8))
        if base not in (0, 8, 10, 16):
            return error(EINVAL)
        at = len(text) - len(text.lstrip(_SPACES))
        negative = text[at : at + 1] == b"-"
        at += negative
        text = text[: at + _MOST_DIGITS]
        at, base = _radix(text, at, base)
        end = at
        while end < len(text) and 0 <= _DIGITS.find(chr(text[end]).lower()) < base:
            end += 1
        if end == at:
            return error(EINVAL)
        value = int(text[at:end], base)
        if negative and not signed and value <= M64:
            return error(EINVAL)
        if value > ((M64 >> 1) + negative if signed else M64):
            return error(ERANGE)
        m.memory.write(a[3], ((-value if negative else value) & M64).to_bytes(8, "little"))
        return end

    return helper


def _radix(text: bytes, at: int, base: int) -> tuple[int, int]:
    """(where the digits begin, the base): _parse_integer_fixup_radix() of lib/kstrtox.c, Linux 6.18."""
    hexadecimal = text[at : at + 2].lower() == b"0x"
    if base == 0:
        digit = text[at + 2 : at + 3]
        base = 10 if text[at : at + 1] != b"0" else 16 if hexadecimal and digit and chr(digit[0]).lower() in _DIGITS[:16] else 8
    return (at + 2 if base == 16 and hexadecimal else at), base


def _comm(m: State, a: Arguments) -> int:
    m.memory.write(a[0], b"bpflens".ljust(a[1] & M32, b"\0")[: a[1] & M32])
    m.modelled.add("bpf_get_current_comm modelled")
    return 0


def _csum_diff(m: State, a: Arguments) -> int:
    """bpf_csum_diff: the difference of the sums of 16-bit words, folded to 16 bits since Linux 6.13."""
    if a[1] & 3 or a[3] & 3 or (a[1] | a[3]) & M32 > 512:
        return error(EINVAL)
    total = a[4] & M32
    for address, size, sign in ((a[0], a[1] & M32, -1), (a[2], a[3] & M32, 1)):
        data = m.memory.read(address, size) if size else b""
        for at in range(0, size, 4):
            word = int.from_bytes(data[at : at + 4], "little")
            total += word if sign > 0 else ~word & M32
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _loop(m: State, a: Arguments) -> int:
    """bpf_loop: callback(index, ctx) until it returns 1."""
    if a[3]:
        return error(EINVAL)
    count = a[0] & M32
    if count > _MAX_LOOPS:
        return error(E2BIG)
    for index in range(count):
        if m.call(a[1], (index, a[2])):
            return index + 1
    return count


def _nothing(_: State, __: Arguments) -> int:
    return 0


def _task_address(_: State, __: Arguments) -> int:
    return 0xFFFF_9000_0001_0000


MEMORY_HELPERS: dict[int, Helper] = {
    4: _probe_read, 112: _probe_read, 113: _probe_read, 148: _probe_read, 45: _probe_read_str, 114: _probe_read_str, 115: _probe_read_str,
    182: _strncmp, 105: _strtol(True), 106: _strtol(False), 16: _comm, 28: _csum_diff,
    181: _loop, 93: _nothing, 94: _nothing, 35: _task_address, 158: _task_address,
}  # fmt: skip
"""Helper number -> function of the machine and r1 to r5."""

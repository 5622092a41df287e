"""Constants that C sources of BPF programs use, by name: from include/uapi/linux/{bpf_common,bpf,filter,if_ether,in,seccomp}.h.

Only values that are the same on every machine. `offsetof(struct seccomp_data, ...)` is known too (include/uapi/linux/seccomp.h; args
are 64-bit words; on big-endian machines a filter loads the other half, which the source then says itself).
"""

from __future__ import annotations

import errno
import functools
import re

from bpflens.errors import InputError
from bpflens.formats.dumps.languages.header_structs import STRUCTS
from bpflens.formats.dumps.languages.header_values import CLASSIC, EXTENDED, NETWORK, OTHER_SYSTEMS, SYSTEM_CALLS

__all__ = ("constant", "size_of")

_SIZES = {
    **dict.fromkeys(("char", "unsigned char", "u_char", "uint8_t", "u_int8_t", "u8", "__u8"), 1),
    **dict.fromkeys(("short", "unsigned short", "u_short", "uint16_t", "u_int16_t", "u16", "__u16", "__be16"), 2),
    **dict.fromkeys(("int", "unsigned", "unsigned int", "u_int", "uint32_t", "u_int32_t", "u32", "__u32", "__be32", "in_addr"), 4),
    **dict.fromkeys(("uint64_t", "u64", "__u64", "long long", "unsigned long long"), 8),
    "in6_addr": 16,
}
_OWN_ARCH = frozenset(("SECCOMP_AUDIT_ARCH", "AUDIT_ARCH_CURRENT", "AUDIT_ARCH_NATIVE", "ARCH_NR"))  # names for that of the build
_SYSCALL = re.compile(r"(?:__NR_|SYS_)(\w+)\Z")
_MEMBER = re.compile(r"(\w+)(?:\[\(*(\d)\)*\])?\Z")


def _offset_of(struct: str, member: str) -> int | None:
    found = _MEMBER.match(member)
    if found is None or struct not in STRUCTS:
        return None
    offset = STRUCTS[struct][1].get(found[1])
    if offset is None or found[2] is None:
        return offset
    return offset + 8 * int(found[2]) if found[1] == "args" and int(found[2]) < 6 else None


def _syscall(name: str, arch: str) -> int | None:
    from bpflens.isa.classic.syscalls import syscall_number

    try:
        return syscall_number(arch, name)
    except InputError:
        return None


_EXTRACTORS = {"BPF_CLASS": 0x07, "BPF_OP": 0xF0, "BPF_SRC": 0x08, "BPF_SIZE": 0x18, "BPF_MODE": 0xE0}


@functools.cache
def _all() -> dict[str, int]:
    return {**OTHER_SYSTEMS, **CLASSIC, **EXTENDED, **NETWORK, **SYSTEM_CALLS, **_architectures()}


def _architectures() -> dict[str, int]:
    """AUDIT_ARCH_ constants; the header's names differ from the kernel's for some."""
    from bpflens.isa.classic.syscalls import ARCHES, OTHER_ARCHES

    named = OTHER_ARCHES | {arch.audit: arch.name for arch in ARCHES if arch.name != "x32"}
    found = {f"AUDIT_ARCH_{name.upper()}": audit for audit, name in named.items()}
    for arch in ARCHES:
        found |= {f"AUDIT_ARCH_{alias.upper()}": arch.audit for alias in arch.aliases if alias.isalnum()}
    return found


def size_of(type: str) -> int | None:
    """`sizeof(TYPE)` of the structures and integers that sources of filters use; None: unknown."""
    name = type.removeprefix("struct ").strip()
    return STRUCTS[name][0] if name in STRUCTS else _SIZES.get(name)


def constant(name: str, arguments: tuple[str, ...] = (), arch: str | None = None) -> int | None:
    """Value of a constant, of `offsetof(struct iphdr, protocol)`, of `__NR_read` on `arch`; BPF_SIZE(BPF_W) and the like. None: unknown."""
    if not arguments:
        value = _all().get(name)
        if value is None and arch is not None and name in _OWN_ARCH:
            from bpflens.isa.classic.syscalls import find_arch

            return find_arch(arch).audit
        if value is None and arch is not None and (call := _SYSCALL.match(name)):
            return _syscall(call[1], arch)
        if value is None and name.startswith("E") and getattr(errno, name, 99) < 35:  # the same on every machine
            return int(getattr(errno, name))
        if value is None and name.startswith("BPF_FUNC_"):
            from bpflens.isa.extended.helpers import helper_id

            return helper_id("bpf_" + name.removeprefix("BPF_FUNC_"))
        return value
    if name in ("offsetof", "__builtin_offsetof", "offset_of") and len(arguments) == 2:
        return _offset_of(arguments[0].removeprefix("struct ").strip(), arguments[1].replace(" ", ""))
    if name == "SCMP_SYS" and len(arguments) == 1 and arch is not None:
        return _syscall(arguments[0], arch)
    if name in _EXTRACTORS and len(arguments) == 1 and (value := constant(arguments[0])) is not None:
        return value & _EXTRACTORS[name]
    return None

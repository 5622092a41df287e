"""Architectures as seccomp filters see them, and their syscalls by number, name and arguments.

    find_arch("aarch64").audit        ──►  0xc00000b7
    syscall_name("x86_64", 257)       ──►  "openat"
    argument("x86_64", "openat", 2)   ──►  Argument(type="int", name="flags")
"""

from __future__ import annotations

import functools

from bpflens.errors import InputError
from bpflens.lean import NamedTuple

__all__ = (
    "ARCHES", "OTHER_ARCHES", "X32_BIT", "Arch", "Argument", "argument", "arguments", "find_arch", "host_arch", "syscall_name",
    "syscall_names", "syscall_number",
)  # fmt: skip

X32_BIT = 0x40000000


class Arch(NamedTuple):
    """`name` as the kernel calls it, `audit` its AUDIT_ARCH_ value, `table` in syscall_tables.NUMBERS, `scmp` in OCI profiles."""

    name: str
    audit: int
    table: str
    big_endian: bool = False
    scmp: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """How wide a register is: what a filter sees of a 32-bit task has nothing in the high halves."""
        return 64 if self.audit & 0x80000000 else 32


# include/uapi/linux/audit.h: machine of the ELF header, with 0x80000000 for 64 bits and 0x40000000 for little-endian.
# x32 has x86_64's value and bit 30 in the number.
ARCHES = (
    Arch("x86_64", 0xC000003E, "x86_64", scmp="SCMP_ARCH_X86_64", aliases=("amd64", "x86-64")),
    Arch("x32", 0xC000003E, "x32", scmp="SCMP_ARCH_X32"),
    Arch("i386", 0x40000003, "i386", scmp="SCMP_ARCH_X86", aliases=("x86", "i686", "ia32")),
    Arch("arm64", 0xC00000B7, "arm64", scmp="SCMP_ARCH_AARCH64", aliases=("aarch64",)),
    Arch("arm", 0x40000028, "arm", scmp="SCMP_ARCH_ARM", aliases=("armv7l", "armhf")),
    Arch("riscv64", 0xC00000F3, "riscv64", scmp="SCMP_ARCH_RISCV64"),
    Arch("riscv32", 0x400000F3, "riscv32"),
    Arch("s390x", 0x80000016, "s390x", True, "SCMP_ARCH_S390X"),
    Arch("s390", 0x00000016, "s390", True, "SCMP_ARCH_S390"),
    Arch("ppc64le", 0xC0000015, "powerpc64", False, "SCMP_ARCH_PPC64LE", ("powerpc64le",)),
    Arch("ppc64", 0x80000015, "powerpc64", True, "SCMP_ARCH_PPC64", ("powerpc64",)),
    Arch("ppc", 0x00000014, "powerpc", True, "SCMP_ARCH_PPC", ("powerpc",)),
    Arch("loongarch64", 0xC0000102, "loongarch64", scmp="SCMP_ARCH_LOONGARCH64"),
    Arch("mips", 0x00000008, "mipso32", True, "SCMP_ARCH_MIPS"),
    Arch("mipsel", 0x40000008, "mipso32", False, "SCMP_ARCH_MIPSEL"),
    Arch("mips64", 0x80000008, "mips64", True, "SCMP_ARCH_MIPS64"),
    Arch("mipsel64", 0xC0000008, "mips64", False, "SCMP_ARCH_MIPSEL64", ("mips64el",)),
    Arch("mips64n32", 0xA0000008, "mips64n32", True, "SCMP_ARCH_MIPS64N32"),
    Arch("mipsel64n32", 0xE0000008, "mips64n32", False, "SCMP_ARCH_MIPSEL64N32"),
    Arch("m68k", 0x00000004, "m68k", True, "SCMP_ARCH_M68K"),
    Arch("parisc", 0x0000000F, "parisc", True, "SCMP_ARCH_PARISC"),
    Arch("parisc64", 0x8000000F, "parisc64", True, "SCMP_ARCH_PARISC64"),
    Arch("sparc", 0x00000002, "sparc", True),
    Arch("sparc64", 0x8000002B, "sparc64", True),
    Arch("sh", 0x4000002A, "sh", False, "SCMP_ARCH_SH"),
    Arch("sheb", 0x0000002A, "sh", True, "SCMP_ARCH_SHEB"),
)

# AUDIT_ARCH_ values of architectures whose syscalls are not listed here (same header)
OTHER_ARCHES = {
    0xC0009026: "alpha", 0x4000005D: "arc", 0x400000C3: "arcv2", 0x0000004C: "cris", 0x4000004C: "crisv32", 0x400000FC: "csky",
    0x00005441: "frv", 0x0000002E: "h8300", 0x000000A4: "hexagon", 0xC0000032: "ia64", 0x00000058: "m32r", 0x000000BD: "microblaze",
    0x400000A7: "nds32", 0x000000A7: "nds32be", 0x40000071: "nios2", 0x0000005C: "openrisc", 0xC00000BF: "tilegx", 0x400000BF: "tilegx32",
    0x400000BC: "tilepro", 0x4000006E: "unicore", 0x0000005E: "xtensa",
}  # fmt: skip

# kernel/fork.c, CLONE_BACKWARDS and CLONE_BACKWARDS2: what differs from x86-64's order of clone's arguments
_CLONE_TLS_FOURTH = frozenset(("i386", "arm64", "arm", "riscv64", "riscv32", "ppc64le", "ppc64", "ppc", "loongarch64", "mips", "mipsel",
                               "mips64", "mipsel64", "mips64n32", "mipsel64n32"))  # fmt: skip
_CLONE_STACK_FIRST = frozenset(("s390x", "s390"))


class Argument(NamedTuple):
    """One argument of a syscall: C type and name."""

    type: str
    name: str

    @property
    def bits(self) -> int:
        """How many low bits of the register the kernel takes: SYSCALL_DEFINE casts each to its C type (include/linux/syscalls.h)."""
        plain = self.type.removeprefix("const ")
        return 16 if plain in _TYPES_16 else 32 if plain in _TYPES_32 else 64

    @property
    def is_32_bit(self) -> bool:
        """The kernel takes only the low 32 bits of the register, or fewer."""
        return self.bits < 64

    @property
    def is_pointer(self) -> bool:
        """The register holds an address, which a filter cannot look behind."""
        return self.type.endswith("*")


_TYPES_16 = frozenset(("umode_t", "mode_t"))
_TYPES_32 = frozenset((
    "int", "unsigned int", "unsigned", "u32", "__u32", "__s32", "s32", "pid_t", "uid_t", "gid_t", "clockid_t",
    "timer_t", "key_t", "mqd_t", "qid_t", "key_serial_t", "rwf_t", "old_uid_t", "old_gid_t", "enum pid_type", "enum landlock_rule_type",
))  # fmt: skip


def find_arch(name: str) -> Arch:
    """The architecture by any of its names; InputError for others."""
    plain = name.strip().lower().removeprefix("scmp_arch_").removeprefix("audit_arch_")
    for arch in ARCHES:
        if plain in (arch.name, *arch.aliases) or (arch.scmp and plain == arch.scmp[10:].lower()):
            return arch
    import difflib

    known = [name for arch in ARCHES for name in (arch.name, *arch.aliases)]
    close = difflib.get_close_matches(plain, known, 1)
    raise InputError(f"architecture {name}", "is not known", f'did you mean "{close[0]}"?' if close else "known: " + " ".join(known))


def host_arch() -> Arch:
    """The architecture of this machine."""
    import os

    try:
        return find_arch(os.uname().machine)
    except InputError:
        return ARCHES[0]


@functools.cache
def _table(key: str) -> dict[int, str]:
    from bpflens.isa.classic.syscall_tables import NUMBERS

    table: dict[int, str] = {}
    number = 0
    for word in NUMBERS[key].split():
        if word.isdigit():
            number = int(word)
        else:
            table[number] = word
            number += 1
    return table


@functools.cache
def _by_name(key: str) -> dict[str, int]:
    return {name: number for number, name in _table(key).items()}


def syscall_names(arch: str) -> dict[int, str]:
    """Every syscall of an architecture: number -> name. x32's numbers have bit 30."""
    return _table(find_arch(arch).table)


def syscall_name(arch: str, number: int) -> str | None:
    """The name of a syscall, None where the architecture has none of that number."""
    return syscall_names(arch).get(number)


def syscall_number(arch: str, name: str) -> int:
    """The number of a syscall given by name or number; InputError, with near names, where the architecture has none."""
    table = _by_name(find_arch(arch).table)
    if name in table:
        return table[name]
    try:
        number = int(name, 0)
    except ValueError:
        import difflib

        close = difflib.get_close_matches(name, table, 1)
        raise InputError(f"syscall {name}", f"{arch} has none of that name", f'did you mean "{close[0]}"?' if close else None) from None
    if not -(1 << 31) <= number < 1 << 32:
        raise InputError(f"syscall {name}", "is not a 32-bit number")
    return number & 0xFFFFFFFF


def arguments(arch: str, name: str | None) -> tuple[Argument, ...]:
    """The arguments of a syscall in the order of the registers; empty where they are not known."""
    if name is None:
        return ()
    found = _arguments(name)
    if name == "clone" and len(found) == 5:
        flags, stack, parent, child, tls = found
        flags = flags._replace(type="u32")  # kernel/fork.c: an unsigned long of which it takes lower_32_bits()
        if arch in _CLONE_STACK_FIRST:
            return (stack, flags, parent, child, tls)
        if arch in _CLONE_TLS_FOURTH:
            return (flags, stack, parent, tls, child)
        return (flags, stack, parent, child, tls)
    return found


@functools.cache
def _arguments(name: str) -> tuple[Argument, ...]:
    from bpflens.isa.classic.syscall_tables import SIGNATURES

    text = SIGNATURES.get(name)
    return tuple(Argument(*piece.strip().rsplit(" ", 1)) for piece in text.split(",")) if text else ()


def argument(arch: str, name: str | None, index: int) -> Argument | None:
    """One argument, None where it is not known."""
    found = arguments(arch, name)
    return found[index] if index < len(found) else None

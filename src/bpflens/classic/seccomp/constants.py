"""Flags and constants of syscall arguments by name.

    value_text("socket", "family", 40)                       ──►  AF_VSOCK
    value_text("clone", "clone_flags", 0x10020000)           ──►  CLONE_NEWNS|CLONE_NEWUSER
    value_text("ioctl", "cmd", 0x5412)                       ──►  TIOCSTI

From the kernel's uapi headers (include/uapi and asm-generic). Values that differ between architectures are given only where the
architecture uses the generic ones.
"""

# ruff: noqa: E501

from __future__ import annotations

from typing import NamedTuple

__all__ = ("Group", "group_of", "value_text", "values_of")


class Group(NamedTuple):
    """Names of values: `flags` are bits to be or-ed, `mask` the bits of a flags word that are an enumeration of its own (O_ACCMODE)."""

    names: dict[int, str]
    flags: bool = False
    mask: int = 0


def _bits(text: str, prefix: str, start: int = 0) -> dict[int, str]:
    """Consecutive bits from `start`; "-" leaves one out."""
    return {1 << start + i: prefix + word for i, word in enumerate(text.split()) if word != "-"}


def _numbers(text: str, prefix: str, start: int = 0) -> dict[int, str]:
    """Consecutive numbers from `start`; "-" leaves one out."""
    return {start + i: prefix + word for i, word in enumerate(text.split()) if word != "-"}


_CLONE = Group(
    {
        0x00000080: "CLONE_NEWTIME", 0x00000100: "CLONE_VM", 0x00000200: "CLONE_FS", 0x00000400: "CLONE_FILES", 0x00000800: "CLONE_SIGHAND",
        0x00001000: "CLONE_PIDFD", 0x00002000: "CLONE_PTRACE", 0x00004000: "CLONE_VFORK", 0x00008000: "CLONE_PARENT",
        0x00010000: "CLONE_THREAD", 0x00020000: "CLONE_NEWNS", 0x00040000: "CLONE_SYSVSEM", 0x00080000: "CLONE_SETTLS",
        0x00100000: "CLONE_PARENT_SETTID", 0x00200000: "CLONE_CHILD_CLEARTID", 0x00400000: "CLONE_DETACHED",
        0x00800000: "CLONE_UNTRACED", 0x01000000: "CLONE_CHILD_SETTID", 0x02000000: "CLONE_NEWCGROUP", 0x04000000: "CLONE_NEWUTS",
        0x08000000: "CLONE_NEWIPC", 0x10000000: "CLONE_NEWUSER", 0x20000000: "CLONE_NEWPID", 0x40000000: "CLONE_NEWNET",
        0x80000000: "CLONE_IO",
    },
    True,
)  # fmt: skip
_PROT = Group({1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC", 8: "PROT_SEM", 0x01000000: "PROT_GROWSDOWN", 0x02000000: "PROT_GROWSUP"}, True)
_MAP = Group(
    {
        0x01: "MAP_SHARED", 0x02: "MAP_PRIVATE", 0x10: "MAP_FIXED", 0x20: "MAP_ANONYMOUS", 0x100: "MAP_GROWSDOWN", 0x800: "MAP_DENYWRITE",
        0x1000: "MAP_EXECUTABLE", 0x2000: "MAP_LOCKED", 0x4000: "MAP_NORESERVE", 0x8000: "MAP_POPULATE", 0x10000: "MAP_NONBLOCK",
        0x20000: "MAP_STACK", 0x40000: "MAP_HUGETLB", 0x80000: "MAP_SYNC", 0x100000: "MAP_FIXED_NOREPLACE",
    },
    True,
)  # fmt: skip
_FAMILY = Group(
    _numbers(
        "UNSPEC UNIX INET AX25 IPX APPLETALK NETROM BRIDGE ATMPVC X25 INET6 ROSE DECnet NETBEUI SECURITY KEY NETLINK PACKET ASH ECONET "
        "ATMSVC RDS SNA IRDA PPPOX WANPIPE LLC IB MPLS CAN TIPC BLUETOOTH IUCV RXRPC ISDN PHONET IEEE802154 CAIF ALG NFC VSOCK KCM "
        "QIPCRTR SMC XDP MCTP",
        "AF_",
    )
)
_SOCK = Group(
    {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 4: "SOCK_RDM", 5: "SOCK_SEQPACKET", 6: "SOCK_DCCP", 10: "SOCK_PACKET",
     0x800: "SOCK_NONBLOCK", 0x80000: "SOCK_CLOEXEC"},
    True, 0xF,
)  # fmt: skip
_OPEN = Group(
    {
        0: "O_RDONLY", 1: "O_WRONLY", 2: "O_RDWR", 0x40: "O_CREAT", 0x80: "O_EXCL", 0x100: "O_NOCTTY", 0x200: "O_TRUNC", 0x400: "O_APPEND",
        0x800: "O_NONBLOCK", 0x1000: "O_DSYNC", 0x2000: "O_ASYNC", 0x4000: "O_DIRECT", 0x8000: "O_LARGEFILE", 0x10000: "O_DIRECTORY",
        0x20000: "O_NOFOLLOW", 0x40000: "O_NOATIME", 0x80000: "O_CLOEXEC", 0x101000: "O_SYNC", 0x200000: "O_PATH", 0x410000: "O_TMPFILE",
    },
    True, 3,
)  # fmt: skip
_PERSONA = Group(
    {
        0: "PER_LINUX", 8: "PER_LINUX32", 0x20000: "UNAME26", 0x20008: "PER_LINUX32|UNAME26", 0xFFFFFFFF: "0xffffffff (only ask)",
        0x40000: "ADDR_NO_RANDOMIZE", 0x80000: "FDPIC_FUNCPTRS", 0x100000: "MMAP_PAGE_ZERO", 0x200000: "ADDR_COMPAT_LAYOUT",
        0x400000: "READ_IMPLIES_EXEC", 0x800000: "ADDR_LIMIT_32BIT", 0x1000000: "SHORT_INODE", 0x2000000: "WHOLE_SECONDS",
        0x4000000: "STICKY_TIMEOUTS", 0x8000000: "ADDR_LIMIT_3GB",
    }
)  # fmt: skip
_PRCTL = Group(
    _numbers(
        "SET_PDEATHSIG GET_PDEATHSIG GET_DUMPABLE SET_DUMPABLE GET_UNALIGN SET_UNALIGN GET_KEEPCAPS SET_KEEPCAPS GET_FPEMU SET_FPEMU "
        "GET_FPEXC SET_FPEXC GET_TIMING SET_TIMING SET_NAME GET_NAME - - GET_ENDIAN SET_ENDIAN GET_SECCOMP SET_SECCOMP CAPBSET_READ "
        "CAPBSET_DROP GET_TSC SET_TSC GET_SECUREBITS SET_SECUREBITS SET_TIMERSLACK GET_TIMERSLACK TASK_PERF_EVENTS_DISABLE "
        "TASK_PERF_EVENTS_ENABLE MCE_KILL MCE_KILL_GET SET_MM SET_CHILD_SUBREAPER GET_CHILD_SUBREAPER SET_NO_NEW_PRIVS GET_NO_NEW_PRIVS "
        "GET_TID_ADDRESS SET_THP_DISABLE GET_THP_DISABLE MPX_ENABLE_MANAGEMENT MPX_DISABLE_MANAGEMENT SET_FP_MODE GET_FP_MODE "
        "CAP_AMBIENT - - SVE_SET_VL SVE_GET_VL GET_SPECULATION_CTRL SET_SPECULATION_CTRL PAC_RESET_KEYS SET_TAGGED_ADDR_CTRL "
        "GET_TAGGED_ADDR_CTRL SET_IO_FLUSHER GET_IO_FLUSHER SET_SYSCALL_USER_DISPATCH PAC_SET_ENABLED_KEYS PAC_GET_ENABLED_KEYS "
        "SCHED_CORE SME_SET_VL SME_GET_VL SET_MDWE GET_MDWE SET_MEMORY_MERGE GET_MEMORY_MERGE",
        "PR_",
        1,
    )
    | {0x53564D41: "PR_SET_VMA", 0x59616D61: "PR_SET_PTRACER"}
)
_IOCTL = Group(
    {
        0x5401: "TCGETS", 0x5402: "TCSETS", 0x5403: "TCSETSW", 0x5404: "TCSETSF", 0x5405: "TCGETA", 0x5409: "TCSBRK", 0x540B: "TCFLSH",
        0x540C: "TIOCEXCL", 0x540E: "TIOCSCTTY", 0x540F: "TIOCGPGRP", 0x5410: "TIOCSPGRP", 0x5412: "TIOCSTI", 0x5413: "TIOCGWINSZ",
        0x5414: "TIOCSWINSZ", 0x541B: "FIONREAD", 0x541C: "TIOCLINUX", 0x541D: "TIOCCONS", 0x5421: "FIONBIO", 0x5422: "TIOCNOTTY",
        0x5423: "TIOCSETD", 0x5429: "TIOCGSID", 0x5450: "FIONCLEX", 0x5451: "FIOCLEX", 0x5452: "FIOASYNC", 0x8912: "SIOCGIFCONF",
        0x8913: "SIOCGIFFLAGS", 0x8914: "SIOCSIFFLAGS", 0x400454CA: "TUNSETIFF", 0xC020660B: "FS_IOC_FIEMAP", 0x40049409: "FICLONE",
    }
)  # fmt: skip
_FCNTL = Group(
    _numbers("F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_SETOWN F_GETOWN F_SETSIG F_GETSIG", "")
    | {1024: "F_SETLEASE", 1025: "F_GETLEASE", 1026: "F_NOTIFY", 1030: "F_DUPFD_CLOEXEC", 1031: "F_SETPIPE_SZ", 1032: "F_GETPIPE_SZ",
       1033: "F_ADD_SEALS", 1034: "F_GET_SEALS", 36: "F_OFD_GETLK", 37: "F_OFD_SETLK", 38: "F_OFD_SETLKW"}
)  # fmt: skip
_FUTEX = Group(
    _numbers("WAIT WAKE FD REQUEUE CMP_REQUEUE WAKE_OP LOCK_PI UNLOCK_PI TRYLOCK_PI WAIT_BITSET WAKE_BITSET WAIT_REQUEUE_PI CMP_REQUEUE_PI "
             "LOCK_PI2", "FUTEX_") | {0x80: "FUTEX_PRIVATE_FLAG", 0x100: "FUTEX_CLOCK_REALTIME"},
    True, 0x7F,
)  # fmt: skip
_MADVISE = Group(
    _numbers("NORMAL RANDOM SEQUENTIAL WILLNEED DONTNEED - - - FREE REMOVE DONTFORK DOFORK MERGEABLE UNMERGEABLE HUGEPAGE NOHUGEPAGE DONTDUMP "
             "DODUMP WIPEONFORK KEEPONFORK COLD PAGEOUT POPULATE_READ POPULATE_WRITE DONTNEED_LOCKED COLLAPSE", "MADV_")
    | {100: "MADV_HWPOISON", 101: "MADV_SOFT_OFFLINE"}
)  # fmt: skip
_SECCOMP = Group(_numbers("SET_MODE_STRICT SET_MODE_FILTER GET_ACTION_AVAIL GET_NOTIF_SIZES", "SECCOMP_"))
_PTRACE = Group(
    _numbers("TRACEME PEEKTEXT PEEKDATA PEEKUSR POKETEXT POKEDATA POKEUSR CONT KILL SINGLESTEP", "PTRACE_")
    | {12: "PTRACE_GETREGS", 13: "PTRACE_SETREGS", 16: "PTRACE_ATTACH", 17: "PTRACE_DETACH", 24: "PTRACE_SYSCALL",
       0x4200: "PTRACE_SETOPTIONS", 0x4201: "PTRACE_GETEVENTMSG", 0x4204: "PTRACE_GETREGSET", 0x4205: "PTRACE_SETREGSET",
       0x4206: "PTRACE_SEIZE", 0x4207: "PTRACE_INTERRUPT"}
)  # fmt: skip
_SIGNAL = Group(
    _numbers("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM "
             "PROF WINCH IO PWR SYS", "SIG", 1)
)  # fmt: skip
_MOUNT = Group(
    _bits("RDONLY NOSUID NODEV NOEXEC SYNCHRONOUS REMOUNT MANDLOCK DIRSYNC NOSYMFOLLOW - NOATIME NODIRATIME BIND MOVE REC SILENT POSIXACL "
          "UNBINDABLE PRIVATE SLAVE SHARED RELATIME - I_VERSION STRICTATIME LAZYTIME", "MS_"),
    True,
)  # fmt: skip
_BPF = Group(
    _numbers("MAP_CREATE MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY PROG_LOAD OBJ_PIN OBJ_GET PROG_ATTACH PROG_DETACH "
             "PROG_TEST_RUN PROG_GET_NEXT_ID MAP_GET_NEXT_ID PROG_GET_FD_BY_ID MAP_GET_FD_BY_ID OBJ_GET_INFO_BY_FD PROG_QUERY "
             "RAW_TRACEPOINT_OPEN BTF_LOAD BTF_GET_FD_BY_ID TASK_FD_QUERY", "BPF_")
)  # fmt: skip
_KEYCTL = Group(
    _numbers("GET_KEYRING_ID JOIN_SESSION_KEYRING UPDATE REVOKE CHOWN SETPERM DESCRIBE CLEAR LINK UNLINK SEARCH READ INSTANTIATE NEGATE "
             "SET_REQKEY_KEYRING SET_TIMEOUT ASSUME_AUTHORITY GET_SECURITY SESSION_TO_PARENT REJECT INSTANTIATE_IOV INVALIDATE GET_PERSISTENT", "KEYCTL_")
)  # fmt: skip
_CLOCK = Group(
    _numbers("REALTIME MONOTONIC PROCESS_CPUTIME_ID THREAD_CPUTIME_ID MONOTONIC_RAW REALTIME_COARSE MONOTONIC_COARSE BOOTTIME "
             "REALTIME_ALARM BOOTTIME_ALARM - TAI", "CLOCK_")
)  # fmt: skip
_RESOURCE = Group(_numbers("CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME", "RLIMIT_"))
_PROTOCOL = Group({0: "0", 1: "IPPROTO_ICMP", 6: "IPPROTO_TCP", 17: "IPPROTO_UDP", 58: "IPPROTO_ICMPV6", 132: "IPPROTO_SCTP", 255: "IPPROTO_RAW"})
_ARCH_PRCTL = Group({0x1001: "ARCH_SET_GS", 0x1002: "ARCH_SET_FS", 0x1003: "ARCH_GET_FS", 0x1004: "ARCH_GET_GS", 0x1011: "ARCH_GET_CPUID",
                     0x1012: "ARCH_SET_CPUID", 0x5001: "ARCH_SHSTK_ENABLE", 0x5002: "ARCH_SHSTK_DISABLE"})  # fmt: skip
_MODE = Group({0o4000: "S_ISUID", 0o2000: "S_ISGID", 0o1000: "S_ISVTX", 0o10000: "S_IFIFO", 0o20000: "S_IFCHR", 0o60000: "S_IFBLK",
               0o100000: "S_IFREG", 0o40000: "S_IFDIR"}, True, 0o170000)  # fmt: skip
_LEVEL = Group({0: "SOL_IP", 1: "SOL_SOCKET", 6: "SOL_TCP", 17: "SOL_UDP", 41: "SOL_IPV6", 58: "SOL_ICMPV6", 263: "SOL_PACKET", 270: "SOL_NETLINK"})
_SHUT = Group({0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"})
_WHENCE = Group(_numbers("SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE", ""))

# (syscall, name of the argument in SIGNATURES) -> group; "*" for every syscall with an argument of that name
_GROUPS: dict[tuple[str, str], Group] = {
    ("clone", "clone_flags"): _CLONE,
    ("unshare", "unshare_flags"): _CLONE,
    ("setns", "flags"): _CLONE,
    ("*", "prot"): _PROT,
    ("mmap", "flags"): _MAP,
    ("mmap2", "flags"): _MAP,
    ("socket", "family"): _FAMILY,
    ("socket", "type"): _SOCK,
    ("socket", "protocol"): _PROTOCOL,
    ("socketpair", "family"): _FAMILY,
    ("socketpair", "type"): _SOCK,
    ("open", "flags"): _OPEN,
    ("openat", "flags"): _OPEN,
    ("open_by_handle_at", "flags"): _OPEN,
    ("personality", "personality"): _PERSONA,
    ("prctl", "option"): _PRCTL,
    ("arch_prctl", "option"): _ARCH_PRCTL,
    ("ioctl", "cmd"): _IOCTL,
    ("fcntl", "cmd"): _FCNTL,
    ("fcntl64", "cmd"): _FCNTL,
    ("futex", "op"): _FUTEX,
    ("madvise", "behavior"): _MADVISE,
    ("seccomp", "op"): _SECCOMP,
    ("ptrace", "request"): _PTRACE,
    ("mount", "flags"): _MOUNT,
    ("bpf", "cmd"): _BPF,
    ("keyctl", "cmd"): _KEYCTL,
    ("keyctl", "option"): _KEYCTL,
    ("kill", "sig"): _SIGNAL,
    ("tkill", "sig"): _SIGNAL,
    ("tgkill", "sig"): _SIGNAL,
    ("*", "which_clock"): _CLOCK,
    ("*", "resource"): _RESOURCE,
    ("mknod", "mode"): _MODE,
    ("mknodat", "mode"): _MODE,
    ("chmod", "mode"): _MODE,
    ("fchmod", "mode"): _MODE,
    ("fchmodat", "mode"): _MODE,
    ("setsockopt", "level"): _LEVEL,
    ("getsockopt", "level"): _LEVEL,
    ("shutdown", "how"): _SHUT,
    ("lseek", "whence"): _WHENCE,
}

# arch/*/include/uapi/asm: where the generic values of these groups do not hold
_OTHER_VALUES = {
    "mips": (_MAP, _SOCK, _OPEN, _IOCTL, _FCNTL, _LEVEL, _RESOURCE, _SIGNAL),
    "sparc": (_MAP, _SOCK, _OPEN, _IOCTL, _FCNTL, _LEVEL, _RESOURCE, _SIGNAL, _PTRACE),
    "parisc": (_MAP, _OPEN, _IOCTL, _FCNTL, _LEVEL, _SIGNAL, _MADVISE, _PTRACE),
    "ppc": (_MAP, _IOCTL, _PTRACE),
    "m68k": (_PTRACE,),
    "sh": (_IOCTL, _PTRACE),
    "s390": (_PTRACE,),
}
# asm/fcntl.h: O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE are permuted
_ARM_OPEN = Group(
    {**{value: name for value, name in _OPEN.names.items() if value not in (0x4000, 0x8000, 0x10000, 0x20000, 0x410000)},
     0x4000: "O_DIRECTORY", 0x8000: "O_NOFOLLOW", 0x10000: "O_DIRECT", 0x20000: "O_LARGEFILE", 0x404000: "O_TMPFILE"},
    True, 3,
)  # fmt: skip


def group_of(syscall: str | None, argument: str, arch: str = "x86_64") -> Group | None:
    """The names that values of an argument have, None where there are none."""
    if syscall is None:
        return None
    group = _GROUPS.get((syscall, argument)) or _GROUPS.get(("*", argument))
    family = next((family for family in _OTHER_VALUES if arch.startswith(family)), "")
    if group is _OPEN and arch in ("arm", "arm64", "ppc", "ppc64", "ppc64le", "m68k"):
        return _ARM_OPEN
    return None if group in _OTHER_VALUES.get(family, ()) else group


def value_text(syscall: str | None, argument: str, value: int, arch: str = "x86_64") -> str:
    """A value with its names: AF_VSOCK, CLONE_NEWNS|CLONE_NEWUSER|0x1, or the number alone."""
    group = group_of(syscall, argument, arch)
    if group is None:
        return _number(value)
    if value in group.names:
        return group.names[value]
    if not group.flags:
        return _number(value)
    words, rest = [], value
    if group.mask and value & group.mask in group.names and value & group.mask:
        words.append(group.names[value & group.mask])
        rest &= ~group.mask
    for bit, name in group.names.items():
        if bit & ~group.mask and bit & (bit - 1) == 0 and rest & bit and not bit & group.mask:
            words.append(name)
            rest &= ~bit
    if rest or not words:
        words.append(_number(rest))
    return "|".join(words)


def values_of(syscall: str, argument: str, text: str, arch: str = "x86_64") -> int | None:
    """The inverse: a number, a name, or names joined by "|"; None where one is not known."""
    group = group_of(syscall, argument, arch)
    total = 0
    for word in text.split("|"):
        word = word.strip()
        try:
            total |= int(word, 0)
            continue
        except ValueError:
            pass
        value = next((number for number, name in group.names.items() if name == word), None) if group else None
        if value is None:
            return None
        total |= value
    return total


def _number(value: int) -> str:
    """Small numbers, and -1 and its neighbours, in decimal."""
    if value < 4096:
        return str(value)
    if value >= (1 << 64) - 4096:
        return str(value - (1 << 64))
    return hex(value)

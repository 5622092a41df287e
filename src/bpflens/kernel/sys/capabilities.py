"""Linux capabilities of this process: the effective set that the kernel asks for (include/uapi/linux/capability.h)."""

from __future__ import annotations

from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("NAMES", "NEEDS", "Need", "effective", "has", "to_look_into")

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By bit; without the prefix CAP_."""
_NAMED = 4  # capabilities that a message names


class Need(NamedTuple):
    """What a capability gives, in words, and the verbs and targets that lose something without it."""

    name: str
    gives: str
    verbs: str


NEEDS = (
    Need("SYS_ADMIN", "ids of programs, maps and links; perf events; other network namespaces", "ls, tree, show, dis id:N, original"),
    Need("BPF", "instructions of a program behind a descriptor; loading programs", "original (proofs), ls --deep"),
    Need("PERFMON", "loading programs that read kernel memory or keep pointers", "original (proofs), ls --deep"),
    Need("SYSLOG", "kernel addresses: names of helper and kfunc calls, machine code", "dis, dis --jited, original"),
    Need("NET_ADMIN", "filters of packet sockets; programs on devices, cgroups, network namespaces; nftables", "ls, show"),
    Need("NET_RAW", "rules of legacy iptables", "ls"),
    Need("SYS_PTRACE", "descriptors of other processes: filters of sockets, holders, seccomp", "ls, show, seccomp, fd:, pid:, sock:"),
    Need("SYS_RESOURCE", "processes that hold this capability themselves, often PID 1", "ls, fd:, pid:"),
    Need("DAC_READ_SEARCH", "pins in directories of other users", "ls, pin:"),
)


def effective() -> frozenset[str]:
    """Names (without CAP_) of the effective capabilities; a bit newer than the table as its number. Empty where /proc is not mounted."""
    return _set("thread-self", "CapEff:")


def _set(pid: str | int, label: str) -> frozenset[str]:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as stream:
            line = next(line for line in stream if line.startswith(label))
    except (OSError, StopIteration):
        return frozenset()
    bits = int(line.split()[1], 16)
    return frozenset(NAMES[bit] if bit < len(NAMES) else str(bit) for bit in range(bits.bit_length()) if bits >> bit & 1)


def to_look_into(pids: Iterable[int]) -> str:
    """What is missing to look into processes that refused it: "CAP_SYS_PTRACE", or what else is known where that is there.

    CAP_SYS_PTRACE is all that the kernel itself asks for (cap_ptrace_access_check(), security/commoncap.c, v6.18); a security module or
    a sandbox may ask for more and does not say what. So the capabilities that the processes have beyond ours are named as a fact.
    """
    own = effective()
    if "SYS_PTRACE" not in own:
        return "CAP_SYS_PTRACE"
    beyond = sorted(frozenset().union(*(_set(pid, "CapPrm:") for pid in pids)) - own)
    if not beyond:
        return "more than CAP_SYS_PTRACE, which is there: a sandbox or security module refuses"
    names = ", ".join(f"CAP_{name}" for name in beyond[:_NAMED]) + f" and {len(beyond) - _NAMED} more" * (len(beyond) > _NAMED)
    return f"more than CAP_SYS_PTRACE, which is there; missing of what they have: {names}"


def has(name: str) -> bool:
    """Whether this thread has a capability, named with or without CAP_."""
    return name.removeprefix("CAP_") in effective()

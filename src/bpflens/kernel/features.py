"""What this process and this kernel allow, and what is lost without the rest: the findings of the `doctor` verb.

Every finding is a probe of the thing itself (kernel/probes.py, files, calls that fail harmlessly), never a version. Nothing here fails:
what may not be asked is "unknown", with the privilege that would tell.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator

from bpflens.isa.extended.uapi import ProgType
from bpflens.kernel import probes
from bpflens.kernel.sys import capabilities
from bpflens.lean import NamedTuple

__all__ = ("Finding", "findings")


class Finding(NamedTuple):
    """One thing: `present` None where this process may not ask. `lost`: what does not work without it; `get`: how to have it."""

    group: str
    name: str
    present: bool | None
    detail: str = ""
    lost: str = ""
    get: str = ""


_Answer = tuple[bool | None, str]
_AS_ROOT = "run as root with all capabilities, or grant it (docker --cap-add, systemd AmbientCapabilities)"


def findings() -> Iterator[Finding]:
    """Everything, in the order in which it is best read. Takes about 0.1 s; programs and maps of the probes are closed at once."""
    for part in (_capabilities, _commands, _types, _kernel, _mounts, _software):
        try:
            yield from part()
        except OSError as error:  # a strange /proc or /sys: say so and go on
            yield Finding("doctor", part.__name__.strip("_"), None, f"could not be looked at: {error}")


def _capabilities() -> Iterator[Finding]:
    held = capabilities.effective()
    for need in capabilities.NEEDS:
        present = need.name in held
        yield Finding("capabilities", f"CAP_{need.name}", present, need.gives, need.verbs, _AS_ROOT)


_LOST_COMMANDS = {
    "list programs": "ls, tree, show, dis id:N, name:, tag:",
    "list links": "attachments by link in ls and show, link:",
    "list BTF": "type information of loaded programs",
    "object info": "everything about loaded programs",
    "query attachments": "tcx, netkit, cgroup and network namespace programs in ls",
    "query perf events": "tracepoint, kprobe and uprobe programs in ls",
    "read maps in batches": "speed and consistency of show --values",
    "test-run programs": "run of extended programs, ls --deep",
    "iterators": "ls --deep",
    "make links": "ls --deep",
}


def _commands() -> Iterator[Finding]:
    for name in probes.COMMANDS:
        present = probes.command(name)
        get = "a newer kernel" if present is False else _AS_ROOT
        yield Finding("bpf(2)", name, present, "", _LOST_COMMANDS.get(name, ""), get)


def _types() -> Iterator[Finding]:
    from bpflens.isa.extended.names import MAP_TYPES, PROG_TYPES

    for what, names, probe in (("program types", PROG_TYPES, probes.prog_type), ("map types", MAP_TYPES, probes.map_type)):
        answers = {name: probe(number) for number, name in names.items() if number}
        missing = [name for name, present in answers.items() if present is False]
        if None in answers.values():
            yield Finding("kernel", what, None, "this process may not load any", "proofs by reload in original", _AS_ROOT)
            continue
        detail = f"{len(answers) - len(missing)} of {len(answers)}" + (f"; not {', '.join(missing)}" if missing else "")
        yield Finding("kernel", what, True, detail)


def _kernel() -> Iterator[Finding]:
    for name, probe, lost, get in _KERNEL:
        present, detail = probe()
        yield Finding("kernel", name, present, detail, lost, _AS_ROOT if present is None else get)


def _btf() -> _Answer:
    from bpflens.errors import BpflensError
    from bpflens.kernel.btf import VMLINUX, vmlinux

    try:
        types = len(vmlinux()) - 1
    except BpflensError as error:
        return False, error.reason
    modules = len([name for name in os.listdir(os.path.dirname(VMLINUX)) if name != "vmlinux"])
    return True, f"{types:,} types" + (f", {modules} modules" if modules else "")


def _sysctl(name: str) -> str | None:
    """The value of a sysctl; None where it is absent or may not be read."""
    try:
        with open(f"/proc/sys/{name.replace('.', '/')}", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return None


def _jit() -> _Answer:
    value = _sysctl("net.core.bpf_jit_enable")
    if value is None:  # its file is readable by root only
        exists = os.path.exists("/proc/sys/net/core/bpf_jit_enable")
        return (None if exists else False), "the setting is for root's eyes" if exists else "built without CONFIG_BPF_JIT"
    words = {"0": "switched off", "1": "on", "2": "on, with traces in the kernel log"}
    harden = _sysctl("net.core.bpf_jit_harden")
    blinding = {"1": "; constants of unprivileged programs are blinded", "2": "; constants are blinded"}.get(harden or "", "")
    return value != "0", words.get(value, value) + blinding


def _kallsyms() -> _Answer:
    from bpflens.kernel.sys.kallsyms import Kallsyms

    restrict = _sysctl("kernel.kptr_restrict")
    hidden = Kallsyms().hidden()
    if not os.path.exists("/proc/kallsyms"):
        return False, "built without CONFIG_KALLSYMS"
    return not hidden, f"{'hidden' if hidden else 'visible'}, kernel.kptr_restrict is {restrict or 'unknown'}"


def _unprivileged() -> _Answer:
    value = _sysctl("kernel.unprivileged_bpf_disabled")
    words = {"0": "allowed for everybody", "1": "off until the next boot", "2": "off, root may switch it on"}
    return (None if value is None else value == "0"), words.get(value or "", "unknown")


def _lockdown() -> _Answer:
    try:
        with open("/sys/kernel/security/lockdown", encoding="ascii") as stream:
            state = stream.read().partition("[")[2].partition("]")[0]
    except OSError:
        return probes.reads_kernel_memory(), "the state of lockdown cannot be read (no securityfs, or no lockdown)"
    return state != "confidentiality", f"lockdown is {state or 'unknown'}"


def _stats() -> _Answer:
    value = _sysctl("kernel.bpf_stats_enabled")
    if value is None:
        return None, "kernel.bpf_stats_enabled cannot be read"
    return value != "0", "counting" if value != "0" else "off"


def _pmu(name: str) -> Callable[[], _Answer]:
    path = f"/sys/bus/event_source/devices/{name}/type"
    return lambda: (os.path.exists(path), "" if os.path.exists(path) else f"no {path}")


def _tracing(function: str, attach_type: int, type: int = ProgType.TRACING) -> Callable[[], _Answer]:
    def ask() -> _Answer:
        present = probes.tracing(function, attach_type, type)
        return present, "this kernel refuses them" if present is False else ""

    return ask


def _netns() -> _Answer:
    if not os.path.exists("/proc/self/ns/net"):
        return False, "built without CONFIG_NET_NS"
    return True, "" if capabilities.has("SYS_ADMIN") else "only the own one may be entered"


def _seccomp() -> _Answer:
    """PTRACE_SECCOMP_GET_FILTER: CONFIG_CHECKPOINT_RESTORE, and the caller has no filter itself (kernel/seccomp.c, v6.18)."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
        mode = next((line.split()[1] for line in stream if line.startswith("Seccomp:")), None)
    if mode is None:
        return False, "built without CONFIG_SECCOMP"
    if mode != "0":
        return False, "this process is under a seccomp filter itself"
    if not os.path.exists("/proc/sys/kernel/ns_last_pid"):
        return False, "built without CONFIG_CHECKPOINT_RESTORE"
    return True, ""


def _getfd() -> _Answer:
    from bpflens.kernel.sys.syscalls import pidfd_getfd

    try:
        os.close(pidfd_getfd(-1, -1))
    except OSError as error:
        return error.errno != errno.ENOSYS, ""
    return True, ""


_NEWER = "a newer kernel, or one with more configured"
_KERNEL: tuple[tuple[str, Callable[[], _Answer], str, str], ...] = (
    ("BTF of the kernel", _btf, "names of kernel types and functions, ls --deep, original", "CONFIG_DEBUG_INFO_BTF=y"),
    ("JIT", _jit, "dis --jited", "sysctl net.core.bpf_jit_enable=1"),
    ("kernel addresses", _kallsyms, "names of helper and kfunc calls, machine code", "CAP_SYSLOG, or kernel.kptr_restrict=0 as root"),
    ("unprivileged bpf(2)", _unprivileged, "loading of programs without capabilities", "not advised; run as root"),
    ("kernel memory by BPF", _lockdown, "part of ls --deep", "lockdown=integrity or none at boot, and CAP_BPF with CAP_PERFMON"),
    ("run statistics", _stats, "run counts and times in show", "sysctl kernel.bpf_stats_enabled=1 (costs some ns for each run)"),
    ("iterator programs", _tracing("bpf_iter_task", probes.ITER), "ls --deep", _NEWER),
    ("syscall programs", lambda: (probes.prog_type(ProgType.SYSCALL), ""), "ls --deep", _NEWER),
    ("fentry and fexit", _tracing("vfs_read", probes.FENTRY), "", ""),
    ("LSM programs", _tracing("bpf_lsm_file_open", probes.LSM_MAC, ProgType.LSM), "", ""),
    ("struct_ops programs", lambda: (probes.prog_type(ProgType.STRUCT_OPS), ""), "", ""),
    ("kprobes", _pmu("kprobe"), "", ""),
    ("uprobes", _pmu("uprobe"), "", ""),
    ("network namespaces", _netns, "programs in other network namespaces", "CONFIG_NET_NS=y"),
    ("seccomp filters by ptrace", _seccomp, "seccomp pid:N, ls seccomp", "a process without a seccomp filter; ls --deep"),
    ("copying descriptors", _getfd, "filters of sockets of other processes", "Linux 5.6 (pidfd_getfd)"),
)


def _mounts() -> Iterator[Finding]:
    from bpflens.kernel.sys.procfs import mounts

    found: dict[str, list[str]] = {}
    for mount in mounts("self"):
        found.setdefault(mount.type, []).append(mount.point)
    for kind, lost, get in (
        ("bpf", "pin: targets (nothing can be pinned)", "mount -t bpf bpf /sys/fs/bpf"),
        ("cgroup2", "programs on cgroups", "mount -t cgroup2 none DIRECTORY"),
        ("tracefs", "names of tracepoints in ls", "mount -t tracefs tracefs /sys/kernel/tracing"),
        ("securityfs", "the state of lockdown", "mount -t securityfs securityfs /sys/kernel/security"),
    ):
        points = found.get(kind, [])
        yield Finding("mounts", kind, bool(points), " ".join(points[:3]), lost, get)


def _software() -> Iterator[Finding]:
    present, detail = _libpcap()
    yield Finding("software", "libpcap", present, detail, "pcap: targets, proofs of explain", "install libpcap (Debian: libpcap0.8)")
    for module, lost, package in (
        ("capstone", "dis --jited; built-in filters and the full audit of ls --deep where kallsyms has no variables", "capstone"),
        ("z3", "the second key of equal in diff, what the diagrams cannot decide in explain, equality of extended programs", "z3-solver"),
    ):
        there = _installed(module)
        yield Finding("software", f"Python module {module}", there, _version(package) if there else "", lost, f"pip install {package}")
    for tool, lost in (
        ("ss", "ss -0 -b | bpflens dis -"),
        ("tcpdump", "tcpdump -ddd EXPRESSION | bpflens dis -"),
        ("tc", "tc filter show ... | bpflens dis -"),
        ("iptables-save", "iptables-save | bpflens dis -"),
        ("bpftool", "bpftool prog dump xlated ... | bpflens dis -"),
        ("clang", "objects compiled from C to look at"),
    ):
        path = shutil.which(tool) or shutil.which(tool, path="/usr/local/sbin:/usr/sbin:/sbin")
        yield Finding("software", tool, path is not None, path or "", f"nothing but its dumps: {lost}", "install it")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _libpcap() -> _Answer:
    from bpflens.errors import BpflensError
    from bpflens.formats.pcap.libpcap import version

    try:
        return True, version()
    except (BpflensError, OSError) as error:
        return False, str(error)

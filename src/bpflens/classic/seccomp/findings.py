"""What weakens a seccomp policy: findings, each with what follows from it.

Known ways around a filter: another architecture's numbers (i386's by int 0x80, x32's with bit 30), syscalls that do what a denied one
does, and allowed ones that change the task so that the filter no longer holds what it was meant to hold. Every finding is read from the
exact policy, so "allowed" means that there are arguments for which the kernel runs the syscall.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bpflens.classic.seccomp.conditions import arm_text
from bpflens.classic.seccomp.halves import passed_denials
from bpflens.classic.seccomp.policy.actions import ALLOW, KILL_PROCESS, KILL_THREAD, LOG, TRACE, USER_NOTIF, action_text, kind
from bpflens.classic.seccomp.policy.policy import Policy, other_text
from bpflens.classic.seccomp.policy.rules import ArchPolicy, Rule
from bpflens.isa.classic.syscalls import Arch, find_arch

__all__ = ("Finding", "findings")


class Finding(NamedTuple):
    """`severity`: "high", "medium", "low"; `id` stays the same across versions; `arch`: one or several, None for all of them."""

    severity: str
    id: str
    arch: str | None
    text: str
    syscalls: tuple[str, ...] = ()


# severity, syscalls, why: what a task can do with them that the filter cannot follow
_POWERS: tuple[tuple[str, str, str, str], ...] = (
    ("high", "ptrace", "ptrace", "takes control of other tasks, which need not have the filter"),
    ("high", "other-memory", "process_vm_writev pidfd_getfd process_madvise", "reaches into other tasks of the same user"),
    ("high", "io_uring", "io_uring_setup io_uring_enter io_uring_register", "file and network operations by rings, which no filter sees"),
    ("high", "modules", "init_module finit_module delete_module", "loads code into the kernel"),
    ("high", "kexec", "kexec_load kexec_file_load", "replaces the running kernel"),
    ("high", "bpf", "bpf", "loads programs into the kernel"),
    ("high", "handle", "open_by_handle_at", "opens files by handle, outside the mount namespace's paths (CAP_DAC_READ_SEARCH)"),
    ("high", "ports", "iopl ioperm", "gives access to I/O ports"),
    ("medium", "mount", "mount umount2 pivot_root move_mount open_tree open_tree_attr fsopen fsmount fspick fsconfig mount_setattr chroot",
     "changes what the paths mean that other checks rely on"),
    ("medium", "setns", "setns", "moves the task into other namespaces"),
    ("medium", "userfaultfd", "userfaultfd", "halts the kernel at a page fault, which makes races exploitable"),
    ("medium", "perf", "perf_event_open", "a wide interface to the kernel with a history of holes"),
    ("medium", "keys", "add_key request_key keyctl", "kernel keyrings are not separated by containers"),
    ("medium", "personality", "personality", "can switch off address randomization"),
    ("low", "clock", "clock_settime settimeofday adjtimex clock_adjtime stime", "changes the machine's clock"),
    ("low", "power", "reboot swapon swapoff acct quotactl nfsservctl", "administers the machine"),
    ("low", "memfd", "memfd_create execveat", "executes code that is in no file system"),
)  # fmt: skip

# a denied one is worth little while another of the group is allowed
_SAME: tuple[tuple[str, str], ...] = (
    ("opening files", "open openat openat2 creat open_by_handle_at"),
    ("executing programs", "execve execveat"),
    ("creating tasks", "fork vfork clone clone3"),
    ("making memory executable", "mmap mmap2 mprotect pkey_mprotect remap_file_pages"),
    ("sending on sockets", "sendto sendmsg sendmmsg"),
    ("connecting", "connect io_uring_enter"),
    ("changing modes", "chmod fchmod fchmodat fchmodat2"),
    ("changing owners", "chown fchown lchown fchownat chown32 fchown32 lchown32"),
    ("making device nodes", "mknod mknodat"),
    ("deleting files", "unlink unlinkat"),
    ("renaming files", "rename renameat renameat2"),
    ("linking files", "link linkat symlink symlinkat"),
    ("tracing tasks", "ptrace process_vm_readv process_vm_writev"),
    ("writing", "write pwrite64 writev pwritev pwritev2"),
    ("reading", "read pread64 readv preadv preadv2"),
    ("mounting", "mount fsmount move_mount open_tree"),
    ("sending signals", "kill tkill tgkill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo"),
)

# calls that the C library and runtimes try first and replace by older ones, which they do only where the kernel says ENOSYS
_NEWER = (
    "clone3 openat2 faccessat2 fchmodat2 close_range epoll_pwait2 statx renameat2 copy_file_range preadv2 pwritev2 "
    "execveat memfd_create getrandom rseq futex_waitv pidfd_open pidfd_send_signal pidfd_getfd mseal clock_gettime64 "
    "clock_nanosleep_time64 futex_time64 ppoll_time64 pselect6_time64 recvmmsg_time64 utimensat_time64 timerfd_settime64 "
    "io_uring_setup cachestat map_shadow_stack"
)
_ERRNO, _ENOSYS = 0x50000, 0x50026

_NEWUSER = 0x10000000  # CLONE_NEWUSER


def findings(policy: Policy, arch: Arch) -> list[Finding]:
    """All findings; `arch` is the machine that the filter runs on. High ones first."""
    found = [*_architecture(policy, arch)]
    arches = policy.arches or (policy.of(arch),)
    for own in arches:
        if own.arch.name == "x32" and all(not _allows(rule) for rule in (*own.known, *own.unknown)):
            continue
        found += _default(own)
        found += _powers(own)
        found += _namespaces(own)
        found += _same(own)
        found += _halves(policy, own)
        found += _no_fallback(own)
    if kind(policy.other if policy.other is not None else KILL_PROCESS) == KILL_THREAD or any(a.default == KILL_THREAD for a in arches):
        text = "KILL_THREAD ends one thread and leaves the others of the process running in an unplanned state: KILL_PROCESS is safer"
        found.append(Finding("low", "kill-thread", None, text))
    order = {"high": 0, "medium": 1, "low": 2}
    return sorted(_together(found), key=lambda finding: order[finding.severity])


def _together(found: list[Finding]) -> list[Finding]:
    """The same finding for several architectures as one."""
    merged: dict[tuple[str, str, str], Finding] = {}
    for finding in found:
        key = (finding.severity, finding.id, finding.text)
        first = merged.get(key)
        if first is None:
            merged[key] = finding
        else:
            names = tuple(dict.fromkeys((*first.syscalls, *finding.syscalls)))
            merged[key] = first._replace(arch=f"{first.arch}, {finding.arch}", syscalls=names)
    return list(merged.values())


def _allows(rule: Rule) -> bool:
    """There are arguments with which the kernel runs the syscall."""
    return any(kind(action) in (ALLOW, LOG) for action in rule.actions)


def _always(rule: Rule) -> bool:
    return not rule.arms and kind(rule.otherwise) in (ALLOW, LOG)


def _architecture(policy: Policy, arch: Arch) -> Iterator[Finding]:
    if not policy.checks_arch:
        text = "the filter never looks at the architecture: "
        if arch.name in ("x86_64", "x32"):
            text += "a task on x86_64 can make i386 syscalls (int 0x80), whose numbers mean other things (x86_64's 59 execve is i386's 11)"
        elif arch.name == "arm64":
            text += "a task on arm64 can make arm syscalls, whose numbers mean other things"
        else:
            text += "the numbers that it compares mean other things on another architecture"
        yield Finding("high", "no-arch-check", None, text)
    elif policy.other is not None and kind(policy.other) in (ALLOW, LOG):
        named = ", ".join(own.arch.name for own in policy.arches) or "those it names"
        text = f"syscalls of every architecture but {named} are allowed"
        yield Finding("high", "other-arch-allowed", None, text)
    elif policy.other is None and any(
        kind(action) in (ALLOW, LOG) for action, audit in policy.elsewhere.items() if audit is not None
    ):
        text = f"syscalls of other architectures can be allowed: {other_text(policy)}"
        yield Finding("high", "other-arch-by-number", None, text)
    if any(own.arch.name == "x86_64" for own in policy.arches) or (not policy.checks_arch and arch.name == "x86_64"):
        x32 = policy.of(find_arch("x32"))
        x86_64 = policy.of(find_arch("x86_64"))
        allowed = [rule for rule in x32.known if _allows(rule)]
        denied = {rule.name for rule in x86_64.known if not _allows(rule)}
        if kind(x32.default) in (ALLOW, LOG):
            names = tuple(sorted(rule.name for rule in allowed if rule.name and rule.name in denied))
            what = f": {len(names)} syscalls that are denied by their own numbers are open by x32's" if names else ""
            severity = "high" if names else "medium"
            yield Finding(severity, "x32-allowed", "x32", f"numbers with the x32 bit (0x40000000) are allowed by default{what}", names)
        else:
            names = tuple(sorted(rule.name for rule in allowed if rule.name and rule.name in denied))
            if names:
                yield Finding("high", "x32-opens", "x32", "allowed as x32, denied by their own numbers", names)


def _default(own: ArchPolicy) -> Iterator[Finding]:
    if kind(own.default) in (ALLOW, LOG):
        text = "the filter is a list of what is denied: every syscall that a newer kernel adds is allowed"
        yield Finding("medium", "denylist", own.arch.name, text)
    for rule in own.unknown:
        if rule.last - rule.first < 4096 and kind(rule.otherwise) in (ALLOW, LOG) and kind(own.default) not in (ALLOW, LOG):
            span = str(rule.first) if rule.first == rule.last else f"{rule.first} to {rule.last}"
            yield Finding("low", "unnamed-allowed", own.arch.name, f"numbers {span} are allowed and have no name in Linux's tables")


def _powers(own: ArchPolicy) -> Iterator[Finding]:
    rules = {rule.name: rule for rule in own.known}
    for severity, id, names, why in _POWERS:
        allowed = tuple(name for name in names.split() if name in rules and _allows(rules[name]))
        if not allowed:
            continue
        if all(not _always(rules[name]) for name in allowed):
            if id in ("personality", "keys", "ptrace"):
                continue  # limited to some arguments: the policy's author has looked at it
            severity = {"high": "medium", "medium": "low"}.get(severity, severity)
        yield Finding(severity, id, own.arch.name, why, allowed)


def _namespaces(own: ArchPolicy) -> Iterator[Finding]:
    """unshare, clone and clone3 with CLONE_NEWUSER: a new user namespace has all capabilities inside, which open much kernel code."""
    open_to = []
    for name, index in (("unshare", 0), ("clone", 1 if own.arch.name.startswith("s390") else 0)):
        rule = next((rule for rule in own.known if rule.name == name), None)
        if rule is None or not _allows(rule):
            continue
        if _always(rule) or _allowed_with(rule, index, _NEWUSER):
            open_to.append(name)
    clone3 = next((rule for rule in own.known if rule.name == "clone3"), None)
    if clone3 is not None and _allows(clone3):
        open_to.append("clone3")  # its flags lie in memory, where no filter can look
    if open_to:
        text = "a user namespace can be made, in which the task has all capabilities"
        if open_to == ["clone3"]:
            text += "; clone3's flags lie in memory, where a filter cannot look (ENOSYS makes programs fall back to clone)"
        yield Finding("medium", "user-namespace", own.arch.name, text, tuple(open_to))


def _allowed_with(rule: Rule, index: int, value: int) -> bool:
    """Whether an arm that allows has room for the value in one argument; unknown forms count as room."""
    for arm in rule.arms:
        if kind(arm.action) in (ALLOW, LOG) and all(test.argument != index or test.values.holds(value) is not False for test in arm.tests):
            return True
    if kind(rule.otherwise) not in (ALLOW, LOG):
        return False
    denying = [arm for arm in rule.arms if len(arm.tests) == 1 and arm.tests[0].argument == index]
    return not any(arm.tests[0].values.holds(value) for arm in denying)


def _same(own: ArchPolicy) -> Iterator[Finding]:
    rules = {rule.name: rule for rule in own.known}
    if kind(own.default) not in (ALLOW, LOG):
        return  # an allowlist says what it wants
    for what, names in _SAME:
        present = [rules[name] for name in names.split() if name in rules]
        denied = [rule for rule in present if not _allows(rule)]
        allowed = [rule for rule in present if _always(rule)]
        if denied and allowed:
            text = f"{what}: {', '.join(str(rule.name) for rule in denied)} denied, others allowed that do the same"
            yield Finding("high", "same-effect", own.arch.name, text, tuple(str(rule.name) for rule in allowed))


def _no_fallback(own: ArchPolicy) -> Iterator[Finding]:
    """Newer calls that are refused with an error other than ENOSYS: programs fail instead of using the older call."""
    errors: dict[int, list[str]] = {}
    by_name = {rule.name: rule for rule in own.known}
    for name in _NEWER.split():
        rule = by_name.get(name)
        if rule is not None and not rule.arms and kind(rule.otherwise) == _ERRNO and rule.otherwise != _ENOSYS:
            errors.setdefault(rule.otherwise, []).append(name)
    for action, names in errors.items():
        what = "programs fall back on older calls only for ENOSYS: they fail where this is answered instead"
        if action == own.default:
            what += "; every system call that a later kernel adds is answered so too"
        severity = "medium" if "clone3" in names or "faccessat2" in names else "low"
        yield Finding(severity, "no-fallback", own.arch.name, f"{action_text(action)} for newer calls: {what}", tuple(names))


def _halves(policy: Policy, own: ArchPolicy) -> Iterator[Finding]:
    for passed in passed_denials(policy, own):
        id = "high-half-passes" if passed.narrow else "high-half-ignored"
        yield Finding("high", id, own.arch.name, passed.text(), (passed.syscall,))


def explain_rule(rule: Rule, arch: Arch) -> list[str]:
    """What happens to a rule's syscall, one line for each case."""
    lines = [f"{action_text(arm.action)} where {arm_text(arm, arch, rule.name)}" for arm in rule.arms]
    lines.append(f"{'otherwise ' if lines else ''}{action_text(rule.otherwise)}")
    notes = {USER_NOTIF: "a supervisor decides", TRACE: "a tracer decides; ENOSYS without one"}
    return [line + (f" ({notes[k]})" if (k := kind(action)) in notes else "") for line, action in
            zip(lines, [*(arm.action for arm in rule.arms), rule.otherwise], strict=True)]  # fmt: skip

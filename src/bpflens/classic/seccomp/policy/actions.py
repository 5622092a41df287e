"""What a seccomp filter returns: actions, as the kernel reads them (kernel/seccomp.c, include/uapi/linux/seccomp.h).

    0x00050001  ──►  ERRNO(EPERM)          0x7fff0000  ──►  ALLOW
"""

from __future__ import annotations

__all__ = ("ALLOW", "action_text", "canonical", "kind", "oci_action", "precedence")

KILL_PROCESS, KILL_THREAD, TRAP, ERRNO = 0x80000000, 0x00000000, 0x00030000, 0x00050000
USER_NOTIF, TRACE, LOG, ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000
FULL, DATA = 0xFFFF0000, 0x0000FFFF
MAX_ERRNO = 4095

_NAMES = {
    KILL_PROCESS: "KILL_PROCESS",
    KILL_THREAD: "KILL_THREAD",
    TRAP: "TRAP",
    ERRNO: "ERRNO",
    USER_NOTIF: "USER_NOTIF",
    TRACE: "TRACE",
    LOG: "LOG",
    ALLOW: "ALLOW",
}


def kind(action: int) -> int:
    """The action without its data; the whole value where it is none."""
    return action & FULL if action <= 0xFFFFFFFF else action


def precedence(action: int) -> int:
    """The kernel's order: the lowest wins. ACTION_ONLY() is signed, which makes KILL_PROCESS the lowest."""
    value = kind(action)
    return value - (1 << 32) if KILL_PROCESS <= value <= 0xFFFFFFFF else value


def canonical(action: int) -> int:
    """The value without what the kernel does not look at: data of actions that have none, errno above MAX_ERRNO.

    An unknown action kills the process (the default case of __seccomp_filter).
    """
    known = kind(action)
    if known not in _NAMES:
        return KILL_PROCESS
    if known == ERRNO:
        return ERRNO | min(action & DATA, MAX_ERRNO)
    return action if known in (TRAP, TRACE) else known


def action_text(action: int) -> str:
    """ALLOW, ERRNO(EPERM), TRACE(0x7ff) ..."""
    known = kind(action)
    name = _NAMES.get(known)
    if name is None:
        return f"value computed by the filter ({action:#x})" if action > 0xFFFFFFFF else f"unknown action {action:#x}"
    data = action & DATA
    if known == ERRNO:
        import errno

        return f"ERRNO({errno.errorcode.get(data, data)})"
    return f"{name}({data:#x})" if data and known in (TRAP, TRACE) else name


def oci_action(action: int) -> tuple[str, int | None]:
    """The name in an OCI profile and its errnoRet."""
    known = kind(action)
    if known == ERRNO:
        return "SCMP_ACT_ERRNO", action & DATA
    if known == TRACE:
        return "SCMP_ACT_TRACE", action & DATA
    return {USER_NOTIF: "SCMP_ACT_NOTIFY"}.get(known, f"SCMP_ACT_{_NAMES.get(known, 'KILL_PROCESS')}"), None

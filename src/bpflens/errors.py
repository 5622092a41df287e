"""The one error tree.

* BpflensError: everything that bpflens reports to its user; carries an exit code
  * UsageError (2): the command line does not mean anything
  * InputError (3): a file, dump or target that cannot be read or is malformed
    * NoCode (3): an object file without instructions
    * NothingThere (3): a whole table of a known kind in which no program stands; verbs that follow a table take it as an empty result
  * KernelError (4): the kernel refused, or lacks what is needed
    * NotPermitted (4): a capability is missing
    * NotSupported (4): this kernel does not have the feature
    * NotFound (3): the named kernel object does not exist
  * PartialResult (5): what could be read was printed, something was left out

Every error names the object and the reason; `hint` says what to do about it.
"""

from __future__ import annotations

import os

__all__ = (
    "EXIT_CODES",
    "BpflensError",
    "InputError",
    "KernelError",
    "NoCode",
    "NotFound",
    "NotPermitted",
    "NotSupported",
    "NothingThere",
    "PartialResult",
    "SourceWarning",
    "UsageError",
    "errno_text",
)

EXIT_CODES = {
    0: "done",
    1: 'the answer is "no", "different" or "findings"',
    2: "usage: the command line is wrong",
    3: "bad input: a file, dump or target cannot be read or is malformed",
    4: "not permitted, or not supported by this kernel",
    5: "partial: something was left out, and stderr says what",
    130: "interrupted",
}


def errno_text(errno: int) -> str:
    """What an errno says; ENOTSUPP, which is the kernel's own, is no error of the C library (include/linux/errno.h)."""
    return "Not supported by this kernel for such an object" if errno == 524 else os.strerror(errno)


class BpflensError(Exception):
    """Base of all reported errors: `object` (what it is about), `reason`, optional `hint`."""

    exit_code = 3

    def __init__(self, object: str, reason: str, hint: str | None = None) -> None:
        super().__init__(object, reason, hint)
        self.object = object
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.object}: {self.reason}" if self.object else self.reason


class UsageError(BpflensError):
    """The command line does not mean anything."""

    exit_code = 2


class InputError(BpflensError):
    """Input that cannot be read or is malformed."""

    exit_code = 3


class NothingThere(InputError):
    """A well-formed dump without a program: right now nothing is there."""


class NoCode(InputError):
    """A BPF object without instructions; it may have maps."""


class KernelError(BpflensError):
    """A system call failed: `errno` is the kernel's, 0 where bpflens itself found out; `log` is the verifier's or BTF checker's."""

    exit_code = 4

    def __init__(self, object: str, reason: str, hint: str | None = None, errno: int = 0) -> None:
        super().__init__(object, reason, hint)
        self.errno = errno
        self.log = ""

    @staticmethod
    def from_errno(object: str, what: str, errno: int, hint: str | None = None) -> KernelError:
        """The error of the right class for an errno: `what` is the operation that failed."""
        reason = f"{what}: {errno_text(errno)}"
        if errno in (1, 13):
            return NotPermitted(object, reason, hint or 'run "bpflens doctor" to see what is missing', errno)
        if errno == 2:
            return NotFound(object, reason, hint, errno)
        if errno in (38, 95, 524):
            return NotSupported(object, reason, hint, errno)
        return KernelError(object, reason, hint, errno)


class NotPermitted(KernelError):
    """A privilege is missing."""


class NotSupported(KernelError):
    """This kernel does not have the feature."""


class NotFound(KernelError):
    """The named kernel object does not exist (any more)."""

    exit_code = 3


class SourceWarning(UserWarning):
    """A part of the input that could not be read and was left out; the rest is whole. The command prints it, a library may filter it."""


class PartialResult(BpflensError):
    """Something was left out of a result that was printed otherwise."""

    exit_code = 5

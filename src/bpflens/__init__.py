"""bpflens: objdump for BPF, and further.

The library has the verbs of the command under the same names; each is imported when it is first used.

    >>> import bpflens
    >>> program = bpflens.open("pcap:ip and udp dst port 68")
    >>> program.insn_count
    11
    >>> bpflens.explain(program).expression
    'ip and udp dst port 68'
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing is not imported for it
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from bpflens.library import (
        asm,
        debug,
        decompile,
        diff,
        dis,
        doctor,
        explain,
        export,
        ls,
        map,
        open,
        open_all,
        original,
        packets,
        record,
        restore,
        run,
        save,
        seccomp,
        show,
        tree,
        verify,
    )  # fmt: skip
    from bpflens.program import Program

else:
    ModuleType = type(sys)

__version__ = "0.1.0"
__all__ = (
    "Program", "__version__", "asm", "debug", "decompile", "diff", "dis", "doctor", "explain", "export", "ls", "map", "open", "open_all",
    "original", "packets", "record", "restore", "run", "save", "seccomp", "show", "tree", "verify",
)  # fmt: skip


class _Library(ModuleType):
    """This module. Some verbs are called like a package of ours (original, decompile): importing that does not take the name away."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in __all__):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Library


def __getattr__(name: str) -> Any:
    """Import a verb or noun at first use, so that `import bpflens` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'bpflens' has no attribute {name!r}")
    import importlib

    module = importlib.import_module("bpflens.program" if name == "Program" else "bpflens.library")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""bpflens: objdump for BPF, and further.

The library has the nouns and verbs of the command; each is imported when it is first used.

    >>> import bpflens
    >>> program = bpflens.open("pcap:ip and udp dst port 68")
    >>> program.insn_count
    11
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpflens.classic.diff import diff
    from bpflens.classic.explain import explain
    from bpflens.classic.machine.captures import run_capture
    from bpflens.classic.samples.generate import generate as packets
    from bpflens.classic.seccomp.policy import policy as seccomp_policy
    from bpflens.inventory.walk import collect as ls
    from bpflens.original.recover import recover
    from bpflens.program import Program
    from bpflens.snapshot.restore import restore_file as restore
    from bpflens.snapshot.save import save
    from bpflens.snapshot.verify import verify_file as verify
    from bpflens.targets.open import open_target as open_all

__version__ = "0.1.0"
__all__ = (
    "Program",
    "__version__",
    "diff",
    "dis",
    "explain",
    "ls",
    "open",
    "open_all",
    "packets",
    "recover",
    "restore",
    "run_capture",
    "save",
    "seccomp_policy",
    "verify",
)

_LAZY = {
    "save": ("bpflens.snapshot.save", "save"),
    "restore": ("bpflens.snapshot.restore", "restore_file"),
    "verify": ("bpflens.snapshot.verify", "verify_file"),
    "Program": ("bpflens.program", "Program"),
    "open_all": ("bpflens.targets.open", "open_target"),
    "explain": ("bpflens.classic.explain", "explain"),
    "diff": ("bpflens.classic.diff", "diff"),
    "packets": ("bpflens.classic.samples.generate", "generate"),
    "run_capture": ("bpflens.classic.machine.captures", "run_capture"),
    "seccomp_policy": ("bpflens.classic.seccomp.policy", "policy"),
    "ls": ("bpflens.inventory.walk", "collect"),
    "recover": ("bpflens.original.recover", "recover"),
}


def open(target: str) -> Program:
    """The one program that `target` names ("id:12", "x.o#xdp", "pcap:tcp port 80"); InputError where it names several.

    `open_all` gives all of them, and takes `bpflens.targets.Options`.
    """
    from bpflens.errors import InputError

    programs: list[Program] = importlib.import_module("bpflens.targets.open").open_target(target)
    if len(programs) != 1:
        names = ", ".join(program.name or program.origin.where for program in programs[:6])
        raise InputError(target, f"names {len(programs)} programs ({names}); open_all() gives all")
    return programs[0]


def dis(program: Program) -> str:
    """The listing of a program, classic or extended, as `bpflens dis` prints it."""
    from bpflens.program import Isa

    if program.isa is Isa.CLASSIC:
        from bpflens.view.listing.classic import classic_listing

        return "".join(classic_listing(program, "tcpdump"))
    from bpflens.view.listing.extended import ListingOptions, listing

    return "".join(listing(program, ListingOptions()))


def __getattr__(name: str) -> Any:
    """Import a verb or noun at first use, so that `import bpflens` costs nothing."""
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'bpflens' has no attribute {name!r}")

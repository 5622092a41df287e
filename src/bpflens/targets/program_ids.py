"""A target of the command line -> the ids of the loaded programs that it names, for capabilities that read the program themselves.

    "id:12" ──► [12]      "pin:/sys/fs/bpf/x", "name:f", "dev:eth0" ──► ids      "dump.txt", "-", "pcap:tcp" ──► None
"""

from __future__ import annotations

from bpflens.targets.numbers import as_number
from bpflens.targets.open import PREFIXES, open_target

__all__ = ("program_ids",)


def program_ids(target: str) -> list[int] | None:
    """Ids, in the order of the target's programs; classic programs have none, so that the list may be empty. None where the target names
    no object of the kernel. InputError or KernelError as `open_target`.
    """
    kind, colon, rest = target.partition(":")
    if not colon or kind not in PREFIXES or kind == "pcap":
        return None
    if kind == "id" and (id := as_number(rest)):
        return [id]
    return [program.id for program in open_target(target) if program.id is not None]

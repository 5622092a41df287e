"""What a helper sees and changes: memory, maps, the packet's bounds, and what is recorded of its calls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

from bpflens.execute.interpreter.maps import MapModel, make_model
from bpflens.execute.interpreter.memory import Memory
from bpflens.execute.subject import Subject
from bpflens.isa.extended.uapi import ProgType

__all__ = ("BTF_TYPES", "E2BIG", "EAGAIN", "EINVAL", "ERANGE", "M32", "M64", "Arguments", "Helper", "State", "error")

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
E2BIG, EINVAL, EAGAIN, ERANGE = 7, 22, 11, 34
BTF_TYPES = frozenset((
    ProgType.RAW_TRACEPOINT_WRITABLE, ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.EXT, ProgType.LSM, ProgType.NETFILTER,
))  # fmt: skip
"""Types whose programs read kernel memory with plain loads."""


def error(errno: int) -> int:
    """A negative errno as a register holds it."""
    return -errno & M64


class State:
    """The state of a run as far as helpers have to do with it: the machine (machine.py) adds registers, frames and blocks.

    `at`: maps by address; `modelled`: what was done otherwise than in a kernel; `keys`: those that maps were asked for; `calls`: effects
    outside. `mac`, `meta`, `data`, `data_end`: where the packet's parts begin in its region.
    """

    def __init__(self, subject: Subject, seed: int) -> None:
        self.subject = subject
        self.memory = Memory(seed, subject.prog_type in BTF_TYPES)
        self.maps: dict[str, MapModel] = {}
        self.at: dict[int, MapModel] = {}
        for name, map in subject.maps.items():
            self.maps[name] = model = make_model(map, self.memory)
            self.at[model.address] = model
        self.calls: list[bytes] = []
        self.modelled: set[str] = set()
        self.keys: dict[str, list[bytes]] = {}
        self.mac = self.meta = self.data = self.data_end = 0
        self.interface = self.queue = 0

    @abstractmethod
    def call(self, pc: int, arguments: Sequence[int]) -> int:
        """Run a function of the program to its exit: r0. Callbacks of helpers are run so."""

    def record(self, helper: int, *numbers: int, data: bytes = b"") -> None:
        """Note a call that has an effect outside: compared in order."""
        self.calls.append(helper.to_bytes(4, "little") + b"".join(n.to_bytes(8, "little") for n in numbers) + data)


Arguments: TypeAlias = tuple[int, int, int, int, int]
Helper: TypeAlias = Callable[[State, Arguments], int]

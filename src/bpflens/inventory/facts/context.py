"""What the families share during one walk: processes and their descriptors, loaded objects, namespaces; and what was refused.

Everything is read when it is first asked for and once, so a walk for one kind costs what that kind needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property

from bpflens.attachment import Holder, ProgInfo
from bpflens.errors import NotSupported
from bpflens.inventory.facts.processes import Process, process
from bpflens.inventory.facts.records import Denial, Holders, NetNamespace, Strays
from bpflens.kernel.programs.loaded import LinkHead, MapHead
from bpflens.kernel.sys import procfs
from bpflens.kernel.sys.capabilities import to_look_into

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from bpflens.kernel.network.devices import Device

    Result = TypeVar("Result")

__all__ = ("OF_DESCRIPTORS", "UNSEEN_PROCESSES", "Context")

OF_DESCRIPTORS = ("socket", "reuseport", "fanout", "kcm", "tap", "tun", "ppp", "perf_event", "tracepoint", "kprobe", "kretprobe",
                  "uprobe", "uretprobe", "fd", "held")  # fmt: skip  # kinds that are found by the descriptors of processes
UNSEEN_PROCESSES = "processes that this /proc does not show"
_NAMED = 3  # processes that a message names


class Context:
    """State of one walk. `netns` is the namespace that the walking thread is in; `memory_read`: kernel memory is read in this walk too.

    `unopened`: pins whose object the kernel does not give, with what it says.
    `strays`: by namespace, sockets that no visible descriptor leads to; a namespace that is not there was not asked.
    """

    def __init__(self) -> None:
        if not os.path.exists("/proc/self/ns/net"):
            reason = "is not mounted, and processes, descriptors and namespaces are found in no other place"
            raise NotSupported("/proc", reason, "mount -t proc proc /proc")
        self.netns: NetNamespace | None = None
        self.memory_read = False
        self.denied: dict[Denial, None] = {}
        self.unanswered: dict[str, None] = {}
        self.strays: dict[int, Strays] = {}
        self.hidden_files: list[int] = []
        self.hidden_holders: Holders = Holders({}, {})
        self.hidden_namespaces: list[int] = []
        self.notes: dict[str, None] = {}
        self.claimed_links: set[int] = set()
        self.claimed_sockets: set[int] = set()
        self.unopened: dict[str, str] = {}
        self.pinned: dict[tuple[str, int], list[str]] = {}
        self.held: Holders = Holders({}, {})
        self._comms: dict[int, str] = {}
        self._processes: dict[int, Process] = {}
        self._answers: dict[object, Any] = {}
        self._devices: dict[NetNamespace | None, list[Device]] = {}

    def once(self, read: Callable[[Context], Result]) -> Result:
        """What `read` answers for this walk; it is asked the first time only."""
        if read not in self._answers:
            self._answers[read] = read(self)
        answer: Result = self._answers[read]
        return answer

    def devices(self) -> list[Device]:
        """The network devices of the namespace that the walking thread is in, read once in each. OSError where the kernel refuses."""
        if self.netns not in self._devices:
            from bpflens.kernel.network.devices import devices

            self._devices[self.netns] = devices()
        return self._devices[self.netns]

    def deny(self, what: str, needs: str, kinds: tuple[str, ...] = (), served_by: tuple[str, ...] = ()) -> None:
        """Something was not permitted; listed once at the end, where a row of one of the `kinds` was asked for (none: of any).

        `served_by`: what of kernel memory makes up for it (families.SERVED_BY); if all of that is read, nothing is missing.
        """
        self.denied[Denial(what, needs, kinds, served_by)] = None
        self.unanswered.update(dict.fromkeys(served_by))

    def need(self, served_by: str) -> None:
        """Something is there of which no interface gives the whole: kernel memory is asked, where it may be read (families.SERVED_BY)."""
        self.unanswered[served_by] = None

    def note(self, text: str) -> None:
        """Something that the reader of the result should know; listed once."""
        self.notes[text] = None

    def comm(self, pid: int) -> str:
        """The process's name."""
        name = self._comms.get(pid)
        if name is None:
            name = self._comms[pid] = procfs.comm(pid)
        return name

    def process(self, pid: int) -> Process:
        """What the process is beside its name."""
        facts = self._processes.get(pid)
        if facts is None:
            facts = self._processes[pid] = process(pid)
        return facts

    def who(self, pids: list[int]) -> str:
        """Processes for a message: how many, and the first of them by name."""
        names = ", ".join(f"{self.comm(pid)}[{pid}]" for pid in pids[:_NAMED])
        return f"{len(pids)} process{'es' * (len(pids) > 1)} ({names}{', ...' * (len(pids) > _NAMED)})"

    def holder(self, pid: int, fd: int | None = None, tid: int | None = None) -> Holder:
        """The process as a holder."""
        return Holder(pid, self.comm(pid), fd, tid)

    @cached_property
    def programs(self) -> dict[int, ProgInfo] | None:
        """Every loaded program; None where they may not be listed."""
        from bpflens.kernel.programs.loaded import prog_heads

        try:
            return prog_heads()
        except PermissionError:
            self.deny("the list of loaded programs", "CAP_SYS_ADMIN")
        except OSError as error:
            self.deny("the list of loaded programs", f"bpf(2), which this kernel refuses: {error.strerror}")
        return None

    @cached_property
    def links(self) -> dict[int, LinkHead]:
        """Every link; empty where they may not be listed."""
        from bpflens.kernel.programs.loaded import link_heads

        try:
            return link_heads()
        except PermissionError:
            self.deny("the list of links", "CAP_SYS_ADMIN")
        except OSError:
            pass  # before Linux 5.8
        return {}

    @cached_property
    def maps(self) -> dict[int, MapHead]:
        """Every map; empty where they may not be listed."""
        from bpflens.kernel.programs.loaded import map_heads

        try:
            return map_heads()
        except PermissionError:
            self.deny("the list of maps", "CAP_SYS_ADMIN")
        except OSError:
            pass
        return {}

    @cached_property
    def program_types(self) -> frozenset[int] | None:
        """The types of the loaded programs, to spare questions that can have no answer; None where unknown."""
        return None if self.programs is None else frozenset(head.type for head in self.programs.values())

    def may_have(self, *types: int) -> bool:
        """Whether a program of one of these types may be loaded."""
        return self.program_types is None or not self.program_types.isdisjoint(types)

    @cached_property
    def pids(self) -> list[int]:
        """The user processes that /proc shows."""
        if not procfs.shows_all():
            self.deny(UNSEEN_PROCESSES, "the initial pid namespace, and its /proc without hidepid")
        return procfs.processes()

    @cached_property
    def files(self) -> list[procfs.OpenFile]:
        """Every open descriptor that may be seen."""
        found: list[procfs.OpenFile] = []
        refused = []
        for pid in self.pids:
            try:
                found += procfs.open_files(pid)
            except OSError:
                refused.append(pid)
        self.hidden_files = refused
        if refused:
            served_by = ("sockets", "tun", "perf", "ppp", "holders")
            self.deny(f"the descriptors of {self.who(refused)}", to_look_into(refused), OF_DESCRIPTORS, served_by)
        return found

    @cached_property
    def own_netns(self) -> int:
        """The inode of the caller's network namespace."""
        return os.stat("/proc/thread-self/ns/net").st_ino

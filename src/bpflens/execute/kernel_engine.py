"""Programs run by the kernel: loaded beside each other, each with maps of its own, and gone with their descriptors.

A type that the kernel can't test-run is loaded as another that sees its context as plain memory: SYSCALL, else RAW_TRACEPOINT. Nothing is
attached or pinned, so that nothing stays, whatever ends the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from bpflens.errors import KernelError
from bpflens.execute.edit import Piece, edit
from bpflens.execute.effects import made_repeatable
from bpflens.execute.kernel_maps import CGROUP_ARRAY, PERF_EVENT_ARRAY, PROG_ARRAY, STACK_TRACE, Contents, KernelMaps, MapState
from bpflens.execute.loadable_btf import loadable_btf
from bpflens.execute.objects import KernelObjects
from bpflens.execute.poison import poisoned
from bpflens.execute.result import Input, Outcome
from bpflens.execute.subject import SLEEPABLE, Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import HelperId, ProgType
from bpflens.kernel.descriptors import close
from bpflens.kernel.programs.load import load_btf, load_program, substance
from bpflens.kernel.programs.test_run import PACKET_TYPES, RAW_TP, RUNNABLE, SYSCALL, TestRun, one_cpu

__all__ = (
    "KernelProgram", "Refused", "Way", "first_way", "load", "load_prepared", "prepared_for", "refusal", "verifier_refusal",
    "ways", "widened",
)  # fmt: skip

_NO_HELPER = re.compile(r"(?:cannot use helper|unknown func) \w+#(\d+)")
_MAX_ABSENT = 24
_WITH_TARGETS = frozenset((ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.EXT, ProgType.LSM))
"""Loaded for a function or type of the kernel."""
_WITHOUT_MAPS = frozenset((HelperId.tail_call, HelperId.skb_under_cgroup, HelperId.current_task_under_cgroup))
"""Their maps go."""


@dataclass(frozen=True, slots=True)
class Way:
    """How programs are run: as which type, with arguments of calls recorded or not, which helpers that type lacks, and which read-only data
    are not known to the verifier, so that tests may change them.
    """

    prog_type: int
    said: str
    record: bool = True
    absent: frozenset[int] = frozenset()
    open_data: frozenset[str] = frozenset()


class Refused(Exception):
    """The kernel does not load a program: `reason` its last line of substance, `log` the verifier's log."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.reason, self.log = reason, log


def ways(prog_type: int, open_data: frozenset[str] = frozenset()) -> Iterator[Way]:
    """Ways to try, best first. `open_data`: read-only data to vary where the verifier can do without knowing them."""
    types = [(prog_type, "kernel")]
    if prog_type not in RUNNABLE:
        types = [(SYSCALL, "kernel, as syscall program"), (RAW_TP, "kernel, as raw_tracepoint program")]
    for type, said in types:
        if open_data:
            yield Way(type, said, open_data=open_data)
        yield Way(type, said)
        yield Way(type, said, record=False)


class KernelProgram:
    """A loaded program with its maps."""

    def __init__(self, fd: int, maps: KernelMaps, prog_type: int, objects: KernelObjects | None = None) -> None:
        self.fd, self.maps, self._test, self._objects = fd, maps, TestRun(fd, prog_type), objects

    def run(self, input: Input) -> Outcome:
        """One run on what the maps hold now."""
        ctx = self._objects.context(input.ctx) if self._objects is not None else input.ctx
        errno, retval, data, ctx = self._test.run(input.packet, ctx)
        if errno:
            import os

            return Outcome(error=os.strerror(errno))
        return Outcome(retval, data, ctx)

    def set(self, contents: Contents, memory: bytes = b"") -> None:
        """Give all maps these contents, and the objects this memory."""
        self.maps.set(contents)
        if self._objects is not None and memory:
            self._objects.set(memory)

    def read(self) -> dict[str, MapState]:
        """What the maps hold now."""
        return self.maps.read()


@contextmanager
def load(subject: Subject, way: Way, objects: KernelObjects | None = None, pattern: int = 0) -> Iterator[KernelProgram]:
    """The program in the kernel for the length of a with statement; `Refused` where the kernel does not take it this way.

    `objects`: the memory that contexts point to, shared by the programs of a comparison. `pattern`: what stack memory holds that the
    program did not write, 0 for what happens to be there.
    """
    with load_prepared(prepared_for(subject, way), objects, way.open_data, pattern) as program:
        yield program


@contextmanager
def load_prepared(
    prepared: Subject, objects: KernelObjects | None = None, open_data: frozenset[str] = frozenset(), pattern: int = 0
) -> Iterator[KernelProgram]:
    """As `load`, for a program that is loaded as it is."""
    with ExitStack() as stack:
        try:
            maps = stack.enter_context(KernelMaps(prepared.maps, prepared.btf, open_data))
        except KernelError as error:
            raise Refused(str(error)) from error
        try:
            fd = _load(poisoned(prepared, pattern) if pattern else prepared, maps.fds, stack)
        except Refused:
            if not pattern:
                raise
            fd = _load(prepared, maps.fds, stack)
        stack.callback(close, fd)
        yield KernelProgram(fd, maps, prepared.prog_type, objects)


@contextmanager
def first_way(subject: Subject, reasons: dict[str, None]) -> Iterator[tuple[Way, KernelProgram] | None]:
    """The first way that the kernel takes, and the program loaded in it, on one CPU; None where there is none. Refusals go to `reasons`."""
    with one_cpu(), ExitStack() as stack:
        objects = None
        if subject.prog_type not in PACKET_TYPES:
            objects = KernelObjects()
            stack.callback(objects.close)
        found = None
        for way in ways(subject.prog_type):
            fits = widened(subject, way, reasons)
            if fits is None:
                continue
            try:
                found = fits, stack.enter_context(load(subject, fits, objects))
                break
            except Refused as refused:
                reasons[refused.reason] = None
        yield found


def widened(subject: Subject, way: Way, reasons: dict[str, None]) -> Way | None:
    """The way, with helpers added that the kernel says are absent; None where it refuses for another reason. Reasons go to `reasons`."""
    while True:
        try:
            with load(subject, way):
                return way
        except Refused as error:
            missing = _NO_HELPER.search(error.log or error.reason)
            reasons[error.reason] = None
            if missing is None or way.prog_type == subject.prog_type or len(way.absent) >= _MAX_ABSENT:
                return None
            helper = int(missing.group(1))
            if helper in way.absent:
                return None
            way = replace(way, absent=way.absent | {helper})


def refusal(subject: Subject) -> str | None:
    """Why the kernel does not load the program as it is, with its own type; None where it does."""
    refused = _refused(subject)
    return refused.reason if refused is not None else None


def verifier_refusal(subject: Subject) -> str:
    """What the verifier says against the program as it is; "" where it accepts it, or where loading fails for another reason (a privilege,
    a map, an attach target that is not here).
    """
    if subject.prog_type in _WITH_TARGETS and not subject.attach_btf_id:
        return ""
    refused = _refused(subject)
    return substance(refused.log)[-1].strip() if refused is not None and substance(refused.log) else ""


def _refused(subject: Subject) -> Refused | None:
    try:
        with ExitStack() as stack:
            maps = stack.enter_context(KernelMaps(subject.maps, subject.btf))
            close(_load(subject, maps.fds, stack))
    except KernelError as error:
        return Refused(str(error))
    except Refused as error:
        return error
    return None


def prepared_for(subject: Subject, way: Way) -> Subject:
    """The program as it is run: repeatable, and with the type's own restrictions met. `Refused` where the code does not fit."""
    other = way.prog_type != subject.prog_type
    absent = way.absent | (_WITHOUT_MAPS if other else frozenset())
    made = made_repeatable(subject, record=way.record, absent=absent)
    if made is None:
        raise Refused("a jump would become too long")
    if other:
        made = replace(
            _without_maps(made), prog_type=way.prog_type, expected_attach_type=0, attach_btf_id=0,
            flags=SLEEPABLE if way.prog_type == SYSCALL else 0,
        )  # fmt: skip
    return made


def _without_maps(subject: Subject) -> Subject:
    """References to maps that only replaced helpers used, and that a sleepable program must not have, are null."""
    gone = {name for name, map in subject.maps.items() if map.type in (PROG_ARRAY, PERF_EVENT_ARRAY, STACK_TRACE, CGROUP_ARRAY)}
    if not gone:
        return subject
    instead: dict[int, Piece] = {}
    for slot, name in subject.map_at.items():
        if name in gone:
            instead[slot] = [(Insn.make(op.LD_IMM64, Insn(subject.words[slot]).dst).word, ""), (0, "")]
    changed = edit(subject, {}, instead, {})
    assert changed is not None  # nothing moves
    return replace(changed, maps={name: map for name, map in changed.maps.items() if name not in gone})


def linked_code(subject: Subject, fds: Mapping[str, int]) -> bytes:
    """The code with descriptors of maps."""
    words = list(subject.words)
    for slot, name in subject.map_at.items():
        insn = Insn(words[slot])
        value = insn.src in (op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX_VALUE)
        words[slot] = Insn.make(op.LD_IMM64, insn.dst, op.PSEUDO_MAP_VALUE if value else op.PSEUDO_MAP_FD, 0, fds[name]).word
        if not value:
            words[slot + 1] = 0
    return b"".join(word.to_bytes(8, "little") for word in words)


def _load(subject: Subject, fds: Mapping[str, int], stack: ExitStack) -> int:
    code = linked_code(subject, fds)
    btf_fd, info = 0, subject.func_info
    if subject.btf and info:
        blob, ids = loadable_btf(subject.btf), {id: id for _, id in info}
        try:
            btf_fd = load_btf(blob)
        except KernelError:
            blob, ids = _only_functions(subject)
            try:
                btf_fd = load_btf(blob)
            except KernelError:
                info = ()
        if btf_fd:
            stack.callback(close, btf_fd)
            info = tuple((at, ids[id]) for at, id in info)
    try:
        return load_program(
            code, subject.prog_type, license=subject.license or "", flags=subject.flags,
            expected_attach_type=subject.expected_attach_type, attach_btf_id=subject.attach_btf_id,
            btf_fd=btf_fd if info else 0, func_info=info if btf_fd else (),
        )  # fmt: skip
    except KernelError as error:
        raise Refused(error.reason, error.log) from error


def _only_functions(subject: Subject) -> tuple[bytes, dict[int, int]]:
    """BTF of just the functions, where the kernel refuses the whole (objects have sections that only a loader understands)."""
    from bpflens.btf.btf import Btf
    from bpflens.btf.build import BtfBuilder

    btf = Btf.parse(subject.btf)
    build = BtfBuilder()
    ids = {id: build.copy(btf, id) for _, id in subject.func_info}
    return build.build(), ids

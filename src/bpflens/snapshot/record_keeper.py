"""From loads to records: full copies at once in memory, small records in the store, full copies there when programs are unloaded.

    receive    loads that came in get their tag and id; their full copies go to the spool
    work       a loaded program's record becomes nothing (inversion gives it back) or the difference from its image;
               a program that nobody recorded is read from its image
    sweep      programs that were unloaded get their full copy; those that nobody recorded are noticed
    finish     nobody watches from now on: all get their full copies
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bpflens.attachment import ProgInfo
from bpflens.errors import BpflensError
from bpflens.isa.extended.insn import words
from bpflens.kernel.programs.loaded import prog_heads
from bpflens.kernel.recorder.load import Load
from bpflens.original.image.tag import tag as tag_of
from bpflens.original.image.tag import tags
from bpflens.original.store.base import base_of
from bpflens.original.store.record import Recorded, Way, numbered
from bpflens.original.store.store import Store
from bpflens.snapshot.record_loader import Loaders, boot

__all__ = ("Keeper", "Kept")

_DEALT_WITH = -1
_YOUNG_S = 2.0  # the kernel may still be verifying: the id comes when it has ended
_INVERTED_INSNS = 8000  # longer programs are not inverted, which would take seconds
_SPOOL_PIECE = 1 << 23  # bytes of instructions in one record of the spool


@dataclass(frozen=True, slots=True)
class Kept:
    """One program. `tag` is None where it was gone before its tag could be asked for and the record rests on its own hash. `new`: it was
    not in the store. `how`: "recorded", "image" (loaded before, but its reconstruction has the tag) or "lost", and `reason` says why.
    """

    load: Load
    id: int | None
    tag: str | None
    new: bool
    how: str
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Its original is in the store."""
        return self.how != "lost"


@dataclass(slots=True)
class _Young:
    """A load whose id is not known yet."""

    load: Load
    tag: str
    until: float
    said: dict[str, Any]


class Keeper:
    """The state of a recording. `full`: full copies go to the store at once, so that not even a crash of the machine takes one away."""

    def __init__(self, store: Store, algorithm: str, full: bool = False) -> None:
        self.store, self.full = store, full
        self._algorithm = algorithm
        self._loaded: dict[int, str] = {}  # id -> tag of what is recorded and loaded
        self._young: list[_Young] = []
        self._unsettled: deque[tuple[int, str]] = deque()
        self._foreign: dict[int, int] = {}  # ids without a record -> sweeps that have seen them, or _DEALT_WITH
        self._missing: deque[ProgInfo] = deque()
        self._gone: deque[str] = deque()
        self._boot = boot()

    def receive(self, loads: list[Load], last: bool = False) -> Iterator[Kept]:
        """Records of what came in, as soon as ids are known, or the program has gone."""
        loaders = Loaders()
        for load in loads:
            if not load.complete:
                yield Kept(load, None, None, False, "lost", "instructions were lost: no room in the ring")
                continue
            made = tag_of(words(load.code), self._algorithm)
            self._young.append(_Young(load, made, time.monotonic() + _YOUNG_S, loaders.said(load, made)))
        if not self._young:
            return
        heads = {info.load_time: info for info in prog_heads().values()}
        lines, young, now = [], list[_Young](), time.monotonic()
        for item in self._young:
            info = heads.get(item.load.load_time)
            if info is None and now < item.until and not last:
                young.append(item)
                continue
            item.said["id"] = info.id if info is not None else None
            if info is not None and info.tag != item.tag:
                # relocated in the kernel after the copy was taken, or damaged: not what the tag is made of
                self._foreign[info.id] = 1
                yield Kept(item.load, info.id, None, False, "lost", "its instructions do not have the kernel's tag")
                continue
            yield self._keep(item, info.id if info is not None else None)
            lines.append(item.said)
        self._young = young
        if lines:
            self.store.add_loads(lines, self._boot)

    def _keep(self, item: _Young, id: int | None) -> Kept:
        known = self.store.has(item.tag)
        if known is not Way.FULL and (known is None or not self._spooled(item.tag)):
            record = _recorded(item.load, item.tag)
            if id is None or self.full or not self._spool(record):
                self.store.add(record)
        if id is not None:
            self._loaded[id] = item.tag
            if known is None and not self.full:
                self._unsettled.append((id, item.tag))
        return Kept(item.load, id, item.tag if id is not None else None, known is None, "recorded")

    def work(self) -> Iterator[Kept]:
        """Deal with one program that waits for it."""
        if self._gone:
            self._to_store(self._gone.popleft())
            return
        while self._unsettled:
            id, tag = self._unsettled.popleft()
            if self.store.has(tag) is None and (record := self._copy(tag)) is not None:
                self._settle(id, record)
                return
        if self._missing:
            yield from self._missed(self._missing.popleft())

    def _settle(self, id: int, record: Recorded) -> None:
        base = base_of(id)
        if base is None:  # gone
            self.store.add(record)
        elif self._inverts(id, record):
            self.store.add(record, Way.EXACT, base)
        else:
            self.store.add(record, Way.DELTA, base)

    def sweep(self) -> None:
        """Look what has gone, and what came without a record."""
        heads = prog_heads()
        for id in [id for id in self._loaded if id not in heads]:
            del self._loaded[id]
        self._foreign = {id: seen for id, seen in self._foreign.items() if id in heads}
        still = set(self._loaded.values())
        self._gone = deque(self._spool_tags() - still - {item.tag for item in self._young})
        if not self._gone:
            self._trim(still)
            self.store.prune(still)
        young = {item.load.load_time for item in self._young}
        for id, info in heads.items():
            if id in self._loaded or self._foreign.get(id) == _DEALT_WITH or info.load_time in young:
                continue
            self._foreign[id] = self._foreign.get(id, 0) + 1
            if self._foreign[id] > 1:  # seen twice: its record is not merely on its way
                self._foreign[id] = _DEALT_WITH
                self._missing.append(info)

    def _missed(self, info: ProgInfo) -> Iterator[Kept]:
        """A program that nobody recorded, from its image; nothing is said where it has gone."""
        id, tag = info.id, info.tag
        load = Load(info.load_time, 0, info.uid, "", info.name, info.type, 0, 0)
        known = self.store.has(tag)
        record = self._copy(tag, id) if known is not None else None
        if record is not None:
            self._loaded[id] = tag
            if known is not Way.FULL and not self._spooled(tag):
                self._spool(record)
            load.insn_count = len(record.code) // 8
            yield Kept(load, id, tag, False, record.source)
            return
        base = base_of(id)
        if base is None:
            return
        found, reason = _inverted(id) if len(base.words) <= _INVERTED_INSNS else (None, "it is too long for this")
        if found is None or tag not in tags(words(found.code)):
            yield Kept(load, id, tag, False, "lost", f"loaded before it could be recorded; its image does not give it back: {reason}")
            return
        load.insn_count = len(found.code) // 8
        self._loaded[id] = tag
        if self.full or not self._spool(found):
            self.store.add(found)
        else:
            self.store.add(found, Way.EXACT, base)
        yield Kept(load, id, tag, known is None, "image")

    def finish(self) -> Iterator[Kept]:
        """Take in what is on its way; then every record gets its full copy."""
        yield from self.receive([], last=True)
        self._unsettled.clear()
        self._gone.clear()
        for tag in self._spool_tags():
            self._to_store(tag)
        if self.store.spool is not None:
            self.store.spool.remove()

    @property
    def busy(self) -> bool:
        """There is work."""
        return bool(self._gone or self._unsettled or self._missing)

    # the spool

    def _spooled(self, tag: str) -> bool:
        return self.store.spool is not None and self.store.spool.has(tag) is not None

    def _spool_tags(self) -> set[str]:
        return self.store.spool.tags() if self.store.spool is not None else set()

    def _spool(self, record: Recorded) -> bool:
        """Whether there was room."""
        spool = self.store.spool
        if spool is None or len(record.code) > _SPOOL_PIECE or spool.total_bytes() > spool.max_bytes:
            return False
        try:
            spool.add(record)
        except BpflensError:
            return False
        return True

    def _copy(self, tag: str, id: int = 0) -> Recorded | None:
        try:
            found = self.store.spool.get(tag) if self.store.spool is not None else None
            return found or self.store.get(tag, base_of(id) if id else None)
        except BpflensError:
            return None

    def _to_store(self, tag: str) -> None:
        if self.store.has(tag) is not Way.FULL and (record := self._copy(tag)) is not None:
            self.store.add(record)

    def _trim(self, still: set[str]) -> None:
        """The spool keeps what is loaded."""
        spool = self.store.spool
        if spool is not None:
            spool.keep_only(still | {item.tag for item in self._young})

    def _inverts(self, id: int, record: Recorded) -> bool:
        """Inversion of the image gives these instructions back."""
        if len(record.code) > 8 * _INVERTED_INSNS:
            return False
        found, _ = _inverted(id)
        return found is not None and record.tag in tags(words(found.code))


def _recorded(load: Load, tag: str) -> Recorded:
    return Recorded(
        tag, load.name, load.type, load.expected_attach_type, load.license, numbered(load.code), load.attributes, load.func_info,
        load.line_info,
    )  # fmt: skip


def _inverted(id: int) -> tuple[Recorded | None, str]:
    """(the original where the tag proves it, what is known of it)."""
    from bpflens.original.recover import recover
    from bpflens.original.result import Grade

    try:
        found = recover(id, reload=False)
    except BpflensError as error:
        return None, error.reason
    if found.grade is not Grade.EXACT:
        return None, found.reason
    image = found.image
    attributes = {"attach_btf_id": image.attach_btf_id} if image.attach_btf_id else {}
    return Recorded(
        image.tag, image.name, image.prog_type, 0, "GPL" if image.gpl else "", numbered(found.code), attributes, found.func_info,
        found.line_info, "image",
    ), found.reason  # fmt: skip

"""Which basic blocks and branches of a program are run, and which keys it looks up: noted by the program itself.

    12: if r1 == 0 goto +4      ──►   12: r5 = &coverage[0]  ; r5 is not needed here
                                      14: *(u8 *)(r5 + 3) = 1
                                      15: if r1 == 0 goto +4

A register that is not live holds the address, at the first place of the block that has one; a block without such a place is not counted.
A branch that goes where other ways meet it has no block of its own (`r0 = 1; if r1 == 0 goto out; r0 = 2; out: exit`): the test is made
once more before the jump, and each side notes that it was taken.
Before a look-up in a map r0, r3, r4 and r5 are free: the key is copied to a place of its own for each call.

Blocks that no input can reach are known from the verifier: it removes what it proved dead, and the notes of those blocks with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpflens.analysis.cfg import Block, Cfg, build
from bpflens.analysis.liveness import live_after, reads_writes
from bpflens.errors import KernelError
from bpflens.execute.edit import Piece, edit, load_map, piece
from bpflens.execute.kernel_engine import KernelProgram, Refused, load_prepared
from bpflens.execute.kernel_maps import Contents
from bpflens.execute.subject import Subject
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, decode
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.prog_info import prog_dump
from bpflens.program import Map

__all__ = ("COVERAGE", "KEYS", "Instrumented", "WatchedProgram", "dead_blocks", "instrumented")

COVERAGE, KEYS = "*coverage", "*keys"
_REGISTERS = (0, 1, 2, 3, 4, 5, 9, 8, 7, 6)
_MAX_BLOCKS = 32000
_KEY_ROOM, _MAX_SITES = 64, 256
_LOOKUPS = (1, 3)  # map_lookup_elem, map_delete_elem: r1 is the map, r2 the key, and r3 to r5 are free


@dataclass(frozen=True, slots=True)
class Instrumented:
    """`subject` counts `blocks` blocks and branches, `uncounted` others have no room for a note; `sites`: map and key size of each place
    whose keys are noted.
    """

    subject: Subject
    blocks: int
    uncounted: int
    sites: tuple[tuple[str, int], ...]


def instrumented(subject: Subject, *, keys: bool = True, branches: bool = True) -> Instrumented | None:
    """The program that notes what it runs and, where `keys` says so, the keys it looks up; None where the code would not fit."""
    insns = [Insn(word) for word in subject.words]
    cfg = build(insns, [at for at, _ in subject.func_info])
    after = live_after(insns)
    before: dict[int, Piece] = {}
    blocks = uncounted = 0
    for block in cfg.blocks[:_MAX_BLOCKS]:
        place = _free_place(insns, after, block.start, block.end)
        if place is None:
            uncounted += 1
        else:
            slot, free = place
            before[slot] = _note(free, blocks)
            blocks += 1
    for slot, fall, taken in _shared_branches(cfg):
        register = _free_register(insns, after, slot)
        if not branches or register is None or insns[slot].code == op.MAY_GOTO or blocks + 2 > _MAX_BLOCKS:
            uncounted += fall + taken
            continue
        before[slot] = [*before.get(slot, ()), *_branch_notes(insns[slot], register, blocks, fall, taken)]
        blocks += fall + taken
    sites: list[tuple[str, int]] = []
    maps = {COVERAGE: Map(COVERAGE, 2, 4, max(8, blocks), 1, 1 << 10)}
    if keys:
        for slot, name, size in _lookups(subject, insns):
            before[slot] = [*before.get(slot, ()), *_note_key(len(sites), size)]
            sites.append((name, size))
        if sites:
            maps[KEYS] = Map(KEYS, 2, 4, (_KEY_ROOM + 8) * len(sites), 1, 1 << 10)
    changed = edit(subject, before, {}, maps)
    return Instrumented(changed, blocks, uncounted, tuple(sites)) if changed is not None else None


def _note(register: int, number: int) -> list[tuple[int, str]]:
    return load_map(register, COVERAGE, 0) + piece(Insn.make(op.ST | op.MEM | op.B, register, 0, number, 1))


def _shared_branches(cfg: Cfg) -> Iterator[tuple[int, bool, bool]]:
    """(slot of a conditional jump, does it go on where others come from, does it jump where others come from)."""
    sources: dict[int, int] = {}
    for block in cfg.blocks:
        for next in set(block.successors):
            sources[next] = sources.get(next, 0) + 1
    for start in cfg.functions:
        sources[start] = sources.get(start, 0) + 1
    for block in cfg.blocks:
        if len(set(block.successors)) == 2:
            fall, taken = (sources[next] > 1 for next in (block.end, _jump_of(block)))
            if fall or taken:
                yield block.end - 1, fall, taken


def _jump_of(block: Block) -> int:
    """Where the jump at the end of a block goes."""
    return next(start for start in block.successors if start != block.end)


def _branch_notes(jump: Insn, register: int, number: int, fall: bool, taken: bool) -> list[tuple[int, str]]:
    """The test once more, and a note on the sides that want one."""
    first = _note(register, number) if fall else []
    second = _note(register, number + fall) if taken else []
    over = piece(Insn.make(op.GOTO, 0, 0, len(second), 0)) if taken else []
    test = Insn.make(jump.code, jump.dst, jump.src, len(first) + len(over), jump.imm)
    return [*piece(test), *first, *over, *second]


def _free_place(insns: Sequence[Insn], after: Sequence[int], start: int, end: int) -> tuple[int, int] | None:
    """(slot, register) of the first place in a block before which a register is free."""
    slot = start
    while slot < end:
        register = _free_register(insns, after, slot)
        if register is not None:
            return slot, register
        slot += 2 if insns[slot].code == op.LD_IMM64 else 1
    return None


def _free_register(insns: Sequence[Insn], after: Sequence[int], slot: int) -> int | None:
    """A register that nothing needs before a slot."""
    reads, writes = reads_writes(insns[slot].word)
    live = reads | after[slot] & ~writes
    return next((r for r in _REGISTERS if not live >> r & 1), None)


def dead_blocks(subject: Subject, open_data: frozenset[str]) -> int | None:
    """How many counted blocks of the program, loaded as what it is, the verifier proves that no input reaches; None where it is not told.

    `open_data`: read-only data that a loader may set; the verifier must do without knowing them.
    """
    made = instrumented(subject, keys=False)
    if made is None:
        return None
    try:
        with load_prepared(made.subject, open_data=open_data) as program:
            id = map_by_fd(program.maps.fds[COVERAGE], types=False).id or 0
            left = _notes_left(prog_dump(program.fd).xlated, id)
    except (Refused, KernelError):
        return None
    return made.blocks - len(left) if left else None


def _notes_left(xlated: bytes, coverage: int) -> set[int]:
    """The numbers of the notes in an image."""
    insns = decode(xlated)
    found = set()
    for slot, insn in enumerate(insns[:-2]):
        if insn.code == op.LD_IMM64 and insn.src == op.PSEUDO_MAP_VALUE and insn.imm & 0xFFFFFFFF == coverage:
            store = insns[slot + 2]
            if store.code == op.ST | op.MEM | op.B and store.dst == insn.dst:
                found.add(store.off)
    return found


class WatchedProgram:
    """An instrumented program in the kernel, as guides watch it."""

    def __init__(self, program: KernelProgram, made: Instrumented) -> None:
        self._program, self._made = program, made
        self._coverage = program.maps.memory(COVERAGE)
        self._keys = program.maps.memory(KEYS) if made.sites else None
        self._seen = bytearray(max(8, made.blocks))
        self.blocks = made.blocks
        self.run = program.run

    def set(self, contents: Contents, memory: bytes = b"") -> None:
        """Give all maps these contents, and the objects this memory; what was reached is kept."""
        self._note()
        self._program.set(contents, memory)

    def reached(self) -> int:
        """How many blocks and branches were run since the start."""
        return self._note()

    def keys(self) -> dict[str, list[bytes]]:
        """Keys looked up since the last question, by map."""
        found: dict[str, list[bytes]] = {}
        if self._keys is not None:
            for index, (name, size) in enumerate(self._made.sites):
                at = (_KEY_ROOM + 8) * index
                if self._keys[at]:
                    found.setdefault(name, []).append(self._keys[at + 8 : at + 8 + size])
                    self._keys[at] = 0
        return found

    def _note(self) -> int:
        now = self._coverage[: len(self._seen)]
        if now.count(1) > self._seen.count(1):
            for index in range(self.blocks):
                self._seen[index] |= now[index]
        elif now != self._seen and now.strip(b"\0"):
            self._seen = bytearray(a | b for a, b in zip(self._seen, now, strict=True))
        return self._seen.count(1)


def _lookups(subject: Subject, insns: Sequence[Insn]) -> Iterator[tuple[int, str, int]]:
    """(slot, map, key size) of calls whose map an ld_imm64 in the same stretch of code names."""
    count, in_r1 = 0, ""
    for slot, insn in enumerate(insns):
        if slot in subject.map_at and insn.dst == 1 and insn.src in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_IDX):
            in_r1 = subject.map_at[slot]
        elif insn.code & 7 in (op.JMP, op.JMP32):
            if insn.code == op.CALL_CODE and not insn.src and insn.imm in _LOOKUPS and in_r1 and count < _MAX_SITES:
                size = subject.maps[in_r1].key_size
                if 0 < size <= _KEY_ROOM:
                    count += 1
                    yield slot, in_r1, size
            in_r1 = ""


def _note_key(site: int, size: int) -> list[tuple[int, str]]:
    """Copy the key at r2 to the place of the call, four bytes at a time: the stack has to be read in step with its alignment."""
    at = (_KEY_ROOM + 8) * site
    code = load_map(3, KEYS, 0) + piece(Insn.make(op.ST | op.MEM | op.B, 3, 0, at, 1))
    done = 0
    while done < size:
        step = next(n for n in (4, 2, 1) if n <= size - done)
        width = op.SIZE_CODE[step]
        code += piece(
            Insn.make(op.LDX | op.MEM | width, 0, 2, done), Insn.make(op.STX | op.MEM | width, 3, 0, at + 8 + done)
        )
        done += step
    return code

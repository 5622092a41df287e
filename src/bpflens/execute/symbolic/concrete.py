"""The second key: both programs run on numbers, instruction by instruction, without terms, diagrams or merges.

The world around them is a model that a seed decides: bytes of the packet, the context and maps are made of the constants in the code and of
random ones; a helper's result is a number made of the helper, its arguments and what happened before. A helper changes no memory but
what its table row says. That is one of the behaviours that the symbolic check proves equal for, so a proof must agree with every run.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from bpflens.execute.symbolic.machine.code import Code, FunctionCode, Meaning, Place
from bpflens.execute.symbolic.machine.helper_effects import CHANGES_PACKET, LOOKUPS, ORDINARY, TAIL_CALL, arguments, conversions
from bpflens.execute.symbolic.values.comparisons import divide_numbers
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.contexts import context_struct, fields
from bpflens.isa.extended.insn import Insn
from bpflens.program import Map

__all__ = ("NotRun", "Outcome", "World", "constants_of", "run")

MAX_INSNS = 20_000
FRAME = 512
_FULL = (1 << 64) - 1
STACK, CTX, PACKET, MAPS, DATA, VALUES = (place << 40 for place in (0x7F0, 0x500, 0x300, 0x200, 0x100, 0x080))
_ARRAYS = (2, 6)  # ARRAY, PERCPU_ARRAY: a look-up fails where the index is too large, and only there


class NotRun(Exception):
    """The evaluator does not handle something."""


class Outcome:
    """What can be seen of a run; equal outcomes are equal behaviour under this world."""

    __slots__ = ("effects", "memory", "result", "steps", "unusual")

    def __init__(self, result: int, effects: tuple[Any, ...], memory: dict[int, int], unusual: bool, steps: int) -> None:
        self.result, self.effects, self.memory, self.unusual, self.steps = result, effects, memory, unusual, steps

    def differs(self, other: Outcome, bits: int) -> str:
        """What differs, "" where nothing does."""
        if (self.result ^ other.result) & ((1 << bits) - 1):
            return "return value"
        if self.effects != other.effects:
            return "effects"
        return "memory" if self.memory != other.memory else ""


def constants_of(code: Code) -> list[int]:
    """The numbers that the executed functions of a program compare with or compute with."""
    found: dict[int, None] = {0: None, 1: None}
    for function in code.functions():
        for insn in function.insns:
            if insn.imm and insn.code & 7 in (op.JMP, op.JMP32, op.ALU, op.ALU64, op.ST) and insn.code not in (op.CALL_CODE, op.GOTOL):
                found[insn.imm & 0xFFFFFFFF] = None
    return list(found)


class World:
    """The inputs of a run, the same for both programs."""

    def __init__(self, seed: int, pool: list[int]) -> None:
        self.seed = seed
        self.pool = pool
        self._known: dict[Any, int] = {}

    def number(self, bits: int, *key: Any) -> int:
        """A number that the seed and the key decide: a constant of the code, a small one, or any."""
        known = self._known.get((bits, key))
        if known is None:
            digest = blake2b(repr((self.seed, key)).encode(), digest_size=16).digest()
            value = int.from_bytes(digest[:8], "little")
            kind = digest[8] % 4
            if kind == 0:
                value = digest[9] % 4
            elif kind == 1:
                value = self.pool[value % len(self.pool)] + (0, 0, 1, -1)[digest[9] % 4]
            known = self._known[bits, key] = value & ((1 << bits) - 1)
        return known

    def byte(self, at: int) -> int:
        """A byte of memory that no one wrote: words and half-words are often constants of the code, in either byte order."""
        style = self.number(4, "style", at >> 2)
        if style & 1:
            return self.number(8, "byte", at)
        width = 4 if style & 2 else 2
        value = self.number(8 * width, "word", at // width)
        index = at % width
        return value >> 8 * (index if style & 4 else width - 1 - index) & 0xFF

    def packet(self) -> bytes:
        """The packet of a run."""
        return bytes(self.byte(PACKET + 4096 + index) for index in range(14 + self.number(7, "length")))


def _is_stack(at: int) -> bool:
    return STACK <= at < STACK + (1 << 40)


class _Machine:
    def __init__(self, code: Code, world: World, side: str) -> None:
        self.code, self.world, self.side = code, world, side
        self.written: dict[int, int] = {}
        self.stack: dict[int, int] = {}
        self.effects: list[Any] = []
        self.unusual = False
        self.steps = 0
        self.registers: list[int] = [0] * 11
        self.packet = (PACKET + 4096, 14 + world.number(7, "length"))
        self.pointers = {}
        for f in fields(context_struct(code.program.type or 0)):
            if f.points_to in ("packet", "packet_end", "packet_meta"):
                self.pointers[f.offset, f.size] = f.points_to
        self.labels: dict[int, str] = {}

    # --- memory ---

    def byte(self, at: int) -> int:
        if _is_stack(at):
            known = self.stack.get(at)
            return known if known is not None else self.world.number(8, "stack", self.side, at if self.side else 0)
        known = self.written.get(at)
        if known is not None:
            return known
        label = self.labels.get(at >> 24)
        data = self.code.constant(label) if label is not None else None
        offset = at & 0xFFFFFF
        return data[offset] if data is not None and offset < len(data) else self.world.byte(at)

    def load(self, at: int, size: int) -> int:
        if at < 1 << 16:
            return self.world.number(8 * size, "null", at)
        if CTX <= at < CTX + 4096 and (at - CTX, size) in self.pointers:
            start, length = self.packet
            kind = self.pointers[at - CTX, size]
            return start + length if kind == "packet_end" else start
        return sum(self.byte(at + index) << 8 * index for index in range(size))

    def store(self, at: int, size: int, value: int) -> None:
        for index in range(size):
            byte, where = value >> 8 * index & 0xFF, at + index
            if _is_stack(where):
                self.stack[where] = byte
            elif byte == self.world.byte(where):
                self.written.pop(where, None)
            else:
                self.written[where] = byte

    def bytes(self, at: int, size: int) -> bytes:
        return bytes(self.byte(at + index) for index in range(size))

    # --- code ---

    def function(self, place: Place, depth: int) -> int:
        if depth > 8:
            raise NotRun
        function = self.code.function(place)
        r = self.registers
        r[10] = STACK + (16 - depth) * 4096
        slot = 0
        while True:
            if not 0 <= slot < len(function.insns):
                raise NotRun
            self.steps += 1
            if self.steps > MAX_INSNS:
                raise NotRun
            insn = function.insns[slot]
            kind = insn.code & 7
            if insn.code == op.EXIT_CODE:
                return r[0]
            if insn.code == op.CALL_CODE:
                if self.call(function.meanings.get(slot), depth):
                    return r[0]
            elif kind in (op.ALU, op.ALU64):
                self.arithmetic(insn, self.operand(insn, function.meanings.get(slot)))
            elif kind in (op.JMP, op.JMP32):
                slot += self.jump(insn)
            elif insn.code == op.LD_IMM64:
                r[insn.dst] = self.wide(function, slot)
                slot += 1
            elif kind == op.LD:
                if not self.packet_load(insn):
                    return 0
            else:
                self.access(insn)
            slot += 1

    def wide(self, function: FunctionCode, slot: int) -> int:
        meaning = function.meanings.get(slot)
        if meaning is None or meaning.kind == "function":
            raise NotRun
        if meaning.kind == "number":
            return meaning.value
        if meaning.kind == "core":
            self.unusual = True
            return self.world.number(meaning.value, "core", meaning.name)
        if meaning.kind == "map":
            return MAPS + self._place(meaning.name)
        start = DATA + self._place(meaning.name)
        self.labels[start >> 24] = meaning.name if meaning.kind == "constant" else ""
        return start + meaning.value

    def _place(self, name: str) -> int:
        return int.from_bytes(blake2b(name.encode(), digest_size=2).digest(), "little") << 24

    def operand(self, insn: Insn, meaning: Meaning | None = None) -> int:
        if meaning is not None and meaning.kind == "core" and not insn.code & op.X:
            self.unusual = True
            return self.world.number(meaning.value, "core", meaning.name)
        return self.registers[insn.src] if insn.code & op.X else insn.imm & _FULL

    def arithmetic(self, insn: Insn, operand: int) -> None:
        wide, operation = insn.code & 7 == op.ALU64, insn.code & 0xF0
        width = 64 if wide else 32
        full = (1 << width) - 1
        a, b = self.registers[insn.dst] & full, operand & full
        if operation == op.END:
            size = insn.imm // 8
            value = self.registers[insn.dst] & ((1 << insn.imm) - 1)
            if wide or insn.code & op.X:
                value = int.from_bytes(value.to_bytes(size, "little"), "big")
            full = _FULL  # of 64 bits in the class of 32 bits, too
        elif operation == op.MOV:
            value = _signed(b & ((1 << insn.off) - 1), insn.off) if insn.off in (8, 16, 32) else b
            if insn.off not in (0, 8, 16, 32):
                raise NotRun
        elif operation in (op.DIV, op.MOD):
            name = ("s" if insn.off == 1 else "u") + ("div" if operation == op.DIV else "rem")
            value = divide_numbers(name, a, b, width)
        elif operation in (op.LSH, op.RSH, op.ARSH):
            by = b & (width - 1)
            value = a << by if operation == op.LSH else a >> by if operation == op.RSH else _signed(a, width) >> by
        elif operation == op.NEG:
            value = -a
        else:
            value = {op.ADD: a + b, op.SUB: a - b, op.MUL: a * b, op.OR: a | b, op.AND: a & b, op.XOR: a ^ b}[operation]
        self.registers[insn.dst] = value & full

    def jump(self, insn: Insn) -> int:
        operation, wide = insn.code & 0xF0, insn.code & 7 == op.JMP
        if operation == op.JA:
            return insn.off if wide else insn.imm
        width = 64 if wide else 32
        full = (1 << width) - 1
        a, b = self.registers[insn.dst] & full, self.operand(insn) & full
        x, y = _signed(a, width), _signed(b, width)
        table = {
            op.JEQ: a == b, op.JNE: a != b, op.JSET: a & b != 0, op.JGT: a > b, op.JGE: a >= b, op.JLT: a < b, op.JLE: a <= b,
            op.JSGT: x > y, op.JSGE: x >= y, op.JSLT: x < y, op.JSLE: x <= y,
        }  # fmt: skip
        if operation not in table:
            raise NotRun
        return insn.off if table[operation] else 0

    def access(self, insn: Insn) -> None:
        r, mode, kind = self.registers, insn.code & 0xE0, insn.code & 7
        size = op.SIZE_BYTES[insn.code & 0x18]
        at = (r[insn.src if kind == op.LDX else insn.dst] + insn.off) & _FULL
        if kind == op.LDX:
            value = self.load(at, size)
            r[insn.dst] = _signed(value, 8 * size) & _FULL if mode == op.MEMSX else value
        elif mode == op.MEM:
            self.store(at, size, insn.imm if kind == op.ST else r[insn.src])
        else:
            self.atomic(insn, at, size)

    def atomic(self, insn: Insn, at: int, size: int) -> None:
        r, full = self.registers, (1 << 8 * size) - 1
        old, source = self.load(at, size), r[insn.src] & full
        new = {0x00: old + source, 0x40: old | source, 0x50: old & source, 0xA0: old ^ source, 0xE0: source, 0xF0: old}.get(insn.imm & ~1)
        if new is None:
            raise NotRun
        if insn.imm == op.CMPXCHG:
            new = source if old == r[0] & full else old
            r[0] = old
        elif insn.imm & 1:
            r[insn.src] = old
        self.store(at, size, new & full)
        if not STACK <= at < STACK + (1 << 40):
            self.effects.append(("atomic", insn.imm & ~1, size, at, source))

    def packet_load(self, insn: Insn) -> bool:
        size = op.SIZE_BYTES[insn.code & 0x18]
        offset = insn.imm + (self.registers[insn.src] if insn.code & 0xE0 == op.IND else 0) & 0xFFFFFFFF
        if offset + size > self.packet[1]:
            return False
        self.registers[0] = int.from_bytes(self.bytes(self.packet[0] + offset, size), "big")
        return True

    # --- calls ---

    def call(self, meaning: Meaning | None, depth: int) -> bool:
        """Is the function left at once?"""
        r = self.registers
        if meaning is not None and meaning.kind == "call" and meaning.place is not None:
            saved = r[6:11]
            r[0] = self.function(meaning.place, depth + 1)
            r[6:11] = saved
            return False
        signature = arguments(meaning.value) if meaning is not None and meaning.kind == "helper" else None
        if meaning is None or signature is None or any(argument.kind in "fx" for argument in signature):
            raise NotRun
        helper = meaning.value
        if helper not in ORDINARY:
            self.unusual = True
        map: Map | None = None
        given: list[Any] = []
        outputs: list[tuple[int, int, bool]] = []
        for index, (kind, size) in enumerate(signature):
            value = r[1 + index]
            if kind == ".":
                given += [r[3 + n] & ((1 << width) - 1) for n, width in enumerate(conversions(given[0])[:3])] if given[0] else r[3:6]
                break
            if kind == "m":
                map = next((m for label, m in self.code.maps.items() if MAPS + self._place(label) == value), None)
                given.append(map.name if map is not None else value)
            elif kind in "kvVrwobRWBDt":
                length = self._length(kind, size, map, r[2 + index] if index < 4 else 0, value)
                if kind in "kvrbRBt":
                    given.append(self.bytes(value, length) if value >> 16 else value)
                if kind in "wobVWBD":
                    outputs.append((value, length, kind == "w"))
            elif kind == "l" and _is_stack(value):
                given.append(self.bytes(value, self._length("r", 0, map, r[index], value)))
            else:
                given.append(value & 0xFFFFFFFF if kind == "u" else value)
        self._result(helper, given, outputs, map)
        if helper == TAIL_CALL:
            return bool(self.world.number(1, "tail call", len(self.effects)))
        return False

    def _length(self, kind: str, size: int, map: Map | None, following: int, value: int) -> int:
        if size:
            return size
        if kind in "kvV":
            if map is None:
                raise NotRun
            return map.key_size if kind == "k" else map.value_size
        if kind == "t":
            return next((n + 1 for n in range(256) if not self.byte(value + n)), 256)
        if following > 4096:
            raise NotRun
        return following

    def _result(self, helper: int, given: list[Any], outputs: list[tuple[int, int, bool]], map: Map | None) -> None:
        world = self.world
        before = len(self.effects)
        token = blake2b(repr((helper, given, sorted(self.written.items()))).encode(), digest_size=8).hexdigest()
        self.effects.append((helper, token))
        value = world.number(64, "result", helper, before)
        if helper in LOOKUPS:
            value = self._entry(given, map, value)
        elif helper in (7, 8):
            value &= 0xFFFFFFFF if helper == 7 else 0x3
        elif helper == 131:
            value = VALUES + ((before & 0xFFFF) << 16) if value & 1 else 0
        elif helper in (2, 3, 112, 113, 25, 130):
            value = 0 if value & 3 else -(1 + value % 20) & _FULL
        for at, length, _ in outputs:
            for index in range(length):
                self.store(at + index, 1, world.number(8, "written", before, index))
        self.registers[0] = value
        if helper in CHANGES_PACKET:
            self.packet = (PACKET + 4096 * (before + 2), 14 + world.number(7, "length", before))
        self.registers[1:6] = [world.number(64, "clobbered", self.side)] * 5

    def _entry(self, given: list[Any], map: Map | None, value: int) -> int:
        """The address of a map's value: the same for the same key, none where an array has no such index."""
        if map is None:
            return VALUES + (value & 0xFFFF) << 16 if value & 1 else 0
        key = given[1]
        name = blake2b(repr((map.name, key, given[2:])).encode(), digest_size=4).digest()
        if map.type in _ARRAYS and isinstance(key, bytes):
            present = int.from_bytes(key, "little") < map.max_entries
        else:
            present = self.world.number(2, "present", map.name, key) != 0
        return VALUES + (int.from_bytes(name, "little") << 8) if present else 0


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def run(code: Code, world: World, side: str) -> Outcome:
    """One run of a program. NotRun where the evaluator lacks something that the program does."""
    machine = _Machine(code, world, side)
    machine.registers[:] = [world.number(64, "clobbered", side)] * 11
    machine.registers[1] = CTX
    result = machine.function(code.entry, 0)
    return Outcome(result, tuple(machine.effects), machine.written, machine.unusual, machine.steps)

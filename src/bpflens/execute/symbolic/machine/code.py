"""A program as the symbolic check reads it: functions on demand, what each reference means, and blocks in the order of their execution.

Objects have functions in several sections and references as relocations; a linked program has one array of code and references as map ids
and distances. Both become `Meaning`s. Blocks are ordered by a weak topological order (Bourdoncle 1993): a loop's blocks come
before what follows the loop, so that a state leaves a loop once. Cost: linear for each level of nesting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from bpflens.execute.symbolic.machine.regions import Refused
from bpflens.execute.symbolic.values.terms import count
from bpflens.formats.elf.data_maps import data_section
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn, decode
from bpflens.program import Map, Program, Relocation

__all__ = ("Code", "FunctionCode", "Meaning", "Place", "label_of")

RDONLY_PROG = 1 << 7  # BPF_F_RDONLY_PROG
Answers = Mapping[int, tuple[str, int]]
Place = tuple[str, int]
"""(section, slot) of a function's first instruction."""


class Meaning(NamedTuple):
    """What an instruction refers to. `kind`: number, map, data, constant, kconfig, ksym, function, call, kfunc, helper, core.

    `name`: label of a map or section, symbol, what CO-RE asks; `value`: byte offset, number, helper, arguments of a kfunc (-1: not known),
    bits of an answer of CO-RE; `place`: of a function.
    """

    kind: str
    name: str = ""
    value: int = 0
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class FunctionCode:
    """A function: `insns` from its first slot; `ends` and `order` by the first slot of each block; meanings by slot."""

    place: Place
    name: str
    insns: tuple[Insn, ...]
    ends: Mapping[int, int]
    order: Mapping[int, int]
    meanings: Mapping[int, Meaning]


def label_of(map: Map) -> str:
    """What a map is called in a comparison: the section for global data, else its name."""
    return data_section(map.name) or map.name


class Code:
    """All code that a program may run: its own section and `others` of the same object.

    `answers`: gives the slots of a program whose numbers CO-RE may change to anything: what is asked, and how many bits the answer has.
    """

    def __init__(
        self, program: Program, others: Sequence[Program] = (), entry: str | None = None,
        answers: Callable[[Program], Answers] | None = None,
    ) -> None:  # fmt: skip
        self.program = program
        self._answers_of = answers
        self._answers: dict[str, Answers] = {}
        self._sections = {other.section or "": other for other in (*others, program)}
        self._functions: dict[Place, FunctionCode] = {}
        self._insns: dict[str, tuple[Insn, ...]] = {}
        self._relocations: dict[str, dict[int, Relocation]] = {}
        self._starts: dict[str, list[int]] = {}
        start = 0
        if entry is not None:
            found = next((f.start for f in program.functions if f.name == entry), None)
            if found is None:
                raise Refused(f"input: no function {entry}")
            start = found
        self.entry: Place = (program.section or "", start)

    @cached_property
    def maps(self) -> dict[str, Map]:
        """The maps by label; Refused where two have the same."""
        out: dict[str, Map] = {}
        for map in self.program.maps:
            if label_of(map) in out and out[label_of(map)].id != map.id:
                raise Refused(f"maps: two are called {label_of(map)}")
            out[label_of(map)] = map
        return out

    @cached_property
    def map_types(self) -> dict[str, int]:
        """enum bpf_map_type by label."""
        return {label: map.type for label, map in self.maps.items()}

    @cached_property
    def _by_id(self) -> dict[int, Map]:
        return {map.id: map for map in self.program.maps if map.id is not None}

    def constant(self, section: str) -> bytes | None:
        """The contents of a section of constants, None where the source does not know them."""
        map = self.maps.get(section)
        return map.data if map is not None else None

    def function(self, place: Place) -> FunctionCode:
        """The function that starts there."""
        known = self._functions.get(place)
        if known is None:
            known = self._functions[place] = self._read(place)
        return known

    def functions(self) -> list[FunctionCode]:
        """The functions that were read so far."""
        return list(self._functions.values())

    # --- reading a function ---

    def _read(self, place: Place) -> FunctionCode:
        section, start = place
        program = self._sections.get(section)
        if program is None:
            raise Refused("input: a function's section is not there")
        insns = self._insns.get(section)
        if insns is None:
            insns = self._insns[section] = decode(program.code)
        starts = self._function_starts(section, program, insns)
        if not 0 <= start < len(insns):
            raise Refused("input: a function outside of the code")
        end = min((slot for slot in starts if slot > start), default=len(insns))
        own = insns[start:end]
        count("instructions", len(own))
        meanings: dict[int, Meaning] = {}
        slot = 0
        while slot < len(own):
            meaning = self._meaning(program, section, start + slot, own, slot)
            if meaning is not None:
                meanings[slot] = meaning
            slot += 2 if own[slot].code == op.LD_IMM64 else 1
        ends, order = _blocks(own)
        name = next((f.name for f in program.functions if f.start == start), f"{section}+{start}")
        return FunctionCode(place, name, own, ends, order, meanings)

    def _function_starts(self, section: str, program: Program, insns: tuple[Insn, ...]) -> list[int]:
        known = self._starts.get(section)
        if known is None:
            from bpflens.analysis.cfg import reference

            related = self._related(section, program)
            found = {0, *(f.start for f in program.functions)}
            for slot, insn in enumerate(insns):
                to = reference(insn, slot, program.xlated) if slot not in related else None
                if to is not None and 0 <= to < len(insns):
                    found.add(to)
            for other in self._sections.values():
                found.update(r.value for r in other.relocations if r.kind in ("call", "func") and r.section == section)
            known = self._starts[section] = sorted(found)
        return known

    def _related(self, section: str, program: Program) -> dict[int, Relocation]:
        known = self._relocations.get(section)
        if known is None:
            known = self._relocations[section] = {r.off_insns: r for r in program.relocations if r.kind != "core"}
        return known

    def _asked(self, section: str, program: Program) -> Answers:
        """What CO-RE is asked at which slot."""
        if section not in self._answers:
            self._answers[section] = self._answers_of(program) if self._answers_of is not None else {}
        return self._answers[section]

    def _meaning(self, program: Program, section: str, slot: int, own: tuple[Insn, ...], at: int) -> Meaning | None:
        insn = own[at]
        asked = self._asked(section, program).get(slot)
        if asked is not None and insn.code & 7 not in (op.LDX, op.ST, op.STX):
            return Meaning("core", *asked)
        if insn.code not in (op.LD_IMM64, op.CALL_CODE):
            return None
        relocation = self._related(section, program).get(slot)
        if relocation is not None:
            return self._related_meaning(insn, relocation)
        if insn.code == op.LD_IMM64:
            return self._wide_meaning(section, slot, insn, own[at + 1] if at + 1 < len(own) else None)
        if insn.src == op.PSEUDO_CALL:
            return Meaning("call", place=(section, slot + 1 + (insn.off if program.xlated else insn.imm)))
        if insn.src == op.PSEUDO_KFUNC_CALL:
            return Meaning("kfunc", program.symbols.get(slot) or f"btf_id {insn.imm} of {insn.off}", -1)
        return Meaning("helper", value=insn.imm) if insn.src == 0 else None

    def _related_meaning(self, insn: Insn, relocation: Relocation) -> Meaning | None:
        kind = relocation.kind
        if kind in ("call", "func"):
            return Meaning("call" if kind == "call" else "function", relocation.symbol, place=(relocation.section, relocation.value))
        if kind == "map":
            return Meaning("map", relocation.symbol)
        if kind == "data":
            return Meaning("constant" if self._is_constant(relocation.section) else "data", relocation.section, relocation.value)
        if kind == "extern" and relocation.section == ".kconfig":
            return Meaning("kconfig", relocation.symbol, insn.imm)
        if kind == "kfunc":
            return Meaning(kind, relocation.symbol, _parameters(relocation.text))
        return Meaning(kind, relocation.symbol) if kind == "ksym" else None

    def _wide_meaning(self, section: str, slot: int, insn: Insn, second: Insn | None) -> Meaning | None:
        if second is None or second.word & 0xFFFFFFFF:
            return None
        if insn.src == 0:
            return Meaning("number", value=(second.imm & 0xFFFFFFFF) << 32 | insn.imm & 0xFFFFFFFF)
        if insn.src == op.PSEUDO_FUNC:
            return Meaning("function", place=(section, slot + 1 + insn.imm))
        map = self._by_id.get(insn.imm)
        if map is None or insn.src not in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE):
            return None
        if insn.src == op.PSEUDO_MAP_FD:
            return Meaning("map", label_of(map))
        kind = "constant" if self._is_constant(label_of(map)) else "data"
        return Meaning(kind, label_of(map), second.imm & 0xFFFFFFFF)

    def _is_constant(self, label: str) -> bool:
        """Data that the program cannot change: libbpf makes the map of .rodata read-only for programs, and freezes it."""
        map = self.maps.get(label)
        return label.startswith((".rodata", ".kconfig")) and (map is None or bool(map.flags & RDONLY_PROG))


def _parameters(text: str) -> int:
    """How many parameters a function has in C, -1 where the text does not say; pointers to functions are not counted right and say -1."""
    inner = text.rstrip(";")[text.find("(") + 1 : -1] if text.endswith((")", ");")) else ""
    if not inner or "(" in inner or "..." in inner:
        return -1
    return 0 if inner == "void" else inner.count(",") + 1


# --- blocks ---


def _targets(insn: Insn, slot: int) -> tuple[int, ...] | None:
    """Where a jump may go, () for the end of a function, None for other instructions."""
    code = insn.code
    if code == op.EXIT_CODE:
        return ()
    if code & 7 not in (op.JMP, op.JMP32) or code & 0xF0 in (op.CALL, op.EXIT):
        return None
    if code & 0xF0 == op.JA:
        return (slot + 1 + (insn.off if code & 7 == op.JMP else insn.imm),)
    return (slot + 1, slot + 1 + insn.off)


def _blocks(insns: tuple[Insn, ...]) -> tuple[dict[int, int], dict[int, int]]:
    """(end by first slot, position in the order by first slot) of the blocks that slot 0 reaches."""
    heads, jumps, slot = {0}, {}, 0
    while slot < len(insns):
        after = slot + (2 if insns[slot].code == op.LD_IMM64 else 1)
        targets = _targets(insns[slot], slot)
        if targets is not None:
            jumps[after] = targets
            heads.update((*targets, after))
        slot = after
    inside = sorted(head for head in heads if 0 <= head < len(insns))
    ends = {head: inside[index + 1] if index + 1 < len(inside) else len(insns) for index, head in enumerate(inside)}
    follow = {head: [to for to in jumps.get(end, (end,)) if to in ends] for head, end in ends.items()}
    return ends, {head: index for index, head in enumerate(_ordered(0, set(ends), follow))}


def _ordered(entry: int, nodes: set[int], follow: Mapping[int, list[int]]) -> list[int]:
    """The nodes reached from `entry`, each loop as a run of its own that starts with its head."""
    out: list[int] = []
    work: list[tuple[list[int], set[int]] | int] = [([entry], nodes)]
    while work:
        item = work.pop()
        if isinstance(item, int):
            out.append(item)
            continue
        later: list[tuple[list[int], set[int]] | int] = []
        for component in _components(*item, follow):
            head, rest = component[0], set(component[1:])
            later.append(head)
            if rest:  # a loop: its head, then what is left of it without the way back
                later.append(([to for to in follow[head] if to in rest], rest))
        work += reversed(later)
    return out


def _components(starts: list[int], inside: set[int], follow: Mapping[int, list[int]]) -> list[list[int]]:
    """Strongly connected components in topological order (Tarjan 1972), each with the node first that was reached first."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    out: list[list[int]] = []
    work: list[tuple[int, Iterator[int]]] = []

    def enter(node: int) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        work.append((node, iter(follow[node])))

    for start in starts:
        if start not in index:
            enter(start)
        while work:
            node, successors = work[-1]
            for to in successors:
                count("order")
                if to in inside and to not in index:
                    enter(to)
                    break
                if to in on_stack:
                    low[node] = min(low[node], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component: list[int] = []
                    while not component or component[-1] != node:
                        component.append(stack.pop())
                    on_stack.difference_update(component)
                    out.append(component[::-1])
    return out[::-1]

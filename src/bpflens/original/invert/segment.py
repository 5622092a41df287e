"""Segmentation: which runs of image slots were one original instruction, and which one.

    r2 = *(u64*)(r1+16)   }
    if r2 == 0 goto +1    }  ──►  r2 = *(u32*)(r1+40)        (skb->ifindex: three slots, one instruction)
    r2 = *(u32*)(r2+224)  }

A walk over the control flow with pointer types (analysis/pointer_types.py): a template of context accesses fits only where its base
register points to a context of that kind. Starts of functions and source lines, and every slot that is jumped to from outside, begin an
original instruction, so that no group may contain one. Where several readings fit, all are kept, the likeliest first (least cost): a
longer template before a shorter one, the natural access to a field before an odd one. Cost: linear in the image.
"""

from __future__ import annotations

from bpflens.analysis.pointer_types import ANY, Facts, Flow, Pointer, State, call_effect, callbacks, entry_state, may_be, step
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import ProgType
from bpflens.original.image.hidden_register import hidden_register
from bpflens.original.invert.opcode_readings import SPECIAL
from bpflens.original.invert.question import PLAIN, Options, Question
from bpflens.original.rewrites.calls import MAX_LOOPS
from bpflens.original.rewrites.kernel_protocol import Kernel
from bpflens.original.rewrites.pattern import build, parse, unify, zeros_by_xor
from bpflens.original.rewrites.template import Group, Template, distinct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.original.image.image import Image

__all__ = ("PROLOGUE", "Options", "Segmentation", "segment")

_PLAIN_COST = 20  # an untouched instruction where a template fits too
_IMPOSSIBLE = 1000
_ARENA, _PAGE = 33, 4096  # BPF_MAP_TYPE_ARENA; max_entries counts pages
_PROLOGUE_TYPES = (ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.LWT_XMIT, ProgType.SK_SKB)  # they have gen_prologue
_PROLOGUE = (
    "r6 = *(u8*)(r1+{cloned}); w6 &= {mask}; if r6 == 0 goto +7; r6 = r1; r2 ^= r2; call #{pull}; "
    "if r0 == 0 goto +2; w0 = {drop}; exit; r1 = r6"
)
_KEPT = {name: f"{{{name}}}" for name in ("cloned", "mask", "pull")}
PROLOGUE = "prologue for packet writes"
# BPF_MAX_TIMED_LOOPS and the time of the start; BPF_MAX_LOOPS
_COUNTERS = ("*(u64*)(r10+{slot}) = 65535; *(u64*)(r10+{start}) = 0", f"*(u64*)(r10+{{slot}}) = {MAX_LOOPS}")
_MOV_R0_R1 = Insn.make(op.ALU64 | op.MOV | op.X, 0, 1).word
_EXIT = Insn.make(op.EXIT_CODE).word
_ADDS_REGISTERS = frozenset(op.ALU64 | operation | op.X for operation in (op.MOV, op.ADD, op.SUB))  # the source may be a pointer


class Segmentation:
    """`readings` per slot: None for an untouched instruction, else the readings of a group that starts there (slots inside a group
    have what an earlier visit left: walk with `length`). `end` is the first slot that is not part of the original at all.
    """

    __slots__ = ("end", "readings", "unknown")

    def __init__(self, readings: list[tuple[Group, ...] | None], end: int, unknown: dict[int, str]) -> None:
        self.readings = readings
        self.end = end
        self.unknown = unknown


def segment(image: Image, kernel: Kernel, options: Options = PLAIN) -> Segmentation:
    """The readings of every group of an image."""
    return Walk(image, kernel, options).run()


def _arenas(image: Image) -> tuple[tuple[int, int, int], ...]:
    """(first user address, end, id) of the arenas among the maps; map_extra of an arena is where it begins."""
    found = []
    for id, known in image.maps.items():
        start = known.fields.get("map_extra", 0)
        if known.type == _ARENA and start:
            found.append((start, start + known.max_entries * _PAGE, id))
    return tuple(found)


class Walk:
    """The state of one segmentation."""

    def __init__(self, image: Image, kernel: Kernel, options: Options) -> None:
        self.image = image
        self.kernel = kernel
        self.options = options
        self.ax = hidden_register(image.words)
        self.templates = kernel.templates(image.prog_type, image.expected_attach_type).hidden_register(self.ax)
        if image.calls_hidden:
            self.templates = self.templates.calls_hidden()
        if image.blinded:
            self.templates = self.templates.blinded()
        self.facts = Facts(image.prog_type, {id: known.type for id, known in image.maps.items()})
        self.question = Question(image, kernel, options, _arenas(image))
        self.functions = frozenset(image.functions)
        self.starts = image.lines | self.functions
        self.idle: dict[int, int] = {}  # arithmetic that begins no rewrite -> the register which has to hold a pointer for it to matter
        self.result = Segmentation([None] * len(image), self._end(), self.question.unknown)
        counter = op.LDX | op.MEM | op.DW | self.ax << 8 | op.FP << 12
        self.counters = {
            (self._function(slot), word >> 16 & 0xFFFF)
            for slot, word in enumerate(image.words)
            if word & 0xFFFF == counter  # r11 = *(u64*)(r10 + n)
        }

    def _function(self, slot: int) -> int:
        import bisect

        return self.image.functions[bisect.bisect_right(self.image.functions, slot) - 1]

    def _end(self) -> int:
        """Without the hidden handler that the kernel appends to a program that throws (add_hidden_subprog(), Linux v6.7)."""
        image = self.image
        size = len(image)
        if self.options.keep_last or size < 4 or image.words[-2:] != [_MOV_R0_R1, _EXIT]:
            return size
        if size - 2 in self.starts or size - 2 in image.incoming.lowest:
            return size
        throw = self.kernel.imm_of("bpf_throw")
        if throw is None:
            return size
        call = Insn.make(op.CALL_CODE, 0, op.PSEUDO_KFUNC_CALL, 0, throw).word
        return size - 2 if call in image.words and image.words[-3] & 0xFF in (op.EXIT_CODE, op.CALL_CODE, op.GOTO) else size

    def run(self) -> Segmentation:
        image, facts = self.image, self.facts
        flow = Flow()
        heads = set(image.incoming.lowest) | set(image.functions)
        flow.push(0, entry_state(facts, 0))
        for function in image.functions:
            if function:
                flow.push(function, {10: Pointer("stack", function, 0)})
        end = self.result.end
        while True:
            visit = flow.pop()
            if visit is None:
                if not (facts.foreign and facts.spilled_changed):
                    break
                facts.spilled_changed = False
                for head in tuple(flow.states):
                    flow.queue(head)
                continue
            self._block(visit[0], visit[1], heads, flow, end)
        return self.result

    def _block(self, slot: int, state: State, heads: set[int], flow: Flow, end: int) -> None:
        """Walk from a head to the next one, or to where control leaves."""
        image = self.image
        words, insns, targets, facts = image.words, image.insns, image.targets, self.facts
        readings, known = self.result.readings, self.templates.words_cached()
        functions, idle = self.functions, self.idle
        first = True
        while slot < end:
            if not first and slot in heads:
                flow.push(slot, state)
                return
            word = words[slot]
            if not first and word in idle and idle[word] not in state:
                slot += 1
                continue
            if first and slot in functions:
                group = self._inserted(slot)
                if group is not None:
                    readings[slot] = (group,)
                    slot += group.length
                    heads.add(slot)
                    flow.push(slot, state)
                    return
            first = False
            candidates = known.get(word)
            if candidates is None:
                candidates = self.templates.starting_with(word)
            insn = insns[slot]
            code = insn.code
            kind = code & 7
            special = SPECIAL[code]
            groups = None
            if candidates or special:
                groups = self._readings(slot, insn, candidates, state)
            readings[slot] = groups
            if groups is not None:
                chosen = groups[0]
                for item_word, target in chosen.items:
                    self._effect(Insn(item_word), target, state, flow, slot)
                last = chosen.items[-1][0] & 0xFF if chosen.items else 0
                slot += chosen.length
                if last == op.EXIT_CODE or last in (op.GOTO, op.GOTOL):
                    return
                continue
            if kind == op.JMP or kind == op.JMP32:
                if code == op.EXIT_CODE:
                    flow.leave(state)
                    return
                target = targets[slot]
                if 0 <= target < end:
                    flow.push(target, dict(state))
                if code in (op.GOTO, op.GOTOL):
                    return
            else:
                step(state, insn, None, facts)
                if not candidates and not special and kind in (op.ALU, op.ALU64) and code not in _ADDS_REGISTERS:
                    idle[word] = insn.dst
            slot += 1

    def _inserted(self, slot: int) -> Group | None:
        """What the kernel put before a function's first instruction: initialisation of may_goto counters, the packet prologue."""
        image = self.image
        length = 0
        for counter in (parse(text) for text in _COUNTERS):
            bound = unify(counter, image.words, slot, {})
            if bound is not None and (slot, bound["slot"]) in self.counters and bound.get("start", bound["slot"] + 8) == bound["slot"] + 8:
                length = len(counter)
                break
        if slot == 0 and image.prog_type in _PROLOGUE_TYPES:
            prologue = parse(_PROLOGUE)
            forms = (prologue, zeros_by_xor(parse(_PROLOGUE.format_map(_KEPT | {"drop": 0})))) if image.blinded else (prologue,)
            for form in forms:
                bound = unify(form, image.words, length, {})
                if bound is not None:
                    return Group(length + len(form), (), PROLOGUE, 0, tuple(bound.items()))
        return Group(length, (), "counter of may_goto") if length else None

    def _readings(self, slot: int, insn: Insn, candidates: tuple[Template, ...], state: State) -> tuple[Group, ...] | None:
        """All readings at a slot, likeliest first; None for an untouched instruction without another reading."""
        groups: list[Group] = []
        accesses: list[Group] = []
        if len(candidates) > 1 and slot + 1 < len(self.image):
            candidates = self.templates.starting_with_both(insn.word, self.image.words[slot + 1])
        for template in candidates:
            (accesses if template.base else groups).extend(self._try(slot, template, state))
        accesses.sort(key=lambda g: (-g.length, g.cost))
        groups += [Group(g.length, g.items, g.rewrite, rank and rank + 1) for rank, g in enumerate(accesses)]
        special = SPECIAL[insn.code]
        plain = special(self.question, slot, insn, state) if special else None
        if not groups and plain is None:
            return None
        if plain is None:
            plain = (Group(1, ((insn.word, self.image.targets[slot]),)),)
        hidden = self.ax in (insn.dst, insn.src)
        penalty = 0
        if any(group.cost < 10 for group in groups):
            penalty = _IMPOSSIBLE if hidden else _PLAIN_COST
        groups += [Group(g.length, g.items, g.rewrite, g.cost + penalty) for g in plain]
        groups = list(distinct(groups))
        picked = self.options.picks.get(slot)
        if picked is not None and picked < len(groups):
            groups.insert(0, groups.pop(picked))
        if len(groups) == 1 and groups[0].length == 1 and groups[0].items == ((insn.word, self.image.targets[slot]),):
            return None
        return tuple(groups)

    def _try(self, slot: int, template: Template, state: State) -> list[Group]:
        """The readings by one template: none or one, more only where the image has lost the base register."""
        image = self.image
        if template.types is not None and image.prog_type not in template.types:
            return []
        length = len(template.image)
        bound = unify(template.image, image.words, slot, {})
        if bound is None:
            return []
        if length > 1:
            if any(inner in self.starts for inner in range(slot + 1, slot + length)):
                return []
            if image.incoming.from_outside(slot, slot + length):
                return []
        if template.build is not None:
            items = template.build(image, slot, bound)
            return [] if items is None else [Group(length, items, template.name, template.cost, template.loose(bound))]
        if not template.base:
            items = tuple((word, -1) for word in build(template.original, bound))
            return [Group(length, items, template.name, template.cost, template.loose(bound))]
        bases = [bound["S"]] if "S" in bound else [r for r in range(10) if r != bound.get("D")]
        groups = []
        for base in bases:
            if self._fits(template, base, bound, state.get(base) if slot not in self.options.picks else ANY):
                bound["S"] = base
                groups.append(Group(length, tuple((word, -1) for word in build(template.original, bound)), template.name, template.cost))
        return groups

    def _fits(self, template: Template, base: int, bound: dict[str, int], pointer: Pointer | None) -> bool:
        """Can the registers be those of an access through `base`, which holds `pointer`?"""
        if pointer is None or not may_be(pointer, template.base):
            return False
        value = bound.get("D", -1)
        if value in (base, self.ax) or (value == op.FP and template.original[0].value & 7 == op.LDX):
            return False
        return "T" not in bound or bound["T"] == next(r for r in (9, 8, 7) if r not in (base, value))

    def _effect(self, insn: Insn, target: int, state: State, flow: Flow, slot: int) -> None:
        """The effect of an original instruction on the types, and where control may go from it."""
        code = insn.code
        if code == op.CALL_CODE:
            if insn.src == op.PSEUDO_CALL:
                call_effect(state, 0, self.facts, flow.call(target, state) if target >= 0 else None)
                return
            helper = insn.imm if insn.src == 0 else 0
            called = callbacks(state, helper)
            if called is not None:
                flow.push(*called)
            call_effect(state, helper, self.facts)
            return
        if code & 7 in (op.JMP, op.JMP32):
            if code == op.EXIT_CODE:
                flow.leave(state)
            elif target >= 0:
                flow.push(target, dict(state))
            return
        following = self.image.insns[slot + 1] if code == op.LD_IMM64 and slot + 1 < len(self.image) else None
        if code:
            step(state, insn, following, self.facts, target)

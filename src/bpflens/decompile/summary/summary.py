"""What an extended program does, in sentences of which each knows its instructions.

    summarise(program)  ──►  Summary: "drops IPv4 TCP packets (XDP_DROP) when h4blk has an entry for the TCP destination port"

Facts come from the structured program (walk.py); words from fixed tables. "may" stands where a condition was left out or has no name.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bpflens.decompile import ir
from bpflens.decompile.summary.bits import Source
from bpflens.decompile.summary.conditions import Condition, Kind, sentences
from bpflens.decompile.summary.effects import EFFECTS, MAP_WRITES
from bpflens.decompile.summary.naming import Namer
from bpflens.decompile.summary.occasions import occasion
from bpflens.decompile.summary.sources import Scope, definitions_of
from bpflens.decompile.summary.verdicts import Verdict, has_verdict, verdict
from bpflens.decompile.summary.walk import Done, Returned, Walk, walk
from bpflens.decompile.summary.written import Written, writes_of
from bpflens.decompile.unit import Unit, make_unit
from bpflens.isa.extended.names import MAP_TYPES, PROG_TYPES, type_name
from bpflens.program import Program

__all__ = ("Sentence", "Summary", "entries_of", "summarise", "summarise_function")

SHOWN_LINES = 10
_REDIRECTS = ("bpf_redirect", "bpf_sk_redirect", "bpf_msg_redirect")
_TRANSPORTS = ("the IP protocol is ", "the IPv6 next header is ")
_SHOWN_CONDITIONS = 4
_SHOWN_PATHS = 3
_SHOWN_READS = 8


_ASKED = {
    "bpf_get_current_comm": "process name", "bpf_get_current_pid_tgid": "process and thread id", "bpf_get_current_uid_gid": "user id",
    "bpf_ktime_get_ns": "time", "bpf_get_current_cgroup_id": "cgroup id", "bpf_probe_read_kernel": "kernel memory",
    "bpf_probe_read_user": "user memory", "bpf_probe_read": "memory", "bpf_probe_read_user_str": "strings of user memory",
    "bpf_get_current_task": "current task", "bpf_get_current_task_btf": "current task", "bpf_get_prandom_u32": "random numbers",
    "bpf_probe_read_kernel_str": "strings of kernel memory", "bpf_get_stackid": "stack", "bpf_skb_load_bytes": "bytes of the packet",
}  # fmt: skip
"""Helpers that answer, and what about."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """`kind`: alarm, decides, map, effect, reads, calls or note; `slots` are the instructions that it rests on."""

    kind: str
    text: str
    slots: ir.Slots = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """A program in words: `head` says what it is and when it runs; `sentences` are all, most telling first; `complete` is False where
    some of the code was not understood, which `gaps` names.
    """

    where: str
    name: str
    type: str
    head: str
    insn_count: int
    sentences: tuple[Sentence, ...]
    gaps: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """All functions were walked to their ends."""
        return not self.gaps

    def short(self, lines: int = SHOWN_LINES) -> tuple[Sentence, ...]:
        """As many of the sentences as fit below the head, and a last one that says how many are left."""
        room = lines - 1 - bool(self.gaps)
        if len(self.sentences) <= room:
            return self.sentences
        return self.sentences[: room - 1]


def summarise(program: Program, name: str = "") -> Summary:
    """What an extended program does; `name` picks a function. InputError where there is none."""
    unit = make_unit([program], program.origin.where)
    names = [code.name for code in unit.codes.values() if name in (code.name, code.original_name) or (not name and code.role == "entry")]
    return summarise_function(unit, names[0] if names else next(iter(unit.codes)))


def entries_of(unit: Unit) -> list[str]:
    """The functions that the kernel calls, or, where there is none, all."""
    return [code.name for code in unit.codes.values() if code.role == "entry"] or list(unit.codes)


def summarise_function(unit: Unit, name: str) -> Summary:
    """What a function of a unit does, with all that it calls."""
    from bpflens.decompile.decompile import decompile_unit

    made = decompile_unit(unit, names=[name])
    entry = next(function for function in made.functions if function.name == name)
    program = unit.codes[name].program
    gaps: list[str] = []
    found: list[Sentence] = []
    writes = writes_of({function.name: function.tree for function in made.functions if function.tree})
    for function in made.functions:
        if not function.tree:
            gaps.append(f"{function.name} has no structured form ({'; '.join(function.refused) or function.level})")
            continue
        definitions = definitions_of(function.tree, function.arguments.values())
        scope = Scope(unit, program.type or 0, program.declared.section or "", definitions, written=Written(writes))
        namer = Namer(unit, program.type or 0, program.declared.section or "")
        walked = walk(function.tree, scope, namer)
        if not walked.complete:
            gaps.append(f"{function.name} is nested too deeply to be followed to its ends")
        own = function is entry
        found += _Writer(unit, namer, walked, "" if own else f"in {function.name}, ").all(program.type or 0, own)
    order = ("alarm", "decides", "effect", "map", "calls", "reads", "note")
    found.sort(key=lambda sentence: order.index(sentence.kind))
    kind = type_name(PROG_TYPES, program.type or 0)
    insns = sum(function.insn_count for function in made.functions)
    head = _head(program, name, insns, len(made.functions) - 1)
    return Summary(program.origin.where, name, kind, head, insns, tuple(_once(found)), tuple(gaps))


def _once(found: Iterable[Sentence]) -> Iterator[Sentence]:
    seen: dict[str, None] = {}
    for sentence in found:
        if sentence.text not in seen:
            seen[sentence.text] = None
            yield sentence


def _head(program: Program, name: str, insns: int, callees: int) -> str:
    kind = type_name(PROG_TYPES, program.type) if program.type else "function" if program.declared.section == ".text" else "program"
    runs = occasion(program.type or 0)
    size = f"{insns} instructions" + (f" in {callees + 1} functions" if callees else "")
    return f"{kind} {name}" + (f": runs {runs}" if runs else "") + f" ({size})"


class _Writer:
    """The sentences of one function."""

    def __init__(self, unit: Unit, namer: Namer, walked: Walk, prefix: str) -> None:
        self.unit, self.namer, self.walked, self.prefix = unit, namer, walked, prefix

    def all(self, prog_type: int, own: bool) -> Iterator[Sentence]:
        """Every sentence."""
        if own and has_verdict(prog_type):
            yield from self.decisions(prog_type)
        yield from self.effects()
        yield from self.maps()
        yield from self.reads()

    # --- what it decides ---

    def decisions(self, prog_type: int) -> Iterator[Sentence]:
        """One sentence for each verdict, the usual one last."""
        groups: dict[int | None, list[Returned]] = {}
        for each in self.walked.returns:
            groups.setdefault(None if each.value is None else each.value & 0xFFFFFFFF, []).append(each)
        meanings = {value: verdict(prog_type, value) for value in groups if value is not None}
        if len(groups) == 1 and meanings:
            ((value, meaning),) = meanings.items()
            yield Sentence("decides", f"Always {_named(meaning, '')}.", _slots(groups[value]))
            return
        usual = max(meanings, key=lambda value: (meanings[value].passive, len(groups[value])), default=None)
        rest = [value for value in meanings if value != usual]
        for value in sorted(rest, key=lambda value: len(groups[value])):
            yield self.decision(meanings[value], groups[value])
        if None in groups:
            calls = ", ".join(dict.fromkeys(self.computed_returns())) or "a value that it computes"
            yield Sentence("decides", f"Otherwise, or in part of the cases, returns {calls}.", _slots(groups[None]))
        if usual is not None:
            word = "Else" if rest or None in groups else "Always"
            yield Sentence("decides", f"{word} {_named(meanings[usual], '')}.", _slots(groups[usual]))

    def computed_returns(self) -> Iterator[str]:
        """The calls that return a verdict themselves."""
        for done in self.walked.done:
            if isinstance(done.statement, ir.Call) and done.statement.name.startswith(_REDIRECTS):
                yield f"what {done.statement.name} gives"

    def decision(self, meaning: Verdict, returns: Sequence[Returned]) -> Sentence:
        paths = [self.path(each.conditions, each.may) for each in returns]
        texts = list(dict.fromkeys(text for text, _, _ in paths))
        nouns = {noun for _, noun, _ in paths}
        noun = nouns.pop() if len(nouns) == 1 else ""
        may = any(unsure for _, _, unsure in paths) or len(texts) > _SHOWN_PATHS
        if noun == "" and len(paths) > 1:
            texts = list(dict.fromkeys(f"{each} among {name}" if name and each else each or f"for {name}" for each, name, _ in paths))
        said = f"{'may ' * may}{_named(meaning, noun, may)}"
        if all(texts):
            more = len(texts) - _SHOWN_PATHS
            said += " when " + "; or when ".join(texts[:_SHOWN_PATHS]) + (f"; and in {more} more cases" if more > 0 else "")
        return Sentence("decides", _capital(said) + ".", _slots(returns))

    def path(self, conditions: Sequence[Condition], may: bool) -> tuple[str, str, bool]:
        """(conditions in words, what packets they are about, something was left out)."""
        said = sentences(conditions, self.namer)
        noun, said = _noun(said)
        unsure = may or any(each.kind is Kind.UNKNOWN for each in conditions)
        said = [each for each in said if not each.startswith(("a computed value", "a value compares", "two values", "bits of a value"))]
        if len(said) > _SHOWN_CONDITIONS:
            said, unsure = said[-_SHOWN_CONDITIONS:], True
        return _list(said), noun, unsure

    # --- what it does ---

    def effects(self) -> Iterator[Sentence]:
        """Calls that change something, put together where their conditions are the same; what is written into packets and contexts."""
        groups: dict[tuple[str, bool], list[tuple[str, bool, ir.Slots]]] = {}
        for done in self.walked.done:
            effect = self.effect(done)
            if effect is None:
                continue
            said, noun, unsure = self.path(done.conditions, done.may)
            condition = " and ".join(part for part in (f"the packet is one of {noun}" if noun else "", said) if part)
            groups.setdefault((condition, unsure), []).append((*effect, done.statement.slots))
        for (condition, unsure), items in groups.items():
            verbs = list(dict.fromkeys(text for text, _, _ in items))
            slots = _slots_of(each for _, _, each in items)
            alarm = any(each for _, each, _ in items)
            doing = _list(verbs) if not unsure else "may do this: it " + _list(verbs)
            text = f"If {condition}, {self.prefix}it {doing}." if condition else _capital(f"{self.prefix}it {doing}.")
            yield Sentence("alarm" if alarm else "effect", text, slots)

    def effect(self, done: Done) -> tuple[str, bool] | None:
        """(what it does, deserves attention)."""
        statement = done.statement
        if isinstance(statement, ir.Store | ir.Atomic) and statement.place.kind == "data":
            return f"changes {self.place(statement) or f'bytes of {statement.place.what}'}", False
        if isinstance(statement, ir.Store) and statement.place.kind in ("packet", "ctx"):
            if statement.place.kind == "packet":
                return f"rewrites {self.place(statement) or 'bytes of the packet'}", True
            return f"sets {self.place(statement) or 'fields of its context'}", False
        if not isinstance(statement, ir.Call) or statement.kind not in ("helper", "tail"):
            return None
        effect = EFFECTS.get(statement.name)
        if effect is None or not effect.text:
            return None
        texts = list(done.texts)
        if statement.name.startswith("bpf_send_signal") and texts and texts[0].isdigit():
            try:
                texts[0] += f" ({signal.Signals(int(texts[0])).name})"
            except ValueError:
                pass
        if statement.name == "bpf_trace_printk" and statement.args and (shown := self.string(statement.args[0])):
            return f"prints {shown} to the kernel's trace_pipe", False
        return effect.text.format(*texts, "?", "?", "?", "?", "?"), effect.alarm

    def string(self, expr: ir.Expr) -> str:
        """The constant string at an address, quoted; "" where there is none."""
        from bpflens.analysis.data_places import quoted

        map = self.unit.maps.get(expr.section) if isinstance(expr, ir.DataRef) else None
        data = map.data if map is not None else None
        return (quoted(data[expr.offset :]) or "") if data and isinstance(expr, ir.DataRef) and 0 <= expr.offset < len(data) else ""

    def place(self, statement: ir.Store | ir.Atomic) -> str:
        """ "the source address"; "" where the bytes vary."""
        place = statement.place
        if place.offset is None:
            return ""
        return f"the {self.namer.name_bytes(Source(place.kind, place.what), place.offset, statement.size, self.namer.layers).text}"

    # --- maps, reads ---

    def maps(self) -> Iterator[Sentence]:
        """One sentence for each map: its type, by what it is asked, what happens to its entries."""
        actions: dict[str, dict[str, None]] = {}
        keys: dict[str, dict[str, None]] = {}
        slots: dict[str, ir.Slots] = {}
        for done in self.walked.done:
            statement = done.statement
            name, action = "", ""
            if isinstance(statement, ir.Call) and done.texts and done.texts[0] in self.unit.maps and statement.name in MAP_WRITES:
                name, action = done.texts[0], MAP_WRITES[statement.name]
                if done.key:
                    keys.setdefault(name, {})[done.key] = None
            elif isinstance(statement, ir.Atomic | ir.Store) and statement.place.kind == "value":
                name, action = statement.place.what, self.change(done.written)
            if name in self.unit.maps:
                actions.setdefault(name, {})[action] = None
                slots[name] = ir.join_slots(slots.get(name, ()), statement.slots)
        for name, done_there in actions.items():
            map = self.unit.maps[name]
            key = f", by the {_list(list(keys[name])[:3])}" if keys.get(name) and not next(iter(keys[name])).isdigit() else ""
            yield Sentence(
                "map", f"Map {name} ({type_name(MAP_TYPES, map.type)}): {self.prefix}{_list(list(done_there))}{key}.", slots[name]
            )

    def change(self, statement: ir.Statement) -> str:
        """What is done to the value of an entry."""
        assert isinstance(statement, ir.Atomic | ir.Store)
        what = self.place(statement).replace(f" of the entry of {statement.place.what}", "") or "bytes of the entry"
        value = statement.value
        if isinstance(statement, ir.Atomic):
            if statement.op != "+":
                return f"changes {what}"
            added: ir.Expr | None = value
        else:
            counts = (
                isinstance(value, ir.Binary) and value.op == "+" and isinstance(value.left, ir.Load) and value.left.place == statement.place
            )
            added = value.right if counts and isinstance(value, ir.Binary) else None
        if added is None:
            return f"writes {what}"
        return f"adds {added.value} to {what}" if isinstance(added, ir.Const) else f"adds to {what}"

    def reads(self) -> Iterator[Sentence]:
        """What it looks at."""
        names = list(self.walked.read)
        slots = _slots_of(self.walked.read.values())
        for done in self.walked.done:
            if isinstance(done.statement, ir.Call) and done.statement.name in _ASKED:
                names.append(_ASKED[done.statement.name])
                slots = ir.join_slots(slots, done.statement.slots)
        names = list(dict.fromkeys(names))
        if names:
            more = len(names) - _SHOWN_READS
            yield Sentence("reads", f"{_capital(self.prefix)}{'r' if self.prefix else 'R'}eads: {', '.join(names[:_SHOWN_READS])}"
                           + (f" and {more} more" if more > 0 else "") + ".", slots)  # fmt: skip


def _named(meaning: Verdict, noun: str, may: bool = False) -> str:
    words = meaning.words.replace("the packet", noun) if noun else meaning.words
    if may:
        first, _, rest = words.partition(" ")
        words = f"{first.removesuffix('s') if not first.endswith('ss') else first} {rest}".strip()
    return f"{words} ({meaning.name})" if meaning.name else words


def _noun(said: list[str]) -> tuple[str, list[str]]:
    """("IPv4 TCP packets", the other sentences)."""
    network = next((each for each in said if each.startswith("the EtherType is ") and " not " not in each), None)
    transport = next((each for each in said if each.startswith(_TRANSPORTS) and " not " not in each), None)
    if network is None:
        return "", said
    words = network.removeprefix("the EtherType is ")
    if transport is not None:
        words += " " + transport.rpartition(" is ")[2]
    return f"{words} packets", [each for each in said if each not in (network, transport)]


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" and {items[-1]}" if items else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _slots(returns: Iterable[Returned]) -> ir.Slots:
    return _slots_of(slots for each in returns for slots in (each.slots, *(condition.slots for condition in each.conditions)))


def _slots_of(groups: Iterable[ir.Slots]) -> ir.Slots:
    return tuple(sorted({slot for slots in groups for slot in slots}))

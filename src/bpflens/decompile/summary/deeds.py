"""What a program does beside deciding: effects of helpers, what it writes, its maps, what it reads."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

from bpflens.decompile import ir
from bpflens.decompile.summary.sentence import Path, Says, Sentence
from bpflens.decompile.summary.walk.bits import Source
from bpflens.decompile.summary.walk.pointed import Pointed
from bpflens.decompile.summary.walk.walk import Done, Walk
from bpflens.decompile.summary.words.effects import EFFECTS, KFUNCS, MAP_WRITES
from bpflens.decompile.summary.words.lists import ends, folded, grouped, merged
from bpflens.decompile.summary.words.naming import ASSUMED, Namer
from bpflens.decompile.summary.words.phrases import capital, listed, slots_of, way_of
from bpflens.decompile.unit import Unit
from bpflens.isa.extended.names import MAP_TYPES, type_name
from bpflens.isa.extended.uapi import ProgType

__all__ = ("Deeds",)

_SHOWN_READS = 8
_KERNEL_WRITER = ProgType.STRUCT_OPS  # btf_struct_access(): tracing and LSM programs only read what the kernel's pointers lead to

_ASKED = {
    "bpf_get_current_comm": "process name", "bpf_get_current_pid_tgid": "process and thread id", "bpf_get_current_uid_gid": "user id",
    "bpf_ktime_get_ns": "time", "bpf_get_current_cgroup_id": "cgroup id", "bpf_probe_read_kernel": "kernel memory",
    "bpf_probe_read_user": "user memory", "bpf_probe_read": "memory", "bpf_probe_read_user_str": "strings of user memory",
    "bpf_get_current_task": "current task", "bpf_get_current_task_btf": "current task", "bpf_get_prandom_u32": "random numbers",
    "bpf_probe_read_kernel_str": "strings of kernel memory", "bpf_get_stackid": "stack", "bpf_skb_load_bytes": "bytes of the packet",
}  # fmt: skip
"""Helpers that answer, and what about."""

_BETTER = {
    r"\b1 bytes\b": "1 byte",
    r"\ba computed value bytes\b": "a computed number of bytes",
    r"\b(signal|index|interface|byte|level|socket option) a computed value\b": r"a computed \1",
}  # fmt: skip
"""Arguments that do not read well where they are put in."""


class Deeds:
    """The sentences of one function; `prefix` stands before what it does ("in callee, ")."""

    def __init__(self, function: str, unit: Unit, namer: Namer, walked: Walk, pointed: Pointed, prefix: str) -> None:
        self.function, self.unit, self.namer, self.walked, self.pointed, self.prefix = function, unit, namer, walked, pointed, prefix

    def all(self) -> Iterator[Sentence]:
        """Every sentence."""
        yield from self.effects()
        yield from self.maps()
        yield from self.reads()
        yield from self.unfollowed()

    def effects(self) -> Iterator[Sentence]:
        """Calls that change something, put together where their conditions are the same; what is written into packets and contexts."""
        groups: dict[tuple[str, str, str, bool], list[tuple[str, bool, Done]]] = {}
        for done in self.walked.done:
            effect = self.effect(done)
            if effect is None:
                continue
            way = way_of(done.conditions, done.may, self.namer)
            if way.never:
                continue
            text = effect[0].replace(ASSUMED, "") if way.stated else effect[0]
            groups.setdefault((way.whole, way.said, way.noun, way.unsure), []).append((text, effect[1], done))
        for (whole, condition, noun, unsure), items in groups.items():
            verbs = merged(list(dict.fromkeys(text for text, _, _ in items)))
            alarm = any(each for _, each, _ in items)
            texts = [self.doing(said, noun, verbs, unsure or said != whole) for said in (condition, whole)]
            done_here = tuple(done for _, _, done in items)
            says = Says(self.function, "does", paths=tuple(Path(done.conditions, done.may) for done in done_here), done=done_here)
            slots = slots_of(done.statement.slots for done in done_here)
            yield Sentence("alarm" if alarm else "effect", texts[0], slots, says, texts[1])

    def doing(self, condition: str, noun: str, verbs: list[str], unsure: bool) -> str:
        """ "For IPv4 packets, if the port is 80, it ..."."""
        doing = listed(verbs) if not unsure else "may do this: it " + listed(verbs)
        start = ", ".join(part for part in (f"for {noun}" * bool(noun), f"if {condition}" * bool(condition)) if part)
        return capital(f"{start}, {self.prefix}it {doing}." if start else f"{self.prefix}it {doing}.")

    def effect(self, done: Done) -> tuple[str, bool] | None:
        """(what it does, deserves attention)."""
        statement = done.statement
        if isinstance(statement, ir.Store | ir.Atomic):
            return self.stored(statement, done)
        if not isinstance(statement, ir.Call):
            return None
        if statement.kind == "kfunc":
            text, alarm = KFUNCS.get(statement.name, ("", False))
            return text or f"calls the kernel's {statement.name}", alarm
        if statement.kind not in ("helper", "tail"):
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
        if statement.name == "bpf_seq_printf" and len(statement.args) > 1 and (shown := self.string(statement.args[1])):
            return f"writes {shown} for the reader", False
        if statement.name == "bpf_trace_printk" and statement.args and (shown := self.string(statement.args[0])):
            return f"prints {shown} to the kernel's trace_pipe", False
        text = effect.text.format(*texts, "?", "?", "?", "?", "?")
        for awkward, better in _BETTER.items():
            text = re.sub(awkward, better, text)
        return text, effect.alarm

    def stored(self, statement: ir.Store | ir.Atomic, done: Done) -> tuple[str, bool] | None:
        """A store into global data, the packet, the context, or the kernel's memory."""
        place, value = statement.place, done.value
        to = f" to {value}" * bool(value)
        if place.kind == "data":
            return f"changes {self.place(statement) or f'bytes of {place.what}'}", False
        if place.kind == "packet":
            return f"rewrites {self.place(statement) or 'bytes of the packet'}{to}", True
        if place.kind == "ctx":
            return f"sets {self.place(statement) or 'fields of its context'}{to}", self.namer.prog_type == ProgType.CGROUP_SOCK_ADDR
        if place.kind == "" and self.namer.prog_type == _KERNEL_WRITER:
            return (f"sets {value}", True) if value else None
        if place.kind == "value" and place.what not in self.unit.maps:
            change = self.change(statement).partition(" the ")[0].removesuffix(" bytes of")
            return f"{change} the entry that it found{self.found_in(done.written)}", False
        return None

    def found_in(self, statement: ir.Statement) -> str:
        """ " in map a or map b", where that is known."""
        names = self.pointed.maps(statement.address) if isinstance(statement, ir.Store | ir.Atomic) else ()
        return f" in {' or '.join(f'map {name}' for name in names)}" if names else ""

    def unfollowed(self) -> Iterator[Sentence]:
        """Stores of which it is not known what they change."""
        stores = [(each.statement, each) for each in self.walked.done if isinstance(each.statement, ir.Store | ir.Atomic)]
        unknown = [store for store, done in stores if not store.place.kind and self.stored(store, done) is None]
        if unknown:
            slots = slots_of(statement.slots for statement in unknown)
            yield Sentence("note", capital(f"{self.prefix}it also writes where its addresses were not followed."), slots)

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

    def maps(self) -> Iterator[Sentence]:
        """One sentence for each map: its type, by what it is asked, what happens to its entries."""
        actions: dict[str, dict[str, None]] = {}
        keys: dict[str, dict[str, None]] = {}
        slots: dict[str, ir.Slots] = {}
        deeds: dict[str, list[Done]] = {}
        for done in self.walked.done:
            statement = done.statement
            name, action = "", ""
            named = next((text for text in done.texts[:2] if text in self.unit.maps), "")
            if isinstance(statement, ir.Call) and named and statement.name in MAP_WRITES:
                name, action = named, MAP_WRITES[statement.name]
                if done.key:
                    keys.setdefault(name, {})["computed key" if "computed" in done.key else done.key] = None
            elif isinstance(statement, ir.Atomic | ir.Store) and statement.place.kind == "value":
                name, action = statement.place.what, self.change(done.written)
            if name in self.unit.maps:
                actions.setdefault(name, {})[action] = None
                slots[name] = ir.join_slots(slots.get(name, ()), statement.slots)
                deeds.setdefault(name, []).append(done)
        for name, done_there in actions.items():
            map = self.unit.maps[name]
            key = f", by the {listed(list(keys[name])[:3])}" if keys.get(name) and not next(iter(keys[name])).isdigit() else ""
            text = f"Map {name} ({type_name(MAP_TYPES, map.type)}): {self.prefix}{listed(folded(done_there))}{key}."
            yield Sentence("map", text, slots[name], Says(self.function, "map", done=tuple(deeds[name]), map=name))

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
        slots = slots_of(self.walked.read.values())
        for done in self.walked.done:
            if isinstance(done.statement, ir.Call) and done.statement.name in _ASKED:
                names.append(done.value or _ASKED[done.statement.name])
                slots = ir.join_slots(slots, done.statement.slots)
        names = ends(dict.fromkeys(names))
        if names:
            more = len(names) - _SHOWN_READS
            yield Sentence("reads", f"{capital(self.prefix)}{'r' if self.prefix else 'R'}eads: {', '.join(grouped(names[:_SHOWN_READS]))}"
                           + (f" and {more} more" if more > 0 else "") + ".", slots, Says(self.function, "reads"))  # fmt: skip

"""A debugger for classic filters: one filter, the packets of a capture, and a position that moves both ways.

    session = Session(insns, source)
    session.execute("break if A == 6")     ──►  lines of text
    session.execute("run")                 ──►  lines of text

A run over one packet is recorded as a list of states (interp.trace), so stepping back is moving in that list. Commands are those of the
kernel's bpf_dbg (tools/bpf) and more; `HELP` lists them. Loading files is left to the user of the class, who has the targets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from bpflens.classic.machine.interpreter import Model, State, run, trace
from bpflens.classic.machine.packet_source import PacketSource
from bpflens.classic.packets.fields import fields, name
from bpflens.errors import UsageError
from bpflens.formats.pcap.capture import Packet, dlt_of
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.text import format as format_insns

__all__ = ("COMMANDS", "HELP", "Session")

# A loop (protochain) is recorded up to here.
_MOST_STATES = 200_000


HELP = """\
load bpf TARGET     another filter: any target, or a program as text ("1,6 0 0 65535")
load pcap FILE      another capture
select [N]          take packet N (from 1; default the next one)
disassemble [N]     the filter (instruction N alone); > marks the next instruction, * breakpoints
dump                the filter as numbers, one line, as bpf_asm and xt_bpf have it
step [N]            execute N instructions (default 1); step -N goes back
back [N]            the same as step -N
continue            execute up to the next breakpoint, or to the end of this packet
run [N]             execute from the next instruction over this and the following packets (N of them), up to a
                    breakpoint; at the end, how many packets pass and fail, and packet 1 again
restart             back to the first instruction of this packet
breakpoint [PC]     stop before instruction PC; without PC: list the breakpoints
break if CONDITION  stop where it becomes true: A, X, M[i], pc, len with == != < <= > >= and a number, joined by "and"
delete [PC|if]      remove a breakpoint, the conditions, or all
registers           A, X and M[]
packet              the packet in hex, with its fields
verdict             what the filter returns for this packet
model NAME          kernel or libpcap
aux [NAME=VALUE]    ancillary data of the packets
help, quit"""

COMMANDS = ("aux", "back", "break", "breakpoint", "continue", "delete", "disassemble", "dump", "help", "load", "model", "packet", "quit",
            "registers", "restart", "run", "select", "step", "verdict")  # fmt: skip

_CONDITION = re.compile(r"(A|X|M\[\s*(\d+)\s*\]|pc|len)\s*(==|!=|<=|>=|<|>)\s*(0x[0-9a-fA-F]+|\d+)$")
_TESTS: dict[str, Callable[[int, int], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class Session:
    """The state of one debugger. `loader(what, argument)` gives a filter ("bpf") or a PacketSource ("pcap")."""

    def __init__(
        self,
        insns: Sequence[SockFilter] | None = None,
        source: PacketSource | None = None,
        model: Model = "kernel",
        aux: Mapping[str, int | None] | None = None,
        loader: Callable[[str, str], Sequence[SockFilter] | PacketSource] | None = None,
    ) -> None:
        self.insns: tuple[SockFilter, ...] | None = tuple(insns) if insns is not None else None
        self.source = source
        self.model = model
        self.aux = dict(aux or {})
        self.loader = loader
        self.number = 0
        self.packet: Packet | None = None
        self.states: list[State] = []
        self.at = 0
        self.breakpoints: set[int] = set()
        self.conditions: list[str] = []
        self.done = False
        if source is not None:
            self._select(1)

    def execute(self, line: str) -> list[str]:
        """Execute one command; UsageError or another BpflensError where it can't be."""
        words = line.split(None, 1)
        if not words or words[0].startswith("#"):
            return []
        command, rest = words[0], (words[1].strip() if len(words) > 1 else "")
        matches = [known for known in COMMANDS if known == command] or [known for known in COMMANDS if known.startswith(command)]
        if set(matches) <= {"break", "breakpoint"} and matches:
            matches = ["break"]
        if command in ("s", "r", "c", "b", "d", "p"):
            matches = [{"s": "step", "r": "run", "c": "continue", "b": "break", "d": "disassemble", "p": "packet"}[command]]
        if len(matches) != 1:
            raise UsageError(command, "is ambiguous" if matches else "is no command", 'see "help"')
        method: Callable[[str], list[str]] = getattr(self, f"_do_{matches[0]}")
        return method(rest)

    # ---- position

    def _select(self, number: int) -> None:
        if self.source is None:
            raise UsageError("", "no capture is loaded", "load pcap FILE")
        packet = self.source.get(number)
        if packet is None:
            why = f" ({self.source.damage})" if self.source.damage else ""
            raise UsageError(f"packet {number}", f"the capture ends before it{why}")
        self.number, self.packet = number, packet
        self.states, self.at = [], 0

    def _record(self) -> list[State]:
        """The states of this packet's run, recorded when they are first needed."""
        if self.insns is None:
            raise UsageError("", "no filter is loaded", "load bpf TARGET")
        if self.packet is None:
            raise UsageError("", "no packet is selected", "load pcap FILE")
        if not self.states:
            self.states = trace(self.insns, self.packet.data, self.packet.length, self.model, self.aux, _MOST_STATES)
            self.at = 0
        return self.states

    def _show(self) -> list[str]:
        states = self._record()
        state = states[self.at]
        lines = []
        if state.read is not None:
            lines.append(f"    {self._read_text(state.read)}")
        if state.result is not None:
            return [*lines, f"returns {state.result} ({'accepted' if state.result else 'rejected'}), packet {self.number}"]
        if self.at == len(states) - 1:
            return [*lines, f"the program has not returned after {_MOST_STATES} instructions"]
        assert self.insns is not None
        memory = "".join(f" M[{i}]={value:#x}" for i, value in enumerate(state.m) if value)
        text = format_insns(self.insns)[state.pc].expandtabs(6)
        return [*lines, f"{text:36} A={state.a:#x} ({state.a}) X={state.x:#x} ({state.x}){memory}"]

    def _read_text(self, read: tuple[int, int]) -> str:
        assert self.packet is not None and self.source is not None
        offset, size = read
        data = self.packet.data[offset : offset + size]
        what = name(self.packet.data, dlt_of(self.packet.linktype), offset, size)
        return f"read [{offset}:{size}] = {data.hex(' ')}{f'  {what}' if what else ''}"

    def _stops(self, state: State) -> str | None:
        """Why to stop before this state's instruction."""
        if state.result is not None:
            return None
        if state.pc in self.breakpoints:
            return f"breakpoint {state.pc}"
        return next((f"break if {text}" for text in self.conditions if self._holds(text, state)), None)

    def _holds(self, text: str, state: State) -> bool:
        for part in text.split(" and "):
            match = _CONDITION.match(part.strip())
            assert match is not None
            what, cell, sign, value = match.groups()
            length = self.packet.length if self.packet else 0
            left = state.m[int(cell)] if cell else {"A": state.a, "X": state.x, "pc": state.pc, "len": length}[what]
            if not _TESTS[sign](left, int(value, 0)):
                return False
        return True

    def _advance(self) -> str | None:
        """To the next stop or the end of this packet."""
        states = self._record()
        held = {text: self._holds(text, states[self.at]) for text in self.conditions}
        while self.at < len(states) - 1:
            self.at += 1
            state = states[self.at]
            if state.result is None and state.pc in self.breakpoints:
                return f"breakpoint {state.pc}"
            for text in self.conditions:
                now = self._holds(text, state)
                if now and not held[text] and state.result is None:
                    return f"break if {text}"
                held[text] = now
        return None

    # ---- commands

    def _do_help(self, rest: str) -> list[str]:
        return HELP.split("\n")

    def _do_quit(self, rest: str) -> list[str]:
        self.done = True
        return []

    def _do_load(self, rest: str) -> list[str]:
        what, _, argument = rest.partition(" ")
        if what not in ("bpf", "pcap") or not argument:
            raise UsageError("load", "load bpf TARGET, or load pcap FILE")
        if self.loader is None:
            raise UsageError("load", "nothing can be loaded here")
        loaded = self.loader(what, argument.strip())
        if isinstance(loaded, PacketSource):
            if self.source is not None:
                self.source.close()
            self.source = loaded
            self._select(1)
            return [f"{argument.strip()}: packet 1"]
        self.insns = tuple(loaded)
        self.states, self.at = [], 0
        self.breakpoints = {pc for pc in self.breakpoints if pc < len(self.insns)}
        return [f"{len(self.insns)} instructions"]

    def _do_select(self, rest: str) -> list[str]:
        self._select(_number(rest, self.number + 1, 1))
        assert self.packet is not None
        cut = f", {len(self.packet.data)} captured" if len(self.packet.data) != self.packet.length else ""
        return [f"packet {self.number}: {self.packet.length} bytes{cut}", *self._do_packet("")]

    def _do_disassemble(self, rest: str) -> list[str]:
        if self.insns is None:
            raise UsageError("", "no filter is loaded", "load bpf TARGET")
        pc = self.states[self.at].pc if self.states else None
        only = _number(rest, -1, 0)
        lines = []
        for number, line in enumerate(format_insns(self.insns)):
            if only in (-1, number):
                mark = ">" if number == pc else " "
                lines.append(f"{mark}{'*' if number in self.breakpoints else ' '}{line.expandtabs(6)}")
        return lines

    def _do_dump(self, rest: str) -> list[str]:
        from bpflens.isa.classic.text import format_program

        if self.insns is None:
            raise UsageError("", "no filter is loaded", "load bpf TARGET")
        return [format_program(self.insns, "xt_bpf")]

    def _do_step(self, rest: str) -> list[str]:
        count = _number(rest, 1, None)
        states = self._record()
        self.at = min(max(self.at + count, 0), len(states) - 1)
        return self._show()

    def _do_back(self, rest: str) -> list[str]:
        return self._do_step(str(-_number(rest, 1, 0)))

    def _do_continue(self, rest: str) -> list[str]:
        stop = self._advance()
        return [*([stop] if stop else []), *self._show()]

    def _do_restart(self, rest: str) -> list[str]:
        self._record()
        self.at = 0
        return self._show()

    def _do_run(self, rest: str) -> list[str]:
        most = _number(rest, -1, 1)
        passes = fails = 0
        if self._record()[self.at].result is not None and not self._next():
            return ["the last packet has been run: back at packet 1"]
        while True:
            stop, result = self._run_packet(passes + fails > 0)
            if stop:
                return [f"packet {self.number}: {stop}", *self._show(), *([f"bpf passes:{passes} fails:{fails}"] if passes + fails else [])]
            passes, fails = passes + bool(result), fails + (not result)
            if passes + fails == most:
                self.at = len(self._record()) - 1
                return [f"bpf passes:{passes} fails:{fails}"]
            if not self._next():
                damage = [f"the capture is damaged: {self.source.damage}"] if self.source and self.source.damage else []
                return [f"bpf passes:{passes} fails:{fails} (the end; back at packet 1)", *damage]

    def _next(self) -> bool:
        """Select the next packet, the first one again after the last."""
        try:
            self._select(self.number + 1)
        except UsageError:
            self._select(1)
            return False
        return True

    def _run_packet(self, fresh: bool) -> tuple[str | None, int]:
        """Run to the end of this packet: why it stopped before, or what the filter returned. `fresh`: the first instruction counts too."""
        if not (self.breakpoints or self.conditions or self.at):
            assert self.insns is not None and self.packet is not None
            return None, run(self.insns, self.packet.data, self.packet.length, self.model, self.aux)
        states = self._record()
        stop = (self._stops(states[0]) if fresh else None) or self._advance()
        result = states[-1].result
        return (stop or (None if result is not None else "it does not return")), result or 0

    def _do_breakpoint(self, rest: str) -> list[str]:
        return self._do_break(rest)

    def _do_break(self, rest: str) -> list[str]:
        if rest.startswith("if "):
            text = " and ".join(part.strip() for part in rest[3:].split(" and "))
            for part in text.split(" and "):
                match = _CONDITION.match(part)
                if match is None or (match[2] and int(match[2]) > 15):
                    hint = "for example: break if A == 5, break if M[0] >= 0x10 and X != 0"
                    raise UsageError("break if", f'"{part}" is no condition', hint)
            self.conditions.append(text)
        elif rest:
            pc = _number(rest, 0, 0)
            if self.insns is not None and pc >= len(self.insns):
                raise UsageError(f"breakpoint {pc}", f"the filter has {len(self.insns)} instructions")
            self.breakpoints.add(pc)
        listed = [f"breakpoint {pc}" for pc in sorted(self.breakpoints)] + [f"break if {text}" for text in self.conditions]
        return listed or ["no breakpoints"]

    def _do_delete(self, rest: str) -> list[str]:
        if not rest:
            self.breakpoints.clear()
        if rest in ("", "if"):
            self.conditions.clear()
        else:
            self.breakpoints.discard(_number(rest, 0, 0))
        return self._do_break("")

    def _do_registers(self, rest: str) -> list[str]:
        state = self._record()[self.at]
        lines = [f"pc  {state.pc}", f"A   {state.a:#010x} {state.a}", f"X   {state.x:#010x} {state.x}"]
        return lines + [f"M[{i}]{'' if i > 9 else ' '} {value:#010x} {value}" for i, value in enumerate(state.m)]

    def _do_packet(self, rest: str) -> list[str]:
        if self.packet is None:
            raise UsageError("", "no packet is selected", "load pcap FILE")
        data = self.packet.data
        read = self.states[self.at].read if self.states else None
        lines = []
        for start in range(0, len(data), 16):
            cells = []
            for offset in range(start, min(start + 16, len(data))):
                inside = read is not None and read[0] <= offset < read[0] + read[1]
                cells.append(f"[{data[offset]:02x}]" if inside else f" {data[offset]:02x} ")
            lines.append(f"{start:6x}  {''.join(cells)}")
        return lines + [
            f"{field.start:6}:{field.size:<5} {field.name} {field.text}".rstrip() for field in fields(data, dlt_of(self.packet.linktype))
        ]

    def _do_verdict(self, rest: str) -> list[str]:
        count = len(self._record()) - 1
        result = self.states[-1].result
        if result is None:
            return [f"packet {self.number}: the program has not returned after {count} instructions"]
        return [f"packet {self.number}: returns {result} ({'accepted' if result else 'rejected'}) after {count} instructions"]

    def _do_model(self, rest: str) -> list[str]:
        if rest == "kernel":
            self.model = "kernel"
        elif rest == "libpcap":
            self.model = "libpcap"
        elif rest:
            raise UsageError("model", f'"{rest}" is neither kernel nor libpcap')
        self.states, self.at = [], 0
        return [f"model {self.model}"]

    def _do_aux(self, rest: str) -> list[str]:
        key, equals, value = rest.partition("=")
        if equals:
            try:
                self.aux[key.strip()] = None if value.strip().upper() == "NONE" else int(value, 0)
            except ValueError:
                raise UsageError("aux", f'"{value}" is not a number') from None
            self.states, self.at = [], 0
        return [f"{key} {'none' if value is None else value}" for key, value in self.aux.items()] or ["no ancillary data: all 0"]


def _number(text: str, default: int, least: int | None) -> int:
    """The number of a command's argument."""
    if not text:
        return default
    try:
        value = int(text.lstrip("l"), 0)
    except ValueError:
        raise UsageError(text, "is not a number") from None
    if least is not None and value < least:
        raise UsageError(text, f"is less than {least}")
    return value

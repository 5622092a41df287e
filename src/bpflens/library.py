"""The verbs of the command as functions: what `bpflens.NAME` is. Each imports what it needs when it is called.

A program may be given as a `Program` or as a target of the command line ("id:12", "x.o#xdp", "pcap:tcp port 80"). Results are the values
that the views print; in a notebook they show as the command would print them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

from bpflens.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.classic.diff import Difference
    from bpflens.classic.explain import Explanation
    from bpflens.classic.machine.captures import Result
    from bpflens.classic.machine.debugger import Session
    from bpflens.classic.machine.interpreter import Model
    from bpflens.classic.packets.generate import Generated
    from bpflens.classic.seccomp.policy.policy import Policy
    from bpflens.decompile.result import Decompiled
    from bpflens.inventory.facts.records import Inventory
    from bpflens.isa.classic.insn import SockFilter
    from bpflens.kernel.features import Finding
    from bpflens.maps.parts import Element
    from bpflens.original.result import Original
    from bpflens.overview import Overview
    from bpflens.program import Program
    from bpflens.snapshot.compare import Change
    from bpflens.snapshot.record import Kept
    from bpflens.snapshot.restore import Restored
    from bpflens.snapshot.restoring.options import RestoreOptions
    from bpflens.snapshot.restoring.plan import Plan
    from bpflens.snapshot.save import Saved, SaveOptions
    from bpflens.targets.open import Options

__all__ = (
    "Text", "asm", "debug", "decompile", "diff", "dis", "doctor", "explain", "export", "ls", "map", "open", "open_all", "original",
    "packets", "record", "restore", "run", "save", "seccomp", "show", "tree", "verify",
)  # fmt: skip


class Text(str):
    """Text for people, which a notebook shows as it is printed."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return _html(self.splitlines())


def open(target: str) -> Program:
    """The one program that `target` names; InputError where it names several: `open_all` gives all of them."""
    programs = open_all(target)
    if len(programs) != 1:
        names = ", ".join(program.name or program.origin.where for program in programs[:6])
        raise InputError(target, f"names {len(programs)} programs ({names}); open_all() gives all")
    return programs[0]


def open_all(target: str, options: Options | None = None) -> list[Program]:
    """Every program that `target` names."""
    from bpflens.targets.open import open_target

    return open_target(target, options)


def dis(program: Program | str, dialect: str | None = None) -> Text:
    """The listing of a program, as `bpflens dis` prints it."""
    from bpflens.program import Isa

    program = _one(program)
    if program.isa is Isa.CLASSIC:
        from bpflens.view.listing.classic import classic_listing

        return Text("".join(classic_listing(program, dialect or "tcpdump")))
    from bpflens.view.listing.bodies import ListingOptions
    from bpflens.view.listing.extended import listing

    return Text("".join(listing(program, ListingOptions(dialect=dialect or "kernel"))))


def asm(text: str, isa: str = "extended") -> Program:
    """The program of a text: extended code as the verifier or llvm-objdump print it, classic code as bpf_asm and tcpdump -d do."""
    from bpflens.program import Isa, Origin, Program

    if isa == "classic":
        from bpflens.isa.classic.asm import assemble as assemble_classic
        from bpflens.isa.classic.insn import encode

        return Program(Isa.CLASSIC, encode(assemble_classic(text)), Origin("asm", "text"))
    from bpflens.isa.extended.asm import assemble

    return Program(Isa.EXTENDED, assemble(text), Origin("asm", "text"))


def explain(program: Program | str, given: Sequence[str] = (), linktype: str | None = None, deadline: float = 10.0) -> Explanation:
    """What a classic filter accepts, in words and as an expression, with the proof."""
    from bpflens.classic import explain as module

    _shown(module.Explanation, _explanation_lines)
    return module.explain(_one(program), given, linktype, deadline)


def diff(a: Program | str, b: Program | str, given: Sequence[str] = (), linktype: str | None = None, values: bool = False) -> Difference:
    """Whether two classic filters accept the same packets, and one on which they differ."""
    from bpflens.classic import diff as module

    _shown(module.Difference, _difference_lines)
    return module.diff(_one(a), _one(b), given, linktype, values=values)


def original(program: Program | str | int, reload: bool = True) -> Original:
    """A loaded program as it was loaded, with the proof. An id, a target, or the image of a dump."""
    from bpflens.original import result
    from bpflens.original.recover import recover

    _shown(result.Original, _original_lines)
    if isinstance(program, str):
        program = open(program)
    if not isinstance(program, int) and program.origin.source == "kernel" and program.id:
        program = program.id
    return recover(program, reload=reload)


def decompile(program: Program | str) -> Decompiled:
    """C that compiles, at the level that each function allows. Of a loaded program its original is decompiled."""
    from bpflens.decompile import result
    from bpflens.decompile.decompile import decompile as decompiled

    _shown(result.Decompiled, lambda made: made.text().splitlines())
    programs = open_all(program) if isinstance(program, str) else [program]
    where = program if isinstance(program, str) else program.origin.where
    return decompiled([_as_loaded(one) for one in programs], where)


def seccomp(*programs: Program | str) -> Policy:
    """The policy of seccomp filters, oldest first; a target may name a whole stack ("pid:812")."""
    from bpflens.classic.seccomp.policy import policy as module

    _shown(module.Policy, _policy_lines)
    stack = [one for program in programs for one in (open_all(program) if isinstance(program, str) else [program])]
    return module.policy([_insns(one) for one in stack])


def packets(program: Program | str, linktype: str | None = None, most: int = 32) -> Generated:
    """Packets that a classic filter accepts and rejects, `most` alternatives at most."""
    from bpflens.classic.packets.generate import generate
    from bpflens.formats.pcap.libpcap import dlt_value

    program = _one(program)
    dlt = dlt_value(linktype or program.origin.linktype or "EN10MB")
    return generate(_insns(program), dlt, _model(program), most)


def run(program: Program | str, capture: str, profile: bool = False) -> Result:
    """A classic filter over a capture file: how many packets it accepts, with `profile` how often each instruction ran."""
    from bpflens.classic.machine.captures import run_capture
    from bpflens.formats.pcap.capture import open_capture

    program = _one(program)
    with open_capture(capture) as packets:
        return run_capture(_insns(program), packets, _model(program), profile=profile)


def debug(program: Program | str, capture: str) -> Session:
    """A debugger of a classic filter on the packets of a capture: `session.execute("step 3")`."""
    from bpflens.classic.machine.debugger import Session
    from bpflens.classic.machine.packet_source import PacketSource

    program = _one(program)
    return Session(_insns(program), PacketSource(capture), _model(program))


def ls(*what: str, deep: bool | None = None) -> Inventory:
    """Every BPF program of this machine and what it is attached to; `what` picks rows as on the command line ("xdp", "dev:eth0")."""
    from bpflens.inventory.facts import records
    from bpflens.inventory.select import Selection
    from bpflens.inventory.walk import collect

    _shown(records.Inventory, _inventory_lines)
    selection = Selection(list(what))
    found = collect(selection.families, deep=deep)
    return found._replace(rows=[row for row in found.rows if selection.matches(row, found)])


def tree(*what: str, deep: bool | None = None) -> Text:
    """Objects, the programs on them, their maps and tail calls, as the command prints them."""
    import time

    from bpflens.inventory.graph import program_tree
    from bpflens.inventory.select import Selection
    from bpflens.inventory.walk import collect
    from bpflens.view.text.tree import text_tree

    selection = Selection(list(what))
    found = collect(selection.families, deep=deep, maps=True)
    rows = [row for row in found.rows if selection.matches(row, found)]
    below, now = program_tree(found.maps.heads).below, time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Text("".join(f"{line}\n" for line in text_tree(found, rows, below, found.maps.holders, lambda _: None, now)))


def show(target: Program | str, attachments: bool = True, elements: int | None = None) -> Overview:
    """All that is known of programs and maps. `elements`: so many of the contents of each map."""
    from bpflens import overview as module
    from bpflens.targets.open import open_with_maps

    _shown(module.Overview, _overview_lines)
    maps, programs = open_with_maps(target) if isinstance(target, str) else ([], [target])
    return module.overview(programs, maps, attachments=attachments, elements=elements)


def doctor() -> list[Finding]:
    """What this user and kernel allow, and what is lost without the rest."""
    from bpflens.kernel.features import findings

    return list(findings())


def save(targets: Sequence[str] | str, path: str, options: SaveOptions | None = None) -> Saved:
    """Write the programs that the targets reach, with their maps, data and attachments, into one file."""
    from bpflens.snapshot.save import save as saved

    return saved([targets] if isinstance(targets, str) else targets, path, options)


def restore(path: str, options: RestoreOptions | None = None, *, apply: bool = False) -> Plan | Restored:
    """The plan that makes the programs, maps and attachments of a snapshot again; with `apply` it is carried out and compared."""
    from bpflens.snapshot.restore import restore_file

    return restore_file(path, options, apply=apply)


def verify(path: str, *, data: bool = True) -> list[Change]:
    """A snapshot beside the running machine: what is the same, changed, missing, new."""
    from bpflens.snapshot.verify import verify_file

    return verify_file(path, data=data)


def export(path: str, map: str) -> list[dict[str, Any]]:
    """The elements of a map of a snapshot, by name or id: `key`, `value`, and the bytes of both."""
    from bpflens.formats.snapshot.archive import Archive
    from bpflens.formats.snapshot.programs import select_maps
    from bpflens.snapshot.export import elements_of

    with Archive(path) as archive:
        found = select_maps(archive, map)
        return [
            {"key": element.key, "value": element.value, "raw_key": element.raw_key, "raw_value": element.raw_value}
            for one in found
            for element in elements_of(archive, one)
        ]


def map(target: str, where: str | None = None, limit: int | None = None) -> list[Element]:
    """The elements of loaded maps ("map:7", "pin:PATH"), decoded by their types; `where`: "key.saddr in 10.0.0.0/8 and value > 100"."""
    from bpflens.maps.conditions import Where
    from bpflens.maps.elements import elements
    from bpflens.targets.open import open_with_maps

    condition = Where(where) if where is not None else None
    return [element for one in open_with_maps(target)[0] for element in elements(one, condition, limit=limit)]


def record(directory: str, seconds: float) -> list[Kept]:
    """Keep what is loaded within `seconds` in a store, as it was loaded; root. `bpflens original --store` finds it there."""
    from bpflens.snapshot.record import record as recorded
    from bpflens.snapshot.record import store_at

    return list(recorded(store_at(directory), seconds))


# --- what the verbs share ---


def _one(program: Program | str) -> Program:
    return open(program) if isinstance(program, str) else program


def _insns(program: Program) -> tuple[SockFilter, ...]:
    from bpflens.isa.classic.insn import decode
    from bpflens.program import Isa

    if program.isa is not Isa.CLASSIC:
        raise InputError(program.origin.where, "is an extended (eBPF) program; a classic one is wanted")
    return tuple(decode(program.code))


def _model(program: Program) -> Model:
    """The machine that runs a filter: libpcap's for its own expressions, else the kernel's."""
    return "libpcap" if program.origin.source == "pcap" else "kernel"


def _as_loaded(program: Program) -> Program:
    if program.origin.source != "kernel" or not program.id:
        return program
    from bpflens.original.to_program import to_program

    return to_program(original(program.id, reload=False))


# --- in a notebook ---


def _shown(result: type[Any], lines: Callable[[Any], Iterable[str]]) -> None:
    """Results of this class show as text in notebooks. The classes are below the views and do not know them."""
    if not hasattr(result, "_repr_html_"):
        result._repr_html_ = lambda self: _html(lines(self))


def _html(lines: Iterable[str]) -> str:
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def _explanation_lines(result: Explanation) -> Iterator[str]:
    from bpflens.view.text.explain import explanation_text

    return explanation_text(result)


def _difference_lines(result: Difference) -> Iterator[str]:
    from bpflens.view.text.explain import difference_text

    return difference_text(result)


def _policy_lines(result: Policy) -> Iterator[str]:
    from bpflens.view.text.seccomp import policy_text

    return policy_text(result)


def _overview_lines(result: Overview) -> Iterator[str]:
    from bpflens.view.text.show import overview_lines

    return overview_lines(result)


def _original_lines(result: Original) -> Iterator[str]:
    from bpflens.original.to_program import notes_of, to_program
    from bpflens.view.text.original import text

    program = to_program(result)
    return iter("".join(text(result, program, "kernel", False, notes=notes_of(result, program))).splitlines())


def _inventory_lines(result: Inventory) -> Iterator[str]:
    import time

    from bpflens.view.text.inventory import table

    return table(result, result.rows, lambda _: None, time.clock_gettime_ns(time.CLOCK_BOOTTIME))

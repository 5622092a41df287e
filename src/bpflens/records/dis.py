"""The records of `bpflens --json dis`: one per instruction, schema "dis/1".

    {"schema": "dis/1", "program": "x.o#xdp", "pc": 4, "bytes": "1811...", "text": "r1 = 0x0", "notes": ["map counters"], ...}

The first line of a program has "about": what else is known of it, so that the lines are read back whole (records/program.py). A slot that
refers to something has "refers", one whose call is named by the kernel has "symbol".
"""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.program import Isa, Program
from bpflens.records.program import about_record, reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.analysis.slot_notes import Further, Prototypes
    from bpflens.records.schemas import Schema

__all__ = ("records", "schemas")


def records(
    program: Program, start: int, stop: int | None, dialect: str, source: bool = False, further: Further | None = None,
    kfuncs: Prototypes | None = None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Records of the slots from `start` to before `stop`. `notes` are what text listings say beside the line, prototypes included, and
    what is `further` known of a slot. `kfuncs`: their prototypes by BTF id.
    """
    end = program.insn_count if stop is None else min(stop, program.insn_count)
    lines = {line.off_insns: line for line in program.lines} if source else {}
    functions = {function.start: function.name for function in program.functions}
    relocations = {relocation.off_insns: relocation for relocation in program.relocations}
    classic = program.isa is Isa.CLASSIC
    found = _classic(program, start, end, dialect) if classic else _extended(program, start, end, dialect, further or {}, kfuncs or {})
    for number, record in enumerate(found):
        pc = record["pc"]
        if number == 0:
            record["about"] = about_record(program)
        if pc in relocations:
            record["refers"] = reference(relocations[pc])
        if pc in program.symbols:
            record["symbol"] = program.symbols[pc]
        if pc in functions:
            record["function"] = functions[pc]
        if pc in lines:
            line = lines[pc]
            record["source"] = {"file": line.file, "line": line.line, "col": line.col, "text": line.text}
        yield record


def _record(program: Program, pc: int, code: bytes, text: str, notes: list[str]) -> dict[str, Any]:
    return {"schema": "dis/1", "program": program.origin.where, "pc": pc, "bytes": code.hex(), "text": text, "notes": notes}


def _classic(program: Program, start: int, end: int, dialect: str) -> Iterator[dict[str, Any]]:
    from bpflens.analysis.classic_notes import slot_notes
    from bpflens.isa.classic.insn import decode
    from bpflens.isa.classic.text import format_insn

    insns = decode(program.code)
    said = slot_notes(program, insns)
    for pc in range(start, end):
        text = format_insn(insns[pc], pc, dialect, len(insns))
        text = text.partition(") ")[2] if dialect == "tcpdump" else text
        code = program.code[pc * 8 : pc * 8 + 8]
        yield _record(program, pc, code, " ".join(text.split()), said.get(pc, []))


def _extended(
    program: Program, start: int, end: int, dialect: str, further: Further, kfuncs: Prototypes
) -> Iterator[dict[str, Any]]:
    from bpflens.analysis.slot_notes import slot_notes
    from bpflens.isa.extended.insn import words
    from bpflens.isa.extended.table import explain_unknown
    from bpflens.isa.extended.text import format_word, is_pair, with_name

    code = words(program.code)
    said = slot_notes(program, prototypes=True, further=further, kfuncs=kfuncs)
    map_by = "id" if program.xlated else "fd"
    pc = start
    if 0 < pc < len(code) and is_pair(code[pc - 1], code[pc]):
        pc += 1
    while pc < end:
        following = code[pc + 1] if pc + 1 < len(code) else None
        slots = 2 if is_pair(code[pc], following) else 1
        text = with_name(format_word(code[pc], following, dialect, map_by), program.symbols.get(pc, ""))
        notes = list(said.get(pc, []))
        if text.startswith(".quad"):
            notes.append(explain_unknown(code[pc]) if code[pc] & 0xFF != 0x18 else "ld_imm64 without its second half")
        yield _record(program, pc, program.code[pc * 8 : (pc + slots) * 8], text, notes)
        pc += slots


def schemas() -> dict[str, Schema]:
    """What stands in the lines."""
    from bpflens.records.program import about_schema, reference_schema
    from bpflens.records.schemas import INTEGER, TEXT, line, listing, record

    source = record({"file": TEXT, "line": INTEGER, "col": INTEGER, "text": TEXT})
    keys = {"program": TEXT, "pc": INTEGER, "bytes": TEXT, "text": TEXT, "notes": listing(TEXT)}
    further = {"function": TEXT, "source": source, "about": about_schema(), "refers": reference_schema(), "symbol": TEXT}
    return {"dis/1": line("dis/1", "An instruction of a program.", keys, further)}

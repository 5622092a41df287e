"""`explain` of an extended program: its original, what it does, and, where it is loaded, what it hangs on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.cli.settings import Settings
from bpflens.errors import BpflensError, InputError
from bpflens.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bpflens.analysis.refused_load import RefusedLoad
    from bpflens.decompile.summary.check.check import Checked
    from bpflens.decompile.summary.summary import Summary
    from bpflens.decompile.unit import Unit
    from bpflens.inventory.around import Surroundings

__all__ = ("explain_extended",)

UNCHECKED = "Derived from the code by fixed rules; the program was not run (explain --check runs it)."


def explain_extended(
    programs: Sequence[Program], args: argparse.Namespace, settings: Settings, wrong: list[str], part: str
) -> Iterator[str]:
    """The lines to print about the extended programs of a target: one answer for each that the kernel would call, or for the function or
    section `part`. What runs contradict is added to `wrong`.
    """
    import json

    from bpflens.decompile.summary.check.check import Grade
    from bpflens.decompile.summary.contents import with_contents
    from bpflens.decompile.summary.country import LARGE, country, tail_calls
    from bpflens.decompile.summary.hanging import hanging
    from bpflens.decompile.summary.place import place_at
    from bpflens.decompile.summary.summary import summarise_function
    from bpflens.decompile.unit import make_unit
    from bpflens.records.summary import summary_record
    from bpflens.view.text.summary import checks_text, place_lines, summary_lines

    for program in programs:
        if program.origin.source == "verifier-log":
            yield from _refusal(program, settings)
    programs = [program for program in programs if program.origin.source != "verifier-log" or not _refused(program)]
    loaded = [program for program in programs if program.xlated and program.id is not None]
    groups = [[program] for program in loaded] + [[program for program in programs if program not in loaded]]
    first = True
    for group in filter(None, groups):
        originals = [_original(program) for program in group]
        unit = make_unit([program for program, _ in originals], group[0].origin.where)
        found, proof = _surroundings(group[0]), originals[0][1]
        around = hanging(found, group[0].id) if found is not None and group[0].id is not None else []
        for name in _chosen(unit, part):
            if args.at is not None:
                yield from place_lines(place_at(unit, name, args.at), color=settings.color)
                continue
            summary = summarise_function(unit, name)
            checks = _checks(summary, unit) if args.check else None
            if found is not None:
                summary = with_contents(summary, unit, {id for id, users in found.map_users.items() if len(users) > 1})
            overview = [*(country(unit, summary) if args.map or summary.insn_count > LARGE else ()), *tail_calls(unit, summary)]
            if checks is not None:
                proof = checks_text(checks, proof)
                wrong += [f"{name}: {mark.reason}" for mark in checks.marks if mark.grade is Grade.CONTRADICTED]
            if settings.json:
                yield json.dumps(summary_record(summary, around, proof, checks, overview))
                continue
            if not first:
                yield ""
            first = False
            yield from summary_lines(
                summary, [*around, *(each.text for each in overview)], proof, checks, all=args.all, why=args.why, color=settings.color
            )


def _chosen(unit: Unit, part: str) -> list[str]:
    """The functions to explain: those that `part` names (a function, or a section's entries), else all that the kernel calls."""
    from bpflens.decompile.summary.summary import entries_of

    if not part:
        return entries_of(unit)
    named = [code.name for code in unit.codes.values() if part in (code.name, code.original_name)]
    named = named or [code.name for code in unit.codes.values() if code.role == "entry" and part == code.program.declared.section]
    if not named:
        raise InputError(unit.where, f"has no function and no section named {part}", f"there are: {', '.join(list(unit.codes)[:12])}")
    return named


def _checks(summary: Summary, unit: Unit) -> Checked:
    """The sentences held against runs."""
    from bpflens.decompile.summary.check.check import checked, not_checked
    from bpflens.execute.subject import from_program, subject_of
    from bpflens.targets.open import read_input

    code = unit.codes[summary.name]
    path = code.program.origin.where.rpartition("#")[0]
    try:
        if code.program.origin.source == "elf" and path and "@" not in path:
            subject = subject_of(read_input(path), path, code.original_name)
        else:
            subject = from_program(code.program)
    except BpflensError as error:
        return not_checked(summary, f"the program can't be run: {error.reason}")
    return checked(summary, unit, subject)


def _refused(program: Program) -> RefusedLoad | None:
    from bpflens.analysis.refused_load import explain_refusal
    from bpflens.formats.dumps.listings.verifier_log import parse_log

    return explain_refusal(parse_log(program.origin.line or ""))


def _refusal(program: Program, settings: Settings) -> Iterator[str]:
    """Why the verifier refused the program of a log; nothing where it did not."""
    refused = _refused(program)
    if refused is None:
        return
    if settings.json:
        import json

        from bpflens.records.refusal import refusal_record

        yield json.dumps(refusal_record(refused, program.origin.where))
        return
    from bpflens.view.text.refusal import refusal_lines

    yield from refusal_lines(refused, program.name, settings.color)


def _original(program: Program) -> tuple[Program, str]:
    """The program as it was loaded, and what the answer rests on."""
    if not program.xlated or program.id is None:
        return program, UNCHECKED
    from bpflens.original.recover import recover
    from bpflens.original.to_program import to_program

    original = recover(program.id, reload=False)
    return to_program(original), f"{UNCHECKED} Instructions: {original.grade}."


def _surroundings(program: Program) -> Surroundings | None:
    """What is around a loaded program and its maps."""
    if program.id is None:
        return None
    from bpflens.inventory.around import surroundings

    return surroundings({program.id}, {map.id for map in program.maps if map.id is not None}, attachments=True, deep=False)

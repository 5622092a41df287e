"""The C checked: compiled with clang, loaded beside the original, run on the same inputs, proved equal where that goes; and mended.

    checked(unit, originals)  ──►  the C file, each function at the highest level that stands the check, with its badge

What clang or the verifier refuse, or what a run shows to differ, goes down the ladder: the variants of structured C that the message calls
for, then the other variants, one statement per instruction, assembly. A badge says what was done, and nothing more: `proved` (for all
inputs, by terms, and runs that agree), `tested` (so many inputs, so much of the code covered), `loads`, `compiles`, `unchecked`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bpflens.decompile.decompile import Attempt, decompile_unit
from bpflens.decompile.passes import Options
from bpflens.decompile.result import Badge, Decompiled, DecompiledFunction, Level
from bpflens.decompile.unit import Unit
from bpflens.errors import BpflensError
from bpflens.execute.result import Comparison, Verdict
from bpflens.execute.subject import Subject
from bpflens.program import Program

__all__ = ("checked",)

INPUTS = 2000
_ROUNDS = 12
_PLAIN = Attempt(Level.STRUCTURED, Options())
_VARIANTS = (
    _PLAIN,
    Attempt(Level.STRUCTURED, Options(index_barrier=True)),
    Attempt(Level.STRUCTURED, Options(ctx_macro=True)),
    Attempt(Level.STRUCTURED, Options(inline=False)),
    Attempt(Level.STRUCTURED, Options(ctx_macro=True, index_barrier=True, inline=False)),
    Attempt(Level.STRUCTURED, Options(ctx_macro=True, promote=False)),
    Attempt(Level.INSTRUCTIONS, Options()),
    Attempt(Level.ASSEMBLY, Options()),
)
# what the verifier says -> the variant that mends it (a study over a thousand functions)
_REMEDIES = (
    (re.compile(r"dereference of modified ctx|invalid size of register spill|pointer comparison|pkt_end|outside of the packet"), 2),
    (re.compile(r"unbounded|max value is outside|min value|math between|pointer arithmetic"), 1),
    (re.compile(r"too (many|large|complex)|processed 1000001"), 3),
)


@dataclass(slots=True)
class _State:
    """Where each function is on the ladder, and why; `badges` of entries."""

    unit: Unit
    tried: dict[str, list[int]] = field(default_factory=dict)
    why: dict[str, list[str]] = field(default_factory=dict)
    badges: dict[str, tuple[Badge, str]] = field(default_factory=dict)

    def attempts(self) -> dict[str, Attempt]:
        return {name: _VARIANTS[tried[-1]] for name, tried in self.tried.items()}

    def lower(self, name: str, reason: str, wanted: int | None = None) -> bool:
        """The next attempt of a function; whether there is one."""
        tried = self.tried.setdefault(name, [0])
        if wanted is not None and wanted not in tried and tried[-1] < 6:
            following = wanted
        else:
            following = next((n for n in range(len(_VARIANTS)) if n not in tried and (n > tried[-1] or (n < 6 and tried[-1] < 6))), -1)
        if following < 0:
            return False
        self.why.setdefault(name, []).append(f"{_named(tried[-1])}: {reason}")
        tried.append(following)
        return True


def _named(variant: int) -> str:
    attempt = _VARIANTS[variant]
    on = [name for name in ("ctx_macro", "index_barrier") if getattr(attempt.options, name)]
    off = [f"no {name}" for name in ("inline", "promote") if not getattr(attempt.options, name)]
    return " ".join([str(attempt.level), *on, *off])


def checked(
    unit: Unit, originals: Mapping[str, Subject], names: Sequence[str] = (), *, inputs: int = INPUTS, prove: bool = True,
    clang: Sequence[str] | None = None, style: str = "kernel",
) -> Decompiled:  # fmt: skip
    """Decompile and check. `originals`: the programs as they are loaded, by the name that the source gives their function."""
    compiler = list(clang) if clang is not None else [found] if (found := shutil.which("clang")) else None
    if compiler is None:
        return _with_badges(decompile_unit(unit, names=names, style=style), {}, "no clang here")
    state = _State(unit)
    with tempfile.TemporaryDirectory(prefix="bpflens-") as directory:
        made = decompile_unit(unit, names=names, style=style)
        for _ in range(_ROUNDS):
            made = decompile_unit(unit, names=names, attempts=state.attempts(), style=style)
            errors = _compile(made, compiler, Path(directory))
            if errors is None:
                if not _judge(made, state, originals, Path(directory) / "x.o", inputs, prove):
                    break
            elif not _lower_for(errors, made, state):
                return _with_badges(made, {}, f"clang refuses it: {errors[0][1]}")
        else:
            made = decompile_unit(unit, names=names, attempts=state.attempts(), style=style)
    return _finished(made, state, " ".join(Path(part).name for part in compiler))


# --- clang ---


def _compile(made: Decompiled, compiler: Sequence[str], directory: Path) -> list[tuple[int, str]] | None:
    """The errors of clang, (line, message); None where it accepts the file."""
    source = directory / "x.c"
    source.write_text(made.text())
    command = [*compiler, "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(directory / "x.o")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [(0, str(error))]
    if done.returncode == 0:
        return None
    found = re.findall(r"x\.c:(\d+):\d+: (?:fatal )?error: (.*)", done.stderr)
    return [(int(line), message) for line, message in found] or [(0, (done.stderr.strip().splitlines() or ["no reason given"])[0])]


def _lower_for(errors: Sequence[tuple[int, str]], made: Decompiled, state: _State) -> bool:
    """Lower the functions that the errors are in; all where they are in none."""
    spans: list[tuple[int, int, str]] = []
    line = len(made.before)
    for function in made.functions:
        line += 1
        spans.append((line + 1, line + len(function.lines), function.name))
        line += len(function.lines)
    hit = {name: message for number, message in errors for first, last, name in spans if first <= number <= last}
    named = {f.name: message for _, message in errors for f in made.functions if re.search(rf"\b{re.escape(f.name)}\b", message)}
    if not hit:
        hit = named or {function.name: errors[0][1] for function in made.functions}
    lowered = [state.lower(name, f"clang: {message}") for name, message in hit.items()]
    return any(lowered)


# --- the kernel ---


def _judge(
    made: Decompiled, state: _State, originals: Mapping[str, Subject], path: Path, inputs: int, prove: bool
) -> bool:
    """Give each entry its badge; True where something was lowered, so that another round is due."""
    from bpflens.execute.subject import subjects

    candidates = subjects(path.read_bytes(), made.where)
    again = False
    for function in made.functions:
        if function.role != "entry":
            continue
        code = state.unit.codes[function.name]
        original, candidate = originals.get(code.original_name), candidates.get(function.name)
        if original is None or candidate is None:
            what = "the original cannot be linked here" if original is None else "the C cannot be linked here"
            state.badges[function.name] = Badge.COMPILES, what
            continue
        if not original.expected_attach_type and original.prog_type == candidate.prog_type:  # the kernel does not tell it of a loaded one
            original = replace(original, expected_attach_type=candidate.expected_attach_type)
        badge, reason, refused = _entry(original, candidate, state, inputs, function.name)
        if refused and _lower_entry(state, made, function.name, refused):
            again = True
            continue
        if badge in (Badge.TESTED, Badge.TESTED_IN_PART) and prove:
            proof = _prove(state.unit, function, path, made.where)
            if proof:
                badge, reason = Badge.PROVED, f"{proof}; {reason}"
        state.badges[function.name] = badge, reason
    return again


def _entry(original: Subject, candidate: Subject, state: _State, inputs: int, name: str) -> tuple[Badge, str, str]:
    """(badge, reason, why the candidate is refused or "")."""
    from bpflens.execute.kernel_engine import refusal

    try:
        why = refusal(original)
        if why is not None:
            return Badge.COMPILES, f"the kernel does not load the original here: {why}", ""
        refused = refusal(candidate)
    except BpflensError as error:
        return Badge.COMPILES, f"nothing can be loaded here: {error}", ""
    if refused is not None:
        return Badge.COMPILES, f"the kernel does not load it: {refused}", refused
    if not inputs:
        return Badge.LOADS, "not run", ""
    known = state.badges.get(name)
    if known is not None and known[0] in (Badge.TESTED, Badge.TESTED_IN_PART, Badge.PROVED, Badge.LOADS) and not state.tried.get(name):
        return known[0], known[1], ""
    from bpflens.execute.oracle.oracle import compare

    result = compare(original, candidate, inputs=inputs)
    if result.verdict is Verdict.DIFFERENT:
        return Badge.LOADS, f"differs from the original: {result.reason}", f"a run differs: {result.reason}"
    if result.verdict is Verdict.EQUAL:
        whole = result.coverage is not None and result.coverage.whole
        return Badge.TESTED if whole else Badge.TESTED_IN_PART, _tested(result), ""
    return Badge.LOADS, f"not compared: {result.reason}", ""


def _tested(result: Comparison) -> str:
    words = [f"{result.inputs} inputs agree"]
    words.append(str(result.coverage) if result.coverage is not None else "blocks not counted")
    words.append(result.engine)
    if result.left_out:
        words.append(f"not compared: {', '.join(result.left_out)}")
    return ", ".join(words)


def _lower_entry(state: _State, made: Decompiled, entry: str, refused: str) -> bool:
    """Lower an entry and what it calls, with the variant that the message calls for."""
    wanted = next((variant for pattern, variant in _REMEDIES if pattern.search(refused)), None)
    reached = _reached(state.unit, entry)
    lowered = [state.lower(f.name, refused, wanted) for f in made.functions if f.name in reached]
    return any(lowered)


def _reached(unit: Unit, entry: str) -> set[str]:
    found: set[str] = set()
    pending = [entry]
    while pending:
        name = pending.pop()
        if name not in found and name in unit.codes:
            found.add(name)
            pending += unit.callees(unit.codes[name])
    return found


def _prove(unit: Unit, function: DecompiledFunction, path: Path, where: str) -> str:
    """How the entry was proved equal for all inputs; "" where it was not."""
    from bpflens.execute.symbolic.equal import prove_equal
    from bpflens.execute.symbolic.result import ASSUMPTIONS
    from bpflens.formats.elf.programs import read_object

    code = unit.codes[function.name]
    ours = list({id(c.program): c.program for c in unit.codes.values()}.values())
    theirs = read_object(path.read_bytes(), where)
    other = _holding(theirs, function.name)
    if other is None:
        return ""
    try:
        result = prove_equal(
            code.program, replace(other, type=code.program.type), others_a=[p for p in ours if p is not code.program],
            others_b=[p for p in theirs if p is not other], entry_a=code.original_name, entry_b=function.name,
        )  # fmt: skip
    except BpflensError:
        return ""
    if not result.proved:
        return ""
    given = "".join(f", with {words}" for key, words in _GIVEN.items() if ASSUMPTIONS[key] in result.assumptions)
    return f"equal for all inputs{given} ({result.method}, {result.checked_by or 'no runs'})"


# conditions of a proof that do not hold by themselves
_GIVEN = {
    "constants": "the read-only data that the file has",
    "garbage": "one value in all bytes of the stack that were never written",
    "answers": "the fields, types and sizes of the file's own types",
    "places": "fields of one offset at one offset",
}


def _holding(programs: Sequence[Program], name: str) -> Program | None:
    return next((p for p in programs if any(f.name == name for f in p.functions)), None)


# --- badges ---

_ORDER = tuple(Badge)  # the strongest first


def _finished(made: Decompiled, state: _State, compiler: str) -> Decompiled:
    """The file with the badge of each function: of a callee the weakest of the entries that reach it."""
    badges: dict[str, tuple[Badge, str]] = dict(state.badges)
    for entry, (badge, reason) in state.badges.items():
        for name in _reached(state.unit, entry) - {entry}:
            known = badges.get(name)
            if known is None or _ORDER.index(badge) > _ORDER.index(known[0]):
                badges[name] = badge, f"as part of {entry}: {reason}"
    for function in made.functions:
        badges.setdefault(function.name, (Badge.COMPILES, f"{compiler} accepts it"))
    functions = tuple(replace(f, refused=(*state.why.get(f.name, ()), *f.refused)) for f in made.functions)
    return _with_badges(replace(made, functions=functions), badges, "")


def _with_badges(made: Decompiled, badges: Mapping[str, tuple[Badge, str]], otherwise: str) -> Decompiled:
    from bpflens.decompile.decompile import retitled

    functions = []
    for function in made.functions:
        badge, reason = badges.get(function.name, (Badge.UNCHECKED, otherwise))
        functions.append(replace(function, badge=badge, reason=reason))
    return retitled(replace(made, functions=tuple(functions)))

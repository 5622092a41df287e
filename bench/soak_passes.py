"""Would a decompiler that is wrong be noticed? Passes with one mistake each, judged as `decompile --check` judges (root; no attaching).

    bench/soak_passes.py [--mutants N] [--inputs N] [--seed N] [OBJECT…]

Each mutant is one mistake after one pass on one program: a condition negated, a store dropped, a number off by one, a wrong width, a wrong
sign, operands exchanged, branches exchanged, a bit too few known or looked at, a cast that is not written. Only mistakes that change the C
count, and only C that clang and the verifier take: what they refuse is no danger. By default the C programs of the tests.

Printed for each pass: how many mutants
  caught      a run differs
  equal       proved equal, and no run differs: the mistake changed nothing
  in part     no run differs, but the badge would only be "tested in part"
  MISSED      the badge would be "tested": printed with its program
  FALSE       a run differs and it was "proved": printed
The exit code is 1 where anything was missed or false.
"""

from __future__ import annotations

import argparse
import collections
import difflib
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import objects
from bpflens.decompile import check, ir, passes, tree
from bpflens.decompile.c_expression import names as writer
from bpflens.decompile.decompile import decompile_unit
from bpflens.decompile.function import Function
from bpflens.decompile.result import Level
from bpflens.decompile.unit import Unit, make_unit
from bpflens.errors import BpflensError
from bpflens.execute.kernel_engine import refusal
from bpflens.execute.oracle.oracle import compare
from bpflens.execute.result import Verdict
from bpflens.execute.subject import subjects
from bpflens.targets.open import open_target
from execute import c_programs

Rnd = random.Random
_SIZES = (1, 2, 4, 8)
_TURNED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_NEXT = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


# --- mistakes in an expression ---


def _mistakes(node: ir.Expr, rnd: Rnd) -> list[ir.Expr]:
    """What a wrong pass could have made of it."""
    if isinstance(node, ir.Const):
        return [ir.Const(node.value + 1 & ir.MASK64), ir.Const(node.value - 1 & ir.MASK64)]
    if isinstance(node, ir.Compare):
        out: list[ir.Expr] = [replace(node, width=96 - node.width)]
        out += [replace(node, op=table[node.op]) for table in (_TURNED, _NEXT) if node.op in table]
        return out + ([replace(node, signed=not node.signed)] if node.op in _NEXT else [])
    if isinstance(node, ir.Binary):
        out = [replace(node, width=96 - node.width), replace(node, op=rnd.choice([o for o in "+-&|^" if o != node.op]))]
        return out + ([replace(node, left=node.right, right=node.left)] if node.op in ("-", "<<", ">>", "/", "%") else [])
    if isinstance(node, (ir.Zext, ir.Sext)):
        other = ir.Sext if isinstance(node, ir.Zext) else ir.Zext
        return [node.operand, other(node.bits, node.operand), *(replace(node, bits=b) for b in (8, 16, 32) if b != node.bits)]
    if isinstance(node, ir.Swap):
        return [node.operand]
    if isinstance(node, ir.Load):
        return [replace(node, size=rnd.choice([s for s in _SIZES if s != node.size])), replace(node, signed=not node.signed)]
    if isinstance(node, (ir.And, ir.Or)):
        other_kind = ir.Or if isinstance(node, ir.And) else ir.And
        return [node.left, node.right, other_kind(node.left, node.right)]
    if isinstance(node, ir.Not):
        return [node.operand]
    return []


def _nodes(expr: ir.Expr) -> Iterator[ir.Expr]:
    yield expr
    for child in ir.children(expr):
        yield from _nodes(child)


def wrong(expr: ir.Expr, rnd: Rnd) -> ir.Expr:
    """The expression with one mistake, itself where there is no place for one."""
    places = [node for node in _nodes(expr) if _mistakes(node, rnd)]
    if not places:
        return expr
    chosen = rnd.choice(places)

    def rebuilt(node: ir.Expr) -> ir.Expr:
        if node is chosen:
            return rnd.choice(_mistakes(node, rnd))
        operands = ir.children(node)
        return ir.rebuild(node, tuple(rebuilt(operand) for operand in operands)) if operands else node

    return rebuilt(expr)


# --- mistakes in a graph ---


def wrong_graph(function: Function, rnd: Rnd) -> None:
    """One mistake in a function between two passes."""
    block = rnd.choice(list(function.blocks.values()))
    how = rnd.random()
    if block.condition is not None and len(block.successors) == 2 and how < 0.35:
        if how < 0.1:
            block.successors.reverse()
        else:
            block.condition = wrong(block.condition, rnd)
    elif block.statements:
        index = rnd.randrange(len(block.statements))
        made = _wrong_statement(block.statements[index], rnd, function)
        block.statements[index : index + 1] = made
    elif block.result is not None:
        block.result = wrong(block.result, rnd)


def _wrong_statement(s: ir.Statement, rnd: Rnd, function: Function) -> list[ir.Statement]:
    if isinstance(s, ir.Store):
        how = rnd.randrange(4)
        if how == 0:
            return []
        if how == 1:
            return [replace(s, size=rnd.choice([n for n in _SIZES if n != s.size]))]
        return [replace(s, value=wrong(s.value, rnd)) if how == 2 else replace(s, address=wrong(s.address, rnd))]
    if isinstance(s, ir.Assign):
        if rnd.random() < 0.15:
            return []
        if isinstance(s.value, ir.Var) and s.value.id < 10:
            return [replace(s, value=ir.Var(rnd.choice([n for n in range(10) if n != s.value.id])))]
        return [replace(s, value=wrong(s.value, rnd))]
    if isinstance(s, ir.Atomic):
        return [replace(s, value=wrong(s.value, rnd), op="|" if s.op == "+" else s.op)]
    if isinstance(s, ir.Call) and len(s.args) > 1:
        at = rnd.randrange(len(s.args))
        return [replace(s, args=(*s.args[:at], wrong(s.args[at], rnd), *s.args[at + 1 :]))]
    return [s]


# --- mistakes in a tree ---


def wrong_tree(nodes: tree.Tree, rnd: Rnd) -> tree.Tree:
    """One mistake in the structured form: branches exchanged, a statement, break or continue lost, loops turned."""
    places = [node for node in tree.walk(nodes) if not isinstance(node, (tree.Label, tree.Return))]
    if not places:
        return nodes
    chosen = rnd.choice(places)

    def change(node: tree.Node) -> tree.Tree:
        if isinstance(node, tree.If):
            how = rnd.random()
            if how < 0.4:
                return (replace(node, then=node.other, other=node.then),)
            return (replace(node, condition=wrong(node.condition, rnd)),) if how < 0.8 else (*node.then, *node.other)
        if isinstance(node, tree.While):
            return (tree.DoWhile(node.condition, node.body, node.slots),) if rnd.random() < 0.5 else (
                replace(node, condition=wrong(node.condition, rnd)),)
        if isinstance(node, tree.Break):
            return (tree.Continue(node.slots),) if rnd.random() < 0.5 else ()
        if isinstance(node, tree.Switch) and len(node.cases) > 1:
            a, b, *rest = node.cases
            return (replace(node, cases=(replace(a, body=b.body), replace(b, body=a.body), *rest)),)
        return ()

    def rebuilt(inside: tree.Tree) -> tree.Tree:
        out: list[tree.Node] = []
        for node in inside:
            if node is chosen:
                out += change(node)
            elif isinstance(node, tree.If):
                out.append(replace(node, then=rebuilt(node.then), other=rebuilt(node.other)))
            elif isinstance(node, (tree.ForEver, tree.While, tree.DoWhile, tree.For)):
                out.append(replace(node, body=rebuilt(node.body)))
            elif isinstance(node, tree.Switch):
                out.append(replace(node, cases=tuple(replace(case, body=rebuilt(case.body)) for case in node.cases)))
            else:
                out.append(node)
        return tuple(out)

    return rebuilt(nodes)


# --- where mistakes are made: after a pass, or in the writer ---


def _after(index: int, change: Callable[[Any, Rnd], Any], times: int = 1) -> Callable[[Callable[..., Any], Rnd], Callable[..., Any]]:
    """A pass that makes one mistake in its argument `index` when it is done; -1: in its result. `times`: in how many of its calls."""

    def wrapped(real: Callable[..., Any], rnd: Rnd) -> Callable[..., Any]:
        left = times

        def run(*args: Any, **more: Any) -> Any:
            nonlocal left
            result = real(*args, **more)
            if not left:
                return result
            left -= 1
            if index >= 0:
                change(args[index], rnd)
                return result
            made = change(result, rnd)
            return result if made is None else made

        return run

    return wrapped


def _fewer_bits(bits: dict[int, int], rnd: Rnd) -> None:
    """Fewer bits of a variable than there are."""
    webs = [web for web, count in bits.items() if count > 1]
    if webs:
        web = rnd.choice(webs)
        bits[web] = rnd.choice([n for n in (1, 8, 16, 32, bits[web] - 1) if n < bits[web]])


def _other_objects(frame: Any, rnd: Rnd) -> None:
    """A scalar of the frame that is another one."""
    if len(frame.scalars) > 1:
        a, b = rnd.sample(sorted(frame.scalars), 2)
        frame.scalars[a] = frame.scalars[b]


def _no_cast(real: Callable[..., Any], rnd: Rnd) -> Callable[..., Any]:
    """A writer that leaves out one cast."""
    left = rnd.randrange(3)

    def as_type(self: Any, made: Any, type: Any) -> Any:
        nonlocal left
        if made.type != type and not type.pointer and not made.type.pointer:
            left -= 1
            if left == -1:
                return made._replace(type=type)
        return real(self, made, type)

    return as_type


POINTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "lift": (passes, "lift", _after(-1, wrong_graph)),
    "lay_out": (passes, "lay_out", _after(-1, _other_objects)),
    "place_in_frame": (passes, "place_in_frame", _after(0, wrong_graph)),
    "duplicate_returns": (passes, "duplicate_returns", _after(0, wrong_graph)),
    "find_webs": (passes, "find_webs", _after(0, wrong_graph)),
    "fold": (passes, "fold", _after(0, wrong_graph)),
    "known bits": (passes, "fold", _after(-1, lambda widths, rnd: _fewer_bits(widths.known, rnd), times=2)),
    "reduce_graph": (passes, "reduce_graph", _after(0, wrong_graph)),
    "duplicate_tails": (passes, "duplicate_tails", _after(0, wrong_graph)),
    "demanded_bits": (passes, "demanded_bits", _after(-1, _fewer_bits)),
    "shape": (passes, "shape", _after(-1, wrong_tree)),
    "casts": (writer.Names, "as_type", _no_cast),
}


# --- the judges ---


def programs(files: list[str], directory: Path) -> Iterator[tuple[str, Path]]:
    """Objects to decompile."""
    if files:
        yield from ((Path(name).name, Path(name)) for name in files)
        return
    for name in c_programs.PROGRAMS:
        for cpu in ("v2", "v3"):
            if cpu == "v3" or not name.startswith("atomics"):
                path = directory / f"{name.replace(' ', '_')}-{cpu}.o"
                path.write_bytes(objects.compiled(c_programs.source(name), f"-mcpu={cpu}"))
                yield path.stem, path


class Judge:
    """Mutants of the programs of one object."""

    def __init__(self, name: str, path: Path, directory: Path, inputs: int) -> None:
        self.name, self.directory, self.inputs = name, directory, inputs
        self.unit: Unit = make_unit(open_target(str(path)), str(path))
        self.originals = subjects(path.read_bytes(), str(path))
        entries = [code.name for code in self.unit.codes.values() if code.role == "entry"]
        self.entries = [n for n in entries if (s := self.originals.get(self.unit.codes[n].original_name)) and refusal(s) is None]
        self.plain = {entry: decompile_unit(self.unit, names=[entry]).text() for entry in self.entries}

    def judge(self, point: str, seed: int) -> tuple[str, str]:
        """(what became of one mutant, what to print)."""
        rnd = random.Random(seed)
        entry = rnd.choice(self.entries)
        where, attribute, make = POINTS[point]
        real = getattr(where, attribute)
        setattr(where, attribute, make(real, rnd))
        try:
            made = decompile_unit(self.unit, names=[entry])
        except (BpflensError, KeyError, AssertionError, ValueError, AttributeError, IndexError, TypeError, RecursionError) as error:
            return "crashes", f"{type(error).__name__}"
        finally:
            setattr(where, attribute, real)
        text = made.text()
        (function,) = [f for f in made.functions if f.name == entry]
        if text == self.plain[entry] or function.level is not Level.STRUCTURED:
            return "no change", ""
        source, target = self.directory / "m.c", self.directory / "m.o"
        source.write_text(text)
        command = ["clang", "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(target)]
        if subprocess.run(command, capture_output=True).returncode:
            return "refused", ""
        original = self.originals[self.unit.codes[entry].original_name]
        candidate = subjects(target.read_bytes(), "m.o").get(entry)
        if candidate is None or refusal(candidate) is not None:
            return "refused", ""
        result = compare(original, candidate, inputs=self.inputs)
        proof = check._prove(self.unit, function, target, "m.o")
        if result.verdict is Verdict.DIFFERENT:
            return ("FALSE", f"{result.reason}; proved: {proof}\n{self.changed(entry, text)}") if proof else ("caught", "")
        if proof:
            return "equal", ""
        if result.verdict is not Verdict.EQUAL or result.coverage is None or not result.coverage.whole:
            return "in part", str(result.coverage)
        return "MISSED", f"{result.coverage}\n{self.changed(entry, text)}"

    def changed(self, entry: str, text: str) -> str:
        """The lines that the mistake changed."""
        lines = difflib.unified_diff(self.plain[entry].splitlines(), text.splitlines(), lineterm="", n=0)
        return "\n".join(f"    {line}" for line in lines if line[:2] not in ("--", "++", "@@"))


def main() -> int:
    """Judge mutants until there are enough that clang and the kernel take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=240)
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("objects", nargs="*")
    args = parser.parse_args()
    count: collections.Counter[tuple[str, str]] = collections.Counter()
    judged = 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        judges = [Judge(n, path, directory, args.inputs) for n, path in programs(args.objects, directory)]
        judges = [judge for judge in judges if judge.entries]
        rnd = random.Random(args.seed)
        for number in range(40 * args.mutants):
            if judged >= args.mutants:
                break
            point = list(POINTS)[number % len(POINTS)]
            judge = rnd.choice(judges)
            seed = rnd.randrange(1 << 32)
            kind, said = judge.judge(point, seed)
            count[point, kind] += 1
            judged += kind in ("caught", "equal", "in part", "MISSED", "FALSE")
            if kind in ("MISSED", "FALSE", "in part"):
                print(f"{kind}: {judge.name}, {point}, seed {seed}: {said}", flush=True)
    kinds = ("caught", "equal", "in part", "MISSED", "FALSE", "refused", "no change", "crashes")
    print(f"{'pass':20}" + "".join(f"{kind:>10}" for kind in kinds))
    for point in (*POINTS, "all"):
        row = [sum(n for (p, k), n in count.items() if k == kind and point in (p, "all")) for kind in kinds]
        print(f"{point:20}" + "".join(f"{n:10}" for n in row))
    return int(any(kind in ("MISSED", "FALSE") for _, kind in count))


if __name__ == "__main__":
    sys.exit(main())

"""The graph of imports within the package, from the source: at the top, within functions and for types only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ("SOURCE", "circles", "foreign", "graph", "imported_names", "made", "modules")

SOURCE = Path(__file__).resolve().parent.parent / "src"


@cache
def modules() -> dict[str, Path]:
    """Name of each module of the package -> its file; a package by its own name."""
    found = {}
    for path in sorted((SOURCE / "bpflens").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def graph(types: bool = True) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports anywhere; without `types` not those imported for type checkers only."""
    known = modules()
    edges: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in _nodes(tree(path), types):
            if isinstance(node, ast.Import):
                edges[name] |= {alias.name for alias in node.names if alias.name in known}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    edges[name] |= {whole} & known.keys() or {node.module} & known.keys()
        edges[name].discard(name)
    return edges


def _nodes(node: ast.AST, types: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not types and isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _nodes(child, types)


def foreign(name: str) -> set[str]:
    """Everything outside of the package that a module imports anywhere, as it is written ("ctypes", "os.path")."""
    found: set[str] = set()
    for node in ast.walk(tree(modules()[name])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {item for item in found if item.partition(".")[0] != "bpflens"}


def imported_names(name: str) -> set[tuple[str, str]]:
    """(module, name) of everything that a module imports by name from others of the package; modules themselves left out."""
    return {
        (node.module, alias.name)
        for node in ast.walk(tree(modules()[name]))
        if isinstance(node, ast.ImportFrom) and node.module in modules()
        for alias in node.names
        if f"{node.module}.{alias.name}" not in modules()
    }


@cache
def made(name: str) -> frozenset[str]:
    """The names that a module defines or assigns, at its top or under an if or try there."""
    found: set[str] = set()
    pending: list[ast.stmt] = [*tree(modules()[name]).body]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        elif isinstance(node, ast.If | ast.Try):
            pending += [*node.body, *node.orelse]
    return frozenset(found)


def circles() -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    edges = graph()
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return found

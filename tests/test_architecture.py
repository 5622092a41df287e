"""The laws of docs/architecture.md: no circle of imports, none upward, system calls only in kernel/, sizes of files and functions."""

from __future__ import annotations

import ast
import re
import tomllib

import import_graph

ROOT = import_graph.SOURCE.parent
LAYERS = next(
    contract["layers"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if contract["name"] == "layers"
)
# Modules that make system calls, and Python's own doors to them. procfs, kallsyms and capabilities read files and hand on what these say.
WRAPPERS = {"bpflens.kernel.sys.bpf", "bpflens.kernel.sys.netlink", "bpflens.kernel.sys.syscalls"}
DOORS = {"ctypes", "fcntl", "mmap", "resource", "socket"}
# They load libpcap, a library, by ctypes: no system call.
LIBRARIES = {"bpflens.formats.pcap.libpcap", "bpflens.formats.pcap.match"}
KERNEL = ("bpflens.kernel",)


def rank(module: str) -> int | None:
    """The number of a module's layer, from the top; None for the package's own file and for modules without a layer."""
    for number, layer in enumerate(LAYERS):
        for name in layer.split(" | "):
            name = name.strip("()")
            if module == name or module.startswith(f"{name}."):
                return number
    return None


def test_no_circle() -> None:
    """Among all modules, whatever the imports are for and wherever they stand."""
    assert import_graph.circles() == []


def test_every_module_has_a_layer_and_none_imports_upward() -> None:
    """As import-linter checks it, over the whole graph."""
    graph = import_graph.graph()
    free = {"bpflens", "bpflens.__main__"}
    assert {module for module in graph if rank(module) is None} == free
    upward = [
        f"{module} -> {other}"
        for module, others in graph.items()
        for other in others
        if module not in free and other not in free and rank(other) < rank(module)  # type: ignore[operator]
    ]
    assert upward == []


def test_system_calls_only_in_kernel() -> None:
    """Their wrappers are imported below kernel/ alone."""
    graph = import_graph.graph()
    outside = {
        module
        for module in graph
        if not module.startswith(KERNEL)
        and module not in LIBRARIES
        and (graph[module] & WRAPPERS or {name.partition(".")[0] for name in import_graph.foreign(module)} & DOORS)
    }
    assert outside == set()


def test_the_kernel_hands_on_nothing_of_others() -> None:
    """A name of kernel/ is imported from the file that makes it: no wrapper of a system call comes out by a second door."""
    handed_on = {
        f"{module} takes {name} from {other}"
        for module in import_graph.graph()
        if not module.startswith(KERNEL)
        for other, name in import_graph.imported_names(module)
        if other.startswith(KERNEL) and name not in import_graph.made(other)
    }
    assert handed_on == set()


def test_a_view_reads_no_kernel() -> None:
    """They print what they are given; of kernel/ they know the records that they print, for their types only."""
    reading = {
        f"{module} -> {other}"
        for module, others in import_graph.graph(types=False).items()
        if module.startswith(("bpflens.view.", "bpflens.records."))
        for other in others
        if other.startswith(KERNEL)
    }
    assert reading == set()


# Tables, one row a line: the longer the better.
TABLES = {"bpflens.classic.seccomp.syscall_tables", "bpflens.isa.extended.table", "bpflens.isa.extended.uapi", "bpflens.kernel.sys.uapi"}
MAX_LINES, MAX_FUNCTION_LINES = 400, 80
MIN_FILES, MAX_FILES = 5, 15
# One file per verb and one per JSON schema: the list of files is the table.
CATALOGUES = {"cli/verbs", "records"}


def test_sizes() -> None:
    """No file over 400 lines but tables, no function over 80."""
    long: dict[str, int] = {}
    for module, path in import_graph.modules().items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES and module not in TABLES:
            long[module] = lines
        for node in ast.walk(import_graph.tree(path)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES:
                long[f"{module}.{node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    assert long == {}


def test_folders() -> None:
    """5 to 15 files in a folder; fewer in one that has folders, or that docs/architecture.md gives a reason for."""
    excused = set(re.findall(r"^\| `([\w/]+)/` \|", (ROOT / "docs/architecture.md").read_text(), re.M))
    package = import_graph.SOURCE / "bpflens"
    files: dict[str, int] = {}
    for path in import_graph.modules().values():
        folder = str(path.parent.relative_to(package))
        files[folder] = files.get(folder, 0) + (path.stem != "__init__")
    big = {folder: count for folder, count in files.items() if count > MAX_FILES and folder not in CATALOGUES}
    small = {folder for folder, count in files.items() if count < MIN_FILES and not any(f.startswith(f"{folder}/") for f in files)}
    assert big == {}, "divide it by what is in it"
    assert small == excused, "merge it upward, or say in docs/architecture.md why it stands"


# Tests that are not of one folder: they go through the whole program, on the running kernel or in an emulated machine.
WHOLE = {"architectures", "cases", "corpus", "kernels", "live"}


def test_tests_mirror_the_package() -> None:
    """A folder of tests is called as the folder whose files it tests."""
    tests, package = ROOT / "tests", import_graph.SOURCE / "bpflens"
    folders = {str(path.parent.relative_to(tests)) for path in tests.rglob("test_*.py") if path.parent != tests}
    assert {folder for folder in folders if folder.split("/")[0] not in WHOLE and not (package / folder).is_dir()} == set()


def test_the_picture_is_the_contract() -> None:
    """docs/architecture.md draws the layers of pyproject.toml, in their order."""
    drawn = [line.split()[0] for line in (ROOT / "docs/architecture.md").read_text().splitlines() if line.startswith("    bpflens.")]
    contract = [name.strip("()") for layer in LAYERS for name in layer.split(" | ")]
    assert drawn == contract


def test_the_files_that_contributing_names_are_there() -> None:
    """The table of changes leads somewhere."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## To add")[0]
    named = [name for row in re.findall(r"^\|[^|]*\|(.*)\|$", table, re.M)[2:] for name in re.findall(r"`([\w/]+(?:\.py|/))`", row)]
    missing = [name for name in named if not any(ROOT.glob(f"src/bpflens/**/{name}"))]
    assert len(named) > 12 and missing == []

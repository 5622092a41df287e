"""Rules made from type information alone are those that the running kernel shows."""

from __future__ import annotations

import json
import subprocess

import pytest

import needs
from bpflens.cli.main import run
from bpflens.isa.extended.contexts import SOCKET_KINDS, context_struct
from bpflens.kernel.btf import VMLINUX, vmlinux
from bpflens.original.kernels.from_btf import rows_of
from bpflens.original.kernels.probe import learn_context, learn_sockets
from original.load import loaded
from original.matrix import ROWS

pytestmark = pytest.mark.live

# program type, attach type, at least so many of the kernel's own rows
CONTEXTS = (
    (3, 0, 300), (1, 0, 200), (8, 0, 250), (12, 0, 250), (6, 33, 10), (9, 2, 90), (9, 12, 90), (16, 7, 14), (18, 10, 30), (18, 15, 60),
    (21, 39, 40), (23, 18, 20), (25, 22, 14), (30, 36, 50),
)  # fmt: skip


def compare(mine, learnt):
    """Rows that both have; all must be equal."""
    known = {}
    for row in learnt:
        known.setdefault((row.form, row.offset, row.size, row.same), set()).add(row.image)
    common = [row for row in mine if (row.form, row.offset, row.size, row.same) in known]
    wrong = [row for row in common if row.image not in known[row.form, row.offset, row.size, row.same]]
    assert not wrong
    return len(common)


@pytest.mark.parametrize(("prog_type", "attach", "least"), CONTEXTS)
def test_contexts(prog_type, attach, least):
    learnt = learn_context(prog_type, attach)

    assert compare(rows_of(vmlinux(), context_struct(prog_type), prog_type), learnt) >= least


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_sockets(kind):
    learnt = learn_sockets()[kind]

    assert compare(rows_of(vmlinux(), SOCKET_KINDS[kind]), learnt) > 0.9 * len(learnt)


KNOWN = ("prologue for packet writes", "array look-up", "hash look-up", "load into the base register", "signed division", "kfunc")


@pytest.mark.parametrize("name", KNOWN)
def test_a_dump_and_the_kernels_types_are_enough(name, tmp_path, capsys):
    bpftool, dump = needs.tool("bpftool"), tmp_path / "dump"
    with loaded(next(row for row in ROWS if row.name == name)) as program:
        command = [bpftool, "-j", "prog", "dump", "xlated", "id", str(program.id), "opcodes"]
        dump.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)

    code = run(["--json", "original", "--kernel-btf", VMLINUX, "--type", "sched_cls", "--tag", program.tag, str(dump)])

    found = json.loads(capsys.readouterr().out)
    assert (code, found["grade"]) == (0, "exact"), found["reason"]

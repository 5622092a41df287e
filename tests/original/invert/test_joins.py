"""Programs whose pointers come from several places: joins, results of functions; and readings that only loading tells apart."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import needs
from bpflens.analysis.pointer_types import Pointer, join, may_be
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.original import guided
from bpflens.original.image.tag import tags
from bpflens.original.invert import segment
from bpflens.original.recover import recover
from original.libbpf import library, loaded

SOURCE = Path(__file__).parent / "joins.c"
LOADABLE = (18, 16, 14)  # Linux 6.12 and later; 6.1, whose verifier wants more checks; 5.10, without bpf_loop


@pytest.fixture(scope="module", params=("v1", "v3"))
def programs(request, tmp_path_factory):
    """The programs of joins.c, loaded by libbpf."""
    clang = needs.tool("clang")
    if library() is None:
        pytest.skip("needs libbpf")
    path = tmp_path_factory.mktemp("joins") / "joins.o"
    subprocess.run([clang, "-O2", "-g", "-target", "bpf", f"-mcpu={request.param}", "-c", SOURCE, "-o", path], check=True)
    with loaded(path.read_bytes()) as found:
        yield found


@pytest.mark.live
def test_all_come_back(programs):
    grades = {program.name: recover(prog_info_by_fd(program.fd).id).grade for program in programs}

    assert len(grades) in LOADABLE
    assert grades == {name: "equivalent" if name.startswith("dead_") else "exact" for name in grades}


@pytest.mark.live
@pytest.mark.parametrize("name", ("dead_local", "dead_local_tc", "dead_three_ways", "dead_global"))
@pytest.mark.parametrize("taken_for", ("conflict", "map_value"))
def test_wrong_types_are_found_out_by_loading(programs, name, taken_for, monkeypatch):
    """An analysis that takes these pointers for a context: the verifier says where that is wrong."""
    program = next(program for program in programs if program.name == name)
    right = recover(prog_info_by_fd(program.fd).id)
    monkeypatch.setattr(segment, "may_be", lambda pointer, kind: may_be(pointer, kind) or pointer.kind == taken_for)

    original = recover(prog_info_by_fd(program.fd).id)

    assert original.grade == "equivalent", original.reason
    assert original.code == right.code


@pytest.mark.live
def test_unsure_instructions_are_told(programs, monkeypatch):
    program = next(program for program in programs if program.name == "dead_local_tc")
    monkeypatch.setattr(segment, "may_be", lambda pointer, kind: may_be(pointer, kind) or pointer.kind in ("stack", "conflict"))
    monkeypatch.setattr(guided, "MAX_LOADS", 0)

    original = recover(prog_info_by_fd(program.fd).id)

    assert original.grade == "unproven"
    assert original.unsure
    assert f"unsure are the instructions {original.unsure[0]}" in original.reason
    assert not set(tags([insn.word for insn in original.insns])) & {original.image.tag}


def test_a_join_remembers_what_met():
    both = join(Pointer("stack", 0, -8), Pointer("map_value", 3, 0))
    three = join(both, Pointer("ctx", 0, 0))

    assert (may_be(both, "stack"), may_be(both, "map_value"), may_be(both, "ctx")) == (True, True, False)
    assert may_be(three, "ctx") and join(three, both) == three

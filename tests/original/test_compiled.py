"""Programs compiled by clang for several versions of the instruction set come back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import needs
from bpflens.cli.main import run
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.original.find_object import look_up
from bpflens.original.image.tag import blanked
from bpflens.original.recover import recover
from original.libbpf import library, loaded

pytestmark = pytest.mark.live

SOURCE = Path(__file__).parent / "programs.c"
EXPECTED = 13


def words(code):
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]


def cpus():
    """Instruction set versions that the installed clang knows, with optimisation levels."""
    wanted = [("v1", "-O2"), ("v2", "-O2"), ("v3", "-O2"), ("v3", "-O1"), ("v4", "-O2")]
    clang = shutil.which("clang")
    help = subprocess.run([clang, "-target", "bpf", "-mcpu=help"], input="", capture_output=True, text=True).stderr if clang else "v4"
    return [pair for pair in wanted if pair[0] != "v4" or "v4" in help]


@pytest.fixture(scope="module", params=cpus(), ids="".join)
def compiled(request, tmp_path_factory):
    cpu, level = request.param
    clang = needs.tool("clang")
    if library() is None:
        pytest.skip("needs libbpf")
    where = tmp_path_factory.mktemp("compiled") / f"{cpu}{level}.o"
    arch = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    command = [clang, level, "-g", "-target", "bpf", f"-mcpu={cpu}", f"-I/usr/include/{arch}", "-c", str(SOURCE), "-o", str(where)]
    subprocess.run(command, check=True)
    return where


def test_every_program_comes_back(compiled):
    found = {}
    with loaded(compiled.read_bytes()) as programs:
        for program in programs:
            original = recover(prog_info_by_fd(program.fd).id)
            found[program.name] = original
            given = list(blanked(words(program.insns)))
            if original.grade == "exact":
                assert list(blanked(words(original.code))) == given, program.name
            else:
                assert original.grade == "equivalent", f"{program.name}: {original.reason}"
                assert len(original.code) < len(program.insns), program.name
                assert list(blanked(words(look_up(original, [str(compiled)]).code))) == given, program.name
    assert len(found) == EXPECTED, sorted(found)
    inexact = {name for name, original in found.items() if original.grade != "exact"}
    assert inexact <= {"removed", "callbacks"}, inexact


def test_the_removed_line_is_told_in_its_place(compiled):
    with loaded(compiled.read_bytes()) as programs:
        program = next(program for program in programs if program.name == "removed")
        original = recover(prog_info_by_fd(program.fd).id)

    assert original.grade == "equivalent"
    assert any("this line is removed" in text for _, text in original.removed.lines)
    assert original.removed.verified_insns


def test_the_object_tells_what_was_removed(compiled, tmp_path, capsys):
    """The whole program from the object file, side by side with what is left of it, and written out again."""
    bpftool, written, pin = needs.tool("bpftool"), tmp_path / "x.o", f"/sys/fs/bpf/bpflens-test-{os.getpid()}"
    with loaded(compiled.read_bytes()) as programs:
        program = next(program for program in programs if program.name == "removed")
        info = prog_info_by_fd(program.fd)
        assert run(["original", f"id:{info.id}", "--objects", str(compiled), "--side-by-side"]) == 0
        text = capsys.readouterr().out
        assert run(["original", f"id:{info.id}", "--objects", str(compiled), "-o", str(written)]) == 0
        try:
            done = subprocess.run([bpftool, "prog", "load", written, pin], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            shown = subprocess.run([bpftool, "-j", "prog", "show", "pinned", pin], capture_output=True, text=True)
        finally:
            if os.path.exists(pin):
                os.unlink(pin)

    assert "; exact: the object's program has the tag" in text
    assert len([line for line in text.splitlines() if line.endswith("; removed")]) >= 3
    assert json.loads(shown.stdout)["tag"] == info.tag


VARIANT = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
const volatile int enabled;
__u64 total;
SEC("tc") int prog(struct __sk_buff *skb)
{
	int r = skb->len;

	if (enabled)
		total += skb->%s;
	return r;
}
char _license[] SEC("license") = "GPL";
"""


def test_an_object_that_differs_in_removed_code_is_equivalent_only(tmp_path):
    clang = needs.tool("clang")
    if library() is None:
        pytest.skip("needs libbpf")
    arch = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    for field in ("mark", "hash"):
        (tmp_path / f"{field}.c").write_text(VARIANT % field)
        command = [clang, "-O2", "-g", "-target", "bpf", f"-I/usr/include/{arch}", "-c", f"{field}.c", "-o", f"{field}.o"]
        subprocess.run(command, cwd=tmp_path, check=True)
    with loaded((tmp_path / "mark.o").read_bytes()) as programs:
        original = recover(prog_info_by_fd(programs[0].fd).id)
        other = look_up(original, [str(tmp_path / "hash.o")])
        own = look_up(original, [str(tmp_path)])

    assert original.grade == "equivalent"
    assert (other.grade, own.grade) == ("equivalent", "exact")
    assert other.source.endswith("hash.o#tc")
    assert own.source.endswith("mark.o#tc")
    assert words(own.code) != words(other.code)


def pinned(written):
    """What bpftool shows of the object's program, loaded."""
    bpftool, pin = needs.tool("bpftool"), f"/sys/fs/bpf/bpflens-test-{os.getpid()}"
    try:
        done = subprocess.run([bpftool, "prog", "load", written, pin], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(subprocess.run([bpftool, "-j", "prog", "show", "pinned", pin], capture_output=True, text=True).stdout)
    finally:
        if os.path.exists(pin):
            os.unlink(pin)


def test_every_program_is_written_to_an_object_that_loads(compiled, tmp_path, capsys):
    written = tmp_path / "x.o"
    with loaded(compiled.read_bytes()) as programs:
        for program in programs:
            info = prog_info_by_fd(program.fd)
            assert run(["original", f"id:{info.id}", "-o", str(written)]) == 0
            exact = "; exact: " in capsys.readouterr().out
            assert not exact or pinned(written)["tag"] == info.tag, program.name


KFUNC = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct bpf_iter_num { __u64 __opaque[1]; } __attribute__((aligned(8)));
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
__u64 total, other;
SEC("tc") int prog(struct __sk_buff *skb)
{
	struct bpf_iter_num it;
	int *v;

	bpf_iter_num_new(&it, 0, 10);
	while ((v = bpf_iter_num_next(&it)))
		total += *v;
	bpf_iter_num_destroy(&it);
	return skb->len;
}
char _license[] SEC("license") = "GPL";
"""


def test_an_object_has_no_variables_without_symbols_and_its_kfuncs_are_external(tmp_path):
    """What libbpf 1.3 and newer ask of an object (btf_fixup_datasec), and all of them of kfuncs (find_extern_btf_id)."""
    from bpflens.btf.btf import Btf, Kind
    from bpflens.original.write_object import write_original

    clang = needs.tool("clang")
    if library() is None:
        pytest.skip("needs libbpf")
    arch = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    (tmp_path / "k.c").write_text(KFUNC)
    subprocess.run([clang, "-O2", "-g", "-target", "bpf", f"-I/usr/include/{arch}", "-c", "k.c", "-o", "k.o"], cwd=tmp_path, check=True)
    with loaded((tmp_path / "k.o").read_bytes()) as programs:
        needs.kernel_feature(bool(programs), "the kfuncs of number iterators")
        info = prog_info_by_fd(programs[0].fd)
        original = recover(info.id)
        write_original(original, str(tmp_path / "x.o"))
        assert pinned(tmp_path / "x.o")["tag"] == info.tag

    from elftools.elf.elffile import ELFFile

    with open(tmp_path / "x.o", "rb") as stream:
        object = ELFFile(stream)
        btf = Btf.parse(object.get_section_by_name(".BTF").data())
        symbols = {symbol.name for symbol in object.get_section_by_name(".symtab").iter_symbols()}
    assert original.grade == "exact"
    for section in btf.ids(Kind.DATASEC):
        for variable in btf.variables(section):
            if btf.kind(variable.type_id) == Kind.VAR:
                assert btf.linkage(variable.type_id) == 0 or btf.name(variable.type_id) in symbols
    kfuncs = [id for id in btf.ids(Kind.FUNC) if btf.name(id).startswith("bpf_iter_num")]
    assert {btf.linkage(id) for id in kfuncs if not btf.name(id).endswith("__loaded")} == {2}

"""--objects: the tag before the name, and the image beside the tag."""

from __future__ import annotations

import subprocess

import pytest

import needs
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.original.find_object import look_up
from bpflens.original.recover import recover
from original.libbpf import library, loaded

pytestmark = pytest.mark.live

SOURCE = """
#define SEC(n) __attribute__((section(n), used))
#define __uint(n, v) int (*n)[v]
#define __type(n, v) typeof(v) *n
struct {{ __uint(type, 2); __uint(max_entries, 4); __type(key, int); __type(value, int); }} first SEC(".maps"), second SEC(".maps");
static void *(*lookup)(void *, const void *) = (void *)1;
const volatile int debug = 0;
SEC("tc") int {name}(void *ctx) {{ int k = 1, *v = lookup(&{map}, &k); if (debug) k = *(int *)ctx; return v ? *v + k : k; }}
SEC("tc") int other(void *ctx) {{ int k = 2, *v = lookup(&{other}, &k); return v ? *v : 3; }}
SEC("license") char gpl[] = "GPL";
"""


def compiled(where, file, name, map, other):
    clang = needs.tool("clang")
    if library() is None:
        pytest.skip("needs libbpf")
    path = where / file
    path.with_suffix(".c").write_text(SOURCE.format(name=name, map=map, other=other))
    subprocess.run([clang, "-O2", "-g", "-target", "bpf", "-c", path.with_suffix(".c"), "-o", path], check=True)
    return path


@pytest.fixture
def original(tmp_path):
    """The original of the first program of an object, whose dead branch was removed; and the object's directory."""
    path = compiled(tmp_path, "own.o", "prog", "first", "second")
    with loaded(path.read_bytes()) as programs:
        program = next(program for program in programs if program.name == "prog")
        found = recover(prog_info_by_fd(program.fd).id)
        assert found.grade == "equivalent"
        yield found, program


def test_a_program_of_another_name_is_found_by_its_tag(original, tmp_path):
    found, program = original
    (tmp_path / "own.o").unlink()
    path = compiled(tmp_path, "renamed.o", "renamed", "first", "second")
    whole = look_up(found, [str(path)])

    assert whole.grade == "exact", whole.reason
    assert whole.source.startswith(str(path))
    assert len(whole.code) == len(program.insns)
    assert "and becomes the identical image" in whole.reason


def test_a_program_with_the_tag_and_another_image_is_not_taken(original, tmp_path):
    """It refers to the other map, which the tag does not cover."""
    found, _ = original
    (tmp_path / "own.o").unlink()
    path = compiled(tmp_path, "swapped.o", "prog", "second", "first")
    result = look_up(found, [str(path)])

    assert result.grade == "equivalent"
    assert "has the tag, but of it the kernel makes another image" in result.reason


def test_the_right_one_of_two_with_the_tag_is_taken(original, tmp_path):
    found, _ = original
    compiled(tmp_path, "a_swapped.o", "prog", "second", "first")
    whole = look_up(found, [str(tmp_path)])

    assert whole.grade == "exact"
    assert "own.o" in whole.source

"""--check: what is compiled, loaded, run and proved says so, and what is refused goes down the ladder."""

from __future__ import annotations

import pytest

import needs
import objects
from bpflens.cli.main import run
from bpflens.decompile.check import checked
from bpflens.decompile.decompile import decompile
from bpflens.decompile.result import Badge, Level
from bpflens.decompile.unit import make_unit
from bpflens.execute.subject import subjects
from bpflens.targets.open import open_target

SMALL = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 4); } hits SEC(".maps");
SEC("xdp") int drop_short(struct xdp_md *ctx) {
  void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  if (data + 40 > end) return XDP_DROP;
  __u32 key = *(__u8 *)(data + 23) & 3;
  __u64 *n = bpf_map_lookup_elem(&hits, &key);
  if (n) *n += 1;
  return *(__u16 *)(data + 12) == 8 ? XDP_PASS : XDP_ABORTED;
}
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "x.o"
    path.write_bytes(objects.compiled(SMALL, "-mcpu=v2"))
    return path


def test_a_small_program_is_proved(small):
    needs.root()
    unit = make_unit(open_target(str(small)), "x.o")
    made = checked(unit, subjects(small.read_bytes(), "x.o"), inputs=200)
    (function,) = made.functions
    assert function.level is Level.STRUCTURED
    assert function.badge is Badge.PROVED, function.reason
    assert "inputs agree" in function.reason
    assert not function.refused  # at the first attempt: the ladder hides a pass that goes wrong


def test_without_clang_nothing_is_claimed(small, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    unit = make_unit(open_target(str(small)), "x.o")
    (function,) = checked(unit, {}).functions
    assert (function.badge, function.reason) == (Badge.UNCHECKED, "no clang here")


def test_what_cannot_be_checked_is_no_success(tmp_path, capsys):
    """A program that the kernel refuses: its C is printed, the reason goes to stderr, the exit code is 5."""
    needs.root()
    path = tmp_path / "bad.o"
    path.write_bytes(objects.compiled(objects.REFUSED))
    assert run(["decompile", "--check", str(path)]) == 5
    shown = capsys.readouterr()
    assert "int bad(" in shown.out and "bad.o#bad (the kernel does not load the original here: " in shown.err
    assert run(["decompile", str(path)]) == 0


@pytest.mark.parametrize(
    ("name", "shown"),
    [("esc\x1b[31mred.o", "esc\\x1b[31mred.o"), ("new\nline.o", "new\\nline.o"), ("x*\udcff.o", "x*\\udcff.o")],
)
def test_odd_names_of_files_stay_in_the_comment(small, tmp_path, capsys, name, shown):
    """Escaped, and on one line."""
    (tmp_path / name).write_bytes(small.read_bytes())
    assert run(["decompile", str(tmp_path / name)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith(f"/* {tmp_path / shown}, decompiled by bpflens.") and out.isascii() and "\x1b" not in out


def test_a_difference_is_seen_and_the_level_lowered(small, monkeypatch):
    """A pass that goes wrong in a way that loads: the comparison's constant changed on its way to C."""
    needs.root()
    from bpflens.decompile import passes

    right = passes.shape

    def wrong(tree):
        from dataclasses import replace

        from bpflens.decompile import ir
        from bpflens.decompile.tree import Return

        return tuple(
            Return(ir.Const(1), node.slots) if isinstance(node, Return) else replace(node) for node in right(tree)
        )

    monkeypatch.setattr(passes, "shape", wrong)
    unit = make_unit(open_target(str(small)), "x.o")
    (function,) = checked(unit, subjects(small.read_bytes(), "x.o"), inputs=200).functions
    assert function.level is not Level.STRUCTURED
    assert any("differs" in why for why in function.refused)


HIDDEN = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
const volatile int limit = 7;
SEC("xdp") int hidden(struct xdp_md *ctx) {
  unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  if (data + 40 > end) return XDP_DROP;
  unsigned h = 2166136261u;
  for (int i = 0; i < 40; i++) h = (h ^ data[i]) * 16777619u;
  if (h == 0x1badbeef) { data[1] = 7; return XDP_TX; }
  h &= 15;
  asm volatile("" : "+r"(h));
  if (h > 20) { data[2] = 7; return XDP_REDIRECT; }
  return h > limit ? XDP_PASS : XDP_ABORTED;
}
char _license[] SEC("license") = "GPL";
"""


def test_what_no_input_reached_is_no_tested(tmp_path):
    """A block that only one packet in 2**32 reaches was not compared; one that the verifier knows to be dead need not be."""
    needs.root()
    path = tmp_path / "x.o"
    path.write_bytes(objects.compiled(HIDDEN, "-mcpu=v2"))
    (function,) = checked(make_unit(open_target(str(path)), "x.o"), subjects(path.read_bytes(), "x.o"), inputs=300, prove=False).functions
    assert function.badge is Badge.TESTED_IN_PART
    assert "(1 more that no input reaches)" in function.reason
    reached, blocks = (int(word) for word in function.reason.split("agree, ")[1].split(" blocks")[0].split(" of "))
    assert reached == blocks - 1


def test_the_tree_is_there_for_others(small):
    (function,) = decompile(open_target(str(small)), "x.o").functions
    assert function.tree and function.variables

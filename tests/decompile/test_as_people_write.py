"""C as people write it: switches, strings, names of the source, elements of arrays; the two styles."""

import pytest

import objects
from bpflens.decompile.decompile import decompile
from bpflens.targets.open import open_target

HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct hist { __u64 total; __u32 slots[8]; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, struct hist); } hists SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, char[16]); __type(value, __u64); } names SEC(".maps");
char _license[] SEC("license") = "GPL";
"""
SWITCH = """SEC("tc") int entry(struct __sk_buff *skb) { int r = 0;
switch (skb->pkt_type) { case 0: r = 1; break; case 1: r = skb->len; break;
case 2: r = 5; break; case 3: return 9; case 4: r = skb->mark; break; default: r = -1; }
__u32 zero = 0; struct hist *hist = bpf_map_lookup_elem(&hists, &zero);
if (hist) hist->total += r; return r; }"""
STRING = """SEC("tc") int entry(struct __sk_buff *skb) { char name[16] = "hello"; __u64 *value = bpf_map_lookup_elem(&names, name);
return value ? *value : 7; }"""
SLOTS = """SEC("tc") int entry(struct __sk_buff *skb) { __u32 zero = 0;
struct hist *hist = bpf_map_lookup_elem(&hists, &zero); if (!hist) return 0;
__u64 slot = skb->len; if (slot > 7) slot = 7; __sync_fetch_and_add(&hist->slots[slot], 1); return 1; }"""
LOOP = """SEC("xdp") int entry(struct xdp_md *ctx) { unsigned char *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
if (p + 40 > end) return 1; unsigned h = 7; for (int i = 0; i < 40; i++) h = (h ^ p[i]) * 16777619u; return h == 9 ? 2 : h & 1; }"""


def c_of(tmp_path, program, style="kernel"):
    path = tmp_path / "x.o"
    path.write_bytes(objects.compiled(HEAD + program, "-mcpu=v2"))
    return decompile(open_target(str(path)), "x.o", style=style).text()


def test_a_binary_search_is_a_switch_again(tmp_path):
    text = c_of(tmp_path, SWITCH)
    assert "switch (" in text and all(f"case {n}:" in text for n in range(5)) and "default:" in text and "goto" not in text


def test_a_loop_is_no_search(tmp_path):
    assert "while (" in c_of(tmp_path, LOOP)


def test_strings_and_names_of_the_source(tmp_path):
    text = c_of(tmp_path, STRING)
    assert 'char name[16] __attribute__((aligned(8))) = "hello";' in text
    assert "value = bpf_map_lookup_elem(&names, name);" in text


def test_elements_of_arrays_by_their_index(tmp_path):
    text = c_of(tmp_path, SLOTS)
    assert "&hist->slots[" in text and "struct hist *hist;" in text


def test_the_two_styles(tmp_path):
    kernel, plain = c_of(tmp_path, SLOTS), c_of(tmp_path, SLOTS, "plain")
    assert "\tif (!hist)\n\t\treturn TC_ACT_OK;\n" in kernel
    assert "\tif (!hist) {\n\t\treturn TC_ACT_OK;\n\t}\n" in plain


KEY = """SEC("tc") int entry(struct __sk_buff *skb) { __u32 zero = 0; void *nothing = 0;
bpf_map_update_elem(&names, &nothing, &nothing, 0); struct hist *hist = bpf_map_lookup_elem(&hists, &zero); return hist ? 1 : 0; }"""


@pytest.mark.parametrize("program", [SWITCH, STRING, SLOTS, LOOP, KEY])
@pytest.mark.parametrize("style", ["kernel", "plain"])
def test_it_compiles_as_it_is(tmp_path, program, style):
    """`= {}` is for structures and arrays only: a number with it is C23, which older compilers refuse."""
    assert objects.compiled(c_of(tmp_path, program, style))

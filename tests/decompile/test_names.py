"""Names in C: packet headers where the tests on the way prove them, numbers by name, strings."""

from __future__ import annotations

import pytest

import objects
from bpflens.decompile.decompile import decompile
from bpflens.targets.open import open_target

HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 4); } hits SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } events SEC(".maps");
#define PACKET(n) unsigned char *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end; if (p + (n) > end) return XDP_DROP
#define U16(a) (*(volatile __u16 *)(a))
#define U8(a) (*(volatile __u8 *)(a))
char _license[] SEC("license") = "GPL";
"""


def c_of(tmp_path, body, before="", section="xdp", context="xdp_md"):
    path = tmp_path / "x.o"
    path.write_bytes(objects.compiled(f'{HEAD}{before}\nSEC("{section}") int entry(struct {context} *ctx) {{ {body} }}\n', "-mcpu=v3"))
    text = decompile(open_target(str(path)), "x.o").text()
    return text[text.index("int entry(") :]


def test_headers_follow_from_the_tests_on_the_way(tmp_path):
    text = c_of(tmp_path, """PACKET(60);
        if (U16(p + 12) != bpf_htons(0x800)) return XDP_PASS;
        if (U8(p + 23) != 6) return XDP_TX;
        return U16(p + 36) == bpf_htons(22) ? XDP_DROP : XDP_PASS;""")
    assert "eth_at(p)->h_proto != bpf_htons(ETH_P_IP)" in text
    assert "ip_at(p + 14)->protocol != IPPROTO_TCP" in text
    assert "tcp_at(p + 34)->dest == bpf_htons(22)" in text or "tcp_at(p + 34)->dest != bpf_htons(22)" in text


def test_what_no_test_proves_stays_bytes(tmp_path):
    """What both sides of the test come to."""
    text = c_of(tmp_path, """PACKET(60);
        int n = 0;
        if (U16(p + 12) == bpf_htons(0x800)) n = U8(p + 22) * 3; else n = 7;
        return n + U8(p + 23);""")
    assert "ip_at(p + 14)->ttl" in text
    assert "*(u8 *)(p + 23)" in text


def test_headers_behind_options_and_tags(tmp_path):
    text = c_of(tmp_path, """PACKET(14);
        __u16 proto = U16(p + 12);
        unsigned char *n = p + 14;
        if (proto == bpf_htons(0x8100)) { if (n + 4 > end) return XDP_DROP; proto = U16(n + 2); n += 4; }
        if (proto != bpf_htons(0x800) || n + 20 > end) return XDP_PASS;
        unsigned char *t = n + (U8(n) & 15) * 4;
        if (U8(n + 9) != 17 || t + 8 > end) return XDP_PASS;
        return U16(t + 2) == bpf_htons(53) ? XDP_DROP : XDP_PASS;""")
    assert "vlan_at(p + 14)->h_vlan_encapsulated_proto" in text
    assert "ETH_P_8021Q" in text and "ETH_P_IP)" in text
    assert "->protocol != IPPROTO_UDP" in text
    assert "udp_at(" in text and "->dest" in text and "bpf_htons(53)" in text


def test_nothing_is_said_once_the_packet_may_begin_elsewhere(tmp_path):
    text = c_of(tmp_path, """if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP; PACKET(60);
        return U16(p + 12) == bpf_htons(0x800) ? XDP_PASS : XDP_DROP;""")
    assert "eth_at" not in text and "*(u16 *)(p" in text


def test_a_pointer_that_moves_in_a_loop_is_no_header(tmp_path):
    """The variable is another place in the next round."""
    text = c_of(tmp_path, """PACKET(60);
        if (U16(p + 12) != bpf_htons(0x800)) return XDP_PASS;
        unsigned char *q = p + 14; int n = 0;
        for (int i = 0; i < 9; i++) { asm volatile("" : "+r"(i)); if (q + 24 > end) return n; n += U8(q + 9); q += 4; }
        return n;""")
    assert "ip_at" not in text


def test_calls_by_name(tmp_path):
    text = c_of(tmp_path, """__u32 k = 1; __u64 v = 2;
        bpf_map_update_elem(&hits, &k, &v, BPF_NOEXIST);
        bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &v, sizeof(v));
        bpf_printk("seen %u \\"x\\"\\n", k);
        return bpf_redirect(3, BPF_F_INGRESS);""", section="tc", context="__sk_buff")
    assert "bpf_map_update_elem(&hits, &stack_4, &stack_16, BPF_NOEXIST)" in text or "BPF_NOEXIST)" in text
    assert "&events, BPF_F_CURRENT_CPU, " in text
    assert 'bpf_printk("seen %u \\"x\\"\\n", ' in text
    assert "bpf_redirect(3, BPF_F_INGRESS)" in text


@pytest.mark.parametrize("order", ["p[13] << 8 | p[12]", "p[12] << 8 | p[13]"])
def test_bytes_read_one_by_one(tmp_path, order):
    text = c_of(tmp_path, f"PACKET(60); return ({order}) == 0x800 ? XDP_PASS : XDP_DROP;")
    assert "eth_at(p)->h_proto" in text and "<<" not in text
    assert "bpf_ntohs(eth_at(p)->h_proto)" in text or order.startswith("p[13]")

"""What is said of an extended program: unlike programs word for word, and nothing that falls over."""

# ruff: noqa: E501

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import needs
import objects
from bpflens.cli.main import run
from bpflens.decompile import ir
from bpflens.decompile.summary.summary import Summary, entries_of, summarise, summarise_function
from bpflens.decompile.summary.walk.bits import Bit, Source, bits_of, byte_run, constrained, read_bits
from bpflens.decompile.summary.walk.claims import HasEntry
from bpflens.decompile.summary.walk.complements import without_complements
from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.decompile.summary.walk.walk import Returned
from bpflens.decompile.summary.words.verdicts import verdict
from bpflens.decompile.unit import make_unit
from bpflens.formats.elf.programs import read_object
from bpflens.targets.open import open_target

PROGRAMS = Path(__file__).parents[1] / "programs"
UNCHECKED = "Derived from the code by fixed rules; the program was not run (explain --check runs it)."


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs, compiled."""
    clang = needs.tool("clang")
    out = tmp_path_factory.mktemp("built")
    for source in PROGRAMS.glob("*.c"):
        command = [
            clang,
            "-O2",
            "-g",
            "-target",
            "bpf",
            "-I/usr/include/x86_64-linux-gnu",
            "-c",
            str(source),
            "-o",
            str(out / f"{source.stem}.o"),
        ]
        subprocess.run(command, check=True)
    return out


def summary_of(path: Path) -> Summary:
    [program] = open_target(str(path))
    return summarise(program)


def said(path: Path) -> list[str]:
    return [sentence.text for sentence in summary_of(path).sentences]


WORDS = {
    "keeper": [  # what was loaded from the stack, and the key of a look-up, before the place was written again
        "If the user id is 1000, map m has an entry for the user id and map m has no entry for the CPU number, it sends signal 9 (SIGKILL) to the "
        "current process.",
        "Map m (hash): looks up, by the user id and CPU number.",
        "Reads: user id.",
    ],
    "firewall": [
        "Drops IPv4 TCP packets, with an error trace (XDP_ABORTED) when the source address is in 127.0.0.0/8 and map h4blk has no entry for the "
        "TCP destination port.",
        "Drops IPv4 TCP packets (XDP_DROP) when map h4blk has an entry for the TCP destination port.",
        "Else passes the packet on (XDP_PASS).",
        "Map h4blk (hash): looks up and adds 1 to the value, by the TCP destination port.",
        "Map stats (array): looks up and adds 1 to the value.",
    ],
    "watcher": [
        'If the process name begins with "sshd", it reads 32 bytes of user memory, emits an event through its ring buffer and sends signal 9 '
        "(SIGKILL) to the current process.",
        "Reads: argument 2 of the system call, process name, process and thread id, user memory.",
    ],
    "denier": [
        "Refuses (EPERM) (0) when the port is 25 (smtp); or when the IPv4 address is in 10.0.0.0/8, the port is not 25 (smtp) and the user id "
        "is not 0.",
        "Else allows (1).",
        "Reads: port, byte 0 of the IPv4 address, user id.",
    ],
    "marker": [
        "For IPv4 UDP packets, it sets the packet mark to 7 and redirects the packet to interface 3.",
        "Returns what bpf_redirect gives when it is one of IPv4 UDP packets.",
        "Else passes the packet on (TC_ACT_OK).",
        "Map seen (lru_hash): writes entries, by the source address and UDP destination port (if the IPv4 header has no options).",
    ],
    "device": [
        "Refuses (EPERM) (0) when (the device type is not character or the device major is not 1) and the device major is not 5; or when the "
        "device major is 5 and the device minor is at least 3; or when the "
        "device type is character, the device major is 1, the device minor is not 3 and the device minor is not 5.",
        "Else allows (1).",
        "Reads: device major, device type, device minor.",
    ],
}


COMMON = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct table { int (*type)[BPF_MAP_TYPE_HASH]; __u32 *key; __u64 *value; int (*max_entries)[8]; };
struct table seen SEC(".maps"), others SEC(".maps");
#define START __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end; __u64 *found; __u32 key; if (data + 54 > end) return 0
"""
BODIES = {
    "complements": (  # counted on both ways to the same end
        """SEC("xdp") int x(struct xdp_md *ctx) { START; if (data[12] != 8 || data[13] || data[23] != 17 || data[36] || data[37] != 53)
        return XDP_PASS; __u64 one = 1; key = *(__u32 *)(data + 26); found = bpf_map_lookup_elem(&seen, &key);
        if (found) __sync_fetch_and_add(found, 1); else bpf_map_update_elem(&seen, &key, &one, 0); return XDP_DROP; }""",
        ["Drops IPv4 UDP packets (XDP_DROP) when the UDP destination port (if the IPv4 header has no options) is 53 (domain)."],
    ),
    "differ": (  # another condition differs too: nothing may be left out
        """SEC("xdp") int x(struct xdp_md *ctx) { START; key = ctx->ingress_ifindex; found = bpf_map_lookup_elem(&seen, &key);
        if (found ? data[0] == 1 : data[1] == 2) return XDP_DROP; return XDP_PASS; }""",
        ["map seen has an entry for the ", "map seen has no entry for the "],
    ),
    "which map": (
        """SEC("xdp") int x(struct xdp_md *ctx) { START; key = data[0]; found = bpf_map_lookup_elem(&seen, &key);
        if (!found) { key = data[1]; found = bpf_map_lookup_elem(&others, &key); } if (!found) return XDP_PASS; *found += 1; return XDP_DROP; }
        """,
        ["it writes the entry that it found in map seen.", "it writes the entry that it found in map others."],
    ),
    "one byte": (
        """SEC("tc") int x(struct __sk_buff *ctx) { __u8 tos = 4; bpf_skb_store_bytes(ctx, 15, &tos, 1, 0); return 0; }""",
        ["It rewrites 1 byte of the packet at byte 15."],
    ),
    "computed": (
        """SEC("tc") int x(struct __sk_buff *ctx) { __u64 at = bpf_get_prandom_u32() % 3; return bpf_redirect(at * ctx->len, 0); }""",
        ["It redirects the packet to a computed interface."],
    ),
    "stated": (  # the condition, and not the assumption beside it
        """SEC("xdp") int x(struct xdp_md *ctx) { START; if (data[12] != 8 || data[13] || (data[14] & 15) != 5 || data[23] != 17) return XDP_PASS;
        if (*(__u16 *)(data + 36) != 0x3500) return XDP_PASS; *(__u32 *)(data + 26) = 0x04030201; return XDP_TX; }""",
        ["if the IPv4 header has no options and the UDP destination port is 53 (domain), it rewrites the source address to 1.2.3.4."],
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_phrases(name: str, tmp_path: Path) -> None:
    """What is no condition is not said; maps and numbers are named in full."""
    body, expected = BODIES[name]
    (tmp_path / "x.o").write_bytes(objects.compiled(f"{COMMON}{body} char _license[] SEC(\"license\") = \"GPL\";"))
    text = " ".join(said(tmp_path / "x.o"))
    assert [each for each in expected if each not in text] == [], text


IN_A_FUNCTION = """
struct inner { __u64 parts[4]; }; struct { int (*type)[BPF_MAP_TYPE_ARRAY]; __u32 *key; __u64 (*value)[4]; int (*max_entries)[8]; } many SEC(".maps");
static __attribute__((noinline)) int put(__u64 *to, int n) { to[1] = n; return n; }
SEC("%s") int x(void *ctx) { __u32 key = 0; __u64 *found = bpf_map_lookup_elem(&many, &key); if (!found) return 0; found[2] = 5; return put(found, 7); }
"""


@pytest.mark.parametrize("section", ["fentry/do_nanosleep", "lsm/file_open", "kprobe/do_nanosleep"])
def test_what_a_function_writes_through_its_argument_is_no_structure_of_the_kernel(section: str, tmp_path: Path) -> None:
    """The verifier lets programs of these types only read what the kernel's pointers lead to."""
    (tmp_path / "x.o").write_bytes(objects.compiled(f"{COMMON}{IN_A_FUNCTION % section} char _license[] SEC(\"license\") = \"GPL\";"))
    text = " ".join(sentence.text for sentence in summarise_function(make_unit(open_target(str(tmp_path / "x.o")), "x.o"), "x").sentences)
    assert "structure of the kernel" not in text and "writes the bytes 16 to 23." in text
    assert "In put, it also writes where its addresses were not followed." in text


KERNEL = """
struct task_struct___mine { int tgid; struct task_struct___mine *real_parent; } __attribute__((preserve_access_index));
struct record { __u64 common; __u16 sport, dport; };
const volatile short family; const volatile __u32 user;
SEC("tp/sock/inet_sock_set_state") int x(struct record *ctx) {
    struct task_struct___mine *task = (void *)bpf_get_current_task(), *parent = 0; int tgid = 0; __u32 uid = bpf_get_current_uid_gid();
    if (ctx->sport != 80 || (user && user != uid) || (family && family == ctx->dport)) return 0;
    bpf_probe_read_kernel(&parent, 8, &task->real_parent); bpf_probe_read_kernel(&tgid, 4, &parent->tgid);
    if (tgid == 7) bpf_send_signal(9); return 0; }
"""


def test_records_of_tracepoints_and_kernel_structures_by_the_names_of_btf(tmp_path: Path) -> None:
    (tmp_path / "x.o").write_bytes(objects.compiled(f"{COMMON}{KERNEL} char _license[] SEC(\"license\") = \"GPL\";"))
    text = " ".join(said(tmp_path / "x.o"))
    assert "the sport of the tracepoint's record is 80" in text and "real_parent->tgid of the current task (task_struct) is 7" in text
    assert "the setting user is equal to the user id" in text and "or another condition holds)" in text
    assert "Reads: sport and dport of the tracepoint's record, settings user and family" in text and "kernel memory" not in text


OPERATION = """
struct sock; struct tcp_congestion_ops { int (*ssthresh)(struct sock *); char name[16]; };
struct { int (*type)[BPF_MAP_TYPE_ARRAY]; __u32 *key; __u64 (*value)[4]; int (*max_entries)[8]; } many SEC(".maps");
static __attribute__((noinline)) int put(__u64 *to, int n) { to[1] = n; return n; }
SEC("struct_ops") int x(__u64 *ctx) { __u32 key = 0; __u64 *found = bpf_map_lookup_elem(&many, &key); if (!found) return 0;
    *(__u32 *)(ctx[0] + 1724) = 10; return put(found, 7); }
SEC(".struct_ops") struct tcp_congestion_ops ops = { .ssthresh = (void *)x, .name = "x" };
"""


def test_an_operation_writes_behind_its_arguments_and_nowhere_else_in_the_kernel(tmp_path: Path) -> None:
    """A callee that writes into the entry of a map does not write into the kernel."""
    (tmp_path / "x.o").write_bytes(objects.compiled(f"{COMMON}{OPERATION} char _license[] SEC(\"license\") = \"GPL\";"))
    text = " ".join(sentence.text for sentence in summarise_function(make_unit(open_target(str(tmp_path / "x.o")), "x.o"), "x").sentences)
    assert "It sets bytes 1724 to 1727 behind argument 1 to 10." in text
    assert "In put, it also writes where its addresses were not followed." in text and "In put, it sets" not in text


def test_only_outcomes_of_one_comparison_are_put_together() -> None:
    """Of another call nothing is known, though it may have the same words; "may" stays."""

    def way(slot: int, there: bool, may: bool = False) -> Returned:
        claim = HasEntry("m", 4, (), there, (slot,))
        return Returned(1, (Condition(Kind.TELLING, "a"), Condition(Kind.TELLING, str(there), claim=claim, slots=(slot,))), (slot + 9,), may)

    [both] = without_complements([way(4, True), way(4, False, may=True)])
    assert [each.text for each in both.conditions] == ["a"] and both.may and both.slots == (4, 13)
    assert len(without_complements([way(4, True), way(5, False)])) == 2
    assert len(without_complements([way(4, True), way(4, True)])) == 2


@pytest.mark.parametrize("name", WORDS)
def test_words(built: Path, name: str) -> None:
    """Word for word, the most telling first."""
    assert said(built / f"{name}.o")[: len(WORDS[name])] == WORDS[name]


def test_sentences_know_their_instructions(built: Path) -> None:
    """Each sentence names instructions of the program, and the call that it speaks of is among them."""
    path = built / "watcher.o"
    summary = summary_of(path)
    [program] = open_target(str(path))
    alarm = summary.sentences[0]
    assert alarm.kind == "alarm" and all(0 <= slot < program.insn_count for slot in alarm.slots)
    calls = {int.from_bytes(program.code[8 * slot + 4 : 8 * slot + 8], "little") for slot in alarm.slots if program.code[8 * slot] == 0x85}
    assert 109 in calls  # bpf_send_signal


def test_the_command(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At most ten lines; --why adds instructions; JSON has the sentences; the proof says that there is none."""
    assert run(["explain", str(built / "firewall.o")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 10 and lines[0].startswith("xdp fw: runs for every packet") and lines[-1].strip() == UNCHECKED
    assert run(["explain", "--why", str(built / "firewall.o")]) == 0
    assert "[insns " in capsys.readouterr().out
    assert run(["--json", "explain", str(built / "firewall.o")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["proof"]["grade"] == "none" and record["complete"] and record["sentences"][0]["insns"]


def test_the_front_page_names_both_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    """explain is for programs, not only for classic filters; help on proofs says what stands behind both."""
    assert run(["--help"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  explain ")]
    assert "what a program does" in line
    assert run(["help", "proofs"]) == 0
    assert "Of an extended program: sentences derived from its code by fixed rules" in capsys.readouterr().out


def test_all_functions_of_an_object_are_said() -> None:
    """Maps, callbacks, subprograms and global data: an answer for each function that the kernel calls."""
    unit = make_unit(read_object(objects.compiled(objects.MAPS_AND_CALLS), "x.o"), "x.o")
    names = entries_of(unit)
    assert names == ["entry", "second"]
    assert all(summarise_function(unit, name).complete for name in names)


# --- bits ---

PACKET = Source("packet")


def _reader(expr: ir.Expr):
    return read_bits(PACKET, expr.place.offset or 0, expr.size, expr.signed) if isinstance(expr, ir.Load) else None


def _load(offset: int, size: int) -> ir.Load:
    return ir.Load(size, False, ir.Var(1), ir.Place("packet", "", offset))


def test_bits_are_followed_through_shifts_masks_and_swaps() -> None:
    """However a number is put together from bytes, it is the bytes."""
    together = ir.Binary("|", ir.Binary("<<", _load(13, 1), ir.Const(8), 64), _load(12, 1), 64)
    assert byte_run(bits_of(together, _reader)) == (PACKET, 12, 2, "little")
    assert byte_run(bits_of(ir.Swap(16, _load(12, 2)), _reader)) == (PACKET, 12, 2, "big")
    assert byte_run(bits_of(ir.Zext(8, ir.Binary(">>", _load(26, 4), ir.Const(8), 64)), _reader)) == (PACKET, 27, 1, "little")
    assert bits_of(ir.Binary("*", _load(0, 1), ir.Const(3), 64), _reader) is None


def test_equalities_are_about_bits() -> None:
    """A number that bits cannot make is no equality."""
    bits = bits_of(ir.Binary("&", _load(0, 1), ir.Const(0xF0), 64), _reader)
    assert constrained(bits, 0x40) == {Bit(PACKET, 0, bit): int(bit == 6) for bit in range(4, 8)}
    assert constrained(bits, 0x41) is None


@pytest.mark.parametrize(
    ("type", "value", "name"), [(6, 1, "XDP_DROP"), (3, 0xFFFFFFFF, "TC_ACT_UNSPEC"), (29, 0xFFFFFFFF, "-EPERM"), (6, 77, "")]
)
def test_verdicts(type: int, value: int, name: str) -> None:
    """By program type, as the kernel's headers name them."""
    assert verdict(type, value).name == name


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (  # a way ends inside the branch: the rest of both ways is said
            "call bpf_get_smp_processor_id\n if w0 != 3 goto out",
            "If ((the CPU number is 3 and the user id is not 7) or the user id is 7), it sends signal 9",
        ),
        ("call bpf_get_smp_processor_id", "Sends signal 9"),  # both ways go on: nothing need hold
    ],
)
def test_conditions_where_ways_meet(inside: str, expected: str, tmp_path: Path) -> None:
    text = f"""
        call bpf_get_current_uid_gid
        if w0 == 7 goto go
        {inside}
    go:
        r1 = 9
        call bpf_send_signal
    out:
        r0 = 0
        exit
    """
    (tmp_path / "x.s").write_text(text)
    assert run(["asm", str(tmp_path / "x.s"), "-o", str(tmp_path / "x.o")]) == 0
    assert any(expected in sentence.replace("It sends", "Sends") for sentence in said(tmp_path / "x.o")), said(tmp_path / "x.o")

"""End to end in namespaces of their own: XDP, tc, tcx, netfilter and cgroup programs with tail calls and maps of many types, under traffic;
saved, all removed, restored; the same traffic then counts the same and has the same verdicts.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.formats.snapshot.archive import Archive
from bpflens.kernel.maps.map_data import items, lookup, update
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.pins import opened_pin
from live.attach_lab import ATTACH, Lab, Lacking
from live.snapshot_lab import SnapshotLab, failures, pinned_files, remove_pins, snapshot_lab
from live.snapshot_scene import Scene

pytestmark = pytest.mark.live

SOURCE = r"""
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define MAP(name, kind, k, v, n, ...) struct { __uint(type, BPF_MAP_TYPE_##kind); __type(key, k); __type(value, v); \
    __uint(max_entries, n); __VA_ARGS__ } name SEC(".maps")
struct lpm { __u32 len, address; };
MAP(by_length, HASH, __u32, __u64, 64,);
MAP(lru, LRU_HASH, __u32, __u64, 1000,);
MAP(percpu, PERCPU_ARRAY, __u32, __u64, 2,);
MAP(prefixes, LPM_TRIE, struct lpm, __u32, 10, __uint(map_flags, BPF_F_NO_PREALLOC););
MAP(jumps, PROG_ARRAY, __u32, __u32, 4,);
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 1); };
struct inner counter SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, __u32); __array(values, struct inner); } outer
    SEC(".maps") = { .values = { &counter } };
const volatile __u32 step = 3;
__u64 total;
static __always_inline void count(void *map, __u32 key)
{
    __u64 one = 1, *v = bpf_map_lookup_elem(map, &key);
    if (v) (*v)++; else bpf_map_update_elem(map, &key, &one, BPF_ANY);
}
SEC("xdp") int in(struct xdp_md *ctx)
{
    __u32 zero = 0; struct lpm at = { 32, 0x0100000a }; __u32 *class = bpf_map_lookup_elem(&prefixes, &at);
    count(&by_length, ctx->data_end - ctx->data);
    if (class) count(&lru, *class);
    void *in = bpf_map_lookup_elem(&outer, &zero);
    if (in) count(in, 0);
    bpf_tail_call(ctx, &jumps, 1);
    return XDP_ABORTED;
}
SEC("xdp") int decide(struct xdp_md *ctx)
{
    count(&percpu, 1); total += step;
    return (ctx->data_end - ctx->data) % 2 ? XDP_DROP : XDP_PASS;
}
SEC("tc") int out(struct __sk_buff *skb) { count(&percpu, 0); total += 1000; return 0; }
SEC("cgroup_skb/egress") int leave(struct __sk_buff *skb) { total += 1000000; return 1; }
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def object_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs.root()
    where = tmp_path_factory.mktemp("object")
    (where / "x.c").write_text(SOURCE)
    include = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    command = [needs.tool("clang"), "-O2", "-g", "-target", "bpf", f"-I/usr/include/{include}", "-c", "x.c", "-o", "x.o"]
    subprocess.run(command, cwd=where, check=True)
    return where / "x.o"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SnapshotLab]:
    with snapshot_lab(tmp_path) as made:
        yield made


SENDER = """
import os, socket, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind(("v0", 0x0800))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for size in range(60, 90):
    s.send(bytes.fromhex("ffffffffffff") + bytes(6) + b"\\x88\\xb5" + bytes(size - 14))
for _ in range(5):
    u.sendto(b"x" * 10, ("10.77.0.9", 9))
"""


class Running:
    """The programs attached in namespace a: XDP on v1, tc and tcx on v0, netfilter output, egress of a cgroup."""

    def __init__(self, machine: Lab, pins: str, cgroup: str) -> None:
        self.machine, self.pins, self.cgroup = machine, pins, cgroup
        self.directory = machine.cgroup_mount + cgroup

    def send(self) -> dict[str, object]:
        """Traffic, and what the maps hold afterwards."""
        with self.machine.inside("a"):
            subprocess.run([sys.executable, "-c", SENDER, self.directory], check=True)
        return self.counters()

    def counters(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in pinned_files(f"{self.pins}/m"):
            with opened_pin(path) as fd:
                map = map_by_fd(fd, types=False)
                if map.type not in (3, 12, 26):
                    found[map.name] = sorted((key.hex(), (value or b"").hex()) for key, value in items(fd))
        percpu = f"{self.pins}/m/percpu"
        with opened_pin(percpu) as fd:
            parts = [lookup(fd, struct.pack("=I", slot)) or b"" for slot in (0, 1)]
        found["percpu"] = [sum(struct.unpack(f"={len(part) // 8}Q", part)) for part in parts]
        return found


def attach(machine: Lab, running: Running) -> None:
    def program(name: str) -> int:
        from bpflens.kernel.pins import get

        return machine.fd(get(f"{running.pins}/p/{name}"))

    with opened_pin(f"{running.pins}/m/jumps") as fd:
        update(fd, struct.pack("=I", 1), struct.pack("=I", program("decide")))
    with opened_pin(f"{running.pins}/m/prefixes") as fd:
        update(fd, struct.pack("=II", 8, 0x0000000A), struct.pack("=I", 77))
    with machine.inside("a"):
        machine.run("ip", "link", "set", "dev", "v1", "xdpgeneric", "pinned", f"{running.pins}/p/in")
        machine.run("tc", "qdisc", "add", "dev", "v0", "clsact")
        machine.run("tc", "filter", "add", "dev", "v0", "egress", "prio", "7", "bpf", "da", "object-pinned", f"{running.pins}/p/out")
        machine.run("ip", "neigh", "replace", "10.77.0.9", "lladdr", "02:00:00:00:00:09", "dev", "v0")
        with contextlib.suppress(Lacking):
            machine.link(program("out"), socket.if_nametoindex("v0"), "tcx_egress", extra=bytes(16))
    group = machine.fd(os.open(running.directory, os.O_RDONLY))
    machine.prog_attach(group, program("leave"), "cgroup_inet_egress", 2)


def test_traffic_counts_the_same(object_file: Path, lab: SnapshotLab) -> None:
    """XDP and tc, tail calls through a pinned prog array; hash, LRU, LPM, per-cpu, array of maps, frozen .rodata; a program and a link of
    cgroups, links of tcx and netfilter, a congestion control, a classic filter on a socket: saved, all removed, restored.
    """
    bpftool = needs.tool("bpftool")
    with Lab() as machine:
        cgroup = machine.cgroup("traffic")
        running = Running(machine, f"{lab.prefix}/then", cgroup)
        os.makedirs(f"{running.pins}/m")
        command = [bpftool, "prog", "loadall", object_file, f"{running.pins}/p", "pinmaps", f"{running.pins}/m"]
        subprocess.run(command, check=True, capture_output=True)
        scene = Scene(machine, running.pins, running.directory)
        machine.undo.callback(scene.remove)
        with machine.undo.pop_all() as outer:
            machine.undo = contextlib.ExitStack()
            with machine.undo:
                with machine.inside("a"):  # IPv6 would send on its own
                    for device in ("v0", "v1"):
                        machine.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{device}/disable_ipv6")
                attach(machine, running)
                first = running.send(), scene.transfer(), scene.heard(scene.listener)
                saved_counters = running.counters()
                inode = os.fstat(scene.listener.fileno()).st_ino
                saved = lab.save(f"pin:{running.pins}", f"sock:{inode}", stable=True)
                second = running.send(), scene.transfer(), running.counters(), scene.heard(scene.listener)
                with machine.inside("a"):
                    machine.run("ip", "link", "set", "dev", "v1", "xdpgeneric", "off")
                    machine.run("tc", "qdisc", "del", "dev", "v0", "clsact")
                scene.remove()
            machine.undo = outer.pop_all()
        assert first[1:] == second[1:2] + second[3:] and first[1:] == (100_000, 1)
        kinds = {item.kind for item in saved.manifest.attachments}
        assert kinds >= {
            "xdp/generic", "tc/egress", "tcx/egress", "netfilter", "cgroup/inet_egress", "cgroup/inet_sock_create", "struct_ops",
            "socket/packet",
        }  # fmt: skip
        assert {"hash", "lru_hash", "lpm_trie", "percpu_array", "prog_array", "array_of_maps", "struct_ops", "array"} <= {
            map.type_name for map in saved.manifest.maps
        }
        assert any(map.frozen for map in saved.manifest.maps)
        assert {map.data.consistency for map in saved.manifest.maps if map.data} == {"stable"}
        remove_pins(running.pins)
        lab.unload(saved)

        restored, plan = lab.restore(saved.path, pin_prefix=None)

        assert failures(restored) == []
        assert [item.object for item in plan.left_out] == [f"socket/packet at sock:{inode}"]
        assert running.counters() == saved_counters
        scene.listener = scene.listen(classic_of(saved.path))  # as its process would
        assert (running.send(), scene.transfer(), running.counters(), scene.heard(scene.listener)) == second
        scene.remove()
        detach_all(machine, running, restored.programs[next(item.id for item in saved.manifest.programs if item.name == "leave")])


def classic_of(path: str) -> bytes:
    """The classic filter in the snapshot."""
    with Archive(path) as archive:
        return archive.read(next(item.classic for item in archive.manifest.attachments if item.classic))


def detach_all(machine: Lab, running: Running, leave: int) -> None:
    from bpflens.snapshot.restoring.journal import undo_record

    undo_record({"do": "attach", "type": ATTACH["cgroup_inet_egress"], "program": leave, "path": running.directory})
    remove_pins(running.pins)


def test_another_namespace_device_and_cgroup(object_file: Path, lab: SnapshotLab) -> None:
    """--netns, --dev and --cgroup: the copy runs beside the original."""
    bpftool = needs.tool("bpftool")
    with Lab() as machine:
        cgroup, other = machine.cgroup("one"), machine.cgroup("two")
        running = Running(machine, f"{lab.prefix}/then", cgroup)
        os.makedirs(f"{running.pins}/m")
        command = [bpftool, "prog", "loadall", object_file, f"{running.pins}/p", "pinmaps", f"{running.pins}/m"]
        subprocess.run(command, check=True, capture_output=True)
        attach(machine, running)
        running.send()
        saved = lab.save(f"pin:{running.pins}")
        with machine.inside("b"):
            machine.run("ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1")

        restored, plan = lab.restore(
            saved.path, netns={f"{machine.name}a": machine.netns_path("b")}, devices={"v0": "w0", "v1": "w1"}, cgroups={cgroup: other}
        )

        assert failures(restored) == []
        assert plan.left_out == ()
        with machine.inside("b"):
            shown = json.loads(machine.run("ip", "-j", "link", "show", "dev", "w1"))
        assert shown[0]["xdp"]["prog"]["id"] == restored.programs[next(item.id for item in saved.manifest.programs if item.name == "in")]
        copy = Running(machine, f"{lab.prefix}/now/{os.path.relpath(running.pins, '/sys/fs/bpf')}", other)
        detach_all(machine, copy, restored.programs[next(item.id for item in saved.manifest.programs if item.name == "leave")])

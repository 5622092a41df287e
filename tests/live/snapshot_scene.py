"""What the scene of test_snapshot_traffic.py has beside its object: netfilter, tcx and cgroup links, a congestion control, and a classic
filter on a socket. Each counts in one slot of the map `hits`, which is pinned with all else.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys

from bpflens.btf.btf import Kind
from bpflens.btf.fields import member_offset
from bpflens.errors import BpflensError
from bpflens.isa.extended.asm import assemble
from bpflens.kernel import pins
from bpflens.kernel.attachments.attach import link_create, link_detach
from bpflens.kernel.btf import vmlinux
from bpflens.kernel.maps.map_data import delete, update
from bpflens.kernel.programs.load import create_map, load_btf, load_program
from live.attach_lab import ATTACH, PROG, Fprog, Lab, insns
from live.snapshot_lab import INT_BTF

ARRAY, STRUCT_OPS = 2, 26
NETFILTER, CREATED, CONGESTION, TCX = range(4)
SO_ATTACH_FILTER = 26
CLASSIC = insns((0x80, 0, 0, 0), (0x15, 0, 1, 78), (6, 0, 0, 0xFFFF), (6, 0, 0, 0))  # frames of 78 bytes

TRANSFER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.socket()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, sys.argv[1].encode())
client.connect(server.getsockname())
there, _ = server.accept()
client.sendall(b"x" * 100_000)
client.shutdown(socket.SHUT_WR)
print(sum(iter(lambda: len(there.recv(65536)), 0)))
"""


def counting(hits: int, slot: int, verdict: int) -> bytes:
    """One more in a slot."""
    text = f"""
    *(u32 *)(r10 - 4) = {slot}
    r1 = map[fd:{hits}]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto pc+3
    r1 = *(u64 *)(r0 +0)
    r1 += 1
    *(u64 *)(r0 +0) = r1
    r0 = {verdict}
    exit
    """
    return assemble(text, "kernel")


class Scene:
    """The objects, pinned below `directory`; none is held by a descriptor. `listener`: a packet socket with a classic filter."""

    def __init__(self, machine: Lab, directory: str, cgroup_directory: str) -> None:
        self.machine, self.directory = machine, directory
        self.congestion = f"bl{os.getpid()}"
        for name in "pml":
            os.makedirs(f"{directory}/{name}", exist_ok=True)
        with contextlib.ExitStack() as stack:
            hits = create_map(ARRAY, 4, 8, 4, name="hits")
            stack.callback(os.close, hits)
            pins.pin(hits, f"{directory}/m/hits")
            self._links(stack, hits, cgroup_directory)
            self._congestion_control(stack, hits)
        with machine.inside("b"):
            machine.run("ip", "link", "set", "lo", "up")
        self.listener = self.listen(CLASSIC)

    def _program(self, stack: contextlib.ExitStack, name: str, code: bytes, type: str, **more: int) -> int:
        fd = load_program(code, PROG[type], name=name, **more)
        stack.callback(os.close, fd)
        pins.pin(fd, f"{self.directory}/p/{name}")
        return fd

    def _links(self, stack: contextlib.ExitStack, hits: int, cgroup_directory: str) -> None:
        output = self._program(stack, "sc_nf", counting(hits, NETFILTER, 1), "netfilter", expected_attach_type=ATTACH["netfilter"])
        created = self._program(
            stack, "sc_sock", counting(hits, CREATED, 1), "cgroup_sock", expected_attach_type=ATTACH["cgroup_inet_sock_create"]
        )
        egress = self._program(stack, "sc_tcx", counting(hits, TCX, -1), "sched_cls", expected_attach_type=ATTACH["tcx_egress"])
        group = os.open(cgroup_directory, os.O_RDONLY)
        stack.callback(os.close, group)
        with self.machine.inside("a"):
            links = {
                "nf": link_create(output, 0, ATTACH["netfilter"], extra=struct.pack("=IIiI", 2, 3, -77, 0)),  # IPv4, output
                "sock": link_create(created, group, ATTACH["cgroup_inet_sock_create"]),
                "tcx": link_create(egress, socket.if_nametoindex("v0"), ATTACH["tcx_egress"]),
            }
        for name, fd in links.items():
            stack.callback(os.close, fd)
            pins.pin(fd, f"{self.directory}/l/{name}")

    def _congestion_control(self, stack: contextlib.ExitStack, hits: int) -> None:
        btf = vmlinux()
        ops, value = btf.struct_id("tcp_congestion_ops"), btf.struct_id("bpf_struct_ops_tcp_congestion_ops")
        members = [member.name for member in btf.members(ops)]
        data = next(member for member in btf.members(value) if member.name == "data").bit_off // 8
        image = bytearray(btf.size(value))
        assert btf.kind(value) is Kind.STRUCT
        codes = {
            "init": counting(hits, CONGESTION, 0), "ssthresh": assemble("r0 = 20\nexit", "kernel"),
            "undo_cwnd": assemble("r0 = 20\nexit", "kernel"), "cong_avoid": assemble("r0 = 0\nexit", "kernel"),
        }  # fmt: skip
        for name, code in codes.items():
            fd = self._program(stack, f"sc_{name}", code, "struct_ops", attach_btf_id=ops, expected_attach_type=members.index(name))
            struct.pack_into("<Q", image, data + member_offset(btf, "tcp_congestion_ops", name), fd)
        struct.pack_into("16s", image, data + member_offset(btf, "tcp_congestion_ops", "name"), self.congestion.encode())
        types = load_btf(INT_BTF)
        stack.callback(os.close, types)
        fd = create_map(STRUCT_OPS, 4, len(image), 1, name="sc_cc", btf_fd=types, vmlinux_value_type_id=value)
        stack.callback(os.close, fd)
        pins.pin(fd, f"{self.directory}/m/sc_cc")
        update(fd, bytes(4), bytes(image))

    def listen(self, code: bytes) -> socket.socket:
        """A packet socket of v1 with a classic filter."""
        with self.machine.inside("a"):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.bind(("v1", 3))
        program = Fprog(code)
        made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program.bytes)
        made.setblocking(False)
        return made

    def transfer(self) -> int:
        """Bytes that came through a connection with the congestion control."""
        with self.machine.inside("b"):
            return int(subprocess.run([sys.executable, "-c", TRANSFER, self.congestion], check=True, capture_output=True).stdout)

    @staticmethod
    def heard(listener: socket.socket) -> int:
        """Frames that the filter let through since the last call."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while listener.recv(2048):
                count += 1
        return count

    def remove(self) -> None:
        """Detach, unregister; whoever made it. Pins stay."""
        for name in ("nf", "sock", "tcx"):
            with contextlib.suppress(BpflensError, OSError), pins.opened_pin(f"{self.directory}/l/{name}") as fd:
                link_detach(fd)
        with contextlib.suppress(BpflensError, OSError), pins.opened_pin(f"{self.directory}/m/sc_cc") as fd:
            delete(fd, bytes(4))
        self.listener.close()

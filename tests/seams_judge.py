"""The judges of pairs from tests/seams.py: a plain interpreter, the running kernel, libpcap's bpf_filter()."""

from __future__ import annotations

import collections
import ctypes
import ctypes.util
import random
import struct

from bpflens.classic.diagrams.symbolic import KERNEL, LIBPCAP
from bpflens.classic.proof.equal import Verdict, compare
from bpflens.classic.proof.fragment import outside
from bpflens.isa.classic.check import check, runs_in_libpcap
from bpflens.isa.classic.insn import SockFilter
from classic_oracles import KernelFilter
from plain_machine import Insns, execute
from seams import packets, pairs

ANCILLARY_NAMES = {8: "ifindex", 28: "hatype"}


class Pcap:
    """bpf_filter() of the installed libpcap; only for programs for which runs_in_libpcap() holds, as it ends the process on others."""

    def __init__(self) -> None:
        library = ctypes.CDLL(ctypes.util.find_library("pcap") or "libpcap.so.0.8")
        self.run = library.bpf_filter
        self.run.restype = ctypes.c_uint
        self.run.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint)

    def value(self, code: bytes, packet: bytes) -> int:
        return int(self.run(code, packet, len(packet), len(packet)))


def code_of(program: Insns) -> bytes:
    return b"".join(struct.pack("<HBBI", *insn) for insn in program)


class Judge:
    """`counts`: verdicts and judgements by name; `lies`: what was claimed and is false.

    `outside`: the share of the pairs outside of the fragment in which the diagrams are exact that is looked at (z3 takes its time).
    """

    def __init__(self, r: random.Random, packets_each: int = 20, kernel: bool = True, outside: float = 1.0) -> None:
        self.r = r
        self.pairs = pairs(r)
        self.packets_each = packets_each
        self.kernel = kernel
        self.outside = outside
        self.pcap = Pcap()
        self.counts: collections.Counter[str] = collections.Counter()
        self.lies: list[str] = []

    def one_pair(self) -> Verdict | None:
        """Compare the next pair and judge the verdict."""
        name, one, two = next(self.pairs)
        insns = [[SockFilter(*insn) for insn in program] for program in (one, two)]
        if any(check(program, "socket") for program in insns):
            self.counts["refused by the kernel"] += 1
            return None
        if any(outside(program) for program in insns) and self.r.random() >= self.outside:
            self.counts["left out: outside of the diagrams' fragment"] += 1
            return None
        machine = KERNEL
        if self.r.random() < 0.2 and all(runs_in_libpcap(program) for program in insns):
            machine = LIBPCAP
        values = self.r.random() < 0.3
        verdict = compare(one, two, machine, values=values)
        what = "equal" if verdict.grade != "none" else "different" if verdict.witness else "not decided"
        self.counts[f"{what} ({verdict.method})" if verdict.method else what] += 1
        if what == "not decided":
            self.counts[f"not decided: {name}"] += 1
        claim = f"{name} {machine.name} {verdict.grade} {verdict.method} values={values} {one} {two}"
        if verdict.witness is not None and verdict.grade == "none":
            self._different(claim, one, two, verdict, machine.name, values)
        elif verdict.grade != "none":
            self._equal(claim, one, two, verdict, machine.name, values)
        return verdict

    def _answers(self, values: bool, *results: int) -> tuple[int, ...]:
        return results if values else tuple(int(result != 0) for result in results)

    def _different(self, claim: str, one: Insns, two: Insns, verdict: Verdict, model: str, values: bool) -> None:
        witness = verdict.witness
        assert witness is not None
        aux = {number: witness.aux.get(name) or 0 for number, name in ANCILLARY_NAMES.items()}
        device = all(value is not None for value in witness.aux.values())
        net = int(witness.aux.get("network_offset", 14) or 0)
        results = [execute(p, witness.packet, model, net, 0, device, aux) for p in (one, two)]
        self.counts["packets of differences judged"] += 1
        if results != [witness.a, witness.b] or len(set(self._answers(values, *results))) == 1:
            self.lies.append(f"{claim} packet {witness.packet.hex()} gives {results}, claimed {witness.a}, {witness.b}")

    def _equal(self, claim: str, one: Insns, two: Insns, verdict: Verdict, model: str, values: bool) -> None:
        untruncated = verdict.grade == "untruncated"
        kernel = None
        if self.kernel and model == "kernel":
            kernel = KernelFilter(one), KernelFilter(two)
        codes = code_of(one), code_of(two)
        try:
            for packet in packets(self.r, self.packets_each):
                if untruncated:
                    packet = packet + bytes(4000)
                net, device = self.r.choice((0, 14, 20)), untruncated or self.r.random() < 0.5
                results = [execute(p, packet, model, net, 0, device) for p in (one, two)]
                self.counts["packets judged by the plain interpreter"] += 1
                if len(set(self._answers(values, *results))) > 1:
                    self.lies.append(f"{claim} packet {packet[:64].hex()} net {net} device {device}: plain {results}")
                    return
                if kernel is not None and packet and not (untruncated and _asks_for_more(one, two)):
                    delivered = [filter.delivered(packet) or 0 for filter in kernel]
                    self.counts["packets judged by the kernel"] += 1
                    if len(set(self._answers(values, *delivered))) > 1:
                        self.lies.append(f"{claim} packet {packet[:64].hex()}: kernel {delivered}")
                        return
                if model == "libpcap":
                    given = [self.pcap.value(code, packet) for code in codes]
                    self.counts["packets judged by libpcap"] += 1
                    if len(set(self._answers(values, *given))) > 1 or given != results:
                        self.lies.append(f"{claim} packet {packet[:64].hex()}: libpcap {given}, plain {results}")
                        return
        finally:
            for filter in kernel or ():
                filter.close()


def _asks_for_more(*programs: Insns) -> bool:
    """Whether a program loads what a packet of a socket pair does not have: a device, a link header."""
    loads = [insn[3] for program in programs for insn in program if insn[0] & 0xE7 in (0x20, 0x40)]
    return any(k in (0xFFFFF008, 0xFFFFF01C) or 0xFFE00000 <= k < 0xFFF00000 for k in loads)

"""Who else runs classic code: the running kernel, by a socket pair with a filter attached. And random programs for it."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

Insns = Sequence[tuple[int, int, int, int]]

SO_ATTACH_FILTER = 26

ALU = (0x00, 0x10, 0x20, 0x40, 0x50, 0xA0)
LOADS = (0x20, 0x28, 0x30, 0x40, 0x48, 0x50)


class KernelFilter:
    """A filter that the kernel runs over packets given to it; OSError where the kernel refuses it.

    What an AF_UNIX datagram socket delivers is cut to the program's return value (sk_filter_trim_cap), which shows the value for
    returns up to the packet's length; 0 drops the packet.
    """

    def __init__(self, insns: Insns) -> None:
        self.sender, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.setblocking(False)
        code = b"".join(struct.pack("<HBBI", *insn) for insn in insns)
        buffer = ctypes.create_string_buffer(code, len(code) or 1)
        try:
            self.receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", len(insns), ctypes.addressof(buffer)))
        except OSError:
            self.close()
            raise

    def delivered(self, packet: bytes) -> int | None:
        """How many bytes of the packet arrive; None: it is dropped."""
        # an AF_UNIX sender is told of nothing: the filter's verdict is seen by whether anything is there to receive
        with contextlib.suppress(OSError):
            self.sender.send(packet)
        try:
            return len(self.receiver.recv(65536))
        except BlockingIOError:
            return None

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


@contextlib.contextmanager
def kernel_filter(insns: Insns) -> Iterator[KernelFilter]:
    filter = KernelFilter(insns)
    try:
        yield filter
    finally:
        filter.close()


@st.composite
def programs(draw: st.DrawFn, max_insns: int = 24, net_relative: bool = False) -> list[tuple[int, int, int, int]]:
    """Random programs that the kernel accepts: all instruction forms but ancillary loads; M[] is written before it is read."""
    small = st.integers(0, 40)
    word = st.one_of(small, st.integers(0, 0xFFFFFFFF), st.sampled_from((0xFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 31, 32)))
    count = draw(st.integers(1, max_insns))
    cells = draw(st.lists(st.integers(0, 15), max_size=2))
    insns: list[tuple[int, int, int, int]] = [(0x02, 0, 0, cell) for cell in cells]
    total = len(insns) + count
    kinds = ["load", "ind", "msh", "imm", "ldximm", "len", "ldxlen", "alu", "alux", "div", "divx", "shift", "shiftx", "neg", "misc"]
    kinds += ["jump", "ja"]
    if cells:
        kinds += ["ld_m", "st_m"]
    if draw(st.integers(0, 3)):
        kinds += ["load", "load", "jump", "jump", "ret"]
    while len(insns) < total - 1:
        kind = draw(st.sampled_from(kinds))
        left = total - len(insns) - 2
        if kind == "load":
            insns.append((draw(st.sampled_from(LOADS[:3])), 0, 0, draw(small)))
        elif kind == "ind":
            insns.append((draw(st.sampled_from(LOADS[3:])), 0, 0, draw(st.one_of(small, word) if net_relative else small)))
        elif kind == "msh":
            insns.append((0xB1, 0, 0, draw(small)))
        elif kind in ("imm", "ldximm"):
            insns.append((0x00 if kind == "imm" else 0x01, 0, 0, draw(word)))
        elif kind in ("len", "ldxlen"):
            insns.append((0x80 if kind == "len" else 0x81, 0, 0, 0))
        elif kind in ("alu", "alux"):
            insns.append((4 | draw(st.sampled_from(ALU)) | (8 if kind == "alux" else 0), 0, 0, draw(word)))
        elif kind in ("div", "divx"):
            divisor = draw(word) or 1
            insns.append((4 | draw(st.sampled_from((0x30, 0x90))) | (8 if kind == "divx" else 0), 0, 0, divisor))
        elif kind in ("shift", "shiftx"):
            insns.append((4 | draw(st.sampled_from((0x60, 0x70))) | (8 if kind == "shiftx" else 0), 0, 0, draw(st.integers(0, 31))))
        elif kind == "neg":
            insns.append((0x84, 0, 0, 0))
        elif kind == "misc":
            insns.append((draw(st.sampled_from((0x07, 0x87))), 0, 0, 0))
        elif kind == "ld_m":
            insns.append((draw(st.sampled_from((0x60, 0x61))), 0, 0, draw(st.sampled_from(cells))))
        elif kind == "st_m":
            insns.append((draw(st.sampled_from((0x02, 0x03))), 0, 0, draw(st.sampled_from(cells))))
        elif kind == "jump":
            code = 5 | draw(st.sampled_from((0x10, 0x20, 0x30, 0x40))) | draw(st.sampled_from((0, 0, 8)))
            insns.append((code, draw(st.integers(0, min(left, 255))), draw(st.integers(0, min(left, 255))), draw(word)))
        elif kind == "ja":
            insns.append((0x05, 0, 0, draw(st.integers(0, left))))
        else:
            insns.append((0x06, 0, 0, draw(small)))
    insns.append(draw(st.sampled_from(((0x16, 0, 0, 0), (0x06, 0, 0, 0), (0x06, 0, 0, 0x40000)))))
    return insns


def corpus() -> list[dict[str, object]]:
    """Filters of real programs: name, kind, insns, linktype (tests/corpus/cbpf_corpus.json)."""
    import json
    from pathlib import Path

    found: list[dict[str, object]] = json.loads((Path(__file__).parent / "corpus" / "cbpf_corpus.json").read_text())
    return found

"""A filter over a capture: how many packets match, which, what it returns for each and how often each instruction is executed.

    run_capture(insns, capture)                        ──►  Result(packets=1000000, matches=100000, ...)

Counts alone come from libpcap's own reader and interpreter (formats/pcap_filter.py) where that gives what the wanted machine gives;
everything else from Python code generated for the program (classic/compiled.py), and programs with loops from the interpreter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from bpflens.errors import InputError, PartialResult
from bpflens.formats.pcap.capture import Capture, Packet
from bpflens.isa.classic.check import runs_in_libpcap
from bpflens.isa.classic.insn import SockFilter
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from bpflens.classic.machine.interpreter import Model

__all__ = ("Result", "models_agree", "run_capture")

_BIG = 1 << 30


class Result(NamedTuple):
    """`packets` read, None where they were not counted, and `matches` among them (the program returned other than 0).

    `returns`: value -> packets, and `hits`: executions of each instruction; None where not asked for. `engine`: "libpcap" or "python".
    `left_out`: why the capture was not read to its end; None where it was. `other_linktype`: packets of another link type than the
    capture's first, not given to the filter.
    """

    packets: int | None
    matches: int
    returns: Mapping[int, int] | None = None
    hits: tuple[int, ...] | None = None
    engine: str = "python"
    left_out: str | None = None
    other_linktype: int = 0


def run_capture(
    insns: Sequence[SockFilter],
    capture: Capture,
    model: Model = "kernel",
    *,
    total: bool = True,
    output: str | None = None,
    returns: bool = False,
    profile: bool = False,
    aux: Mapping[str, int | None] | None = None,
) -> Result:
    """Run a valid program over every packet of `capture`; matches are written to the file `output` ("-": standard output).

    The output is pcapng where its name ends in ".pcapng", else pcap. Without `total` the number of packets may be left unknown, which takes
    half as long. InputError where the program stops on an instruction that no machine executes, or the output can't be written.
    Memory does not grow with the capture.
    """
    program = tuple(insns)
    pcapng = output is not None and output.endswith(".pcapng")
    if capture.path and not (returns or profile or pcapng) and models_agree(program, model):
        result = _libpcap(program, capture, total, output)
        if result is not None:
            return result
    return _python(program, capture, model, output, returns, profile, aux)


def models_agree(insns: Sequence[SockFilter], model: Model) -> bool:
    """True where libpcap's interpreter surely returns what `model` returns, for every packet, and runs the program safely.

    The two machines differ in ancillary and relative loads, in [x + k] beyond 2^31, and in shifts by X.
    """
    if not runs_in_libpcap(insns):
        return False
    if model == "libpcap":
        return True
    indirect = False
    bounded = True
    for insn in insns:
        code, k = insn.code, insn.k
        if code in (0x20, 0x28, 0x30, 0xB1) and k >= 0x80000000:
            return False
        if code in (0x6C, 0x7C):
            return False
        if code in (0x40, 0x48, 0x50):
            indirect = True
            bounded = bounded and k < _BIG
        elif code in (0x07, 0x61, 0x81) or (code == 0x01 and k >= _BIG):
            bounded = False
    return bounded or not indirect


def _libpcap(insns: tuple[SockFilter, ...], capture: Capture, total: bool, output: str | None) -> Result | None:
    """None where libpcap can't read the file to its end: nothing has been read from `capture` itself."""
    from bpflens.formats.pcap.match import count_matches, count_packets, write_matches

    packets = None
    if total:
        packets = count_packets(capture.path)
        if packets is None:
            return None
    matches = count_matches(capture.path, insns) if output is None else write_matches(capture.path, insns, output, capture.nanoseconds)
    if matches is None:
        return None
    return Result(packets, matches, engine="libpcap")


def _python(
    insns: tuple[SockFilter, ...],
    capture: Capture,
    model: Model,
    output: str | None,
    returns: bool,
    profile: bool,
    aux: Mapping[str, int | None] | None,
) -> Result:
    from collections import Counter

    from bpflens.classic.machine.to_python import compile_filter

    filter = compile_filter(insns, model, aux, profile=profile)
    values: Counter[int] | None = Counter() if returns else None
    packets = matches = others = 0
    left_out = None
    verdict, linktype = filter.verdict, capture.linktype
    with _writer(output, capture) as write:
        try:
            for packet in capture:
                if packet.linktype != linktype:
                    others += 1
                    continue
                packets += 1
                value = verdict(packet.data, packet.length)
                if values is not None:
                    values[value] += 1
                if value:
                    matches += 1
                    if write is not None:
                        write(packet)
        except PartialResult as error:
            left_out = error.reason
    hits = filter.hits() if profile else None
    return Result(packets, matches, values, hits, "python", left_out, others)


@contextlib.contextmanager
def _writer(output: str | None, capture: Capture) -> Iterator[Callable[[Packet], None] | None]:
    """What writes a packet to `output`, which is there when all are written; InputError where it cannot be."""
    from bpflens.formats.pcap.write import PcapngWriter, PcapWriter
    from bpflens.formats.whole_file import whole_file

    if output is None:
        yield None
        return
    with _standard_output() if output == "-" else whole_file(output) as stream:
        yield PcapngWriter(stream).write if output.endswith(".pcapng") else PcapWriter(stream, capture.linktype, capture.nanoseconds).write


@contextlib.contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    import sys

    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError as error:
        raise InputError("-", error.strerror or str(error)) from None

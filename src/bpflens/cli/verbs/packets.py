"""Packets that a classic filter accepts, and near misses that it rejects.

There is one packet for each alternative of the filter, with the ends of its ranges. Near misses differ from an accepted packet in one
byte. Lengths and checksums are right (IPv4, TCP, UDP, ICMP, ICMPv6, SCTP) where the filter leaves them free. Every verdict shown is
what the interpreter returned for that packet.

They are printed in hex, or written to a capture with -w: pcapng by the name ".pcapng", in which each packet has its note as a comment.

In Python: bpflens.packets("pcap:tcp port 80").packets
"""

from __future__ import annotations

from bpflens.cli.filters import add_filter_options, packet_filters
from bpflens.cli.settings import Settings
from bpflens.errors import InputError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bpflens.classic.hooks import Hook
    from bpflens.classic.machine.interpreter import Model
    from bpflens.classic.packets.generate import Generated

__all__ = ("EXAMPLES", "configure", "run")

EXAMPLES = (
    "bpflens packets 'pcap:tcp port 80'",
    "bpflens packets --accepted 'pcap:vlan 100 and udp dst port 68'",
    "bpflens packets 'pcap:icmp6 or sctp' -w made.pcapng",
)

_USER0 = 147  # DLT_USER0: what a UDP, TCP or netlink socket's filter sees is of no link type


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("filter", metavar="FILTER", help="target with one classic filter")
    parser.add_argument("-w", "--write", metavar="FILE", help='write a capture (pcapng by the name ".pcapng", "-": standard output)')
    parser.add_argument("-n", "--count", type=int, default=32, metavar="N", help="alternatives at most (default 32)")
    parser.add_argument("--accepted", action="store_true", help="only packets that are accepted")
    parser.add_argument("--model", choices=("kernel", "libpcap"), help="the machine (default: libpcap for pcap: expressions)")
    add_filter_options(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Make the packets, print or write them."""
    from bpflens.classic.diagrams.linktypes import PAYLOADS
    from bpflens.classic.diagrams.nodes import TooComplex
    from bpflens.classic.diagrams.symbolic import Loop
    from bpflens.classic.hooks import hook_of
    from bpflens.classic.packets.generate import generate
    from bpflens.formats.pcap.libpcap import dlt_value

    filters = packet_filters(args.filter, args.linktype, not args.no_optimize, bool(args.linktype))
    if len(filters) > 1:
        raise UsageError(args.filter, f"names {len(filters)} programs", "name one of them (FILE#N)")
    program, insns = filters[0]
    where = program.origin.where
    linktype = args.linktype or program.origin.linktype or "EN10MB"
    dlt = _USER0 if linktype in PAYLOADS else dlt_value(linktype)
    model: Model = args.model or ("libpcap" if program.origin.source == "pcap" else "kernel")
    if args.count < 1:
        raise UsageError("--count", f"{args.count} is not a number of alternatives")
    try:
        made = generate(insns, dlt, model, args.count, rejected=not args.accepted)
    except Loop as error:
        raise InputError(where, str(error), "packets are made for filters without loops (protochain has one)") from None
    except TooComplex as error:
        raise InputError(where, f"is too complex: {error}") from None
    if args.write:
        _write(args.write, made, dlt)
    if args.write != "-":
        _print(made, where, hook_of(program), settings, quiet=bool(args.write))
    _notes(made, where, hook_of(program))
    return 0


def _write(path: str, made: Generated, dlt: int) -> None:
    import sys
    from io import BytesIO

    from bpflens.formats.pcap.capture import Packet, linktype_of
    from bpflens.formats.pcap.write import PcapngWriter, PcapWriter
    from bpflens.formats.whole_file import write_whole

    linktype = linktype_of(dlt)
    packets = [Packet(p.data, len(p.data), number * 1_000_000, linktype) for number, p in enumerate(made.packets)]
    stream = BytesIO()
    if path.endswith(".pcapng"):
        writer = PcapngWriter(stream)
        for packet, source in zip(packets, made.packets, strict=True):
            writer.write(packet, f"{source.kind}: {source.note}")
    else:
        plain = PcapWriter(stream, linktype)
        for packet in packets:
            plain.write(packet)
    if path == "-":
        sys.stdout.buffer.write(stream.getvalue())
        sys.stdout.buffer.flush()
    else:
        write_whole(path, stream.getvalue())


def _print(made: Generated, where: str, hook: Hook, settings: Settings, quiet: bool) -> None:
    if settings.json:
        import json

        from bpflens.records.packets import record

        for packet in made.packets:
            print(json.dumps(record(packet, where, hook)))
        return
    for number, packet in enumerate(made.packets, 1):
        aux = "".join(f" {key}={'none' if value is None else value}" for key, value in packet.aux.items())
        told = hook.kind in ("verdict", "number")  # 0 is no refusal there
        kind, value = ("packet", f"{packet.value} ({hook.meaning(packet.value)})") if told else (packet.kind, str(packet.value))
        print(f"{number} {kind}: {packet.note}: returns {value}, {len(packet.data)} bytes{aux and f' with{aux}'}")
        if not quiet:
            print("\n".join(f"    {packet.data[i : i + 32].hex(' ', 2)}" for i in range(0, len(packet.data), 32)))


def _notes(made: Generated, where: str, hook: Hook) -> None:
    import sys

    what = "is accepted" if hook.kind in ("length", "match") else "returns anything but 0"

    if made.left_out:
        print(f"bpflens: {where}: up to {made.left_out} more alternatives (--count)", file=sys.stderr)
    if made.unsolved:
        print(f"bpflens: {where}: no packet found for {made.unsolved} alternatives", file=sys.stderr)
    if made.rejects_all:
        print(f"bpflens: {where}: no packet {what} (proved)", file=sys.stderr)
    elif not any(packet.value for packet in made.packets):
        print(f"bpflens: {where}: no packet that {what} was found", file=sys.stderr)

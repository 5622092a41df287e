"""Run a classic filter over the packets of a capture.

FILTER is any source of classic code (an expression, a dump, a live socket); where it names several programs each is run. CAPTURE is a
pcap or pcapng file, or "-" for standard input. How many packets match is printed; --returns says what the filter returned, --profile how
often each instruction was executed, beside the disassembly; -w writes the matching packets to a file.

Two machines run classic code and differ in corners: the kernel, and libpcap in user space. The default is
libpcap for pcap: expressions, the kernel for everything else. What the kernel knows of a packet beside its bytes is given with --aux.

The number of packets that do not match costs a second look at the file: in captures above 64 MiB it is counted with --total only.

Exit codes: 0 done, 5 the capture is damaged or cut short (what was there is counted).

In Python: bpflens.run("pcap:tcp port 80", "x.pcap").matches
"""

from __future__ import annotations

import os
import sys

from bpflens.cli.filters import add_aux, add_filter_options, packet_filters, parse_aux, title, unknown_aux
from bpflens.cli.settings import Settings
from bpflens.errors import PartialResult, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bpflens.classic.machine.interpreter import Model
    from bpflens.formats.pcap.capture import Capture

__all__ = ("EXAMPLES", "configure", "run")

EXAMPLES = (
    "bpflens run 'pcap:tcp port 80' x.pcap",
    "bpflens run --profile --returns 'pcap:ip and udp dst port 68' x.pcap",
    "bpflens run 'pcap:arp' x.pcap -w arp.pcapng",
    "tcpdump -w - -r x.pcap | bpflens run 'pcap:icmp' -",
)

_COUNT_ALL_BELOW_BYTES = 64 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("filter", metavar="FILTER", help="target with classic code")
    parser.add_argument("capture", metavar="CAPTURE", help='pcap or pcapng file, "-" for standard input')
    parser.add_argument("-w", "--write", metavar="FILE", help='write the matching packets (pcapng by the name ".pcapng", "-": stdout)')
    parser.add_argument("--total", action="store_true", help="count the packets that do not match too, however large the capture")
    parser.add_argument("--returns", action="store_true", help="return values and how many packets got each")
    parser.add_argument("--profile", action="store_true", help="executions of each instruction")
    parser.add_argument("--model", choices=("kernel", "libpcap"), help="the machine to run on")
    add_aux(parser)
    add_filter_options(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Count, write, profile."""
    from bpflens.classic.hooks import hook_of
    from bpflens.classic.machine.captures import run_capture
    from bpflens.formats.pcap.capture import dlt_of, open_capture
    from bpflens.formats.pcap.libpcap import dlt_name

    if args.filter == "-" and args.capture == "-":
        raise UsageError("", "filter and capture can't both be standard input")
    aux = parse_aux(args.aux)
    left_out = None
    filters = None
    index = 0
    while filters is None or index < len(filters):
        with open_capture(args.capture) as capture:
            linktype = dlt_name(dlt_of(capture.linktype))
            if filters is None:
                filters = packet_filters(args.filter, args.linktype or linktype, not args.no_optimize, bool(args.linktype))
                if len(filters) > 1 and (args.write or not capture.path):
                    what = "-w writes" if args.write else "standard input is read"
                    raise UsageError(args.filter, f"names {len(filters)} programs, and {what} once", "name one of them (FILE#N)")
            program, insns = filters[index]
            index += 1
            _warn(program.origin.linktype, linktype, program.origin.where)
            missing = unknown_aux(insns, aux) if any(insn.k >= 0xFFFFF000 for insn in insns) else []
            if missing:
                names = ", ".join(missing)
                print(f"bpflens: {program.origin.where}: taken as 0, since no capture has it: {names} (--aux)", file=sys.stderr)
            hook = hook_of(program)
            model: Model = args.model or ("libpcap" if program.origin.source == "pcap" else "kernel")
            result = run_capture(
                insns,
                capture,
                model,
                total=args.total or _size(capture) < _COUNT_ALL_BELOW_BYTES,
                output=args.write,
                returns=args.returns or hook.kind in ("verdict", "number"),
                profile=args.profile,
                aux=aux,
            )
        stream = sys.stderr if args.write == "-" else sys.stdout
        if settings.json:
            import json

            from bpflens.records.run import record

            print(json.dumps(record(program, insns, args.capture, model, result)), file=stream)
        else:
            from bpflens.view.text.run import text

            for line in text(insns, result, title(program) if len(filters) > 1 else "", hook):
                print(line, file=stream)
        left_out = left_out or result.left_out
        if result.other_linktype:
            others = f"{result.other_linktype} packets have another link type than {linktype}"
            left_out = left_out or f"{others} and were not given to the filter"
    if left_out:
        raise PartialResult(args.capture, left_out)
    return 0


def _size(capture: Capture) -> int:
    return os.stat(capture.path).st_size if capture.path else 0


def _warn(filter_linktype: str | None, capture_linktype: str, where: str) -> None:
    if filter_linktype and filter_linktype != capture_linktype:
        print(f"bpflens: {where} is for link type {filter_linktype}; the capture has {capture_linktype}", file=sys.stderr)

"""Step through a classic filter on the packets of a capture, forward and back.

FILTER is a target with classic code, CAPTURE a pcap or pcapng file; both can be left out and loaded by commands. Commands are read from
the terminal (with history and completion), from standard input, or from --commands. An empty line repeats the last command.

Shown before each instruction: A, X, M[] and the packet bytes that the last one read, by the name of their protocol field.

Commands:
%(commands)s

In Python: bpflens.debug("pcap:tcp port 80", "x.pcap") gives a session; session.execute("step 3") its lines.
"""

from __future__ import annotations

import sys

from bpflens.cli.filters import add_aux, add_filter_options, packet_filters, parse_aux
from bpflens.cli.settings import Settings
from bpflens.errors import BpflensError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from bpflens.classic.machine.debugger import Session
    from bpflens.classic.machine.interpreter import Model
    from bpflens.classic.machine.packet_source import PacketSource
    from bpflens.isa.classic.insn import SockFilter

__all__ = ("EXAMPLES", "configure", "run")

EXAMPLES = (
    "bpflens debug 'pcap:tcp port 80' x.pcap --commands 'step 3; step -1; continue'",
    "bpflens debug 'pcap:udp' x.pcap -c 'break if A == 17' -c run -c packet",
    "echo 'disassemble; dump' | bpflens debug 'pcap:arp' x.pcap",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    from bpflens.classic.machine.debugger import HELP

    assert parser.description is not None
    commands = "\n".join(f"  {line}" for line in HELP.split("\n"))
    parser.description = parser.description.replace("%(commands)s", commands).replace("%", "%%")
    parser.add_argument("filter", metavar="FILTER", nargs="?", help="target with one classic filter")
    parser.add_argument("capture", metavar="CAPTURE", nargs="?", help="pcap or pcapng file")
    parser.add_argument("-c", "--commands", metavar="COMMANDS", action="append", help='commands, separated by ";", instead of a prompt')
    parser.add_argument("--model", choices=("kernel", "libpcap"), help="the machine to run on")
    add_aux(parser)
    add_filter_options(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Read and execute commands; exit code 2 where one of a script was none."""
    from bpflens.classic.machine.debugger import Session
    from bpflens.classic.machine.packet_source import PacketSource

    source = PacketSource(args.capture) if args.capture else None
    insns, origin = _filter(args.filter, args, source) if args.filter else (None, "")
    model: Model = args.model or ("libpcap" if origin == "pcap" else "kernel")

    def load(what: str, argument: str) -> Sequence[SockFilter] | PacketSource:
        if what == "pcap":
            return PacketSource(argument)
        return _filter(argument, args, session.source)[0]

    try:
        session = Session(insns, source, model, parse_aux(args.aux), load)
    except UsageError:  # an empty capture
        session = Session(insns, None, model, parse_aux(args.aux), load)
        session.source = source
    interactive = not args.commands and sys.stdin.isatty()
    return _loop(session, _prompt() if interactive else _script(args.commands), interactive)


def _filter(target: str, args: argparse.Namespace, source: PacketSource | None) -> tuple[Sequence[SockFilter], str]:
    """A filter from a target, or from text such as "1,6 0 0 65535"."""
    from bpflens.formats.pcap.libpcap import dlt_name

    linktype = args.linktype or (dlt_name(source.dlt) if source is not None else None)
    if "," in target and target[0].isdigit():
        from bpflens.formats.dumps.detect import read_programs
        from bpflens.isa.classic.insn import decode

        return decode(read_programs(target.encode(), "load")[0].code), ""
    filters = packet_filters(target, linktype, not args.no_optimize, bool(args.linktype))
    if len(filters) > 1:
        raise UsageError(target, f"names {len(filters)} programs", "name one of them (FILE#N)")
    return filters[0][1], filters[0][0].origin.source


def _script(commands: list[str] | None) -> Iterator[str]:
    for text in commands if commands is not None else sys.stdin:
        yield from text.split(";")


def _prompt() -> Iterator[str]:
    """Lines of the terminal, with readline where Python has it."""
    from bpflens.classic.machine.debugger import COMMANDS

    try:
        import readline

        def complete(text: str, state: int) -> str | None:
            found = [command for command in COMMANDS if command.startswith(text)]
            return found[state] if state < len(found) else None

        readline.set_completer(complete)
        readline.parse_and_bind("tab: complete")
    except ImportError:
        pass
    last = ""
    while True:
        try:
            line = input("(bpf) ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            continue
        last = line if line.strip() else last
        yield last


def _loop(session: Session, lines: Iterator[str], interactive: bool) -> int:
    failed = 0
    for line in lines:
        try:
            for text in session.execute(line.strip()):
                print(text)
        except BpflensError as error:
            sys.stdout.flush()
            print(f"bpflens: {error}{f' ({error.hint})' if error.hint else ''}", file=sys.stderr)
            failed = error.exit_code
        if session.done:
            break
    return 0 if interactive else failed

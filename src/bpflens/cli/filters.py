"""Arguments that the verbs on classic filters share, and the filters that a target names."""

from __future__ import annotations

from bpflens.errors import InputError, UsageError
from bpflens.isa.classic.insn import SockFilter, decode
from bpflens.program import Isa, Program
from bpflens.targets.open import Options, open_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

__all__ = ("add_aux", "add_filter_options", "classic_programs", "packet_filters", "parse_aux", "title", "unknown_aux")


def add_filter_options(parser: argparse.ArgumentParser) -> None:
    """--linktype and -O."""
    parser.add_argument("--linktype", metavar="NAME", help="link type of the packets (a DLT name such as EN10MB or RAW)")
    parser.add_argument("-O", "--no-optimize", action="store_true", help="compile pcap: expressions without libpcap's optimizer")


def add_aux(parser: argparse.ArgumentParser) -> None:
    """--aux NAME=VALUE."""
    parser.add_argument(
        "--aux",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="what the kernel knows of a packet beside its bytes, 0 where not given (for ifindex and hatype NONE: no device): "
        "protocol, pkttype, ifindex, mark, queue, hatype, rxhash, cpu, vlan_tag, vlan_tag_present, vlan_tpid, pay_offset, random; "
        "network_offset and link_offset, where those headers start in the packet (14 and 0)",
    )


def parse_aux(items: Sequence[str]) -> dict[str, int | None]:
    """The mapping that interp.run() takes; UsageError for an unknown name or a value that is no number."""
    from bpflens.classic.machine.interpreter import ANCILLARY

    names = {*ANCILLARY.values(), "network_offset", "link_offset"} - {"nlattr", "nlattr_nest", "alu_xor_x"}
    aux: dict[str, int | None] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or name not in names:
            import difflib

            close = difflib.get_close_matches(name, names, 1)
            raise UsageError("--aux", f'"{item}" is not NAME=VALUE with a known name', f'did you mean "{close[0]}=..."?' if close else None)
        try:
            aux[name] = None if value.upper() == "NONE" else int(value, 0)
        except ValueError:
            raise UsageError("--aux", f'"{value}" is not a number') from None
    return aux


def classic_programs(target: str, linktype: str | None = None, optimize: bool = True) -> list[Program]:
    """The classic programs that a target names; InputError where one of them is extended."""
    programs = open_target(target, Options(linktype=linktype, optimize=optimize))
    for program in programs:
        if program.isa is not Isa.CLASSIC:
            hint = 'for such programs there are "bpflens explain", "dis", "decompile" and "original"'
            raise InputError(program.origin.where, "is an extended BPF program; this verb is for classic filters", hint)
    return programs


def packet_filters(
    target: str, linktype: str | None = None, optimize: bool = True, forced: bool = False
) -> list[tuple[Program, tuple[SockFilter, ...]]]:
    """The classic filters on packets that a target names, with their instructions, valid for the kernel or for libpcap.

    InputError for seccomp filters (those that only look so are taken where `forced`), and for code that nothing would run.
    """
    from bpflens.isa.classic.check import check

    filters = []
    for program in classic_programs(target, linktype, optimize):
        where = program.origin.where
        if program.origin.source == "seccomp" or program.origin.linktype == "SECCOMP":
            raise InputError(where, "is a seccomp filter: it sees system calls, not packets", 'see "bpflens seccomp --help"')
        insns = decode(program.code)
        refusals = check(insns, "socket")
        if refusals and check(insns, "libpcap"):
            raise InputError(where, f"is not a valid classic program: {refusals[0]}")
        if not forced and program.origin.source != "pcap" and _looks_like_seccomp(insns):
            hint = 'see "bpflens seccomp --help"; with --linktype it is taken for a filter on packets'
            raise InputError(where, "looks like a seccomp filter: it sees system calls, not packets", hint)
        filters.append((program, insns))
    return filters


def _looks_like_seccomp(insns: tuple[SockFilter, ...]) -> bool:
    if any(insn.code in (0x28, 0x30, 0x40, 0x48, 0x50, 0xB1) for insn in insns):
        return False  # loads that seccomp does not have
    from bpflens.classic.seccomp.policy.stack import is_seccomp

    return is_seccomp(insns) and any(insn.code == 0x20 for insn in insns)


def unknown_aux(insns: Sequence[SockFilter], aux: Mapping[str, int | None]) -> list[str]:
    """Ancillary data that a program loads and nobody has given: it is taken as 0."""
    from bpflens.classic.machine.interpreter import ANCILLARY
    from bpflens.isa.classic.table import SKF_AD_OFF

    loads = {ANCILLARY.get(insn.k - SKF_AD_OFF, "") for insn in insns if insn.code in (0x20, 0x28, 0x30) and insn.k >= SKF_AD_OFF}
    return sorted(loads - {"", "nlattr", "nlattr_nest", "alu_xor_x"} - set(aux))


def title(program: Program) -> str:
    """What to call a program in a heading."""
    return program.name or program.origin.where

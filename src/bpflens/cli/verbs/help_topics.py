"""Help on a verb or a topic; without an argument, the front page and the list of topics."""

from __future__ import annotations

import argparse

from bpflens.cli.settings import Settings
from bpflens.cli.verb_table import VERBS
from bpflens.errors import EXIT_CODES, UsageError

EXAMPLES = ("bpflens help exit-codes", "bpflens help proofs", "bpflens help dis")

TOPICS: dict[str, tuple[str, str]] = {
    "exit-codes": (
        "what the exit status means",
        "\n".join(f"{code:4}  {meaning}" for code, meaning in EXIT_CODES.items()),
    ),
    "targets": (
        "how a program is named",
        """\
id:N          the loaded program with this id             map:N, map:NAME   every program that uses the map
name:S        every loaded program of this name           link:N            the program of this BPF link
tag:HEX       every loaded program with this tag          fd:PID/FD         what this descriptor of a process holds
pin:PATH      a program, map or link pinned in bpffs      pid:N             every program that the process holds, seccomp included
sock:INODE    the filters of a socket (inode as in ss -e) dev:IF            everything attached to a network interface
cgroup:PATH   programs attached to a cgroup               netns:NAME        programs attached in a network namespace
FILE          an object file, a dump, raw bytes: the content says what it is; - is standard input
FILE#NAME     one section or function of an object file
x.bpfsnap#ID  a program of a snapshot; also #NAME, #map:NAME (programs that use a map), #ID/xlated (its image)
pcap:EXPR     a tcpdump expression, compiled by the system's libpcap; --linktype names the link type (default EN10MB)

A file whose name contains a colon or looks like one of the prefixes is written ./NAME.""",
    ),
    "proofs": (
        "what stands behind an answer",
        """\
explain   Of a classic filter: the expression was compiled again by libpcap and compared with the program for every possible
          packet by decision diagrams, by z3 where they cannot decide. "all packets" and "packets that are not cut short"
          are two grades: a filter that reads past the end of a short packet rejects it, and libpcap's own optimizer moves
          such reads.
          The proof line names the libpcap version, the link type and every assumption: another version may read the
          same words differently.
          Of an extended program: sentences derived from its code by fixed rules, no proof; --check holds them against runs.
diff      "equal" has the same proof; "different" comes with a packet, and both programs were run on it.
original  exact: the hash of the recovered instructions is the tag that the kernel computed when the program was loaded.
          equivalent: loaded again (and removed at once), the kernel rewrites them to the identical image.
          unproven: neither could be established; the reason follows.
ls        --audit counts the kernel's program images and says whether all are accounted for.

Where there is no proof, the answer says so.""",
    ),
    "json": (
        "the form of --json",
        """\
One JSON object per line; the first key is "schema": the verb's name and version, such as "dis/1". Keys are added, never renamed.
Errors in this mode are one object on stderr: {"schema": "error/1", "error", "hint", "exit_code"}.
dis/1       program, pc, bytes (hex), text, notes
explain/1   program, expression or null, words, proof {grade: "all-packets" | "untruncated" | "none", libpcap, linktype, given, witness}
diff/1      equal, grade, witness
original/1  id, tag, grade: "exact" | "equivalent" | "recorded" | "unproven", insns (hex of all), reason
ls/1        kind, object, netns, classic, program {id, type, name, tag}, insns (hex, classic), expression, holders [{pid, comm, fd}]
show/1      program, maps, attachments
save/1      path, digest, size, programs, maps, attachments, incomplete
restore/1   record: "step", "left_out", "conflict", "replaced", "impossible", "unseen", "needs",
            "check" {object, what, same, detail}, "done" {programs, maps, links: old id -> new id}
verify/1    status: "same" | "changed" | "missing" | "new", kind, object, differences, unknown (also diff of two snapshots)
export/1    map, id, key, value, raw_key, raw_value (hex)""",
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("topic", nargs="?", help="a verb, or one of: " + ", ".join(TOPICS))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print a page."""
    from bpflens.cli.main import help_text, verb_parser

    if args.topic is None:
        print(help_text())
        print("\nTopics (bpflens help TOPIC):")
        for name, (title, _) in TOPICS.items():
            print(f"  {name:12}{title}")
        return 0
    if args.topic in TOPICS:
        print(TOPICS[args.topic][1])
        return 0
    for verb in VERBS:
        if verb.name == args.topic:
            verb_parser(verb)[1].print_help()
            return 0
    import difflib

    close = difflib.get_close_matches(args.topic, [*TOPICS, *(verb.name for verb in VERBS)], 1)
    raise UsageError("", f'no help on "{args.topic}"', f'did you mean "{close[0]}"?' if close else 'see "bpflens help"')

"""The verbs as a table: name, module of bpflens.cli.verbs, group in the help, one line of help.

To add a verb, add a row and its file in verbs/."""

from __future__ import annotations

from bpflens.lean import NamedTuple

__all__ = ("VERBS", "Verb")


class Verb(NamedTuple):
    """One row; the module has `configure`, `run` and `EXAMPLES`."""

    name: str
    module: str
    group: str
    help: str


VERBS = (
    Verb("ls", "ls", "Find", "every BPF program of this machine and what it is attached to"),
    Verb("tree", "tree", "Find", "objects, their programs, maps and tail calls"),
    Verb("show", "show", "Find", "all that is known of a program and its maps"),
    Verb("map", "map", "Find", "list, look into, change, compare and watch maps"),
    Verb("dis", "dis", "Read", "disassemble"),
    Verb("explain", "explain", "Read", "say in words what a program does; of a classic filter also as an expression, with proof"),
    Verb("original", "original", "Read", "the program as it was loaded, with proof"),
    Verb("decompile", "decompile", "Read", "C that compiles, at the level that each function allows"),
    Verb("seccomp", "seccomp", "Read", "a seccomp filter's policy, findings, OCI profile, one syscall"),
    Verb("asm", "asm", "Change", "assemble"),
    Verb("save", "save", "Change", "programs with their maps, data and attachments, into one file"),
    Verb("restore", "restore", "Change", "make a snapshot's programs, maps and attachments again, with proof"),
    Verb("record", "record", "Change", "keep the originals of programs as they are loaded"),
    Verb("export", "export", "Change", "a snapshot's maps as CSV, JSON Lines or Parquet, its programs as objects"),
    Verb("diff", "diff", "Compare", "are two filters equal? if not, the packet that tells them apart"),
    Verb("verify", "verify", "Compare", "a snapshot with the running machine"),
    Verb("packets", "packets", "Compare", "packets that a filter accepts and rejects"),
    Verb("run", "run", "Compare", "run a filter over a capture"),
    Verb("debug", "debug", "Compare", "step through a filter, forward and back"),
    Verb("doctor", "doctor", "Help", "what this user and kernel allow, and what is lost without the rest"),
    Verb("completion", "completion", "Help", "print the completion script of bash, zsh or fish"),
    Verb("help", "help_topics", "Help", "help on a verb or topic"),
)

"""Keep what the kernel forgets: programs with their maps, data and attachments, in one file.

TARGETs are objects of the kernel; everything that they reach is saved with them: maps, programs in tail-call maps, inner maps,
attachments. pin:DIRECTORY is every pin below it, map:N the map itself. The file is a zip archive with a JSON manifest (docs/snapshot.md);
it is readable by its owner only and appears when it is complete. Secrets: --no-data and --redact leave contents out.

What the kernel did not show is listed on stderr; the exit code is then 5.
In Python: bpflens.save(["id:12"], "x.bpfsnap")."""

from __future__ import annotations

import argparse
import sys

from bpflens.cli.listing import add_deep
from bpflens.cli.settings import Settings
from bpflens.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = (
    "bpflens save id:12 -o saved.bpfsnap",
    "bpflens save id:12 -o saved.bpfsnap --stable --redact counters",
    "bpflens save --all --no-data -o saved.bpfsnap",
    "bpflens --json save map:7 -o saved.bpfsnap",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="loaded programs, pins, maps, devices, cgroups, processes ...")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the snapshot; one that is there is replaced")
    what = parser.add_argument_group("what")
    what.add_argument("--all", action="store_true", dest="everything", help="everything that is loaded")
    what.add_argument("--no-data", action="store_true", help="no contents of maps")
    what.add_argument("--redact", action="append", default=[], metavar="MAP", help="no contents of this map (id or name); repeatable")
    what.add_argument("--jited", action="store_true", help="machine code too")
    what.add_argument("--templates", action="store_true", help="what this kernel's verifier does to instructions, to read images elsewhere")
    what.add_argument("--audit", action="store_true", help="the verdict of ls --audit")
    what.add_argument("--no-hashes", action="store_true", help="no SHA-256 of the executables that hold the objects")
    add_deep(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--stable", action="store_true", help="read each map until two passes are equal (three passes at most)")
    how.add_argument("--quiesce", action="store_true", help="put stubs in the place of linked programs while maps are read; always undone")
    how.add_argument("--freeze", action="append", default=[], metavar="CGROUP", help="stop the processes of a cgroup meanwhile; repeatable")
    how.add_argument("--no-reload", action="store_true", help="load nothing into the kernel: originals are proved by their tag only")
    how.add_argument("--sign", metavar="KEY", help="sign the file with ssh-keygen -Y and this key; the signature is FILE.sig")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Save, and say what was saved."""
    from bpflens import __version__
    from bpflens.snapshot.save import SaveOptions, save
    from bpflens.view.text import snapshot as view

    if bool(args.targets) == args.everything:
        raise UsageError("", "name targets, or --all for everything", 'see "bpflens save --help"')
    options = SaveOptions(
        everything=args.everything, data=not args.no_data, redact=tuple(args.redact), stable=args.stable, quiesce=args.quiesce,
        freeze=tuple(args.freeze), jited=args.jited, reload=not args.no_reload, deep=args.deep, hashes=not args.no_hashes,
        templates=args.templates, audit=args.audit,
        tool=f"bpflens {__version__}",
    )  # fmt: skip
    try:
        saved = save(args.targets, args.output, options, progress(settings))
    finally:
        clear_progress()
    if args.sign:
        from bpflens.snapshot.signing import sign

        sign(args.output, args.sign)
    if settings.json:
        import json

        from bpflens.records.snapshot import saved_record

        print(json.dumps(saved_record(saved)))
    else:
        for line in view.saved_lines(saved):
            print(line)
    sys.stdout.flush()
    unproven = [program for program in saved.manifest.programs if program.grade == "unproven"]
    for program in unproven:
        print(f"bpflens: not restorable: program {program.id} {program.name}: {program.reason}", file=sys.stderr)
    for text in saved.manifest.incomplete:
        print(f"bpflens: left out: {text}", file=sys.stderr)
    return 5 if saved.manifest.incomplete or unproven else 0


def progress(settings: Settings) -> Callable[[str], None] | None:
    """One line on a terminal's stderr that is written over; None elsewhere."""
    if settings.json or not sys.stderr.isatty():
        return None
    from bpflens.view.style.printable import printable

    def show(text: str) -> None:
        sys.stderr.write("\r" + printable(text)[:100].ljust(100))
        sys.stderr.flush()

    return show


def clear_progress() -> None:
    """Take the line of `progress` away."""
    if sys.stderr.isatty():
        sys.stderr.write("\r" + " " * 100 + "\r")
        sys.stderr.flush()

"""Compare a snapshot with the running machine: programs, maps, contents and attachments that are the same, changed, missing or new.

Counterparts are found by id in the same boot, by pin, by name and tag. --openmetrics prints counts for node_exporter's textfile collector.
With --signers the signature FILE.sig is checked first, by ssh-keygen -Y verify.

The exit code is 1 where something differs.
In Python: bpflens.verify("x.bpfsnap")."""

from __future__ import annotations

import argparse
import json
import sys

from bpflens.cli.settings import Settings
from bpflens.errors import UsageError

EXAMPLES = (
    "bpflens verify x.bpfsnap",
    "bpflens verify x.bpfsnap --no-data --all",
    "bpflens verify x.bpfsnap --openmetrics",
    "bpflens --json verify x.bpfsnap",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("file", metavar="FILE", help="a snapshot")
    parser.add_argument("--no-data", action="store_true", help="leave contents of maps out of the comparison")
    parser.add_argument("--all", action="store_true", help="print what is the same, too")
    parser.add_argument("--openmetrics", action="store_true", help="print counts as OpenMetrics")
    parser.add_argument("--only-file", action="store_true", help="check the file itself (hashes, signature) and not the machine")
    parser.add_argument("--signers", metavar="FILE", help="allowed signers, as ssh-keygen wants them")
    parser.add_argument("--identity", metavar="NAME", help="who must have signed (with --signers)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Compare; 1 where something differs."""
    import calendar
    import time

    from bpflens.cli.verbs.save import clear_progress, progress
    from bpflens.formats.snapshot.archive import Archive
    from bpflens.snapshot.verify import verify
    from bpflens.view.text import snapshot as view

    if bool(args.signers) != bool(args.identity):
        raise UsageError("--signers", "goes with --identity")
    if args.signers:
        from bpflens.snapshot.signing import check_signature

        check_signature(args.file, args.signers, args.identity)
    with Archive(args.file) as archive:
        if args.only_file:
            archive.check()
            if settings.json:
                from bpflens.records.snapshot import file_record

                print(json.dumps(file_record(args.file, archive.digest)))
            else:
                print(f"{args.file}: every member is as it was written, digest {archive.digest}")
            return 0
        try:
            changes = verify(archive, data=not args.no_data, progress=progress(settings))
        finally:
            clear_progress()
        if args.openmetrics:
            try:
                taken = float(calendar.timegm(time.strptime(archive.manifest.taken, "%Y-%m-%dT%H:%M:%SZ")))
            except ValueError:
                taken = 0.0
            lines = view.open_metrics(changes, archive.digest, taken, time.time())
        elif settings.json:
            from bpflens.records.snapshot import change_record

            lines = (json.dumps(change_record(change)) for change in changes)
        else:
            lines = view.changes_lines(changes, args.all, settings.color)
        for line in lines:
            print(line)
    sys.stdout.flush()
    return 1 if any(change.status != "same" for change in changes) else 0

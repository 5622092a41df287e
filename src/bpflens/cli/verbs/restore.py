"""Make programs, maps and attachments of a snapshot again. Without --apply it prints the plan and changes nothing.

The plan says what is made in which order, what cannot be made and why, and what is in the way. With --apply everything is made without
a name first. It is compared with what was saved (tags, images, attributes, contents), and only then attached and pinned. A failure undoes
what was done. What is there stays, unless --replace or --reuse-maps says otherwise. What only a process held is pinned below
/sys/fs/bpf/bpflens-DIGEST.

The plan's exit code is 1 where --apply would refuse it. It is 5 where something could not be looked at, or a capability is missing.
With --apply the exit code is 5 where something of the snapshot was left out.
In Python: bpflens.restore("x.bpfsnap", apply=True)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable

from bpflens.cli.settings import Settings
from bpflens.errors import UsageError

EXAMPLES = (
    "bpflens restore x.bpfsnap",
    "bpflens restore x.bpfsnap --pin-prefix /sys/fs/bpf/copy --no-attach --only map:counters",
    "bpflens --json restore x.bpfsnap",
    "bpflens restore --undo",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="a snapshot")
    parser.add_argument("--apply", action="store_true", help="do it")
    parser.add_argument("--undo", action="store_true", help="put back what a save or restore that was killed has left (no FILE)")
    where = parser.add_argument_group("where")
    where.add_argument("--pin-prefix", metavar="DIR", help="make all pins below this directory of a BPF filesystem")
    for option, word in (("--dev", "network device"), ("--cgroup", "cgroup"), ("--netns", "network namespace (name or path; self)")):
        where.add_argument(option, action="append", default=[], metavar="OLD=NEW", help=f"another {word}; repeatable")
    what = parser.add_argument_group("what")
    what.add_argument("--no-attach", action="store_true", help="no attachments")
    what.add_argument("--only", action="append", default=[], metavar="NAME", help="this program, or map:NAME, with what it needs")
    over = parser.add_argument_group("over what is there")
    over.add_argument("--reuse-maps", action="store_true", help="use pinned maps that are there, with their data")
    over.add_argument("--replace", action="store_true", help="replace pins and attachments that are there")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the plan; with --apply do it and print what was proved."""
    if args.undo:
        return _undo(settings)
    if not args.file:
        raise UsageError("", "name a snapshot", 'see "bpflens restore --help"')
    from bpflens.cli.verbs.save import clear_progress, progress
    from bpflens.formats.snapshot.archive import Archive
    from bpflens.snapshot.restore import restore
    from bpflens.snapshot.restoring.options import RestoreOptions
    from bpflens.snapshot.restoring.plan import make_plan
    from bpflens.view.text import snapshot as view

    options = RestoreOptions(
        pin_prefix=os.path.abspath(args.pin_prefix) if args.pin_prefix else None,
        devices=_pairs("--dev", args.dev), cgroups=_pairs("--cgroup", args.cgroup),
        netns=_pairs("--netns", args.netns), attach=not args.no_attach, only=tuple(args.only), reuse_maps=args.reuse_maps,
        replace=args.replace,
    )  # fmt: skip
    with Archive(args.file) as archive:
        plan = make_plan(archive, options)
        if not args.apply:
            archive.check()
            if settings.json:
                from bpflens.records.snapshot import plan_records

                _print_json(plan_records(plan))
            else:
                _print(view.plan_lines(plan, settings.color))
                print(f"bpflens: {view.plan_end(plan)}", file=sys.stderr)
            if not plan.feasible:
                return 1
            return 5 if plan.unseen or plan.needs else 0
        try:
            restored = restore(archive, plan, options, progress(settings))
        finally:
            clear_progress()
    if settings.json:
        from bpflens.records.snapshot import plan_records, restored_records

        _print_json([*plan_records(plan), *restored_records(restored)])
    else:
        _print(view.plan_lines(plan, settings.color))
        _print(view.restored_lines(restored, settings.color))
    return 5 if plan.left_out else 0


def _undo(settings: Settings) -> int:
    from bpflens.snapshot.undo import undo_all

    done = undo_all()
    if settings.json:
        from bpflens.records.snapshot import undone_record

        _print_json(undone_record(text) for text in done)
    else:
        _print(done)
    if not done and not settings.json:
        print("nothing to undo")
    return 0


def _pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old or not new:
            raise UsageError(option, f'"{text}" is not OLD=NEW')
        pairs[old] = new
    return pairs


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _print_json(records: Iterable[object]) -> None:
    for record in records:
        print(json.dumps(record))

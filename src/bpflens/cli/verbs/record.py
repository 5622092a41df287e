"""Keep the original instructions of every program as it is loaded, for `original --store` and for evidence.

A small tracing program of our own copies the kernel's own, still untouched instructions when the verifier begins (Linux 6.2 and newer).
Nothing of the loader or the loaded program is changed. The store has one file for each tag; loads.jsonl says who loaded it, when, and
as which id. What could not be kept is counted and said. systemd/bpflens-record.service of the sources runs it as a service.

In Python: bpflens.snapshot.record.record(Store("DIR"))."""

from __future__ import annotations

import argparse
import json
import sys

from bpflens.cli.settings import Settings
from bpflens.errors import NotSupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.snapshot.record import Kept

EXAMPLES = (
    "bpflens record --store kept --seconds 0.5 --self-test",
    "bpflens --json record --store kept --seconds 0.5",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    from bpflens.original.record_store import DEFAULT_STORE

    parser.add_argument("--store", metavar="DIR", default=DEFAULT_STORE, help=f"where to keep them (default {DEFAULT_STORE})")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after so long (default: with Ctrl-C)")
    parser.add_argument("--max-mib", type=int, default=1024, metavar="N", help="remove the oldest records beyond this size (default 1024)")
    parser.add_argument("--ring-mib", type=int, default=16, metavar="N", help="room for loads not read yet (default 16, a power of 2)")
    parser.add_argument("--self-test", action="store_true", help="load a program of two instructions first and see that it is recorded")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Record; 5 where something could not be kept."""
    from bpflens.kernel.recorder.recorder import Recorder
    from bpflens.original.record_store import Store
    from bpflens.records.record import kept_record
    from bpflens.snapshot.record import record
    from bpflens.view.style.printable import printable

    if args.ring_mib < 1 or args.ring_mib & (args.ring_mib - 1) or args.ring_mib > 1024:
        raise UsageError("--ring-mib", "is a power of 2 up to 1024")
    if args.max_mib < 1 or (args.seconds is not None and args.seconds < 0):
        raise UsageError("--max-mib, --seconds", "are positive numbers")
    store = Store(args.store, args.max_mib << 20)
    lost = kept_count = 0
    with Recorder(args.ring_mib << 20) as recorder:
        if args.self_test:
            if not recorder.self_test():
                raise NotSupported("record", "the self-test was not recorded: this kernel loads programs in another way")
            print("bpflens: recording; the self-test came in whole", file=sys.stderr)
        try:
            for kept in record(store, args.seconds, recorder=recorder):
                kept_count += kept.complete
                lost += not kept.complete
                if settings.json:
                    print(json.dumps(kept_record(kept)), flush=True)
                else:
                    print(printable(_line(kept)), flush=True)
        except KeyboardInterrupt:
            pass
        counters = recorder.counters()
    gone = store.prune()
    no_room = counters["no_room"]
    print(f"bpflens: {kept_count} loads kept, {lost} not; {no_room} pieces found no room; {gone} old records removed", file=sys.stderr)
    return 5 if lost or no_room else 0


def _line(kept: Kept) -> str:
    from bpflens.isa.extended.names import PROG_TYPES, type_name

    load = kept.load
    state = ("kept" if kept.new else "known already") if kept.complete else "NOT KEPT: instructions were lost"
    what = f"id {kept.id}" if kept.id is not None else "no id (refused, or gone)"
    who = f"by {load.comm} (pid {load.pid})"
    return f"{what}: {type_name(PROG_TYPES, load.type)} {load.name}, {load.insn_count} insns, {who}: {state}"

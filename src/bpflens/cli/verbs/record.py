"""Keep the original instructions of every program as it is loaded, for `original --store` and for evidence.

A small tracing program copies the instructions when the verifier begins, before the kernel changes them. Before Linux 6.2 it copies them
at the exit of bpf(2). Nothing of the loader or the loaded program is changed. It is tested first: a program of two instructions is loaded
and has to come in.

A loaded program takes the room of its difference from the image, or none where inversion gives it back. After it was unloaded the store
has a full copy. Programs that were loaded before are read from their images; what is not proved is said. With --pin the recorder goes on
in the kernel when this command ends. The next one finds what came in meanwhile; --remove ends it. --list prints who loaded what.
systemd/bpflens-record.service of the sources runs it as a service.

In Python: bpflens.record("DIR", seconds=60)."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from types import FrameType

from bpflens.cli.settings import Settings
from bpflens.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.recorder.recorder import Recorder
    from bpflens.original.store.store import Store
    from bpflens.snapshot.record import Kept

EXAMPLES = (
    "bpflens record --store kept --seconds 0.5",
    "bpflens --json record --store kept --seconds 0.5",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    from bpflens.original.store.store import DEFAULT_STORE

    parser.add_argument("--store", metavar="DIR", default=DEFAULT_STORE, help=f"where to keep them (default {DEFAULT_STORE})")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after so long (default: with Ctrl-C)")
    parser.add_argument("--max-mib", type=int, default=256, metavar="N", help="remove the oldest records beyond this size (default 256)")
    parser.add_argument("--ring-mib", type=int, default=16, metavar="N", help="room for loads not read yet (default 16, a power of 2)")
    parser.add_argument("--full", action="store_true", help="full copies at once, which not even a crash of the machine takes away")
    parser.add_argument("--pin", action="store_true", help="let the recorder go on when this command ends, and take over one that does")
    parser.add_argument("--remove", action="store_true", help="end the recorder of --pin, and nothing else")
    parser.add_argument("--list", action="store_true", help="print the loads that the store knows, and record nothing")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Record; 5 where something could not be kept."""
    from bpflens.kernel.recorder.recorder import PINS, Recorder, remove_pins
    from bpflens.snapshot.record import store_at

    if args.ring_mib < 1 or args.ring_mib & (args.ring_mib - 1) or args.ring_mib > 1024:
        raise UsageError("--ring-mib", "is a power of 2 up to 1024")
    if args.max_mib < 1 or (args.seconds is not None and not args.seconds >= 0):
        raise UsageError("--max-mib, --seconds", "are positive numbers")
    if args.remove:
        if not remove_pins():
            raise NotFound(PINS, "no recorder is pinned there")
        return 0
    store = store_at(args.store, args.max_mib << 20)
    if args.list:
        return _list(store, settings)
    with Recorder.working(args.ring_mib << 20, PINS if args.pin else None) as recorder:
        words = "goes on with the recorder that was pinned" if recorder.taken_over else "recording"
        words += " at the exit of bpf(2)" if recorder.at_exit else ""
        print(f"bpflens: {words}; the self-test came in whole", file=sys.stderr, flush=True)
        return _record(store, recorder, args, settings)


def _record(store: Store, recorder: Recorder, args: argparse.Namespace, settings: Settings) -> int:
    from bpflens.records.record import kept_record
    from bpflens.snapshot.record import record
    from bpflens.view.style.printable import printable

    counts = {"recorded": 0, "image": 0, "lost": 0}
    before = recorder.counters()["no_room"]
    ended: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        ended.append(number)

    handlers = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for kept in record(store, args.seconds, recorder=recorder, full=args.full, stop=lambda: bool(ended)):
            counts[kept.how] += 1
            print(json.dumps(kept_record(kept)) if settings.json else printable(_line(kept)), flush=True)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    no_room = recorder.counters()["no_room"] - (0 if recorder.taken_over else before)
    print(
        f"bpflens: {counts['recorded']} recorded, {counts['image']} from their images, {counts['lost']} not kept; "
        f"{no_room} pieces found no room", file=sys.stderr,
    )  # fmt: skip
    return 5 if counts["lost"] or no_room else 0


def _list(store: Store, settings: Settings) -> int:
    from bpflens.records.record import load_record
    from bpflens.view.style.printable import printable

    found = False
    for load in store.loads():
        found = True
        if settings.json:
            print(json.dumps(load_record(load)))
            continue
        who = " ".join(str(load[key]) for key in ("cmd", "unit", "container") if key in load)
        when = _time(load.get("time"))
        print(printable(f"{load.get('tag')} {when} {load.get('name') or '-'}, {load.get('insns')} insns, id {load.get('id')}, "
                        f"by {load.get('comm')} (pid {load.get('pid')}, uid {load.get('uid')}) {who}".rstrip()))  # fmt: skip
    if not found:
        raise NotFound(str(store.directory), "has no loads")
    return 0


def _time(seconds: object) -> str:
    import datetime

    try:
        return datetime.datetime.fromtimestamp(int(str(seconds)), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "?"


def _line(kept: Kept) -> str:
    from bpflens.isa.extended.names import PROG_TYPES, type_name

    load = kept.load
    states = {
        "recorded": "kept" if kept.new else "known already", "image": "read from its image", "lost": f"NOT KEPT: {kept.reason}",
    }  # fmt: skip
    what = f"id {kept.id}" if kept.id is not None else "no id (refused, or gone)"
    who = f", by {load.comm} (pid {load.pid})" if load.pid else ""
    return f"{what}: {type_name(PROG_TYPES, load.type)} {load.name}, {load.insn_count} insns{who}: {states[kept.how]}"

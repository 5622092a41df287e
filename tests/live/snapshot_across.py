"""What a kernel makes of a snapshot that was taken under another: a line for each program and map, with the verifier's words.

    python tests/live/snapshot_across.py x.bpfsnap           (run by tests/kernels/run --shell in the emulated kernels)

Everything is restored alone, with what it needs, without attachments, and removed again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bpflens.errors import BpflensError
from bpflens.formats.snapshot.archive import Archive
from bpflens.snapshot.restore import restore
from bpflens.snapshot.restoring.options import RestoreOptions
from bpflens.snapshot.restoring.plan import make_plan
from live.snapshot_lab import remove_pins


def attempt(path: str, only: str) -> str:
    """"restored", with what could not be compared, or why not."""
    options = RestoreOptions(pin_prefix=f"/sys/fs/bpf/across-{os.getpid()}", attach=False, only=(only,))
    try:
        with Archive(path) as archive:
            plan = make_plan(archive, options)
            restored = restore(archive, plan, options)
    except BpflensError as error:
        return f"refused: {error}"
    finally:
        remove_pins(options.pin_prefix or "")
    lost = [item.object for item in plan.left_out if "attach" not in item.why and "no-attach" not in item.why]
    unknown = sorted({check.what for check in restored.checks if check.same is None})
    words = "restored"
    if unknown:
        words += f"; not compared: {', '.join(unknown)}"
    return f"{words}; left out: {', '.join(lost)}" if lost else words


def main() -> None:
    """Print the lines."""
    path = sys.argv[1]
    with Archive(path) as archive:
        manifest = archive.manifest
    release = os.uname().release
    for program in manifest.programs:
        print(f"{release} program {program.name} ({program.type_name}): {attempt(path, str(program.id))}", flush=True)
    for map in manifest.maps:
        print(f"{release} map {map.name} ({map.type_name}): {attempt(path, f'map:{map.id}')}", flush=True)


if __name__ == "__main__":
    main()

"""What a kernel makes of snapshots that were taken under another: a table with the verifier's words.

    python tests/live/snapshot_across.py --make DIRECTORY       save the programs of tools and of the tests' object, one file each
    python tests/live/snapshot_across.py DIRECTORY              restore them here; in the emulated kernels by tests/kernels/run --shell

A snapshot is restored as a whole, without attachments, and where that is refused program by program. Everything is removed again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bpflens.errors import BpflensError
from bpflens.formats.snapshot.archive import Archive
from bpflens.snapshot.restore import Restored, restore
from bpflens.snapshot.restoring.options import RestoreOptions
from bpflens.snapshot.restoring.plan import make_plan
from bpflens.snapshot.save import SaveOptions, save
from live.snapshot_lab import remove_pins

TOOLS = (
    "biolatency", "biosnoop", "cpudist", "exitsnoop", "hardirqs", "killsnoop", "mountsnoop", "numamove", "opensnoop", "runqlat",
    "runqslower", "syscount", "tcpconnlat", "tcplife", "tcpstates", "wakeuptime",
    "xdp-filter load lo -m skb", "xdp-monitor", "xdp-bench drop lo -m skb",
)  # fmt: skip


def attempt(path: str, only: str = "") -> tuple[Restored | None, str, list[str]]:
    """(what was restored, why not, what stayed away with its reason)."""
    options = RestoreOptions(pin_prefix=f"/sys/fs/bpf/across-{os.getpid()}", attach=False, only=(only,) if only else ())
    try:
        with Archive(path) as archive:
            plan = make_plan(archive, options)
            restored = restore(archive, plan, options)
    except (BpflensError, OSError) as error:
        return None, str(error), []
    finally:
        remove_pins(options.pin_prefix or "")
    for pin in restored.pins:
        if os.path.exists(pin):
            os.unlink(pin)
    return restored, "", [f"{item.object}: {item.why}" for item in plan.left_out if not item.why.startswith("--")]


def main() -> None:
    """Print the lines, then the sums."""
    if sys.argv[1] == "--make":
        make(Path(sys.argv[2]))
        return
    release, sums, reasons = os.uname().release, Counter[str](), Counter[str]()
    for file in sorted(Path(sys.argv[1]).glob("*.bpfsnap")):
        with Archive(str(file)) as archive:
            manifest = archive.manifest
        restored, _, left = attempt(str(file))
        sums["snapshots"] += 1
        sums["programs"] += len(manifest.programs)
        if restored is not None:
            proved(restored, sums)
            sums["snapshots restored whole"] += len(restored.programs) == len(manifest.programs)
            reasons.update(short(line) for line in left if line.startswith("program"))
            done = f"{len(restored.programs)} of {len(manifest.programs)} programs"
            print(f"{release} {file.stem}: {done}; {'; '.join(left) or 'all'}", flush=True)
            continue
        for program in manifest.programs:
            one, reason, left = attempt(str(file), str(program.id))
            if one is not None and len(one.programs):
                proved(one, sums)
            else:
                reasons[short(reason or "; ".join(left))] += 1
                print(f"{release} {file.stem}: program {program.name} ({program.type_name}): {reason or '; '.join(left)}", flush=True)
    print(release, dict(sums))
    for text, count in reasons.most_common():
        print(f"{release} not restored, {count}: {text}")


def proved(restored: Restored, sums: Counter[str]) -> None:
    """Count what the comparison says of programs."""
    sums["programs restored"] += len(restored.programs)
    for check in restored.checks:
        if check.what in ("tag", "image"):
            sums[f"{check.what} {'same' if check.same else 'differs' if check.same is False else 'not compared'}"] += 1


def short(reason: str) -> str:
    """Without numbers and names of the one program, so that reasons can be counted."""
    return re.sub(r"\b\d+\b", "N", re.sub(r'^(program|map) "?[^:]*"?: ', "", reason))


def make(directory: Path) -> None:
    """Save."""
    from live.real_programs import loaded_by
    from live.test_real_programs import named
    from live.test_snapshot_traffic import SOURCE

    directory.mkdir(parents=True, exist_ok=True)
    for tool in TOOLS:
        name, *rest = tool.split()
        path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not path:
            continue
        with loaded_by([path, *rest]) as fds:
            ids = [f"id:{id}" for _, id in named(fds)]
            if ids:
                save(ids, str(directory / f"{name}.bpfsnap"), SaveOptions(hashes=False))
    with tempfile.TemporaryDirectory() as where:
        (Path(where) / "x.c").write_text(SOURCE)
        include = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
        command = ["clang", "-O2", "-g", "-target", "bpf", f"-I/usr/include/{include}", "-c", "x.c", "-o", "x.o"]
        subprocess.run(command, cwd=where, check=True)
        pins = f"/sys/fs/bpf/across-{os.getpid()}"
        os.mkdir(pins)
        try:
            subprocess.run(["bpftool", "prog", "loadall", f"{where}/x.o", pins], check=True)
            save([f"pin:{pins}"], str(directory / "traffic.bpfsnap"), SaveOptions(hashes=False))
        finally:
            remove_pins(pins)


if __name__ == "__main__":
    main()

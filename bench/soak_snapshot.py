"""Attack snapshots.

    python bench/soak_snapshot.py [--seconds 60] [--seed 1]     restore(save(x)) = x: random maps with random contents are saved, removed,
                                                                restored, and read back by the plain interface
    python bench/soak_snapshot.py --faults [--whole]            system calls of save and restore fail, or are the last: random ones until
                                                                the time is over, or every one with two errors and a kill (an hour)
    python bench/soak_snapshot.py --hostile                     files with flipped bits, other lengths, exchanged members and changed
                                                                manifests: every verb ends with an error of ours, or an answer

Prints what was tried; ends with 1 at the first fault, with its seed.
"""

from __future__ import annotations

import argparse
import os
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from bpflens.errors import KernelError
from bpflens.kernel.maps.map_data import items, update, value_stride
from bpflens.kernel.pins import opened_pin
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from live.snapshot_lab import SnapshotLab, failures, id_of, remove_pins, snapshot_lab

if TYPE_CHECKING:
    from live.fault_scenes import Scene

HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU, LPM = 1, 2, 5, 6, 9, 11
NO_PREALLOC = 1


def make(dice: random.Random) -> tuple[int, int, int, int]:
    """(descriptor, type, key size, value size) of a random map with contents."""
    type = dice.choice((HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU, LPM))
    key_size = dice.choice((1, 2, 3, 4, 5, 8, 12, 16, 37))
    if type in (ARRAY, PERCPU_ARRAY, LPM):
        key_size = 4 + (dice.randint(1, 16) if type == LPM else 0)
    value_size = dice.choice((1, 2, 3, 4, 7, 8, 12, 16, 24, 100, 255, 1024))
    entries = 1 << 16 if type == LRU else dice.choice((1, 2, 7, 100, 1000, 5000))
    flags = NO_PREALLOC if type == LPM or (type in (HASH, PERCPU_HASH) and dice.random() < 0.5) else 0
    fd = create_map(type, key_size, value_size, entries, name="bl_soak", flags=flags)
    stride = value_stride(type, value_size)
    for number in range(dice.randint(0, min(entries, 1000))):
        if type in (ARRAY, PERCPU_ARRAY):
            key = number.to_bytes(4, "little")
        elif type == LPM:
            key = dice.randint(0, 8 * (key_size - 4)).to_bytes(4, "little") + dice.randbytes(key_size - 4)
        else:
            key = dice.randbytes(key_size)
        try:
            update(fd, key, dice.randbytes(stride))
        except KernelError:
            break  # full
    return fd, type, key_size, value_size


def contents(fd: int) -> list[tuple[bytes, bytes | None]]:
    """All elements by the plain interface, in an order of its own."""
    return sorted((key, value) for key, value in items(fd))


def faults(seconds: float, seed: int, whole: bool) -> int:
    """System calls of restores and a save with two errors and a kill; see tests/live/fault_scenes.py for what must hold after each."""
    from live.attach_lab import Lab
    from live.fault_scenes import FreshRestore, QuiescedSave, ReplacingRestore, attack, ends, faults_of, measure

    wrong = 0
    for kind in (ReplacingRestore, FreshRestore, QuiescedSave):
        codes, started = Counter[int](), time.monotonic()
        with tempfile.TemporaryDirectory() as where, Lab() as machine, snapshot_lab(Path(where)) as lab:
            scene: Scene = kind(machine, lab, "s")
            outcome, before, after = measure(scene)
            plan = faults_of(outcome.calls)
            if not whole:
                random.Random(seed).shuffle(plan)
            for count, (number, errno, kill) in enumerate(plan):
                if whole and count % 100 == 0:
                    print(f"{scene.name}: {count} of {len(plan)}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
                if not whole and time.monotonic() > started + seconds / 3:
                    break
                try:
                    codes[attack(scene, number, errno, kill, before, after)] += 1
                except AssertionError as error:
                    print(f"WRONG: {error}", flush=True)
                    wrong += 1
                    repair(scene)
        print(f"{scene.name}: {len(outcome.calls)} system calls, {codes.total()} of {len(plan)} faults: {ends(codes)}", flush=True)
    print(f"{wrong} wrong")
    return 1 if wrong else 0


def repair(scene: Scene) -> None:
    """Take away what a fault has left, to go on with the next."""
    from bpflens.snapshot.undo import undo_all
    from live.fault_scenes import leftovers

    undo_all()
    for name in leftovers():
        for directory in ("/run/bpflens", "/sys/fs/bpf"):
            if os.path.isfile(f"{directory}/{name}"):
                os.unlink(f"{directory}/{name}")
    scene.reset()


def hostile(seconds: float, seed: int) -> int:
    """Damaged files through the reading verbs, in one process with a limit of memory."""
    import contextlib
    import io
    import resource

    from bpflens.cli.main import run
    from bpflens.formats.snapshot.archive import Archive

    until, dice, codes = time.monotonic() + seconds, random.Random(seed), Counter[tuple[str, int]]()
    with tempfile.TemporaryDirectory() as where, snapshot_lab(Path(where)) as lab:
        fds = [make(dice)[0] for _ in range(3)]
        good = Path(lab.save(*(f"map:{id_of(fd)}" for fd in fds), f"id:{some_program(lab)}", hashes=False).path).read_bytes()
        other = Path(lab.save(f"map:{id_of(fds[0])}", hashes=False).path).read_bytes()
        with Archive(str(Path(where) / "0.bpfsnap")) as archive:
            id = archive.manifest.maps[0].id
        bad = Path(where) / "bad.bpfsnap"
        limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        verbs = (["ls", str(bad)], ["dis", str(bad)], ["original", str(bad)], ["export", f"{bad}#map:{id}"], ["restore", str(bad)],
                 ["verify", str(bad)], ["diff", str(bad), str(bad)], ["show", f"{bad}#1"], ["restore", str(bad), "--apply", "--pin-prefix",
                 f"{lab.prefix}/now"])  # fmt: skip
        while time.monotonic() < until:
            bad.write_bytes(damaged(dice, good, other))
            verb = dice.choice(verbs)
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(verb)
            codes[verb[0], code] += 1
            if code not in (0, 1, 3, 4, 5) or "Traceback" in err.getvalue() or (code >= 3 and not err.getvalue().startswith("bpflens: ")):
                print(f"seed {seed}: {verb}: {code}: {err.getvalue()}")
                Path("/tmp/bad.bpfsnap").write_bytes(bad.read_bytes())
                return 1
            remove_pins(f"{lab.prefix}/now")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - limit) >> 10
        for fd in fds:
            os.close(fd)
    print(f"{sum(codes.values())} readings of damaged files, {grown} MiB more at most; by verb and code: {dict(sorted(codes.items()))}")
    return 0


def some_program(lab: SnapshotLab) -> int:
    """The id of a small program."""
    return prog_info_by_fd(lab.fd(load_program(bytes.fromhex("b700000001000000 9500000000000000"), 1, name="bl_soak"))).id


def damaged(dice: random.Random, good: bytes, other: bytes) -> bytes:
    """Flipped bits, cut, doubled or exchanged pieces; and archives that are made again with changed members and right sums."""
    if dice.random() < 0.6:
        return rebuilt(dice, good)
    raw = bytearray(good)
    for _ in range(dice.choice((1, 1, 2, 8, 100))):
        way, at = dice.randrange(5), dice.randrange(len(raw))
        if way == 0:
            raw[at] ^= 1 << dice.randrange(8)
        elif way == 1:
            del raw[at : at + dice.choice((1, 4, 100))]
        elif way == 2:
            raw[at:at] = dice.randbytes(dice.choice((1, 4, 100)))
        elif way == 3:
            raw[at : at + 4] = dice.choice((bytes(4), b"\xff" * 4, struct.pack("<I", dice.getrandbits(31))))
        else:
            start = dice.randrange(len(other))
            raw[at : at + 64] = other[start : start + 64]
        if not raw:
            break
    return bytes(raw)


def rebuilt(dice: random.Random, good: bytes) -> bytes:
    """The archive with one value of its manifest or some bytes of a member changed, and hashes and sums made right again."""
    import hashlib
    import io
    import json
    import zipfile

    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    blobs = [name for name in members if name not in ("manifest.json", "SHA256SUMS", "bpflens-snapshot") and members[name]]
    if blobs and dice.random() < 0.4:
        name = dice.choice(blobs)
        raw = bytearray(members[name])
        for _ in range(dice.choice((1, 4))):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        if dice.random() < 0.3:
            raw = raw[: dice.randrange(len(raw) + 1)]
        members[name] = bytes(raw)
    else:
        for _ in range(dice.choice((1, 1, 3))):
            mutate(dice, manifest)
    text = json.dumps(manifest)
    for name in blobs:
        with zipfile.ZipFile(io.BytesIO(good)) as archive:
            before = archive.read(name)
        text = text.replace(hashlib.sha256(before).hexdigest(), hashlib.sha256(members[name]).hexdigest())
    members["manifest.json"] = text.encode()
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in members.items() if name != "SHA256SUMS")
    members["SHA256SUMS"] = sums.encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def mutate(dice: random.Random, value: object) -> None:
    """One value somewhere in a JSON document becomes another."""
    while True:
        if isinstance(value, dict) and value:
            key = dice.choice(list(value))
        elif isinstance(value, list) and value:
            key = dice.randrange(len(value))
        else:
            return
        inner = value[key]
        if isinstance(inner, (dict, list)) and inner and dice.random() < 0.9:
            value = inner
            continue
        value[key] = dice.choice((
            None, -1, 0, 1, 2**31, 2**32, 2**63, 2**64, 10**30, 1.5, True, "", "../../etc/passwd", "/sys/fs/bpf/\x1b[31m", "\0", "x" * 5000,
            [], {}, [[]], inner if not isinstance(inner, int) or isinstance(inner, bool) else inner ^ 1 << dice.randrange(32),
        ))  # fmt: skip
        return


def round_trips(seconds: float, seed: int) -> int:
    """Random maps."""
    until = time.monotonic() + seconds
    seen: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as where, snapshot_lab(Path(where)) as lab:
        while time.monotonic() < until:
            fd, type, _, _ = make(random.Random(seed))
            lab.fd(fd)
            before = contents(fd)
            saved = lab.save(f"map:{id_of(fd)}", hashes=False)
            lab.unload(saved)
            restored, _ = lab.restore(saved.path)
            with opened_pin(restored.pins[0]) as now:
                same = contents(now) == before
            wrong = failures(restored)
            os.unlink(saved.path)
            lab.close()
            if wrong or not same:
                print(f"seed {seed}: type {type}: {wrong or 'other contents'}")
                return 1
            seen[type] += 1
            seed += 1
    print(f"{sum(seen.values())} maps came back, by type: {dict(sorted(seen.items()))}")
    return 0


def main() -> int:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--whole", action="store_true", help="with --faults: every system call, however long it takes")
    parser.add_argument("--hostile", action="store_true")
    arguments = parser.parse_args()
    if arguments.faults:
        return faults(arguments.seconds, arguments.seed, arguments.whole)
    return (hostile if arguments.hostile else round_trips)(arguments.seconds, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())

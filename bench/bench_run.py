"""`bpflens run` beside tcpdump: a million packets, the whole process, in the same run.

    python bench/bench_run.py [--packets N] [--runs N]

The capture (about 270 bytes a packet: TCP, UDP, ARP, a tenth to or from port 80) is made in a temporary directory and removed. Both
programs are run in turn and the medians compared; memory is the largest resident set, for captures of one and of four sizes.
bpflens runs from compiled bytecode, as an installed package does.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXPRESSION = "tcp port 80"


def make_capture(path: Path, packets: int) -> None:
    """Write a capture of 5000 different packets over and over."""
    rng = random.Random(7)
    pool = [_packet(rng, number % 10) for number in range(5000)]
    with open(path, "wb", 1 << 20) as stream:
        stream.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for number in range(packets):
            data = pool[number * 7919 % 5000]
            stream.write(struct.pack("<IIII", 1_700_000_000 + number // 1000, number % 1000, len(data), len(data)) + data)


def _packet(rng: random.Random, kind: int) -> bytes:
    size = rng.choice((40, 52, 60, 120, 300, 800, 240))
    if kind == 9:
        return b"\xff" * 6 + bytes(6) + b"\x08\x06" + bytes(46)
    addresses = rng.randbytes(8)
    if kind < 5:
        ports = [80 if kind == 0 else rng.choice((443, 22, 8080, 5432)), rng.randint(1024, 65535)]
        rng.shuffle(ports)
        transport, protocol = struct.pack(">HHIIBBHHH", *ports, 1, 2, 0x50, 0x10, 500, 0, 0), 6
    else:
        transport, protocol = struct.pack(">HHHH", 53, rng.randint(1024, 65535), 8 + size, 0), 17
    if kind in (7, 8):
        header = struct.pack(">IHBB", 0x60000000, len(transport) + size, protocol, 64) + rng.randbytes(32)
        return bytes(12) + b"\x86\xdd" + header + transport + bytes(size)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport) + size, 1, 0, 64, protocol, 0) + addresses
    return bytes(12) + b"\x08\x00" + header + transport + bytes(size)


def seconds_of(command: list[str], environment: dict[str, str]) -> float:
    """Wall seconds of one run."""
    start = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def peak_mib(command: list[str], environment: dict[str, str]) -> float:
    """Largest resident set of one run: VmHWM, looked at until the process is gone (ru_maxrss begins with the parent's)."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = max(peak, int(line.split()[1]))
        time.sleep(0.001)
    return peak / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=11)
    options = parser.parse_args()
    tcpdump = shutil.which("tcpdump", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if tcpdump is None:
        raise SystemExit("needs tcpdump")
    with tempfile.TemporaryDirectory(prefix="bpflens-bench-") as directory:
        where = Path(directory)
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(where / "pyc")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        capture = where / "x.pcap"
        make_capture(capture, options.packets)
        bpflens = [sys.executable, "-m", "bpflens", "run", f"pcap:{EXPRESSION}", str(capture)]
        commands = {
            "tcpdump -r FILE -w /dev/null": [tcpdump, "-r", str(capture), "-w", "/dev/null"],
            f"tcpdump -r FILE -w /dev/null '{EXPRESSION}'": [tcpdump, "-r", str(capture), "-w", "/dev/null", EXPRESSION],
            f"bpflens run 'pcap:{EXPRESSION}' FILE": bpflens,
            "  --total": [*bpflens, "--total"],
            "  -w /dev/null": [*bpflens, "-w", "/dev/null"],
        }
        seconds_of(bpflens, environment)  # compile the bytecode, warm the page cache
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                seconds[name].append(seconds_of(command, environment))
        for name in ("  --returns", "  --profile"):
            commands[name] = [*bpflens, name.strip()]
            seconds[name] = [seconds_of(commands[name], environment)]
        plain, filtered = (statistics.median(seconds[name]) for name in list(commands)[:2])
        print(f"{options.packets} packets, {capture.stat().st_size >> 20} MiB; medians of {options.runs} runs (the last two: one run)")
        print(f"{'':44} {'s':>7} {'/ all':>7} {'/ same':>7} {'Mpkt/s':>7} {'MiB':>6}")
        for name, values in seconds.items():
            median = statistics.median(values)
            peak = peak_mib(commands[name], environment)
            rate = options.packets / median / 1e6
            print(f"{name:44} {median:7.3f} {median / plain:7.2f} {median / filtered:7.2f} {rate:7.2f} {peak:6.1f}")
        quarter = where / "quarter.pcap"
        make_capture(quarter, options.packets // 4)
        for option in ([], ["--profile"]):
            small = peak_mib([*bpflens[:-1], str(quarter), *option], environment)
            large = peak_mib([*bpflens, *option], environment)
            what = f"memory{' with --profile' if option else ''}"
            print(f"{what}: {small:.1f} MiB for a quarter of the packets, {large:.1f} MiB for all")


if __name__ == "__main__":
    main()

"""Debian's kernel packages, fetched and unpacked, never installed: from all suites of the mirror that this machine uses.

The suites are named to apt in a state of its own below $BPFLENS_KERNELS (default ~/.cache/bpflens/kernel-packages), so that the package
lists of this machine stay as they are.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ("FLAVOURS", "SERIES", "fetch")

CACHE = Path(os.environ.get("BPFLENS_KERNELS", "~/.cache/bpflens/kernel-packages")).expanduser()
MIRROR = "http://deb.debian.org"
SUITES = (
    "debian bullseye", "debian bookworm", "debian-security bookworm-security", "debian bookworm-backports", "debian trixie",
    "debian trixie-backports",
)  # fmt: skip
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SERIES = ("5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3")
FLAVOURS = ("cloud-amd64", "amd64")  # cloud: small; amd64: with all modules


def fetch(series: str, flavour: str) -> Path:
    """The directory of the newest kernel of a series, unpacked: image and, where the archive still has them, modules."""
    pattern = re.escape(f"linux-image-{series}.") + r"[\d.]+(-\d+)?(\+deb[\d.]+)?-" + flavour
    names = [name for name in _names() if re.fullmatch(pattern, name)]
    if not names:
        sys.exit(f"no suite has a kernel {series} ({flavour})")
    name = max(names, key=lambda text: [int(part) for part in re.findall(r"\d+", text)])
    directory = CACHE / name
    if not directory.is_dir():
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            for package in (name, *_parts(name)):
                _apt("apt-get", "-qq", "download", package, cwd=work)
            for archive in Path(work).glob("*.deb"):
                subprocess.run(["dpkg", "-x", archive, f"{work}/root"], check=True)
            os.rename(f"{work}/root", directory)
    return directory


def _parts(image: str) -> list[str]:
    """The packages that an image is split into (from 6.19 on). The archive drops the modules of older builds first: left out then."""
    release = image.removeprefix("linux-image-")
    return [name for kind in ("binary", "modules") if (name := f"linux-{kind}-{release}") in _names(f"linux-{kind}-{release}")]


def _names(prefix: str = "linux-image-") -> list[str]:
    if not (CACHE / "apt" / "updated").exists():
        _set_up()
    return _apt("apt-cache", "pkgnames", prefix).split()


def _set_up() -> None:
    """apt's lists of all suites, read once; remove the directory "apt" to read them again."""
    root = CACHE / "apt"
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "sources.list").write_text("".join(f"deb [signed-by={KEYRING}] {MIRROR}/{suite} main\n" for suite in SUITES))
    (root / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{root}/sources.list";\nDir::Etc::sourceparts "-";\nDir::State "{root}/state";\n'
        f'Dir::State::status "/var/lib/dpkg/status";\nDir::Cache "{root}/cache";\nAPT::Sandbox::User "root";\n'
        'Acquire::Languages "none";\n'
    )
    _apt("apt-get", "-qq", "update")
    (root / "updated").touch()


def _apt(*command: str, cwd: str | None = None) -> str:
    environment = {**os.environ, "APT_CONFIG": str(CACHE / "apt" / "apt.conf")}
    return subprocess.run(command, env=environment, cwd=cwd, check=True, capture_output=True, text=True).stdout

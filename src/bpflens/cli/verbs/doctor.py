"""What this user and this kernel allow, and what is lost without the rest.

Everything is probed, nothing is changed and nothing stays loaded. "?" means that this process may not even ask.

In Python: bpflens.doctor() gives the findings.
"""

from __future__ import annotations

import argparse
import json
import os
import platform

from bpflens import __version__
from bpflens.cli.settings import Settings

EXAMPLES = ("bpflens doctor", "bpflens doctor --missing", "bpflens --json doctor")


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--missing", action="store_true", help="only what is missing or unknown")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print all findings; always 0, for the doctor's own work has succeeded."""
    from bpflens.kernel.features import findings
    from bpflens.records.doctor import finding_record
    from bpflens.view.text.doctor import finding_lines

    found = (finding for finding in findings() if not (args.missing and finding.present))
    if settings.json:
        for finding in found:
            print(json.dumps(finding_record(finding)))
        return 0
    system = os.uname()
    kernel = f"{system.sysname} {system.release} {system.machine}"
    print(f"bpflens {__version__}, {kernel}, Python {platform.python_version()}, uid {os.geteuid()}\n")
    for line in finding_lines(found, settings.color):
        print(line)
    return 0

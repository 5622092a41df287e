"""Every file that a verb writes is there when it is whole; a symbolic link at its place is not followed, and an error names the file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bpflens.cli.main import run
from bpflens.errors import InputError
from bpflens.formats.snapshot.archive import ArchiveWriter

FILTER = "4,40 0 0 12,21 0 1 2048,6 0 0 1,6 0 0 0"
CAPTURES = ([], ["--returns"], ["--profile"])  # libpcap writes the first, Python the others


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[str, str]:
    packet = bytes(12) + b"\x08\x00" + bytes(46)
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet
    (tmp_path / "x.pcap").write_bytes(capture)
    (tmp_path / "filter").write_text(FILTER)
    return str(tmp_path / "filter"), str(tmp_path / "x.pcap")


@pytest.mark.parametrize("options", CAPTURES)
def test_matching_packets(inputs: tuple[str, str], tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    goal, link, out = tmp_path / "goal", tmp_path / "link", tmp_path / "out.pcap"
    goal.write_text("kept")
    link.symlink_to(goal)

    assert run(["run", *inputs, *options, "-w", str(link)]) == 3
    assert goal.read_text() == "kept" and "symbolic link" in capsys.readouterr().err
    assert run(["run", *inputs, *options, "-w", str(out)]) == 0
    assert out.read_bytes()[40:] == Path(inputs[1]).read_bytes()[40:]
    assert run(["run", *inputs, *options, "-w", "/dev/full"]) == 3
    assert "/dev/full" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*"))


def test_a_snapshot(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "goal")
    with pytest.raises(InputError, match="symbolic link"):
        ArchiveWriter(str(tmp_path / "link"))

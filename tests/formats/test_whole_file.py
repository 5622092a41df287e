"""Outputs are whole or absent; links are not followed; what was there stays where something goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import needs
from bpflens.cli.main import run
from bpflens.errors import InputError
from bpflens.formats.whole_file import whole_file, write_whole


def test_written_and_replaced(tmp_path: Path) -> None:
    """New content, old mode, nothing left beside it."""
    goal = tmp_path / "x.o"
    write_whole(str(goal), b"one", 0o600)
    assert (goal.read_bytes(), goal.stat().st_mode & 0o777) == (b"one", 0o600)
    write_whole(str(goal), "two")
    assert (goal.read_bytes(), goal.stat().st_mode & 0o777) == (b"two", 0o600)
    assert os.listdir(tmp_path) == ["x.o"]


def test_an_error_on_the_way_leaves_the_goal(tmp_path: Path) -> None:
    """The old file is as it was."""
    goal = tmp_path / "x.o"
    goal.write_bytes(b"old")
    with pytest.raises(RuntimeError), whole_file(str(goal)) as stream:
        stream.write(b"new")
        raise RuntimeError
    assert goal.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.o"]


def test_a_full_disk_loses_nothing() -> None:
    """On a file system of one page the old file stays, and the error names it."""
    needs.root()
    script = """
import sys, subprocess, os
from bpflens.errors import InputError
from bpflens.formats.whole_file import write_whole
directory = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", directory], check=True)
try:
    write_whole(directory + "/x", b"old")
    try:
        write_whole(directory + "/x", bytes(1 << 20))
    except InputError as error:
        print(error)
    print(open(directory + "/x", "rb").read(), os.listdir(directory))
finally:
    subprocess.run(["umount", directory], check=True)
"""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script, directory], capture_output=True, text=True, env=environment)
        assert done.stdout.splitlines() == [f"{directory}/x: No space left on device", "b'old' ['x']"], done.stderr


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Who made the link would choose what is overwritten."""
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(InputError, match="is a symbolic link, which is not followed"):
        write_whole(str(tmp_path / "link"), b"x")
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_devices_and_pipes_are_written_as_they_come(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """/dev/null and /dev/stdout are no files to rename to."""
    write_whole("/dev/null", b"x")
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


@pytest.mark.parametrize("path", ["/nonexistent/x", "", "a\0b"])
def test_errors_name_the_file(path: str) -> None:
    """One line."""
    with pytest.raises(InputError) as caught:
        write_whole(path, b"x")
    assert caught.value.object in (path, repr(path))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """asm -o to a place that does not exist."""
    source = tmp_path / "x.s"
    source.write_text("r0 = 0\nexit\n")
    assert run(["asm", str(source), "-o", str(tmp_path / "no/x.bin")]) == 3
    assert capsys.readouterr().err == f"bpflens: error: {tmp_path}/no/x.bin: No such file or directory\n"

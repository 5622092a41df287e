"""Programs of libbpf-tools, xdp-tools and systemd: exact where nothing was removed, exact from the object file where code was."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.original.find_object import look_up
from bpflens.original.image.tag import blanked, tags
from bpflens.original.recover import recover
from original.libbpf import library, loaded, objects_in

pytestmark = pytest.mark.live

NAMES = (
    "opensnoop", "execsnoop", "runqlat", "tcpconnlat", "tcplife", "biosnoop", "cpudist", "softirqs", "offcputime", "filelife",
    "xdp-filter", "xdp-bench", "xdp-loader", "xdp-monitor",
)  # fmt: skip
EVERYWHERE = ("/usr/sbin", "/usr/lib/x86_64-linux-gnu/bpf", "/usr/lib/systemd", "/lib/systemd")


def words(code):
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]


def check(path):
    """(programs, exact, equivalent) of a file, each compared with what libbpf gave to the kernel."""
    seen, exact, equivalent = set(), 0, 0
    for blob in objects_in(path):
        with loaded(blob) as programs:
            for program in programs:
                info = prog_info_by_fd(program.fd)
                if info.tag in seen:
                    continue
                seen.add(info.tag)
                given = list(blanked(words(program.insns)))
                assert info.tag in tags(given)
                original = recover(info.id)
                if original.grade == "exact":
                    exact += 1
                    assert list(blanked(words(original.code))) == given
                else:
                    assert original.grade == "equivalent", f"{path} {program.name}: {original.reason}"
                    assert len(original.code) < len(program.insns), f"{path} {program.name}: nothing was removed"
                    equivalent += 1
                    whole = look_up(original, [str(path)])
                    assert whole.grade == "exact", f"{path} {program.name}: {whole.reason}"
                    assert list(blanked(words(whole.code))) == given
    return len(seen), exact, equivalent


@pytest.mark.parametrize("name", NAMES)
def test_programs_of_a_tool(name):
    path = Path("/usr/sbin") / name
    if library() is None or not path.exists():
        pytest.skip(f"needs libbpf and {path}")
    count, exact, equivalent = check(path)

    assert count, "no program of it can be loaded here"
    assert exact + equivalent == count


@pytest.mark.slow
def test_all_programs_of_the_machine():
    if library() is None:
        pytest.skip("needs libbpf")
    total = [0, 0, 0]
    for directory in EVERYWHERE:
        for path in sorted(Path(directory).rglob("*")):
            if path.is_file() and not path.is_symlink():
                total = [a + b for a, b in zip(total, check(path), strict=True)]
    count, exact, equivalent = total
    print(f"{count} programs: {exact} exact, {equivalent} equivalent")
    assert exact + equivalent == count > 100

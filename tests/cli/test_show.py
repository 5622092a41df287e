"""The verb show on files and expressions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import objects
from bpflens.cli.main import run


@pytest.fixture(scope="module")
def object_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An object with maps, global data and two programs."""
    path = tmp_path_factory.mktemp("show") / "x.o"
    path.write_bytes(objects.compiled(objects.MAPS_AND_CALLS))
    return str(path)


def out(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run(["show", *argv]) == code
    return capsys.readouterr().out


def test_programs_and_maps_of_an_object(object_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, object_file)

    assert "program  xdp  entry\n" in text
    assert "int entry(struct xdp_md *ctx)" in text
    assert text.count("map  hash  counts\n") == 1, "a map that programs share is shown once"
    counts = text[text.index("map  hash  counts") :].split("\n\n")[0]
    assert "struct key (8 bytes)" in counts
    assert "struct val (16 bytes)" in counts
    assert "at most 64" in counts
    assert "no_prealloc" in counts
    assert "const volatile __u32 limit (4 bytes)" in text


def test_maps_of_maps_and_programs(object_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, object_file)

    assert "inner maps   array, key __u32 (4 bytes), value __u64 (8 bytes), at most 5\n" in text
    assert "filled with  [0] = in1\n" in text


def test_values_of_global_data(object_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, object_file, "--values")

    assert "limit = 7\n" in text
    assert "seen = { 1, 2, 3, 4 }\n" in text
    assert "zeroed = 0\n" in text
    assert "version_of = 5\n" in text
    assert "an object file has no contents of this map" in text


def test_records(object_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    records = [json.loads(line) for line in out(capsys, "--json", object_file, "--values").splitlines()]

    entry = next(record for record in records if record["program"]["name"] == "entry")
    assert all(record["schema"] == "show/1" for record in records)
    assert entry["program"]["type"] == "xdp"
    assert entry["program"]["license"] == "GPL"
    assert entry["attachments"] == []
    counts = next(map for map in entry["maps"] if map["name"] == "counts")
    assert (counts["type"], counts["key_size"], counts["value_size"], counts["max_entries"]) == ("hash", 8, 16, 64)
    assert counts["flags"] == ["no_prealloc"]
    outer = next(map for record in records for map in record["maps"] if map["name"] == "outer")
    assert outer["inner"]["max_entries"] == 5
    rodata = next(map for map in entry["maps"] if any(variable["name"] == "limit" for variable in map["variables"]))
    assert rodata["entries"][0]["value"]["limit"] == 7


def test_classic_filter(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "pcap:tcp port 80")

    assert text.startswith("classic program  pcap:tcp port 80\n")
    assert "20 instructions (160 bytes)" in text
    assert "EN10MB" in text
    (record,) = map(json.loads, out(capsys, "--json", "pcap:ip").splitlines())
    assert record["program"]["isa"] == "classic"
    assert record["maps"] == []


def test_several_targets_are_set_apart(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "pcap:ip", "pcap:arp")

    assert "\n\nclassic program  pcap:arp\n" in text


@pytest.mark.parametrize(("argv", "code"), [(["nosuchfile"], 3), (["id:abc"], 3), (["pcap:ip", "--limit", "-1"], 2), ([], 2)])
def test_errors(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, *argv, code=code) == ""


def test_file_that_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_bytes(b"")

    assert out(capsys, str(tmp_path / "x"), code=3) == ""

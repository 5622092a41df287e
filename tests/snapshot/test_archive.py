"""The container: whole or absent, private, deterministic; and what happens to files that somebody has tampered with."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import needs
from bpflens.errors import InputError
from bpflens.formats.snapshot.archive import Archive, ArchiveWriter
from bpflens.formats.snapshot.magic import FIRST_MEMBER, is_snapshot
from bpflens.formats.snapshot.manifest import SCHEMA, Manifest, SavedData, SavedKernel, SavedMap, SavedProgram
from bpflens.formats.snapshot.programs import read_snapshot
from bpflens.formats.snapshot.schema import build, json_schema, plain

KERNEL = SavedKernel("6.18.0", "#1", "x86_64", "little", 2)
ROOT = Path(__file__).resolve().parents[2]
KEYS = ["schema", "maps", "programs", "id", "name", "type", "data", "kernel", "members"]
RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")


def write(path: Path, content: bytes = b"\1\0\0\0\2\0\0\0", **more: object) -> str:
    writer = ArchiveWriter(str(path))
    try:
        data = SavedData(writer.add("maps/7/data.bin", content), "records", len(content) // 8, 4, 4, "single pass")
        map = SavedMap(7, "counters", 1, "hash", 4, 4, 16, data=data)
        original = writer.add("programs/12/original.bin", RETURN_0)
        program = SavedProgram(12, "handle", 3, "sched_cls", "aa", "exact", "", 2, "GPL", original=original, maps=(7,))
        manifest = Manifest(
            SCHEMA, "test", "2026-01-01T00:00:00Z", KERNEL, programs=(program,), maps=(map,), members=writer.members, **more  # type: ignore[arg-type]
        )
        return writer.commit(manifest)
    finally:
        writer.abort()


def test_round_trip_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "x.bpfsnap"
    digest = write(path)
    with Archive(str(path)) as archive:
        archive.check()
        assert archive.digest == digest
        assert archive.manifest.maps[0].name == "counters"
        assert archive.read("maps/7/data.bin") == b"\1\0\0\0\2\0\0\0"
        assert build(Manifest, json.loads(json.dumps(plain(archive.manifest))), "") == archive.manifest
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert is_snapshot(str(path))


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_nothing_is_there_before_commit(tmp_path: Path) -> None:
    writer = ArchiveWriter(str(tmp_path / "x"))
    writer.add("maps/7/data.bin", bytes(100))
    assert list(tmp_path.iterdir()) == []
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"the old one")
    write(path)
    with Archive(str(path)) as archive:
        archive.check()
    assert [item.name for item in tmp_path.iterdir()] == ["x"]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        ArchiveWriter(str(tmp_path / "no" / "x"))


def test_unzip_and_sha256sum_read_it(tmp_path: Path) -> None:
    write(tmp_path / "x.bpfsnap")
    unzip = needs.tool("unzip")
    subprocess.run([unzip, "-q", "x.bpfsnap"], cwd=tmp_path, check=True)
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "manifest.json").read_text())["schema"] == SCHEMA


def test_the_published_schema_is_that_of_the_records() -> None:
    published = json.loads((ROOT / "docs" / "snapshot.schema.json").read_text())
    assert published == json_schema(Manifest, published["$id"]), "docs/snapshot.schema.json is old: scripts/make-docs writes it"


def test_programs_are_read_without_a_kernel(tmp_path: Path) -> None:
    path = tmp_path / "x.bpfsnap"
    write(path)
    for part in ("", "12", "handle", "map:counters", "map:7", "aa"):
        (program,) = read_snapshot(str(path), part)
        assert (program.name, program.code, program.id, program.maps[0].id) == ("handle", RETURN_0, None, None)
    with pytest.raises(InputError, match="no such program; the snapshot has 12 handle"):
        read_snapshot(str(path), "nosuch")


# --- hostile files ---


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], *, sums: bool = True) -> str:
    """The snapshot with its members changed and, where wanted, the sums made right again."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    change(members)
    if sums:
        members["SHA256SUMS"] = b"".join(
            f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode() for name, data in members.items() if name != "SHA256SUMS"
        )
    out = path.with_suffix(".hostile")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return str(out)


def in_manifest(change: Callable[[dict[str, object]], None]) -> Callable[[dict[str, bytes]], None]:
    def changed(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return changed


def put(path: str, value: object) -> Callable[[dict[str, bytes]], None]:
    """A change of one place of the manifest: "maps.0.type"."""

    def change(manifest: dict[str, object]) -> None:
        *way, last = path.split(".")
        place: object = manifest
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]  # type: ignore[index]
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value  # type: ignore[index]

    return in_manifest(change)


HOSTILE = {
    "another blob": (lambda members: members.update({"maps/7/data.bin": bytes(8)}), "SHA-256 differs"),
    "a longer blob": (lambda members: members.update({"maps/7/data.bin": bytes(9000)}), "longer"),
    "a shorter blob": (lambda members: members.update({"maps/7/data.bin": b"x"}), "shorter"),
    "no blob": (lambda members: members.pop("maps/7/data.bin"), "no member"),
    "a path upwards": (lambda members: members.update({"../../etc/passwd": b"x"}), "is called"),
    "an absolute path": (lambda members: members.update({"/etc/passwd": b"x"}), "is called"),
    "a bomb": (lambda members: members.update({"maps/7/data.bin": bytes(50 << 20)}), "longer"),
    "text for a number": (put("maps.0.type", "hash"), "is text, not a whole number"),
    "a list for an object": (put("maps.0", []), "is a list, not an object"),
    "an enormous number": (put("maps.0.max_entries", 1 << 70), "64 bits"),
    "no id": (in_manifest(lambda m: m["maps"][0].pop("id")), 'has no "id"'),  # type: ignore[index]
    "another schema": (put("schema", "snapshot/9"), "is of version"),
    "deep nesting": (lambda members: members.update({"manifest.json": b"[" * 100_000 + b"]" * 100_000}), "nested too deeply"),
    "no JSON": (lambda members: members.update({"manifest.json": b"{"}), "damaged"),
    "a name with zero bytes": (put("maps.0.name", "a\0b"), "zero bytes"),
    "entries that do not fit": (put("maps.0.data.entries", 1000), "do not have the size"),
    "a negative size": (put("maps.0.data.key_size", -4), "of sizes that no map has"),
    "numbers below zero": (put("maps.0.max_entries", -5), "sizes that no map has"),
    "an element of a gigabyte": (put("maps.0.data.value_size", 1 << 30), "of sizes that no map has"),
    "an id below zero": (put("programs.0.id", -12), "an id that no kernel gives"),
    "two maps of one id": (in_manifest(lambda manifest: manifest["maps"].append(manifest["maps"][0])), "is there twice"),  # type: ignore[attr-defined, index]
    "a program that was loaded for itself": (put("programs.0.target", {"name": "f", "btf": "", "program": 12}), "was loaded for itself"),
    "an unknown layout": (put("maps.0.data.layout", "x"), "unknown layout"),
    "a reference to nothing": (put("programs.0.original", "programs/99/original.bin"), "no member"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_told_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.bpfsnap"
    write(path)
    change, reason = HOSTILE[name]
    hostile = rewritten(path, change)  # type: ignore[arg-type]

    with pytest.raises(InputError) as error:
        everything(hostile)

    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def everything(path: str) -> None:
    """All that is read of a snapshot."""
    from bpflens.snapshot.export import elements_of
    from bpflens.snapshot.restoring.elements import elements

    with Archive(path) as archive:
        read_snapshot(path)
        for map in archive.manifest.maps:
            list(elements(archive, map))
            if map.data is not None:
                list(elements_of(archive, map))
        archive.check()


def test_the_manifest_is_covered_by_the_sums(tmp_path: Path) -> None:
    path = tmp_path / "x.bpfsnap"
    write(path)
    hostile = rewritten(path, put("maps.0.name", "other"), sums=False)
    with pytest.raises(InputError, match="its SHA-256 differs from that in SHA256SUMS"):
        Archive(hostile)


@settings(max_examples=40)
@given(position=st.integers(0, 100_000), bit=st.integers(0, 7), cut=st.booleans())
def test_flipped_bits_and_cut_files(tmp_path_factory: pytest.TempPathFactory, position: int, bit: int, cut: bool) -> None:
    """Never a traceback; what is accepted is what was written, but for fields of the zip format that nobody reads."""
    where = tmp_path_factory.mktemp("flip")
    write(where / "x.bpfsnap")
    content = bytearray((where / "x.bpfsnap").read_bytes())
    position %= len(content)
    if cut:
        del content[position:]
    else:
        content[position] ^= 1 << bit
    (where / "y").write_bytes(content)
    with Archive(str(where / "x.bpfsnap")) as archive:
        expected = archive.manifest

    try:
        everything(str(where / "y"))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        with Archive(str(where / "y")) as archive:
            assert archive.manifest == expected


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_json_is_no_traceback(value: object) -> None:
    try:
        build(Manifest, value, "")
    except InputError as error:
        assert "\n" not in str(error)


def test_a_claim_of_many_members_is_refused_before_they_are_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(FIRST_MEMBER, b"")
    content = bytearray(buffer.getvalue())
    at = content.rfind(b"PK\5\6")
    content[at : at] = b"PK\6\6" + (44).to_bytes(8, "little") + bytes(20) + (1 << 40).to_bytes(8, "little") * 2 + bytes(8)
    path = tmp_path / "many"
    path.write_bytes(content)
    with pytest.raises(InputError, match="claims"):
        Archive(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", os.urandom(300), b"PK\5\6" + bytes(18)], ids=["empty", "head", "noise", "end"])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError):
        Archive(str(tmp_path / "x"))

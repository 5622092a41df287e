"""Files of learnt rules: damaged, foreign and edited ones are overlooked, and none makes a wrong answer."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from bpflens.kernel.sys import fact_cache
from bpflens.original.kernels import running
from bpflens.original.recover import recover
from original.load import loaded
from original.matrix import ROWS

VALUE = {"code": "00", "columns": ["id"]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def file_of(home, name):
    return home / "bpflens" / "kernels" / fact_cache.identity() / f"{name}.json"


def test_what_is_kept_comes_back(home):
    fact_cache.store("attributes", VALUE)

    assert fact_cache.load("attributes") == VALUE
    assert file_of(home, "attributes").stat().st_mode & 0o777 == 0o600
    assert fact_cache.load("nothing") is None


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _edit(path):
    path.write_bytes(path.read_bytes().replace(b'"00"', b'"95"'))


def _other_name(path):
    fact_cache.store("symbols", VALUE)
    os.replace(path.with_name("symbols.json"), path)


def _other_kernel(path):
    body = path.read_bytes().partition(b"\n")[2]
    path.write_bytes(hashlib.sha256(b"0123456789abcdef attributes\n" + body).hexdigest().encode() + b"\n" + body)


def _writable(path):
    path.chmod(0o666)


def _owner(path):
    os.chown(path, 65534, 65534)


def _link(path):
    os.rename(path, path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _fifo(path):
    path.unlink()
    os.mkfifo(path)


def _directory(path):
    path.unlink()
    path.mkdir()


def _plain(path):
    path.write_text(json.dumps(VALUE))


def _deep(path):
    path.write_text("[" * 100_000)


def _empty(path):
    path.write_bytes(b"")


HARMS = (_cut, _edit, _other_name, _other_kernel, _writable, _owner, _link, _fifo, _directory, _plain, _deep, _empty)


@pytest.mark.parametrize("harm", HARMS)
def test_harm_is_overlooked(home, harm):
    if harm is _owner and os.geteuid():
        pytest.skip("only root can give a file away")
    fact_cache.store("attributes", VALUE)
    harm(file_of(home, "attributes"))

    assert fact_cache.load("attributes") is None


def test_nothing_is_written_through_a_link(home):
    victim = home / "victim"
    victim.write_text("precious")
    path = file_of(home, "attributes")
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    path.with_name(f"attributes.json.{os.getpid()}").symlink_to(victim)

    fact_cache.store("attributes", VALUE)

    assert victim.read_text() == "precious"
    assert fact_cache.load("attributes") == VALUE


def test_a_cache_that_cannot_be_written_is_no_error(home, monkeypatch):
    (home / "bpflens").write_text("a file")
    fact_cache.store("attributes", VALUE)

    assert fact_cache.load("attributes") is None


ROW = ["R", 0, 4, 0, 97]


@pytest.mark.parametrize(
    "packed", ({}, 5, [5], ["R"], [["R", 0, 4, 0, "x"]], [["R", 0, 4, 0, -5]], [["R", 0, 4, 0, 1 << 64]], [["R", [], {}, 0, 1]],
               [["Q", 0, 4, 0, 97]], [["R", 0, 3, 0, 97]], [["R", 1 << 20, 4, 0, 97]], [["R", 0, 4, 0, True]], [ROW, None]),
)  # fmt: skip
def test_malformed_rows_are_none(packed):
    assert running.unpack([ROW]) is not None
    assert running.unpack(packed) is None


@pytest.mark.live
@pytest.mark.parametrize("wrong", ("len is mark", "sealed nonsense"))
def test_wrong_rules_make_no_wrong_grade(home, monkeypatch, wrong):
    """Rules that this user sealed but that are not the kernel's: what they give is refused by the proofs."""
    row = next(row for row in ROWS if row.name == "calls across grown code")
    kernel = running.LiveKernel()
    rows = list(kernel.context_rows(3, None))
    if wrong == "len is mark":
        rows = [r._replace(offset=8) if r.offset == 0 else r._replace(offset=0) if r.offset == 8 else r for r in rows]
        rows = [r._replace(offset=44) if r.offset == 40 else r for r in rows]
    else:
        rows = [r._replace(image=tuple(word ^ 1 << 20 for word in r.image)) for r in rows]
    fact_cache.store("context-3-any", running.pack(rows))
    monkeypatch.setattr(running, "_live", running.LiveKernel())
    with loaded(row) as one:
        original = recover(one.id)

    assert original.grade == "unproven" or original.code == one.code
    assert original.grade != "exact" or original.code == one.code

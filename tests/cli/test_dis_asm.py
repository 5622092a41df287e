"""The verbs dis and asm as a user runs them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

import objects
from bpflens.cli.main import run
from bpflens.formats.elf.programs import read_object
from bpflens.isa.extended.asm import assemble


@pytest.fixture
def raw(tmp_path: Path) -> str:
    """A file with raw extended code."""
    path = tmp_path / "prog.bin"
    path.write_bytes(assemble("r0 = 1\nif r0 == 0x1 goto pc+2\nr0 = 0x100000000\nexit"))
    return str(path)


@pytest.fixture
def object_file(tmp_path: Path) -> str:
    """An object with two sections of programs and one of functions."""
    path = tmp_path / "x.o"
    path.write_bytes(objects.compiled(objects.MAPS_AND_CALLS))
    return str(path)


def feed(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    """Standard input."""
    data = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def out(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    assert run(list(argv)) == code
    return capsys.readouterr().out


def test_raw_file(raw: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "dis", raw)

    assert text.startswith(f"; {raw}")
    assert "(15) if r0 == 0x1 goto pc+2 <L4>" in text


def test_dis_then_asm_gives_the_file(
    raw: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for options in ([], ["--dialect", "llvm"], ["--opcodes"], ["--color", "always"], ["--dialect", "raw"], ["--no-labels"]):
        feed(monkeypatch, out(capsys, "dis", raw, *options))
        target = tmp_path / "again.bin"

        assert run(["asm", "-", "-o", str(target)]) == 0
        assert target.read_bytes() == Path(raw).read_bytes(), options


def test_object(object_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "dis", object_file)

    assert "int entry(struct xdp_md *ctx)" in text
    assert "; map counts" in text and "; map jumps" in text
    assert 'fmt "hello %d"' in text
    assert "call bpf_tail_call#12" in text


def test_function_and_section(object_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = out(capsys, "dis", object_file, "--function", "global_fn")
    assert "global_fn:" in one and "entry:" not in one
    text = out(capsys, "dis", object_file, "--section", "xdp")
    assert "entry:" in text and "global_fn:" not in text
    assert run(["dis", object_file, "--function", "nobody"]) == 3
    error = capsys.readouterr().err
    assert "no function 'nobody'" in error and "global_fn" in error
    assert run(["dis", object_file, "--section", "nowhere"]) == 3


def test_source_lines(object_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "dis", "-S", "-l", object_file)

    assert "; " in text and "prog.c:" in text and "bpf_loop(10, cb, 0, 0);" in text


def test_range(raw: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in out(capsys, "dis", "--start", "1", "--stop", "2", raw).splitlines() if not line.startswith(";")]

    assert len(lines) == 1 and lines[0].lstrip().startswith("1:")


def test_json(object_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    records = [json.loads(line) for line in out(capsys, "--json", "dis", object_file).splitlines()]
    programs = read_object(Path(object_file).read_bytes(), object_file)

    assert {tuple(record)[:6] for record in records} == {("schema", "program", "pc", "bytes", "text", "notes")}
    assert {record["schema"] for record in records} == {"dis/1"}
    assert b"".join(bytes.fromhex(r["bytes"]) for r in records) == b"".join(program.code for program in programs)
    assert any("map counts" in note for record in records for note in record["notes"])


def test_several_programs_and_one_that_is_missing(raw: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dis", raw, "/nonexistent", raw]) == 5
    shown = capsys.readouterr()

    assert shown.out.count(f"; {raw}") == 2
    assert "/nonexistent" in shown.err


def test_all_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dis", "/nonexistent"]) == 3
    assert run(["dis", "/nonexistent", "/neither"]) == 3
    assert "/neither" in capsys.readouterr().err


def test_classic(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "dis", "pcap:tcp port 80")
    assert "compiled by libpcap" in text.splitlines()[0]
    assert "; IPv4" in text and "; TCP" in text
    assert "(000) ldh      [12]" in text
    assert "ldh [12]" in out(capsys, "dis", "--dialect", "kernel", "pcap:tcp port 80")
    assert out(capsys, "dis", "--dialect", "ddd", "pcap:ip").splitlines()[0].isdigit()
    assert run(["dis", "--dialect", "llvm", "pcap:ip"]) == 2
    plain = out(capsys, "dis", "pcap:ip", "--linktype", "RAW")
    assert "link type RAW" in plain


def test_unoptimized(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(out(capsys, "dis", "--unoptimized", "pcap:tcp port 80")) > len(out(capsys, "dis", "pcap:tcp port 80"))


def test_ancillary_loads_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "2\n32 0 0 4294963220\n22 0 0 0\n")

    assert "skb mark" in out(capsys, "dis", "-")


def test_asm_formats(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    source = tmp_path / "a.s"
    source.write_text("r0 = 1\nexit\n")
    expected = assemble("r0 = 1\nexit")
    for form, content in (
        ("raw", expected),
        ("hex", b"b700000001000000\n9500000000000000\n"),
        ("c", b"struct bpf_insn insns[] = {\n\t{ 0xb7, 0, 0, 0, 1 },\n\t{ 0x95, 0, 0, 0, 0 },\n};\n"),
    ):
        assert run(["asm", str(source), "--format", form]) == 0
        assert capfdbinary.readouterr().out == content
    assert run(["asm", str(source), "--format", "ddd"]) == 2


def test_asm_classic(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    source = tmp_path / "a.s"
    source.write_text("ldh [12]\njne #0x800, drop\nret #-1\ndrop: ret #0\n")
    assert run(["asm", str(source), "--format", "ddd"]) == 0
    assert capfdbinary.readouterr().out == b"4\n40 0 0 12\n21 0 1 2048\n6 0 0 4294967295\n6 0 0 0\n"


def test_asm_errors_name_the_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = (("r0 = 1\nr0 ?= 2\n", "-:2"), ("", "no instructions"), ("goto x\n", "-:1: no label 'x'"), (b"\xff\xfe", "not a text"))
    for text, said in cases:
        feed(monkeypatch, text)
        assert run(["asm", "-"]) == 3
        assert said in capsys.readouterr().err


def test_asm_quotes_the_beginning_of_a_long_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("[" * 100_000, "x" * 100_000, f"goto {'y' * 100_000}"):
        feed(monkeypatch, text)
        assert run(["asm", "-"]) == 3
        assert len(capsys.readouterr().err) < 300


def test_asm_takes_a_byte_order_mark(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    feed(monkeypatch, "\ufeffr0 = 1\nexit\n")
    assert run(["asm", "-", "-o", str(tmp_path / "x")]) == 0
    assert (tmp_path / "x").read_bytes() == assemble("r0 = 1\nexit")


def test_json_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "nonsense\n")
    assert run(["--json", "asm", "-"]) == 3
    assert json.loads(capsys.readouterr().err)["exit_code"] == 3


def test_asm_json(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "r0 = 1\nexit\n")
    assert run(["--json", "asm", "-"]) == 0
    record = json.loads(capfdbinary.readouterr().out)
    assert record == {"schema": "asm/1", "isa": "extended", "insns": 2, "code": assemble("r0 = 1\nexit").hex()}


@given(st.binary(max_size=120), st.sampled_from(("dis", "asm")), st.booleans())
def test_any_input_gives_a_listing_or_one_line(data: bytes, verb: str, as_json: bool) -> None:
    shown, said = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with mock.patch.multiple(sys, stdin=io.TextIOWrapper(io.BytesIO(data)), stdout=shown, stderr=said):
        code = run([*(["--json"] if as_json else []), verb, "-"])

    assert code in (0, 3)
    assert "internal error" not in said.getvalue()


def test_range_of_a_classic_program_keeps_its_slots(capsys: pytest.CaptureFixture[str]) -> None:
    whole = out(capsys, "dis", "pcap:tcp").splitlines()
    part = out(capsys, "dis", "pcap:tcp", "--start", "3", "--stop", "5").splitlines()

    assert part == [whole[0], *whole[4:6]]
    assert out(capsys, "dis", "pcap:tcp", "--start", "3", "--stop", "4", "--dialect", "kernel").splitlines()[1].startswith("l3:")
    for bad in ("-1", "x"):
        assert run(["dis", "pcap:tcp", f"--start={bad}"]) == 2
        assert f"'{bad}' is no slot" in capsys.readouterr().err


def test_machine_code_of_what_is_not_loaded(raw: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dis", "--jited", raw]) == 3
    shown = capsys.readouterr()
    assert "has no machine code" in shown.err and shown.out == ""


def test_a_call_with_a_relocation_has_no_label(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "calls.o"
    path.write_bytes(objects.compiled("""
        extern int kf(int a) __attribute__((section(".ksyms")));
        static __attribute__((noinline)) int st(int a) { asm volatile(""); return a * 9; }
        __attribute__((noinline)) int gl(int a) { return a * 7; }
        __attribute__((section("socket"))) int prog(int *ctx) { return st(kf(gl(*ctx)) + gl(3)) + gl(5); }
    """))
    text = out(capsys, "dis", str(path), "--section", "socket")

    assert "; call gl in .text" in text and "; call st in .text" in text and "; kfunc int kf" in text
    assert "<L" not in text and "\nL" not in text


def test_a_table_in_which_nothing_stands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    table = "Netid Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\np_raw 0      0                  *:lo               *\n"
    for verb, shown in (("dis", ""), ("explain", table)):
        feed(monkeypatch, table)
        assert run([verb, "-"]) == 0
        printed = capsys.readouterr()
        assert printed.out == shown
        assert printed.err.startswith("bpflens: note: -: an ss table without filters")
    feed(monkeypatch, table)
    assert run(["dis", "-", "/nonexistent"]) == 3


@pytest.mark.parametrize("dialect", ["tcpdump", "kernel", "raw", "ss", "dd", "ddd", "xt_bpf"])
def test_asm_reads_every_classic_dialect(
    dialect: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bpflens.formats.pcap.libpcap import compile_program

    assert run(["dis", "pcap:tcp port 80", "--dialect", dialect]) == 0
    feed(monkeypatch, capfdbinary.readouterr().out)
    assert run(["asm", "-", "--format", "raw"]) == 0
    assert capfdbinary.readouterr().out == compile_program("tcp port 80").code

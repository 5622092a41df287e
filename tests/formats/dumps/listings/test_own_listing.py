"""What `bpflens dis` prints, `bpflens dis -` reads."""

from __future__ import annotations

import pytest

from bpflens.cli.main import run
from bpflens.formats.dumps.detect import read_programs
from bpflens.isa.classic.insn import encode

EXTENDED = bytes.fromhex(
    "bf16000000000000 b701000000000000 631afcff00000000 1801000078563412 00000000efcdab00 1500020000000000 db10000000000000"
    "61a0fcff00000000 85100000ffffffff 9500000000000000 ffffffffffffffff"
)
CLASSIC = encode([(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (7, 0, 0, 5), (0xFFFF, 1, 2, 3), (6, 0, 0, 0)])


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["dis", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--opcodes"], ["--dialect", "llvm"], ["--dialect", "llvm", "--opcodes"], ["--dialect", "raw"]])
def test_extended(tmp_path, capsys, options):
    (tmp_path / "a").write_bytes(EXTENDED[:-8])
    text = printed(capsys, *options, str(tmp_path / "a"), str(tmp_path / "a"))
    assert [program.code for program in read_programs(text.encode(), "-")] == [EXTENDED[:-8]] * 2


@pytest.mark.parametrize("dialect", ["tcpdump", "kernel"])
def test_classic(tmp_path, capsys, dialect):
    from bpflens.isa.classic.insn import decode
    from bpflens.isa.classic.text import format_program

    (tmp_path / "a").write_text(format_program(decode(CLASSIC), "ddd"))
    text = printed(capsys, "--dialect", dialect, str(tmp_path / "a"), str(tmp_path / "a"))
    assert [program.code for program in read_programs(text.encode(), "-")] == [CLASSIC] * 2


def test_json(tmp_path, capsys):
    (tmp_path / "a").write_bytes(EXTENDED[:-8])
    assert run(["--json", "dis", str(tmp_path / "a")]) == 0
    assert [program.code for program in read_programs(capsys.readouterr().out.encode(), "-")] == [EXTENDED[:-8]]


def test_functions_and_what_the_heading_says():
    text = """; id:3: xdp prog, tag 3b185187f1855c4c, 4 insns, as rewritten by the kernel
; int prog(struct xdp_md *ctx)
prog:
       0: ┌─ (05) goto pc+0 <L1>
L1:
       1: └▸ (95) exit
; int sub(int a)
sub:
       2:    (bf) r0 = r1
       3:    (95) exit
"""
    program = read_programs(text.encode(), "-")[0]
    assert [(f.start, f.name, f.proto) for f in program.functions] == [
        (0, "prog", "int prog(struct xdp_md *ctx)"),
        (2, "sub", "int sub(int a)"),
    ]
    assert program.xlated

"""Verifier logs: one load is one program, the refusal is shown where it happened, and said in words with what was known and since when."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import pytest

from bpflens.analysis.refusals import REFUSALS, refusal_for
from bpflens.analysis.refused_load import explain_refusal
from bpflens.cli.main import run
from bpflens.formats.dumps.detect import read_programs
from bpflens.formats.dumps.listings.verifier_log import parse_log

LOGS = Path(__file__).parent.parent / "corpus/verifier_logs"


@pytest.mark.parametrize(("name", "insns"), [("packet", 5), ("null", 9), ("accepted", 10), ("lost_range", 12)])
def test_a_log_is_one_program(name: str, insns: int) -> None:
    """Newer kernels list the instructions before they walk them: still one load."""
    [program] = read_programs((LOGS / f"{name}.txt").read_bytes(), "-")
    assert program.insn_count == insns


def test_a_missing_line_is_told_of() -> None:
    """The program stays one; the instruction is unknown, and a warning says which."""
    text = re.sub(r"^ *2: [.\w]* ?\(61\).*\n", "", (LOGS / "lost_range.txt").read_text(), flags=re.MULTILINE)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        [program] = read_programs(text.encode(), "-")
    assert program.insn_count == 12 and program.code[16:24] == bytes(8)
    assert [str(each.message) for each in said] == ["-: slots 2 are not in the log: they are shown as unknown"]


def test_dis_shows_the_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the instruction that was refused."""
    assert run(["dis", str(LOGS / "null.txt")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if " 7: " in line)
    assert "refused: R0 invalid mem access 'map_value_or_null'" in line


def test_what_was_known_and_since_when() -> None:
    """The range of the packet pointer is lost where a variable is added to it."""
    refused = explain_refusal(parse_log((LOGS / "lost_range.txt").read_text()))
    assert refused is not None and refused.at is not None
    assert (refused.at.slot, refused.register, refused.processed) == (8, "R1", 9)
    assert refused.words == "it accesses 1 bytes at offset 0 of packet pointer R1, but only 0 bytes are known to be there"
    assert [(step.slot, known.split("(")[0]) for step, known in refused.changes] == [(1, "ctx"), (2, "pkt"), (6, "pkt"), (7, "pkt")]
    assert "r=1" in refused.changes[2][1] and "r=0" in refused.changes[3][1]


def test_an_accepted_program_has_no_refusal() -> None:
    """Nothing is explained that did not happen."""
    assert explain_refusal(parse_log((LOGS / "accepted.txt").read_text())) is None


def test_the_path_leaves_other_branches_out() -> None:
    """What was walked before the jump back is not on the way to the refusal."""
    log = parse_log(
        "0: (b7) r1 = 1                        ; R1_w=1\n1: (15) if r2 == 0x0 goto pc+1       ; R2=scalar()\n"
        "2: (b7) r1 = 2                        ; R1_w=2\n3: (95) exit\nfrom 1 to 3: R1=1\n3: (95) exit\nR0 !read_ok\nprocessed 5 insns\n"
    )
    assert [step.slot for step in log.path()] == [0, 1, 3]
    assert log.refusal == ("R0 !read_ok",)


MESSAGES = [
    "R0 invalid mem access 'inv'", "R1 !read_ok", "invalid indirect read from stack R2 off -8+4 size 8", "back-edge from insn 7 to 2",
    "invalid access to map value, value_size=8 off=16 size=8", "R2 unbounded memory access, use 'var &= const' or 'if (var < const)'",
    "math between pkt pointer and register with unbounded min value is not allowed", "BPF program is too large. Processed 1000001 insn",
    "unreachable insn 3", "program of this type cannot use helper bpf_probe_read#4", "R1 type=scalar expected=fp, pkt",
    "invalid bpf_context access off=200 size=4", "Unreleased reference id=2 alloc_insn=11",
    "combined stack size of 3 calls is 544. Too large",
    "At program exit the register R0 has value (0x2; 0x0) should have been in (0x0; 0x1)", "R0 leaks addr as return value",
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_have_words(message: str) -> None:
    """Each common message has a row whose words fit its groups."""
    found = refusal_for(message)
    assert found is not None
    row, match = found
    assert row.words.format("", *(group or "" for group in match.groups()))


def test_remedies_are_text() -> None:
    """Braces in C are no places for groups in remedies; words must format."""
    for row in REFUSALS:
        assert row.words and all(isinstance(remedy, str) for remedy in row.remedies)


def test_an_unknown_message_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """No words are made up."""
    log = tmp_path / "log"
    log.write_text("0: (b7) r0 = 0                        ; R0=0\n1: (95) exit\nthe moon is full\nprocessed 2 insns (limit 1000000)\n")
    assert run(["explain", str(log)]) == 0
    out = capsys.readouterr().out
    assert "the moon is full" in out and "That message has no explanation here." in out
    assert run(["--json", "explain", str(log)]) == 0
    assert json.loads(capsys.readouterr().out)["words"] is None

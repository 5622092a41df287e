"""Explanations, differences and summaries as text."""

from __future__ import annotations

from bpflens.classic.diff import Difference, Side
from bpflens.classic.explanation import Explanation, Outcome, Proof
from bpflens.classic.hooks import LENGTH, Hook
from bpflens.classic.proof.verdict import Witness
from bpflens.decompile.result import Badge, Decompiled, DecompiledFunction, Level, Line
from bpflens.decompile.summary.check.check import Checked, Grade, Mark
from bpflens.decompile.summary.place import Place
from bpflens.decompile.summary.sentence import Sentence
from bpflens.decompile.summary.summary import Summary
from bpflens.lean import replace
from bpflens.program import Declared, Isa, Origin, Program, SourceLine
from bpflens.view.text.decompile import summary, text
from bpflens.view.text.explain import difference_text, explanation_text, proof_line
from bpflens.view.text.summary import checks_text, place_lines, summary_lines

PROOF = Proof("all-packets", "bdd", "1.10", "EN10MB")
SHORT = Witness(b"\1\2", 1, 0, {})
VERDICT = Hook("tc direct-action", "verdict", words={0: "passed", 2: "dropped"}.__getitem__)


def explained(**more: object) -> Explanation:
    made: dict[str, object] = {
        "where": "x", "name": "", "insns": 4, "linktype": "EN10MB", "given": (), "expression": "tcp", "extended": None,
        "words": ("Accepts TCP.",), "outcomes": (), "known": "", "accepts": "", "notes": (), "proof": PROOF,
    }  # fmt: skip
    return Explanation(**{**made, **more})  # type: ignore[arg-type]


def test_the_line_of_a_proof() -> None:
    """How far, by what, under which assumptions."""
    assert proof_line(PROOF) == "proved equal for all packets (libpcap 1.10, EN10MB)"
    full = replace(PROOF, method="bdd and z3", given=("ip",), assumptions=("no fragments",))
    assert proof_line(full) == "proved equal for all packets (libpcap 1.10, EN10MB, given ip, given that no fragments, by bdd and z3)"
    assert proof_line(replace(PROOF, linktype="UDP")).endswith("(libpcap 1.10, UDP compiled as RAW)")
    assert proof_line(replace(PROOF, grade="none", reason="too large")) == "not proved: too large (libpcap 1.10, EN10MB)"
    assert proof_line(replace(PROOF, linktype="SECCOMP", reason="by enumeration")) == "by enumeration"
    untruncated = proof_line(replace(PROOF, grade="untruncated", witness=SHORT))
    assert untruncated.startswith("proved equal for packets that are not cut short; differs for a packet of 2 bytes (0102): program 1")
    for packet, said in ((b"", "0 bytes (empty)"), (b"\7", "1 byte (07)"), (bytes(40), f"40 bytes ({'00' * 32}...)")):
        assert f"a packet of {said}" in proof_line(replace(PROOF, grade="untruncated", witness=Witness(packet, 1, 0, {})))


def test_an_explanation() -> None:
    lines = list(explanation_text(explained(known="a ping filter", accepts="96 bytes", notes=("it never returns 0",))))
    assert lines == [
        "tcp", "    Accepts TCP.", "    This is a ping filter.", "    Of a matching packet it accepts 96 bytes.",
        "    Note: it never returns 0.", "    Proved equal for all packets (libpcap 1.10, EN10MB).",
    ]  # fmt: skip
    assert next(explanation_text(explained(), color=True)) == "\x1b[1mtcp\x1b[0m"
    assert next(explanation_text(explained(expression=None, extended="@x"))) == "@x   (not tcpdump's language)"
    assert list(explanation_text(explained(known="ping of Linux")))[2] == "    Known as: ping of Linux."
    assert list(explanation_text(explained(known="perhaps ping")))[2] == "    Perhaps ping."
    several = explained(accepts="96 bytes", outcomes=(Outcome("1", "ip", False, ()),))
    assert not any(line.startswith("    Of a") for line in explanation_text(several))


def test_values_that_are_returned() -> None:
    outcomes = (Outcome("1", "ip", False, ("IPv4.",)), Outcome("2", None, False, ()))
    lines = list(explanation_text(explained(outcomes=outcomes)))
    assert lines[2:5] == ["    returns 1: ip", "        IPv4.", "    returns 2: (no expression found)"]


def test_what_could_not_be_explained_has_no_proof() -> None:
    reason = replace(PROOF, grade="none", reason="it never ends")
    lines = list(explanation_text(explained(expression=None, words=("Not explained: it never ends.",), proof=reason)))
    assert lines == ["    Not explained: it never ends."]


def difference(**more: object) -> Difference:
    made: dict[str, object] = {
        "equal": True, "grade": "all-packets", "method": "bdd", "witness": None, "names": ("a", "b"), "linktype": "EN10MB", "given": (),
        "libpcap": "1.10",
    }  # fmt: skip
    return Difference(**{**made, **more})  # type: ignore[arg-type]


def test_differences() -> None:
    """Equal, with what was not compared; not decided; different, by the packets of either side."""
    tail = " (libpcap 1.10, EN10MB)"
    assert list(difference_text(difference(note="the lengths"))) == [f"equal for all packets{tail}", "    Note: the lengths."]
    lines = list(difference_text(difference(grade="untruncated", witness=SHORT, decoded="too short")))
    assert lines[0] == f"equal for packets that are not cut short{tail}"
    assert lines[2:] == ["    packet (2 bytes): 0102", "        too short", "        a returns 1, b returns 0"]
    assert list(difference_text(difference(equal=False, reason="too large"))) == [f"not decided: too large{tail}"]
    sides = (Side("only a", "ip", ("IPv4.",), Witness(b"\1", 1, 0, {"mark": 5})), Side("only b", None, (), None))
    assert list(difference_text(difference(equal=False, witness=SHORT, sides=sides))) == [
        f"different{tail}", "only a: ip", "    IPv4.", "    packet (1 byte): 01", "        with mark = 5",
        "        a returns 1, b returns 0", "only b: (no expression found)", "    No packet was found that shows it.",
    ]  # fmt: skip
    told = list(difference_text(difference(equal=False, witness=Witness(b"", 0, 2, {}), hook=VERDICT), color=True))
    assert told[0].startswith("\x1b[1mdifferent\x1b[0m") and told[-1] == "        a returns 0 (passed), b returns 2 (dropped)"
    long = list(difference_text(difference(equal=False, witness=Witness(bytes(300) + b"\1", 1, 0, {}), hook=LENGTH)))
    assert long[1].endswith("00 and 45 more, see --json")


# --- extended programs ---


def summarised(*sentences: Sentence, gaps: tuple[str, ...] = ()) -> Summary:
    return Summary("x", "prog", "xdp", "xdp program prog", 9, sentences, gaps)


def test_at_most_ten_lines() -> None:
    """The rest is counted; with `all` everything, in full."""
    many = summarised(*(Sentence("effect", f"does {number}", whole=f"does {number} at length") for number in range(12)), gaps=("a loop",))
    lines = list(summary_lines(many, ["attached to lo"], "Derived."))
    assert len(lines) == 10 and lines[:2] == ["xdp program prog", "    attached to lo"]
    assert lines[-3:] == ["    7 more sentences: --all", "    Not explained: a loop.", "    Derived."]
    whole = list(summary_lines(many, [], "Derived.", all=True))
    assert len(whole) == 15 and whole[1] == "    does 0 at length"
    assert list(summary_lines(summarised(Sentence("alarm", "kills", (3, 4, 5, 9))), [], "D", why=True, color=True)) == [
        "\x1b[1mxdp program prog\x1b[0m", "    \x1b[31mkills [insns 3-5, 9]\x1b[0m", "    D",
    ]  # fmt: skip


def test_sentences_that_were_checked() -> None:
    """What a run contradicts comes first."""
    made = summarised(*(Sentence("effect", verb) for verb in ("drops", "counts", "writes", "calls")))
    held, contradicted = Mark(Grade.HELD, 14, 3, 3), Mark(Grade.CONTRADICTED, reason="passed it")
    marks = (held, Mark(Grade.RAN, 1), Mark(Grade.OPEN, reason="no input"), contradicted)
    lines = list(summary_lines(made, [], "D", Checked(marks, 20, refused="bad access")))
    assert lines[1:6] == [
        "    This kernel refuses to load it: bad access; checked in the interpreter alone.",
        "    CONTRADICTED: a run passed it. Was said: calls", "    drops [held in 14 runs, 3 of 3 conditions turned]",
        "    counts [seen in 1 run]", "    writes [not checked: no input]",
    ]  # fmt: skip
    proof = "Derived from the code (explain --check runs it). More."
    assert checks_text(Checked((), 0), proof) == "Derived from the code. More."
    assert checks_text(Checked((), 5, 3, "Linux 6.18", ("time",)), proof) == (
        "Checked in 5 runs by the interpreter, 3 of them by the Linux 6.18 too: evidence for those inputs, no proof. Modelled: time. More."
    )
    assert ", none of them by a kernel:" in checks_text(Checked((), 5), proof)


def test_one_instruction() -> None:
    place = Place("prog", 3, "r0 = 1", ("return 1;",), "the packet is TCP", (Sentence("effect", "passes TCP"),))
    assert list(place_lines(place)) == [
        "prog, instruction 3: r0 = 1", "    return 1;", "    Runs if the packet is TCP.", "    Part of: passes TCP",
    ]  # fmt: skip
    lone = Place("prog", 3, "r0 = 1", (), None, ())
    assert list(place_lines(lone))[-1] == "    No sentence rests on it alone: it computes something for others."
    assert list(place_lines(Place("prog", 3, "r0 = 1", (), "always", ())))[-1] == "    Runs always."


FUNCTION = DecompiledFunction(
    "prog", "xdp", 4, 12, "entry", Level.STRUCTURED, (Line("int prog(void)"), Line("{"), Line("\treturn 1;", (4, 5, 6, 9)), Line("}")),
    Badge.LOADS, "clang and Linux accept it", ("structured: too deep",),
)  # fmt: skip
MADE = Decompiled("x", (Line("#include <x.h>"),), (FUNCTION,), (Line("/* license */"),))


def test_c_with_instructions_and_source() -> None:
    """Beside each line the instructions that it says; above it the source, once."""
    assert "".join(text(MADE, [], False, False, False)) == MADE.text()
    shown = "".join(text(MADE, [], True, False, False))
    assert "\treturn 1;" + " " * 47 + "// 4-6 9\n" in shown and "{\n" in shown and shown.endswith("\n/* license */\n")
    lines = (SourceLine(4, "x.c", 1, 1, "  return 1; "), SourceLine(5, "x.c", 1, 1, "return 1;"), SourceLine(2, "x.c", 1, 1, "other"))
    program = Program(Isa.EXTENDED, b"", Origin("elf", "x"), declared=Declared(section="xdp"), lines=lines)
    shown = "".join(text(MADE, [program], False, True, False))
    assert shown.count("\t// return 1;\n\treturn 1;\n") == 1 and "other" not in shown
    assert list(summary(MADE)) == ["prog: structured, 8 insns, loads (clang and Linux accept it)", "    not structured: too deep"]

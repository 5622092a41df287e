"""Explanations and differences: golden output, the corpora, and the promises of the proof."""

from __future__ import annotations

import io
import json
import random
import re
import shlex
from pathlib import Path

import pytest

import golden
from bpflens import library
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.symbolic import KERNEL, run_in
from bpflens.classic.diff import diff
from bpflens.classic.explain import Explanation, explain
from bpflens.classic.machine import interpreter
from bpflens.classic.proof.equal import compare
from bpflens.cli import main
from bpflens.errors import InputError
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import encode
from bpflens.program import Isa, Origin, Program
from classic_oracles import corpus

CORPUS = Path(__file__).parent.parent / "corpus"
NETMASK = 0xFFFFFF00  # what the lists were compiled with; only `ip broadcast` asks for it

Insns = list[tuple[int, int, int, int]]


def filter_of(insns: object, linktype: str = "EN10MB", given: tuple[str, ...] = ()) -> Program:
    return Program(Isa.CLASSIC, encode(insns), Origin("test", "filter", linktype=linktype, given=given))  # type: ignore[arg-type]


def compiled(expression: str, linktype: str = "EN10MB", optimize: bool = True) -> Program:
    library = libpcap.load()
    return filter_of(library.compile(expression, library.dlt_value(linktype), optimize, netmask=NETMASK), linktype)


def expressions(name: str) -> list[tuple[str, str, str]]:
    lines = (line.split("\t") for line in (CORPUS / name).read_text().splitlines() if not line.startswith("#"))
    return [(linktype, kind, expression) for linktype, kind, _, expression in lines]


def without_loops(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """All but protochain, which compiles to a loop; what is said of loops has a test of its own."""
    return [row for row in rows if row[1] != "protochain"]


LISTED = expressions("pcap_expressions.txt")
FURTHER = expressions("more_expressions.txt")
LATER = expressions("further_expressions.txt")


def output(arguments: str, stdin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    class Stdin:
        buffer = io.BytesIO(stdin.encode())

    monkeypatch.setattr("sys.stdin", Stdin())
    main.run(shlex.split(arguments))
    printed = capsys.readouterr()
    text = re.sub(r"libpcap \d[\w.-]*", "libpcap N", printed.out + printed.err)
    text = re.sub(r'"libpcap": "[^"]*"', '"libpcap": "N"', text)
    return re.sub(r'"seconds": [\d.]+', '"seconds": 0', text)


@pytest.mark.parametrize("case", golden.cases("explain"))
def test_explain_prints(
    case: golden.Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    golden.check(case, output(case.sections["args"], case.input + "\n", monkeypatch, capsys), request)


@pytest.mark.parametrize("case", golden.cases("diff"))
def test_diff_prints(
    case: golden.Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    golden.check(case, output(case.sections["args"], "", monkeypatch, capsys), request)


def check_answer(linktype: str, expression: str) -> Explanation:
    program = compiled(expression, linktype)
    result = explain(program, deadline=60)

    assert result.expression is not None, expression
    assert result.proof.grade in ("all-packets", "untruncated"), expression
    # the proof is only as good as the diagrams: z3 is asked on its own
    return result


@pytest.mark.parametrize(("linktype", "kind", "expression"), without_loops(LISTED[::6] + FURTHER[::6]))
def test_an_answer_is_proved_and_not_much_longer(linktype: str, kind: str, expression: str) -> None:
    result = check_answer(linktype, expression)

    assert len(result.expression or "") <= 2.4 * len(expression)  # names are longer than numbers


@pytest.mark.parametrize(("linktype", "kind", "expression"), [row for row in LATER[::9] if "protochain" not in row[2]])
def test_expressions_that_the_search_was_not_made_for(linktype: str, kind: str, expression: str) -> None:
    result = explain(compiled(expression, linktype))

    assert result.proof.grade != "none"
    assert result.expression is not None or result.words == ("No packet.",)


@pytest.mark.slow
def test_all_listed_expressions() -> None:
    answers = [(e, check_answer(linktype, e)) for linktype, kind, e in LISTED if kind != "protochain"]
    lengths = sorted(len(answer.expression or "") / len(e) for e, answer in answers)

    assert len(answers) == 257
    assert sum(answer.proof.grade == "untruncated" for _, answer in answers) <= 8
    assert lengths[len(lengths) * 90 // 100] <= 1.0
    assert lengths[len(lengths) * 97 // 100] <= 1.2


@pytest.mark.slow
def test_all_further_expressions() -> None:
    for linktype, _, expression in FURTHER:
        check_answer(linktype, expression)


def test_protochain_is_refused_clearly() -> None:
    for _, kind, expression in LISTED:
        if kind == "protochain":
            result = explain(compiled(expression))

            assert result.expression is None
            assert result.proof.grade == "none"
            assert "loops" in result.proof.reason


@pytest.mark.parametrize(("linktype", "kind", "expression"), without_loops(LISTED[1::9]))
def test_optimized_and_unoptimized_code_are_equal(linktype: str, kind: str, expression: str) -> None:
    one, two = compiled(expression, linktype), compiled(expression, linktype, optimize=False)
    result = diff(one, two)

    assert result.equal
    if result.grade == "untruncated" and result.witness is not None:
        assert bool(result.witness.a) != bool(result.witness.b)


def mutants(insns: Insns, count: int) -> list[Insns]:
    """The program with one field changed."""
    generator = random.Random(len(insns))
    found = []
    for _ in range(count):
        changed = [list(insn) for insn in insns]
        insn = changed[generator.randrange(len(changed))]
        kind = insn[0] & 7
        if kind == 5 and insn[0] != 5:
            if generator.random() < 0.5:
                insn[3] ^= 1 << generator.randrange(8)
            else:
                insn[1], insn[2] = insn[2], insn[1]
        elif kind in (0, 1) and insn[0] & 0xE0 in (0x20, 0x40):
            insn[3] = max(0, insn[3] + generator.choice((-1, 1, 2)))
        elif kind == 6:
            insn[3] = 0 if insn[3] else 1
        else:
            insn[3] ^= 1
        found.append([(a, b, c, d) for a, b, c, d in changed])
    return found


@pytest.mark.parametrize(
    "expression", ["tcp port 80", "host 10.0.0.1 and not port 22", "vlan 100 and udp", "ip[2:2] - ((ip[0]&0xf)<<2) > 100"]
)
def test_a_changed_program_is_different_with_a_witness_or_truly_equal(expression: str) -> None:
    z3 = pytest.importorskip("z3")
    from bpflens.classic.diagrams.symbolic import KERNEL
    from bpflens.classic.proof import z3_formula
    from bpflens.classic.proof.z3_world import World

    original = [(i.code, i.jt, i.jf, i.k) for i in libpcap.compile(expression, 1)]
    for changed in mutants(original, 12):
        verdict = compare(original, changed)
        if verdict.grade == "none":
            assert verdict.witness is not None
            assert bool(interpreter.run(original, verdict.witness.packet)) != bool(interpreter.run(changed, verdict.witness.packet))
        else:
            world = World(z3, KERNEL, arrays=False, apart=True)
            bounds = verdict.grade == "all-packets"
            solver = z3.SolverFor("QF_BV")
            solver.add(z3_formula.formula(original, world, bounds=bounds) != z3_formula.formula(changed, world, bounds=bounds))

            assert str(solver.check()) == "unsat"


def test_a_wrong_expression_is_never_called_proved() -> None:
    pairs = [
        ("tcp port 80", "tcp port 81"),
        ("ip", "ip6"),
        ("udp dst port 68", "ip and udp dst port 68"),
        ("host 1.2.3.4", "src host 1.2.3.4"),
    ]
    for one, two in pairs:
        verdict = compare(libpcap.compile(one, 1), libpcap.compile(two, 1))

        assert verdict.different
        assert verdict.witness is not None


def test_given_makes_what_it_excludes_not_matter() -> None:
    one, two = compiled("udp dst port 68"), compiled("ip and udp dst port 68")

    assert not diff(one, two).equal
    assert diff(one, two, given=("ip",)).equal


def test_every_real_filter_is_explained() -> None:
    linktypes = {"UB": "RAW", "LLC": "RAW", "UDP": "RAW", "ICMP6": "RAW", "ARP": "RAW"}
    for entry in corpus():
        if entry["kind"] == "seccomp" or len(entry["insns"]) > 40:  # type: ignore[arg-type]
            continue
        linktype = str(entry["linktype"])
        result = explain(filter_of(entry["insns"], linktypes.get(linktype, linktype)), deadline=60)

        assert result.words, entry["name"]
        assert result.expression or result.extended, entry["name"]
        expected = entry.get("expect_expr") or entry.get("comment_in_source")
        if expected and "(DLT_RAW" not in str(expected) and result.expression:
            assert diff(compiled(result.expression, linktype), compiled(str(expected), linktype)).equal, entry["name"]


def test_known_filters_do_not_depend_on_the_order_of_instructions() -> None:
    for expression in ("ip and udp dst port 68", "udp dst port 68 and ip", "udp dst port 68 and ip and not ip6"):
        assert explain(compiled(expression)).known == "a DHCP client"
    assert explain(compiled("ip and udp dst port 69")).known is None


def test_every_known_filter_compiles_and_is_found() -> None:
    from bpflens.classic.words.known_filters import KNOWN

    for known in KNOWN:
        for expression in known.expressions:
            code = libpcap.compile(expression, 1)
            tested = {insn.k for insn in code}

            assert tested.intersection(known.constants), (known.name, expression)


def test_values_tell_apart_what_only_accepts_the_same() -> None:
    one, two = filter_of([(6, 0, 0, 100)]), filter_of([(6, 0, 0, 200)])

    assert diff(one, two).equal
    result = diff(one, two, values=True)
    assert not result.equal
    assert result.witness is not None
    assert (result.witness.a, result.witness.b) == (100, 200)


def test_extended_programs_are_refused() -> None:
    program = Program(Isa.EXTENDED, bytes(8), Origin("test", "x"))
    with pytest.raises(InputError, match="extended"):
        explain(program)
    with pytest.raises(InputError, match="extended"):
        diff(program, program)


def test_an_unknown_assumption_has_libpcaps_message() -> None:
    with pytest.raises(InputError, match="syntax error"):
        explain(compiled("ip"), given=("no such thing",))


def test_a_hundred_hosts_are_one_list() -> None:
    generator = random.Random(1)
    hosts = sorted({f"10.{generator.randrange(256)}.{generator.randrange(256)}.{generator.randrange(1, 255)}" for _ in range(100)})
    result = explain(compiled(" or ".join(f"host {host}" for host in hosts)), deadline=60)

    assert result.proof.grade != "none"
    assert sorted((result.expression or "").removeprefix("host ").split(" or ")) == hosts


def test_the_record_has_the_promised_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(output("--json explain pcap:ip", "", monkeypatch, capsys))

    assert {"schema", "program", "expression", "words", "proof"} <= set(record)
    assert {"grade", "libpcap", "linktype", "given", "witness"} <= set(record["proof"])
    record = json.loads(output("--json diff pcap:ip pcap:ip6", "", monkeypatch, capsys))
    assert record["schema"] == "diff/1"
    assert record["equal"] is False
    assert record["witness"]["packet"]


def test_the_diagrams_of_all_expressions_agree_with_libpcap_on_random_packets() -> None:
    generator = random.Random(3)
    library = libpcap.load()
    for linktype, kind, expression in LISTED[::10]:
        if kind == "protochain":
            continue
        code = library.compile(expression, library.dlt_value(linktype), netmask=NETMASK)
        store = Store()
        node = run_in(store, code, KERNEL, accept=True)
        from diagram_reader import Reader

        for _ in range(5):
            packet = bytes(generator.choice((0, 6, 8, 17, 0x45, 80, 0x86, 0xDD)) for _ in range(generator.randrange(90)))
            assert bool(Reader(packet).value(store, node)) == bool(library.run(code, packet))


def test_a_bare_list_with_an_architecture_is_a_seccomp_filter(tmp_path: Path) -> None:
    """ "4,40 0 0 12,..." is what iptables takes; people write seccomp filters so, and these ask for AUDIT_ARCH_X86_64 first."""
    listed = tmp_path / "filter.txt"
    listed.write_text("8,32 0 0 4,21 0 5 3221225534,32 0 0 0,36 0 0 3,21 1 0 177,6 0 0 2147418112,6 0 0 327681,6 0 0 0\n")
    found = library.explain(str(listed))
    assert found.linktype == "SECCOMP" and "x86_64: ERRNO(EPERM) for execve; else ALLOW." in found.words
    listed.write_text("4,32 0 0 4,21 0 1 80,6 0 0 2147418112,6 0 0 0\n")  # no architecture: it stays a filter on packets
    assert library.explain(str(listed)).linktype != "SECCOMP"

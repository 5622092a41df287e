"""What a return value means belongs to the hook: tc's verdicts and classes, matches, indexes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpflens.classic.diff import diff
from bpflens.classic.explain import explain
from bpflens.classic.hooks import hook_of
from bpflens.classic.summary import Summaries
from bpflens.cli.main import run
from bpflens.errors import InputError
from bpflens.formats.dumps.detect import read_programs
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.program import Isa, Origin, Program

DA = "filter protocol all pref 1 bpf chain 0 handle 0x1 direct-action not_in_hw bytecode '{}'"
CLASS = "filter protocol all pref 4 bpf chain 0 handle 0x1 flowid 1:1 not_in_hw bytecode '{}'"
DROP_ALL, PASS_ALL, DROP_IP = "1,6 0 0 2", "1,6 0 0 0", "4,40 0 0 12,21 0 1 2048,6 0 0 2,6 0 0 0"


def read(text: str) -> Program:
    (program,) = read_programs(text.encode(), "-")
    return program


def test_a_program_that_drops_everything_says_so() -> None:
    dropped, passed = explain(read(DA.format(DROP_ALL))), explain(read(DA.format(PASS_ALL)))

    assert dropped.words == ("Every packet: TC_ACT_SHOT (dropped).",)
    assert passed.words == ("Every packet: TC_ACT_OK (passed).",)
    assert dropped.proof.grade == passed.proof.grade == "all-packets"
    assert Summaries(5)(read(DA.format(DROP_ALL))).text == "every packet: TC_ACT_SHOT (dropped)"


def test_each_verdict_has_its_packets() -> None:
    found = explain(read(DA.format(DROP_IP)))

    assert found.expression == "ip"
    assert [(o.value, o.expression) for o in found.outcomes] == [("TC_ACT_SHOT (dropped)", "ip"), ("TC_ACT_OK (passed)", None)]
    assert found.accepts == ""
    assert "every packet is an Ethernet frame" in found.proof.assumptions
    assert "every packet is an Ethernet frame" in found.outcomes[0].proof.assumptions  # type: ignore[union-attr]


def test_a_packet_too_short_for_a_load_gets_what_0_means() -> None:
    found = explain(read(DA.format("4,40 0 0 12,21 0 1 2048,6 0 0 2,6 0 0 7")))

    assert found.words[-1] == "A packet that is too short for a load: TC_ACT_OK (passed)."


def test_classes_without_direct_action() -> None:
    found = explain(read(CLASS.format("6,40 0 0 12,21 0 1 2048,6 0 0 65537,21 0 1 2054,6 0 0 65538,6 0 0 0")))

    assert [(o.value, o.expression) for o in found.outcomes] == [
        ("class 1:1", "ip"), ("class 1:2", "arp"), ("no match (the next filter decides)", None),
    ]  # fmt: skip
    assert found.expression is None
    own = explain(read(CLASS.format(DROP_IP.replace("6 0 0 2", "6 0 0 4294967295"))))
    assert own.outcomes[0].value == "the class of the filter (flowid)"


@pytest.mark.parametrize(
    "line",
    [
        "tc filter add dev eth0 ingress bpf da bytecode '1,6 0 0 2'",
        "tc filter add dev eth0 ingress bpf bytecode '1,6 0 0 2' direct-action",
        "tc filter add dev eth0 ingress bpf da \\\n    bytecode '1,6 0 0 2'",
        "tc actions add action bpf bytecode '1,6 0 0 2'",
        "tc filter add dev eth0 ingress matchall action bpf bytecode '1,6 0 0 2' pipe",
    ],
)
def test_commands_say_what_a_value_means_as_listings_do(line: str) -> None:
    assert explain(read(line)).words == ("Every packet: TC_ACT_SHOT (dropped).",)


def test_a_command_says_nothing_of_its_neighbours() -> None:
    script = (
        "tc filter add dev da ingress bpf bytecode '1,6 0 0 2'; tc filter add dev eth0 ingress bpf da bytecode '1,6 0 0 2'\n"
        "tc filter add dev eth0 ingress bpf bytecode '1,6 0 0 3'\n"
    )

    names = [hook_of(program).name for program in read_programs(script.encode(), "-")]

    assert names == ["tc", "tc direct-action", "tc"]


def test_diff_compares_verdicts() -> None:
    different = diff(read(DA.format(DROP_ALL)), read(DA.format(PASS_ALL)))
    same = diff(read(DA.format("1,6 0 0 1")), read(DA.format("1,6 0 0 99")))  # neither is a verdict for cls_bpf

    assert different.witness is not None and not different.equal
    assert same.equal


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        ("fanout", "number", "fanout"), ("reuseport", "number", "reuseport"), ("team/hash", "number", "team"),
        ("xt_bpf", "match", "xt_bpf"), ("iptables", "match", "xt_bpf"), ("socket/packet", "length", "socket"), ("ss", "length", "socket"),
        ("tc/action", "verdict", "tc action"),
    ],
)  # fmt: skip
def test_the_table(source: str, kind: str, name: str) -> None:
    hook = hook_of(Program(Isa.CLASSIC, b"", Origin(source, "x")))

    assert (hook.kind, hook.name) == (kind, name)


def test_an_index_has_no_expression() -> None:
    insns = [SockFilter(0x30, 0, 0, 0), SockFilter(0x94, 0, 0, 4), SockFilter(0x16, 0, 0, 0)]
    found = explain(Program(Isa.CLASSIC, encode(tuple(insns)), Origin("reuseport", "x", linktype="RAW")))

    assert found.expression is None and found.proof.grade == "none"
    assert "no verdict" in found.words[0]


@pytest.mark.parametrize("quote", ['"', "'", '\\"'])
def test_xt_bpf_begins_at_the_network_header_however_it_is_quoted(quote: str) -> None:
    program = read(f"-A INPUT -m bpf --bytecode {quote}4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0{quote} -j DROP\n")

    assert program.origin.linktype == "RAW" and program.origin.source == "iptables"
    assert explain(program).expression == "link[9] = 6"


def test_a_name_says_that_it_is_no_tcpdump_language() -> None:
    insns = (SockFilter(0x20, 0, 0, 0xFFFFF004), SockFilter(0x15, 0, 1, 3), SockFilter(0x06, 0, 0, 0), SockFilter(0x06, 0, 0, 1))
    found = explain(Program(Isa.CLASSIC, encode(insns), Origin("ss", "x")))

    assert found.expression is None
    assert found.extended == "@extension: @pkttype != 3"


def test_values_of_different_hooks_are_no_answer_to_the_same_question() -> None:
    direct, plain = read(DA.format(DROP_IP)), read(CLASS.format(DROP_IP))

    with pytest.raises(InputError, match="different hooks"):
        diff(direct, plain)

    assert diff(direct, plain, values=True).equal


def test_a_difference_of_verdicts_shows_what_the_programs_return() -> None:
    found = diff(read(DA.format(DROP_IP)), read(DA.format("1,6 0 0 262144")))  # no verdict of cls_bpf

    assert found.witness is not None and {found.witness.a, found.witness.b} <= {0, 2, 262144}


def test_an_expression_is_compiled_for_the_packets_of_the_filter_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "rules"
    rules.write_text("-A INPUT -m bpf --bytecode '4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0' -j DROP\n")

    assert run(["diff", str(rules), "pcap:ip[9] = 6"]) == 1

    assert "RAW" in capsys.readouterr().out
    assert run(["diff", "--given", "ip", "pcap:ip proto 6", str(rules)]) == 0


ACTION = "action order 0: bpf bytecode '{}' default-action drop"


def test_what_an_action_does_with_a_value_that_is_no_verdict() -> None:
    """tcf_bpf_act(): -1 is the verdict that the action is configured with, any other unknown value is TC_ACT_UNSPEC."""
    found = explain(read(ACTION.format("4,40 0 0 12,21 0 1 2048,6 0 0 9,6 0 0 4294967295")))

    assert [(o.value, o.expression) for o in found.outcomes] == [
        ("TC_ACT_UNSPEC (the next filter decides)", "ip"), ("the verdict that the action is configured with", None),
    ]  # fmt: skip
    configured, unknown = read(ACTION.format("1,6 0 0 4294967295")), read(ACTION.format("1,6 0 0 9"))
    assert not diff(configured, unknown).equal
    assert diff(unknown, read(ACTION.format("1,6 0 0 4"))).equal  # TC_ACT_STOLEN is no value that act_bpf knows


def test_a_computed_verdict_has_its_packets() -> None:
    found = explain(read(DA.format("3,48 0 0 9,84 0 0 3,22 0 0 0")))

    assert {o.value for o in found.outcomes} == {"TC_ACT_OK (passed)", "TC_ACT_SHOT (dropped)", "no verdict (the next filter decides)"}
    assert found.proof.grade == "all-packets"
    computed = read(DA.format("2,48 0 0 9,22 0 0 0"))
    assert diff(computed, read(DA.format("4,48 0 0 9,21 0 1 9,6 0 0 3,22 0 0 0"))).equal  # 9 and 3 are both no verdict
    assert not diff(computed, read(DA.format("4,48 0 0 9,21 0 1 8,6 0 0 3,22 0 0 0"))).equal


def test_values_are_compared_as_numbers_when_asked_for() -> None:
    assert not diff(read(DA.format("1,6 0 0 9")), read(DA.format("1,6 0 0 3")), values=True).equal


def test_what_is_assumed_about_a_program_that_does_not_tell_its_hook() -> None:
    assumed = diff(read("1,6 0 0 9"), read(DA.format("1,6 0 0 3")))

    assert assumed.equal and assumed.assumptions == ("-:1 hangs on the same hook (tc direct-action)",)
    with pytest.raises(InputError, match="different hooks"):
        diff(Program(Isa.CLASSIC, read(DA.format(DROP_ALL)).code, Origin("socket/packet", "sock:1")), read(DA.format(DROP_ALL)))
    ethernet, raw = (Program(Isa.CLASSIC, read("1,6 0 0 9").code, Origin("numbers", name, linktype=name)) for name in ("EN10MB", "RAW"))
    assert "begin as EN10MB" in diff(ethernet, raw).assumptions[0]

"""One filter, and one whose values are verdicts: what is said where nothing is found, and how results are put together."""

from __future__ import annotations

import pytest

from bpflens.classic import verdicts as verdicts_module
from bpflens.classic.explain_filter import NO_PACKET, FilterExplainer
from bpflens.classic.explanation import Explanation, Outcome, Proof
from bpflens.classic.hooks import hook_of
from bpflens.classic.machine.interpreter import run
from bpflens.classic.verdicts import by_outcome, verdicts
from bpflens.errors import InputError
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.program import Isa, Origin, Program

Insns = tuple[SockFilter, ...]
AD = 0xFFFFF000


def insns_of(*rows: tuple[int, int, int, int]) -> Insns:
    return tuple(SockFilter(*row) for row in rows)


def explainer(insns: Insns, given: tuple[str, ...] = (), deadline: float = 3.0, typed: str | None = None) -> FilterExplainer:
    origin = Origin("pcap" if typed else "test", "x", typed, linktype="EN10MB")
    return FilterExplainer(Program(Isa.CLASSIC, encode(insns), origin), insns, given, "EN10MB", deadline)


def compiled(expression: str) -> Insns:
    return tuple(SockFilter(*insn) for insn in libpcap.compile(expression, 1))


# --- explain_filter ---


def test_the_way_of_a_plain_filter() -> None:
    found = explainer(compiled("udp dst port 53")).run()
    assert (found.expression, found.extended, found.accepts) == ("udp dst port 53", None, "the whole packet")
    assert found.proof.grade == "all-packets" and found.proof.libpcap == libpcap.version() and found.steps > 0
    assert found.words[0] == "IPv4 and IPv6 UDP packets to port 53 (domain)."


def test_what_nothing_can_be_said_of() -> None:
    """Unknown code, a loop, a budget of nothing: the reason stands in the proof, and no expression is guessed."""
    loop = insns_of((0x05, 0, 0, 0xFFFFFFFF), (6, 0, 0, 0))
    for insns, said in ((insns_of((0xFFFF, 0, 0, 0)), "unknown"), (loop, "loop")):
        found = explainer(insns).run()
        assert (found.expression, found.extended, found.proof.grade) == (None, None, "none")
        assert found.words[0].startswith("Not explained: ") and found.proof.reason
        assert said in found.proof.reason
    hurried = explainer(compiled("tcp port 80 or host 10.0.0.1"), deadline=0.0).run()
    assert hurried.expression is None and hurried.proof.grade == "none" and hurried.proof.reason


def test_assumptions_that_cannot_be() -> None:
    for given, said in ((("ip", "not ip"), "contradict each other"), (("nonsense here",), "--given nonsense here")):
        with pytest.raises(InputError, match=said):
            explainer(compiled("ip"), given).run()


def test_a_filter_that_accepts_nothing() -> None:
    """Without assumptions, and where these exclude all that it accepts."""
    never = explainer(insns_of((6, 0, 0, 0))).run()
    assert (never.expression, never.words) == (None, ("No packet.",))
    excluded = explainer(compiled("arp"), ("ip",)).run()
    assert excluded.words == ("No packet: under the assumption that every packet satisfies `ip`, it accepts nothing.",)
    assert excluded.given == ("ip",) and excluded.proof.grade != "none"


def test_several_return_values() -> None:
    """Each has an expression of its own; one that no packet gets is left out."""
    insns = insns_of((0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 96), (0x15, 0, 1, 0x806), (6, 0, 0, 200), (6, 0, 0, 0))
    found = explainer(insns).run()
    assert [(outcome.value, outcome.expression) for outcome in found.outcomes] == [("96", "ip"), ("200", "arp")]
    assert found.accepts == "2 different return values"


def test_what_the_language_has_no_words_for() -> None:
    """Ancillary data has terms of our own; a computed return value is said as arithmetic."""
    outgoing = explainer(insns_of((0x20, 0, 0, AD + 4), (0x15, 0, 1, 4), (6, 0, 0, 0), (6, 0, 0, 9))).run()
    assert outgoing.expression in (None, "inbound") and (outgoing.extended or outgoing.expression)
    length = explainer(insns_of((0x28, 0, 0, 16), (4, 0, 0, 14), (0x16, 0, 0, 0))).run()
    assert any("ether[16:2]" in outcome.value for outcome in length.outcomes)


def test_a_place_beyond_every_packet_is_told() -> None:
    found = explainer(insns_of((0x30, 0, 0, NO_PACKET), (0x15, 0, 1, 1), (6, 0, 0, 1), (6, 0, 0, 0))).run()
    assert any(note.startswith(f"byte {NO_PACKET} lies beyond every packet") for note in found.notes)


def test_what_was_typed_is_the_answer_where_nothing_shorter_is() -> None:
    typed = "ip and tcp dst port 80"
    found = explainer(compiled(typed), typed=typed).run()
    assert found.expression is not None and len(found.expression) <= len(typed) and found.proof.grade == "all-packets"


# --- verdicts ---

TC = Program(Isa.CLASSIC, b"", Origin("tc", "x", row={"direct-action": "true"}))
HOOK = hook_of(TC)
PROOF = Proof("all-packets", "diagrams", "1.10", "EN10MB")


@pytest.mark.parametrize("end", [(6, 0, 0, 99), (0x16, 0, 0, 0)])
@pytest.mark.parametrize("value", [0, 1, 2, 7, 8, 99, 255])
def test_outcomes_in_place_of_values(end: tuple[int, int, int, int], value: int) -> None:
    """Values with one meaning become one; those of a wanted outcome become 1, the others 0; also where they are computed."""
    insns = insns_of((0x30, 0, 0, 0), (0x15, 0, 1, 2), (6, 0, 0, 2), end)
    returned = run(insns, bytes((value,)))
    assert run(by_outcome(insns, HOOK), bytes((value,))) == HOOK.outcome(returned)
    for outcome in (0, 2, 0xFFFFFFFF):
        assert run(by_outcome(insns, HOOK, outcome), bytes((value,))) == (HOOK.outcome(returned) == outcome)


def explained(expression: str, grade: str = "all-packets", words: str = "IPv4 packets.") -> Explanation:
    proof = Proof(grade, "diagrams", "1.10", "EN10MB")  # type: ignore[arg-type]
    return Explanation("x", "", 1, "EN10MB", (), expression, None, (words,), None, "", proof, steps=5)


def test_each_verdict_has_its_packets() -> None:
    """All but one are asked for; the last is everything else. The weakest proof is that of the whole."""
    insns = insns_of((0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 2), (0x15, 0, 1, 0x806), (6, 0, 0, 7), (6, 0, 0, 0))
    asked: list[Insns] = []

    def accepts(code: Insns) -> Explanation:
        asked.append(code)
        return explained(f"e{len(asked)}", "untruncated" if len(asked) == 2 else "all-packets")

    found = verdicts(TC, insns, HOOK, accepts)
    assert [[insn.k for insn in code if insn.code == 6] for code in asked] == [[1, 0, 0], [0, 1, 0]]
    assert [(o.value, o.expression) for o in found.outcomes] == [
        ("TC_ACT_SHOT (dropped)", "e1"), ("TC_ACT_REDIRECT (redirected)", "e2"), ("TC_ACT_OK (passed)", None),
    ]  # fmt: skip
    assert found.proof.grade == "untruncated" and found.expression is None and found.steps == 10
    assert found.words[0] == "TC_ACT_SHOT (dropped): IPv4 packets."


def test_one_verdict_for_all() -> None:
    insns = insns_of((6, 0, 0, 2), (6, 0, 0, 2))
    found = verdicts(TC, insns, HOOK, lambda code: explained("1 = 1"))
    assert found.words == ("Every packet: TC_ACT_SHOT (dropped).",)
    short = insns_of((0x28, 0, 0, 12), (6, 0, 0, 2))
    found = verdicts(TC, short, HOOK, lambda code: explained("len >= 14"))
    assert found.words == (
        "Every packet that is long enough for its loads: TC_ACT_SHOT (dropped).",
        "A packet that is too short for a load: TC_ACT_OK (passed).",
    )  # fmt: skip


def test_many_verdicts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts_module, "_MOST", 1)
    insns = insns_of((6, 0, 0, 2), (6, 0, 0, 7), (6, 0, 0, 0))
    found = verdicts(TC, insns, HOOK, lambda code: explained("ip"))
    assert found.notes == ("1 further return values are not listed",) and len(found.outcomes) == 2


def test_records_of_an_explanation_are_values() -> None:
    """Equal in all fields; defaults say that nothing is known."""
    assert explained("ip") == explained("ip") != explained("arp")
    outcome = Outcome("0", None, False, ())
    assert outcome.proof is None and (PROOF.given, PROOF.witness, PROOF.reason) == ((), None, "")
    with pytest.raises(AttributeError):
        PROOF.grade = "none"  # type: ignore[misc]

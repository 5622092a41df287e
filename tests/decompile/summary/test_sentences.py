"""Sentences of what is decided, done, held and found around a program."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bpflens.decompile import ir
from bpflens.decompile.ir import Binary, Call, Const, Load, Place, Store
from bpflens.decompile.summary.contents import now_held
from bpflens.decompile.summary.country import country, tail_calls
from bpflens.decompile.summary.decisions import decisions
from bpflens.decompile.summary.deeds import Deeds
from bpflens.decompile.summary.hanging import hanging
from bpflens.decompile.summary.place import place_at
from bpflens.decompile.summary.sentence import Path, Says, Sentence
from bpflens.decompile.summary.summary import Summary
from bpflens.decompile.summary.walk.bits import Source, read_bits
from bpflens.decompile.summary.walk.claims import KeyPart
from bpflens.decompile.summary.walk.conditions import Condition, Kind
from bpflens.decompile.summary.walk.pointed import Pointed
from bpflens.decompile.summary.walk.walk import Done, Returned, Walk
from bpflens.decompile.summary.words.naming import Namer
from bpflens.errors import InputError
from bpflens.inventory.around import Surroundings
from bpflens.inventory.facts.processes import Process
from bpflens.maps.contents import Contents, Entry
from bpflens.program import Attachment, Holder, Map
from decompile.plain_ir import unit_of

XDP, KPROBE, STRUCT_OPS, TRACING = 6, 2, 27, 26
A, B = Condition(Kind.TELLING, "the mark is 1"), Condition(Kind.TELLING, "the mark is 2")
ONE = Const(1)
UNKNOWN = Condition(Kind.UNKNOWN, "a computed value compares so")
COUNTS = Map("counts", 1, 4, 8, 16, id=7)


def unit(prog_type=XDP, text="r0 = 0\nexit", maps=(COUNTS,)):
    return unit_of(text, prog_type, source="elf", maps=maps)


def namer(prog_type=XDP):
    return Namer(unit(prog_type), prog_type, "")


# --- decisions ---


def decided(*returns, prog_type=XDP):
    walked = Walk(returns=[Returned(value, conditions, (n,), may) for n, (value, conditions, may) in enumerate(returns)])
    return list(decisions("f", walked, namer(prog_type), prog_type))


def test_one_verdict_is_always():
    (said,) = decided((2, (), False), (2, (A,), False))
    assert said.text == "Always passes the packet on (XDP_PASS)." and said.slots == (0, 1)
    assert said.says == Says("f", "returns", 2, (Path(()), Path((A,))))


def test_the_usual_verdict_is_last():
    drop, rest = decided((1, (A,), False), (2, (), False))
    assert drop.text == "Drops the packet (XDP_DROP) when the mark is 1."
    assert rest.text == "Else passes the packet on (XDP_PASS)." and rest.says.rest


def test_may_stands_where_something_has_no_words():
    assert decided((1, (UNKNOWN,), False), (2, (), False))[0].text == "May drop the packet (XDP_DROP)."
    assert decided((1, (A, UNKNOWN), False), (2, (), False))[0].text == "May drop the packet (XDP_DROP) when the mark is 1."
    assert decided((4, (), True), (2, (), False))[0].text == "May redirect the packet (XDP_REDIRECT)."


def test_many_ways_are_cut_in_the_text_and_not_in_the_whole():
    ways = [(1, (Condition(Kind.TELLING, f"c{n}"),), False) for n in range(5)]
    drop = decided(*ways, (2, (), False))[0]
    assert drop.text == "Drops the packet (XDP_DROP) when c0; or when c1; or when c2; and in 2 more cases."
    assert drop.whole == "Drops the packet (XDP_DROP) when c0; or when c1; or when c2; or when c3; or when c4."


def test_values_that_are_computed():
    said = decided((None, (A,), False), (2, (), False))
    assert said[0].text == "Returns a value that it computes when the mark is 1." and said[0].says.value is None
    assert said[1].text.startswith("Else")


# --- deeds ---


def sentences(*done, prog_type=XDP, read=(), prefix="", tree=()):
    here = unit(prog_type)
    walked = Walk(done=list(done), read=dict(read))
    return [each.text for each in Deeds("f", here, Namer(here, prog_type, ""), walked, Pointed(tree, set()), prefix).all()]


def call(name, number, *texts, conditions=(), **more):
    statement = Call(None, "helper", name, number, (), (3,))
    return Done(statement, statement, conditions, texts, **more)


def store(place, value=ONE, what="", size=8, **more):
    statement = Store(size, ir.Var(1), value, Place(*place), (4,))
    return Done(statement, statement, (), value=what, **more)


@pytest.mark.parametrize(
    ("done", "prog_type", "text"),
    [
        (call("bpf_send_signal", 109, "9"), KPROBE, "It sends signal 9 (SIGKILL) to the current process."),
        (call("bpf_send_signal", 109, "a computed value"), KPROBE, "It sends a computed signal to the current process."),
        (call("bpf_probe_write_user", 36, "x", "y", "1"), KPROBE, "It writes 1 byte into the memory of the current process."),
        (call("bpf_redirect", 23, "5", "0", conditions=(A,)), XDP, "If the mark is 1, it redirects the packet to interface 5."),
        (
            call("bpf_redirect", 23, "5", "0", conditions=(UNKNOWN,)),
            XDP,
            "It may do this: it redirects the packet to interface 5.",
        ),
        (store(("packet", "", 0), size=6), XDP, "It rewrites the destination MAC."),
        (store(("packet", "", None)), XDP, "It rewrites bytes of the packet."),
        (store(("ctx", "", 16), size=4, what="7"), XDP, "It sets the receive queue to 7."),
        (store(("", "", None), what="the field"), STRUCT_OPS, "It sets the field."),
        (store(("", "", None)), TRACING, "It also writes where its addresses were not followed."),
        (store(("data", ".bss", 0)), XDP, "It changes the bytes 0 to 7 of .bss."),
    ],
)
def test_effects(done, prog_type, text):
    assert sentences(done, prog_type=prog_type) == [text]


def test_effects_under_the_same_conditions_are_one_sentence():
    first, second = call("bpf_redirect", 23, "5", conditions=(A,)), call("bpf_set_hash", 48, conditions=(A,))
    other = call("bpf_set_hash", 48, conditions=(B,))
    assert sentences(first, second, other, prefix="in g, ") == [
        "If the mark is 1, in g, it redirects the packet to interface 5 and sets the packet's hash.",
        "If the mark is 2, in g, it sets the packet's hash.",
    ]


def test_a_signal_alarms():
    here = unit(KPROBE)
    walked = Walk(done=[call("bpf_send_signal", 109, "9"), call("bpf_get_stack", 67)])
    said = list(Deeds("f", here, Namer(here, KPROBE, ""), walked, Pointed((), set()), "").effects())
    assert [(each.kind, each.slots) for each in said] == [("alarm", (3,))]


def test_maps():
    counted = Binary("+", Load(8, False, ir.Var(1), Place("value", "counts", 0)), Const(1), 64)
    done = (
        call("bpf_map_lookup_elem", 1, "counts", key="source address"), store(("value", "counts", 0), counted),
        store(("value", "counts", 0), Const(3)),
    )  # fmt: skip
    assert sentences(*done) == [
        "Map counts (hash): looks up, adds 1 to the value and writes the value, by the source address.",
    ]


def test_what_is_read():
    asked = call("bpf_get_current_comm", 16)
    (text,) = sentences(asked, prog_type=KPROBE, read={"argument 1 of the function": (1,)})
    assert text == "Reads: argument 1 of the function, process name."


# --- contents ---


def held(monkeypatch, entries, map=COUNTS, done=(), more=False, reason=None, shared=False, verdicts=()):
    from bpflens.decompile.summary import contents

    monkeypatch.setattr(contents, "contents", lambda map, limit: Contents(tuple(entries), more, reason))
    sentence = Sentence("map", "Map counts.", says=Says("f", "map", done=done, map="counts"))
    return now_held(sentence, map.name, map, verdicts, namer(), shared)


PORT = Done(
    Call(None, "helper", "bpf_map_lookup_elem", 1, (), (3,)), Call(None, "helper", "bpf_map_lookup_elem", 1, (), (3,)), (A,),
    parts=(KeyPart(0, 2, read_bits(Source("packet", "", "transport"), 2, 2)), KeyPart(2, 2, (0,) * 64)),
)  # fmt: skip


def test_contents_with_keys_as_fields_and_the_largest_first(monkeypatch):
    entries = [Entry(b"\x01\xbb\0\0", bytes(8), None, 0), Entry(b"\0\x50\0\0", b"\3" + bytes(7), None, 3)]
    assert held(monkeypatch, entries, done=(PORT,)) == " Now 2 entries: 80 (http): 3, 443 (https): 0."


def test_counted_packets_where_one_verdict_follows(monkeypatch):
    adds = store(("value", "counts", 0), Binary("+", Load(8, False, ir.Var(1), Place("value", "counts", 0)), Const(1), 64))
    adds = replace(adds, conditions=(A,))
    drops, passes = Says("f", "returns", 1, (Path((A, B)),)), Says("f", "returns", 2, (Path((B,)),))
    entry = Entry(bytes(4), b"\3" + bytes(7), 5, 3)
    assert held(monkeypatch, [entry], done=(adds,), verdicts=(drops, passes)) == " Now 1 entry: 5: 3 packets dropped."
    assert held(monkeypatch, [entry], done=(adds,), verdicts=(drops, passes), shared=True) == " Now 1 entry: 5: 3."
    assert held(monkeypatch, [entry], done=(adds,), verdicts=(drops, replace(passes, paths=drops.paths))) == " Now 1 entry: 5: 3."


def test_contents_that_are_many_none_or_not_for_us(monkeypatch):
    entries = [Entry(bytes((n, 0, 0, 0)), bytes(8), n, n) for n in range(5)]
    assert held(monkeypatch, entries, more=True) == " Now more than 1024 entries: 4: 4, 3: 3, 2: 2, ...."
    assert held(monkeypatch, []) == " Now it is empty."
    array = replace(COUNTS, type=2)
    assert held(monkeypatch, entries[:1], array) == " Now all its values are 0."
    assert held(monkeypatch, [Entry(bytes(4), b"\1" + bytes(7), 0, 1)], array) == " Now 1 value that is not 0: 0: 1."
    assert held(monkeypatch, [], reason="no privilege") == " Its contents can't be read: no privilege."
    assert held(monkeypatch, entries, replace(COUNTS, type=27)) == held(monkeypatch, entries, replace(COUNTS, id=None)) == ""


# --- the country ---


def summary(*said):
    return Summary("test", "f", "xdp", "", 0, tuple(said))


def test_functions_and_maps_by_size_and_use():
    from bpflens.program import Function, Relocation

    text = "r1 = 0 ll\ncall pc+2\nr0 = 0\nexit\nr0 = 1\nr0 = 2\nexit"
    here = unit_of(text, XDP, source="elf", maps=(COUNTS,), functions=(Function(0, "f"), Function(5, "g")),
                   relocations=(Relocation(0, "map", "counts"),))  # fmt: skip
    assert [each.text for each in country(here, summary())] == [
        "Functions, largest first: f (5 instructions, calls g); g (3 instructions).", "Maps, most used first: counts (hash).",
    ]  # fmt: skip
    assert list(country(unit(), summary())) == []


def test_tail_calls_of_an_object_by_its_section_names():
    from bpflens.program import Declared

    jumps = Map("jumps", 3, 4, 4, 4, fields={"id": 2})
    here = unit_of("r0 = 0\nexit", XDP, source="elf", maps=(jumps,), declared=Declared(section="2/1"))
    tail = call("bpf_tail_call", 12, "the context", "jumps", "1")
    missing = call("bpf_tail_call", 12, "the context", "jumps", "3")
    said = Sentence("effect", "", says=Says("f", "does", done=(tail, missing)))
    assert [each.text for each in tail_calls(here, summary(said))] == ["Behind the indexes of jumps: 1 is program f; 3 is empty."]
    computed = Sentence("effect", "", says=Says("f", "does", done=(call("bpf_tail_call", 12, "c", "jumps", "a computed value"),)))
    assert [each.text for each in tail_calls(here, summary(computed))] == ["Behind the indexes of jumps: 1 is program f."]


# --- a place ---

PLACE = "r2 = *(u32 *)(r1 + 12)\nr0 = 2\nif r2 != 7 goto +1\nr0 = 1\nexit"


def test_a_place_with_its_conditions_and_sentences():
    here = unit(text=PLACE)
    place = place_at(here, "f", 3)
    assert (place.function, place.pc, place.insn) == ("f", 3, "r0 = 1")
    assert place.when == "the interface number is 7"
    assert any(line.startswith("> ") and "XDP_DROP" in line for line in place.c)
    assert any("XDP_DROP" in each.text for each in place.sentences)
    assert place_at(here, "f", 2).when is None


def test_a_place_that_is_none():
    with pytest.raises(InputError, match="no instruction 99"):
        place_at(unit(text=PLACE), "f", 99)


# --- what a program hangs on ---


def around(*attachments, holders=(), pins=(), processes=None):
    return Surroundings({5: tuple(attachments)}, {5: tuple(holders)}, {5: tuple(pins)}, processes=processes or {})


@pytest.mark.parametrize(
    ("attachment", "text"),
    [
        (Attachment("xdp/generic", "dev:eth0"), "Hangs on interface eth0 (XDP, generic mode)."),
        (Attachment("tcx/ingress", "dev:eth0", 4, "blue"), "Hangs on interface eth0 in network namespace blue (tc, ingress)."),
        (
            Attachment("cgroup/inet_egress", "cgroup:/docker/docker-" + "ab" * 32 + ".scope"),
            "Hangs on cgroup /docker/docker-" + "ab" * 32 + ".scope of container abababababab (cgroup/inet_egress).",
        ),
        (Attachment("perf_event", "something"), "Hangs on something (perf_event)."),
    ],
)
def test_where_it_hangs(attachment, text):
    assert hanging(around(attachment, attachment), 5) == [text]


def test_nothing_and_many():
    assert hanging(around(), 5) == ["Nothing that was found has it attached."]
    many = [Attachment("xdp", f"dev:v{n}") for n in range(6)]
    assert hanging(around(*many), 5)[0].endswith("interface v3 (XDP) and 2 more places.")


def test_who_holds_it():
    facts = {8: Process("/usr/bin/evil", True, "evil.service", None), 9: Process("/usr/bin/ok", False, "x", "docker:0123")}
    lines = hanging(around(holders=(Holder(8, "dropd"), Holder(9, "ok"), Holder(10, "")), pins=("/sys/fs/bpf/p",), processes=facts), 5)
    assert lines[1] == (
        "Held by dropd (pid 8, runs /usr/bin/evil, its file is deleted, unit evil.service), ok (pid 9, container docker:0123), "
        "a process (pid 10), the pin /sys/fs/bpf/p."
    )

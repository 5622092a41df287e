"""The lines of JSON, made of small records by hand: what stands in each key. Every line is as its schema says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bpflens.analysis.slot_notes import Further
from bpflens.attachment import ProgInfo
from bpflens.classic.diff import diff as compared
from bpflens.classic.explanation import Explanation, Outcome, Proof
from bpflens.classic.machine.captures import Result
from bpflens.classic.proof.verdict import Witness
from bpflens.classic.seccomp.difference import diff_policies
from bpflens.classic.seccomp.events import Decision, Verdict
from bpflens.classic.seccomp.findings import Finding
from bpflens.classic.seccomp.policy.policy import policy
from bpflens.decompile.result import Badge, Decompiled, DecompiledFunction, Level, Line
from bpflens.formats.dumps.seccomp.audit_events import AuditEvent
from bpflens.formats.dumps.tools.own_lines import read_lines
from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.inventory.graph import MapNode, ProgNode
from bpflens.isa.classic.asm import assemble as assemble_classic
from bpflens.isa.classic.insn import encode
from bpflens.isa.classic.syscalls import find_arch
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.kernel.programs.load_attributes import Attributes
from bpflens.kernel.programs.loaded import MapHead
from bpflens.maps.contents import Contents, Entry
from bpflens.original.image.image import of_code
from bpflens.original.image.image_check import ImageCheck
from bpflens.original.invert.traces import Removed
from bpflens.original.result import Grade, Original
from bpflens.overview import MapFacts, Overview, ProgramFacts, StructOpsFacts
from bpflens.program import Attachment, Declared, Function, Holder, Isa, Loaded, Map, Origin, Program, Relocation, SourceLine
from bpflens.records import decompile, diff, dis, explain, original, run, seccomp, show, tree
from bpflens.records import program as program_records
from bpflens.records.schemas import problems
from bpflens.targets.open import open_target

EXIT = assemble("exit")
MAP = Map("m", MapType.HASH, 4, 8, 16, 1, id=7, key="u32", datasec={4: ("b", 4, "int"), 0: ("a", 4, "u32")}, data=b"\x01")
PROGRAM = Program(
    Isa.EXTENDED, assemble("r1 = map[fd:0]\nr0 = 2") + EXIT, Origin("elf", "a.o#p", given=("ip",), note="a note"), "p", ProgType.XDP,
    maps=(MAP,), functions=(Function(0, "p", "int p(void *ctx)"),), lines=(SourceLine(2, "a.c", 3, 1, "return 2;"),),
    relocations=(Relocation(0, "map", "m", text="map m"),), symbols={3: "named"}, declared=Declared("xdp", "GPL", "little", autoload=False),
)  # fmt: skip
HOLDER = Holder(12, "a", 3)


def checked(line: dict[str, Any]) -> dict[str, Any]:
    assert problems(line) == [] and json.loads(json.dumps(line)) == line
    return line


# --- program, dis ---


def test_what_a_program_and_a_map_are() -> None:
    keys = program_records.program_keys(PROGRAM)
    assert (keys["isa"], keys["type"], keys["attach_type"], keys["insns"], keys["given"]) == ("extended", "xdp", None, 4, ["ip"])
    assert keys["functions"] == [{"pc": 0, "name": "p", "proto": "int p(void *ctx)"}]
    found = program_records.map_keys(MAP)
    assert (found["type"], found["flags"], found["data"]) == ("hash", ["no_prealloc"], "01")
    assert [variable["offset"] for variable in found["variables"]] == [0, 4]
    assert "data" not in program_records.map_keys(Map("n", 1, 4, 4, 1))
    assert program_records.references(PROGRAM) == [{"pc": 0, "kind": "map", "symbol": "m", "value": 0, "text": "map m", "section": ""}]
    assert program_records.about_record(PROGRAM)["maps"] == [found]


def test_lines_of_dis() -> None:
    """One for each instruction; the first says what the program is, and together they are read back as it was."""
    lines = [checked(line) for line in dis.records(PROGRAM, 0, None, "kernel", source=True)]
    assert [(line["pc"], line["bytes"]) for line in lines] == [
        (0, PROGRAM.code[:16].hex()), (2, PROGRAM.code[16:24].hex()), (3, EXIT.hex()),
    ]  # fmt: skip
    assert ["about" in line for line in lines] == [True, False, False] and lines[0]["function"] == "p"
    assert (lines[0]["refers"]["symbol"], lines[1]["source"]["line"], lines[2]["symbol"]) == ("m", 3, "named")
    (again,) = read_lines(lines, Origin("json", "-"))
    assert (again.code, again.name, again.type) == (PROGRAM.code, "p", ProgType.XDP)
    assert (again.functions, again.lines) == (PROGRAM.functions, PROGRAM.lines)


def test_parts_and_classic_lines_of_dis() -> None:
    """A range begins behind a ld_imm64 whose second slot it would cut; classic text has no number in front."""
    assert [line["pc"] for line in dis.records(PROGRAM, 1, 3, "kernel")] == [2]
    assert not any("source" in line for line in dis.records(PROGRAM, 0, None, "kernel"))
    further: Further = {2: ["more of it"]}
    assert "more of it" in next(dis.records(PROGRAM, 2, 3, "kernel", further=further))["notes"]
    classic = Program(Isa.CLASSIC, encode(assemble_classic("ldh [12]\nret #0")), Origin("test", "x"))
    assert [checked(line)["text"] for line in dis.records(classic, 0, None, "tcpdump")] == ["ldh [12]", "ret #0"]
    unknown = Program(Isa.EXTENDED, bytes((0xFF, *range(7))), Origin("test", "x"))
    assert next(dis.records(unknown, 0, None, "kernel"))["notes"]


# --- explain ---

WITNESS = Witness(b"\x01\x02", 1, 0, {"ifindex": None})
PROOF = Proof("untruncated", "diagrams", "1.10", "EN10MB", ("ip",), ("an assumption",), WITNESS, "why")


def test_an_explanation() -> None:
    """Terms of the extension stand under their own key; what is not there is null."""
    outcomes = (Outcome("1", "ip", False, ("IPv4 packets.",), PROOF), Outcome("2", "@mark = 1", True, ()))
    extended = "@extension: @mark = 1"
    found = Explanation("x", "", 4, "EN10MB", ("ip",), None, extended, ("Words.",), None, "", PROOF, outcomes, ("note",), 0.123456)
    line = checked(explain.explanation_record(found))
    assert (line["name"], line["expression"], line["extended"], line["seconds"]) == (None, None, "@extension: @mark = 1", 0.1235)
    assert [(o["expression"], o["extended"], o["proof"] is None) for o in line["outcomes"]] == [
        ("ip", None, False), (None, "@mark = 1", True),
    ]  # fmt: skip
    assert line["proof"]["witness"] == {"packet": "0102", "a": 1, "b": 0, "aux": {"ifindex": None}}
    assert (line["proof"]["grade"], line["proof"]["reason"]) == ("untruncated", "why")
    assert explain.witness_record(None) is None and explain.witness_record(Witness(b"", 1, 2)) == {"packet": "", "a": 1, "b": 2}


def test_a_difference() -> None:
    """Unknown is neither equal nor different; each side has its packet."""
    def line(a: str, b: str) -> dict[str, Any]:
        return checked(diff.difference_record(compared(open_target(f"pcap:{a}")[0], open_target(f"pcap:{b}")[0])))

    same, other = line("tcp port 80", "tcp and port 80"), line("ip", "arp")
    assert (same["equal"], same["grade"], same["witness"], same["sides"]) == (True, "all-packets", None, [])
    assert (other["equal"], other["a"], other["b"], other["hook"]) == (False, "pcap:ip", "pcap:arp", "socket")
    assert [side["expression"] for side in other["sides"]] == ["ip", "arp"] and other["witness"]["a"] != other["witness"]["b"]


# --- decompile ---


def test_lines_of_a_decompiled_file() -> None:
    """The head, then each function, with the lines of each slot."""
    c = (Line("int p(void) {"), Line("return 2;", (0, 1)), Line("}", (1,)))
    p = DecompiledFunction("p", "xdp", 0, 2, "entry", Level.STRUCTURED, c, Badge.LOADS)
    made = Decompiled("x.o", (Line("#include <x>"),), (p,), (Line("x"),))
    head, function = [checked(line) for line in decompile.records(made)]
    assert (head["schema"], head["before"], head["after"], head["functions"]) == ("decompile-file/1", ["#include <x>"], ["x"], ["p"])
    assert function["slots"] == {"0": [1], "1": [1, 2]} and function["lines"][1] == {"text": "return 2;", "slots": [0, 1]}
    assert (function["level"], function["badge"], function["reason"]) == ("structured", "loads", "not checked")


# --- original ---


def test_an_original() -> None:
    """The grade with its reason; what was not found out has no key."""
    image = of_code(EXIT * 2, ProgType.XDP, "id:9")
    line = checked(original.record(Original(image, Grade.UNPROVEN, "why", EXIT, None)))
    assert (line["id"], line["type"], line["grade"], line["insns"], line["insn_count"], line["xlated_insn_count"]) == (
        None, "xdp", "unproven", EXIT.hex(), 1, 2,
    )  # fmt: skip
    assert not {"image", "unsure", "rewrites", "removed", "prog_flags"} & line.keys()
    full = Original(
        image, Grade.EXACT, "its tag", EXIT, None, algorithm="sha1", attributes=Attributes(3, 4), unsure=(5,), tags_tried=6,
        removed=Removed((1,), ("f",), ((2, "x = 1;"),), (), (7,), (10, 9)), check=ImageCheck((1,), (2,), (3,)),
    )  # fmt: skip
    line = checked(original.record(full))
    assert line["image"] == {"altered": [1], "not_covered": {"maps": [2], "numbers": [3]}}
    assert line["removed"] == {
        "maps": [1], "functions": ["f"], "lines": [[2, "x = 1;"]], "jumps_over_nothing": [7], "verified_insns": [10, 9],
    }  # fmt: skip
    assert (line["hash"], line["unsure"], line["expected_attach_type"], line["prog_flags"]) == ("sha1", [5], 3, 4)


# --- run ---


def test_a_run() -> None:
    insns = tuple(assemble_classic("ldh [12]\nret #9"))
    program = Program(Isa.CLASSIC, encode(insns), Origin("test", "x"))
    line = checked(run.record(program, insns, "a.pcap", "kernel", Result(None, 3)))
    assert (line["program"], line["packets"], line["matches"], line["hook"]) == ("x", None, 3, "socket") and "returns" not in line
    line = checked(run.record(program, insns, "a.pcap", "kernel", Result(5, 3, {9: 3, 0: 2}, (5, 5), left_out="cut")))
    assert line["returns"] == [
        {"value": 0, "packets": 2, "meaning": "dropped"}, {"value": 9, "packets": 3, "meaning": "at most 9 bytes are kept"},
    ]  # fmt: skip
    assert [(row["pc"], row["bytes"], row["hits"]) for row in line["profile"]] == [
        (0, encode(insns[:1]).hex(), 5), (1, encode(insns[1:]).hex(), 5),
    ]  # fmt: skip


# --- seccomp ---

X86_64 = find_arch("x86_64")
FILTER = """
    ld [4]
    jne #0xc000003e, kill
    ld [0]
    jne #1, allow
    ld [16]
    jeq #1, deny
    allow: ret #0x7fff0000
    deny: ret #0x50001
    kill: ret #0x80000000
"""


def test_lines_of_a_policy() -> None:
    """One for each architecture, one for all others; a call by arguments has cases."""
    found = policy([assemble_classic(FILTER)])
    own, others = [checked(line) for line in seccomp.policy_records(found, "x")]
    assert (own["arch"], own["filters"], own["default"]) == ("x86_64", [9], "ALLOW")
    assert (others["arch"], others["default"]) == (None, "KILL_PROCESS")
    write = next(rule for rule in own["rules"] if rule["syscall"] == "write")
    assert write["cases"][0]["where"] == "fd == 1" and write["cases"][0]["action"] == "ERRNO(EPERM)" and write["action"] == "ALLOW"
    assert write["cases"][0]["looks_at"][0] == {
        "argument": 0, "name": "fd", "looks_at": "the low half", "mask": 0xFFFFFFFF, "kernel_takes_bits": 32,
    }  # fmt: skip
    ranges = [rule for rule in own["rules"] if "last" in rule]
    assert ranges and all(rule["syscall"] is None and rule["last"] > rule["number"] for rule in ranges)


def test_a_finding_a_call_an_event_and_a_difference() -> None:
    found = policy([assemble_classic(FILTER)])
    rule = found.of(X86_64).rule(1)
    assert rule is not None
    finding = checked(seccomp.finding_record(Finding("low", "an-id", None, "words", ("write",)), "x"))
    assert (finding["severity"], finding["arch"], finding["syscalls"]) == ("low", None, ["write"])
    call = checked(seccomp.syscall_record(rule, X86_64, (1, None), "x"))
    assert (call["syscall"], call["args"]) == ("write", [1, None])
    event = AuditEvent(X86_64, 1, 0x50000, 0, "", "/bin/a", 1)
    line = checked(seccomp.event_record(event, Verdict(rule, (Decision(1, 7, 0x50001),), True), "x"))
    assert (line["logged"], line["pid"], line["comm"], line["exe"]) == ("ERRNO", None, None, "/bin/a")
    assert line["decided_by"] == [{"filter": 1, "pc": 7, "action": "ERRNO(EPERM)"}]
    changed = assemble_classic(FILTER.replace("jeq #1, deny", "jeq #2, deny"))
    line = checked(seccomp.difference_record(diff_policies(assemble_classic(FILTER), changed), "a", "b"))
    assert not line["equal"] and [change["syscall"] for change in line["changes"]] == ["write"]
    assert line["changes"][0]["witness"]["confirmed"] and line["changes"][0]["witness"]["args"][0] in (1, 2)


# --- show ---

INFO = ProgInfo(*([9, ProgType.XDP, "ab", "p", *[0] * 22]))


def test_a_program_with_what_hangs_around_it() -> None:
    facts = ProgramFacts("target", ("/sys/fs/bpf/p",), (HOLDER,))
    attachment = Attachment("xdp", "dev:lo", 5, None, (HOLDER,), {"bytes": b"\x01", "set": {3}, "map": MAP})
    loaded = Loaded(INFO, 1.5, 4096, (7,), (), ("note",))
    program = Program(Isa.EXTENDED, EXIT, Origin("kernel", "id:9"), "p", ProgType.XDP, id=9, loaded=loaded, attachments=(attachment,))
    (line,) = [checked(line) for line in show.show_records(Overview((), ((program, facts, ((MAP, MapFacts()),)),)))]
    assert (line["program"]["code"], line["program"]["map_ids"], line["program"]["notes"]) == (EXIT.hex(), [7], ["note"])
    assert (line["program"]["loaded_at"], line["program"]["memlock"], line["program"]["attach_target"]) == (1.5, 4096, "target")
    assert line["program"]["holders"] == [{"pid": 12, "comm": "a", "fd": 3, "tid": None}] and "ifindex" not in line["program"]
    details = line["attachments"][0]["details"]
    assert (details["bytes"], details["set"], details["map"]["name"]) == ("01", [3], "m")


def test_a_program_of_an_object_says_what_it_declares() -> None:
    line = show.program_record(PROGRAM, ProgramFacts())
    assert (line["byte_order"], line["autoload"], line["symbols"], line["lines"]) == ("little", False, {"3": "named"}, 1)
    assert "version" not in line and line["map_ids"] == []


def test_a_map_with_contents() -> None:
    contents = Contents((Entry(b"\x01", b"\x02", 1, 2), Entry(b"\x03", None)), True, "why")
    facts = MapFacts(("/pin",), (HOLDER,), (9,), StructOpsFacts("tcp_congestion_ops", "in use", {"init": 4}), contents)
    (line,) = [checked(line) for line in show.show_records(Overview(((MAP, facts),), ()))]
    found = line["maps"][0]
    assert line["program"] is None and (found["users"], found["pins"], found["more"], found["reason"]) == ([9], ["/pin"], True, "why")
    assert found["entries"] == [
        {"key": 1, "value": 2, "key_hex": "01", "value_hex": "02"}, {"key": None, "value": None, "key_hex": "03", "value_hex": None},
    ]  # fmt: skip
    assert found["struct_ops"] == {"struct": "tcp_congestion_ops", "state": "in use", "programs": {"init": 4}}


@pytest.mark.parametrize(
    ("value", "plain"),
    [(b"\xff", "ff"), ({1: (2, None)}, {"1": [2, None]}), (True, True), (1.5, 1.5), (Isa.CLASSIC, "Isa.CLASSIC"), (frozenset({1}), [1])],
)
def test_values_that_json_can_hold(value: Any, plain: Any) -> None:
    assert show.plain(value) == plain


# --- tree ---


def test_what_hangs_on_an_object() -> None:
    """Rows on one object are one line; maps and tail calls below go as deep as they are."""
    rows = [InventoryRow("xdp", "dev:lo", 5, 9), InventoryRow("tcx/ingress", "dev:lo", 5, None, b""), InventoryRow("xdp", "dev:lo", 6, 9)]
    inventory = Inventory(rows, [], {9: INFO}, {}, [])
    head = MapHead(7, MapType.PROG_ARRAY, 4, 4, 2, 0, "jumps", 0)
    inner = ProgNode(10, 0, (MapNode(7, head, above=True),))
    nodes = {9: ProgNode(9, None, (MapNode(7, head, (inner,)), MapNode(8, None)))}
    assert {key: len(found) for key, found in tree.by_object(rows).items()} == {(5, "dev:lo"): 2, (6, "dev:lo"): 1}
    lines = [checked(json.loads(line)) for line in tree.json_tree(inventory, rows, nodes.__getitem__, {7: [HOLDER]}, lambda row: None)]
    assert [(line["object"], line["netns"], len(line["attachments"])) for line in lines] == [("dev:lo", 5, 2), ("dev:lo", 6, 1)]
    first, second = lines[0]["attachments"]
    assert second["maps"] == [] and first["maps"][1] == {
        "id": 8, "name": None, "type": None, "holders": [], "entries": [], "above": False,
    }  # fmt: skip
    assert first["maps"][0]["holders"][0]["pid"] == 12
    assert first["maps"][0]["entries"] == [{"index": 0, "program": 10, "above": False, "maps": [
        {"id": 7, "name": "jumps", "type": "prog_array", "holders": first["maps"][0]["holders"], "entries": [], "above": True}
    ]}]  # fmt: skip

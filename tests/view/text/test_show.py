"""Programs, maps, originals and snapshots as text."""

from __future__ import annotations

import re
import time

from bpflens.attachment import Attachment, Holder, ProgInfo
from bpflens.formats.snapshot.manifest import SCHEMA, Manifest, SavedAttachment, SavedData, SavedKernel, SavedMap, SavedProgram
from bpflens.isa.extended.uapi import AttachType, MapType, ProgType
from bpflens.lean import replace
from bpflens.maps.contents import Contents, Entry
from bpflens.original.image.image import of_code
from bpflens.original.invert.question import Options
from bpflens.original.invert.reconstruction import lay_out
from bpflens.original.invert.segment import segment
from bpflens.original.invert.traces import Removed
from bpflens.original.result import Grade, Original
from bpflens.original.to_program import to_program
from bpflens.overview import MapFacts, Overview, ProgramFacts, StructOpsFacts
from bpflens.program import Declared, Function, Isa, Loaded, Map, MapFields, Origin, Program
from bpflens.snapshot.compare import Change
from bpflens.snapshot.restore import Restored
from bpflens.snapshot.restoring.proof import Check
from bpflens.snapshot.restoring.steps import Conflict, LeftOut, Plan, Step
from bpflens.snapshot.save import Saved
from bpflens.view.text import original as view
from bpflens.view.text.show import attachment_text, holder_text, map_lines, overview_lines, program_lines
from bpflens.view.text.snapshot import changes_lines, open_metrics, plan_end, plan_lines, restored_lines, saved_lines
from original.plain_kernel import PlainKernel, code, image, words

RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
NOTHING = ProgInfo._make([0] * len(ProgInfo._fields))
INFO = NOTHING._replace(id=12, name="p", tag="aa", recursion_misses=3, jited_len=64, verified_insns=2000)
COUNTERS = Map("counters", MapType.HASH, 4, 8, 1024, id=7)


def program(**more: object) -> Program:
    return Program(**{"isa": Isa.EXTENDED, "code": RETURN_0, "origin": Origin("kernel", "id:12"), **more})  # type: ignore[arg-type]


def shown(lines) -> dict[str, list[str]]:
    """Label -> the values in its rows; "" for the heading."""
    found: dict[str, list[str]] = {}
    label = ""
    for line in lines:
        if not line.startswith("  "):
            found[""] = [line]
            continue
        label = line[2:15].strip() or label
        found.setdefault(label, []).append(line[15:])
    return found


# --- show ---


def test_a_loaded_program() -> None:
    info = INFO._replace(run_cnt=10, run_time_ns=1500, uid=4_000_000, btf_id=5, gpl_compatible=True)
    loaded = Loaded(info, time.time() - 7200, 4096)
    one = program(name="p", type=ProgType.XDP, id=12, tag="aa", xlated=True, loaded=loaded, maps=(COUNTERS,))
    one = replace(one, origin=replace(one.origin, arch="x86_64"))
    facts = ProgramFacts("vfs_read", ("/sys/fs/bpf/x", "/y"), (Holder(7, "agent", 3), Holder(8, "other")), False)
    rows = shown(program_lines(one, facts))
    assert rows[""] == ["program 12  xdp  p  tag aa"]
    assert rows["code"][0].split("; ") == [
        "2 instructions after the verifier", "64 bytes of x86_64 machine code", "verifier walked 2,000", "4,096 bytes of memory",
    ]  # fmt: skip
    assert rows["runs"] == ["10, 150 ns each, 3 missed by recursion (counting is off: sysctl kernel.bpf_stats_enabled=1 switches it on)"]
    assert re.fullmatch(r".* ago, by uid 4000000", rows["loaded"][0])
    assert rows["license"] == ["GPL-compatible"] and rows["types"] == ["BTF 5"]
    assert rows["pinned"] == ["/sys/fs/bpf/x", "/y"] and rows["held by"] == ["agent[7] fd 3", "other[8]"] and rows["maps"] == ["7 counters"]
    assert rows["attached"] == ["to nothing that was found"] and rows["target"] == ["vfs_read"]
    shallow = shown(program_lines(one, replace(facts, deep=False)))
    assert shallow["attached"] == ["to nothing that was found (with --no-deep kernel memory was not asked)"]


def test_programs_of_files() -> None:
    """Classic code, a function of no type, a section with its license; what the name of a file says is made harmless."""
    classic = Program(Isa.CLASSIC, bytes(8), Origin("pcap", "tcp\x1b[31m", linktype="EN10MB", given=("ip",)))
    rows = shown(program_lines(classic, ProgramFacts()))
    assert rows["code"] == ["1 instructions (8 bytes)"] and rows["packets"] == ["EN10MB, given ip"] and "\x1b" not in rows[""][0]
    functions = (Function(0, "f", "int f(int a)"), Function(1, "g"))
    one = program(origin=Origin("elf", "x.o"), name="f", functions=functions, declared=Declared(section="text", license="GPL"))
    rows = shown(program_lines(one, ProgramFacts()))
    assert rows[""] == ["function  f"] and rows["section"] == ["text"] and rows["license"] == ["GPL"] and "attached" not in rows
    assert rows["functions"] == ["    0  int f(int a)", "    1  g"]
    typed = replace(one, type=ProgType.TRACING, expected_attach_type=AttachType.TRACE_FENTRY)
    assert shown(program_lines(typed, ProgramFacts()))["attach type"] == ["trace_fentry"]


def test_a_map() -> None:
    fields: MapFields = {"memlock": 8192, "owner_prog_type": ProgType.XDP, "owner_jited": 1, "map_extra": 255, "values": {0: "f"}}
    one = Map("m", MapType.PROG_ARRAY, 4, 4, 1000, 1, id=8, key="int", fields=fields)
    entries = (Entry(bytes(4), b"\x0c\0\0\0", 0, 12), Entry(b"\1\0\0\0", None))
    rows = shown(map_lines(one, MapFacts(users=(12, 13), contents=Contents(entries, more=True, reason="interrupted"))))
    assert rows[""] == ["map 8  prog_array  m"] and rows["key"] == ["int (4 bytes)"] and rows["value"] == ["4 bytes, type unknown"]
    assert rows["entries"] == ["at most 1,000"] and rows["flags"] == ["no_prealloc"] and rows["owner"] == ["xdp programs, JITed"]
    assert rows["memory"] == ["8,192 bytes"] and rows["map_extra"] == ["0xff"] and rows["filled with"] == ["[0] = f"]
    assert rows["used by"] == ["id:12, id:13"]
    assert rows["contents"] == ["[0] = id:12", "[01 00 00 00] = (not readable)", "... (--limit shows more)", "(interrupted)"]
    facts = MapFacts(struct_ops=StructOpsFacts("tcp_congestion_ops", "in use", {"init": 12}), contents=Contents(()))
    rows = shown(map_lines(Map("ops", MapType.STRUCT_OPS, 4, 256, 1, id=9), facts))
    assert rows["struct_ops"] == ["tcp_congestion_ops, in use", "init = id:12"] and rows["contents"] == ["empty"]
    data = Map("x.bss", MapType.ARRAY, 4, 8, 1, datasec={4: ("b", 1, "char"), 0: ("a", 4, "int")})
    rows = shown(map_lines(data, MapFacts(contents=Contents((Entry(b"", bytes(8), None, {"a": 5, "b": 1}),)))))
    assert rows["variables"] == ["    0  int a (4 bytes)", "    4  char b (1 byte)"] and rows["contents"] == ["a = 5", "b = 1"]


def test_each_map_once() -> None:
    """A map that was asked for, and that two programs share."""
    pair = (COUNTERS, MapFacts())
    one = (program(id=12, maps=(COUNTERS,)), ProgramFacts(), (pair,))
    text = "\n".join(overview_lines(Overview((pair,), (one, one))))
    assert text.count("map 7  hash  counters") == 1 and text.index("map 7") < text.index("program 12")
    text = "\n".join(overview_lines(Overview((), (one,))))
    assert text.count("map 7  hash") == 1 and text.index("map 7  hash") > text.index("program 12")


def test_attachments_and_holders() -> None:
    details = {"link": 3, "position": 0, "prio": 5, "ifindex": 2, "empty": ""}
    assert attachment_text(Attachment("tcx/ingress", "dev:eth0", 17, details=details)) == "tcx/ingress dev:eth0 (link 3, netns 17, prio 5)"
    assert attachment_text(Attachment("struct_ops", "")) == "struct_ops"
    assert holder_text(Holder(7, "x")) == "x[7]"


# --- original ---


def recovered(text: str, **more: object) -> Original:
    one = image(text, ProgType.XDP)
    layout = lay_out(one, segment(one, PlainKernel(), Options()))
    return Original(one, Grade.UNPROVEN, "why", layout.code(), layout, **more)  # type: ignore[arg-type]


def test_an_original() -> None:
    """The grade first; then a listing that assembles to the same; what is known of removed code behind it."""
    gone = Removed(maps=(7,), functions=("f",), lines=((1, "x = 1;"),), others=("y();",), jumps=(2,), verified_insns=(9, 3))
    one = recovered("if r1 != 0 goto pc+2\nw0 ^= w0\ngoto pc+1\nr0 /= r1\nexit", removed=gone)
    lines = "".join(view.text(one, to_program(one), "kernel", False)).splitlines()
    assert lines[:2] == ["; test: xdp, 2 insns reconstructed, 5 after the verifier's rewriting", "; unproven: why"]
    assert "; removed: x = 1;" in "\n".join(lines) and "   0: (3f) r0 /= r1" in "\n".join(lines)
    assert view.removed_lines(gone, source=True) == [
        "; code is missing here: the verifier walked 9 insns when it was loaded, 3 of this reconstruction",
        "; maps that only removed code refers to (or that were bound): map:7", "; code was removed behind the jumps at 2",
        "; functions without code here: f",
        "; source lines without instructions behind its last one, of this program or others of its object:", ";     y();",
    ]  # fmt: skip
    raw = "".join(view.text(one, to_program(one), "raw", False))
    assert ";" not in raw and "3f" in raw
    exact = replace(one, grade=Grade.EXACT, source="x.o", image=replace(one.image, tag="aa"))
    assert view.heading_lines(exact, replace(to_program(one), name="p", expected_attach_type=AttachType.XDP)) == [
        "; test: xdp p, attach type xdp, tag aa, 2 insns as loaded, 5 after the verifier's rewriting", "; exact: why", "; from x.o",
    ]  # fmt: skip


def test_side_by_side() -> None:
    one = recovered("r1 = 7\nif r1 != 0 goto pc+2\nw0 ^= w0\ngoto pc+1\nr0 /= r1\ncall 5\nexit")
    rows = [line.split(" | ") for line in "".join(view.side_by_side(one, to_program(one), {5: "bpf_ktime_get_ns"}, False)).splitlines()[2:]]
    assert [(left.strip(), right.strip()) for left, right in rows] == [
        ("0: (b7) r1 = 7".replace("(b7) ", ""), "0: r1 = 7"), ("1: r0 /= r1", "1: if r1 != 0x0 goto pc+2  ; division guard"),
        ("", "2: w0 ^= w0"), ("", "3: goto pc+1"), ("", "4: r0 /= r1"), ("2: call bpf_ktime_get_ns#5", "5: call bpf_ktime_get_ns"),
        ("3: exit", "6: exit"),
    ]  # fmt: skip
    without = replace(one, layout=None)
    assert len("".join(view.side_by_side(without, to_program(one), {}, False)).splitlines()) == 2
    assert of_code(code(words("exit")), 1).insns[0].code == 0x95


# --- snapshots ---


def test_what_was_saved() -> None:
    kernel = SavedKernel("6.18.0", "#1", "x86_64", "little", 2)
    data = SavedData("x", "records", 1, 4, 8, "stable", cpus=4)
    manifest = Manifest(
        SCHEMA, "t", "", kernel, programs=(SavedProgram(12, "p", 6, "xdp", "aa", "exact", "", 2, "GPL"),),
        maps=(SavedMap(7, "m", 1, "hash", 4, 8, 16, frozen=True, data=data), SavedMap(8, "r", 27, "ringbuf", 0, 0, 16, why_no_data="gone")),
        attachments=(SavedAttachment("xdp", "dev:x", 12, link=5), SavedAttachment("struct_ops", "map:9")), audit="all there",
    )  # fmt: skip
    assert list(saved_lines(Saved("x.bpfsnap", manifest, "d1", 20_480))) == [
        "program 12 p (xdp, 2 insns): exact", "map 7 m (hash, frozen): 1 entry, 4 CPUs, stable", "map 8 r (ringbuf): no contents: gone",
        "xdp dev:x: program 12, link 5", "struct_ops map:9: its program", "all there",
        "x.bpfsnap: 1 program, 2 maps, 2 attachments, 20 KiB, SHA-256 of the manifest d1",
    ]  # fmt: skip


def plan(**more: object) -> Plan:
    return Plan(**{"steps": (), "left_out": (), "programs": (), "maps": (), "attachments": (), **more})  # type: ignore[arg-type]


def test_a_plan_and_what_comes_of_it() -> None:
    steps = tuple(Step("map", number, f"make map {number}") for number in range(10))
    taken = Conflict("/p", "map 12", ("--reuse-maps", "--replace", "--pin-prefix"))
    hook = Conflict("xdp at dev:x", "", ("--replace", "--no-attach"))
    one = plan(steps=steps, left_out=(LeftOut("map 7", "why"),), conflicts=(taken, hook), replaced=(Conflict("/q", "link 3", ()), hook),
               impossible=(LeftOut("map 8", "no"),), unseen=("x",), needs=(("CAP_BPF", "to load"),))  # fmt: skip
    lines = list(plan_lines(one))
    assert lines[0] == " 1  make map 0" and lines[9] == "10  make map 9" and lines[10:12] == ["not restored:", "  map 7: why"]
    assert lines[13] == (
        "  /p exists (map 12): --reuse-maps uses it with its data, --replace puts the restored object in its place or "
        "--pin-prefix DIR pins elsewhere"
    )
    assert lines[16:] == [
        "  link 3, pinned at /q", "  something, xdp at dev:x", "cannot be made: map 8: no", "not looked at: x", "missing: CAP_BPF: to load",
    ]  # fmt: skip
    assert plan_end(one) == (
        "nothing was changed; --apply will refuse: 2 things are in the way (--replace helps; --reuse-maps for the maps alone) and "
        "1 thing cannot be made"
    )
    assert plan_end(plan(needs=(("CAP_BPF", "a"), ("CAP_BPF", "b")))) == "nothing was changed; --apply needs CAP_BPF"
    assert plan_end(plan(unseen=("x",))).endswith("may be refused: not everything could be looked at")
    assert plan_end(plan(steps=steps[:1])) == "nothing was changed; --apply does it (1 step)"


def test_what_was_restored() -> None:
    checks = (Check("map 7", "contents", True), Check("map 8", "contents", False, "2 entries"), Check("program 9", "tag", None))
    assert list(restored_lines(Restored({12: 99}, {7: 8}, {}, checks, (), ("a note",)))) == [
        "same: map 7: contents", "DIFFERENT: map 8: contents (2 entries)", "not known: program 9: tag", "programs: 12 is now 99",
        "maps: 7 is now 8", "note: a note",
    ]  # fmt: skip


def test_changes_and_counts() -> None:
    """What is the same only where it is wanted, or where not all of it could be compared."""
    unknown, changed = Change("same", "map", "2", unknown=("contents",)), Change("changed", "program", "3", ("tag: a, now b",))
    changes = [Change("same", "map", "1"), unknown, changed]
    assert list(changes_lines(changes, False)) == [
        "same: map 2", "  not compared: contents", "changed: program 3", "  tag: a, now b", "2 same, 1 changed",
    ]  # fmt: skip
    assert next(changes_lines(changes, True)) == "same: map 1" and list(changes_lines([], False)) == ["0 same"]
    assert next(changes_lines(changes[2:], False, color=True)) == "\x1b[33mchanged\x1b[0m: program 3"
    metrics = list(open_metrics(changes, "d1", 5.4, 9.6))
    assert 'bpflens_snapshot_objects{digest="d1",kind="map",status="same"} 2' in metrics and metrics[-1] == "# EOF"
    assert 'bpflens_snapshot_objects{digest="d1",kind="program",status="changed"} 1' in metrics
    assert 'bpflens_snapshot_taken_seconds{digest="d1"} 5' in metrics and 'bpflens_snapshot_verified_seconds{digest="d1"} 10' in metrics
    assert len([line for line in metrics if line.startswith("bpflens_snapshot_objects{")]) == 12

"""Selection, merging, counting and the views, on records made here: no kernel."""

from __future__ import annotations

import json

import pytest

from bpflens.attachment import Holder, ProgInfo
from bpflens.classic.summary import Summary
from bpflens.errors import InputError, UsageError
from bpflens.inventory.audit import Verdict
from bpflens.inventory.facts.processes import Process
from bpflens.inventory.facts.records import Inventory, InventoryRow, MapUse, NetNamespace
from bpflens.inventory.families import DEEP_FAMILIES, FAMILIES
from bpflens.inventory.memory.judge import Judged, finds_of
from bpflens.inventory.memory.merge import merge
from bpflens.inventory.memory.structures.builtin import converted
from bpflens.inventory.select import KINDS, Selection
from bpflens.kernel.programs.loaded import MapHead
from bpflens.records.audit import audit_record
from bpflens.records.ls import json_rows
from bpflens.view.text.audit import audit_lines
from bpflens.view.text.inventory import age, holder_text, table

MINUTE = 60 * 10**9
CODE = bytes.fromhex("06000000ffff0000")
HEAD = ProgInfo._make([0] * len(ProgInfo._fields))._replace(
    id=12, type=6, tag="0123456789abcdef", name="xdp_main", xlated_len=64, run_time_ns=2000, run_cnt=10, nr_jited_ksyms=1
)
ROWS = [
    InventoryRow("xdp/native", "dev:eth0", 1, prog_id=12, holders=(Holder(7, "lb", 3),), details={"link": 5}),
    InventoryRow(
        "socket/packet", "sock:99", 1, classic=CODE, holders=(Holder(8, "dhclient", 6),), details={"dev": "eth0", "linktype": "EN10MB"}
    ),
    InventoryRow("seccomp", "pid:9", None, classic=CODE, holders=(Holder(9, "sshd", None, 9), Holder(9, "sshd", None, 10))),
    InventoryRow("socket/udp", "sock:100", 2, details={"unknown": "an extended program"}),
    InventoryRow("cgroup/device", "cgroup:/a", None, prog_id=13, details={"pins": ["/sys/fs/bpf/d/x"]}),
    InventoryRow("fanout", "fanout:7", 2, image=bytes(16)),
]
INVENTORY = Inventory(
    ROWS, [], {12: HEAD}, {1: NetNamespace(1, (), None, True), 2: NetNamespace(2, (), "blue", False)}, [],
    processes={7: Process("/tmp/x", deleted=True, container="docker:0123")},
    maps=MapUse({3: MapHead(3, 3, 4, 4, 1, 0, "jumps", 0)}, {3: [Holder(5, "loader", 4)]}, {3: [12]}),
)  # fmt: skip


def chosen(*words: str) -> list[str]:
    selection = Selection(words)
    return [row.object for row in ROWS if selection.matches(row, INVENTORY)]


@pytest.mark.parametrize(("words", "objects"), (
    ((), [row.object for row in ROWS]),
    (("socket",), ["sock:99", "sock:100"]),
    (("socket/udp", "xdp"), ["dev:eth0", "sock:100"]),
    (("dev:eth0",), ["dev:eth0", "sock:99"]),
    (("dev:eth0@blue",), []),
    (("pid:9",), ["pid:9"]),
    (("pid:7", "xdp"), ["dev:eth0"]),
    (("netns:2",), ["sock:100", "fanout:7"]),
    (("type=xdp",), ["dev:eth0"]),
    (("name:xdp",), []),
    (("name:xdp*",), ["dev:eth0"]),
    (("comm:sshd",), ["pid:9"]),
    (("comm:l?",), ["dev:eth0"]),
    (("exe:/tmp/x",), ["dev:eth0"]),
    (("exe:x",), ["dev:eth0"]),
    (("unit:0123",), ["dev:eth0"]),
    (("dev:e*",), ["dev:eth0", "sock:99"]),
    (("map:3",), ["dev:eth0"]),
    (("map:jumps",), ["dev:eth0"]),
    (("pid:5",), ["dev:eth0"]),
    (("pin:/sys/fs/bpf/d",), ["cgroup:/a"]),
    (("tag:0123",), ["dev:eth0"]),
    (("id:13",), ["cgroup:/a"]),
    (("link:5",), ["dev:eth0"]),
    (("cgroup:a/",), ["cgroup:/a"]),
    (("sock:100",), ["sock:100"]),
))  # fmt: skip
def test_selection(words: tuple[str, ...], objects: list[str]) -> None:
    """Kinds are alternatives, everything else must hold."""
    assert chosen(*words) == objects


@pytest.mark.parametrize(("word", "error"), (("sokcet", UsageError), ("type=x", UsageError), ("pid:x", InputError), ("id:", UsageError)))
def test_meaningless_words(word: str, error: type[Exception]) -> None:
    """Each is refused by name."""
    with pytest.raises(error):
        Selection([word])


def test_selection_spares_families() -> None:
    """A kind asks only the families that can have it; what hangs on nothing needs all of them."""
    wanted = Selection(["xdp"]).families
    assert wanted is not None
    assert {family.module for family in FAMILIES if wanted(family)} == {"finders.network.xdp", "finders.maps", "finders.links"}
    assert Selection(["pin"]).families is None and Selection([]).families is None and Selection(["pid:1"]).families is None
    assert all(kind in KINDS for family in FAMILIES + DEEP_FAMILIES for kind in family.kinds)


def test_merge() -> None:
    """What was unknown is known, what was known is not doubled, what is new is added."""
    deep = [
        InventoryRow("socket/udp", "sock:100", 2, prog_id=14, holders=(Holder(1, "init", 4),), details={"address": 1}),
        InventoryRow("socket/packet", "sock:99", 1, classic=CODE, details={"address": 2}),
        InventoryRow("reuseport", "sock:101", 1, prog_id=15),
    ]
    rows = merge(ROWS, deep)
    by_object = {row.object: row for row in rows}

    assert len(rows) == len(ROWS) + 1
    assert by_object["sock:100"].prog_id == 14 and "unknown" not in by_object["sock:100"].details
    assert by_object["sock:99"].details == {"dev": "eth0", "linktype": "EN10MB", "address": 2}
    assert by_object["sock:99"].holders == ROWS[1].holders


def test_finds() -> None:
    """A filter that several sockets share is one image; filters of tc are known by their code; extended programs by their id."""
    rows = [
        InventoryRow("socket/tcp", "sock:1", classic=CODE, details={"address": 1}),
        InventoryRow("socket/tcp", "sock:2", classic=CODE, details={"address": 1}),
        InventoryRow("seccomp", "pid:1", classic=CODE, details={"addresses": [2, 3]}),
        InventoryRow("tc/ingress", "dev:a", classic=CODE),
        InventoryRow("tc/ingress", "dev:a", classic=CODE),
        InventoryRow("xdp/native", "dev:a", prog_id=3, details={"address": 9}),
        InventoryRow("lsm_cgroup", "cgroup:/a", prog_id=12),
    ]
    finds = finds_of(rows, {12: HEAD._replace(attach_btf_id=77)})
    assert (finds.addresses, finds.codes, finds.lsm_hooks) == ({1, 2, 3}, (CODE, CODE), {77})


def test_verdict() -> None:
    """The three sentences, and the images behind them."""
    assert Verdict(True, True, "", 4, 2, 1, 1).text() == (
        "audit: all 4 program images in the kernel are accounted for: 2 extended programs, 1 functions of them, 1 classic programs"
    )
    images = (Judged(1 << 63, 8192, "hidden", 7, 6, 20, MINUTE), Judged(1 << 62, 8192, "no holder", 0, 0, 3))
    missed = Verdict(True, False, "", 7, 2, 1, 2, unexplained=images)
    assert "2 of 7 program images in the kernel are NOT accounted for" in missed.text()
    assert Verdict(False, False, "because").text() == "audit: cannot be established: because"
    assert audit_record(Verdict(True, True, ""), None, 0)["schema"] == "audit/1"
    lines = list(audit_lines(missed, None, 5 * MINUTE))
    assert lines[2].split() == ["hidden", "0x8000000000000000", "7", "xdp", "20", "4", "min"]
    assert lines[3].split() == ["no", "holder", "0x4000000000000000", "-", "classic", "3", "?"]
    assert [image["age_seconds"] for image in audit_record(missed, None, 5 * MINUTE)["unexplained"]] == [240, None]


def test_pins_without_an_object() -> None:
    """They are told of where pins are asked for, and only those that are wanted."""
    all = INVENTORY._replace(unopened={f"/sys/fs/bpf/{name}": "No such file or directory" for name in ("a.debug", "b", "c", "d")})
    assert Selection(["xdp"]).unopened(all) == Selection([]).unopened(all) == Selection(["pin:/sys/fs/bp"]).unopened(all) == []
    assert [denial.what for denial in Selection(["pin:/sys/fs/bpf/*.debug"]).unopened(all)] == ["what is pinned at /sys/fs/bpf/a.debug"]
    for word in ("pin", "pin:/sys/fs/bpf", "pin:/sys/fs/bpf/"):
        (denial,) = Selection([word]).unopened(all)
        assert denial.what.endswith("/c and 1 more") and "No such file or directory" in denial.needs


def test_advice_on_hidden_programs() -> None:
    """Three lines say what a hidden program may be and what to do next; none where nothing is hidden."""
    hidden, unheld = Judged(1 << 63, 8192, "hidden", 7, 6, 20, 2 * 10**9), Judged(1 << 62, 8192, "no holder", 0, 0, 3)
    lines = list(audit_lines(Verdict(True, False, "", 7, unexplained=(hidden, unheld)), None, 5 * MINUTE))
    assert "Load times: 2.0 to 2.0 s after boot" in lines[-3] and "innocent cause" in lines[-2] and "--baseline FILE" in lines[-1]
    assert not any("Next:" in line for line in audit_lines(Verdict(True, False, "", 7, unexplained=(unheld,)), None, 5 * MINUTE))


def test_table() -> None:
    """One line for each row, with what is known of the program."""
    lines = list(table(INVENTORY, ROWS, lambda row: Summary("ip and udp") if row.classic else None, 5 * MINUTE))
    assert [line.split()[0] for line in lines] == ["KIND", *(row.kind for row in ROWS)]
    assert "12 xdp_main  xdp  0123456789abcdef  5 min  10 runs, 200 ns each" in lines[1]
    assert lines[1].endswith("lb[7] is /tmp/x (deleted) in docker:0123 fd 3, link 5")
    assert "classic 1 insn: ip and udp" in lines[2] and " own " in lines[2]
    assert lines[3].endswith("sshd[9] tid 10")
    assert "? (an extended program)" in lines[4] and " blue " in lines[4]
    assert "id 13" in lines[5]
    assert "classic, kept as 2 extended insns only" in lines[6]


def test_json() -> None:
    """Every key of schema ls/1."""
    first, second, *_, last = (
        json.loads(line) for line in json_rows(INVENTORY, ROWS, lambda row: Summary("ip", expression="ip") if row.classic else None)
    )
    assert {key: first[key] for key in ("schema", "kind", "object", "netns", "classic", "insns", "expression")} == {
        "schema": "ls/1", "kind": "xdp/native", "object": "dev:eth0", "netns": 1, "classic": False, "insns": None, "expression": None,
    }  # fmt: skip
    assert {key: first["program"][key] for key in ("id", "type", "name", "tag")} == {
        "id": 12, "type": "xdp", "name": "xdp_main", "tag": "0123456789abcdef",
    }  # fmt: skip
    assert first["holders"] == [
        {"pid": 7, "comm": "lb", "fd": 3, "tid": None, "exe": "/tmp/x", "deleted": True, "unit": None, "container": "docker:0123"}
    ]
    assert (second["classic"], second["insns"], second["expression"], second["program"]) == (True, CODE.hex(), "ip", None)
    assert last["classic"] is True and last["image"] == bytes(16).hex()


def test_words() -> None:
    """Durations and holders."""
    assert [age(seconds * 10**9) for seconds in (-1, 1, 119, 120, 7200, 86400 * 3)] == ["0 s", "1 s", "119 s", "2 min", "2 h", "3 d"]
    assert holder_text([Holder(number, "x") for number in range(5)]) == "x[0], x[1], x[2], and 2 more"
    assert holder_text([Holder(1, "x", 3), Holder(1, "x", 4)]) == "x[1] fd 3,4"


def test_converted_images_are_recognised() -> None:
    """By their three first instructions."""
    head = bytes.fromhex("ac00000000000000ac77000000000000bf16000000000000")
    assert converted(head + bytes(8)) and not converted(bytes(32)) and not converted(b"")

"""The verb map on loaded maps: addresses and prefixes as people write them, conditions, changes that are planned first, orphans."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.cli.main import run
from bpflens.errors import InputError, KernelError, UsageError
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map
from bpflens.maps.conditions import Where
from bpflens.maps.elements import total_of
from bpflens.maps.encode import encode
from bpflens.maps.parts import Element
from bpflens.targets.kernel_object import maps_named
from live import attach_kinds
from live.attach_lab import Lab

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bpffs of our own with a hash of flows, a trie of prefixes and per-cpu counters."""
    needs.root()
    clang, bpftool = needs.tool("clang"), needs.tool("bpftool")
    work = tmp_path_factory.mktemp("maps")
    source, built, mount = Path(__file__).with_name("map_kinds.c"), work / "m.o", work / "bpf"
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    subprocess.run([clang, "-O2", "-g", "-target", "bpf", include, "-c", str(source), "-o", str(built)], check=True)
    mount.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(mount)], check=True)
    try:
        subprocess.run([bpftool, "prog", "load", str(built), str(mount / "f"), "pinmaps", str(mount)], check=True, capture_output=True)
        yield str(mount)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def out_of(capsys: pytest.CaptureFixture[str], *command: str, code: int = 0) -> list[str]:
    assert run(list(command)) == code, capsys.readouterr().err
    return capsys.readouterr().out.splitlines()


FLOW = '{"saddr": "10.0.0.1", "dport": 80}'


def test_elements_are_set_read_chosen_and_deleted(pins: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each change is planned first, and done with --apply only."""
    flows = f"pin:{pins}/flows"
    out_of(capsys, "map", "set", flows, FLOW, '{"packets": 3, "bytes": 180, "state": "B", "hi": 5}')
    assert out_of(capsys, "map", "dump", flows) == []
    out_of(capsys, "map", "set", flows, FLOW, '{"packets": 3, "bytes": 180, "state": "B", "hi": 5}', "--apply")
    out_of(capsys, "map", "set", flows, '{"saddr": "192.168.0.9", "dport": 443}', '{"packets": 1}', "--apply")
    chosen = out_of(capsys, "map", "dump", flows, "--where", "key.saddr in 10.0.0.0/8 and value.packets > 2")
    assert chosen == ['{ .saddr = "10.0.0.1", .dport = 80, .flags = 0 } = { .packets = 3, .bytes = 180, .state = B, .lo = 0, .hi = 5 }']
    first, second = (json.loads(line) for line in out_of(capsys, "--json", "map", "dump", flows, "--sort", "value.packets"))
    assert (first["key"]["dport"], second["key"]["dport"]) == (443, 80)
    assert second["raw_key"] == "0a00000100500000"
    assert out_of(capsys, "map", "get", flows, FLOW)[0].startswith("{ .packets = 3")
    out_of(capsys, "map", "delete", flows, FLOW, "--apply")
    assert out_of(capsys, "map", "get", flows, FLOW, code=3) == []


def test_prefixes_and_sums(pins: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The key of a trie is a prefix; a per-cpu value is set on all CPUs and summed."""
    nets, counters = f"pin:{pins}/nets", f"pin:{pins}/cnt"
    out_of(capsys, "map", "set", nets, "10.0.0.0/8", "7", "--apply")
    assert out_of(capsys, "map", "dump", nets) == ["10.0.0.0/8 = 7"]
    out_of(capsys, "map", "set", counters, "1", '{"packets": 4}', "--apply")
    element = json.loads(out_of(capsys, "--json", "map", "get", counters, "1")[0])
    assert element["sum"]["packets"] == 4 * len(element["value"])


def test_differences_and_watching(pins: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same map does not differ from itself, and nothing changes while nobody writes."""
    nets = f"pin:{pins}/nets"
    assert out_of(capsys, "map", "diff", nets, nets) == []
    assert out_of(capsys, "map", "watch", nets, "--rounds", "1", "--interval", "0.01") == []
    other = f"pin:{pins}/cnt"
    assert out_of(capsys, "map", "diff", nets, other, code=1)


def test_the_list_says_what_holds_a_map(pins: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The pinned map names its pin and its program; it is no orphan."""
    [row] = [json.loads(line) for line in out_of(capsys, "--json", "map", "ls", f"pin:{pins}/flows", "--count")]
    assert row["pins"] == [f"{pins}/flows"] and len(row["users"]) == 1 and not row["orphaned"] and row["elements"] is not None


def test_what_the_kernel_holds_is_no_orphan(capsys: pytest.CaptureFixture[str]) -> None:
    """A registered struct_ops and an inner map, whose descriptors are closed; a map of which only we have a descriptor."""
    from bpflens.kernel.maps.map_data import update

    def row_of(id: int | str) -> tuple[str, bool]:
        [row] = [json.loads(line) for line in out_of(capsys, "--json", "map", "ls", str(id).removeprefix("map:"))]
        return ", ".join(row["kernel"]), row["orphaned"]

    inner = create_map(2, 4, 4, 1)
    outer = create_map(12, 4, 4, 2, inner_fd=inner)
    id, outer_id = map_by_fd(inner).id, map_by_fd(outer).id
    assert id is not None and outer_id is not None
    update(outer, bytes(4), inner.to_bytes(4, "little"))
    os.close(inner)
    try:
        assert row_of(id) == (f"element of map {outer_id}", False)
    finally:
        os.close(outer)
    with Lab() as lab:
        attached = list(attach_kinds.struct_ops(lab))
        target = attached[0].object.split()[0]
        assert row_of(target) == ("tcp_congestion_ops, in use", False)
        assert "kernel: tcp_congestion_ops, in use" in out_of(capsys, "map", "ls", target)[1]


def test_the_list_and_one_map_end_alike(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors that could not be looked into: both say so and end with 5; kernel memory makes up for them, and both end with 0."""
    from bpflens.inventory import walk
    from bpflens.kernel.sys import procfs

    fd, real, hidden = create_map(2, 4, 4, 1), procfs.open_files, os.getppid()

    def guarded(pid: int) -> Iterator[procfs.OpenFile]:
        if pid == hidden:
            raise PermissionError(13, "refused")
        return real(pid)

    monkeypatch.setattr(procfs, "open_files", guarded)
    try:
        target = str(map_by_fd(fd).id)
        for readable, code in ((True, 0), (False, 5)):
            monkeypatch.setattr(walk, "_may_read_memory", lambda readable=readable: readable)
            for verb in ("ls", "show"):
                assert run(["map", verb, target]) == code, verb
                assert (f"[{hidden}]" in capfd.readouterr().err) == (code == 5), verb
    finally:
        os.close(fd)


def test_what_a_process_refuses_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a capability that is there."""
    from bpflens.kernel.sys import capabilities

    own = capabilities.effective()
    monkeypatch.setattr(capabilities, "effective", lambda: own - {"SYS_PTRACE"})
    assert capabilities.to_look_into([os.getpid()]) == "CAP_SYS_PTRACE"
    monkeypatch.setattr(capabilities, "effective", lambda: own - {"CHOWN"} | {"SYS_PTRACE"})
    assert capabilities.to_look_into([os.getpid()]).endswith("missing of what they have: CAP_CHOWN")
    monkeypatch.setattr(capabilities, "effective", lambda: own | {"SYS_PTRACE"})
    assert capabilities.to_look_into([os.getpid()]).endswith("a sandbox or security module refuses")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["map", "dump", "no_such_map"], 3, "no map has this name"),
        (["map", "get", "1"], 2, "takes 2 arguments"),
        (["map", "dump", "pin:/nonexistent"], 3, "no such file"),
    ],
)
def test_errors_are_one_line(command: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each names the object and the reason."""
    assert run(command) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


def test_values_that_do_not_fit(pins: str) -> None:
    """What cannot be encoded is refused with the member that it is about."""
    from bpflens.maps.change import plan_set

    flows = next(map for map in maps_named("flows") if map.value_size == 24)
    for key, value, said in [
        ({"saddr": "10.0.0.1", "nope": 1}, {}, "no member 'nope'"),
        ({"saddr": "ten"}, {}, "is no address"),
        ({"saddr": "10.0.0.1"}, {"packets": 1 << 64}, "needs a number of 8 bytes"),
        ({"saddr": "10.0.0.1"}, {"state": "C"}, "no constant 'C'"),
        ({"saddr": "10.0.0.1"}, {"lo": 16}, "does not fit into 4 bits"),
        (3, {}, "is a structure"),
        ({"flags": "10.0.0.1"}, {}, "is not a number"),
    ]:
        with pytest.raises(InputError, match=said):
            plan_set(flows, key, value)


def test_conditions_and_sums() -> None:
    """Without any kernel: numbers, texts, addresses, parts that are not there."""
    element = Element(b"", b"", {"addr": "10.1.2.3", "name": "sshd"}, [{"n": 1}, {"n": 2}], total_of([{"n": 1}, {"n": 2}]))
    assert element.total == {"n": 3}
    assert Where("key.addr in 10.0.0.0/8 and sum.n == 3 and key.name ~ ssh").holds(None, element)
    assert Where("value[1].n = 2").holds(None, element) and not Where("value[7].n = 2").holds(None, element)
    assert not Where("key.addr in 192.168.0.0/16").holds(None, element)
    assert Where("key.addr > 9.0.0.0 and key.addr != 10.1.2.4 and key.name == sshd").holds(None, element)
    for wrong in ("key.addr in 300.0.0.0/8", "key.addr == 10.1.2", "key.addr in 10.0.0.0/8,10.1"):
        with pytest.raises(UsageError, match="names no address or prefix"):
            Where(wrong).holds(None, element)
    assert encode(None, 0, 4, 17, "value") == b"\x11\0\0\0" and encode(None, 0, 2, "0xbeef", "key") == b"\xbe\xef"


def test_parts_that_are_not_there_are_told(pins: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt part is an error that lists the parts, not an empty answer."""
    assert run(["map", "set", f"pin:{pins}/flows", '{"saddr": "10.0.0.1", "dport": 80}', '{"packets": 7}', "--apply"]) == 0
    for option in (["--where", "key.sadr in 10.0.0.0/8"], ["--sort", "valu"]):
        capsys.readouterr()
        assert run(["map", "dump", f"pin:{pins}/flows", *option]) == 2
        assert "no such part" in (said := capsys.readouterr().err) and "key.saddr" in said


def test_points_in_time_are_told_by_name() -> None:
    import time

    from bpflens.view.style.moments import moments

    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert moments({"last_seen_ns": now - 5 * 10**9})[0].startswith("last_seen_ns 5.0 s ago")
    assert moments({"latency_ns": now, "ts": 0, "dst": now, "packets": now, "ts_ok": True}) == []
    assert moments({"created_at": int(time.time())})[0].endswith("Z")
    assert moments([{"a": {"start_ts": now // 2}}]) and moments(7) == [] and moments("text") == []


def test_plain_numbers_are_compared_with_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    """A key without the type of an address is compared as its bytes stand in memory, and that is said once."""
    from bpflens.kernel.maps.map_data import update

    said = "key is taken as an address: 4 bytes in network order"
    fd, six = create_map(1, 4, 8, 4), create_map(1, 16, 4, 4)
    try:
        for key, value in ((b"\x0a\0\0\1", 5), (b"\x0a\0\0\x02", 6), (b"\xc0\xa8\0\1", 7)):
            update(fd, key, value.to_bytes(8, "little"))
        update(six, bytes.fromhex("fe80" + 13 * "00" + "01"), bytes(4))
        target = f"map:{map_by_fd(fd).id}"
        for condition, values in (
            ("key in 10.0.0.0/8", [5, 6]), ("key == 10.0.0.1", [5]), ("key != 10.0.0.1", [6, 7]), ("key > 10.0.0.1", [6, 7]),
            ("key in 10.0.0.2,192.168.0.0/16", [6, 7]), ("key in 16777226", [5]), ("key = 0x0100000a", [5]), ("value in 5,7", [5, 7]),
        ):  # fmt: skip
            assert run(["--json", "map", "dump", target, "--where", condition, "--sort", "value"]) == 0
            out, err = capsys.readouterr()
            assert [json.loads(line)["value"] for line in out.splitlines()] == values, condition
            assert err.count(said) == ("." in condition), condition
        assert run(["map", "get", target, "10.0.0.2"]) == 0
        out, err = capsys.readouterr()
        assert out == "6\n" and err.count(said) == 1
        assert run(["map", "set", target, "10.0.0.9", "9", "--apply"]) == 0 and run(["map", "delete", target, "10.0.0.1", "--apply"]) == 0
        assert capsys.readouterr().err.count(said) == 2
        assert len(out_of(capsys, "map", "dump", target, "--where", "key in 10.0.0.0/8")) == 2
        target = f"map:{map_by_fd(six).id}"
        assert run(["map", "dump", target, "--where", "key in fe80::/10"]) == 0 and run(["map", "get", target, "fe80::1"]) == 0
        assert capsys.readouterr().err.count("16 bytes in network order") == 2
        assert len(out_of(capsys, "map", "dump", target, "--where", "key == 0xFE800000000000000000000000000001")) == 1
        assert run(["map", "get", target, "10.0.0.1"]) == 3
    finally:
        os.close(fd)
        os.close(six)


@pytest.mark.parametrize(("condition", "said"), [
    ("value > abc", "'abc' is not a number"), ("value == abc", "'abc' is not a number"), ("value in 1,abc", "'abc' is not a number"),
    ("key ==", 'after "key =="'), ("key in ", 'after "key in"'), ("", "cannot read ''"), ("key == 10.0.0.0/8", "is a prefix"),
    ("key == fe80::1", "of another length than key"), ("value == 10.0.0.1", "is an address, and value is none"),
])  # fmt: skip
def test_operands_that_mean_nothing_are_errors(condition: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error that names the operand, and not "no element"."""
    from bpflens.kernel.maps.map_data import update

    fd = create_map(1, 4, 8, 4)
    try:
        update(fd, bytes(4), bytes(8))
        assert run(["map", "dump", f"map:{map_by_fd(fd).id}", "--where", condition]) == 2
        out, err = capsys.readouterr()
        assert said in err and not out
    finally:
        os.close(fd)


QUEUE, PERF_EVENTS, RING = 22, 4, 27


@pytest.mark.parametrize(("type", "key", "value", "said"), [
    (QUEUE, 0, 4, "a queue has no keys"), (RING, 0, 0, "a ring buffer has records"), (PERF_EVENTS, 4, 4, "only programs can read"),
])  # fmt: skip
def test_what_has_no_readable_elements_says_why(
    type: int, key: int, value: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words, and not with an errno; whether elements are listed, looked up or changed."""
    fd = create_map(type, key, value, 4096 if type == RING else 2)
    try:
        target = f"map:{map_by_fd(fd).id}"
        assert run(["map", "get", target, "0"]) == 4
        assert said in capsys.readouterr().err
        if not key:
            assert run(["map", "set", target, "0", "1"]) == 4 and said in capsys.readouterr().err
            assert run(["map", "delete", target, "0"]) == 4 and said in capsys.readouterr().err
            run(["show", "--values", "--no-attachments", target])
            assert said in capsys.readouterr().out
    finally:
        os.close(fd)


def test_the_kernels_own_errno_in_words() -> None:
    """ENOTSUPP is no error of the C library, which calls it unknown."""
    assert "Unknown" not in str(KernelError.from_errno("map 1", "cannot look up", 524))


@pytest.mark.parametrize("json_lines", [False, True])
def test_lines_by_the_thousand_are_those_of_single_elements(pins: str, json_lines: bool) -> None:
    """Random bytes in typed and untyped maps: the fast way writes what the plain one does."""
    import random

    from bpflens.kernel.maps.map_data import update
    from bpflens.kernel.pins import get
    from bpflens.maps.elements import batches, elements
    from bpflens.records.map import element_record
    from bpflens.view.text.element_rows import rows_of
    from bpflens.view.text.map import element_line

    dice, seen = random.Random(7), 0
    fds = [create_map(1, key, value, 300) for key, value in ((4, 8), (1, 1), (2, 2), (8, 4), (3, 5), (16, 64))]
    fds += [get(f"{pins}/{name}") for name in ("flows", "nets", "rich")]
    for fd in fds:
        map = map_by_fd(fd)
        rows = rows_of(map, json_lines)
        if rows is not None:
            for _ in range(40):
                key = dice.randbytes(map.key_size)
                if map.type == 11:
                    key = bytes((dice.randrange(8 * (len(key) - 4)), 0, 0, 0)) + key[4:]
                update(fd, key, dice.choice((dice.randbytes, bytes))(map.value_size))
            found = batches(map)
            assert found is not None
            fast = "".join(piece for pair in found for piece in (rows.json if json_lines else rows.text)(*pair)).splitlines()
            slow = [json.dumps(element_record(map, each)) if json_lines else element_line(each) for each in elements(map)]
            assert fast == slow
            seen += 1
        os.close(fd)
    assert seen == len(fds)


def test_the_list_is_sorted_and_cut(pins: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "map", "ls", "--sort", "memory", "--reverse", "--limit", "3"]) in (0, 5)
    sizes = [json.loads(line)["memory_bytes"] for line in capsys.readouterr().out.splitlines()]
    assert len(sizes) == 3 and sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["ls", "--where", "key = 1"], "--where: has no effect on map ls; it is for dump"),
        (["dump", "1", "--count"], "--count: has no effect on map dump"),
        (["ls", "--sort", "colour"], '--sort: "colour" is none of id, name'),
        (["show", "1", "--apply"], "--apply: has no effect on map show; it is for delete and set"),
    ],
)
def test_an_option_without_effect_is_an_error(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["map", *argv]) == 2
    assert said in capsys.readouterr().err

"""Objects as targets of other verbs, the views, selections and --effective, on attachments made here."""

from __future__ import annotations

import ctypes
import io
import json
import os
import socket
import struct
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import needs
from bpflens.cli.main import run
from bpflens.errors import BpflensError, InputError, NotFound
from bpflens.program import Isa
from bpflens.targets.attach_point import open_object
from live.attach_kinds import KINDS
from live.attach_lab import Attached, Lab

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def lab():
    needs.root()
    with Lab() as made:
        made.attached = {  # type: ignore[attr-defined]
            name: list(KINDS[name](made))
            for name in ("packet", "socket_ebpf", "seccomp", "tc_classic", "tc_extended", "xdp", "cgroups", "namespace_programs")
        }
        yield made


def of(lab: Lab, name: str) -> list[Attached]:
    return lab.attached[name]  # type: ignore[attr-defined,no-any-return]


def command(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(list(argv))
    return code, out.getvalue(), err.getvalue()


def test_sock(lab: Lab) -> None:
    """sock:INODE gives the filter with its context."""
    raw, cooked = of(lab, "packet")
    (program,) = open_object("sock", raw.object[5:])

    assert (program.isa, program.code) == (Isa.CLASSIC, raw.classic)
    assert program.holders[0].pid == os.getpid()
    (program,) = open_object("sock", cooked.object[5:])
    assert program.origin.given == ("ip",)  # its protocol is ETH_P_IP


def test_sock_with_an_extended_program(lab: Lab) -> None:
    """No interface says which it is: kernel memory does, where the rights suffice."""
    attached = of(lab, "socket_ebpf")[0]
    assert [program.id for program in open_object("sock", attached.object[5:])] == [attached.prog_id]


def test_dev(lab: Lab) -> None:
    """dev:IF finds devices of every namespace; a shared block counts for the devices that share it."""
    codes = [program.code for program in open_object("dev", "v0")]
    assert {one.classic for one in of(lab, "tc_classic") if one.object == "dev:v0"} <= set(codes)
    shared = [one.classic for one in of(lab, "tc_classic") if one.object == "block:33"]
    assert [program.code for program in open_object("dev", f"v4@{lab.name}a")] == shared
    ids = {program.id for program in open_object("dev", f"v2@{lab.name}a")}
    assert ids == {one.prog_id for one in of(lab, "tc_extended")}
    with pytest.raises(NotFound):
        open_object("dev", f"v2@{lab.name}b")


def test_pid(lab: Lab) -> None:
    """pid:N gives what the process holds and its own filters, the newest first, as the kernel runs them."""
    seccomp = of(lab, "seccomp")
    programs = open_object("pid", seccomp[0].object[4:])
    assert [program.code for program in programs if program.isa is Isa.CLASSIC and program.arch] == [
        one.classic for one in reversed(seccomp)
    ]


def test_cgroup_and_netns(lab: Lab) -> None:
    """A cgroup by its path in the hierarchy, a namespace by name, path or inode."""
    attached = of(lab, "cgroups")
    path = attached[0].object[7:]
    ids = {program.id for program in open_object("cgroup", path)}
    assert ids == {one.prog_id for one in attached if one.object == attached[0].object}
    for name in (f"{lab.name}b", lab.netns_path("b"), str(lab.spaces["b"])):
        (program,) = open_object("netns", name)
        assert program.id == of(lab, "namespace_programs")[0].prog_id


@pytest.mark.parametrize(("kind", "name", "error"), (
    ("sock", "x", InputError), ("sock", "1", NotFound), ("pid", "", InputError), ("pid", "999999999", NotFound),
    ("dev", "nonesuch", NotFound), ("netns", "nonesuch", NotFound), ("cgroup", "/nonesuch", NotFound),
))  # fmt: skip
def test_errors(lab: Lab, kind: str, name: str, error: type[BpflensError]) -> None:
    """One class and one line for each thing that is not there."""
    with pytest.raises(error) as caught:
        open_object(kind, name)
    assert f"{kind}:{name}" in str(caught.value)


def test_ls_selects(lab: Lab) -> None:
    """Kinds, objects and types."""
    def rows(*words: str) -> list[dict]:
        return [json.loads(line) for line in command("--json", "ls", *words)[1].splitlines()]

    assert {row["object"] for row in rows("xdp", f"netns:{lab.name}a")} == {one.object for one in of(lab, "xdp")}
    assert {row["program"]["type"] for row in rows("type=sched_cls", "tc")} == {"sched_cls"}
    classic = {row["insns"] for row in rows("socket/packet", f"pid:{os.getpid()}")} - {None}
    assert classic == {one.classic.hex() for one in of(lab, "packet") if one.classic}
    id = of(lab, "tc_extended")[0].prog_id
    assert [row["kind"] for row in rows(f"id:{id}")] == ["tc/ingress"]
    for words, hint in ((["sockets"], 'did you mean "socket"?'), (["type=xpd"], 'did you mean "xdp"?'), (["nonsense"], "--help")):
        code, out, err = command("ls", *words)
        assert (code, out) == (2, "") and hint in err


def test_effective(lab: Lab) -> None:
    """What a cgroup below inherits is shown with where it comes from."""
    attached = of(lab, "cgroups")
    above = attached[-1].object[7:]
    inner = lab.cgroup_mount + above + "/inner"
    os.mkdir(inner)
    try:
        code, out, _ = command("--json", "ls", "--effective", f"cgroup:{above}/inner")
    finally:
        os.rmdir(inner)
    (row,) = map(json.loads, out.splitlines())
    assert code in (0, 5)
    assert (row["kind"], row["program"]["id"]) == (attached[-1].kind, attached[-1].prog_id)
    assert row["details"]["inherited_from"] == [f"cgroup:{above}"]


def test_tree(lab: Lab) -> None:
    """The program under its object; a prog_array under the program that uses it, with where it leads."""
    import struct

    from bpflens.isa.extended.asm import assemble
    from bpflens.kernel.maps.map_data import update
    from bpflens.kernel.programs.load import create_map, load_program
    from bpflens.kernel.programs.prog_info import prog_info_by_fd

    jumps = lab.fd(create_map(3, 4, 4, 4, name="bl_tree"))
    loop = struct.pack("<BBhi", 0x18, 1 << 4 | 2, 0, jumps) + bytes(8)
    code = loop + assemble("r3 = 1\ncall 12\nr0 = 0\nexit", "llvm")
    fds = [lab.fd(load_program(code, 3, name=f"bl_tree{number}")) for number in range(2)]
    first, second = (prog_info_by_fd(fd).id for fd in fds)
    update(jumps, struct.pack("<I", 1), struct.pack("<i", fds[1]))

    code, out, _ = command("--json", "tree", f"id:{first}")
    (line,) = map(json.loads, out.splitlines())
    (attachment,) = line["attachments"]
    (map_node,) = attachment["maps"]

    assert line["schema"] == "tree/1" and attachment["kind"] == "fd"
    assert (map_node["name"], map_node["type"]) == ("bl_tree", "prog_array")
    assert [(entry["index"], entry["program"]) for entry in map_node["entries"]] == [(1, second)]
    assert map_node["entries"][0]["maps"][0]["above"]  # the loop ends
    _, text, _ = command("tree", f"id:{first}")
    assert f"[1] -> {second} bl_tree1" in text


@pytest.mark.parametrize("word", (
    "netns:nope", "pid:4194303", "cgroup:/nope", "map:4294967295", "map:nope", "name:nope", "comm:nope", "exe:/nope", "unit:nope",
    "link:4294967295", "pin:/nope", "id:4294967295", "tag:ffffffffffffffff",
))  # fmt: skip
def test_what_does_not_exist_is_an_error(word: str) -> None:
    """Not an empty list, and not one of everything."""
    code, out, err = command("ls", word)
    assert (code, out) == (3, "") and word in err


def test_watch() -> None:
    """Programs that come and go, bounded by --count."""
    import threading
    import time

    from bpflens.isa.extended.asm import assemble
    from bpflens.kernel.programs.load import load_program

    fds: list[int] = []

    def load() -> None:
        time.sleep(2.5)  # the watch has begun by then, on a busy machine too
        fds.append(load_program(assemble("r0 = 0\nexit", "llvm"), 1, name="bl_watched"))
        time.sleep(3)  # long enough to be looked at on a busy machine
        os.close(fds.pop())

    thread = threading.Thread(target=load)
    thread.start()
    code, out, _ = command("--json", "ls", "--watch", "0.25", "--count", "30")
    thread.join()
    assert code == 0
    assert _events(out, "bl_watched") == [("loaded", ["fd"]), ("unloaded", ["fd"])]
    assert command("ls", "--watch", "0")[0] == 2


def test_an_interrupted_watch_ends_well() -> None:
    """Ctrl-C is its normal end: exit code 0 and nothing on stderr."""
    import signal
    import time

    argv = [sys.executable, "-m", "bpflens", "ls", "--watch", "0.2"]
    # a shell starts what runs in the background with SIGINT ignored, and children inherit that
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")


def _events(out: str, name: str) -> list[tuple[str, list[str]]]:
    """(event, kinds of attachment) of one program."""
    return [
        (line["event"], [one["kind"] for one in line["attachments"]]) for line in map(json.loads, out.splitlines())
        if any(one["program"] and one["program"]["name"] == name for one in line["attachments"])
    ]  # fmt: skip


def test_watch_shows_what_is_attached_later(lab: Lab) -> None:
    """A program that is loaded first and attached afterwards, and detached again."""
    import threading
    import time

    from bpflens.isa.extended.asm import assemble
    from bpflens.kernel.programs.load import load_program

    by_link = lab.fd(load_program(assemble("r0 = 1\nexit", "llvm"), 8, name="bl_later", expected_attach_type=0))

    cgroup = lab.fd(os.open(lab.cgroup_mount + lab.cgroup("later"), os.O_RDONLY))

    def attach() -> None:
        time.sleep(2.5)
        link = lab.link(by_link, cgroup, "cgroup_inet_ingress")
        time.sleep(2.5)
        os.close(link)

    thread = threading.Thread(target=attach)
    thread.start()
    code, out, _ = command("--json", "ls", "--watch", "0.25", "--count", "26")
    thread.join()
    assert code == 0
    assert _events(out, "bl_later") == [("changed", ["cgroup/inet_ingress"]), ("changed", ["fd"])]


def test_cgroup_by_its_directory(lab: Lab) -> None:
    """Where the cgroup stands in the file system is a name for it too."""
    from bpflens.inventory.objects import cgroup_path

    path = of(lab, "cgroups")[0].object[7:]
    assert cgroup_path(lab.cgroup_mount + path) == cgroup_path(path) == cgroup_path(path.strip("/")) == path
    assert {program.id for program in open_object("cgroup", lab.cgroup_mount + path)} == {
        program.id for program in open_object("cgroup", path)
    }


def test_table_explains_or_says_why_not(lab: Lab) -> None:
    """Every classic row of the table has its expression, its words or the reason that there are none; in words only where so meant."""
    _, out, err = command("ls", "socket", "seccomp", f"pid:{os.getpid()}")
    rows = [line for line in out.splitlines() if " classic " in line]
    assert rows and all(" insns: " in line or " insn: " in line for line in rows), out
    _, out, err = command("ls", "dev:nonesuch")
    assert not out and "dev:nonesuch: no such interface in any network namespace that was looked into" in err
    _, out, err = command("ls", "--no-deep", f"sock:{of(lab, 'socket_ebpf')[0].object[5:]}")
    assert "note: kernel memory tells more about 1 row: " in err


def test_without_proc() -> None:
    """One line that says what is missing."""

    script = 'umount -l /proc; exec "$0" -m bpflens "$@"'
    for argv in (["ls"], ["ls", "--audit"], ["tree"], ["ls", "--watch", "1", "--count", "1"], ["dis", "dev:lo"]):
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, sys.executable, *argv], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (4, ""), done
        assert done.stderr.startswith("bpflens: error: /proc: is not mounted") and "Traceback" not in done.stderr


def test_hidden_network_namespaces(lab: Lab) -> None:
    """A namespace whose mount is covered by another's is entered another way, or named as not shown; its name is not given twice."""
    from bpflens.inventory.walk import collect

    upper, lower, unused = (lab.netns_path(letter) for letter in ("b", "a", "z"))
    lab.run("ip", "netns", "add", f"{lab.name}z")
    hidden = os.stat(unused).st_ino
    try:
        for path in (lower, unused):
            lab.run("mount", "--bind", upper, path)
        inventory = collect()
    finally:
        for path in (lower, unused):
            lab.run("umount", path)
        lab.run("ip", "netns", "del", f"{lab.name}z")
    wanted = {one.object for one in of(lab, "xdp")}
    assert wanted <= {row.object for row in inventory.rows if row.netns == lab.spaces["a"] and row.kind.startswith("xdp")}
    assert [denial for denial in inventory.denied if f"network namespace {hidden}, whose mount is hidden" in denial.what]
    names = [space.name for space in inventory.namespaces.values() if space.name]
    assert len(names) == len(set(names))


def test_a_proc_that_does_not_show_everything(lab: Lab) -> None:
    """The processes of a pid namespace, or one's own only: what is left out is said, with exit code 5."""

    denial = "bpflens: not shown: processes that this /proc does not show: needs the initial pid namespace, and its /proc without hidepid\n"
    hidden = 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" -m bpflens "$@"'
    inner = 'mount -t proc proc /proc && exec "$0" -m bpflens "$@"'
    for options, script in ((["-m"], hidden), (["-mpf"], inner), (["-pf"], 'exec "$0" -m bpflens "$@"')):
        done = subprocess.run(["unshare", *options, "sh", "-c", script, sys.executable, "ls"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 5 and denial in done.stderr and "Traceback" not in done.stderr, done
    assert denial not in command("ls")[2]
    done = subprocess.run(["unshare", "-pf", sys.executable, "-m", "bpflens", "ls", "--audit"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 5 and "audit: cannot be established: " in done.stdout, done


def test_a_process_that_may_not_be_read(lab: Lab) -> None:
    """It is not said that it has no programs."""
    from live.test_inventory_capabilities import as_nobody

    code, out, err = as_nobody([], ["dis", f"pid:{os.getpid()}"])
    assert (code, out) == (4, "") and "no program hangs on it" not in err, err


@pytest.mark.live
def test_an_interface_that_does_not_exist() -> None:
    """A typo is not the same answer as an interface without programs."""
    assert command("dis", "dev:bl-no-such")[2].startswith("bpflens: error: dev:bl-no-such: no such interface")
    assert "no program hangs on it" in command("dis", "dev:lo")[2]


@pytest.mark.live
def test_filters_that_there_is_no_time_to_explain() -> None:
    """`--explain 0` leaves every expression out, and says so; given time, it is there."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind(("lo", 0))
    try:
        code = ctypes.create_string_buffer(bytes.fromhex("280000000c0000001500000100080000060000000000040006000000" + "00000000"))
        sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 4, ctypes.addressof(code)))
        place = f"sock:{os.fstat(sock.fileno()).st_ino}"
        late, known = (command("--json", "ls", place, "--explain", seconds) for seconds in ("0", "9"))
    finally:
        sock.close()

    assert json.loads(late[1])["expression"] is None
    assert "no time left to explain 1 classic filter" in late[2]
    assert json.loads(known[1])["expression"] == "ip"
    assert "no time left" not in known[2]


@pytest.mark.live
def test_no_seccomp_filter_is_told_without_privilege() -> None:
    """The status of a process's threads says whether they have filters: nobody needs a capability for "none"."""
    from live import nobody

    needs.kernel_feature(b"\nSeccomp:\t0" in Path("/proc/self/status").read_bytes(), "the tests are run without a seccomp filter")
    for target in ("pid:self", f"pid:{os.getpid()}"):
        done = nobody.bpflens("seccomp", target)
        assert (done.returncode, done.stdout) == (3, "") and f"{target}: no seccomp filter hangs on it" in done.stderr, done


@pytest.mark.live
def test_a_seccomp_filter_that_may_not_be_read_is_not_denied() -> None:
    """Where a thread has filters, nobody is told that there is none."""
    from live import nobody

    code = "import ctypes, struct, time; c = ctypes.CDLL(None);" \
        "b = ctypes.create_string_buffer(struct.pack('<HBBI', 6, 0, 0, 0x7fff0000));" \
        "p = ctypes.create_string_buffer(struct.pack('<HxxxxxxQ', 1, ctypes.addressof(b))); c.prctl(38, 1, 0, 0, 0); c.prctl(22, 2, p);" \
        "print(flush=True); time.sleep(60)"  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None and child.stdout.readline()
            done = nobody.bpflens("seccomp", f"pid:{child.pid}")
            assert done.returncode == 4 and "no seccomp filter" not in done.stderr, done
            assert command("seccomp", f"pid:{child.pid}")[0] == 0
        finally:
            child.kill()

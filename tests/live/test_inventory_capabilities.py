"""`ls` as nobody, with each single capability, and as root: never a failure, always the message that says what would show more."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import re
import struct

import pytest

from bpflens.cli.main import run
from bpflens.inventory import select  # noqa: F401  (what the child cannot read as nobody is imported before)
from bpflens.kernel.sys.bpf import Buffer
from live.attach_kinds import KINDS
from live.attach_lab import Lab

pytestmark = pytest.mark.live

NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
    NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE
    SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND
    AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""  # linux/capability.h, in order
CAPABILITIES = {name: number for number, name in enumerate(NAMES.split())}
with open("/proc/self/status") as _status:
    _own = int(next(line for line in _status if line.startswith("CapEff")).split()[1], 16)
HELD = [name for name, number in CAPABILITIES.items() if _own >> number & 1]  # a container's root does not have all of them
NOBODY = 65534
DENIAL = re.compile(r"bpflens: not shown: .+: needs \S.+")
PR_SET_KEEPCAPS, CAP_V3 = 8, 0x20080522


def become_nobody(capabilities: list[str]) -> None:
    """uid 65534 with these capabilities effective and permitted, and no other."""
    libc = ctypes.CDLL(None, use_errno=True)
    bits = sum(1 << CAPABILITIES[name] for name in capabilities)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    header = Buffer(struct.pack("<Ii", CAP_V3, 0))
    low, high = bits & 0xFFFFFFFF, bits >> 32
    data = Buffer(struct.pack("<IIIIII", low, low, 0, high, high, 0))
    if libc.capset(ctypes.c_void_p(header.address), ctypes.c_void_p(data.address)):
        raise OSError(ctypes.get_errno(), "capset")
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, which the change of uid has cleared: our own /proc files are ours again


def as_nobody(capabilities: list[str], argv: list[str], root: bool = False) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command line, run in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.closerange(3, writer)  # not the lab's sockets: what one holds oneself may always be seen
        os.closerange(writer + 1, 65536)
        out, err, code = io.StringIO(), io.StringIO(), 99
        try:
            if not root:
                become_nobody(capabilities)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(argv)
        except BaseException as error:
            err.write(f"Traceback {error!r}")
        with os.fdopen(writer, "w") as stream:
            json.dump([code, out.getvalue(), err.getvalue()], stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        answer = json.load(stream)
    os.waitpid(pid, 0)
    return answer[0], answer[1], answer[2]


@pytest.fixture(scope="module")
def attached():
    run(["--json", "ls", "--deep"])  # as root once, so that all modules are imported
    with Lab() as lab:
        kinds = ("packet", "other_sockets", "tc_classic", "tc_extended", "xdp", "seccomp", "cgroups")
        yield {name: list(KINDS[name](lab)) for name in kinds}


def classic_rows(text: str, kind: str) -> list[str]:
    return [row["insns"] for row in map(json.loads, text.splitlines()) if row["kind"].startswith(kind) and row["insns"]]


@pytest.mark.parametrize("capability", [None, *HELD])
def test_each_capability(attached: object, capability: str | None) -> None:
    """Exit code 5 and one clear line for each thing that is not shown; every line of stdout is JSON."""
    code, out, err = as_nobody([capability] if capability else [], ["--json", "ls"])

    assert "Traceback" not in err and "internal error" not in err, err
    assert code == 5, (code, err)
    assert err and all(DENIAL.fullmatch(line) for line in err.splitlines() if not line.startswith("bpflens: note: ")), err
    assert all(json.loads(line)["schema"] == "ls/1" for line in out.splitlines())
    if capability == "SYS_ADMIN":
        assert "the list of loaded programs" not in err
    else:
        assert "the list of loaded programs: needs CAP_SYS_ADMIN" in err


@pytest.mark.parametrize("argv", (["ls", "--deep"], ["ls", "--audit"], ["tree"], ["ls", "seccomp"], ["ls", "dev:lo"]), ids=" ".join)
@pytest.mark.parametrize("capabilities", ((), ("BPF",), ("BPF", "PERFMON"), ("SYS_ADMIN",), ("SYS_PTRACE",)), ids="+".join)
def test_other_views(attached: object, argv: list[str], capabilities: tuple[str, ...]) -> None:
    """The reader and the audit say what they lack."""
    code, out, err = as_nobody(list(capabilities), argv)

    assert "Traceback" not in err and "internal error" not in err, err
    assert code in (0, 5), (code, err)
    if "--audit" in argv:
        assert "cannot be established: " in out
    if "--deep" in argv and "PERFMON" not in capabilities and "SYS_ADMIN" not in capabilities:
        assert "what only the kernel-side reader sees: needs CAP_BPF and CAP_PERFMON" in err


def test_nobody_sees_no_foreign_packet_filter(attached: dict[str, list]) -> None:
    """packet_diag hands an empty filter to who may not see it: that is said, and not taken for "no filter"."""
    _, out, err = as_nobody([], ["--json", "ls", "socket/packet"])
    assert not classic_rows(out, "socket/packet")
    assert "CAP_SYS_ADMIN" in err  # the lab is in another network namespace


def test_root_sees_everything(attached: dict[str, list]) -> None:
    """With all capabilities, everything that the lab has attached."""
    code, out, err = as_nobody([], ["--json", "ls"], root=True)
    assert code in (0, 5) and "Traceback" not in err
    found = {row["insns"] for row in map(json.loads, out.splitlines())}
    ids = {row["program"]["id"] for row in map(json.loads, out.splitlines()) if row["program"]}
    for one in (one for several in attached.values() for one in several):
        assert one.classic.hex() in found if one.classic else one.prog_id in ids


def test_net_admin_in_the_namespace_is_enough_for_packet_filters(attached: dict[str, list]) -> None:
    """CAP_NET_ADMIN gives packet_diag's bytes; without it they are withheld, which is said."""
    code = attached["packet"][0]

    def within(capabilities: list[str]) -> tuple[int, str, str]:
        from bpflens.kernel.sys import syscalls

        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        fd = os.open(f"/run/netns/bplab{os.getpid()}a", os.O_RDONLY)
        syscalls.setns(fd, 0x40000000)
        try:
            return as_nobody(capabilities, ["--json", "ls", "socket/packet"])
        finally:
            syscalls.setns(own, 0x40000000)
            os.close(own)
            os.close(fd)

    assert code.classic.hex() in classic_rows(within(["NET_ADMIN"])[1], "socket/packet")
    _, out, err = within([])
    assert code.classic.hex() not in classic_rows(out, "socket/packet")
    assert "the filters of packet sockets: needs CAP_NET_ADMIN" in err

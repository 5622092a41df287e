"""One function for each kind of attachment: attach it in the lab, say what `ls` has to show. Numbers are rows of docs/inventory.md."""

from __future__ import annotations

import ctypes
import os
import socket as sockets
import struct
from collections.abc import Callable, Iterator

from bpflens.btf.fields import member_offset
from bpflens.isa.extended.asm import assemble
from bpflens.kernel.maps.map_data import update
from bpflens.kernel.programs.load import create_map
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.sys import syscalls
from bpflens.kernel.sys.bpf import Buffer, bpf, cmd
from live.attach_lab import ATTACH, Attached, Fprog, Lab, Lacking, inode, insns, ioctl, setsockopt

KINDS: dict[str, Callable[[Lab], Iterator[Attached]]] = {}
SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF, SO_REUSEPORT = 26, 50, 51, 52, 15


def kind(function: Callable[[Lab], Iterator[Attached]]) -> Callable[[Lab], Iterator[Attached]]:
    """Put a function into the table."""
    KINDS[function.__name__] = function
    return function


def ifindex(name: str) -> int:
    return sockets.if_nametoindex(name)


# --- sockets: rows 1-8 ---


@kind
def packet(lab: Lab) -> Iterator[Attached]:
    """1"""
    with lab.inside("a"):
        for type, protocol in ((3, 0x0300), (2, 0x0008)):
            fd = lab.socket(17, type, protocol)
            code = lab.classic()
            setsockopt(fd, 1, SO_ATTACH_FILTER, lab.fprog(code))
            yield Attached("socket/packet", f"sock:{inode(fd)}", lab.spaces["a"], classic=code, holder=os.getpid())


@kind
def other_sockets(lab: Lab) -> Iterator[Attached]:
    """2"""
    with lab.inside("a"):
        for word, family, type, protocol in (
            ("udp", 2, 2, 0), ("udp", 10, 2, 0), ("tcp", 2, 1, 0), ("raw", 2, 3, 1), ("raw6", 10, 3, 58), ("unix", 1, 2, 0),
            ("netlink", 16, 3, 0),
        ):  # fmt: skip
            fd = lab.socket(family, type, protocol)
            code = lab.classic()
            setsockopt(fd, 1, SO_ATTACH_FILTER, lab.fprog(code))
            yield Attached(f"socket/{word}", f"sock:{inode(fd)}", lab.spaces["a"], classic=code, holder=os.getpid())


@kind
def vsock(lab: Lab) -> Iterator[Attached]:
    """2"""
    fd = lab.socket(40, 1, 0)
    code = lab.classic()
    setsockopt(fd, 1, SO_ATTACH_FILTER, lab.fprog(code))
    yield Attached("socket/vsock", f"sock:{inode(fd)}", os.fstat(lab.own).st_ino, classic=code, holder=os.getpid())


@kind
def inflight(lab: Lab) -> Iterator[Attached]:
    """3: a bound UDP socket that is only in flight between two ends of a socket pair"""
    with lab.inside("b"):
        lab.run("ip", "link", "set", "lo", "up")
        sock = sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
    code = lab.classic()
    setsockopt(sock.fileno(), 1, SO_ATTACH_FILTER, lab.fprog(code))
    number = inode(sock.fileno())
    left, right = sockets.socketpair(sockets.AF_UNIX, sockets.SOCK_DGRAM)
    lab.undo.callback(left.close)
    lab.undo.callback(right.close)
    sockets.send_fds(left, [b"x"], [sock.fileno()])
    sock.close()
    yield Attached("socket/udp", f"sock:{number}", lab.spaces["b"], classic=code, deep=True)


@kind
def socket_ebpf(lab: Lab) -> Iterator[Attached]:
    """4"""
    with lab.inside("a"):
        for word, family, type in (("udp", 2, 2), ("packet", 17, 3)):
            fd = lab.socket(family, type, 0x0300 if family == 17 else 0)
            prog, id = lab.load("socket_filter")
            setsockopt(fd, 1, SO_ATTACH_BPF, struct.pack("<i", prog))
            yield Attached(f"socket/{word}", f"sock:{inode(fd)}", lab.spaces["a"], prog_id=id, holder=os.getpid(), deep=True)


@kind
def reuseport(lab: Lab) -> Iterator[Attached]:
    """5, 6"""
    with lab.inside("a"):
        for extended in (False, True):
            sock = sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM)
            lab.undo.callback(sock.close)
            setsockopt(sock.fileno(), 1, SO_REUSEPORT, struct.pack("<i", 1))
            sock.bind(("127.0.0.1", 0))
            if extended:
                prog, id = lab.load("socket_filter")
                setsockopt(sock.fileno(), 1, SO_ATTACH_REUSEPORT_EBPF, struct.pack("<i", prog))
                yield Attached("reuseport", f"sock:{inode(sock.fileno())}", lab.spaces["a"], prog_id=id, holder=os.getpid(), deep=True)
            else:
                code = insns((6, 0, 0, lab.mark()))
                setsockopt(sock.fileno(), 1, SO_ATTACH_REUSEPORT_CBPF, lab.fprog(code))
                yield Attached("reuseport", f"sock:{inode(sock.fileno())}", lab.spaces["a"], classic=code, holder=os.getpid(), deep=True)


@kind
def fanout(lab: Lab) -> Iterator[Attached]:
    """7, 8"""
    with lab.inside("a"):
        for group, mode in ((71, 6), (72, 7)):
            fd = lab.socket(17, 3, 0x0300)
            address = struct.pack("<HHiHBB8s", 17, 0x0300, ifindex("v0"), 0, 0, 0, b"")
            buffer = Buffer(address)
            if syscalls.libc.bind(fd, ctypes.c_void_p(buffer.address), len(address)) < 0:
                raise Lacking("bind to a device")
            setsockopt(fd, 263, 18, struct.pack("<I", group | mode << 16))
            if mode == 6:
                setsockopt(fd, 263, 22, lab.fprog(lab.classic()))
                yield Attached("fanout", f"fanout:{group}", lab.spaces["a"], holder=os.getpid(), image=True)
            else:
                prog, id = lab.load("socket_filter")
                setsockopt(fd, 263, 22, struct.pack("<i", prog))
                yield Attached("fanout", f"fanout:{group}", lab.spaces["a"], prog_id=id, holder=os.getpid(), deep=True)


# --- tun, seccomp: rows 9-11 ---


def tun_device(lab: Lab, name: str, flags: int) -> int:
    try:
        fd = lab.fd(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise Lacking(f"/dev/net/tun: {error.strerror}") from None
    ioctl(fd, 0x400454CA, struct.pack("<16sH22x", name.encode(), flags))  # TUNSETIFF
    return fd


@kind
def tap_filter(lab: Lab) -> Iterator[Attached]:
    """9"""
    with lab.inside("a"):
        fd = tun_device(lab, "tap7", 0x1002)
        code = lab.classic()
        ioctl(fd, 0x401054D5, lab.fprog(code))  # TUNATTACHFILTER
        yield Attached("tap/filter", "dev:tap7", lab.spaces["a"], classic=code, holder=os.getpid(), deep=True)


@kind
def tun_programs(lab: Lab) -> Iterator[Attached]:
    """10: by a descriptor, and on a persistent device that nobody holds"""
    with lab.inside("a"):
        for name, persistent in (("tun8", False), ("tun9", True)):
            fd = tun_device(lab, name, 0x1101)
            for word, request in (("filter", 0x800454E1), ("steering", 0x800454E0)):
                prog, id = lab.load("socket_filter")
                ioctl(fd, request, struct.pack("<i", prog))
                holder = None if persistent else os.getpid()
                yield Attached(f"tun/{word}", f"dev:{name}", lab.spaces["a"], prog_id=id, holder=holder, deep=True)
            if persistent:
                ioctl(fd, 0x400454CB, 1)  # TUNSETPERSIST
                os.close(fd)
                lab.undo.callback(lab.run, "ip", "-n", f"{lab.name}a", "link", "del", name)


@kind
def seccomp(lab: Lab) -> Iterator[Attached]:
    """11: two filters on a process"""
    codes = [
        insns((0x20, 0, 0, 4), (0x15, 0, 1, 0xC000003E), (6, 0, 0, 0x7FFF0000), (6, 0, 0, 0x7FFC0000 + lab.mark() % 4096)) for _ in "12"
    ]

    def body() -> None:
        libc = ctypes.CDLL(None)
        libc.prctl(38, 1, 0, 0, 0)
        for code in codes:
            made = Fprog(code)
            buffer = Buffer(made.bytes)
            if libc.syscall(317, 1, 0, ctypes.c_void_p(buffer.address)):
                raise OSError("seccomp")

    pid = lab.child(body)
    for code in codes:
        yield Attached("seccomp", f"pid:{pid}", None, classic=code, holder=pid)


# --- traffic control: rows 12-16 ---


def bytecode(code: bytes) -> str:
    rows = list(struct.iter_unpack("<HBBI", code))
    return f"{len(rows)}," + ",".join("{} {} {} {}".format(*row) for row in rows)


@kind
def tc_classic(lab: Lab) -> Iterator[Attached]:
    """12: clsact hooks, a chain, a classful qdisc and its class, a shared block"""
    a = lab.spaces["a"]
    with lab.inside("a"):
        lab.run("tc", "qdisc", "add", "dev", "v0", "clsact")
        for where, kind, object in (
            (("dev", "v0", "ingress"), "tc/ingress", "dev:v0"),
            (("dev", "v0", "egress"), "tc/egress", "dev:v0"),
            (("dev", "v0", "ingress", "chain", "5"), "tc/ingress", "dev:v0"),
        ):
            code = lab.classic()
            lab.run("tc", "filter", "add", *where, "protocol", "all", "bpf", "bytecode", bytecode(code), "flowid", "1:1")
            yield Attached(kind, object, a, classic=code)
        lab.run("tc", "qdisc", "add", "dev", "v1", "root", "handle", "1:", "htb")
        lab.run("tc", "class", "add", "dev", "v1", "parent", "1:", "classid", "1:10", "htb", "rate", "1mbit")
        for parent in ("1:", "1:10"):
            code = lab.classic()
            where = ("dev", "v1", "parent", parent, "protocol", "ip")
            lab.run("tc", "filter", "add", *where, "bpf", "bytecode", bytecode(code), "classid", "1:10")
            yield Attached("tc/cls", "dev:v1", a, classic=code)
        lab.run("ip", "link", "add", "v8", "type", "veth", "peer", "name", "v9")
        lab.run("tc", "qdisc", "add", "dev", "v8", "ingress")  # the older qdisc, of which clsact is a superset
        code = lab.classic()
        where = ("dev", "v8", "parent", "ffff:", "protocol", "all")
        lab.run("tc", "filter", "add", *where, "bpf", "bytecode", bytecode(code), "flowid", "1:1")
        yield Attached("tc/ingress", "dev:v8", a, classic=code)
        lab.run("ip", "link", "add", "v4", "type", "veth", "peer", "name", "v5")
        for device in ("v4", "v5"):
            lab.run("tc", "qdisc", "add", "dev", device, "ingress_block", "33", "clsact")
        code = lab.classic()
        lab.run("tc", "filter", "add", "block", "33", "protocol", "all", "bpf", "bytecode", bytecode(code), "flowid", "1:1")
        yield Attached("tc/cls", "block:33", a, classic=code)


@kind
def tc_extended(lab: Lab) -> Iterator[Attached]:
    """13"""
    with lab.inside("a"):
        lab.run("ip", "link", "add", "v2", "type", "veth", "peer", "name", "v3")
        lab.run("tc", "qdisc", "add", "dev", "v2", "clsact")
        for hook in ("ingress", "egress"):
            prog, id = lab.load("sched_cls")
            path = lab.pin(prog, f"tc_{hook}")
            lab.run("tc", "filter", "add", "dev", "v2", hook, "bpf", "da", "object-pinned", path)
            os.unlink(path)
            yield Attached(f"tc/{hook}", "dev:v2", lab.spaces["a"], prog_id=id)


@kind
def tc_action(lab: Lab) -> Iterator[Attached]:
    """14: alone, classic and extended, and inside a u32 filter"""
    with lab.inside("a"):
        code = lab.classic()
        lab.run("tc", "actions", "add", "action", "bpf", "bytecode", bytecode(code), "index", "101")
        yield Attached("tc/action", "action:bpf/101", lab.spaces["a"], classic=code)
        prog, id = lab.load("sched_act")
        path = lab.pin(prog, "act")
        lab.run("tc", "actions", "add", "action", "bpf", "object-pinned", path, "index", "102")
        os.unlink(path)
        yield Attached("tc/action", "action:bpf/102", lab.spaces["a"], prog_id=id)
        lab.run("ip", "link", "add", "v6", "type", "veth", "peer", "name", "v7")
        lab.run("tc", "qdisc", "add", "dev", "v6", "clsact")
        code = lab.classic()
        match = ("u32", "match", "u32", "0", "0", "action", "bpf", "bytecode", bytecode(code), "index", "103")
        lab.run("tc", "filter", "add", "dev", "v6", "ingress", "protocol", "all", *match)
        yield Attached("tc/action", "action:bpf/103", lab.spaces["a"], classic=code)


@kind
def tcx(lab: Lab) -> Iterator[Attached]:
    """15: a link and a plain attachment"""
    with lab.inside("a"):
        prog, id = lab.load("sched_cls", "tcx_ingress")
        lab.link(prog, ifindex("v0"), "tcx_ingress", extra=bytes(16))
        yield Attached("tcx/ingress", "dev:v0", lab.spaces["a"], prog_id=id, holder=os.getpid())
        prog, id = lab.load("sched_cls", "tcx_egress")
        lab.prog_attach(ifindex("v1"), prog, "tcx_egress")
        yield Attached("tcx/egress", "dev:v1", lab.spaces["a"], prog_id=id)


@kind
def netkit(lab: Lab) -> Iterator[Attached]:
    """16"""
    with lab.inside("a"):
        lab.run("ip", "link", "add", "bnk", "type", "netkit")
        prog, id = lab.load("sched_cls", "netkit_primary")
        lab.link(prog, ifindex("bnk"), "netkit_primary", extra=bytes(16))
        yield Attached("netkit/primary", "dev:bnk", lab.spaces["a"], prog_id=id, holder=os.getpid())


# --- XDP: rows 17, 18 ---


@kind
def xdp(lab: Lab) -> Iterator[Attached]:
    """17: native by a link, generic by a link, generic by netlink"""
    with lab.inside("a"):
        lab.run("ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1")
        lab.run("ip", "link", "add", "x2", "type", "veth", "peer", "name", "x3")
        for device, mode, flags in (("x0", "native", 4), ("x1", "generic", 2)):
            prog, id = lab.load("xdp", "xdp", "r0 = 2\nexit")
            lab.link(prog, ifindex(device), "xdp", flags)
            yield Attached(f"xdp/{mode}", f"dev:{device}", lab.spaces["a"], prog_id=id, holder=os.getpid())
        prog, id = lab.load("xdp", text="r0 = 1\nexit")
        path = lab.pin(prog, "xdp")
        lab.run("ip", "link", "set", "dev", "x2", "xdpgeneric", "pinned", path)
        os.unlink(path)
        yield Attached("xdp/generic", "dev:x2", lab.spaces["a"], prog_id=id)


@kind
def xdp_maps(lab: Lab) -> Iterator[Attached]:
    """18"""
    with lab.inside("a"):
        for word, type, target in (("devmap", 14, ifindex("v0")), ("devmap", 25, ifindex("v1")), ("cpumap", 16, 192)):
            prog, id = lab.load("xdp", f"xdp_{word}", "r0 = 2\nexit")
            fd = lab.fd(create_map(type, 4, 8, 2, name=f"bl_{word}"))
            update(fd, struct.pack("<I", 1 if type == 25 else 0), struct.pack("<Ii", target, prog))
            yield Attached(f"xdp/{word}", f"map:{map_id(fd)}[{1 if type == 25 else 0}]", None, prog_id=id)


def map_id(fd: int) -> int:
    info = Buffer(80)
    bpf(cmd.OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, 80, info.address))
    return int.from_bytes(info.bytes[4:8], "little")


# --- routes: rows 19, 20 ---


@kind
def lwt(lab: Lab) -> Iterator[Attached]:
    """19: IPv4 and IPv6 routes, a nexthop object"""
    with lab.inside("a"):
        for hook, destination, object in (
            ("in", "10.78.1.0/24", "route:10.78.1.0/24"), ("out", "10.78.2.0/24", "route:10.78.2.0/24"),
            ("xmit", "10.78.3.0/24", "route:10.78.3.0/24"), ("xmit", "fd77::/64", "route:fd77::/64"),
        ):  # fmt: skip
            prog, id = lab.load(f"lwt_{hook}", text="r0 = 0\nexit")
            path = lab.pin(prog, f"lwt_{hook}")
            lab.run("ip", "route", "add", destination, "encap", "bpf", hook, "pinned", path, "dev", "v0")
            os.unlink(path)
            yield Attached(f"lwt/{hook}", object, lab.spaces["a"], prog_id=id, deep=True)
        prog, id = lab.load("lwt_xmit", text="r0 = 0\nexit")
        path = lab.pin(prog, "lwt_nexthop")
        lab.run("ip", "nexthop", "add", "id", "77", "encap", "bpf", "xmit", "pinned", path, "dev", "v0")
        os.unlink(path)
        yield Attached("lwt/xmit", "nexthop:77", lab.spaces["a"], prog_id=id, deep=True)


@kind
def seg6local(lab: Lab) -> Iterator[Attached]:
    """20"""
    with lab.inside("a"):
        prog, id = lab.load("lwt_seg6local", text="r0 = 0\nexit")
        path = lab.pin(prog, "seg6")
        encap = ("encap", "seg6local", "action", "End.BPF", "endpoint", "pinned", path)
        lab.run("ip", "-6", "route", "add", "fd78::1/128", *encap, "dev", "v0")
        os.unlink(path)
        yield Attached("seg6local", "route:fd78::1/128", lab.spaces["a"], prog_id=id)


# --- cgroups: rows 21, 22 ---

CGROUP_TYPES = {
    "cgroup_skb": ("inet_ingress", "inet_egress"),
    "cgroup_sock": ("inet_sock_create", "inet4_post_bind", "inet6_post_bind", "inet_sock_release"),
    "sock_ops": ("sock_ops",),
    "cgroup_device": ("device",),
    "cgroup_sock_addr": (
        "inet4_bind", "inet6_bind", "inet4_connect", "inet6_connect", "udp4_sendmsg", "udp6_sendmsg", "udp4_recvmsg", "udp6_recvmsg",
        "inet4_getpeername", "inet6_getpeername", "inet4_getsockname", "inet6_getsockname", "unix_connect", "unix_sendmsg", "unix_recvmsg",
        "unix_getpeername", "unix_getsockname",
    ),
    "cgroup_sysctl": ("sysctl",),
    "cgroup_sockopt": ("getsockopt", "setsockopt"),
}  # fmt: skip


@kind
def cgroups(lab: Lab) -> Iterator[Attached]:
    """21: every attach type, by attachment on one cgroup and the first by a link on another"""
    path = lab.cgroup("c")
    fd = lab.fd(os.open(lab.cgroup_mount + path, os.O_RDONLY))
    for type, hooks in CGROUP_TYPES.items():
        for hook in hooks:
            try:
                prog, id = lab.load(type, f"cgroup_{hook}", "r0 = 1\nexit")
                lab.prog_attach(fd, prog, f"cgroup_{hook}", 2)
            except Lacking:
                if hook.startswith("unix_"):
                    continue  # Linux 6.7
                raise
            yield Attached(f"cgroup/{hook}", f"cgroup:{path}", None, prog_id=id)
    path = lab.cgroup("d")
    fd = lab.fd(os.open(lab.cgroup_mount + path, os.O_RDONLY))
    prog, id = lab.load("cgroup_skb", "cgroup_inet_egress", "r0 = 1\nexit")
    lab.link(prog, fd, "cgroup_inet_egress")
    yield Attached("cgroup/inet_egress", f"cgroup:{path}", None, prog_id=id, holder=os.getpid())


@kind
def lsm_cgroup(lab: Lab) -> Iterator[Attached]:
    """22"""
    path = lab.cgroup("l")
    fd = lab.fd(os.open(lab.cgroup_mount + path, os.O_RDONLY))
    prog, id = lab.load("lsm", "lsm_cgroup", "r0 = 1\nexit", attach_btf_id=btf_function("bpf_lsm_socket_bind"))
    lab.link(prog, fd, "lsm_cgroup")
    yield Attached("lsm_cgroup", f"cgroup:{path}", None, prog_id=id, holder=os.getpid())


def btf_function(name: str) -> int:
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import vmlinux

    found = vmlinux().find(name, Kind.FUNC)
    if found is None:
        raise Lacking(f"the function {name}")
    return found


# --- namespaces, netfilter: rows 23-27 ---


@kind
def namespace_programs(lab: Lab) -> Iterator[Attached]:
    """23, 24"""
    a, b = lab.netns_path("a"), lab.netns_path("b")
    prog, id = lab.load("flow_dissector", "flow_dissector", "r0 = 0\nexit")
    lab.prog_attach(0, prog, "flow_dissector", space="b")
    yield Attached("flow_dissector", f"netns:{os.path.basename(b)}", lab.spaces["b"], prog_id=id)
    fd = lab.fd(os.open(a, os.O_RDONLY))
    prog, id = lab.load("flow_dissector", "flow_dissector", "r0 = 0\nexit")
    lab.link(prog, fd, "flow_dissector")
    yield Attached("flow_dissector", f"netns:{os.path.basename(a)}", lab.spaces["a"], prog_id=id, holder=os.getpid())
    prog, id = lab.load("sk_lookup", "sk_lookup", "r0 = 1\nexit")
    lab.link(prog, fd, "sk_lookup")
    yield Attached("sk_lookup", f"netns:{os.path.basename(a)}", lab.spaces["a"], prog_id=id, holder=os.getpid())


@kind
def netfilter(lab: Lab) -> Iterator[Attached]:
    """25"""
    with lab.inside("a"):
        prog, id = lab.load("netfilter", "netfilter", "r0 = 1\nexit")
        lab.link(prog, 0, "netfilter", extra=struct.pack("<IIiI", 2, 1, -77, 0))
        yield Attached("netfilter", "hook:ip/input", lab.spaces["a"], prog_id=id, holder=os.getpid(), deep=True)


def xt_bpf(lab: Lab, command: str, object: str) -> Iterator[Attached]:
    with lab.inside("a"):
        code = insns((0x30, 0, 0, 9), (0x15, 0, 1, 17), (6, 0, 0, lab.mark()), (6, 0, 0, 0))
        lab.run(command, "-A", "INPUT", "-m", "bpf", "--bytecode", bytecode(code), "-j", "ACCEPT")
        lab.undo.callback(lab.run, "nsenter", f"--net={lab.netns_path('a')}", command, "-F", "INPUT")
        yield Attached("xt_bpf", object, lab.spaces["a"], classic=code)
        prog, id = lab.load("socket_filter")
        path = lab.pin(prog, f"xt_{command.replace('-', '_')}")
        lab.run(command, "-A", "INPUT", "-m", "bpf", "--object-pinned", path, "-j", "ACCEPT")
        yield Attached("xt_bpf", object, lab.spaces["a"], prog_id=id, deep=True)


@kind
def xt_bpf_legacy(lab: Lab) -> Iterator[Attached]:
    """26, 27"""
    yield from xt_bpf(lab, "iptables-legacy", "iptables:filter")


@kind
def xt_bpf_legacy6(lab: Lab) -> Iterator[Attached]:
    """26, 27"""
    yield from xt_bpf(lab, "ip6tables-legacy", "ip6tables:filter")


@kind
def xt_bpf_nft(lab: Lab) -> Iterator[Attached]:
    """26, 27"""
    yield from xt_bpf(lab, "iptables-nft", "nft:ip/filter/INPUT")


# --- maps: rows 28, 29, 42 ---


@kind
def sockmap(lab: Lab) -> Iterator[Attached]:
    """28"""
    for type in (15, 18):
        fd = lab.fd(create_map(type, 4, 4, 4, name="bl_sockmap"))
        for prog_type, hook, word in (
            ("sk_skb", "sk_skb_stream_parser", "skb_stream_parser"), ("sk_skb", "sk_skb_stream_verdict", "skb_stream_verdict"),
            ("sk_msg", "sk_msg_verdict", "msg_verdict"),
        ):  # fmt: skip
            prog, id = lab.load(prog_type, hook, "r0 = 1\nexit")
            lab.prog_attach(fd, prog, hook)
            yield Attached(f"sockmap/{word}", f"map:{map_id(fd)}", None, prog_id=id)


@kind
def sockmap_link(lab: Lab) -> Iterator[Attached]:
    """28: by a link (Linux 6.10)"""
    fd = lab.fd(create_map(15, 4, 4, 4, name="bl_sockmap"))
    prog, id = lab.load("sk_skb", "sk_skb_verdict", "r0 = 1\nexit")
    lab.link(prog, fd, "sk_skb_verdict")
    yield Attached("sockmap/skb_verdict", f"map:{map_id(fd)}", None, prog_id=id, holder=os.getpid())


@kind
def struct_ops(lab: Lab) -> Iterator[Attached]:
    """29: a TCP congestion control"""
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import vmlinux
    from bpflens.kernel.programs.load import load_btf

    btf = vmlinux()
    ops, value = btf.find("tcp_congestion_ops", Kind.STRUCT), btf.find("bpf_struct_ops_tcp_congestion_ops", Kind.STRUCT)
    if not ops or not value:
        raise Lacking("struct_ops for congestion control")
    members = [member.name for member in btf.members(ops)]
    size = btf.type(value).size
    data = next(member for member in btf.members(value) if member.name == "data").bit_off // 8
    image = bytearray(size)
    ids = {}
    for name in ("ssthresh", "undo_cwnd", "cong_avoid"):
        prog, ids[name] = lab_struct_ops(lab, ops, members.index(name))
        struct.pack_into("<Q", image, data + member_offset(btf, "tcp_congestion_ops", name), prog)
    struct.pack_into("16s", image, data + member_offset(btf, "tcp_congestion_ops", "name"), f"bl{os.getpid()}".encode())
    types, strings = struct.pack("<IIII", 1, 1 << 24, 4, 32), b"\0int\0"  # the map wants some BTF of its maker's: one int
    blob = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
    btf_fd = lab.fd(load_btf(blob))
    fd = lab.fd(create_map(26, 4, size, 1, name="bl_cc", btf_fd=btf_fd, vmlinux_value_type_id=value))
    update(fd, bytes(4), bytes(image))

    def unregister() -> None:
        from bpflens.kernel.maps.map_data import delete

        delete(fd, bytes(4))

    lab.undo.callback(unregister)
    for name, id in ids.items():
        yield Attached("struct_ops", f"map:{map_id(fd)} tcp_congestion_ops.{name}", None, prog_id=id)


def lab_struct_ops(lab: Lab, ops: int, member: int) -> tuple[int, int]:
    from bpflens.errors import KernelError
    from bpflens.kernel.programs.load import load_program

    try:
        fd = lab.fd(load_program(assemble("r0 = 2\nexit", "llvm"), 27, attach_btf_id=ops, expected_attach_type=member, name="bl_ops"))
    except KernelError as error:
        raise Lacking(f"struct_ops programs: {error.reason}") from None
    return fd, prog_info_by_fd(fd).id


@kind
def prog_array(lab: Lab) -> Iterator[Attached]:
    """42: the map holds the program alone"""
    fd = lab.fd(create_map(3, 4, 4, 8, name="bl_jumps"))
    prog, id = lab.load("sched_cls")
    update(fd, struct.pack("<I", 5), struct.pack("<i", prog))
    os.close(prog)
    yield Attached("prog_array", f"map:{map_id(fd)}[5]", None, prog_id=id)


# --- tracing: rows 30-36 ---


@kind
def tracing(lab: Lab) -> Iterator[Attached]:
    """30: fentry, fexit, fmod_ret"""
    for attach, function, word in (("trace_fentry", "vfs_mkdir", "fentry"), ("trace_fexit", "vfs_rmdir", "fexit"),
                                   ("modify_return", "security_path_rename", "modify_return")):  # fmt: skip
        if word == "modify_return" and not _has_function(function):
            function = "bpf_modify_return_test"
        prog, id = lab.load("tracing", attach, "r0 = 0\nexit", attach_btf_id=btf_function(function))
        lab.link(prog, 0, attach)
        yield Attached(f"tracing/{word}", function, None, prog_id=id, holder=os.getpid())


def _has_function(name: str) -> bool:
    try:
        return bool(btf_function(name))
    except Lacking:
        return False


@kind
def lsm(lab: Lab) -> Iterator[Attached]:
    """30"""
    prog, id = lab.load("lsm", "lsm_mac", "r0 = 0\nexit", attach_btf_id=btf_function("bpf_lsm_path_mkdir"))
    lab.link(prog, 0, "lsm_mac")
    yield Attached("tracing/lsm_mac", "bpf_lsm_path_mkdir", None, prog_id=id, holder=os.getpid())


@kind
def raw_tracepoint(lab: Lab) -> Iterator[Attached]:
    """31"""
    prog, id = lab.load("raw_tracepoint", text="r0 = 0\nexit")
    name = Buffer(b"sched_process_exit\0")
    lab.fd(bpf(cmd.RAW_TRACEPOINT_OPEN, struct.pack("<QII", name.address, prog, 0))[0])
    yield Attached("raw_tracepoint", "sched_process_exit", None, prog_id=id, holder=os.getpid())


@kind
def tp_btf(lab: Lab) -> Iterator[Attached]:
    """31"""
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import vmlinux

    type_id = vmlinux().find("btf_trace_sched_process_fork", Kind.TYPEDEF)
    if type_id is None:
        raise Lacking("typed tracepoints")
    prog, id = lab.load("tracing", "trace_raw_tp", "r0 = 0\nexit", attach_btf_id=type_id)
    lab.fd(bpf(cmd.RAW_TRACEPOINT_OPEN, struct.pack("<QII", 0, prog, 0))[0])
    yield Attached("tp_btf", "sched_process_fork", None, prog_id=id, holder=os.getpid())


def perf_event(lab: Lab, type: int, config: int, extra: bytes = b"", size: int = 112) -> int:
    attr = Buffer((struct.pack("<IIQQQQ", type, size, config, 1000, 0, 0) + bytes(16) + extra).ljust(size, b"\0"))
    fd = syscalls.libc.syscall(298, ctypes.c_void_p(attr.address), -1, 0, -1, 8)
    if fd < 0:
        raise Lacking(f"perf event type {type}: {os.strerror(ctypes.get_errno())}")
    return lab.fd(fd)


def tracepoint_id(lab: Lab, name: str) -> int:
    for base in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        try:
            with open(f"{base}/events/{name}/id") as stream:
                return int(stream.read())
        except OSError:
            continue
    base = f"{lab.dir}/trace"
    os.makedirs(base)
    lab.run("mount", "-t", "tracefs", "t", base)
    try:
        with open(f"{base}/events/{name}/id") as stream:
            return int(stream.read())
    except OSError as error:
        raise Lacking(f"tracepoint {name}: {error.strerror}") from None
    finally:
        lab.run("umount", base)
        os.rmdir(base)


SET_BPF = 0x40042408


@kind
def tracepoint_ioctl(lab: Lab) -> Iterator[Attached]:
    """32"""
    event = perf_event(lab, 2, tracepoint_id(lab, "syscalls/sys_enter_nanosleep"))
    prog, id = lab.load("tracepoint", text="r0 = 0\nexit")
    ioctl(event, SET_BPF, prog)
    yield Attached("tracepoint", "sys_enter_nanosleep", None, prog_id=id, holder=os.getpid())


def pmu(name: str) -> int:
    try:
        with open(f"/sys/bus/event_source/devices/{name}/type") as stream:
            return int(stream.read())
    except OSError:
        raise Lacking(f"perf {name}") from None


@kind
def probes_ioctl(lab: Lab) -> Iterator[Attached]:
    """32"""
    type = pmu("uprobe")
    path = os.path.realpath("/bin/true")
    text = Buffer(path.encode() + b"\0")
    lab.keep.append(text)
    event = perf_event(lab, type, 0, struct.pack("<QQ", text.address, 0x1000))
    prog, id = lab.load("kprobe", text="r0 = 0\nexit")
    ioctl(event, SET_BPF, prog)
    yield Attached("uprobe", f"{path}+0x1000", None, prog_id=id, holder=os.getpid())


@kind
def kprobe_ioctl(lab: Lab) -> Iterator[Attached]:
    """32"""
    name = Buffer(b"do_nanosleep\0")
    lab.keep.append(name)
    event = perf_event(lab, pmu("kprobe"), 0, struct.pack("<QQ", name.address, 0))
    prog, id = lab.load("kprobe", text="r0 = 0\nexit")
    ioctl(event, SET_BPF, prog)
    yield Attached("kprobe", "do_nanosleep", None, prog_id=id, holder=os.getpid())


@kind
def software_event_ioctl(lab: Lab) -> Iterator[Attached]:
    """33"""
    event = perf_event(lab, 1, 0)
    prog, id = lab.load("perf_event", text="r0 = 0\nexit")
    ioctl(event, SET_BPF, prog)
    yield Attached("perf_event", "cpu-clock", None, prog_id=id, holder=os.getpid(), deep=True)


@kind
def perf_link(lab: Lab) -> Iterator[Attached]:
    """34"""
    event = perf_event(lab, 2, tracepoint_id(lab, "syscalls/sys_exit_nanosleep"))
    prog, id = lab.load("tracepoint", text="r0 = 0\nexit")
    lab.link(prog, event, "perf_event")
    yield Attached("tracepoint", "sys_exit_nanosleep", None, prog_id=id, holder=os.getpid())


@kind
def uprobe_multi(lab: Lab) -> Iterator[Attached]:
    """35"""
    prog, id = lab.load("kprobe", "trace_uprobe_multi", "r0 = 0\nexit")
    path = os.path.realpath("/bin/true")
    text, offsets = Buffer(path.encode() + b"\0"), Buffer(struct.pack("<QQ", 0x1000, 0x1010))
    lab.link(prog, 0, "trace_uprobe_multi", extra=struct.pack("<QQQQIIII", text.address, offsets.address, 0, 0, 2, 0, 0, 0))
    yield Attached("uprobe_multi", f"{path} (2 places)", None, prog_id=id, holder=os.getpid())


@kind
def kprobe_multi(lab: Lab) -> Iterator[Attached]:
    """35"""
    prog, id = lab.load("kprobe", "trace_kprobe_multi", "r0 = 0\nexit")
    names = [Buffer(b"vfs_mkdir\0"), Buffer(b"vfs_rmdir\0")]
    table = Buffer(struct.pack("<QQ", *(name.address for name in names)))
    lab.link(prog, 0, "trace_kprobe_multi", extra=struct.pack("<IIQQQ", 0, 2, table.address, 0, 0))
    yield Attached("kprobe_multi", "2 functions", None, prog_id=id, holder=os.getpid())


@kind
def iterator(lab: Lab) -> Iterator[Attached]:
    """36: a pinned link that nobody holds"""
    prog, id = lab.load("tracing", "trace_iter", "r0 = 0\nexit", attach_btf_id=btf_function("bpf_iter_task"))
    link = lab.link(prog, 0, "trace_iter")
    lab.pin(link, "iterator")
    os.close(link)
    yield Attached("iter", "task", None, prog_id=id)


# --- 38-44 ---


@kind
def kcm(lab: Lab) -> Iterator[Attached]:
    """38"""
    control = lab.socket(41, 2, 0)
    server = sockets.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    client = sockets.create_connection(server.getsockname())
    for sock in (server, client):
        lab.undo.callback(sock.close)
    prog, id = lab.load("socket_filter")
    ioctl(control, 0x89E0, struct.pack("<ii", client.fileno(), prog))  # SIOCKCMATTACH
    yield Attached("kcm", f"sock:{inode(client.fileno())}", os.fstat(lab.own).st_ino, prog_id=id, deep=True)


@kind
def team(lab: Lab) -> Iterator[Attached]:
    """39"""
    from bpflens.kernel.sys.netlink import GENERIC, Netlink, attribute, attributes

    with lab.inside("a"):
        lab.run("ip", "link", "add", "tm0", "type", "team")
        index = ifindex("tm0")
        code = lab.classic()
        with Netlink(GENERIC) as generic:
            family = next(
                int.from_bytes(attributes(body, 4)[1], "little")
                for _, body in generic.dump(16, struct.pack("<BBH", 3, 1, 0))
                if attributes(body, 4).get(2) == b"team\0"
            )

            def option(name: bytes, type: int, data: bytes) -> None:
                item = attribute(1, attribute(1, name + b"\0") + attribute(3, bytes([type])) + attribute(4, data))
                request = struct.pack("<BBH", 1, 1, 0) + attribute(1, struct.pack("<I", index)) + attribute(2, item)
                try:
                    generic.command(family, request)
                except ProcessLookupError:
                    pass  # the answer when nobody listens to the notification

            option(b"mode", 5, b"loadbalance\0")
            option(b"bpf_hash_func", 11, code)
        yield Attached("team/hash", "dev:tm0", lab.spaces["a"], classic=code)


@kind
def ppp(lab: Lab) -> Iterator[Attached]:
    """40"""
    try:
        fd = lab.fd(os.open("/dev/ppp", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise Lacking(f"/dev/ppp: {error.strerror}") from None
    ioctl(fd, 0xC004743E, struct.pack("<i", -1))  # PPPIOCNEWUNIT
    for word, request in (("pass", 0x40107447), ("active", 0x40107446)):
        ioctl(fd, request, lab.fprog(lab.classic()))
        yield Attached(f"ppp/{word}", "dev:ppp0", os.fstat(lab.own).st_ino, holder=os.getpid(), image=True)


@kind
def held_by_fd(lab: Lab) -> Iterator[Attached]:
    """41, 44"""
    fd, id = lab.load("socket_filter")
    yield Attached("fd", f"fd:{os.getpid()}/{fd}", None, prog_id=id, holder=os.getpid())
    fd, id = lab.load("syscall", text="r0 = 0\nexit", flags=1 << 4)
    yield Attached("fd", f"fd:{os.getpid()}/{fd}", None, prog_id=id, holder=os.getpid())


@kind
def pinned(lab: Lab) -> Iterator[Attached]:
    """43: here, and in another mount namespace"""
    fd, id = lab.load("socket_filter")
    path = lab.pin(fd, "alone")
    os.close(fd)
    yield Attached("pin", f"pin:{path}", None, prog_id=id)
    fd, id = lab.load("socket_filter")

    def body() -> None:
        syscalls.unshare(0x00020000)
        directory = "/mnt"
        for argv in (("mount", "--make-rprivate", "/"), ("mount", "-t", "bpf", "bpf", directory)):
            if os.spawnvp(os.P_WAIT, argv[0], argv):
                raise OSError("mount")
        text = Buffer(b"/mnt/hidden\0")
        bpf(cmd.OBJ_PIN, struct.pack("<QII", text.address, fd, 0))
        os.close(fd)

    pid = lab.child(body)
    os.close(fd)
    yield Attached("pin", f"pin:/proc/{pid}/root/mnt/hidden", None, prog_id=id)


__all__ = ("ATTACH", "KINDS")

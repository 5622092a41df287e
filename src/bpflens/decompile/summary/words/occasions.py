"""When a program of each type runs, in an administrator's words."""

from __future__ import annotations

from bpflens.isa.extended.uapi import ProgType

__all__ = ("occasion",)

_BY_TYPE = {
    ProgType.SOCKET_FILTER: "for every packet that its socket receives",
    ProgType.KPROBE: "whenever the probed function of the kernel or of a program is reached",
    ProgType.SCHED_CLS: "for every packet that passes the interface's queue (tc)",
    ProgType.SCHED_ACT: "for every packet that a tc action is applied to",
    ProgType.TRACEPOINT: "at a tracepoint of the kernel",
    ProgType.XDP: "for every packet that the interface receives, before the network stack",
    ProgType.PERF_EVENT: "when a performance counter or timer fires",
    ProgType.CGROUP_SKB: "for every packet of the cgroup's sockets",
    ProgType.CGROUP_SOCK: "when a process of the cgroup makes, binds or closes a socket",
    ProgType.LWT_IN: "for every packet that a route delivers to this machine",
    ProgType.LWT_OUT: "for every packet that a route sends out",
    ProgType.LWT_XMIT: "for every packet that a route hands to an interface",
    ProgType.SOCK_OPS: "at events of TCP connections in the cgroup",
    ProgType.SK_SKB: "for data that a socket of its map receives",
    ProgType.CGROUP_DEVICE: "when a process of the cgroup opens or makes a device file",
    ProgType.SK_MSG: "for data that a process sends through a socket of its map",
    ProgType.RAW_TRACEPOINT: "at a tracepoint of the kernel",
    ProgType.CGROUP_SOCK_ADDR: "when a process of the cgroup connects, binds or sends",
    ProgType.LWT_SEG6LOCAL: "for every packet that a segment routing route handles",
    ProgType.LIRC_MODE2: "for every signal of an infrared receiver",
    ProgType.SK_REUSEPORT: "when a socket of a group that shares a port is chosen",
    ProgType.FLOW_DISSECTOR: "when the kernel takes a packet's headers apart",
    ProgType.CGROUP_SYSCTL: "when a process of the cgroup reads or writes a sysctl",
    ProgType.RAW_TRACEPOINT_WRITABLE: "at a tracepoint of the kernel",
    ProgType.CGROUP_SOCKOPT: "when a process of the cgroup gets or sets a socket option",
    ProgType.TRACING: "at the entry or exit of a function of the kernel",
    ProgType.STRUCT_OPS: "when the kernel calls an operation that the program replaces",
    ProgType.EXT: "in place of a function of another program",
    ProgType.LSM: "at a security check of the kernel",
    ProgType.SK_LOOKUP: "when the kernel looks for the socket of an incoming packet",
    ProgType.SYSCALL: "when a process runs it by bpf(2)",
    ProgType.NETFILTER: "for every packet at a netfilter hook",
}


_BY_SECTION = (  # section -> words, {0} for what follows the slash
    ("kprobe", "whenever {0} of the kernel begins"), ("kretprobe", "whenever {0} of the kernel ends"),
    ("kprobe.multi", "whenever one of the kernel's functions {0} begins"),
    ("kretprobe.multi", "whenever one of the kernel's functions {0} ends"),
    ("uprobe", "whenever {0} of a program begins"), ("uretprobe", "whenever {0} of a program ends"),
    ("ksyscall", "whenever a process makes the system call {0}"), ("kretsyscall", "whenever the system call {0} returns"),
    ("fentry", "whenever {0} of the kernel begins"), ("fexit", "whenever {0} of the kernel ends"),
    ("fmod_ret", "before {0} of the kernel"), ("lsm", "at the security check {0}"),
    ("lsm_cgroup", "at the security check {0}, for a cgroup"),
    ("tp_btf", "at the kernel's tracepoint {0}"), ("raw_tp", "at the kernel's tracepoint {0}"),
    ("raw_tracepoint", "at the kernel's tracepoint {0}"), ("iter", "when a process reads the iterator over {0}"),
    ("struct_ops", "when the kernel calls the operation {0} that the program replaces"),
)  # fmt: skip
_CGROUP_HOOKS = {
    "bind4": "binds a socket to an IPv4 address", "bind6": "binds a socket to an IPv6 address", "connect4": "connects to an IPv4 address",
    "connect6": "connects to an IPv6 address", "sendmsg4": "sends to an IPv4 address", "sendmsg6": "sends to an IPv6 address",
    "recvmsg4": "receives from an IPv4 address", "recvmsg6": "receives from an IPv6 address", "sock_create": "makes a socket",
    "sock_release": "closes a socket", "post_bind4": "has bound a socket to an IPv4 address",
    "post_bind6": "has bound a socket to an IPv6 address", "getsockopt": "gets a socket option", "setsockopt": "sets a socket option",
    "getpeername4": "asks for a peer's IPv4 address", "getsockname4": "asks for a socket's IPv4 address",
    "getpeername6": "asks for a peer's IPv6 address", "getsockname6": "asks for a socket's IPv6 address",
    "sysctl": "reads or writes a sysctl",
    "dev": "opens or makes a device file", "connect_unix": "connects to a Unix socket", "sendmsg_unix": "sends to a Unix socket",
}  # fmt: skip


def occasion(prog_type: int, section: str = "") -> str:
    """ "for every packet that ...", "" where the type is not known. `section` says more, where an object names what it is for."""
    kind, slash, what = section.lstrip("?").partition("/")
    kind = kind.removesuffix(".s")
    if slash and kind == "cgroup" and what in _CGROUP_HOOKS:
        return f"when a process of the cgroup {_CGROUP_HOOKS[what]}"
    if slash and kind == "cgroup_skb" and what in ("ingress", "egress"):
        return f"for every packet that sockets of the cgroup {'receive' if what == 'ingress' else 'send'}"
    if slash and kind in ("tracepoint", "tp"):
        group, _, event = what.partition("/")
        if group == "syscalls" and event.startswith(("sys_enter_", "sys_exit_")):
            verb, call = ("makes", event.removeprefix("sys_enter_")) if event.startswith("sys_enter_") else (
                "is back from", event.removeprefix("sys_exit_"))  # fmt: skip
            return f"when a process {verb} the system call {call}"
        return f"at the kernel's tracepoint {what.replace('/', ':')}"
    for name, words in _BY_SECTION:
        if slash and kind == name:
            return words.format(what.split(":")[-1] if kind.startswith("u") else what)
    return _BY_TYPE.get(prog_type, "")

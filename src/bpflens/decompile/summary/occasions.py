"""When a program of each type runs, in an administrator's words."""

from __future__ import annotations

__all__ = ("occasion",)

_BY_TYPE = {
    1: "for every packet that its socket receives",
    2: "whenever the probed function of the kernel or of a program is reached",
    3: "for every packet that passes the interface's queue (tc)",
    4: "for every packet that a tc action is applied to",
    5: "at a tracepoint of the kernel",
    6: "for every packet that the interface receives, before the network stack",
    7: "when a performance counter or timer fires",
    8: "for every packet of the cgroup's sockets",
    9: "when a process of the cgroup makes, binds or closes a socket",
    10: "for every packet that a route delivers to this machine",
    11: "for every packet that a route sends out",
    12: "for every packet that a route hands to an interface",
    13: "at events of TCP connections in the cgroup",
    14: "for data that a socket of its map receives",
    15: "when a process of the cgroup opens or makes a device file",
    16: "for data that a process sends through a socket of its map",
    17: "at a tracepoint of the kernel",
    18: "when a process of the cgroup connects, binds or sends",
    19: "for every packet that a segment routing route handles",
    20: "for every signal of an infrared receiver",
    21: "when a socket of a group that shares a port is chosen",
    22: "when the kernel takes a packet's headers apart",
    23: "when a process of the cgroup reads or writes a sysctl",
    24: "at a tracepoint of the kernel",
    25: "when a process of the cgroup gets or sets a socket option",
    26: "at the entry or exit of a function of the kernel",
    27: "when the kernel calls an operation that the program replaces",
    28: "in place of a function of another program",
    29: "at a security check of the kernel",
    30: "when the kernel looks for the socket of an incoming packet",
    31: "when a process runs it by bpf(2)",
    32: "for every packet at a netfilter hook",
}


def occasion(prog_type: int) -> str:
    """ "for every packet that ...", "" where the type is not known."""
    return _BY_TYPE.get(prog_type, "")

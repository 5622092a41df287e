"""What the return value of a classic program means, which its hook decides: a length, a verdict, a class, an index, a match.

    hook_of(program)                              ──►  the row of the table, from the source that the program was read from
    hook_of(program).meaning(2)                   ──►  "TC_ACT_SHOT (dropped)"

One table for everything that speaks of return values. Values with the same meaning are one outcome: `outcome(value)` gives a number that
stands for them, so that two programs of one hook do the same exactly where their outcomes are equal.

Sources (Linux 6.18): sk_filter_trim_cap() of net/core/filter.c (sockets, tap devices); cls_bpf_classify() and cls_bpf_exec_opcode() of
net/sched/cls_bpf.c; tcf_bpf_act() of net/sched/act_bpf.c; bpf_mt() of net/netfilter/xt_bpf.c; fanout_demux_bpf() of net/packet/af_packet.c;
reuseport_select_sock() of net/core/sock_reuseport.c; bpf_hash_func() of drivers/net/team/team_mode_loadbalance.c; ppp_send_frame() and
ppp_receive_nonmp_frame() of drivers/net/ppp/ppp_generic.c.
"""

from __future__ import annotations

from collections.abc import Callable

from bpflens.lean import Literal, NamedTuple
from bpflens.program import Program

__all__ = ("LENGTH", "VERDICT_HOOKS", "Hook", "hook_of", "tells_hook")

Kind = Literal["length", "match", "verdict", "number"]

_MINUS_ONE = 0xFFFFFFFF


class Hook(NamedTuple):
    """`kind`: "length" (0: dropped, else so many bytes are kept), "match" (0 or not), "verdict" (each value has a meaning of its own, and
    0 need not be a refusal), "number" (the value itself is used: `what`). `outcome` and `meaning` hold for verdicts. `verdicts`: the values
    with a meaning of their own, `others` stands for all the rest (None: every value is one of its own)."""

    name: str
    kind: Kind
    what: str = ""
    words: Callable[[int], str] = str
    verdicts: tuple[int, ...] = ()
    others: int | None = None

    def outcome(self, value: int) -> int:
        """A number that stands for a value: the same for values with one meaning."""
        return value if self.others is None or value in self.verdicts else self.others

    def meaning(self, value: int) -> str:
        """A return value in words."""
        if self.kind == "length":
            return "dropped" if value == 0 else f"at most {value} bytes are kept"
        if self.kind == "match":
            return self.what if value else f"not {self.what}" if self.what == "matched" else "dropped"
        if self.kind == "number":
            return f"{self.what} {value}"
        return self.words(self.outcome(value))


_TC_ACTIONS = {
    0: "TC_ACT_OK (passed)", 1: "TC_ACT_RECLASSIFY (classified again)", 2: "TC_ACT_SHOT (dropped)", 3: "TC_ACT_PIPE (the next action)",
    4: "TC_ACT_STOLEN (consumed)", 7: "TC_ACT_REDIRECT (redirected)", 8: "TC_ACT_TRAP (consumed, or given to the CPU)",
    _MINUS_ONE: "TC_ACT_UNSPEC",
}  # fmt: skip
_CLS_KNOWN = (0, 2, 4, 7, 8)  # cls_bpf_exec_opcode(); every other value is TC_ACT_UNSPEC
_ACT_KNOWN = (0, 1, 2, 3, 7, _MINUS_ONE)  # tcf_bpf_act()
_ACT_UNKNOWN = 4  # stands for every other value: the action's result is TC_ACT_UNSPEC then, not what it is configured with


def _direct_action(value: int) -> str:
    return "no verdict (the next filter decides)" if value == _MINUS_ONE else _TC_ACTIONS[value]


def _action(value: int) -> str:
    if value == _ACT_UNKNOWN:
        return "TC_ACT_UNSPEC (the next filter decides)"
    return "the verdict that the action is configured with" if value == _MINUS_ONE else _TC_ACTIONS[value]


def _tc_class(value: int) -> str:
    if value == 0:
        return "no match (the next filter decides)"
    return "the class of the filter (flowid)" if value == _MINUS_ONE else f"class {value >> 16:x}:{value & 0xFFFF:x}"


LENGTH = Hook("socket", "length")
_DIRECT = Hook("tc direct-action", "verdict", words=_direct_action, verdicts=_CLS_KNOWN, others=_MINUS_ONE)
_CLASS = Hook("tc", "verdict", words=_tc_class)
_ACTION = Hook("tc action", "verdict", words=_action, verdicts=_ACT_KNOWN, others=_ACT_UNKNOWN)
_HOOKS = {
    "bytecode": Hook("iptables or tc", "match", "matched"),  # written as both take it: the text does not tell for which
    "iptables": Hook("xt_bpf", "match", "matched"),
    "xt_bpf": Hook("xt_bpf", "match", "matched"),
    "fanout": Hook("fanout", "number", "socket of the fanout group, modulo their number:"),
    "reuseport": Hook("reuseport", "number", "socket of the group, by the usual hash where there is none of that number:"),
    "team/hash": Hook("team", "number", "hash of the port, of which the low 8 bits count:"),
    "ppp": Hook("ppp", "match", "passed"),
}
VERDICT_HOOKS = frozenset(hook.name for hook in (_DIRECT, _CLASS, _ACTION))
"""Names of the hooks at which every value has a meaning of its own."""


def hook_of(program: Program) -> Hook:
    """The hook that a program's source tells of; a socket's where it tells of none. Seccomp filters have actions instead."""
    source, row = program.origin.source, program.origin.row
    if source == "tc" or source.startswith("tc/"):
        if source == "tc/action" or row.get("kind") == "action":
            return _ACTION
        details = program.attachments[0].details if program.attachments else {}
        return _DIRECT if "direct-action" in row or details.get("direct_action") else _CLASS
    return _HOOKS.get(source, LENGTH)


def tells_hook(program: Program) -> bool:
    """Whether the source says where the program hangs; a program as numbers or as an expression may hang anywhere."""
    source = program.origin.source
    return source != "bytecode" and (hook_of(program) != LENGTH or source.partition("/")[0] in ("ss", "socket", "tun"))

"""What numbers in arguments of helpers are called (include/uapi/linux/bpf.h): flags by bits, choices by value.

bpf_map_update_elem(&m, &k, &v, 1)              ──►   bpf_map_update_elem(&m, &k, &v, BPF_NOEXIST)
bpf_perf_event_output(ctx, &m, 0xffffffff, …)   ──►   bpf_perf_event_output(ctx, &m, BPF_F_CURRENT_CPU, …)
"""

from __future__ import annotations

__all__ = ("CONSTANTS", "argument_name")

_UPDATE = {0: "BPF_ANY", 1: "BPF_NOEXIST", 2: "BPF_EXIST"}
_CPU = {0xFFFFFFFF: "BPF_F_CURRENT_CPU"}
_NETNS = {(1 << 64) - 1: "BPF_F_CURRENT_NETNS", 0xFFFFFFFF: "BPF_F_CURRENT_NETNS"}
_CREATE = {1: "BPF_LOCAL_STORAGE_GET_F_CREATE"}
_INGRESS = {1: "BPF_F_INGRESS"}
_WAKEUP = {1: "BPF_RB_NO_WAKEUP", 2: "BPF_RB_FORCE_WAKEUP"}
_STACK = {1 << 8: "BPF_F_USER_STACK", 1 << 9: "BPF_F_FAST_STACK_CMP", 1 << 10: "BPF_F_REUSE_STACKID"}

# (helper, argument from 0) -> what a whole number is called
_CHOICES: dict[tuple[int, int], dict[int, str]] = {
    (2, 3): _UPDATE, (87, 2): {0: "BPF_ANY", 2: "BPF_EXIST"},
    (25, 2): _CPU, (111, 2): _CPU, (121, 2): _CPU, (22, 1): _CPU, (55, 1): _CPU,
    (84, 3): _NETNS, (85, 3): _NETNS, (99, 3): _NETNS,
    (107, 3): _CREATE, (145, 3): _CREATE, (156, 3): _CREATE, (210, 3): _CREATE,
    (13, 2): _INGRESS, (23, 1): _INGRESS,
    (130, 3): _WAKEUP, (132, 1): _WAKEUP, (133, 1): _WAKEUP,
    (50, 2): {0: "BPF_ADJ_ROOM_NET", 1: "BPF_ADJ_ROOM_MAC"},
    (169, 2): {0: "CLOCK_REALTIME", 1: "CLOCK_MONOTONIC", 7: "CLOCK_BOOTTIME"},
}  # fmt: skip
# (helper, argument from 0) -> what single bits are called, and the bits that are a number beside them
_BITS: dict[tuple[int, int], tuple[dict[int, str], int]] = {
    (27, 2): (_STACK, 0xFF), (67, 3): ({1 << 8: "BPF_F_USER_STACK", 1 << 11: "BPF_F_USER_BUILD_ID"}, 0xFF),
    (9, 4): ({1: "BPF_F_RECOMPUTE_CSUM", 2: "BPF_F_INVALIDATE_HASH"}, 0),
    (10, 4): ({}, 0xF),
    (11, 4): ({1 << 4: "BPF_F_PSEUDO_HDR", 1 << 5: "BPF_F_MARK_MANGLED_0", 1 << 6: "BPF_F_MARK_ENFORCE"}, 0xF),
    (69, 3): ({1: "BPF_FIB_LOOKUP_DIRECT", 2: "BPF_FIB_LOOKUP_OUTPUT"}, 0),
}  # fmt: skip

CONSTANTS: dict[str, int] = {name: value for table in _CHOICES.values() for value, name in table.items() if value < 1 << 32}
CONSTANTS |= {name: value for table, _ in _BITS.values() for value, name in table.items()}
CONSTANTS["BPF_F_CURRENT_NETNS"] = -1
"""Every name with its number."""


def argument_name(helper: int, index: int, value: int) -> str | None:
    """What an argument is called; None where it is just a number."""
    choice = _CHOICES.get((helper, index), {}).get(value)
    if choice is not None:
        return choice
    names, number = _BITS.get((helper, index), ({}, 0))
    if not value or value & ~(sum(names) | number):
        return None
    parts = [name for bit, name in names.items() if value & bit]
    if not parts:
        return None
    return " | ".join([*parts, str(value & number)] if value & number else parts)

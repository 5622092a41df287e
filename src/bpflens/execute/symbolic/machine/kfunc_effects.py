"""What kfuncs read and write on the stack, in the letters of helper_effects.py. A kfunc that is not here gets no stack address.

Sizes: struct bpf_iter_num is 8 bytes, struct bpf_dynptr 16 (include/uapi/linux/bpf.h). Linux 6.18.
"""

from __future__ import annotations

import re
from functools import cache

from bpflens.execute.symbolic.machine.helper_effects import Argument

__all__ = ("CONTEXT_ALIASES", "kfunc_arguments")

CONTEXT_ALIASES = ("bpf_cast_to_kern_ctx", "bpf_rdonly_cast")  # their results show what was stored in the context

_ARGUMENTS = {
    "bpf_iter_num_new": "D8uu",
    "bpf_iter_num_next": "B8",
    "bpf_iter_num_destroy": "B8",
    "bpf_dynptr_from_skb": "pnD16",
    "bpf_dynptr_from_xdp": "pnD16",
    "bpf_dynptr_adjust": "B16uu",
    "bpf_dynptr_is_null": "R16",
    "bpf_dynptr_is_rdonly": "R16",
    "bpf_dynptr_size": "R16",
    "bpf_dynptr_clone": "R16D16",
    "bpf_rcu_read_lock": "",
    "bpf_rcu_read_unlock": "",
    "bpf_preempt_disable": "",
    "bpf_preempt_enable": "",
}


@cache
def kfunc_arguments(name: str) -> tuple[Argument, ...] | None:
    """The arguments of a kfunc, None where it is not in the table."""
    text = _ARGUMENTS.get(name)
    if text is None:
        return None
    return tuple(Argument(kind, int(size or 0)) for kind, size in re.findall(r"([A-Za-z])(\d*)", text))

"""What of a classic filter makes one suspect an intruder: cheap to ask of every filter of a listing, with the budget or without."""

from __future__ import annotations

import itertools
import struct

__all__ = ("MAGIC", "is_suspicious", "suspicion_of")

MAGIC = (0x7255, 0x5293)
"""The values that BPFDoor waits for at the start of a payload (PwC 2022, Elastic Security Labs 2022)."""

_PAYLOAD_STARTS = (8, 22, 24, 28, 42)  # of UDP and ICMP behind X, with and without a link header, or at a fixed place
_LDH_ABS, _LDH_IND, _JEQ, _ADD_X = 0x28, 0x48, 0x15, 0x0C
_PERHAPS = "perhaps a magic-packet backdoor: it compares payload with a trigger value of BPFDoor"


def is_suspicious(name: str) -> bool:
    """Whether the name of a known filter is one that an administrator has to be warned of."""
    return "magic-packet" in name


def suspicion_of(code: bytes) -> str | None:
    """A suspicion that the instructions alone raise, before anything is known of their meaning; None for nearly every program.

    A trigger value is compared with two bytes that stand where payload begins: `ldh [x + 22]; jeq #0x7255`. The payload of TCP begins where
    a header's length was added. A port is at another place.
    """
    insns = list(struct.iter_unpack("=HBBI", code[: len(code) & ~7]))
    length_added = any(op == _ADD_X for op, _, _, _ in insns)
    for (load, _, _, at), (test, _, _, value) in itertools.pairwise(insns):
        if value in MAGIC and test == _JEQ and (
            (load in (_LDH_ABS, _LDH_IND) and at in _PAYLOAD_STARTS) or (load == _LDH_IND and length_added)
        ):  # fmt: skip
            return _PERHAPS
    return None

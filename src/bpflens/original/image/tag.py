"""The tag: the kernel's fingerprint of a program as it was loaded.

First 8 bytes of a hash over the instructions, after CO-RE in the kernel and before everything else, with the imm of both slots
of map references (ld_imm64 with src 1 or 2) zeroed; bpf_prog_calc_tag(), kernel/bpf/core.c. The hash is SHA-1 up to v6.17 and SHA-256 from
v6.18 on (Linux 603b44162325 ("bpf: Update the bpf_prog_calc_tag to use SHA256"), v6.18); which one made a tag is told by trying both.

`Tagger` hashes variants of one program: the state up to the first difference is kept, so that a late change costs little.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

from bpflens.digest import sha1, sha256
from bpflens.isa.extended.opcodes import LD_IMM64, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ("ALGORITHMS", "Tagger", "blanked", "tag", "tags")

_HASHES = {"sha256": sha256, "sha1": sha1}
ALGORITHMS = tuple(_HASHES)
_LOW = 0xFFFFFFFF
_MAP_REFERENCES = {(LD_IMM64 | src << 12) & 0xF0FF for src in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE)}


def blanked(words: Sequence[int]) -> array[int]:
    """The words as the tag covers them: without the imm of map references."""
    out = array("Q", words)
    opcodes = _bytes(out)[::8]
    at = opcodes.find(LD_IMM64)
    while at >= 0:
        if out[at] & 0xF0FF in _MAP_REFERENCES:
            out[at] &= _LOW
            if at + 1 < len(out) and not out[at + 1] & _LOW:
                out[at + 1] = 0
        at = opcodes.find(LD_IMM64, at + 2)
    return out


def tag(words: Sequence[int], algorithm: str) -> str:
    """The tag of a program as loaded, 16 hex digits."""
    return _HASHES[algorithm](_bytes(blanked(words))).hexdigest()[:16]


def tags(words: Sequence[int]) -> tuple[str, ...]:
    """The tag by each of ALGORITHMS."""
    data = _bytes(blanked(words))
    return tuple(make(data).hexdigest()[:16] for make in _HASHES.values())


class Tagger:
    """Tags of variants of a program that differ from it in a few words: hash states are kept at every `step_insns`."""

    def __init__(self, words: Sequence[int], algorithm: str, step_insns: int = 256) -> None:
        import hashlib  # its hashes are the fastest, and a search makes many

        self._words = blanked(words)
        self._step = step_insns
        self._states: list[_Hash] = [hashlib.new(algorithm)]
        for start in range(0, len(self._words) - step_insns, step_insns):
            state = self._states[-1].copy()
            state.update(_bytes(self._words[start : start + step_insns]))
            self._states.append(state)

    def insns_hashed(self, changes: dict[int, int]) -> int:
        """How many instructions `with_words` hashes for these changes."""
        return len(self._words) - min(min(changes) // self._step, len(self._states) - 1) * self._step

    def with_words(self, changes: dict[int, int]) -> str:
        """The tag with the words at some indexes replaced (words that are no map references)."""
        first = min(changes)
        index = min(first // self._step, len(self._states) - 1)
        state = self._states[index].copy()
        tail = self._words[index * self._step :]
        for at, word in changes.items():
            tail[at - index * self._step] = word
        state.update(_bytes(tail))
        return state.hexdigest()[:16]


def _bytes(words: array[int]) -> bytes:
    if sys.byteorder == "big":
        words = array("Q", words)
        words.byteswap()
    return words.tobytes()

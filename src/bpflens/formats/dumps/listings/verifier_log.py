"""The log of the verifier as records: what it walked, what it knew of the registers, and why it refused.

    5: (2d) if r3 > r2 goto pc+5          ; R2=pkt_end() R3=pkt(off=1,r=1)
    8: (71) r0 = *(u8 *)(r1 +0)
    invalid access to packet, off=0 size=1, R1(id=1,off=0,r=0)
    processed 9 insns (limit 1000000) ...

      ──►  Step(5, "if r3 > r2 goto pc+5", {"R2": "pkt_end()", ...}), ..., refusal ("invalid access to packet, off=0 ...",)

Logs of level 1 and 2, of kernels from 4.14 on (kernel/bpf/verifier.c: do_check, print_verifier_state; print_insn_state before 6.0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

__all__ = ("Step", "VerifierLog", "parse_log")

_STEP = re.compile(r"^(\d+): (?:[.0-9]{10,12} )?\(([0-9a-f]{2})\) ([^;\n]*?)[ \t]*(?:; (.*))?$")
_STATE = re.compile(r"^(?:(\d+): |from (\d+) to (\d+)(?: \(speculative execution\))?: |; )?((?:frame\d+: )?R\d+(?:_rw?|_w)?=.*)$")
_FROM = re.compile(r"^from (\d+) to (\d+)(?: \(speculative execution\))?:")
_REGISTER = re.compile(r"\b(R\d+|fp-\d+)(?:_\w+)?=((?:[^ (]|\((?:[^()]|\([^()]*\))*\))+)")
_SOURCE = re.compile(r"^; (.*?)(?: @ (\S+):(\d+))?$")
_NOISE = re.compile(
    r"^(?:processed \d+ insns|verification time|stack depth|mark_precise:|func#\d+|Live regs|last_idx|regs=|parent |propagating|"
    r"\(\d+\) |max_states|peak_states|from \d+ to \d+.*: safe|\d+: safe|-- |libbpf: |Error: |\[|Validating |caller:|callee:|returning from|"
    r"to caller|arg#\d+ reference type|verifier log|BPF program load|Verifier analysis|\(\d+ line\(s\) omitted\))"
)
_LIVE = re.compile(r"^ *\d+: [.0-9]{10,12} \(")
_PROCESSED = re.compile(r"^processed (\d+) insns?")


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction that was walked: `known` is what was told of registers after it; `source` the line of the program ("" where unknown).

    `jumped_from` is the branch from which the walk went on here, where it did not come from the instruction before.
    """

    slot: int
    text: str
    known: tuple[tuple[str, str], ...] = ()
    source: str = ""
    place: str = ""
    jumped_from: int | None = None


@dataclass(frozen=True, slots=True)
class VerifierLog:
    """One load. `refusal`: the lines that say why, () where the program was accepted or the log breaks off. `processed`: instructions."""

    steps: tuple[Step, ...]
    refusal: tuple[str, ...]
    processed: int | None = None

    @property
    def at(self) -> int | None:
        """The slot at which it was refused."""
        return self.steps[-1].slot if self.steps and self.refusal else None

    def path(self) -> tuple[Step, ...]:
        """The steps on the way to the last one, in order: what was walked on other branches is left out."""
        out: list[Step] = []
        at = len(self.steps) - 1
        while at >= 0:
            step = self.steps[at]
            out.append(step)
            before = at - 1
            if step.jumped_from is not None:
                before = next((n for n in range(at - 1, -1, -1) if self.steps[n].slot == step.jumped_from), -1)
            at = before
        return tuple(reversed(out))


def parse_log(text: str) -> VerifierLog:
    """The log in a text of any lines; no steps where there is none."""
    steps: list[Step] = []
    refusal: list[str] = []
    processed: int | None = None
    source = place = ""
    jumped: int | None = None
    for line in text.splitlines():
        line = line.rstrip()
        if _LIVE.match(line):
            continue
        if step := _STEP.match(line):
            known = tuple(_REGISTER.findall(step[4] or ""))
            steps.append(Step(int(step[1]), step[3].strip(), known, source, place, jumped))
            refusal, jumped = [], None
        elif came := _FROM.match(line):
            jumped, refusal = int(came[1]), []
        elif found := _PROCESSED.match(line):
            processed = int(found[1])
        elif (state := _STATE.match(line)) and steps:
            if not line.startswith("from"):
                steps[-1] = replace(steps[-1], known=(*steps[-1].known, *_REGISTER.findall(state[4])))
        elif (written := _SOURCE.match(line)) and line.startswith("; "):
            source, place = written[1].strip(), f"{written[2]}:{written[3]}" if written[2] else ""
        elif steps and line.strip() and not _NOISE.match(line) and processed is None:
            refusal.append(line.strip())
    return VerifierLog(tuple(steps), tuple(refusal), processed)

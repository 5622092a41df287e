"""Are two classic programs equal? Two keys for "yes", a packet on which both were run for "no", else "not decided" and why.

Two levels, because libpcap's own optimizer is only equal on the second (libpcap issue 430): "all-packets", and "untruncated", packets on
which every load of either program succeeds.

    1. decision diagrams: the same node                              one key; it is enough where both programs are plain (fragment.py)
    2. z3 over the formulas of the programs                          the other key
    3. z3 over the diagrams, where their variables depend on each other   the first key again, where 1 could not tell

A difference is only ever reported with a packet on which both programs were run by the interpreter and answered differently.
"""

from __future__ import annotations

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import FALSE, TRUE, TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, Loop, Machine, run_in
from bpflens.classic.proof import fragment
from bpflens.classic.proof.run_both import runner
from bpflens.classic.proof.verdict import Grade, Insns, Verdict, Witness
from bpflens.classic.proof.witness import Packet, packets_to
from bpflens.isa.classic.table import SKF_LL_OFF, SKF_NET_OFF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.classic.proof.z3_check import Question

__all__ = ("Grade", "Verdict", "Witness", "compare", "confirmed", "diagram_of", "runner")

_DEVICE = "every packet has a device"
_LINK = "every packet has a link header"
_RANDOM = "the random numbers are the same"
_AD_DEVICE, _AD_RANDOM = (0xFFFFF008, 0xFFFFF01C), 0xFFFFF038
_NODES = 1_500_000
_PADDED = 2048


def compare(
    a: Insns,
    b: Insns,
    machine: Machine = KERNEL,
    *,
    given: Insns | None = None,
    values: bool = False,
    timeout: float = 60.0,
) -> Verdict:
    """The strongest level on which two programs accept the same packets (with `values`: return the same).

    `given`: only packets that this program accepts count. `timeout` in seconds is a ceiling on each use of z3, which counts steps. Loop
    and InputError of either program are raised as they are.
    """
    return _Comparison(tuple(a), tuple(b), machine, given, values, timeout).verdict()


def confirmed(insns: Insns, store: Store, node: int, machine: Machine, given: Insns | None = None, timeout: float = 60.0) -> Verdict:
    """The grade of a TRUE/FALSE diagram that was found to say what a program accepts of the packets that are not cut short.

    That it does was shown by diagrams; the second key is that the program is plain, or z3.
    """
    question = _Comparison(insns, insns, machine, given, False, timeout)
    programs = [insns] if given is None else [insns, given]
    outside = next((reason for program in programs if (reason := fragment.outside(program)) is not None), None)
    if outside is None:
        return question.equal("untruncated", "diagrams")
    from bpflens.classic.proof import z3_check

    answer = z3_check.program_differs(question.question(False), store, node).found
    if answer == "unsat":
        return question.equal("untruncated", "diagrams and z3")
    return Verdict("none", "", None, f"by its decision diagram only: {outside}, and no second engine confirmed it: {answer}")


def diagram_of(insns: Insns, store: Store, node: int, machine: Machine, timeout: float = 60.0) -> str | None:
    """Why z3 does not confirm that a diagram has the program's return values; None where it does."""
    from bpflens.classic.proof import z3_check

    question = z3_check.Question(insns, insns, machine, None, True, True, timeout)
    answer = z3_check.program_differs(question, store, node).found
    return None if answer == "unsat" else f"no second engine confirmed it: {answer}"


class _Level:
    """One level of the comparison: the nodes of both programs where the assumption holds."""

    def __init__(self, grade: Grade, bounds: bool) -> None:
        self.grade, self.bounds = grade, bounds
        self.nodes: tuple[int, int] | None = None

    @property
    def same(self) -> bool:
        return self.nodes is not None and self.nodes[0] == self.nodes[1]


class _Comparison:
    def __init__(self, a: Insns, b: Insns, machine: Machine, given: Insns | None, values: bool, timeout: float) -> None:
        self.a, self.b, self.machine, self.given, self.values, self.timeout = a, b, machine, given, values, timeout
        self.store = Store(max_nodes=_NODES)
        self.run = runner(a, b, machine, given, values=values)
        self.reason = ""
        self.short: Witness | None = None

    def verdict(self) -> Verdict:
        """The commented list of what is tried, in order."""
        if tuple(map(tuple, self.a)) == tuple(map(tuple, self.b)):
            return self.equal("all-packets", "identical instructions")
        levels = [_Level("all-packets", True), _Level("untruncated", False)]
        for level in levels:
            level.nodes = self.diagrams(level)
            if level.nodes is None or level.same:
                break
        # The first key is there: look for the second.
        for level in levels:
            if level.same:
                if level.grade == "untruncated" and levels[0].nodes is not None:
                    self.short = self.search(*levels[0].nodes)
                found = self.second_key(level)
                if found is not None:
                    return found
        # The diagrams differ, or could not be built: a packet on a path where they do.
        for level in reversed(levels):
            if level.nodes is not None and not level.same:
                packet = self.search(*level.nodes)
                if packet is not None and (level.grade == "untruncated" or any(other.same for other in levels)):
                    return Verdict("none", "run", packet, assumptions=self.assumptions("none"))
                self.short = self.short or packet
        # z3 decides, on both of its models.
        for level in levels:
            if not level.same and not (level.bounds and self.short is not None):
                answer = self.by_z3(level)
                if answer is not None:
                    return answer
        reason = self.reason or "neither a proof nor a packet was found"
        if self.short is not None:
            reason = f"packets that are not cut short: not decided: {reason}"
        return Verdict("none", "run" if self.short else "", self.short, reason, self.assumptions("none"))

    def equal(self, grade: Grade, method: str) -> Verdict:
        return Verdict(grade, method, self.short if grade == "untruncated" else None, assumptions=self.assumptions(grade))

    def assumptions(self, grade: Grade) -> tuple[str, ...]:
        """What a grade takes for granted of the packets, beyond what it is given."""
        loads = {insn[3] for program in (self.a, self.b) for insn in program if insn[0] in (0x20, 0x28, 0x30)}
        found = []
        if grade == "untruncated" and self.machine.name == "kernel" and loads & set(_AD_DEVICE):
            found.append(_DEVICE)
        at_link = self.machine.network_offset is None and any(SKF_LL_OFF <= k < SKF_NET_OFF for k in loads)
        if grade == "untruncated" and self.machine.name == "kernel" and at_link:
            found.append(_LINK)
        if grade != "none" and _AD_RANDOM in loads:
            found.append(_RANDOM)
        return tuple(found)

    def diagrams(self, level: _Level) -> tuple[int, int] | None:
        """Both programs' nodes, or None where their diagrams grow too large."""
        store = self.store
        try:
            one, two = (run_in(store, p, self.machine, bounds=level.bounds, accept=not self.values) for p in (self.a, self.b))
            assumed = self.assumed(level.bounds)
            return store.ite(assumed, one, FALSE), store.ite(assumed, two, FALSE)
        except TooComplex as error:
            self.reason = str(error)
            return None

    def assumed(self, bounds: bool) -> int:
        """The packets that an assumption leaves: those that its program accepts, which one cut short in front of its tests is not."""
        try:
            return TRUE if self.given is None else run_in(self.store, self.given, self.machine, bounds=bounds, accept=True)
        except Loop:
            return TRUE

    def second_key(self, level: _Level) -> Verdict | None:
        """The diagrams are the same: the verdict, if the programs are plain or z3 agrees, or a packet that says no."""
        programs = [self.a, self.b, *([self.given] if self.given is not None else [])]
        if all(fragment.outside(program, self.machine.name == "seccomp") is None for program in programs):
            return self.equal(level.grade, "diagrams")
        from bpflens.classic.proof import z3_check

        answer = z3_check.programs_differ(self.question(level.bounds)).found
        if answer == "unsat":
            return self.equal(level.grade, "diagrams and z3")
        if answer == "sat":
            witness = self.packet(level.bounds)
            if witness is not None:
                return Verdict("none", "z3", witness, assumptions=self.assumptions("none"))
            answer = "z3 does not agree"
        self.reason = f"the decision diagrams are the same, but no second engine confirmed it: {answer}"
        return None

    def by_z3(self, level: _Level) -> Verdict | None:
        """z3 over the formulas, then over the diagrams; a packet where it finds one that running shows."""
        from bpflens.classic.proof import z3_check

        question = self.question(level.bounds)
        answer = z3_check.programs_differ(question).found
        if answer == "unsat":
            if level.nodes is None:
                self.reason = f"z3 finds no difference, but no second engine confirmed it: {self.reason}"
                return None
            second = z3_check.diagrams_differ(question, self.store, *level.nodes).found
            if second == "unsat":
                return self.equal(level.grade, "z3 and diagrams")
            self.reason = f"z3 finds no difference between the programs, but one between their diagrams ({second})"
            return None
        if answer == "sat":
            witness = self.packet(level.bounds)
            if witness is not None and level.bounds:
                self.short = witness
                return None
            if witness is not None:
                return Verdict("none", "z3", witness, assumptions=self.assumptions("none"))
            answer = "z3 found a difference that running the programs does not show"
        self.reason = self.reason or (f"the diagrams differ and {answer}" if answer == z3_check.NOT_INSTALLED else answer)
        return None

    def question(self, bounds: bool) -> Question:
        from bpflens.classic.proof import z3_check

        return z3_check.Question(self.a, self.b, self.machine, self.given, self.values, bounds, self.timeout)

    def packet(self, bounds: bool) -> Witness | None:
        """A packet of z3 that tells the programs apart when both are run."""
        from bpflens.classic.proof import z3_check

        for packet in z3_check.find_packets(self.question(bounds)):
            padded = Packet(packet.data + bytes(max(0, _PADDED - len(packet.data))), packet.aux)
            witness = self.run(packet) or (None if bounds else self.run(padded))
            if witness is not None:
                return witness
        return None

    def search(self, one: int, two: int) -> Witness | None:
        """A packet on a path of the diagrams' difference that the programs answer differently."""
        store = self.store
        network_offset = 14 if self.machine.network_offset is None else self.machine.network_offset
        for node in _differences(store, one, two):
            try:
                for packet in packets_to(store, node, 1, network_offset=network_offset):
                    padded = Packet(packet.data + bytes(max(0, _PADDED - len(packet.data))), packet.aux)
                    for candidate in (packet, padded):
                        witness = self.run(candidate)
                        if witness is not None:
                            return witness
            except RecursionError:
                continue
        return None


def _differences(store: Store, one: int, two: int) -> list[int]:
    """Where only the first accepts, where only the second does; else where they return different values."""
    accepts = [store.map_terminals(node, lambda value: int(value != 0)) for node in (one, two)]
    found = [store.diff(accepts[0], accepts[1]), store.diff(accepts[1], accepts[0])]
    if found == [FALSE, FALSE]:
        found = [_unequal(store, one, two)]
    return [node for node in found if node != FALSE]


def _unequal(store: Store, one: int, two: int) -> int:
    """Where two diagrams have different terminals."""
    result = FALSE
    for value in store.terminals(one):
        result = store.disj(result, store.diff(store.where(one, value), store.where(two, value)))
    return result

"""Explanations and differences as text."""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.classic.diagrams.linktypes import PAYLOADS
from bpflens.classic.hooks import LENGTH, VERDICT_HOOKS, Hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.classic.diff import Difference, Side
    from bpflens.classic.explain import Explanation, Proof
    from bpflens.classic.proof.equal import Witness

__all__ = ("difference_text", "explanation_text", "proof_line")

_SHOWN_BYTES = 256

_GRADES = {
    "all-packets": "proved equal for all packets",
    "untruncated": "proved equal for packets that are not cut short",
    "none": "not proved",
}


def proof_line(proof: Proof) -> str:
    """One line that says how far the expression is proved, by what, and under which assumptions."""
    if proof.linktype == "SECCOMP":
        return proof.reason
    where = [f"libpcap {proof.libpcap}", f"{proof.linktype} compiled as RAW" if proof.linktype in PAYLOADS else proof.linktype]
    where += [f"given {text}" for text in proof.given]
    where += [f"given that {text}" for text in proof.assumptions]
    line = _GRADES[proof.grade]
    if proof.grade == "none" and proof.reason:
        line = f"{line}: {proof.reason}"
    elif proof.grade == "untruncated" and proof.witness is not None:
        line += f"; differs for {_runt(proof.witness)}"
    if "z3" in proof.method:
        where.append(f"by {proof.method}")
    return f"{line} ({', '.join(where)})"


def _runt(witness: Witness) -> str:
    count = len(witness.packet)
    shown = witness.packet.hex() if count <= 32 else f"{witness.packet[:32].hex()}..."
    return f"a packet of {count} byte{'' if count == 1 else 's'} ({shown or 'empty'}): program {witness.a}, expression {witness.b}"


def explanation_text(e: Explanation, color: bool = False) -> Iterator[str]:
    """The lines of an explanation."""
    shown = e.expression if e.expression is not None else e.extended
    if shown is not None and not (e.hook in VERDICT_HOOKS and len(e.outcomes) == 1):
        mark = "   (not tcpdump's language)" if e.expression is None else ""
        yield (f"\x1b[1m{shown}\x1b[0m" if color else shown) + mark
    for sentence in e.words:
        yield f"    {sentence}"
    if e.known:
        yield f"    {_known(e.known)}."
    if e.accepts and not e.outcomes:
        yield f"    Of a matching packet it accepts {e.accepts}."
    for outcome in e.outcomes if e.hook not in VERDICT_HOOKS else ():  # verdicts stand in the words
        yield f"    returns {outcome.value}: {outcome.expression if outcome.expression is not None else '(no expression found)'}"
        for sentence in outcome.words:
            yield f"        {sentence}"
    for note in e.notes:
        yield f"    Note: {note}."
    if e.words and e.words[0] == f"Not explained: {e.proof.reason}.":
        return  # there is nothing that could be proved, and the reason stands there
    line = proof_line(e.proof)
    yield f"    {line[0].upper()}{line[1:]}."


def _known(name: str) -> str:
    if name.startswith(("perhaps", "taken")):
        return name[0].upper() + name[1:]
    return f"This is {name}" if name.startswith(("a ", "an ", "the ", "everything ")) else f"Known as: {name}"


def _packet_lines(witness: Witness, names: tuple[str, str], decoded: str, hook: Hook) -> Iterator[str]:
    shown = witness.packet.hex() or "(empty)"
    rest = witness.packet[_SHOWN_BYTES:]
    if rest:
        shown = f"{witness.packet[:_SHOWN_BYTES].hex()} and {len(rest)} more, {'all 0' if not any(rest) else 'see --json'}"
    size = len(witness.packet)
    yield f"    packet ({size} byte{'s' * (size != 1)}): {shown}"
    if decoded:
        yield f"        {decoded}"
    for name, value in witness.aux.items():
        yield f"        with {name} = {value}"
    told = [f"{value} ({hook.meaning(value)})" if hook.kind == "verdict" else str(value) for value in (witness.a, witness.b)]
    yield f"        {names[0]} returns {told[0]}, {names[1]} returns {told[1]}"


def difference_text(d: Difference, color: bool = False) -> Iterator[str]:
    """The lines of a difference."""
    where = [f"libpcap {d.libpcap}", d.linktype, *(f"given {text}" for text in d.given)]
    where += [f"given that {text}" for text in d.assumptions]
    where += [f"by {d.method}"] if "z3" in d.method else []
    tail = f" ({', '.join(where)})"
    bold = ("\x1b[1m", "\x1b[0m") if color else ("", "")
    if d.equal:
        level = "all packets" if d.grade == "all-packets" else "packets that are not cut short"
        yield f"{bold[0]}equal{bold[1]} for {level}{tail}"
        if d.witness is not None:
            yield "    They differ only on packets too short for what the filters read, such as"
            yield from _packet_lines(d.witness, d.names, d.decoded, d.hook)
        if d.note:
            yield f"    Note: {d.note}."
        return
    if d.witness is None:
        yield f"{bold[0]}not decided{bold[1]}: {d.reason}{tail}"
        return
    yield f"{bold[0]}different{bold[1]}{tail}"
    for side in d.sides:
        yield from _side(side, d.names)
    if not any(side.witness for side in d.sides):
        yield from _packet_lines(d.witness, d.names, d.decoded, d.hook)


def _side(side: Side, names: tuple[str, str]) -> Iterator[str]:
    yield f"{side.title}: {side.expression or '(no expression found)'}"
    for sentence in side.words:
        yield f"    {sentence}"
    if side.witness is None:
        yield "    No packet was found that shows it."
    else:
        yield from _packet_lines(side.witness, names, side.decoded, LENGTH)

"""What a plan consists of: steps, what is left out, and what the machine has to say to it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Conflict", "LeftOut", "Plan", "Step")


@dataclass(frozen=True, slots=True)
class Step:
    """`action`: "types", "map", "contents", "freeze", "program", "elements", "bind", "pin", "attach". `id`: of the saved object, or the
    index of the attachment. `path` for pins; `text` is the line of the plan.
    """

    action: str
    id: int
    text: str
    path: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that does not come back, or cannot be made: `object` "map 7 counters", `why`."""

    object: str
    why: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """What is at the path of a pin already, or at the place of an attachment ("xdp/generic at dev:eth0"): `there` "map 12", "" where that
    is not known. `helps`: the options that help.
    """

    path: str
    there: str
    helps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """`conflicts`: what is in the way of pins and is not to be replaced. `replaced`: what gives way (`replace`). `impossible`: what cannot
    be made on this machine. `unseen`: what this process may not look at. `needs`: capabilities that it lacks, and what for.
    """

    steps: tuple[Step, ...]
    left_out: tuple[LeftOut, ...]
    programs: tuple[int, ...]
    maps: tuple[int, ...]
    attachments: tuple[int, ...]
    reused: tuple[tuple[int, str], ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    replaced: tuple[Conflict, ...] = ()
    impossible: tuple[LeftOut, ...] = ()
    unseen: tuple[str, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether nothing is known that --apply would refuse."""
        return not self.conflicts and not self.impossible

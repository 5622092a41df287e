"""Hints that take a second look: why a typed expression matches nothing, and whether an id that no list has is that of a hidden program."""

from __future__ import annotations

from bpflens.errors import BpflensError, KernelError, NotFound
from bpflens.targets.numbers import as_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("hint_of",)

_SECONDS = 2.0


def hint_of(error: BpflensError, arguments: Sequence[str]) -> str | None:
    """The error's own hint, or what a second look gives. `arguments`: the command's, for its link type and for --no-deep."""
    if error.hint is not None:
        return error.hint
    kind, _, rest = error.object.partition(":")
    if isinstance(error, NotFound) and kind == "id" and (id := as_number(rest)) is not None and "--no-deep" not in arguments:
        return _of_hidden(id)
    if "rejects all packets" in str(error) and "pcap:" in str(error):
        return _of_expression(error, arguments)
    return None


def _of_hidden(id: int) -> str | None:
    from bpflens.inventory.hidden import hidden_image
    from bpflens.isa.extended.names import PROG_TYPES, type_name

    try:
        image = hidden_image(id)
    except (KernelError, OSError):
        return None
    if image is None:
        return None
    what = f"{type_name(PROG_TYPES, image.type)}, {image.insns} insns"
    return f'kernel memory has an image with this id ({what}), hidden from the kernel\'s list: "bpflens ls --audit" says what that means'


def _of_expression(error: BpflensError, arguments: Sequence[str]) -> str | None:
    typed = next((word.removeprefix("pcap:") for word in arguments if word.startswith("pcap:") and word in str(error)), None)
    if typed is None:
        return None
    from bpflens.classic.contradiction import why_nothing
    from bpflens.classic.diagrams.diagram import Store
    from bpflens.classic.diagrams.linktypes import linktype_name
    from bpflens.classic.expression.find import Compiler

    named = [arguments[at + 1] for at, word in enumerate(arguments[:-1]) if word == "--linktype"]
    try:
        found = why_nothing(typed, Compiler(Store(deadline=_SECONDS), linktype_name(named[0] if named else "EN10MB")))
    except BpflensError:
        return None
    if found is None:
        return None
    return found.reason + (f"; instead: '{found.instead}'" if found.instead is not None else "")

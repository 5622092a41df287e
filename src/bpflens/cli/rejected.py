"""The hint for an expression that libpcap refuses because it rejects all packets: which of its tests exclude each other."""

from __future__ import annotations

from bpflens.errors import BpflensError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("hint_of",)

_SECONDS = 2.0


def hint_of(error: BpflensError, arguments: Sequence[str]) -> str | None:
    """The error's own hint, or the reason why a typed expression matches nothing. `arguments`: the command's, for its link type."""
    if error.hint is not None or "rejects all packets" not in str(error) or "pcap:" not in str(error):
        return error.hint
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

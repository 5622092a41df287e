"""The findings of the doctor as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpflens.view.style.colours import BAD, DOUBT, GOOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.features import Finding

__all__ = ("finding_lines",)

_MARKS = {True: "yes", False: "no", None: "?"}
_COLORS = {True: GOOD, False: BAD, None: DOUBT}


def finding_lines(findings: Iterable[Finding], color: bool = False) -> Iterator[str]:
    """One line for each thing, grouped; below what is missing or unknown, what is lost and how to get it, once for what needs the same."""
    group = None
    said = ""
    for finding in findings:
        if finding.group != group:
            if group is not None:
                yield ""
            group, said = finding.group, ""
            yield f"\033[1m{group}\033[0m" if color else group
        mark = f"{_MARKS[finding.present]:3}"
        if color:
            mark = f"{_COLORS[finding.present]}{mark}\033[0m"
        yield f"  {mark}  {finding.name:26}  {finding.detail}".rstrip()
        if not finding.present and finding.lost:
            yield f"{'':7}  without it: {finding.lost}"
            if finding.get and finding.get != said:
                said = finding.get
                yield f"{'':7}  to get it: {finding.get}"

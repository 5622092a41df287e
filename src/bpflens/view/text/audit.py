"""What an audit found, in lines: the sentence, then a table of the images that are not accounted for.

    audit: 1 of 97 program images in the kernel are NOT accounted for; found: ...
      VERDICT    ADDRESS             ID  TYPE           INSNS  AGE
      hidden     0xffffc9000012d000  63  kprobe         120    3 d
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.inventory.audit import Verdict
from bpflens.inventory.baseline import Comparison
from bpflens.inventory.memory.judge import HIDDEN, Judged
from bpflens.isa.extended.names import PROG_TYPES, type_name
from bpflens.view.style.columns import Cell, Column, columns
from bpflens.view.text.inventory import age

__all__ = ("audit_lines",)

_HEAD = tuple(Column(title) for title in ("VERDICT", "ADDRESS", "ID", "TYPE", "INSNS", "AGE"))
_WORDS = {
    "hidden": "a loaded program: its image is there, and the kernel's list does not give its id",
    "its id is another's": "a second program with the id of a listed one",
    "function of a hidden program": "a function of a program that is in no list",
    "no holder": "a classic filter that nothing found holds",
    "waiting to be freed": "a program without an id that nobody holds, and that does not go away",
    "being loaded": "a program without an id that something holds",
    "unread": "an image that could not be read",
}


def audit_lines(verdict: Verdict, comparison: Comparison | None, now_ns: int, color: bool = False) -> Iterator[str]:
    """The verdict. With a baseline only the images that are new are listed. `now_ns` is CLOCK_BOOTTIME."""
    text = verdict.text()
    style = "32" if verdict.complete else "33" if not verdict.established or (comparison and comparison.unchanged) else "1;31"
    yield f"\033[{style}m{text}\033[0m" if color else text
    if comparison is not None:
        yield comparison.text()
    shown = comparison.new if comparison is not None and not comparison.written else verdict.unexplained
    if not shown:
        return
    for line in columns(_HEAD, [_row(image, now_ns) for image in shown], None, color):
        yield f"  {line}"
    for word in dict.fromkeys(image.verdict for image in shown):
        yield f"  {word}: {_WORDS.get(word, word)}"
    hidden = [image for image in shown if image.verdict == HIDDEN]
    if hidden:
        yield from _advice(hidden, comparison is not None)


def _advice(hidden: Sequence[Judged], has_baseline: bool) -> Iterator[str]:
    """What hidden programs may be, and what to do next. It neither accuses nor acquits: memory does not say who hid them."""
    times = [image.load_time / 1e9 for image in hidden if image.load_time]
    when = f"Load times: {min(times):.1f} to {max(times):.1f} s after boot. " if times else ""
    yield f"    {when}This says that they are hidden, not by whom or for what."
    yield "    Known innocent cause: monitoring that hides its programs (a virtual machine's host, a security product). So does a rootkit."
    now = "" if has_baseline else 'run "bpflens ls --audit --baseline FILE" now and later, to see whether they change; '
    yield f"    Next: {now}compare with a boot that you trust; else take an image of memory for forensics."


def _row(image: Judged, now_ns: int) -> list[Cell]:
    type = type_name(PROG_TYPES, image.type) if image.type else "classic"
    since = age(now_ns - image.load_time) if image.load_time else "?"
    texts = (image.verdict, f"{image.address:#x}", str(image.id or "-"), type, str(image.insns), since)
    return [Cell(text) for text in texts]

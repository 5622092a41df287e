"""The result of a filter over a capture, as text.

    100000 of 1000000 packets match

     packets  return value
      900000  0
      100000  262144

        executed       %
         1000000  100.0%  l0:  ldh [12]
         1000000  100.0%  l1:  jeq #0x86dd, l2, l8
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpflens.classic.hooks import LENGTH, Hook
from bpflens.classic.machine.captures import Result
from bpflens.isa.classic.insn import SockFilter

__all__ = ("text",)


def text(insns: Sequence[SockFilter], result: Result, heading: str = "", hook: Hook = LENGTH) -> Iterator[str]:
    """Lines of text; `heading` names the program where there are several, `hook` says what its values mean."""
    matches = f"{result.matches} of {result.packets}" if result.packets is not None else str(result.matches)
    plural = "packets match" if (result.packets if result.packets is not None else result.matches) != 1 else "packet matches"
    if hook.kind in ("verdict", "number"):  # a value other than 0 is no match there
        matches, plural = str(result.packets if result.packets is not None else sum((result.returns or {}).values())), "packets"
    yield f"{f'{heading}: ' if heading else ''}{matches} {plural}"
    if result.returns is not None:
        yield ""
        yield f"{'packets':>12}  return value"
        for value, count in sorted(result.returns.items(), key=lambda item: (-item[1], item[0])):
            yield f"{count:>12}  {value}{'' if hook.kind == 'length' else f'  {hook.meaning(value)}'}"
    if result.hits is not None:
        from bpflens.isa.classic.text import format as format_insns

        yield ""
        yield f"{'executed':>12}       %"
        total = max(result.packets or 0, 1)
        for hits, line in zip(result.hits, format_insns(insns), strict=True):
            yield f"{hits:>12}  {100 * hits / total:5.1f}%  {line.expandtabs(6)}"

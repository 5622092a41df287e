"""Where a loaded program hangs and who holds it, in an administrator's words.

    xdp/generic on dev:eth0, held by dropd (pid 812, unit dropd.service)   ──►   "Hangs on interface eth0 (XDP, generic mode)."
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bpflens.inventory.around import Surroundings
from bpflens.inventory.facts.processes import Process
from bpflens.program import Attachment, Holder

__all__ = ("hanging",)

_SHOWN = 4
_KINDS = (
    (re.compile(r"xdp/(generic|native|driver|offload)$"), "XDP, {0} mode"), (re.compile(r"xdp$"), "XDP"),
    (re.compile(r"tcx?/(ingress|egress)$"), "tc, {0}"), (re.compile(r"netkit/(\w+)$"), "netkit, {0}"),
)  # fmt: skip
_OBJECTS = {"dev": "interface {0}", "cgroup": "cgroup {0}", "netns": "network namespace {0}", "sock": "socket {0}", "pid": "process {0}"}
_CONTAINER = re.compile(r"(docker|libpod|crio|cri-containerd)[-/](?:payload-)?([0-9a-f]{64})")


def hanging(around: Surroundings, id: int) -> list[str]:
    """At most three lines."""
    places = list(dict.fromkeys(map(_place, around.attachments.get(id, ()))))
    pins = around.prog_pins.get(id, ())
    more = f" and {len(places) - _SHOWN} more places" if len(places) > _SHOWN else ""
    lines = [f"Hangs on {', '.join(places[:_SHOWN])}{more}."] if places else ["Nothing that was found has it attached."]
    holders = list(dict.fromkeys(_holder(each, around.processes) for each in around.prog_holders.get(id, ())))
    held = [*holders[:_SHOWN], *(f"the pin {path}" for path in pins[:2])]
    if held:
        more = f" and {len(holders) - _SHOWN} more processes" if len(holders) > _SHOWN else ""
        lines.append(f"Held by {', '.join(held)}{more}.")
    return lines


def _place(each: Attachment) -> str:
    kind, colon, name = each.object.partition(":")
    words = _OBJECTS[kind].format(name) if colon and kind in _OBJECTS else each.object
    if kind == "cgroup" and (found := _CONTAINER.search(name)):
        words += f" of container {found[2][:12]}"
    how = next((text.format(*found.groups()) for pattern, text in _KINDS if (found := pattern.match(each.kind))), each.kind)
    where = f" in network namespace {each.netns_name}" if each.netns_name else ""
    return f"{words}{where} ({how})"


def _holder(holder: Holder, processes: Mapping[int, Process]) -> str:
    facts = processes.get(holder.pid)
    return f"{holder.comm or 'a process'} ({', '.join((f'pid {holder.pid}', *_facts(holder, facts)))})"


def _facts(holder: Holder, facts: Process | None) -> Iterator[str]:
    if facts is None:
        return
    if facts.is_other_than(holder.comm) and facts.exe:
        yield f"runs {facts.exe}"
    if facts.deleted:
        yield "its file is deleted"
    if facts.container:
        yield f"container {facts.container}"
    elif facts.unit:
        yield f"unit {facts.unit}"

"""The inventory as a table.

    KIND            OBJECT                    NETNS  PROGRAM                                     HOLDERS
    xdp/native      dev:eth0                  own    12 xdp_main  xdp  0123456789abcdef  2 h     lb[812] fd 7, link 5
    tc/ingress      dev:eth0 prio 1 [1/2]     own    13 police  sched_cls  ...                   pin /sys/fs/bpf/police
    socket/packet   sock:8812                 own    classic 11 insns: ip and udp dst port 68    dhclient[402] fd 6

What removal needs stands behind the object. [1/2]: it runs first of two on its hook. Names of processes, programs and devices are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bpflens.attachment import Holder
from bpflens.inventory.facts.processes import Process
from bpflens.inventory.facts.records import Inventory, InventoryRow, NetNamespace
from bpflens.isa.extended.names import PROG_TYPES, type_name
from bpflens.lean import NamedTuple
from bpflens.records.ls import Summarise
from bpflens.view.style.columns import Cell, Column, columns
from bpflens.view.style.printable import printable

__all__ = ("PLAIN", "Layout", "age", "holder_text", "netns_name", "object_text", "program_cell", "shortened", "table")

_HEAD = (
    Column("KIND", least=8), Column("OBJECT", least=12, middle=True), Column("NETNS", least=5, optional=True), Column("PROGRAM", least=34),
    Column("HOLDERS", least=10, optional=True),
)  # fmt: skip
_NETNS = 2
_HOLDERS_SHOWN, _MOST_WORDS = 3, 120
_GROUP_FROM = 8  # equal rows that become one line
_ALARM, _DOUBT = "1;31", "33"


class Layout(NamedTuple):
    """How a table is printed. `width` None: no terminal, or --wide. `whole`: expressions are not shortened. `every`: no row is grouped.

    `detach`: below each row the command that takes the attachment away. `mark` stands for what was cut.
    `left_out` is given the titles of columns that found no room.
    """

    width: int | None = None
    color: bool = False
    whole: bool = False
    every: bool = False
    detach: bool = False
    mark: str = "…"
    left_out: list[str] | None = None


PLAIN = Layout(every=True)


def table(
    inventory: Inventory, rows: Iterable[InventoryRow], summarise: Summarise, now_ns: int, layout: Layout = PLAIN
) -> Iterator[str]:
    """Lines of text; none where there are no rows. `now_ns` is CLOCK_BOOTTIME, for ages."""
    lines = []
    groups = _groups(inventory, rows, layout.every or layout.detach)
    for group in groups:
        row, count = group[0], len(group)
        kind = row.kind if count == 1 else f"{count} x {row.kind}"
        object = object_text(row) if count == 1 else f"{object_text(row)} and {count - 1} more"
        place = "?" if row.netns is None and "why" in row.details else netns_name(inventory.namespaces, row.netns)
        program = program_cell(inventory, row, summarise, now_ns, layout.whole)
        if count > 1 and row.prog_id is not None and any(other.prog_id != row.prog_id for other in group):
            program = program._replace(text=f"{program.text}  (and {count - 1} equal ones)")
        lines.append((Cell(kind), Cell(object), Cell(place), program, _held_by(row, inventory.processes)))
    if not lines:
        return
    cells = [[cell._replace(text=printable(cell.text)) for cell in line] for line in lines]
    below: list[list[str]] = []
    if layout.detach:
        from bpflens.inventory.detach import how_to_detach

        below = [[f"    {printable(line)}" for line in how_to_detach(group[0], inventory)] for group in groups]
    head = list(_HEAD)
    if layout.width is not None and all(line[_NETNS].text in ("own", "-") for line in cells):
        del head[_NETNS]  # all is here: the room is for what tells more
        cells = [line[:_NETNS] + line[_NETNS + 1 :] for line in cells]
    yield from columns(head, cells, layout.width, layout.color, layout.mark, below, layout.left_out)


def _groups(inventory: Inventory, rows: Iterable[InventoryRow], every: bool) -> list[list[InventoryRow]]:
    """Rows that differ in nothing but their object, together where they are many; else each alone. The order stays."""
    listed = list(rows)
    if every:
        return [[row] for row in listed]
    groups: dict[tuple[object, ...], list[InventoryRow]] = {}
    for row in listed:
        groups.setdefault(_likeness(inventory, row), []).append(row)
    result = []
    for row in listed:
        group = groups[_likeness(inventory, row)]
        if len(group) < _GROUP_FROM:
            result.append([row])
        elif group[0] is row:
            result.append(group)
    return result


def _likeness(inventory: Inventory, row: InventoryRow) -> tuple[object, ...]:
    head = (inventory.programs or {}).get(row.prog_id or 0)
    program = (head.type, head.tag, head.name) if head else row.prog_id
    comms = frozenset(holder.comm for holder in row.holders)
    unknown = id(row) if program is None and row.classic is None else 0  # two that are not known are not equal
    return row.kind, row.netns, program, row.classic, comms, unknown


def netns_name(namespaces: Mapping[int, NetNamespace], inode: int | None) -> str:
    """What to call a namespace: "own", its name, or its inode; "-" where an object has none."""
    if inode is None:
        return "-"
    namespace = namespaces.get(inode)
    if namespace is None:
        return str(inode)
    return "own" if namespace.own else namespace.name or str(inode)


def object_text(row: InventoryRow) -> str:
    """The object with what the command that takes the program away asks for, and its place in the order of execution."""
    details = row.details
    words = [row.object]
    if row.kind.startswith("tc/"):
        words += [str(details["parent"])] if row.kind == "tc/cls" and row.object.startswith("dev:") else []
        words += [f"on {', '.join(details['devices'])}"] if details.get("devices") else []
        words += [f"chain {details['chain']}"] if details.get("chain") else []
        words += [f"prio {details['prio']}"] if "prio" in details else []
        words += [f"handle {details['handle']:#x}"] if "handle" in details else []
    elif row.kind == "netfilter" and "priority" in details:
        words.append(f"priority {details['priority']}")
    elif row.kind == "xt_bpf":
        words += [f"{details['chain']} rule {details['rule']}"] if "chain" in details and "rule" in details else []
        words += [f"handle {details['handle']}"] if "handle" in details else []
    elif row.kind.startswith("lwt") and details.get("table") not in (None, 254):
        words.append(f"table {details['table']}")
    if "order" in details:
        place, total = details["order"]
        words.append(f"[{place}/{total}]")
    return " ".join(words)


def program_cell(inventory: Inventory, row: InventoryRow, summarise: Summarise, now_ns: int, whole: bool = False) -> Cell:
    """One line of what the program is; a warning comes first and is never cut."""
    if row.classic is not None:
        summary = summarise(row)
        count = len(row.classic) // 8
        size = f"classic {count} insn{'s' * (count != 1)}"
        if summary is None or not summary.text:
            return Cell(size)
        if summary.warning:
            rest = summary.text[len(summary.warning) :].lstrip(": ")
            text = f"{summary.warning} ({size}): {rest if whole else shortened(rest)}"
            return Cell(text, keep=len(summary.warning), style=_ALARM)
        doubt = _DOUBT if "(not proved)" in summary.text else ""
        return Cell(f"{size}: {summary.text if whole else shortened(summary.text)}", style=doubt)
    if row.image is not None:
        return Cell(f"classic, kept as {len(row.image) // 8} extended insns only")
    if row.prog_id is None:
        name = row.details.get("name") or row.details.get("path") or ""
        guess = f"probably {row.details['probably']}: " if "probably" in row.details else ""
        text = f"? {name} ({guess}{row.details.get('unknown', 'unknown')})".replace("?  ", "? ")
        return Cell(text, style=_DOUBT)
    head = (inventory.programs or {}).get(row.prog_id)
    if head is None:
        return Cell(f"id {row.prog_id}")
    name = inventory.full_names.get(head.id, head.name)
    parts = [f"{head.id} {name}".rstrip(), type_name(PROG_TYPES, head.type), head.tag, age(now_ns - head.load_time)]
    if head.run_cnt:
        parts.append(f"{head.run_cnt} runs, {head.run_time_ns / head.run_cnt:.0f} ns each")
    if row.details.get("by_elimination"):
        parts.append("(the only one)")
    return Cell("  ".join(parts))


def shortened(words: str) -> str:
    """Words for a line of a table, cut off where they are too many."""
    return words if len(words) <= _MOST_WORDS else words[: _MOST_WORDS - 3].rstrip() + "..."


def age(nanoseconds: int) -> str:
    """A duration in its largest whole unit: "12 s", "3 min", "5 h", "40 d"."""
    seconds = max(nanoseconds // 1_000_000_000, 0)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _held_by(row: InventoryRow, processes: Mapping[int, Process]) -> Cell:
    """Processes and the link; where there is no process, a pin."""
    pins = row.details.get("pins", ())
    words = [holder_text(row.holders, processes)] if row.holders else []
    if "link" in row.details:
        words.append(f"link {row.details['link']}")
    if pins and not row.holders and row.object != f"pin:{pins[0]}":
        words.append(f"pin {pins[0]}" + (f" and {len(pins) - 1} more" if len(pins) > 1 else ""))
    strange = any((facts := processes.get(holder.pid)) is not None and facts.deleted for holder in row.holders)
    return Cell(", ".join(words), style=_DOUBT if strange else "")


def holder_text(holders: Iterable[Holder], processes: Mapping[int, Process] | None = None) -> str:
    """ "comm[pid] fd 3,4": processes with their descriptors or threads, at most three; what they are where their name does not say it."""
    held_by: dict[tuple[int, str], list[Holder]] = {}
    for holder in holders:
        held_by.setdefault((holder.pid, holder.comm), []).append(holder)
    words = []
    for (pid, comm), held in list(held_by.items())[:_HOLDERS_SHOWN]:
        fds = [str(holder.fd) for holder in held if holder.fd is not None]
        tids = [str(holder.tid) for holder in held if holder.tid not in (None, pid)]
        place = (f" fd {','.join(fds)}" if fds else "") + (f" tid {','.join(tids)}" if tids else "")
        words.append(f"{comm}[{pid}]{_identity(comm, (processes or {}).get(pid))}{place}")
    if len(held_by) > _HOLDERS_SHOWN:
        words.append(f"and {len(held_by) - _HOLDERS_SHOWN} more")
    return ", ".join(words)


def _identity(comm: str, facts: Process | None) -> str:
    """What a process is, as far as its name does not say it: " is /tmp/x (deleted)", " in docker:0123456789ab"."""
    if facts is None:
        return ""
    words = ""
    if facts.deleted:
        words = f" is {facts.exe} (deleted)"
    elif facts.is_other_than(comm):
        words = f" is {facts.exe}"
    if facts.container:
        words += f" in {facts.container}"
    elif facts.unit and not facts.unit.startswith((comm, "session-")):
        words += f" of {facts.unit}"
    return words

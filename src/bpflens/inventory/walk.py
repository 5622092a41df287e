"""The walk: every family in every place, then who holds what, then the programs that hang on nothing.

Runs in a thread of its own: the network namespace and a ptrace attachment belong to a thread, so whatever happens to the walk, the kernel
undoes both when the thread ends.
"""

from __future__ import annotations

import errno
import importlib
import struct
import threading
from collections.abc import Callable, Iterable, Mapping

from bpflens.attachment import Holder
from bpflens.errors import BpflensError, InputError, KernelError
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.namespaces import entered, net_namespaces
from bpflens.inventory.facts.records import Inventory, InventoryRow, MapUse, NetNamespace
from bpflens.inventory.families import DEEP_FAMILIES, FAMILIES, OF_NAMESPACES, SERVED_BY, Family
from bpflens.inventory.order import by_elimination, in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from bpflens.attachment import ProgInfo
    from bpflens.kernel.memory.reader import Reader

    Result = TypeVar("Result")

__all__ = ("HIDDEN", "collect", "in_own_thread", "strip_addresses", "walk")


HIDDEN = "whose mount is hidden by another"
# Program types that can hang where only kernel memory shows them: socket_filter, lwt_in, lwt_out, lwt_xmit, perf_event, sk_reuseport.
_TYPES_NEED = {
    1: ("sockets", "unheld sockets", "tun"), 10: ("routes",), 11: ("routes",), 12: ("routes",), 7: ("perf",), 21: ("sockets",),
}  # fmt: skip
_GONE = frozenset((errno.ENOENT, errno.ESRCH, errno.ENXIO, errno.EBADF, errno.ENODEV, errno.ESTALE))
_ENOTSUPP = 524  # include/linux/errno.h: the kernel's own, which the C library does not have
_LACKING = frozenset((
    errno.EINVAL, errno.ENOSYS, errno.ENOPROTOOPT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT,
    _ENOTSUPP,
))  # fmt: skip
"""The kernel does not have it."""


def collect(
    wanted: Callable[[Family], bool] | None = None, *, deep: bool | None = None, everything: bool = True, maps: bool = False
) -> Inventory:
    """Walk the machine.

    `wanted` picks families (None: all). `deep` None: kernel memory is read where this process may, for exactly what no interface tells;
    True: for every family that there is; False: never. `everything`: also programs that hang on nothing, which can be known only when all
    families are asked. `maps`: also who holds maps and which programs use them.
    """
    return strip_addresses(in_own_thread(lambda: walk(wanted, deep, everything, maps)))


def in_own_thread(function: Callable[[], Result]) -> Result:
    """The function's result, or its exception, from a thread that ends with it."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def strip_addresses(inventory: Inventory) -> Inventory:
    """Without the kernel addresses that a deep walk leaves for the audit: a listing may be passed on."""
    rows = [
        row._replace(details={key: value for key, value in row.details.items() if key not in ("address", "addresses")})
        if "address" in row.details or "addresses" in row.details else row
        for row in inventory.rows
    ]  # fmt: skip
    return inventory._replace(rows=rows)


def walk(wanted: Callable[[Family], bool] | None, deep: bool | None, everything: bool, maps: bool = False) -> Inventory:
    """`collect` in the calling thread, which has to be one that ends soon."""
    ctx = Context()
    _ = ctx.programs, ctx.links, ctx.files  # the order in which things are looked at: what is loaded, then what holds it
    reader = _open_reader(ctx) if deep else None
    ctx.memory_read = reader is not None and reader.can_read_memory
    read: set[str] = set()
    try:
        rows = _ask(ctx, None, [family for family in FAMILIES if wanted is None or wanted(family)])
        for type, served in _TYPES_NEED.items():
            if ctx.program_types is not None and type in ctx.program_types:
                ctx.unanswered.update(dict.fromkeys(served))
                ctx.strays.clear()  # one may be on a socket of which /proc says nothing
        families = _of_memory(ctx, deep, wanted)
        of_processes = "namespaces" in ctx.unanswered or (maps and "holders" in ctx.unanswered)
        hidden = deep is not False and of_processes and _may_read_memory()
        if (families or hidden) and reader is None:
            reader = _open_reader(ctx)
        if families and reader is not None:
            from bpflens.inventory.memory.merge import merge, placed

            rows = merge(rows, _ask(ctx, reader, families))
            if any("why" in row.details and "link" in row.details for row in rows):
                from bpflens.inventory.memory.structures.links import link_places

                rows = placed(rows, link_places(reader))
        if reader is not None:
            unasked = {family.key for family in DEEP_FAMILIES if wanted is None or wanted(family)} - {family.key for family in families}
            read = {served for served, keys in SERVED_BY.items() if unasked.isdisjoint(keys)}
        if reader is not None:
            read |= _of_hidden_processes(ctx, reader)
    finally:
        if reader is not None:
            reader.close()
    rows = _with_holders(ctx, by_elimination(rows, ctx.programs), maps)
    if everything and wanted is None:
        rows += _unattached(ctx, rows)
    own = reader.own_programs if reader is not None else frozenset()
    programs = None if ctx.programs is None else {id: head for id, head in ctx.programs.items() if id not in own}
    rows = in_order(row for row in rows if row.prog_id not in own or row.prog_id is None)
    memory_read = reader is not None and reader.memory_read
    denied = [denial for denial in ctx.denied if not (memory_read and denial.served_by and read.issuperset(denial.served_by))]
    holding = [holder for row in rows for holder in row.holders] + [holder for held in ctx.held.maps.values() for holder in held]
    processes = {holder.pid: ctx.process(holder.pid) for holder in holding}
    return Inventory(
        rows, denied, programs, ctx.once(net_namespaces), list(ctx.notes), memory_read,
        processes, _full_names(programs), ctx.pinned, ctx.held, _map_use(ctx, programs) if maps else MapUse(), ctx.unopened,
    )  # fmt: skip


def _open_reader(ctx: Context) -> Reader | None:
    from bpflens.inventory.memory.open_reader import open_reader

    return open_reader(ctx)


def _of_memory(ctx: Context, deep: bool | None, wanted: Callable[[Family], bool] | None) -> list[Family]:
    """The families of kernel memory to ask: all, none, or those that make up for what the interfaces left open."""
    if deep is False or (deep is None and not (ctx.unanswered and _may_read_memory())):
        return []
    keys = {key for served in ctx.unanswered for key in SERVED_BY.get(served, ())}
    return [family for family in DEEP_FAMILIES if (deep or family.key in keys) and (wanted is None or wanted(family))]


def _may_read_memory() -> bool:
    from bpflens.kernel.sys.capabilities import effective

    able = effective()
    return "SYS_ADMIN" in able or {"BPF", "PERFMON"} <= able


def _of_hidden_processes(ctx: Context, reader: Reader) -> set[str]:
    """What of "namespaces" and "holders" kernel memory tells of the processes that /proc does not let us look into."""
    read = set()
    try:
        if ctx.hidden_files:
            from bpflens.inventory.memory.structures.holders import hidden_holders

            found = hidden_holders(ctx, reader)
            if found is not None:
                ctx.hidden_holders = found
                read.add("holders")
        if ctx.hidden_namespaces:
            known = ctx.once(net_namespaces)
            if all(inode in known for inode in reader.namespaces_of(set(ctx.hidden_namespaces))):
                read.add("namespaces")
    except (OSError, BpflensError):
        pass  # then it stays denied
    return read


def _map_use(ctx: Context, programs: Mapping[int, ProgInfo] | None) -> MapUse:
    from bpflens.kernel.programs.loaded import prog_map_ids

    users: dict[int, list[int]] = {}
    for id, info in (programs or {}).items():
        for map_id in prog_map_ids(id) if info.nr_map_ids else ():
            users.setdefault(map_id, []).append(id)
    return MapUse(ctx.maps, ctx.held.maps, users)


def _full_names(programs: Mapping[int, ProgInfo] | None) -> dict[int, str]:
    """Names that are longer than what the kernel keeps of them."""
    from bpflens.kernel.programs.full_name import full_name

    return {id: name for id, info in (programs or {}).items() if (name := full_name(info)) != info.name}


def _ask(ctx: Context, reader: Reader | None, families: list[Family]) -> list[InventoryRow]:
    """The rows of the families, those that are asked in each network namespace first. `reader` for families of kernel memory."""
    rows: list[InventoryRow] = []
    _in_namespaces(ctx, reader, [family for family in families if family.per_netns], rows)
    for family in families:
        if not family.per_netns:
            _run(ctx, reader, family, rows)
    return rows


def _in_namespaces(ctx: Context, reader: Reader | None, families: list[Family], rows: list[InventoryRow]) -> None:
    if not families:
        return
    unreached: list[NetNamespace] = []
    for namespace in ctx.once(net_namespaces).values():
        try:
            with entered(namespace):
                ctx.netns = namespace
                for family in families:
                    _run(ctx, reader, family, rows)
        except PermissionError:
            unreached.append(namespace)
        except FileExistsError:
            ctx.deny(f"network namespace {namespace.inode}, {HIDDEN}", "the upper mount to be taken off", OF_NAMESPACES)
        except OSError:
            continue  # it has gone
        finally:
            ctx.netns = None
    if unreached:
        ctx.deny(f"{len(unreached)} other network namespace{'s' * (len(unreached) > 1)}", "CAP_SYS_ADMIN and CAP_SYS_PTRACE", OF_NAMESPACES)


def _run(ctx: Context, reader: Reader | None, family: Family, rows: list[InventoryRow]) -> None:
    """One family; what it yields before it fails is kept. No program of its types is loaded: it is not even imported."""
    if family.types and not ctx.may_have(*family.types):
        return
    try:
        find: Callable[..., Iterable[InventoryRow]] = getattr(
            importlib.import_module(f"bpflens.inventory.{family.module}"), family.function
        )
        for row in find(ctx) if reader is None else find(ctx, reader):
            rows.append(row)
    except PermissionError:
        ctx.deny(family.what, family.needs, family.kinds)
    except KernelError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            ctx.deny(family.what, family.needs, family.kinds)
        elif error.errno not in _GONE and error.errno not in _LACKING:
            ctx.deny(family.what, f"another answer than: {error}", family.kinds)
    except InputError as error:
        ctx.deny(family.what, f"a newer bpflens: this kernel's types are not as expected ({error})", family.kinds)
    except OSError as error:
        if error.errno not in _GONE and error.errno not in _LACKING:
            ctx.deny(family.what, f"another answer than: {error.strerror}", family.kinds)
    except (struct.error, IndexError, KeyError, ValueError) as error:
        needs = f"a newer bpflens: an answer of the kernel was not understood ({type(error).__name__}: {error})"
        ctx.deny(family.what, needs, family.kinds)


def _with_holders(ctx: Context, rows: list[InventoryRow], maps: bool) -> list[InventoryRow]:
    """Descriptors and pins of the program or of the link that makes the attachment."""
    from bpflens.inventory.facts.holders import holders
    from bpflens.inventory.facts.pins import pins

    if not any(row.prog_id for row in rows) and not ctx.programs and not maps:
        return rows
    held = holders(ctx, maps)
    pinned: dict[tuple[str, int], list[str]] = {}
    for pin in pins(ctx):
        pinned.setdefault((pin.kind, pin.id), []).append(pin.path)
    ctx.pinned = pinned
    ctx.held = held
    by_path = {path: id for (kind, id), paths in pinned.items() if kind == "prog" for path in paths}
    result = []
    for row in rows:
        if row.prog_id is None:
            probably = by_path.get(row.details.get("path", ""))
            result.append(row._replace(details={**row.details, "probably": probably}) if probably else row)
            continue
        who: dict[Holder, None] = dict.fromkeys(row.holders)
        paths = list(pinned.get(("prog", row.prog_id), ()))
        links = row.details.get("links") or ([row.details["link"]] if "link" in row.details else [])
        for link in links:
            who.update(dict.fromkeys(held.links.get(link, ())))
            paths += pinned.get(("link", link), ())
        who.update(dict.fromkeys(held.programs.get(row.prog_id, ())))
        if paths:
            row = row._replace(details={**row.details, "pins": paths})
        result.append(row._replace(holders=tuple(who)) if who else row)
    return result


def _unattached(ctx: Context, rows: list[InventoryRow]) -> list[InventoryRow]:
    """Programs that no row has: held by a pin, by a descriptor, or by nothing known."""
    if ctx.programs is None:
        found = []
        for (kind, id), paths in ctx.pinned.items():  # what can be known without the list
            if kind == "prog" and not any(row.prog_id == id for row in rows):
                found.append(InventoryRow("pin", f"pin:{paths[0]}", prog_id=id, details={"pins": paths}))
        return found
    attached = {row.prog_id for row in rows}
    found = []
    for id in ctx.programs:
        if id in attached:
            continue
        paths = ctx.pinned.get(("prog", id), [])
        who = ctx.held.programs.get(id, [])
        details = {"pins": paths} if paths else {}
        if paths:
            found.append(InventoryRow("pin", f"pin:{paths[0]}", prog_id=id, holders=tuple(who), details=details))
        elif who:
            found.append(InventoryRow("fd", f"fd:{who[0].pid}/{who[0].fd}", prog_id=id, holders=tuple(who)))
        else:
            found.append(InventoryRow("held", "(by nothing that is known)", prog_id=id))
    return found

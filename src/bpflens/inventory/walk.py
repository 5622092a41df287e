"""The walk: every family in every place, then who holds what, then the programs that hang on nothing.

Runs in a thread of its own: the network namespace and a ptrace attachment belong to a thread, so whatever happens to the walk, the kernel
undoes both when the thread ends.
"""

from __future__ import annotations

import importlib
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from bpflens.attachment import Holder
from bpflens.errors import InputError, KernelError
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.namespaces import entered, net_namespaces
from bpflens.inventory.facts.records import Inventory, InventoryRow, NetNamespace
from bpflens.inventory.families import DEEP_FAMILIES, FAMILIES, Family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.attachment import ProgInfo
    from bpflens.inventory.memory.reader import Reader

__all__ = ("HIDDEN", "collect", "in_own_thread", "strip_addresses", "walk")

Result = TypeVar("Result")

HIDDEN = "whose mount is hidden by another"
_GONE = frozenset((2, 3, 6, 9, 19, 116))  # ENOENT, ESRCH, ENXIO, EBADF, ENODEV, ESTALE
_LACKING = frozenset((22, 38, 92, 93, 94, 95, 97, 524))  # EINVAL, ENOSYS, ENOPROTOOPT ... EAFNOSUPPORT: the kernel does not have it


def collect(wanted: Callable[[Family], bool] | None = None, *, deep: bool = False, everything: bool = True) -> Inventory:
    """Walk the machine.

    `wanted` picks families (None: all). `deep` adds what only the kernel-side reader sees. `everything`: also programs that hang on
    nothing, which can be known only when all families are asked.
    """
    return strip_addresses(in_own_thread(lambda: walk(wanted, deep, everything)))


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


def walk(wanted: Callable[[Family], bool] | None, deep: bool, everything: bool) -> Inventory:
    """`collect` in the calling thread, which has to be one that ends soon."""
    everything = everything and wanted is None
    ctx = Context()
    rows: list[InventoryRow] = []
    families = list(FAMILIES)
    deep_rows: list[InventoryRow] = []
    reader: Reader | None = None
    _ = ctx.programs, ctx.links, ctx.files  # the order in which things are looked at: what is loaded, then what holds it
    if deep:
        from bpflens.inventory.memory.reader import open_reader

        reader = open_reader(ctx)
        ctx.memory_read = reader is not None and reader.can_read_memory
    try:
        if reader is not None:
            families += DEEP_FAMILIES
        families = [family for family in families if wanted is None or wanted(family)]
        _in_namespaces(ctx, reader, [family for family in families if family.per_netns], rows, deep_rows)
        for family in families:
            if not family.per_netns:
                _run(ctx, reader, family, rows, deep_rows)
        if reader is not None:
            from bpflens.inventory.memory.links import link_places
            from bpflens.inventory.memory.merge import merge, placed

            rows = placed(merge(rows, deep_rows), link_places(reader))
    finally:
        if reader is not None:
            reader.close()
    rows = _with_holders(ctx, rows)
    if everything:
        rows += _unattached(ctx, rows)
    own = reader.own_programs if reader is not None else frozenset()
    programs = None if ctx.programs is None else {id: head for id, head in ctx.programs.items() if id not in own}
    rows = [row for row in rows if row.prog_id not in own or row.prog_id is None]
    denied = [denial for denial in ctx.denied if not (ctx.memory_read and "or --deep" in denial.needs)]  # it was, and has shown them
    processes = {holder.pid: ctx.process(holder.pid) for row in rows for holder in row.holders}
    return Inventory(rows, denied, programs, ctx.once(net_namespaces), list(ctx.notes), ctx.memory_read, processes, _full_names(programs))


def _full_names(programs: Mapping[int, ProgInfo] | None) -> dict[int, str]:
    """Names that are longer than what the kernel keeps of them."""
    from bpflens.kernel.full_name import full_name

    return {id: name for id, info in (programs or {}).items() if (name := full_name(info)) != info.name}


def _in_namespaces(
    ctx: Context, reader: Reader | None, families: list[Family], rows: list[InventoryRow], deep_rows: list[InventoryRow]
) -> None:
    if not families:
        return
    unreached: list[NetNamespace] = []
    for namespace in ctx.once(net_namespaces).values():
        try:
            with entered(namespace):
                ctx.netns = namespace
                for family in families:
                    _run(ctx, reader, family, rows, deep_rows)
        except PermissionError:
            unreached.append(namespace)
        except FileExistsError:
            ctx.deny(f"network namespace {namespace.inode}, {HIDDEN}", "the upper mount to be taken off")
        except OSError:
            continue  # it has gone
        finally:
            ctx.netns = None
    if unreached:
        ctx.deny(f"{len(unreached)} other network namespace{'s' * (len(unreached) > 1)}", "CAP_SYS_ADMIN and CAP_SYS_PTRACE")


def _run(ctx: Context, reader: Reader | None, family: Family, rows: list[InventoryRow], deep_rows: list[InventoryRow]) -> None:
    """One family; what it yields before it fails is kept."""
    deep = family in DEEP_FAMILIES
    try:
        find: Callable[..., Iterable[InventoryRow]] = getattr(
            importlib.import_module(f"bpflens.inventory.{family.module}"), family.function
        )
        for row in find(ctx, reader) if deep else find(ctx):
            (deep_rows if deep else rows).append(row)
    except PermissionError:
        ctx.deny(family.what, family.needs)
    except KernelError as error:
        if error.errno in (1, 13):
            ctx.deny(family.what, family.needs)
        elif error.errno not in _GONE and error.errno not in _LACKING:
            ctx.deny(family.what, f"another answer than: {error}")
    except InputError as error:
        ctx.deny(family.what, f"a newer bpflens: this kernel's types are not as expected ({error})")
    except OSError as error:
        if error.errno not in _GONE and error.errno not in _LACKING:
            ctx.deny(family.what, f"another answer than: {error.strerror}")
    except (struct.error, IndexError, KeyError, ValueError) as error:
        ctx.deny(family.what, f"a newer bpflens: an answer of the kernel was not understood ({type(error).__name__}: {error})")


def _with_holders(ctx: Context, rows: list[InventoryRow]) -> list[InventoryRow]:
    """Descriptors and pins of the program or of the link that makes the attachment."""
    from bpflens.inventory.facts.holders import holders
    from bpflens.inventory.facts.pins import pins

    if not any(row.prog_id for row in rows) and not ctx.programs:
        return rows
    held = holders(ctx)
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

"""On tasks and their files, from kernel memory: seccomp filters without stopping anybody (row 11), perf events (33), PPP (40)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.perf import event_name
from bpflens.inventory.finders.seccomp import LISTENER
from bpflens.inventory.finders.seccomp import rows as seccomp_rows
from bpflens.inventory.memory.images import image_at
from bpflens.inventory.memory.structures.sockets import row
from bpflens.isa.extended.uapi import LinkType
from bpflens.kernel.memory.reader import Reader

__all__ = ("find_perf", "find_ppp", "find_seccomp")

_MOST_FILTERS = 4096


def find_seccomp(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Filters of every task. The kernel's chain has the newest first, the rows count from the oldest as ptrace does.

    Then those that no task has any more, but a listener (seccomp_unotify(2)) still keeps.
    """
    filters = _Filters(ctx, reader)
    chains: dict[tuple[int, int], list[tuple[bytes, int]]] = {}
    for _, pid, tid, newest in reader.tasks():
        chain = [(code, 0) for code, _ in filters.chain(newest)]
        if chain:
            chains[pid, tid] = chain[::-1]
    for found in seccomp_rows(ctx, chains):
        yield found._replace(details={**found.details, "addresses": sorted(filters.addresses[found.classic or b""])})
    listeners = {(file.pid, file.fd) for file in ctx.files if file.link == LISTENER}
    in_use = set(filters.known)
    for record in reader.file_records:
        if (record.pid, record.fd) not in listeners or not record.private or record.private in in_use:
            continue
        holder = (ctx.holder(record.pid, record.fd),)
        for number, (code, address) in enumerate(list(filters.chain(record.private))[::-1]):
            details = {"filter": number, "arch": os.uname().machine, "address": address, "why": "no task has it, a listener keeps it"}
            yield InventoryRow("seccomp", f"fd:{record.pid}/{record.fd}", None, classic=code, holders=holder, details=details)


class _Filters:
    """struct seccomp_filter read once each. `known`: filter -> (previous one, code, program); `addresses`: code -> programs with it."""

    def __init__(self, ctx: Context, reader: Reader) -> None:
        self._ctx, self._reader = ctx, reader
        self.known: dict[int, tuple[int, bytes | None, int]] = {}
        self.addresses: dict[bytes, set[int]] = {}

    def chain(self, filter: int) -> Iterator[tuple[bytes, int]]:
        """(code, address of the program) of a filter and those before it."""
        reader, offset = self._reader, self._reader.offset
        for _ in range(_MOST_FILTERS):
            if not filter:
                return
            if filter not in self.known:
                try:
                    prog = reader.u64(filter + offset("seccomp_filter", "prog"))
                    image = image_at(reader, prog)
                    code = image.classic if image is not None else None
                    self.known[filter] = (reader.u64(filter + offset("seccomp_filter", "prev")), code, prog)
                except OSError:
                    return  # the task ended meanwhile
            filter, code, prog = self.known[filter]
            if code is None:
                self._ctx.deny("the code of seccomp filters", "a kernel with CONFIG_CHECKPOINT_RESTORE", ("seccomp",))
                return
            self.addresses.setdefault(code, set()).add(prog)
            yield code, prog


def find_perf(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Programs on perf events of every type, with what the official query has not told."""
    offset = reader.offset
    known = {(file.pid, file.fd) for file in ctx.files if file.link == "anon_inode:[perf_event]"}
    linked = {link.prog_id for link in ctx.links.values() if link.type == LinkType.PERF_EVENT}
    found: dict[tuple[str, str, int], InventoryRow] = {}
    for record in reader.file_records:
        if (record.pid, record.fd) not in known or not record.private:
            continue
        try:
            event = record.private
            # perf_init_event() (v5.19) puts the type of the pmu that took the event in the place of the one asked for
            field = "orig_type" if reader.has("perf_event", "orig_type") else "attr.type"
            type = reader.u32(event + offset("perf_event", field))
            traced = reader.has("perf_event", "tp_event") and reader.u64(event + offset("perf_event", "tp_event"))
            config = reader.u64(event + offset("perf_event", "attr.config"))
            image = image_at(reader, reader.u64(event + offset("perf_event", "prog")), code=False)
        except OSError:
            continue
        if image is None or not image.id or image.id in linked or traced:
            continue
        key = ("perf_event", event_name(type, config), image.id)
        holder = ctx.holder(record.pid, record.fd)
        if key in found:
            found[key] = found[key]._replace(holders=(*found[key].holders, holder))
        else:
            found[key] = row(key[0], key[1], None, image, (holder,))
    yield from found.values()


def find_ppp(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Filters of PPP units by their /dev/ppp descriptors; the kernel keeps the converted image only."""
    files = {(file.pid, file.fd) for file in ctx.files if file.link == "/dev/ppp"}
    if not files or not reader.has("ppp", "pass_filter", module="ppp_generic"):
        return

    def offset(struct: str, path: str) -> int:
        return reader.offset(struct, path, "ppp_generic")

    seen = set()
    for record in reader.file_records:
        if (record.pid, record.fd) not in files or not record.private or record.private in seen:
            continue
        seen.add(record.private)
        try:
            if reader.u32(record.private + offset("ppp_file", "kind")) != 1:  # INTERFACE: struct ppp begins with its ppp_file
                continue
            device = reader.u64(record.private + offset("ppp", "dev"))
            name = reader.text(device + reader.offset("net_device", "name"))
            net = reader.u64(record.private + offset("ppp", "ppp_net"))
            namespace = reader.u32(net + reader.offset("net", "ns.inum"))
            for field, kind in (("pass_filter", "ppp/pass"), ("active_filter", "ppp/active")):
                image = image_at(reader, reader.u64(record.private + offset("ppp", field)))
                if image is not None:
                    yield row(kind, f"dev:{name}", namespace, image, (ctx.holder(record.pid, record.fd),))
        except OSError:
            continue

"""Programs on sockets, from kernel memory (rows 1-8, 38): filter, reuseport group, fanout group, KCM parser.

`find` goes over every descriptor of every task. `find_lists` goes over the kernel's own lists in each network namespace, for sockets that
no descriptor leads to: in flight between processes, a connection that nobody has accepted yet, a ring that is only mapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpflens.attachment import Holder
from bpflens.errors import BpflensError
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.finders.network.sockets import filter_context
from bpflens.inventory.memory.images import Image, image_at
from bpflens.kernel.memory.programs import FileRecord
from bpflens.kernel.memory.reader import Reader
from bpflens.kernel.network.sockets import socket_kind, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("find", "find_lists", "row", "unheld_socket")

_AF_INET, _AF_INET6, _AF_PACKET = 2, 10, 17
_FANOUT_CBPF, _FANOUT_EBPF = 6, 7  # PACKET_FANOUT_CBPF, PACKET_FANOUT_EBPF
_TIME_WAIT, _NEW_SYN_RECV = 6, 12
_MOST_LISTED = 1 << 20
_ITERATORS = (("udp", "udp_sk"), ("tcp", "sk_common"), ("unix", "unix_sk"), ("netlink", "sk"))


def row(kind: str, object: str, netns: int | None, image: Image, holders: tuple[Holder, ...] = (), **details: Any) -> InventoryRow:
    """A row of a program in kernel memory; its address is kept for the audit."""
    if image.id:
        details = {key: value for key, value in details.items() if key not in ("linktype", "given")}
        return InventoryRow(kind, object, netns, prog_id=image.id, holders=holders, details={**details, "address": image.address})
    if image.classic is None and image.image is None:
        details["unknown"] = "the code could not be read from kernel memory"
    details["address"] = image.address
    return InventoryRow(kind, object, netns, classic=image.classic, image=image.image, holders=holders, details=details)


def find(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Programs on the sockets that descriptors lead to."""
    sockets: dict[int, list[FileRecord]] = {}
    for record in reader.file_records:
        if record.sock:
            sockets.setdefault(record.sock, []).append(record)
    fanouts: dict[int, InventoryRow] = {}
    groups: dict[int, InventoryRow] = {}
    for records in sockets.values():
        first = records[0]
        holders = tuple(dict.fromkeys(ctx.holder(record.pid, record.fd) for record in records))
        if first.filter:
            yield from _filter(reader, first, holders)
        if first.reuseport:
            _group(reader, first, holders, groups)
        if not reader.can_read_memory:
            continue
        try:
            if first.family == _AF_PACKET:
                _fanout(reader, first, holders, fanouts)
            elif first.family in (_AF_INET, _AF_INET6):
                yield from _kcm(reader, first, holders)
        except OSError:
            continue
    yield from groups.values()
    yield from fanouts.values()


def _filter(reader: Reader, record: FileRecord, holders: tuple[Holder, ...]) -> Iterator[InventoryRow]:
    kind = socket_kind(record.family, record.type, record.protocol)
    details: dict[str, Any] = {"type": type_name(record.type), **filter_context(kind, record.protocol)}
    try:
        image = Image(record.filter, record.filter_id, 0) if record.filter_id else image_at(reader, record.filter)
    except OSError:
        image = Image(record.filter, 0, 0)
    if image is not None:
        yield row(f"socket/{kind}", f"sock:{record.inode}", record.netns or None, image, holders, **details)


def _group(reader: Reader, record: FileRecord, holders: tuple[Holder, ...], groups: dict[int, InventoryRow]) -> None:
    """A program is on a reuseport group: its sockets are one row."""
    known = groups.get(record.reuseport)
    if known is not None:
        sockets = [*known.details["sockets"], record.inode]
        groups[record.reuseport] = known._replace(holders=known.holders + holders, details={**known.details, "sockets": sockets})
        return
    try:
        image = Image(record.reuseport, record.reuseport_id, 0) if record.reuseport_id else image_at(reader, record.reuseport)
    except OSError:
        image = Image(record.reuseport, 0, 0)
    if image is not None:
        groups[record.reuseport] = row(
            "reuseport", f"sock:{record.inode}", record.netns or None, image, holders, sockets=[record.inode], starts_at="payload",
        )  # fmt: skip


def _fanout(reader: Reader, record: FileRecord, holders: tuple[Holder, ...], fanouts: dict[int, InventoryRow]) -> None:
    if not reader.has("packet_sock", "fanout"):
        return
    group = reader.u64(record.sock + reader.offset("packet_sock", "fanout"))
    if not group:
        return
    if group in fanouts:
        known = fanouts[group]
        fanouts[group] = known._replace(holders=known.holders + holders)
        return
    type = reader.read(group + reader.offset("packet_fanout", "type"), 1)[0]
    if type not in (_FANOUT_CBPF, _FANOUT_EBPF):
        return  # the program's place is shared with the counter of the round-robin mode
    image = image_at(reader, reader.u64(group + reader.offset("packet_fanout", "bpf_prog")))
    if image is not None:
        id = reader.u16(group + reader.offset("packet_fanout", "id"))
        fanouts[group] = row("fanout", f"fanout:{id}", record.netns or None, image, holders, sock=record.inode)


def _kcm(reader: Reader, record: FileRecord, holders: tuple[Holder, ...]) -> Iterator[InventoryRow]:
    """A TCP socket that a KCM socket has taken: sk_user_data is its struct kcm_psock, which points back."""
    if not reader.has("kcm_psock", "bpf_prog", module="kcm"):
        return
    psock = reader.u64(record.sock + reader.offset("sock", "sk_user_data")) & ~7
    if not psock:
        return
    try:
        if reader.u64(psock + reader.offset("kcm_psock", "sk", "kcm")) != record.sock:
            return
        image = image_at(reader, reader.u64(psock + reader.offset("kcm_psock", "bpf_prog", "kcm")))
    except OSError:
        return  # something else's data
    if image is not None:
        yield row("kcm", f"sock:{record.inode}", record.netns or None, image, holders)


def find_lists(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Filters on sockets of the thread's namespace that no descriptor leads to."""
    namespace = ctx.netns.inode if ctx.netns else None
    strays = ctx.strays.get(namespace or 0)
    if not reader.can_read_memory or (strays is not None and strays.inodes.issubset(record.inode for record in reader.file_records)):
        return  # descriptors lead to all of them, some of processes that /proc does not let us look into
    known = {record.sock for record in reader.file_records}
    for target, field in _ITERATORS:
        try:
            listed = reader.pointers(target, field)
        except BpflensError:
            continue  # no such iterator, or its module is not there
        for sock in listed[:_MOST_LISTED]:
            if sock not in known:
                yield from unheld_socket(reader, sock, namespace)
    for sock in _packet_sockets(reader):
        if sock not in known:
            yield from unheld_socket(reader, sock, namespace)


def _packet_sockets(reader: Reader) -> Iterator[int]:
    """net.packet.sklist, a chain of struct hlist_node."""
    if not reader.has("net", "packet.sklist"):
        return
    net = reader.current_net()
    back = reader.offset("sock", "__sk_common.skc_node")
    try:
        node = reader.u64(net + reader.offset("net", "packet.sklist")) if net else 0
        for _ in range(_MOST_LISTED):
            if not node:
                return
            yield node - back
            node = reader.u64(node)
    except OSError:
        return


def unheld_socket(
    reader: Reader, sock: int, namespace: int | None, why: str = "no descriptor of a process leads to it"
) -> Iterator[InventoryRow]:
    """The row of a struct sock with a filter; none without one."""
    offset = reader.offset
    try:
        state = reader.read(sock + offset("sock", "__sk_common.skc_state"), 1)[0]
        if state in (_TIME_WAIT, _NEW_SYN_RECV):
            return  # not a full struct sock
        filter = reader.u64(sock + offset("sock", "sk_filter"))
        if not filter:
            return
        image = image_at(reader, reader.u64(filter + offset("sk_filter", "prog")))
        if image is None:
            return
        family = reader.u16(sock + offset("sock", "__sk_common.skc_family"))
        protocol = reader.u16(sock + offset("sock", "sk_protocol"))
        kind = socket_kind(family, reader.u16(sock + offset("sock", "sk_type")), protocol)
        owner = reader.u64(sock + offset("sock", "sk_socket"))
        inode = 0
        if owner:
            inode = reader.u64(owner + offset("socket_alloc", "vfs_inode") + offset("inode", "i_ino"))
        details: dict[str, Any] = {**filter_context(kind, protocol), "why": why}
        if family in (_AF_INET, _AF_INET6):
            details["port"] = reader.u16(sock + offset("sock", "__sk_common.skc_num"))
        yield row(f"socket/{kind}", f"sock:{inode}" if inode else f"port:{details.get('port', 0)}", namespace, image, **details)
    except OSError:
        return

"""Programs on tun and tap devices, from kernel memory (rows 9, 10): by the devices of each namespace, so also of one that nobody holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpflens.attachment import Holder
from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.memory.images import image_at
from bpflens.inventory.memory.structures.sockets import row
from bpflens.kernel.memory.reader import Reader

__all__ = ("devices", "find")

_MOST_DEVICES = 1 << 16
_TUN_TYPE_MASK, _TAP = 0x000F, 0x0002


def find(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """Programs on the tun and tap devices of the thread's namespace."""
    if not reader.can_read_memory or not reader.has("tun_struct", "steering_prog", module="tun"):
        return
    namespace = ctx.netns.inode if ctx.netns else None
    for device, name, kind in devices(reader):
        if kind != "tun":
            continue
        try:
            yield from _programs(ctx, reader, device + _private(reader), name, namespace)
        except OSError:
            continue


def devices(reader: Reader) -> Iterator[tuple[int, str, str]]:
    """(struct net_device pointer, name, kind of its rtnl_link_ops) of the thread's namespace."""
    offset = reader.offset
    net = reader.current_net()
    if not net:
        return
    head = net + offset("net", "dev_base_head")
    try:
        node = reader.u64(head)
        for _ in range(_MOST_DEVICES):
            if node == head or not node:
                return
            device = node - offset("net_device", "dev_list")
            ops = reader.u64(device + offset("net_device", "rtnl_link_ops"))
            kind = reader.text(reader.u64(ops + offset("rtnl_link_ops", "kind"))) if ops else ""
            yield device, reader.text(device + offset("net_device", "name")), kind
            node = reader.u64(node)
    except OSError:
        return


def _private(reader: Reader) -> int:
    """netdev_priv(): behind struct net_device, aligned to 32 (a member of its own since Linux 6.10)."""
    if reader.has("net_device", "priv"):
        return reader.offset("net_device", "priv")
    return (reader.size("net_device") + 31) & ~31


def _programs(ctx: Context, reader: Reader, tun: int, name: str, namespace: int | None) -> Iterator[InventoryRow]:
    def offset(struct: str, path: str) -> int:
        return reader.offset(struct, path, "tun")

    holders = _holders(ctx, reader, tun)
    for field, kind in (("filter_prog", "tun/filter"), ("steering_prog", "tun/steering")):
        holder = reader.u64(tun + offset("tun_struct", field))
        if holder:
            image = image_at(reader, reader.u64(holder + offset("tun_prog", "prog")))
            if image is not None:
                yield row(kind, f"dev:{name}", namespace, image, holders)
    if reader.u32(tun + offset("tun_struct", "flags")) & _TUN_TYPE_MASK != _TAP:
        return
    seen = set()
    for number in range(min(reader.u32(tun + offset("tun_struct", "numqueues")), 256)):
        queue = reader.u64(tun + offset("tun_struct", "tfiles") + 8 * number)
        filter = reader.u64(queue + offset("tun_file", "sk") + reader.offset("sock", "sk_filter"))
        if not filter:
            continue
        image = image_at(reader, reader.u64(filter + reader.offset("sk_filter", "prog")))
        if image is not None and (image.classic, image.id) not in seen:
            seen.add((image.classic, image.id))  # each queue has a copy
            yield row("tap/filter", f"dev:{name}", namespace, image, holders, linktype="EN10MB")


def _holders(ctx: Context, reader: Reader, tun: int) -> tuple[Holder, ...]:
    """Descriptors whose struct tun_file belongs to the device."""
    known = {(file.pid, file.fd) for file in ctx.files if file.link == "/dev/net/tun"}
    found = []
    for record in reader.file_records:
        if (record.pid, record.fd) in known and record.private:
            try:
                if reader.u64(record.private + reader.offset("tun_file", "tun", "tun")) == tun:
                    found.append(ctx.holder(record.pid, record.fd))
            except OSError:
                continue
    return tuple(dict.fromkeys(found))

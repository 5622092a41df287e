"""How to take an attachment away: the command of the tool that makes such attachments, as the row's facts fill it in.

    tc/ingress dev:eth0 prio 1 handle 0x1   ──►   tc filter del dev eth0 ingress protocol all prio 1 handle 0x1 bpf
    tcx/ingress dev:eth0 link 5             ──►   bpftool link detach id 5
    kprobe do_exit link 6, held by x[9]     ──►   # held by x[9]: the link goes with its last descriptor and pin

Nothing is run here. A link goes with its last descriptor and pin too, which is said; what no tool can take away is said in words after "#".
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.kernel.sys import procfs

__all__ = ("how_to_detach",)

_Commands = tuple[str, ...]
# Kinds whose links can be detached: their bpf_link_ops have a `detach` (Linux 6.18). The others answer BPF_LINK_DETACH with EOPNOTSUPP.
_DETACHABLE = ("xdp", "tcx", "netkit", "cgroup", "lsm_cgroup", "flow_dissector", "sk_lookup", "sockmap", "netfilter", "struct_ops")
_XDP_FLAGS = {"xdp/native": "xdpdrv", "xdp/generic": "xdpgeneric", "xdp/offload": "xdpoffload"}


def how_to_detach(row: InventoryRow, inventory: Inventory) -> _Commands:
    """Shell commands, and comments after "#" where there is none."""
    pins = tuple(f"rm {shlex.quote(path)}" for path in row.details.get("pins", ()))
    if "link" in row.details:
        if row.kind.startswith(_DETACHABLE) and not row.object.startswith("(detached"):
            return (f"bpftool link detach id {row.details['link']}", *_also(pins, row))
        return (*pins, *_holders(row, "the link goes with its last descriptor and pin"), *_nobody(row))
    maker = next((maker for prefix, maker in _MAKERS.items() if row.kind.startswith(prefix)), None)
    if maker is None:
        return (*pins, *_holders(row, "it goes when they close the descriptor"))
    where = _inside(row, inventory)
    return tuple(line if line.startswith("#") else where + line for line in maker(row))


def _nobody(row: InventoryRow) -> _Commands:
    if row.holders or row.details.get("pins"):
        return ()
    return ("# the kernel cannot detach such a link, and nobody is known who holds it",)


def _also(pins: _Commands, row: InventoryRow) -> _Commands:
    comment = ("# or by itself, when these pins are gone and the processes that hold the link have ended:",) if pins else ()
    return (*comment, *pins, *_holders(row, "the link goes with its last descriptor and pin"))


def _inside(row: InventoryRow, inventory: Inventory) -> str:
    """What puts a command into the row's network namespace."""
    space = inventory.namespaces.get(row.netns or 0)
    if space is None or space.own:
        return ""
    for path in space.paths:
        if path.startswith(("/run/netns/", "/var/run/netns/")):
            return f"ip netns exec {shlex.quote(path.rpartition('/')[2])} "
    path = next((path for path in space.paths if path.startswith("/")), "")
    return f"nsenter --net={shlex.quote(path)} " if path else ""


def _holders(row: InventoryRow, words: str) -> _Commands:
    pids = dict.fromkeys(holder.pid for holder in row.holders)
    return tuple(f"# held by {_comm(row, pid)}[{pid}]: {words}" for pid in list(pids)[:8])


def _comm(row: InventoryRow, pid: int) -> str:
    return next(holder.comm for holder in row.holders if holder.pid == pid)


def _device(row: InventoryRow) -> str:
    return shlex.quote(row.object.removeprefix("dev:"))


def _xdp(row: InventoryRow) -> _Commands:
    if not row.object.startswith("dev:"):
        return _map_entry(row)
    return (f"ip link set dev {_device(row)} {_XDP_FLAGS.get(row.kind, 'xdp')} off",)


def _tcx(row: InventoryRow) -> _Commands:
    hook = row.kind.replace("/", "_")
    return (f"bpftool net detach {hook} dev {_device(row)}  # bpftool 7.7 or newer",)


def _tc(row: InventoryRow) -> _Commands:
    details = row.details
    if row.kind == "tc/action":
        users = details.get("used_by", ())
        return (f"tc actions del action bpf index {details['index']}", *(f"# used by {user}: the filter goes first" for user in users))
    place = f"dev {_device(row)}"
    if row.object.startswith("block:"):
        place = f"block {row.object[6:]}"
    elif row.kind in ("tc/ingress", "tc/egress"):
        place += f" {row.kind[3:]}"
    else:
        place += f" parent {str(details.get('parent', '')).rpartition(' ')[2]}"
    chain = f" chain {details['chain']}" if details.get("chain") else ""
    protocol = details.get("protocol", "all")
    return (f"tc filter del {place}{chain} protocol {protocol} prio {details['prio']} handle {details['handle']:#x} bpf",)


def _cgroup(row: InventoryRow) -> _Commands:
    mounts = [mount.point for mount in procfs.mounts("self") if mount.type == "cgroup2" and mount.root == "/"]
    path = (mounts[0] if mounts else "/sys/fs/cgroup") + row.object.removeprefix("cgroup:").rstrip("/")
    newer = "  # bpftool 7.3 or newer" if row.kind.startswith("cgroup/unix_") else ""
    return (f"bpftool cgroup detach {shlex.quote(path)} {row.kind.replace('/', '_')} id {row.prog_id}{newer}",)


def _xt_bpf(row: InventoryRow) -> _Commands:
    tool, _, rest = row.object.partition(":")
    if tool == "nft":
        family, _, names = rest.partition("/")
        table, _, chain = names.partition("/")
        return (f"nft delete rule {family} {shlex.quote(table)} {shlex.quote(chain)} handle {row.details.get('handle')}",)
    return (f"{tool}-legacy -t {shlex.quote(rest)} -D {shlex.quote(str(row.details.get('chain', '?')))} {row.details.get('rule')}",)


def _route(row: InventoryRow) -> _Commands:
    if row.object.startswith("nexthop:"):
        return (f"ip nexthop del id {row.object[8:]}",)
    prefix = row.object.removeprefix("route:")
    family = "-6 " if ":" in prefix else ""
    table = f" table {row.details['table']}" if row.details.get("table") else ""
    device = f" dev {shlex.quote(str(row.details['dev']))}" if row.details.get("dev") else ""
    return (f"ip {family}route del {prefix}{device}{table}",)


def _namespace_hook(row: InventoryRow) -> _Commands:
    return (f"bpftool prog detach id {row.prog_id} {row.kind}",)


def _sockmap(row: InventoryRow) -> _Commands:
    hook = row.kind.removeprefix("sockmap/")
    words = {"skb_stream_parser": "sk_skb_stream_parser", "skb_stream_verdict": "sk_skb_stream_verdict", "skb_verdict": "sk_skb_verdict"}
    return (f"bpftool prog detach id {row.prog_id} {words.get(hook, f'sk_{hook}')} id {row.object[4:]}",)


def _map_entry(row: InventoryRow) -> _Commands:
    map_id, _, _ = row.object.removeprefix("map:").partition("[")
    index = row.details.get("index", row.details.get("key", 0))
    key = " ".join(f"0x{byte:02x}" for byte in int(index).to_bytes(4, "little"))
    return (f"bpftool map delete id {map_id} key {key}",)


def _struct_ops(row: InventoryRow) -> _Commands:
    return (f"bpftool struct_ops unregister id {row.object.removeprefix('map:').partition(' ')[0]}",)


def _device_itself(row: InventoryRow) -> _Commands:
    return ("# no tool takes this program alone away; with the device it goes:", f"ip link del dev {_device(row)}")


def _process(row: InventoryRow) -> _Commands:
    held = _holders(row, "no tool reaches it from outside; it goes with the socket or descriptor")
    return held or ("# no process is known that holds it",)


def _seccomp(row: InventoryRow) -> _Commands:
    return ("# a seccomp filter cannot be taken away: it ends with its task",)


def _pinned(row: InventoryRow) -> _Commands:
    return tuple(f"rm {shlex.quote(path)}" for path in row.details.get("pins", ()))


def _kernel(row: InventoryRow) -> _Commands:
    return ("# a part of the kernel",)


# Kinds, by their beginning -> what takes it away where no link does.
_MAKERS: dict[str, Callable[[InventoryRow], _Commands]] = {
    "xdp": _xdp, "tcx": _tcx, "netkit": _tcx, "tc/": _tc, "cgroup/": _cgroup, "lsm_cgroup": _cgroup, "xt_bpf": _xt_bpf, "lwt": _route,
    "seg6local": _route, "flow_dissector": _namespace_hook, "sk_lookup": _namespace_hook, "sockmap": _sockmap, "prog_array": _map_entry,
    "struct_ops": _struct_ops, "tun": _device_itself, "tap": _device_itself, "team": _device_itself, "seccomp": _seccomp,
    "socket": _process, "reuseport": _process, "fanout": _process, "kcm": _process, "ppp": _process, "perf": _process,
    "tracepoint": _process, "kprobe": _process, "uprobe": _process, "raw_tracepoint": _process, "pin": _pinned, "ptp_classifier": _kernel,
}  # fmt: skip

"""Links in the words of the inventory."""

from __future__ import annotations

import os

import pytest

from bpflens.isa.extended.uapi import AttachType, LinkType
from bpflens.kernel.attachments.link_attachment import link_attachment
from bpflens.kernel.attachments.links import LinkInfo
from bpflens.kernel.sys.procfs import mounts


@pytest.mark.parametrize(("type", "attach_type", "facts", "kind", "object"), [
    (LinkType.XDP, None, {"ifindex": 5}, "xdp", "ifindex:5"),
    (LinkType.XDP, None, {"ifindex": 0}, "xdp", "(detached, or its device is gone)"),
    (LinkType.TCX, AttachType.TCX_EGRESS, {"ifindex": 2}, "tcx/egress", "ifindex:2"),
    (LinkType.NETKIT, AttachType.NETKIT_PEER, {"ifindex": 9}, "netkit/peer", "ifindex:9"),
    (LinkType.RAW_TRACEPOINT, None, {"tp_name": "sched_switch"}, "raw_tracepoint", "sched_switch"),
    (LinkType.TRACING, 0, {"target_obj_id": 7, "target_btf_id": 3}, "freplace", "id:7"),
    (LinkType.TRACING, AttachType.TRACE_FENTRY, {"target_obj_id": 0x7FFFFFFF, "target_btf_id": 3},
     "tracing/fentry", "type 3 of BTF 2147483647"),
    (LinkType.CGROUP, AttachType.CGROUP_INET_INGRESS, {"cgroup_id": 0}, "cgroup/inet_ingress", "(detached, or its cgroup is gone)"),
    (LinkType.CGROUP, AttachType.LSM_CGROUP, {"cgroup_id": (1 << 63) - 1}, "lsm_cgroup", f"cgroup id {(1 << 63) - 1}"),
    (LinkType.NETNS, AttachType.SK_LOOKUP, {"netns_ino": 17}, "sk_lookup", "netns:17"),
    (LinkType.NETNS, AttachType.SK_LOOKUP, {"netns_ino": 0}, "sk_lookup", "(detached, or its namespace is gone)"),
    (LinkType.SOCKMAP, AttachType.SK_SKB_VERDICT, {"map_id": 0}, "sk_skb_verdict", "(detached, or its map is gone)"),
    (LinkType.STRUCT_OPS, None, {"map_id": 8}, "struct_ops", "map:8"),
    (LinkType.PERF_EVENT, None, {"perf_type": "kprobe", "func_name": "vfs_read", "offset": 16, "addr": 1}, "kprobe", "vfs_read+0x10"),
    (LinkType.PERF_EVENT, None, {"perf_type": "kretprobe", "func_name": "", "offset": 0, "addr": 0xABC}, "kretprobe", "0xabc"),
    (LinkType.PERF_EVENT, None, {"perf_type": "uprobe", "file_name": "/bin/sh", "offset": 256}, "uprobe", "/bin/sh+0x100"),
    (LinkType.PERF_EVENT, None, {"perf_type": "tracepoint", "tp_name": "sys_enter"}, "tracepoint", "sys_enter"),
    (LinkType.PERF_EVENT, None, {"perf_type": "event", "event_type": 1, "config": 18}, "perf_event", "type 1 config 0x12"),
    (LinkType.PERF_EVENT, None, {"perf_type": 0}, "perf_event", ""),
    (LinkType.KPROBE_MULTI, None, {"count": 3}, "kprobe_multi", "3 functions"),
    (LinkType.UPROBE_MULTI, None, {"path": "/bin/sh", "count": 2}, "uprobe_multi", "/bin/sh (2 places)"),
    (LinkType.NETFILTER, None, {"pf": "ip", "hooknum": 4}, "netfilter", "hook:ip/postrouting"),
    (LinkType.NETFILTER, None, {"pf": "ip", "hooknum": 5}, "netfilter", "hook:ip/5"),
    (LinkType.ITER, None, {"target_name": "bpf_map_elem", "map_id": 4}, "iter", "bpf_map_elem of map:4"),
    (LinkType.ITER, None, {"target_name": "cgroup", "cgroup_id": 6}, "iter", "cgroup of cgroup id 6"),
    (LinkType.ITER, None, {"target_name": "task"}, "iter", "task"),
    (4711, None, {}, "type 4711", ""),
])  # fmt: skip
def test_kind_and_object(type: int, attach_type: int | None, facts: dict[str, object], kind: str, object: str) -> None:
    found = link_attachment(LinkInfo(3, type, 12, attach_type, facts))

    assert (found.kind, found.object) == (kind, object)
    assert found.details == {"link": 3, **facts}
    assert found.netns == facts.get("netns_ino")


def test_a_cgroup_by_its_path() -> None:
    """The id of a cgroup is the inode of its directory; the root of the hierarchy is "/"."""
    mount = next((mount.point for mount in mounts("self") if mount.type == "cgroup2"), None)
    assert mount is not None, "a cgroup2 mount"
    link = LinkInfo(3, LinkType.CGROUP, 12, AttachType.CGROUP_SYSCTL, {"cgroup_id": os.stat(mount).st_ino})
    assert link_attachment(link).object == "cgroup:/"

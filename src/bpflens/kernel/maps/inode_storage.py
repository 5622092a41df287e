"""Values that hang on inodes, from kernel memory: no interface lists the inodes, and a value is given only to who opens the file.

    struct bpf_local_storage_map.buckets[1 << bucket_log].list ─► struct bpf_local_storage_elem.map_node ─► ...
    struct bpf_local_storage_elem { map_node, local_storage ─► owner: struct inode, sdata { smap, data } }

Layout: include/linux/bpf_local_storage.h (v5.10; v6.18 is the same in these members). A list that changes meanwhile is noticed by elements
of another map, by addresses that cannot be read, and by its length.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from bpflens.kernel.memory.reader import Reader

__all__ = ("INODE_KEY", "inode_items")

INODE_KEY = struct.Struct("=QQ")
"""st_dev and st_ino, which stand for an inode."""
_MINOR_BITS = 20  # of dev_t inside the kernel (include/linux/kdev_t.h)
_MOST_BUCKETS_LOG, _MOST = 20, 1 << 22


def inode_items(reader: Reader, address: int, value_size: int) -> Iterator[tuple[bytes, bytes]]:
    """(INODE_KEY, value) of every inode that has one; `address`: of the map. OSError where memory cannot be read or does not hold still."""
    storage_map, elem = "bpf_local_storage_map", "bpf_local_storage_elem"
    log = reader.u32(address + reader.offset(storage_map, "bucket_log"))
    if log > _MOST_BUCKETS_LOG:
        raise OSError(5, "kernel memory is not as expected")
    buckets = reader.u64(address + reader.offset(storage_map, "buckets"))
    size, first = reader.size("bpf_local_storage_map_bucket"), reader.offset("bpf_local_storage_map_bucket", "list")
    node, owner = reader.offset(elem, "map_node"), reader.offset(elem, "local_storage")
    data = reader.offset(elem, "sdata")
    smap, value = data + reader.offset("bpf_local_storage_data", "smap"), data + reader.offset("bpf_local_storage_data", "data")
    left = _MOST
    for number in range(1 << log):
        at = reader.u64(buckets + number * size + first)
        while at:
            start, left = at - node, left - 1
            if reader.u64(start + smap) != address or not left:
                raise OSError(11, "kernel memory did not hold still")
            storage = reader.u64(start + owner)
            inode = reader.u64(storage + reader.offset("bpf_local_storage", "owner")) if storage else 0
            if inode:
                yield _key(reader, inode), reader.read(start + value, value_size)
            at = reader.u64(at)


def _key(reader: Reader, inode: int) -> bytes:
    device = reader.u32(reader.u64(inode + reader.offset("inode", "i_sb")) + reader.offset("super_block", "s_dev"))
    number = reader.u64(inode + reader.offset("inode", "i_ino"))
    return INODE_KEY.pack(os.makedev(device >> _MINOR_BITS, device & (1 << _MINOR_BITS) - 1), number)

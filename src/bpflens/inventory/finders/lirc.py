"""Programs on infrared receivers (row 37, Linux 4.18): BPF_PROG_QUERY on /dev/lircN, asked only where a program of the type is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.isa.extended.uapi import AttachType
from bpflens.kernel.attachments.prog_query import query

__all__ = ("find",)


def find(ctx: Context) -> Iterable[InventoryRow]:
    """Programs on the receivers of this machine."""
    for name in sorted(name for name in os.listdir("/dev") if name.startswith("lirc") and name[4:].isdigit()):
        try:
            fd = os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            ctx.deny("programs on infrared receivers", "CAP_DAC_OVERRIDE")
            continue
        except OSError:
            continue
        try:
            for position, prog_id in enumerate(query(fd, AttachType.LIRC_MODE2).ids):
                yield InventoryRow("lirc_mode2", f"/dev/{name}", prog_id=prog_id, details={"position": position})
        except PermissionError:
            ctx.deny("programs on infrared receivers", "CAP_NET_ADMIN")
        except OSError:
            pass
        finally:
            os.close(fd)

"""The network namespaces of a restore: where the saved ones are now, and doing something inside."""

from __future__ import annotations

import os
from collections.abc import Callable

from bpflens.errors import KernelError
from bpflens.snapshot.restoring.options import RestoreOptions

__all__ = ("in_namespace", "namespace_path")


def namespace_path(options: RestoreOptions, inode: int | None, saved_name: str | None, own: bool) -> str | None:
    """The path of a saved namespace as the options call it now; None for that of this process. KernelError where it is not there."""
    if inode is None:
        return None
    name = saved_name or str(inode)
    new = options.netns.get(name, options.netns.get(str(inode)))
    if new == "self" or (new is None and own):
        return None
    wanted = new if new is not None else name
    for path in (wanted, f"/run/netns/{wanted}", f"/var/run/netns/{wanted}"):
        if path.startswith("/") and os.path.exists(path):
            return path
    raise KernelError(f"netns:{wanted}", "there is no such network namespace", "--netns OLD=NEW names another")


def in_namespace(path: str | None, function: Callable[[], None]) -> None:
    """Call the function in a network namespace, in a thread that ends with it; here where `path` is None."""
    if path is None:
        function()
        return
    from bpflens.inventory.walk import in_own_thread
    from bpflens.kernel.namespaces import enter_namespace

    def inside() -> None:
        enter_namespace(path)
        function()

    in_own_thread(inside)

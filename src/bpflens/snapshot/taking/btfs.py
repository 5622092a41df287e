"""The type information that programs and maps of a snapshot refer to, each blob once."""

from __future__ import annotations

from bpflens.errors import KernelError
from bpflens.formats.snapshot.archive import ArchiveWriter
from bpflens.formats.snapshot.manifest import SavedBtf

__all__ = ("Btfs",)


class Btfs:
    """Collects BTF objects while programs and maps are read."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer = writer
        self.saved: dict[int, SavedBtf] = {}

    def add(self, id: int) -> int:
        """Save BTF object `id`; 0 where it cannot be read."""
        if id in self.saved:
            return id
        from bpflens.kernel.btf import btf_by_id, btf_info

        try:
            data = btf_by_id(id).data
            name = btf_info(id).name
        except KernelError:
            return 0
        self.saved[id] = SavedBtf(id, name, self._writer.add(f"btf/{id}.btf", data))
        return id

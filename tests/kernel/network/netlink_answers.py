"""A kernel's answers to netlink dumps, as a test writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType


class Answers:
    """In the place of Netlink: bodies by the type of the request, or the error that the kernel gives."""

    def __init__(self, by_type: Mapping[int, Sequence[bytes] | OSError]) -> None:
        self.by_type = by_type
        self.asked: list[tuple[int, bytes]] = []

    def __call__(self, protocol: int) -> Answers:
        return self

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def dump(self, type: int, payload: bytes) -> list[tuple[int, bytes]]:
        self.asked.append((type, payload))
        found = self.by_type.get(type, ())
        if isinstance(found, OSError):
            raise found
        return [(type, body) for body in found]

"""Is a file a snapshot? Asked of every file that is named as a target, so it imports nothing."""

from __future__ import annotations

__all__ = ("FIRST_MEMBER", "is_snapshot")

FIRST_MEMBER = "bpflens-snapshot"  # an empty member that names the format, as mimetype does in other formats
_MAGIC, _NAME_AT = b"PK\x03\x04", 30


def is_snapshot(path: str) -> bool:
    """Whether the file is a zip archive whose first member has a snapshot's name."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(64)
    except (OSError, ValueError):
        return False
    return head.startswith(_MAGIC) and head[_NAME_AT : _NAME_AT + len(FIRST_MEMBER)] == FIRST_MEMBER.encode()

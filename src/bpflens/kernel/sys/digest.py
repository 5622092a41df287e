"""SHA-256 without OpenSSL: `hashlib` loads it, which takes longer than all that a listing imports."""

from __future__ import annotations

__all__ = ("sha256",)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # Python 3.12
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:  # built without them
            from hashlib import sha256
